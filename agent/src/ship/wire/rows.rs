//! Rows of a batch's tables: what several events share is said once.

use serde::{Deserialize, Serialize};

use super::bytes::{WireBytes, bounded};
use super::{MAX_ARGUMENTS, MAX_EVIDENCE, MAX_MARKERS, Text};

/// A row of `attributions`: who, as an identity, and why that is believed.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Attribution {
    /// Canonical string of the identity.
    pub identity: Text,
    /// Its kind.
    pub kind: Text,
    /// Confidence in it.
    pub confidence: Text,
    /// Evidence, best first.
    #[serde(
        default,
        skip_serializing_if = "Vec::is_empty",
        deserialize_with = "bounded::<_, _, MAX_EVIDENCE>"
    )]
    pub evidence: Vec<Evidence>,
    /// The human behind it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub human: Option<Text>,
    /// Other identities that apply, most specific first.
    #[serde(
        default,
        skip_serializing_if = "Vec::is_empty",
        deserialize_with = "bounded::<_, _, MAX_EVIDENCE>"
    )]
    pub blended: Vec<Text>,
    /// What it is in an AI agent's session.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub role: Option<Text>,
    /// That session.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent_session: Option<Text>,
    /// Who owns it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<Text>,
    /// Who says so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner_source: Option<Text>,
    /// How the login that it is in came about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub login: Option<Text>,
    /// The client's address and port.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub login_from: Option<Text>,
    /// The login's terminal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub login_tty: Option<Text>,
    /// The container it is in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub container: Option<Box<Container>>,
    /// The system's unit that it is in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unit: Option<Text>,
    /// The file of that unit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unit_fragment: Option<Text>,
    /// What that file says the unit is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unit_description: Option<Text>,
    /// What was found of the executable.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<Box<FileFacts>>,
    /// Version of the AI agent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent_version: Option<Text>,
}

/// What an executable contains, and where it is from.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct FileFacts {
    /// SHA-256, in hex.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sha256: Option<Text>,
    /// The linker's build id, in hex.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub build_id: Option<Text>,
    /// Its package's name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub package: Option<Text>,
    /// Its package's version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub package_version: Option<Text>,
    /// Whether it is not what the package brought.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub modified: Option<bool>,
}

/// A container, and what its engine keeps of it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Container {
    /// Its id, or a machine's name.
    pub id: Text,
    /// The engine.
    pub engine: Text,
    /// Its name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<Text>,
    /// Full repository of its image.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image: Option<Text>,
    /// Tag.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tag: Option<Text>,
    /// Digest of the image's manifest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<Text>,
    /// Digest of the image's configuration.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image_id: Option<Text>,
    /// Its pod.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pod: Option<Text>,
    /// The pod's namespace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pod_namespace: Option<Text>,
    /// The pod's uid.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pod_uid: Option<Text>,
    /// The cluster's name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cluster: Option<Text>,
    /// Kind of the workload that the pod is a part of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub workload_kind: Option<Text>,
    /// Its name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub workload: Option<Text>,
    /// The service account that the pod runs as.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service_account: Option<Text>,
    /// The pod's labels, `name=value` each.
    #[serde(
        default,
        skip_serializing_if = "Vec::is_empty",
        deserialize_with = "bounded::<_, _, MAX_EVIDENCE>"
    )]
    pub pod_labels: Vec<Text>,
}

/// A reason to believe an identity.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Evidence {
    /// Kind of fact.
    pub kind: Text,
    /// The fact, escaped text.
    pub detail: Text,
    /// How far to rely on it.
    pub confidence: Text,
}

/// A row of `credentials`: users, groups, capabilities and login of a moment.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Ids {
    /// Real user id.
    pub uid: u32,
    /// Real group id.
    pub gid: u32,
    /// Effective user id.
    pub euid: u32,
    /// Effective group id.
    pub egid: u32,
    /// Effective capabilities.
    pub capabilities: u64,
    /// Login uid.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub login_uid: Option<u32>,
    /// Audit session.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session_id: Option<u32>,
}

/// A row of `namespaces`, by inode number.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Namespaces {
    /// Mount namespace.
    pub mount: u32,
    /// Network namespace.
    pub network: u32,
    /// pid namespace.
    pub pid: u32,
    /// User namespace.
    pub user: u32,
}

/// A row of `cgroups`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Cgroup {
    /// cgroup v2 id.
    pub id: u64,
    /// Path below the mount; empty where not known.
    #[serde(default, skip_serializing_if = "WireBytes::is_empty")]
    pub path: WireBytes,
}

/// A file: device, inode, change time (seconds, nanoseconds), links, mode. An array, because each process and each
/// credential has one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct File(pub u32, pub u64, pub i64, pub u32, pub u32, pub u32);

impl File {
    /// `major:minor`, as in /proc/self/mountinfo: 12 and 20 bits of the kernel's own form.
    pub fn device(&self) -> String {
        format!("{}:{}", self.0 >> 20, self.0 & 0xf_ffff)
    }
}

/// A standard stream: kind, device, inode.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Stdio(pub Text, pub u32, pub u64);

/// An environment marker.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Marker {
    /// Its name.
    pub name: WireBytes,
    /// Its value, where it is kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<WireBytes>,
}

/// A row of `processes`: one life between two execs, shared by the events it acts in and those it is an ancestor in.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Process {
    /// Process id in the initial pid namespace.
    pub pid: u32,
    /// Start since boot, ns.
    pub start_ns: u64,
    /// Parent: pid, start.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent: Option<(u32, u64)>,
    /// Id in its own pid namespace, where it differs from `pid`; 0 where not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ns_pid: Option<u32>,
    /// The executable mapped.
    #[serde(default, skip_serializing_if = "WireBytes::is_empty")]
    pub exe: WireBytes,
    /// Its file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exe_file: Option<File>,
    /// The path given to exec, where it differs from `exe`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub filename: Option<WireBytes>,
    /// The path of what runs it, where it differs from `filename`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interpreter: Option<WireBytes>,
    /// Whether `filename` is a script.
    #[serde(default, skip_serializing_if = "super::is_default")]
    pub script: bool,
    /// Arguments, redacted.
    #[serde(
        default,
        skip_serializing_if = "Vec::is_empty",
        deserialize_with = "bounded::<_, _, MAX_ARGUMENTS>"
    )]
    pub argv: Vec<WireBytes>,
    /// Number of arguments, where it is not the length of `argv`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub argument_count: Option<u32>,
    /// Whether `argv` lacks something.
    #[serde(default, skip_serializing_if = "super::is_default")]
    pub argv_truncated: bool,
    /// Working directory.
    #[serde(default, skip_serializing_if = "WireBytes::is_empty")]
    pub cwd: WireBytes,
    /// Environment markers.
    #[serde(
        default,
        skip_serializing_if = "Vec::is_empty",
        deserialize_with = "bounded::<_, _, MAX_MARKERS>"
    )]
    pub markers: Vec<Marker>,
    /// Whether not all of the environment was looked at.
    #[serde(default, skip_serializing_if = "super::is_default")]
    pub markers_truncated: bool,
    /// Whether the loader was told to preload.
    #[serde(default, skip_serializing_if = "super::is_default")]
    pub preload: bool,
    /// Standard input, output, error.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stdio: Option<[Stdio; 3]>,
    /// Permitted capabilities at exec.
    #[serde(default, skip_serializing_if = "super::is_default")]
    pub permitted: u64,
    /// Index into `credentials`: at that time.
    pub credentials: u32,
    /// Index into `cgroups`: at that time.
    pub cgroup: u32,
    /// Index into `namespaces`: at that time.
    pub namespaces: u32,
    /// How it is known.
    pub origin: Text,
    /// When it ran this image, ns since boot.
    pub since_ns: u64,
    /// How often it has called exec.
    #[serde(default, skip_serializing_if = "super::is_default")]
    pub exec_count: u32,
}
