//! Facts of a recording's host and its inventoried processes, as MessagePack.
//!
//! The types that are written are private to this file, fields by position: a change of theirs is a change of the
//! format ([`super::frame::FORMAT_VERSION`]). The argv of an inventoried process is redacted already.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;

use crate::host::installed::Judgement;
use crate::model::act::Namespaces;
use crate::model::bytes::RawBytes;
use crate::model::container::{Answer, ComposeService, ContainerFound, EngineFacts, Pod};
use crate::model::image::ImageReference;
use crate::model::process::{
    Cgroup, CredentialIds, ExecImage, FileRef, LoginState, Marker, Origin, Process, ProcessKey, Stdio,
    StdioKind,
};
use crate::model::program::{FileAnswer, FileFacts, FileKey, Package, ProgramFound};
use crate::model::time::{BootTime, ClockPair, WallTime};
use crate::model::unit::{UnitFacts, UnitFound, UnitTimer};
use crate::process::program::ScriptEntry;
use crate::process::scripts::{ScriptPath, ScriptTarget};

/// What a replay must know of the host that was recorded.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Host {
    /// `/proc/sys/kernel/random/boot_id`.
    pub boot_id: String,
    /// `uname -r`.
    pub kernel_release: String,
    /// Version of the agent that recorded.
    pub agent_version: String,
    /// One reading of both clocks: boot time in ns, wall time in ns since 1970.
    pub clocks: (u64, i64),
    /// Digest of the catalogue in force (`crate::catalogue::Catalogue::digest`).
    pub catalogue: String,
    /// The hook that serves each capability.
    pub hooks: Vec<(String, String)>,
    /// Whether every CPU's numbers begin at 0 in this recording.
    pub numbers_from_zero: bool,
    /// Further facts by name, such as the host's own namespaces or the names of its users.
    pub facts: BTreeMap<String, String>,
}

impl Host {
    /// The reading of both clocks.
    pub const fn clock_pair(&self) -> ClockPair {
        let (boot, wall) = self.clocks;
        ClockPair { boot: BootTime::from_ns(boot), wall: WallTime { unix_ns: wall } }
    }
}

/// (pid, start in ns since boot).
type Key = (u32, u64);

#[derive(Serialize, Deserialize)]
struct Wire {
    key: Key,
    parent: Option<Key>,
    namespaced_pid: u32,
    image: WireImage,
    ids: WireIds,
    cgroup: (u64, ByteBuf),
    namespaces: [u32; 4],
    origin: u8,
    since: u64,
    exec_count: u32,
}

#[derive(Serialize, Deserialize)]
struct WireIds {
    users_and_groups: [u32; 4],
    capabilities: u64,
    login_uid: Option<u32>,
    session_id: Option<u32>,
}

#[derive(Serialize, Deserialize)]
struct WireImage {
    exe: ByteBuf,
    exe_file: (u32, u64, (i64, u32), u32, u32),
    filename: ByteBuf,
    interpreter: ByteBuf,
    script: bool,
    argv: Vec<ByteBuf>,
    argument_count: u32,
    argv_truncated: bool,
    cwd: ByteBuf,
    markers: Vec<(ByteBuf, Option<ByteBuf>)>,
    markers_truncated: bool,
    preload: bool,
    stdio: [(u8, u32, u64); 3],
    capabilities_permitted: u64,
}

/// Encodes the facts of a host.
pub(super) fn encode_host(host: &Host) -> Result<Vec<u8>, rmp_serde::encode::Error> {
    rmp_serde::to_vec(host)
}

/// Decodes the facts of a host.
pub(super) fn decode_host(bytes: &[u8]) -> Result<Host, rmp_serde::decode::Error> {
    rmp_serde::from_slice(bytes)
}

/// Path, file, and whether it is installed.
type WireJudgement = (ByteBuf, (u32, u64, (i64, u32), u32, u32), bool);

/// Encodes what was found of an executable.
pub(super) fn encode_judgement(judgement: &Judgement) -> Result<Vec<u8>, rmp_serde::encode::Error> {
    let Judgement { path, file: FileRef { device, inode, changed, links, mode }, installed } = judgement;
    let wire: WireJudgement = (buffer(path), (*device, *inode, *changed, *links, *mode), *installed);
    rmp_serde::to_vec(&wire)
}

/// Decodes what was found of an executable.
pub(super) fn decode_judgement(bytes: &[u8]) -> Result<Judgement, rmp_serde::decode::Error> {
    let (path, (device, inode, changed, links, mode), installed): WireJudgement =
        rmp_serde::from_slice(bytes)?;
    Ok(Judgement { path: raw(path), file: FileRef { device, inode, changed, links, mode }, installed })
}

/// Mount namespace, path, and where it leads; what was found there, which earlier recordings lack.
#[derive(Serialize, Deserialize)]
struct WireScript {
    mount: u32,
    path: ByteBuf,
    target: Option<ByteBuf>,
    #[serde(default)]
    entry: Option<(u8, ByteBuf)>,
}

/// Encodes where a script's path leads.
pub(super) fn encode_script(found: &ScriptTarget) -> Result<Vec<u8>, rmp_serde::encode::Error> {
    let ScriptTarget { script: ScriptPath { mount, path }, target, entry } = found;
    let entry = entry.as_ref().map(|entry| match entry {
        ScriptEntry::Module(name) => (0, buffer(name)),
        ScriptEntry::Packaged(path) => (1, buffer(path)),
    });
    let target = target.as_ref().map(buffer);
    rmp_serde::to_vec(&WireScript { mount: *mount, path: buffer(path), target, entry })
}

/// Decodes where a script's path leads.
pub(super) fn decode_script(bytes: &[u8]) -> Result<ScriptTarget, rmp_serde::decode::Error> {
    let WireScript { mount, path, target, entry } = rmp_serde::from_slice(bytes)?;
    let entry = entry.and_then(|(number, text)| match number {
        0 => Some(ScriptEntry::Module(raw(text))),
        1 => Some(ScriptEntry::Packaged(raw(text))),
        _ => None,
    });
    Ok(ScriptTarget { script: ScriptPath { mount, path: raw(path) }, target: target.map(raw), entry })
}

/// Engine, source, name, reference of the image, its id; compose project and service; pod, its namespace and uid.
#[derive(Serialize, Deserialize)]
struct WireFacts(
    String,
    String,
    Option<String>,
    Option<String>,
    Option<String>,
    Option<(String, String)>,
    Option<(String, String, String)>,
    /// Absent in recordings of earlier builds.
    #[serde(default)]
    Vec<String>,
);

/// Id, what became of it, what was found.
type WireContainer = (String, u8, Option<WireFacts>);

/// Encodes what was found of a container.
pub(super) fn encode_container(found: &ContainerFound) -> Result<Vec<u8>, rmp_serde::encode::Error> {
    let ContainerFound { id, answer } = found;
    let (number, facts) = match answer {
        Answer::Found(facts) => (0, Some(wire_facts(facts))),
        Answer::NotFound => (1, None),
        Answer::TooLarge => (2, None),
        Answer::Refused => (3, None),
        Answer::Unreadable => (4, None),
    };
    let wire: WireContainer = (id.to_string(), number, facts);
    rmp_serde::to_vec(&wire)
}

fn wire_facts(facts: &EngineFacts) -> WireFacts {
    let EngineFacts { engine, source, name, image, image_id, compose, pod, selectors } = facts;
    let text = |text: &Arc<str>| text.to_string();
    WireFacts(
        text(engine),
        text(source),
        name.as_ref().map(text),
        image.as_ref().map(ToString::to_string),
        image_id.as_ref().map(text),
        compose.as_ref().map(|ComposeService { project, service }| (text(project), text(service))),
        pod.as_ref().map(|Pod { name, namespace, uid }| (text(name), text(namespace), text(uid))),
        selectors.iter().map(text).collect(),
    )
}

/// Decodes what was found of a container.
pub(super) fn decode_container(bytes: &[u8]) -> Result<ContainerFound, rmp_serde::decode::Error> {
    let (id, number, facts): WireContainer = rmp_serde::from_slice(bytes)?;
    let answer = match (number, facts) {
        (0, Some(WireFacts(engine, source, name, image, image_id, compose, pod, selectors))) => {
            Answer::Found(Arc::new(EngineFacts {
                engine: engine.into(),
                source: source.into(),
                name: name.map(Into::into),
                image: image.as_deref().and_then(ImageReference::parse),
                image_id: image_id.map(Into::into),
                compose: compose.map(|(project, service)| ComposeService {
                    project: project.into(),
                    service: service.into(),
                }),
                pod: pod.map(|(name, namespace, uid)| Pod {
                    name: name.into(),
                    namespace: namespace.into(),
                    uid: uid.into(),
                }),
                selectors: selectors.into_iter().map(Into::into).collect(),
            }))
        }
        (1, _) => Answer::NotFound,
        (2, _) => Answer::TooLarge,
        (3, _) => Answer::Refused,
        _ => Answer::Unreadable,
    };
    Ok(ContainerFound { id: id.into(), answer })
}

/// Fragment, description, owner; the timer and its file.
type WireUnitFacts = (String, Option<String>, Option<String>, Option<(String, String)>);

/// Name, what became of it, what was found.
type WireUnit = (String, u8, Option<WireUnitFacts>);

/// Encodes what was found of a unit.
pub(super) fn encode_unit(found: &UnitFound) -> Result<Vec<u8>, rmp_serde::encode::Error> {
    let UnitFound { unit, answer } = found;
    let text = |text: &Arc<str>| text.to_string();
    let (number, facts) = match answer {
        Answer::Found(facts) => {
            let UnitFacts { fragment, description, owner, timer } = &**facts;
            let timer = timer.as_ref().map(|UnitTimer { unit, fragment }| (text(unit), text(fragment)));
            (0, Some((text(fragment), description.as_ref().map(text), owner.as_ref().map(text), timer)))
        }
        Answer::NotFound => (1, None),
        Answer::TooLarge => (2, None),
        Answer::Refused => (3, None),
        Answer::Unreadable => (4, None),
    };
    let wire: WireUnit = (unit.to_string(), number, facts);
    rmp_serde::to_vec(&wire)
}

/// Decodes what was found of a unit.
pub(super) fn decode_unit(bytes: &[u8]) -> Result<UnitFound, rmp_serde::decode::Error> {
    let (unit, number, facts): WireUnit = rmp_serde::from_slice(bytes)?;
    let answer = match (number, facts) {
        (0, Some((fragment, description, owner, timer))) => Answer::Found(Arc::new(UnitFacts {
            fragment: fragment.into(),
            description: description.map(Into::into),
            owner: owner.map(Into::into),
            timer: timer.map(|(unit, fragment)| UnitTimer { unit: unit.into(), fragment: fragment.into() }),
        })),
        (1, _) => Answer::NotFound,
        (2, _) => Answer::TooLarge,
        (3, _) => Answer::Refused,
        _ => Answer::Unreadable,
    };
    Ok(UnitFound { unit: unit.into(), answer })
}

/// SHA-256, build id; package, its version, whether the file was modified.
type WireFileFacts = (Option<String>, Option<String>, Option<(String, String, Option<bool>)>);

/// Device, inode, change time.
type WireFileKey = (u32, u64, (i64, u32));

#[derive(Serialize, Deserialize)]
enum WireProgram {
    File(WireFileKey, u8, Option<WireFileFacts>),
    Agent(Key, Option<String>),
}

/// Encodes what was found of a program.
pub(super) fn encode_program(found: &ProgramFound) -> Result<Vec<u8>, rmp_serde::encode::Error> {
    let text = |text: &Arc<str>| text.to_string();
    let wire = match found {
        ProgramFound::File { file: FileKey { device, inode, changed }, answer } => {
            let (number, facts) = match answer {
                FileAnswer::Found(facts) => (0, Some(facts)),
                FileAnswer::NotFound => (1, None),
                FileAnswer::Replaced => (2, None),
                FileAnswer::Unreadable => (3, None),
            };
            let facts = facts.map(|facts| {
                let FileFacts { sha256, build_id, package } = &**facts;
                let package = package.as_ref();
                let package =
                    package.map(|Package { name, version, modified }| (text(name), text(version), *modified));
                (sha256.as_ref().map(text), build_id.as_ref().map(text), package)
            });
            WireProgram::File((*device, *inode, *changed), number, facts)
        }
        ProgramFound::Agent { session, version } => {
            WireProgram::Agent((session.pid, session.start.ns), version.as_ref().map(text))
        }
    };
    rmp_serde::to_vec(&wire)
}

/// Decodes what was found of a program.
pub(super) fn decode_program(bytes: &[u8]) -> Result<ProgramFound, rmp_serde::decode::Error> {
    Ok(match rmp_serde::from_slice(bytes)? {
        WireProgram::File((device, inode, changed), number, facts) => {
            let answer = match (number, facts) {
                (0, Some((sha256, build_id, package))) => FileAnswer::Found(Arc::new(FileFacts {
                    sha256: sha256.map(Into::into),
                    build_id: build_id.map(Into::into),
                    package: package.map(|(name, version, modified)| Package {
                        name: name.into(),
                        version: version.into(),
                        modified,
                    }),
                })),
                (1, _) => FileAnswer::NotFound,
                (2, _) => FileAnswer::Replaced,
                _ => FileAnswer::Unreadable,
            };
            ProgramFound::File { file: FileKey { device, inode, changed }, answer }
        }
        WireProgram::Agent(session, version) => {
            ProgramFound::Agent { session: process_key(session), version: version.map(Into::into) }
        }
    })
}

/// Encodes a process.
pub(super) fn encode_process(process: &Process) -> Result<Vec<u8>, rmp_serde::encode::Error> {
    // The role and the login follow from the rest.
    let Process {
        key,
        parent,
        namespaced_pid,
        image,
        ids,
        cgroup,
        namespaces,
        origin,
        since,
        exec_count,
        role: _,
        login: _,
    } = process;
    rmp_serde::to_vec(&Wire {
        key: (key.pid, key.start.ns),
        parent: parent.map(|parent| (parent.pid, parent.start.ns)),
        namespaced_pid: *namespaced_pid,
        image: WireImage::from(&**image),
        ids: WireIds {
            users_and_groups: [ids.uid, ids.gid, ids.euid, ids.egid],
            capabilities: ids.capabilities,
            login_uid: ids.login_uid,
            session_id: ids.session_id,
        },
        cgroup: (cgroup.id, buffer(&cgroup.path)),
        namespaces: [namespaces.mount, namespaces.network, namespaces.pid, namespaces.user],
        origin: match origin {
            Origin::Observed => 0,
            Origin::Inventoried => 1,
            Origin::Inferred => 2,
        },
        since: since.ns,
        exec_count: *exec_count,
    })
}

/// Decodes a process.
pub(super) fn decode_process(bytes: &[u8]) -> Result<Process, rmp_serde::decode::Error> {
    let Wire { key, parent, namespaced_pid, image, ids, cgroup, namespaces, origin, since, exec_count } =
        rmp_serde::from_slice(bytes)?;
    let [uid, gid, euid, egid] = ids.users_and_groups;
    let [mount, network, pid, user] = namespaces;
    Ok(Process {
        key: process_key(key),
        parent: parent.map(process_key),
        namespaced_pid,
        image: Arc::new(image.into()),
        ids: CredentialIds {
            uid,
            gid,
            euid,
            egid,
            capabilities: ids.capabilities,
            login_uid: ids.login_uid,
            session_id: ids.session_id,
        },
        cgroup: Arc::new(Cgroup { id: cgroup.0, path: raw(cgroup.1) }),
        namespaces: Namespaces { mount, network, pid, user },
        origin: match origin {
            0 => Origin::Observed,
            1 => Origin::Inventoried,
            _ => Origin::Inferred,
        },
        since: BootTime::from_ns(since),
        exec_count,
        role: None,
        login: LoginState::default(),
    })
}

impl From<&ExecImage> for WireImage {
    fn from(image: &ExecImage) -> Self {
        let ExecImage {
            exe,
            exe_file: FileRef { device, inode, changed, links, mode },
            filename,
            interpreter,
            script,
            argv,
            argument_count,
            argv_truncated,
            cwd,
            markers,
            markers_truncated,
            preload,
            stdio,
            capabilities_permitted,
        } = image;
        Self {
            exe: buffer(exe),
            exe_file: (*device, *inode, *changed, *links, *mode),
            filename: buffer(filename),
            interpreter: buffer(interpreter),
            script: *script,
            argv: argv.iter().map(buffer).collect(),
            argument_count: *argument_count,
            argv_truncated: *argv_truncated,
            cwd: buffer(cwd),
            markers: markers
                .iter()
                .map(|marker| (buffer(&marker.name), marker.value.as_ref().map(buffer)))
                .collect(),
            markers_truncated: *markers_truncated,
            preload: *preload,
            stdio: stdio.map(|stream| (stdio_number(stream.kind), stream.device, stream.inode)),
            capabilities_permitted: *capabilities_permitted,
        }
    }
}

impl From<WireImage> for ExecImage {
    fn from(wire: WireImage) -> Self {
        let (device, inode, changed, links, mode) = wire.exe_file;
        Self {
            exe: raw(wire.exe),
            exe_file: FileRef { device, inode, changed, links, mode },
            filename: raw(wire.filename),
            interpreter: raw(wire.interpreter),
            script: wire.script,
            argv: wire.argv.into_iter().map(raw).collect(),
            argument_count: wire.argument_count,
            argv_truncated: wire.argv_truncated,
            cwd: raw(wire.cwd),
            markers: wire
                .markers
                .into_iter()
                .map(|(name, value)| Marker { name: raw(name), value: value.map(raw) })
                .collect(),
            markers_truncated: wire.markers_truncated,
            preload: wire.preload,
            stdio: wire.stdio.map(|(kind, device, inode)| Stdio { kind: stdio_kind(kind), device, inode }),
            capabilities_permitted: wire.capabilities_permitted,
        }
    }
}

const fn stdio_number(kind: StdioKind) -> u8 {
    match kind {
        StdioKind::Closed => 0,
        StdioKind::Pipe => 1,
        StdioKind::Socket => 2,
        StdioKind::CharacterDevice => 3,
        StdioKind::File => 4,
        StdioKind::Other => 5,
    }
}

const fn stdio_kind(number: u8) -> StdioKind {
    match number {
        0 => StdioKind::Closed,
        1 => StdioKind::Pipe,
        2 => StdioKind::Socket,
        3 => StdioKind::CharacterDevice,
        4 => StdioKind::File,
        _ => StdioKind::Other,
    }
}

const fn process_key((pid, start): Key) -> ProcessKey {
    ProcessKey { pid, start: BootTime::from_ns(start) }
}

fn buffer(bytes: &RawBytes) -> ByteBuf {
    ByteBuf::from(bytes.as_bytes())
}

fn raw(buffer: ByteBuf) -> RawBytes {
    RawBytes::from(buffer.into_vec())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_found_of_a_unit_comes_back() {
        let timer = UnitTimer { unit: "a.timer".into(), fragment: "/etc/systemd/system/a.timer".into() };
        let facts = UnitFacts {
            fragment: "/usr/lib/systemd/system/a.service".into(),
            description: Some("A".into()),
            owner: Some("team: a".into()),
            timer: Some(timer),
        };
        let bare = UnitFacts { fragment: "/a".into(), ..UnitFacts::default() };
        let found = [facts, bare].map(|facts| Answer::Found(Arc::new(facts)));
        let others = [Answer::NotFound, Answer::TooLarge, Answer::Refused, Answer::Unreadable];
        for answer in found.into_iter().chain(others) {
            let found = UnitFound { unit: "a.service".into(), answer };
            assert_eq!(decode_unit(&encode_unit(&found).unwrap()).unwrap(), found);
        }
        assert!(decode_unit(b"x").is_err());
    }

    #[test]
    fn what_was_found_of_a_program_comes_back() {
        let file = FileKey { device: 8 << 20 | 1, inode: 7, changed: (-1, 5) };
        let package = Package { name: "curl".into(), version: "8.14".into(), modified: Some(false) };
        let facts =
            FileFacts { sha256: Some("00ff".into()), build_id: Some("ab".into()), package: Some(package) };
        let answers = [
            FileAnswer::Found(Arc::new(facts)),
            FileAnswer::Found(Arc::default()),
            FileAnswer::NotFound,
            FileAnswer::Replaced,
            FileAnswer::Unreadable,
        ];
        let session = process_key((7, 9));
        let agents = [None, Some("1.2".into())].map(|version| ProgramFound::Agent { session, version });
        for found in answers.map(|answer| ProgramFound::File { file, answer }).into_iter().chain(agents) {
            assert_eq!(decode_program(&encode_program(&found).unwrap()).unwrap(), found);
        }
        assert!(decode_program(b"x").is_err());
    }

    #[test]
    fn what_was_found_of_a_container_comes_back() {
        let facts = EngineFacts {
            engine: "docker".into(),
            source: "/var/lib/docker/x".into(),
            name: Some("cache".into()),
            image: ImageReference::parse("localhost:5000/redis:7"),
            image_id: Some("sha256:00".into()),
            compose: Some(ComposeService { project: "shop".into(), service: "db".into() }),
            pod: Some(Pod { name: "p".into(), namespace: "n".into(), uid: "u".into() }),
            selectors: vec!["docker:label:a:b".into()],
        };
        for answer in [
            Answer::Found(Arc::new(facts)),
            Answer::Found(Arc::default()),
            Answer::NotFound,
            Answer::TooLarge,
            Answer::Refused,
            Answer::Unreadable,
        ] {
            let found = ContainerFound { id: "4f".into(), answer };
            let bytes = encode_container(&found).unwrap();
            assert_eq!(decode_container(&bytes).unwrap(), found);
        }
        assert!(decode_container(b"x").is_err());
    }
}
