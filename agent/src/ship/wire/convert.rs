//! From the model to rows, each with about how many bytes it takes.

use std::sync::Arc;

use crate::model::act::Namespaces;
use crate::model::bytes::RawBytes;
use crate::model::container;
use crate::model::identity;
use crate::model::name;
use crate::model::process::{self, CredentialIds, FileRef};
use crate::model::program;

use super::bytes::{WireAddress, WireBytes};
use super::rows::{Attribution, Container, Evidence, File, FileFacts, Ids, Marker, Process, Stdio};
use super::v1::{self, Status};
use super::{MAX_ARGUMENT_BYTES, MAX_ARGUMENTS, MAX_EVIDENCE, MAX_MARKERS, Text, names};

impl From<&CredentialIds> for Ids {
    fn from(ids: &CredentialIds) -> Self {
        let CredentialIds { uid, gid, euid, egid, capabilities, login_uid, session_id } = *ids;
        Self { uid, gid, euid, egid, capabilities, login_uid, session_id }
    }
}

impl From<&Namespaces> for super::rows::Namespaces {
    fn from(namespaces: &Namespaces) -> Self {
        let Namespaces { mount, network, pid, user } = *namespaces;
        Self { mount, network, pid, user }
    }
}

impl From<&FileRef> for File {
    fn from(file: &FileRef) -> Self {
        let FileRef { device, inode, changed, links, mode } = *file;
        Self(device, inode, changed.0, changed.1, links, mode)
    }
}

impl From<&name::Names> for v1::Names {
    fn from(names: &name::Names) -> Self {
        let name::Names { destination, claims } = names;
        let claim = |claim: &name::Claim| {
            let name::Claim { name, source, server } = claim;
            let source = names::source(*source).into();
            v1::Claim(Text::Owned(name.to_string()), source, server.map(WireAddress))
        };
        let claims: Vec<_> = claims.iter().take(MAX_EVIDENCE).map(claim).collect();
        Self { known: destination.is_some() && !claims.is_empty(), claims }
    }
}

impl From<&identity::Evidence> for Evidence {
    fn from(evidence: &identity::Evidence) -> Self {
        let identity::Evidence { kind, detail, confidence } = evidence;
        Self {
            kind: Text::Borrowed(kind),
            detail: Text::Owned(detail.clone()),
            confidence: names::confidence(*confidence).into(),
        }
    }
}

impl From<&identity::Attribution> for Attribution {
    fn from(attribution: &identity::Attribution) -> Self {
        let identity::Attribution {
            identity,
            evidence,
            confidence,
            human,
            blended,
            role,
            login,
            container,
            owner,
            unit,
            file,
            agent_version,
        } = attribution;
        let unit_facts = unit.as_ref().and_then(|unit| unit.facts.as_deref());
        let owned = |identity: &identity::Identity| Text::Owned(identity.to_string());
        let evidence = evidence.iter().take(MAX_EVIDENCE).map(Evidence::from);
        // What the environment of a program that was found running says is evidence, and no more.
        let seen = login.as_deref().filter(|login| !login.found_running);
        Self {
            identity: owned(identity),
            kind: names::identity_kind(identity).into(),
            confidence: names::confidence(*confidence).into(),
            evidence: evidence.collect(),
            human: human.as_ref().map(owned),
            blended: blended.iter().take(MAX_EVIDENCE).map(owned).collect(),
            role: role.as_ref().map(|role| Text::Borrowed(names::agent_part(&role.part))),
            agent_session: role.as_ref().map(|role| Text::Owned(role.session.id())),
            owner: owner.as_ref().map(|owner| Text::Owned(owner.name.to_string())),
            owner_source: owner.as_ref().map(|owner| Text::Borrowed(names::owner_source(owner.source))),
            login: login.as_ref().map(|login| Text::Borrowed(login.way.name())),
            login_from: seen
                .and_then(|login| login.connection)
                .map(|ends| Text::Owned(ends.peer.to_string())),
            login_tty: seen.and_then(|login| login.tty.as_ref()).map(|tty| Text::Owned(tty.to_string())),
            container: container.as_ref().map(|container| Box::new((&**container).into())),
            unit: unit.as_ref().map(|unit| Text::Owned(unit.unit.to_string())),
            unit_fragment: unit_facts.map(|facts| Text::Owned(facts.fragment.to_string())),
            unit_description: unit_facts
                .and_then(|facts| facts.description.as_ref())
                .map(|text| Text::Owned(text.to_string())),
            file: file.as_ref().map(|file| Box::new((&**file).into())),
            agent_version: agent_version.as_ref().map(|version| Text::Owned(version.to_string())),
        }
    }
}

impl From<&program::FileFacts> for FileFacts {
    fn from(facts: &program::FileFacts) -> Self {
        let program::FileFacts { sha256, build_id, package } = facts;
        let owned = |text: &Arc<str>| Text::Owned(text.to_string());
        Self {
            sha256: sha256.as_ref().map(owned),
            build_id: build_id.as_ref().map(owned),
            package: package.as_ref().map(|package| owned(&package.name)),
            package_version: package.as_ref().map(|package| owned(&package.version)),
            modified: package.as_ref().and_then(|package| package.modified),
        }
    }
}

impl FileFacts {
    fn bytes(&self) -> usize {
        let Self { sha256, build_id, package, package_version, modified: _ } = self;
        let known = [sha256, build_id, package, package_version].into_iter().flatten();
        20 + known.map(|text| text.len() + 20).sum::<usize>()
    }
}

impl From<&container::InContainer> for Container {
    fn from(container: &container::InContainer) -> Self {
        let container::InContainer { engine, id, facts, pod_uid, kube } = container;
        let owned = |text: &Arc<str>| Text::Owned(text.to_string());
        let known = |text: &Arc<str>| (!text.is_empty()).then(|| owned(text));
        let facts = facts.as_deref();
        let image = facts.and_then(|facts| facts.image.as_ref());
        let pod = facts.and_then(|facts| facts.pod.as_ref());
        let kube = kube.as_deref();
        let workload = kube.and_then(|pod| pod.workload.as_ref());
        let running = kube.and_then(|pod| pod.container(id)?.digest.as_ref());
        let listed = kube.and_then(|pod| Some(&pod.container(id)?.name));
        Self {
            id: owned(id),
            engine: owned(engine),
            name: facts.and_then(|facts| facts.name.as_ref()).or(listed).map(owned),
            image: image.map(|image| Text::Owned(image.repository.to_string())),
            tag: image.and_then(|image| image.tag.as_ref()).map(owned),
            digest: image.and_then(|image| image.digest.as_ref()).or(running).map(owned),
            image_id: facts.and_then(|facts| facts.image_id.as_ref()).map(owned),
            pod: pod.map(|pod| &pod.name).or(kube.map(|pod| &pod.name)).and_then(known),
            pod_namespace: pod.map(|pod| &pod.namespace).or(kube.map(|pod| &pod.namespace)).and_then(known),
            pod_uid: pod_uid.as_ref().and_then(known),
            cluster: kube.map(|pod| owned(&pod.cluster)),
            workload_kind: workload.map(|workload| owned(&workload.kind)),
            workload: workload.map(|workload| owned(&workload.name)),
            service_account: kube.and_then(|pod| pod.service_account.as_ref()).map(owned),
            pod_labels: kube
                .into_iter()
                .flat_map(|pod| &pod.labels)
                .take(MAX_EVIDENCE)
                .map(|(name, value)| Text::Owned(format!("{name}={value}")))
                .collect(),
        }
    }
}

impl Container {
    fn bytes(&self) -> usize {
        let Self {
            id,
            engine,
            name,
            image,
            tag,
            digest,
            image_id,
            pod,
            pod_namespace,
            pod_uid,
            cluster,
            workload_kind,
            workload,
            service_account,
            pod_labels,
        } = self;
        let known = [name, image, tag, digest, image_id, pod, pod_namespace, pod_uid];
        let told = [cluster, workload_kind, workload, service_account];
        let known = known.into_iter().chain(told).flatten().chain(pod_labels);
        [id, engine].into_iter().chain(known).map(|text| text.len() + 20).sum()
    }
}

impl Attribution {
    pub(super) fn bytes(&self) -> usize {
        let text = |text: &Text| text.len() + 4;
        let evidence = |evidence: &Evidence| 40 + evidence.kind.len() + evidence.detail.len();
        64 + self.identity.len()
            + self.evidence.iter().map(evidence).sum::<usize>()
            + [&self.human, &self.role, &self.agent_session, &self.login, &self.login_from, &self.login_tty]
                .into_iter()
                .chain([&self.owner, &self.owner_source, &self.agent_version])
                .chain([&self.unit, &self.unit_fragment, &self.unit_description])
                .flatten()
                .map(|column| text(column) + 12)
                .sum::<usize>()
            + self.blended.iter().map(text).sum::<usize>()
            + self.container.as_ref().map_or(0, |container| container.bytes())
            + self.file.as_ref().map_or(0, |file| file.bytes())
    }
}

impl Process {
    pub(super) fn new(process: &process::Process, credentials: u32, cgroup: u32, namespaces: u32) -> Self {
        let process::ExecImage {
            exe,
            exe_file,
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
        } = &*process.image;
        let (argv, cut) = arguments(argv);
        let stdio_row = |stream: &process::Stdio| {
            Stdio(Text::Borrowed(names::stdio(stream.kind)), stream.device, stream.inode)
        };
        let marker = |marker: &process::Marker| Marker {
            name: (&marker.name).into(),
            value: marker.value.as_ref().map(WireBytes::from),
        };
        Self {
            pid: process.key.pid,
            start_ns: process.key.start.ns,
            parent: process.parent.map(|parent| (parent.pid, parent.start.ns)),
            ns_pid: (process.namespaced_pid != process.key.pid).then_some(process.namespaced_pid),
            exe: exe.into(),
            exe_file: (*exe_file != process::FileRef::default()).then(|| exe_file.into()),
            filename: (filename != exe).then(|| filename.into()),
            interpreter: (interpreter != filename).then(|| interpreter.into()),
            script: *script,
            argument_count: (*argument_count as usize != argv.len()).then_some(*argument_count),
            argv,
            argv_truncated: *argv_truncated || cut,
            cwd: cwd.into(),
            markers: markers.iter().take(MAX_MARKERS).map(marker).collect(),
            markers_truncated: *markers_truncated || markers.len() > MAX_MARKERS,
            preload: *preload,
            stdio: (*stdio != <[process::Stdio; 3]>::default()).then(|| stdio.each_ref().map(stdio_row)),
            permitted: *capabilities_permitted,
            credentials,
            cgroup,
            namespaces,
            origin: names::origin(process.origin).into(),
            since_ns: process.since.ns,
            exec_count: process.exec_count,
        }
    }

    pub(super) fn bytes(&self) -> usize {
        let sized = |bytes: &WireBytes| bytes.as_bytes().len() + 5;
        let optional = |bytes: &Option<WireBytes>| bytes.as_ref().map_or(0, |bytes| sized(bytes) + 12);
        let marker = |marker: &Marker| sized(&marker.name) + optional(&marker.value) + 12;
        300 + sized(&self.exe)
            + sized(&self.cwd)
            + optional(&self.filename)
            + optional(&self.interpreter)
            + self.argv.iter().map(sized).sum::<usize>()
            + self.markers.iter().map(marker).sum::<usize>()
    }
}

impl Status {
    pub(super) fn bytes(&self) -> usize {
        let serving = self.serving.iter().map(|(name, hook)| name.len() + hook.len() + 10);
        let counters = self.counters.iter().map(|(name, _)| name.len() + 15);
        64 + serving.chain(counters).sum::<usize>()
    }
}

/// The arguments within the limits of the format, and whether something was cut.
fn arguments(argv: &[RawBytes]) -> (Vec<WireBytes>, bool) {
    let mut room = MAX_ARGUMENT_BYTES;
    let mut kept = Vec::with_capacity(argv.len().min(MAX_ARGUMENTS));
    for argument in argv {
        let bytes = argument.as_bytes();
        let Some(left) = room.checked_sub(bytes.len() + 1).filter(|_| kept.len() < MAX_ARGUMENTS) else {
            let beginning = bytes.get(..room).filter(|beginning| !beginning.is_empty());
            if let Some(beginning) = beginning.filter(|_| kept.len() < MAX_ARGUMENTS) {
                kept.push(WireBytes(RawBytes::from(beginning)));
            }
            return (kept, true);
        };
        room = left;
        kept.push(argument.into());
    }
    (kept, false)
}
