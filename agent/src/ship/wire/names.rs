//! Stable names of the model's values: the same on the wire and in JSON.

use crate::model::act::{Access, MemoryWay, Outcome, Protocol, UnknownOutcome};
use crate::model::destination::DestinationIdentity;
use crate::model::event::Relation;
use crate::model::identity::{Confidence, Identity, OwnerSource};
use crate::model::name::Source;
use crate::model::process::{AgentPart, Origin, StdioKind};

use super::Text;

/// `SOCK_PACKET`, of before there were packet sockets; the kernel still takes it.
const SOCK_PACKET: i32 = 10;
/// `IPPROTO_SCTP`.
const SCTP: u16 = 132;

/// How a confidence is written.
pub(crate) const fn confidence(confidence: Confidence) -> &'static str {
    match confidence {
        Confidence::Claimed => "claimed",
        Confidence::Declared => "declared",
        Confidence::Observed => "observed",
        Confidence::Attested => "attested",
    }
}

/// How a kind of identity is written.
pub(crate) const fn identity_kind(identity: &Identity) -> &'static str {
    match identity {
        Identity::Human { .. } => "human",
        Identity::SystemUnit { .. } => "system_unit",
        Identity::UserUnit { .. } => "user_unit",
        Identity::Agent { .. } => "ai_agent",
        Identity::McpServer { .. } => "mcp_server",
        Identity::Container { .. } | Identity::Image { .. } | Identity::Compose { .. } => "container",
        Identity::Spiffe { .. } => "spiffe",
        Identity::Kubernetes { .. } => "kubernetes",
        Identity::ServiceAccount { .. } => "service_account",
        Identity::Executable { .. } => "executable",
        Identity::NamespacedExecutable { .. } => "namespaced_executable",
        Identity::Timer { .. } => "timer",
        Identity::CronJob { .. } => "cron_job",
        Identity::AtJob { .. } => "at_job",
        Identity::CiJob { .. } => "ci_job",
    }
}

/// How a kind of destination is written: one of [`KINDS`], or that of what is none of this host's.
pub(super) const fn destination_kind(identity: &DestinationIdentity) -> &'static str {
    match identity {
        DestinationIdentity::Local(identity) => identity_kind(identity),
        DestinationIdentity::Metadata(_) => "metadata_service",
        DestinationIdentity::Workload { .. } => "kubernetes_workload",
    }
}

/// All of them.
pub(crate) const KINDS: [&str; 15] = [
    "mcp_server",
    "ai_agent",
    "kubernetes",
    "container",
    "ci_job",
    "cron_job",
    "at_job",
    "timer",
    "system_unit",
    "user_unit",
    "human",
    "service_account",
    "spiffe",
    "executable",
    "namespaced_executable",
];

/// How it is written who says who owns an identity.
pub(crate) const fn owner_source(source: OwnerSource) -> &'static str {
    match source {
        OwnerSource::Operator => "operator",
        OwnerSource::Rule => "rule",
        OwnerSource::Registry => "registry",
        OwnerSource::Unit => "unit",
        OwnerSource::Workload => "workload",
        OwnerSource::Starter => "starter",
    }
}

/// How it is written what a process is in an AI agent's session.
pub(crate) const fn agent_part(part: &AgentPart) -> &'static str {
    match part {
        AgentPart::Agent => "agent",
        AgentPart::McpServer { .. } => "mcp_server",
        AgentPart::Tool | AgentPart::McpTool { .. } => "tool",
    }
}

pub(super) const fn origin(origin: Origin) -> &'static str {
    match origin {
        Origin::Observed => "observed",
        Origin::Inventoried => "inventoried",
        Origin::Inferred => "inferred",
    }
}

pub(super) const fn stdio(kind: StdioKind) -> &'static str {
    match kind {
        StdioKind::Closed => "closed",
        StdioKind::Pipe => "pipe",
        StdioKind::Socket => "socket",
        StdioKind::CharacterDevice => "character_device",
        StdioKind::File => "file",
        StdioKind::Other => "other",
    }
}

pub(super) fn protocol(protocol: Protocol) -> Text {
    match protocol {
        Protocol::Tcp => "tcp".into(),
        Protocol::Mptcp => "mptcp".into(),
        Protocol::Udp => "udp".into(),
        Protocol::Other(SCTP) => "sctp".into(),
        Protocol::Other(number) => format!("ip-{number}").into(),
    }
}

pub(super) fn address_family(number: u16) -> Text {
    match i32::from(number) {
        libc::AF_INET => "ipv4".into(),
        libc::AF_INET6 => "ipv6".into(),
        libc::AF_PACKET => "packet".into(),
        libc::AF_VSOCK => "vsock".into(),
        libc::AF_XDP => "xdp".into(),
        libc::AF_TIPC => "tipc".into(),
        libc::AF_CAN => "can".into(),
        libc::AF_BLUETOOTH => "bluetooth".into(),
        _ => format!("af-{number}").into(),
    }
}

pub(super) fn socket_type(number: u16) -> Text {
    match i32::from(number) {
        libc::SOCK_STREAM => "stream".into(),
        libc::SOCK_DGRAM => "dgram".into(),
        libc::SOCK_RAW => "raw".into(),
        libc::SOCK_RDM => "rdm".into(),
        libc::SOCK_SEQPACKET => "seqpacket".into(),
        libc::SOCK_DCCP => "dccp".into(),
        SOCK_PACKET => "packet".into(),
        _ => format!("type-{number}").into(),
    }
}

pub(super) const fn access(access: Access) -> &'static str {
    match (access.read, access.write) {
        (true, true) => "read_write",
        (true, false) => "read",
        (false, true) => "write",
        (false, false) => "none",
    }
}

pub(super) const fn way(way: MemoryWay) -> &'static str {
    match way {
        MemoryWay::Ptrace => "ptrace",
        MemoryWay::Traceme => "traceme",
        MemoryWay::VmRead => "process_vm_readv",
        MemoryWay::VmWrite => "process_vm_writev",
        MemoryWay::ProcMem => "proc_mem",
        MemoryWay::ProcEnviron => "proc_environ",
        MemoryWay::Other => "other",
    }
}

pub(super) const fn relation(relation: Relation) -> &'static str {
    match relation {
        Relation::Descendant => "descendant",
        Relation::Ancestor => "ancestor",
        Relation::Other => "other",
    }
}

/// Whether a token is that of the pod that acts.
pub(super) const fn token_of(own: bool) -> &'static str {
    if own { "own" } else { "another" }
}

/// What was answered to who asked for memory.
pub(super) const fn answer(errno: Option<u32>) -> &'static str {
    if errno.is_some() { "refused" } else { "allowed" }
}

/// Outcome, errno, reason.
pub(super) const fn outcome(outcome: Outcome) -> (&'static str, Option<u32>, Option<&'static str>) {
    match outcome {
        Outcome::Established => ("established", None, None),
        Outcome::Failed { errno } => ("failed", Some(errno), None),
        Outcome::Unknown(UnknownOutcome::Aborted) => ("unknown", None, Some("aborted")),
        Outcome::Unknown(UnknownOutcome::TimedOut(_)) => ("unknown", None, Some("timed_out")),
        Outcome::Unknown(UnknownOutcome::NotWaitedFor) => ("unknown", None, Some("not_waited_for")),
    }
}

/// The symbol of an errno that connecting can give. `std::io::Error` and rustix know numbers and sentences, not
/// symbols; the crates that know symbols (nix) would be here for this table alone.
pub(crate) fn errno(number: u32) -> Option<&'static str> {
    Some(match i32::try_from(number).ok()? {
        libc::EPERM => "EPERM",
        libc::EINTR => "EINTR",
        libc::EIO => "EIO",
        libc::EAGAIN => "EAGAIN",
        libc::ENOMEM => "ENOMEM",
        libc::EACCES => "EACCES",
        libc::EFAULT => "EFAULT",
        libc::EINVAL => "EINVAL",
        libc::EPIPE => "EPIPE",
        libc::EPROTO => "EPROTO",
        libc::EPROTOTYPE => "EPROTOTYPE",
        libc::ENOPROTOOPT => "ENOPROTOOPT",
        libc::EPROTONOSUPPORT => "EPROTONOSUPPORT",
        libc::EOPNOTSUPP => "EOPNOTSUPP",
        libc::EAFNOSUPPORT => "EAFNOSUPPORT",
        libc::EADDRINUSE => "EADDRINUSE",
        libc::EADDRNOTAVAIL => "EADDRNOTAVAIL",
        libc::ENETDOWN => "ENETDOWN",
        libc::ENETUNREACH => "ENETUNREACH",
        libc::ENETRESET => "ENETRESET",
        libc::ECONNABORTED => "ECONNABORTED",
        libc::ECONNRESET => "ECONNRESET",
        libc::ENOBUFS => "ENOBUFS",
        libc::EISCONN => "EISCONN",
        libc::ENOTCONN => "ENOTCONN",
        libc::ETIMEDOUT => "ETIMEDOUT",
        libc::ECONNREFUSED => "ECONNREFUSED",
        libc::EHOSTDOWN => "EHOSTDOWN",
        libc::EHOSTUNREACH => "EHOSTUNREACH",
        libc::EALREADY => "EALREADY",
        libc::EINPROGRESS => "EINPROGRESS",
        _ => return None,
    })
}

/// [`source`] of a ClientHello.
pub(super) const SNI: &str = "sni";

/// `source` of a name.
pub(super) const fn source(source: Source) -> &'static str {
    match source {
        Source::Resolver => "resolver",
        Source::Stranger => "stranger",
        Source::Hello => SNI,
    }
}
