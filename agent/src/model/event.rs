//! Events: what is told to the outside, with who and why.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::act::{Access, Actor, Endpoint, KeyName, MemoryPair, MemoryWay, Outcome, Protocol, RawForm};
use super::bytes::RawBytes;
use super::destination::Destination;
use super::identity::Attribution;
use super::kube::TokenOf;
use super::name::Names;
use super::process::{ExecImage, FileRef, Process};
use super::time::BootTime;

/// Something worth telling.
#[derive(Clone, Debug)]
pub struct Event {
    /// When.
    pub time: BootTime,
    /// What.
    pub kind: EventKind,
}

/// What an event tells.
#[derive(Clone, Debug)]
pub enum EventKind {
    /// An identity did something.
    Activity(Box<Activity>),
    /// An activity happened again and was folded.
    Repeat(Repeat),
    /// Something was lost, and how much.
    Gap(Gap),
    /// The agent speaks of itself: start, heartbeat, stop.
    AgentStatus(AgentStatus),
}

/// What an identity did: who, what, why.
#[derive(Clone, Debug)]
pub struct Activity {
    /// Who, by identity.
    pub attribution: Arc<Attribution>,
    /// Who, by process, with its image at the time.
    pub process: Arc<Process>,
    /// Who, at the moment of the act.
    pub actor: Actor,
    /// The hook that saw it.
    pub hook: &'static str,
    /// What.
    pub what: What,
    /// Why.
    pub why: Why,
}

/// What was done.
#[derive(Clone, Debug)]
pub enum What {
    /// A connection, once its outcome is known.
    Connection(Connection),
    /// The first datagram of a socket to a peer.
    DatagramFlow(DatagramFlow),
    /// A descriptor of a credential was acquired.
    CredentialAccess(CredentialAccess),
    /// What a long connection has carried so far.
    ConnectionUpdate(Traffic),
    /// A connection was closed.
    ConnectionEnd(Traffic),
    /// A socket was made whose destinations no hook sees.
    RawSocket(RawForm),
    /// An open of a credential was refused.
    CredentialAttempt(CredentialAttempt),
    /// The ClientHello of a connection that was told asks for another name than was told.
    ConnectionName(NamedConnection),
    /// The memory of another process was reached, or that was refused.
    MemoryAccess(MemoryAccess),
    /// A key of the kernel's keyrings was read, or that was refused.
    KeyAccess(KeyAccess),
}

impl What {
    /// What is said of the name of a destination; `None` for what has none.
    pub const fn names(&self) -> Option<&Names> {
        match self {
            Self::Connection(Connection { names, .. })
            | Self::DatagramFlow(DatagramFlow { names, .. })
            | Self::ConnectionUpdate(Traffic { names, .. })
            | Self::ConnectionEnd(Traffic { names, .. })
            | Self::ConnectionName(NamedConnection { names, .. }) => Some(names),
            Self::CredentialAccess(_)
            | Self::CredentialAttempt(_)
            | Self::RawSocket(_)
            | Self::MemoryAccess(_)
            | Self::KeyAccess(_) => None,
        }
    }
}

/// A connection.
#[derive(Clone, Debug)]
pub struct Connection {
    /// Socket cookie: the same in later updates.
    pub cookie: u64,
    /// Transport protocol.
    pub protocol: Protocol,
    /// The address asked for.
    pub asked: Endpoint,
    /// The address connected, where known.
    pub connected: Option<Endpoint>,
    /// The local end, where known.
    pub local: Option<Endpoint>,
    /// How it ended.
    pub outcome: Outcome,
    /// From the attempt to its outcome, where both are known.
    pub latency_ns: Option<u64>,
    /// Whether it was open before the agent was there: the time is when that was found.
    pub held: bool,
    /// What is said of the name of `asked`.
    pub names: Names,
    /// What it leads to, where that is known.
    pub destination: Option<Arc<Destination>>,
}

/// The ClientHello of a connection asks for another name than was told with it.
#[derive(Clone, Debug)]
pub struct NamedConnection {
    /// Socket cookie: the same as of the connection.
    pub cookie: u64,
    /// Transport protocol.
    pub protocol: Protocol,
    /// The address asked for.
    pub remote: Endpoint,
    /// What is said of its name.
    pub names: Names,
}

/// What a connection has carried.
#[derive(Clone, Debug)]
pub struct Traffic {
    /// Socket cookie: the same as of the connection.
    pub cookie: u64,
    /// Transport protocol.
    pub protocol: Protocol,
    /// The address asked for.
    pub remote: Endpoint,
    /// Bytes of payload sent, each counted once.
    pub bytes_sent: u64,
    /// Bytes of payload received.
    pub bytes_received: u64,
    /// How long it has lasted since its handshake.
    pub duration_ns: u64,
    /// Positive errno that ended it; `None`: it was closed in order, or lasts.
    pub errno: Option<u32>,
    /// What is said of the name of `remote`.
    pub names: Names,
    /// What it leads to, as was told with the connection.
    pub destination: Option<Arc<Destination>>,
}

/// The first datagram of a socket to a peer.
#[derive(Clone, Debug)]
pub struct DatagramFlow {
    /// Socket cookie.
    pub cookie: u64,
    /// Transport protocol.
    pub protocol: Protocol,
    /// The peer.
    pub remote: Endpoint,
    /// What is said of its name.
    pub names: Names,
}

/// A credential was opened.
#[derive(Clone, Debug)]
pub struct CredentialAccess {
    /// Name of the catalogue's entry.
    pub credential: Arc<str>,
    /// Kind of the credential (`cloud`, `ssh`, `kubernetes`).
    pub kind: Arc<str>,
    /// How bad its loss would be, 1 to 5.
    pub sensitivity: u8,
    /// Path from the root of the process; `@` and its name for a socket of the abstract namespace.
    pub path: RawBytes,
    /// The file; all zero for such a socket.
    pub file: FileRef,
    /// Read, write, truncate.
    pub access: Access,
    /// How it was recognised: `path` or `inode`.
    pub matched_by: &'static str,
    /// How it was acquired, `open`, `received`, `stolen`, `inherited`, `held` or `connect`, or what was done to it: `rename`, `replace`, `link`, `unlink`, `chmod`,
    /// `chown`, `truncate`.
    pub how: &'static str,
    /// The other path of a rename, a replacement or a link.
    pub other_path: Option<RawBytes>,
    /// Whether a program that the entry expects has opened it to read: the same again is counted, not told.
    pub expected: bool,
    /// Whose token it is, where it lies in a pod's volume of tokens.
    pub token: Option<TokenOf>,
}

/// An open or a change of a credential was refused: nothing was acquired, nothing done.
#[derive(Clone, Debug)]
pub struct CredentialAttempt {
    /// Name of the catalogue's entry.
    pub credential: Arc<str>,
    /// Its kind.
    pub kind: Arc<str>,
    /// How bad its loss would be, 1 to 5.
    pub sensitivity: u8,
    /// Path from the root of the process.
    pub path: RawBytes,
    /// The file; `None` where the path is as the caller claimed it, and what is there was not looked at.
    pub file: Option<FileRef>,
    /// How it was recognised: `path` or `inode`.
    pub matched_by: &'static str,
    /// What was refused: `open`, or one of the changes.
    pub how: &'static str,
    /// The other path of a rename, a replacement or a link.
    pub other_path: Option<RawBytes>,
    /// Positive errno.
    pub errno: u32,
}

/// Another process than the one that acts.
#[derive(Clone, Debug)]
pub struct Party {
    /// Who, by identity.
    pub attribution: Arc<Attribution>,
    /// Who, by process.
    pub process: Arc<Process>,
}

/// The memory of another process was reached, or that was refused.
#[derive(Clone, Debug)]
pub struct MemoryAccess {
    /// Whose memory it is.
    pub target: Party,
    /// How.
    pub way: MemoryWay,
    /// What the two are to each other.
    pub relation: Relation,
    /// Positive errno of a refusal; `None`: it was allowed.
    pub refused: Option<u32>,
}

/// A key of the kernel's keyrings was read, or that was refused.
#[derive(Clone, Debug)]
pub struct KeyAccess {
    /// Its serial number.
    pub serial: u32,
    /// What it is; `None` where its number alone is known.
    pub name: Option<KeyName>,
    /// Positive errno of a refusal; `None`: it was read.
    pub refused: Option<u32>,
}

/// What another process is to the one that acts, by who made whom.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Relation {
    /// It was made by the one that acts, or by what that made.
    Descendant,
    /// It made the one that acts, or what made that.
    Ancestor,
    /// Neither, as far as is known.
    Other,
}

/// Why: the reasons that can be known.
#[derive(Clone, Debug, Default)]
pub struct Why {
    /// Ancestors, parent first, up to the session's root.
    pub lineage: Vec<Arc<Process>>,
    /// Whether the lineage ends for a reason other than having reached its root.
    pub lineage_truncated: bool,
}

/// A folded activity happened again.
#[derive(Clone, Debug)]
pub struct Repeat {
    /// Which.
    pub of: Folded,
    /// How often since the last report.
    pub count: u64,
    /// The last time.
    pub last: BootTime,
}

/// A read of a credential by a program that is expected to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExpectedRead {
    /// Who.
    pub attribution: Arc<Attribution>,
    /// The program.
    pub image: Arc<ExecImage>,
    /// Name of the catalogue's entry.
    pub credential: Arc<str>,
    /// Path from the root of the host.
    pub path: RawBytes,
    /// Effective user id at the moment of the act.
    pub euid: u32,
}

/// What is folded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Folded {
    /// Datagrams.
    Flow {
        /// Socket cookie of the flow.
        cookie: u64,
        /// The peer.
        remote: Endpoint,
    },
    /// Reaches into another's memory.
    Memory(MemoryPair),
    /// Reads of a credential by a program that is expected to.
    Read(Arc<ExpectedRead>),
}

/// Something was lost.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gap {
    /// Where: `kernel`, `decode`, `queue`.
    pub stage: &'static str,
    /// Why: a name of `agent_common::counters::Counter`, or of the stage.
    pub cause: &'static str,
    /// Hook family, where known.
    pub family: Option<&'static str>,
    /// How many records or events.
    pub lost: u64,
}

/// The agent speaks of itself.
#[derive(Clone, Debug)]
pub struct AgentStatus {
    /// `start`, `heartbeat`, `impaired`, `recovered`, `handover` or `stop`.
    pub phase: &'static str,
    /// Version of the agent.
    pub version: &'static str,
    /// The hook that serves each capability, and why a better one does not.
    pub capabilities: Vec<(String, String)>,
    /// What others have done to the agent, and is still so: cause, and hook or path.
    pub impairments: Vec<(&'static str, String)>,
    /// All counters of the ledger, by name.
    pub counters: BTreeMap<String, u64>,
}
