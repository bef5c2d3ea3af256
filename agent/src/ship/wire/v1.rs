//! Version 1: a batch and its events. The module above says how it is laid out.

use serde::{Deserialize, Serialize};

use super::bytes::{WireAddress, WireBytes, bounded};
use super::rows::{Attribution, Cgroup, Evidence, File, Ids, Namespaces, Process};
use super::{MAX_COUNTERS, MAX_EVENTS, MAX_EVIDENCE, MAX_LINEAGE, MAX_ROWS, Text};

/// A batch.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Batch {
    /// Version of the format.
    pub version: u32,
    /// Who speaks.
    pub host: Host,
    /// Start of the agent within the boot.
    pub epoch: u64,
    /// Sequence number of the first event.
    pub first_seq: u64,
    /// One reading of both clocks.
    pub clock: Clock,
    /// Table of attributions.
    #[serde(default, skip_serializing_if = "Vec::is_empty", deserialize_with = "bounded::<_, _, MAX_ROWS>")]
    pub attributions: Vec<Attribution>,
    /// Table of credentials of processes.
    #[serde(default, skip_serializing_if = "Vec::is_empty", deserialize_with = "bounded::<_, _, MAX_ROWS>")]
    pub credentials: Vec<Ids>,
    /// Table of cgroups.
    #[serde(default, skip_serializing_if = "Vec::is_empty", deserialize_with = "bounded::<_, _, MAX_ROWS>")]
    pub cgroups: Vec<Cgroup>,
    /// Table of namespaces.
    #[serde(default, skip_serializing_if = "Vec::is_empty", deserialize_with = "bounded::<_, _, MAX_ROWS>")]
    pub namespaces: Vec<Namespaces>,
    /// Table of processes.
    #[serde(default, skip_serializing_if = "Vec::is_empty", deserialize_with = "bounded::<_, _, MAX_ROWS>")]
    pub processes: Vec<Process>,
    /// The events, in order of their sequence numbers.
    #[serde(deserialize_with = "bounded::<_, _, MAX_EVENTS>")]
    pub events: Vec<Event>,
}

/// Who speaks.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Host {
    /// Host name.
    pub name: WireBytes,
    /// Hash of the machine id, hex.
    pub id: String,
    /// The kernel's boot id.
    pub boot_id: String,
    /// The realm that its identities are of, where an operator gave one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub realm: Option<Text>,
}

/// One reading of both clocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Clock {
    /// Nanoseconds since boot.
    pub boot_ns: u64,
    /// Nanoseconds since 1970.
    pub unix_ns: i64,
}

/// An event. One of the optional parts is there; none is in an event of a kind this reader does not know.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Event {
    /// Sequence number, less the batch's `first_seq`.
    #[serde(rename = "n")]
    pub offset: u32,
    /// When, ns since boot.
    #[serde(rename = "t")]
    pub boot_ns: u64,
    /// An identity did something.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub activity: Option<Box<Activity>>,
    /// A folded activity happened again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub repeat: Option<Repeat>,
    /// Something was lost.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gap: Option<Gap>,
    /// The agent speaks of itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<Box<Status>>,
}

/// What an identity did. One of the optional parts is there.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Activity {
    /// Index into `attributions`.
    pub who: u32,
    /// Index into `processes`.
    pub process: u32,
    /// The thread.
    pub tid: u32,
    /// Index into `credentials`: at the moment of the act.
    pub credentials: u32,
    /// Index into `cgroups`: at the moment of the act.
    pub cgroup: u32,
    /// Index into `namespaces`: at the moment of the act.
    pub namespaces: u32,
    /// Command name.
    #[serde(default, skip_serializing_if = "WireBytes::is_empty")]
    pub comm: WireBytes,
    /// The hook that saw it.
    pub hook: Text,
    /// Indexes into `processes`: ancestors, parent first.
    #[serde(
        default,
        skip_serializing_if = "Vec::is_empty",
        deserialize_with = "bounded::<_, _, MAX_LINEAGE>"
    )]
    pub lineage: Vec<u32>,
    /// Whether the lineage ends before its root.
    #[serde(default, skip_serializing_if = "super::is_default")]
    pub lineage_truncated: bool,
    /// A connection.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub connection: Option<Connection>,
    /// The first datagram to a peer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub datagram: Option<Datagram>,
    /// A credential was opened.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub credential: Option<Credential>,
    /// What a connection has carried so far.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub update: Option<Traffic>,
    /// A connection was closed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub end: Option<Traffic>,
    /// A socket was made whose destinations no hook sees.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub raw: Option<RawSocket>,
    /// An open of a credential was refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attempt: Option<Attempt>,
    /// A connection has another name than was told with it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub named: Option<Named>,
    /// The memory of another process was reached, or that was refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory: Option<Memory>,
    /// A key was read, or that was refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<Key>,
}

/// What is said of a destination's name.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Names {
    /// Its name: that of the first claim, if a resolver of the host said it.
    #[serde(default, skip_serializing_if = "super::is_default")]
    pub known: bool,
    /// All that is said.
    #[serde(
        default,
        skip_serializing_if = "Vec::is_empty",
        deserialize_with = "bounded::<_, _, MAX_EVIDENCE>"
    )]
    pub claims: Vec<Claim>,
}

/// A name, who says it (`resolver`, `stranger`, `sni`), and the DNS server that answered.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Claim(pub Text, pub Text, pub Option<WireAddress>);

/// A connection has another name than was told with it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Named {
    /// Socket cookie.
    pub cookie: u64,
    /// Transport protocol.
    pub protocol: Text,
    /// Asked for.
    pub remote: Endpoint,
    /// What is said of its name.
    #[serde(default, skip_serializing_if = "super::is_default")]
    pub names: Names,
}

/// An address and port: an array, because a connection has three. The third says that the program wrote an IPv4
/// address in its v4-mapped form.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Endpoint(pub WireAddress, pub u16, pub bool);

/// A connection.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Connection {
    /// Socket cookie.
    pub cookie: u64,
    /// Transport protocol.
    pub protocol: Text,
    /// Asked for.
    pub asked: Endpoint,
    /// Connected, where known and other than `asked`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub connected: Option<Endpoint>,
    /// Whether `connected` is the same as `asked`.
    #[serde(default, skip_serializing_if = "super::is_default")]
    pub as_asked: bool,
    /// The local end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub local: Option<Endpoint>,
    /// How it ended.
    pub outcome: Text,
    /// Positive errno, of a failure.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub errno: Option<u32>,
    /// Why the outcome is not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<Text>,
    /// How long the agent waited for an end that did not come.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub waited_ns: Option<u64>,
    /// From the attempt to its outcome.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub latency_ns: Option<u64>,
    /// Whether it was open before the agent.
    #[serde(default, skip_serializing_if = "super::is_default")]
    pub held: bool,
    /// What is said of its name.
    #[serde(default, skip_serializing_if = "super::is_default")]
    pub names: Names,
    /// What it leads to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub destination: Option<Box<Destination>>,
}

/// What a connection leads to.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Destination {
    /// One stable name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub identity: Option<Text>,
    /// Its kind.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<Text>,
    /// Confidence in it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub confidence: Option<Text>,
    /// What is known.
    #[serde(
        default,
        skip_serializing_if = "Vec::is_empty",
        deserialize_with = "bounded::<_, _, MAX_EVIDENCE>"
    )]
    pub evidence: Vec<Evidence>,
    /// Index into `processes`: the process that listens.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub process: Option<u32>,
}

/// What a connection has carried.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Traffic {
    /// Socket cookie.
    pub cookie: u64,
    /// Transport protocol.
    pub protocol: Text,
    /// Asked for.
    pub remote: Endpoint,
    /// Bytes of payload sent.
    pub sent: u64,
    /// Bytes of payload received.
    pub received: u64,
    /// Since its handshake.
    pub duration_ns: u64,
    /// Positive errno that ended it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub errno: Option<u32>,
    /// What is said of its name.
    #[serde(default, skip_serializing_if = "super::is_default")]
    pub names: Names,
    /// What it leads to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub destination: Option<Box<Destination>>,
}

/// A socket whose destinations no hook sees; a TUN or TAP interface has a family alone.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RawSocket {
    /// `ipv4`, `packet`, `tun`.
    pub family: Text,
    /// `raw`, `dgram`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub socket_type: Option<Text>,
    /// As asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub protocol: Option<u16>,
}

/// The first datagram of a socket to a peer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Datagram {
    /// Socket cookie.
    pub cookie: u64,
    /// Transport protocol.
    pub protocol: Text,
    /// The peer.
    pub remote: Endpoint,
    /// What is said of its name.
    #[serde(default, skip_serializing_if = "super::is_default")]
    pub names: Names,
}

/// A credential was opened.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Credential {
    /// The catalogue's entry.
    pub name: Text,
    /// Its kind.
    pub kind: Text,
    /// 1 to 5.
    pub sensitivity: u8,
    /// Path from the root of the process.
    pub path: WireBytes,
    /// The file.
    pub file: File,
    /// `read`, `write`, `read_write`, `none`.
    pub access: Text,
    /// Whether the open emptied the file.
    #[serde(default, skip_serializing_if = "super::is_default")]
    pub truncate: bool,
    /// `path` or `inode`.
    pub matched_by: Text,
    /// How it was acquired.
    #[serde(default = "opened", skip_serializing_if = "is_opened")]
    pub how: Text,
    /// The other path of a rename, a replacement or a link.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub other_path: Option<WireBytes>,
    /// Whether an expected reader has opened it to read.
    #[serde(default, skip_serializing_if = "super::is_default")]
    pub expected: bool,
    /// Whose token it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token: Option<Box<TokenOf>>,
}

/// Whose token a file is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TokenOf {
    /// Whether it is that of the pod that acts (`own`) or of another (`another`).
    pub of: Text,
    /// The pod's uid.
    pub pod_uid: Text,
    /// The pod, `namespace/name`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pod: Option<Text>,
    /// The service account, `namespace/name`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service_account: Option<Text>,
}

/// An open of a credential was refused.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Attempt {
    /// The catalogue's entry.
    pub name: Text,
    /// Its kind.
    pub kind: Text,
    /// 1 to 5.
    pub sensitivity: u8,
    /// Path from the root of the process.
    pub path: WireBytes,
    /// The file; without it the path is as the caller claimed it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<File>,
    /// `path` or `inode`.
    pub matched_by: Text,
    /// What was refused.
    #[serde(default = "opened", skip_serializing_if = "is_opened")]
    pub how: Text,
    /// The other path of a rename, a replacement or a link.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub other_path: Option<WireBytes>,
    /// Positive errno.
    pub errno: u32,
}

/// The memory of another process was reached, or that was refused.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Memory {
    /// Whose it is.
    pub target: Party,
    /// How.
    pub how: Text,
    /// What the other is to the one that acts.
    pub relation: Text,
    /// Positive errno of a refusal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub errno: Option<u32>,
}

/// A key was read, or that was refused.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Key {
    /// Its serial number.
    pub serial: u32,
    /// Its type.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<WireBytes>,
    /// Its description.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<WireBytes>,
    /// Whether the description lacks its end.
    #[serde(default, skip_serializing_if = "super::is_default")]
    pub truncated: bool,
    /// Whose it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<u32>,
    /// Positive errno of a refusal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub errno: Option<u32>,
}

/// Another process than the one that acts: indexes into `attributions` and `processes`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Party(pub u32, pub u32);

/// Two processes, pid and start of each: one reached into the other's memory.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Reach {
    /// Who reached.
    pub actor: (u32, u64),
    /// Whose memory it is; none for environments, whosesoever.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<(u32, u64)>,
    /// How.
    pub how: Text,
    /// Positive errno of a refusal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub errno: Option<u32>,
}

/// A read of a credential by a program that is expected to: all that makes two of them the same.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Read {
    /// Who.
    pub identity: Text,
    /// Path of the program.
    pub exe: WireBytes,
    /// Its file.
    pub exe_file: File,
    /// The catalogue's entry.
    pub credential: Text,
    /// Path of the credential.
    pub path: WireBytes,
    /// Effective user id.
    pub euid: u32,
}

/// Of before there were other ways.
const OPENED: &str = "open";

const fn opened() -> Text {
    Text::Borrowed(OPENED)
}

fn is_opened(how: &Text) -> bool {
    how == OPENED
}

/// A folded activity happened again.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Repeat {
    /// Socket cookie of a flow.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cookie: Option<u64>,
    /// Its peer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub remote: Option<Endpoint>,
    /// A reach into another's memory.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory: Option<Reach>,
    /// A read of a credential by a program that is expected to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub read: Option<Box<Read>>,
    /// How often since the last report.
    pub count: u64,
    /// The last time, ns since boot.
    pub last_ns: u64,
}

/// Something was lost.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Gap {
    /// Where.
    pub stage: Text,
    /// Why.
    pub cause: Text,
    /// Hook family.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub family: Option<Text>,
    /// How many.
    pub lost: u64,
}

/// The agent speaks of itself.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Status {
    /// `start`, `heartbeat`, `stop`.
    pub phase: Text,
    /// Version of the agent.
    pub version: Text,
    /// (capability, what serves it).
    #[serde(
        default,
        skip_serializing_if = "Vec::is_empty",
        deserialize_with = "bounded::<_, _, MAX_COUNTERS>"
    )]
    pub serving: Vec<(Text, Text)>,
    /// (counter, value).
    #[serde(
        default,
        skip_serializing_if = "Vec::is_empty",
        deserialize_with = "bounded::<_, _, MAX_COUNTERS>"
    )]
    pub counters: Vec<(Text, u64)>,
    /// (cause, hook or path) of what others have done to the agent.
    #[serde(
        default,
        skip_serializing_if = "Vec::is_empty",
        deserialize_with = "bounded::<_, _, MAX_COUNTERS>"
    )]
    pub impairments: Vec<(Text, Text)>,
}
