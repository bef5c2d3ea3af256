//! Bytes of one ring record → [`Act`].
//!
//! The bytes are judged before they are believed: every length, count, kind and terminator is checked, nothing is cast.
//! A record that fails is counted by its cause ([`DecodeError::cause`]) and never stops the stream.
//!
//! **Paths that lack their beginning.** A path that the kernel could not walk to its root comes out without the
//! leading `/`, so that it can never be taken for a path from the root.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use agent_common::counters::Family;
use agent_common::keys::InodeKey;
use agent_common::limits::{CGROUP_PATH_BYTES, COMM_BYTES, MAX_RECORD_BYTES, PATH_BYTES, PAYLOAD_BYTES};
use agent_common::nesting::{LEVEL_SHIFT, LEVELS};
use agent_common::records::{
    self, AnswerRecord, CgroupRecord, ConnectRecord, ExitRecord, FileIdentity, FileRecord, ForkRecord,
    Header, HelloRecord, ListenEndRecord, ListenRecord, OutcomeRecord, RawSocketRecord, TUN_FAMILY,
    TrafficRecord, acquired, file_flag, hook, kind, outcome,
};
use agent_common::rings::Ring;
use zerocopy::{FromBytes, Immutable, KnownLayout};

use super::sections::{Tail, plain, reversed_path};
use super::sequence::Series;
use super::{change, memory, refused};
use crate::model::act::{
    Access, Acquired, Act, Actor, Attempted, ConnectAttempt, ConnectOutcome, Deed, DnsAnswer, Endpoint, Exit,
    FileOpen, Fork, HelloPiece, Listen, Namespaces, Outcome, Protocol, RawForm, RawSocket, Traffic,
    UnixConnect, UnknownOutcome,
};
use crate::model::bytes::RawBytes;
use crate::model::process::{Cgroup, CredentialIds, FileRef, ProcessKey};
use crate::model::time::BootTime;

/// CPUs that a record may name: `NR_CPUS` of every distribution kernel is at most this.
pub const MAX_CPUS: u32 = 8192;

/// Where DNS servers listen: the kernel side looks at no other port.
const DNS_PORT: u16 = 53;
const AF_INET: u16 = libc::AF_INET as u16;
const AF_INET6: u16 = libc::AF_INET6 as u16;
/// `FMODE_READ` and `FMODE_WRITE` of `linux/fs.h`.
const MODE_READ: u32 = 1;
const MODE_WRITE: u32 = 2;

/// Why a record cannot be read, and where.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// Fewer bytes than the fixed part.
    #[error("record too short: {part} needs {needed} bytes, {bytes} are there")]
    Short {
        /// Part of the record.
        part: &'static str,
        /// Bytes that it needs.
        needed: usize,
        /// Bytes there are.
        bytes: usize,
    },
    /// `header.length` is more than there is, or than a record may have.
    #[error("record claims {length} bytes, {bytes} are there and {MAX_RECORD_BYTES} are allowed")]
    Length {
        /// What the header claims.
        length: u32,
        /// Bytes there are.
        bytes: usize,
    },
    /// `ChangeRecord::change` is none of [`records::change`].
    #[error("record of an unknown change {0}: kernel programs and agent are of different versions")]
    Change(u32),
    /// `MemoryRecord::way` is none of [`records::memory`].
    #[error("record of an unknown way to memory {0}: kernel programs and agent are of different versions")]
    Way(u32),
    /// `FileRecord::how` is none of [`records::acquired`].
    #[error(
        "record of a descriptor acquired in an unknown way {0}: kernel programs and agent are of different versions"
    )]
    Acquired(u16),
    /// `header.kind` is none of [`kind`].
    #[error("record of unknown kind {0}: kernel programs and agent are of different versions")]
    Kind(u16),
    /// `header.hook` is none of [`hook`].
    #[error("record of unknown hook {0}: kernel programs and agent are of different versions")]
    Hook(u16),
    /// `header.cpu` is not below [`MAX_CPUS`].
    #[error("record of CPU {0}, of at most {MAX_CPUS}")]
    Cpu(u32),
    /// `header.ring` is none of [`Ring`].
    #[error("record of unknown ring {0}: kernel programs and agent are of different versions")]
    Ring(u32),
    /// A section is longer than its limit.
    #[error("{part} has {length} bytes, of at most {limit}")]
    Limit {
        /// Section.
        part: &'static str,
        /// Its length.
        length: usize,
        /// Its limit.
        limit: usize,
    },
    /// A section reaches beyond the record.
    #[error("{part} has {length} bytes, {room} are left in the record")]
    Section {
        /// Section.
        part: &'static str,
        /// Its length.
        length: usize,
        /// What is left for it.
        room: usize,
    },
    /// A section's last string does not end in NUL.
    #[error("{0} does not end in NUL")]
    Terminator(&'static str),
    /// A text holds a NUL, or a reversed path an empty component.
    #[error("{0} holds an empty component or a NUL")]
    Component(&'static str),
    /// An address family that is not IPv4 or IPv6.
    #[error("{part} is of address family {family}")]
    AddressFamily {
        /// Which address.
        part: &'static str,
        /// Its family.
        family: u16,
    },
    /// `outcome` is none of [`outcome`].
    #[error("unknown outcome {0} of a connection")]
    Outcome(u16),
}

impl DecodeError {
    /// All causes, as [`DecodeError::cause`] gives them: names for metrics and heartbeats.
    pub const CAUSES: [&str; 12] = [
        "short",
        "length",
        "kind",
        "hook",
        "cpu",
        "ring",
        "limit",
        "section",
        "terminator",
        "component",
        "address_family",
        "outcome",
    ];

    /// Stable name of the cause.
    pub const fn cause(&self) -> &'static str {
        match self {
            Self::Short { .. } => "short",
            Self::Length { .. } => "length",
            Self::Change(_) | Self::Way(_) | Self::Acquired(_) | Self::Kind(_) => "kind",
            Self::Hook(_) => "hook",
            Self::Cpu(_) => "cpu",
            Self::Ring(_) => "ring",
            Self::Limit { .. } => "limit",
            Self::Section { .. } => "section",
            Self::Terminator(_) => "terminator",
            Self::Component(_) => "component",
            Self::AddressFamily { .. } => "address_family",
            Self::Outcome(_) => "outcome",
        }
    }
}

/// What every record says of itself; enough to follow the sequences, also where the rest cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Meta {
    /// Ring, and CPU that wrote it; below [`MAX_CPUS`].
    pub series: Series,
    /// Its number in that series.
    pub sequence: u64,
    /// When.
    pub time: BootTime,
    /// Bytes of the record.
    pub length: usize,
    /// One of [`kind`], or a value that is none.
    pub kind: u16,
}

impl Meta {
    /// Hook family of the kernel's counters; `None` for an unknown kind.
    pub const fn family(&self) -> Option<Family> {
        match self.kind {
            kind::FORK | kind::EXEC | kind::EXIT => Some(Family::Process),
            kind::CONNECT
            | kind::OUTCOME
            | kind::CONNECTION_END
            | kind::CONNECTION_UPDATE
            | kind::RAW_SOCKET => Some(Family::Connection),
            kind::DATAGRAM => Some(Family::Datagram),
            kind::FILE_OPEN | kind::UNIX_CONNECT | kind::OPEN_REFUSED | kind::CHANGE => Some(Family::File),
            kind::DNS_ANSWER | kind::CLIENT_HELLO => Some(Family::Name),
            kind::MEMORY => Some(Family::Memory),
            kind::KEY => Some(Family::Key),
            kind::LISTEN | kind::LISTEN_END => Some(Family::Listener),
            kind::CGROUP_MADE => Some(Family::Cgroup),
            _ => None,
        }
    }
}

/// Reads the header alone. An error here costs the record its place in the sequence too.
pub fn meta(bytes: &[u8]) -> Result<Meta, DecodeError> {
    let (header, _) = fixed::<Header>("header", bytes)?;
    let length = header.length as usize;
    if length > bytes.len() || length > MAX_RECORD_BYTES {
        return Err(DecodeError::Length { length: header.length, bytes: bytes.len() });
    }
    // Above its number stands the depth of interruption, on kernels whose programs count so: a series of its own.
    if header.cpu & ((1 << LEVEL_SHIFT) - 1) >= MAX_CPUS || u64::from(header.cpu >> LEVEL_SHIFT) >= LEVELS {
        return Err(DecodeError::Cpu(header.cpu));
    }
    let ring = Ring::from_number(header.ring).ok_or(DecodeError::Ring(header.ring))?;
    let series = Series { ring, cpu: header.cpu };
    let time = BootTime::from_ns(header.time_boot_ns);
    Ok(Meta { series, sequence: header.sequence, time, length, kind: header.kind })
}

/// Reads one record. Bytes after `header.length` are ignored.
pub fn decode(bytes: &[u8]) -> Result<Act, DecodeError> {
    let meta = meta(bytes)?;
    let record = bytes.get(..meta.length).unwrap_or(bytes);
    let deed = match meta.kind {
        kind::FORK => fork(record),
        kind::EXEC => super::exec::decode(record).map(|exec| Deed::Exec(Box::new(exec))),
        kind::EXIT => exit(record),
        kind::CONNECT => connect(record).map(Deed::ConnectAttempt),
        kind::OUTCOME => connect_outcome(record),
        kind::DATAGRAM => connect(record).map(Deed::Datagram),
        kind::FILE_OPEN => file_open(record),
        kind::CONNECTION_END => traffic(record).map(Deed::ConnectionEnd),
        kind::CONNECTION_UPDATE => traffic(record).map(Deed::ConnectionUpdate),
        kind::RAW_SOCKET => raw_socket(record),
        kind::UNIX_CONNECT => unix_connect(record),
        kind::OPEN_REFUSED => refused::open(record),
        kind::DNS_ANSWER => dns_answer(record),
        kind::CLIENT_HELLO => hello_piece(record),
        kind::CHANGE => change::change(record),
        kind::MEMORY => memory::memory(record),
        kind::KEY => super::key::key(record),
        kind::LISTEN => listen(record),
        kind::LISTEN_END => listen_end(record),
        kind::CGROUP_MADE => cgroup_made(record),
        unknown => Err(DecodeError::Kind(unknown)),
    }?;
    let (header, _) = fixed::<Header>("header", record)?;
    Ok(Act { time: meta.time, hook: hook_name(header.hook)?, deed })
}

/// Name of the walk that finds what is open already.
pub const HELD: &str = "iter/task_file";

/// Stable name of a hook, as events carry it.
pub const fn hook_name(number: u16) -> Result<&'static str, DecodeError> {
    Ok(match number {
        hook::SCHED_PROCESS_FORK => "tp_btf/sched_process_fork",
        hook::SCHED_PROCESS_EXEC => "tp_btf/sched_process_exec",
        hook::SCHED_PROCESS_EXIT => "tp_btf/sched_process_exit",
        hook::CGROUP_CONNECT4 => "cgroup/connect4",
        hook::CGROUP_CONNECT6 => "cgroup/connect6",
        hook::CGROUP_SENDMSG4 => "cgroup/sendmsg4",
        hook::CGROUP_SENDMSG6 => "cgroup/sendmsg6",
        hook::CGROUP_EGRESS => "cgroup_skb/egress",
        hook::INET_SOCK_SET_STATE => "tp_btf/inet_sock_set_state",
        hook::TCP_V4_CONNECT_EXIT => "fexit/tcp_v4_connect",
        hook::TCP_V6_CONNECT_EXIT => "fexit/tcp_v6_connect",
        hook::SYS_EXIT => "tp_btf/sys_exit",
        hook::LSM_FILE_OPEN => "lsm/file_open",
        hook::FENTRY_FILE_OPEN => "fentry/security_file_open",
        hook::SOCKET_ITERATOR => "iter/bpf_sk_storage_map",
        hook::FENTRY_SOCKET_POST_CREATE => "fentry/security_socket_post_create",
        hook::CGROUP_SOCK_CREATE => "cgroup/sock_create",
        hook::FENTRY_TUN_DEV_ATTACH => "fentry/security_tun_dev_attach",
        hook::FENTRY_UNIX_STREAM_CONNECT => "fentry/security_unix_stream_connect",
        hook::FENTRY_UNIX_MAY_SEND => "fentry/security_unix_may_send",
        hook::FEXIT_CAPABLE_OVER_INODE => "fexit/capable_wrt_inode_uidgid",
        hook::CGROUP_INGRESS => "cgroup_skb/ingress",
        hook::FEXIT_RENAME => "fexit/vfs_rename",
        hook::FEXIT_LINK => "fexit/vfs_link",
        hook::FEXIT_UNLINK => "fexit/vfs_unlink",
        hook::FEXIT_CHMOD => "fexit/chmod_common",
        hook::FEXIT_CHOWN => "fexit/chown_common",
        hook::FEXIT_TRUNCATE => "fexit/vfs_truncate",
        hook::FEXIT_PTRACE_MAY_ACCESS => "fexit/__ptrace_may_access",
        hook::FEXIT_MEM_OPEN => "fexit/mem_open",
        hook::FEXIT_ENVIRON_OPEN => "fexit/environ_open",
        hook::FEXIT_PTRACE_TRACEME => "fexit/security_ptrace_traceme",
        hook::FEXIT_KEY_READ => "fexit/keyctl_read_key",
        hook::FEXIT_FILE_RECEIVE => "fexit/security_file_receive",
        hook::FILE_ITERATOR => HELD,
        hook::CGROUP_MKDIR => "tp_btf/cgroup_mkdir",
        unknown => return Err(DecodeError::Hook(unknown)),
    })
}

/// Reads the fixed part of a record, and gives what follows it.
pub(super) fn fixed<'a, T>(part: &'static str, bytes: &'a [u8]) -> Result<(T, &'a [u8]), DecodeError>
where
    T: FromBytes + KnownLayout + Immutable,
{
    T::read_from_prefix(bytes).map_err(|_| DecodeError::Short {
        part,
        needed: size_of::<T>(),
        bytes: bytes.len(),
    })
}

pub(super) fn actor(record: &records::Actor) -> Actor {
    Actor {
        process: key(record.tgid, record.start_boot_ns),
        tid: record.tid,
        ids: CredentialIds {
            uid: record.uid,
            gid: record.gid,
            euid: record.euid,
            egid: record.egid,
            capabilities: record.capabilities,
            login_uid: unless_unset(record.login_uid),
            session_id: unless_unset(record.session_id),
        },
        cgroup_id: record.cgroup_id,
        namespaces: Namespaces {
            mount: record.mount_namespace,
            network: record.network_namespace,
            pid: record.pid_namespace,
            user: record.user_namespace,
        },
        comm: command_name(&record.comm),
    }
}

pub(super) const fn key(pid: u32, start_boot_ns: u64) -> ProcessKey {
    ProcessKey { pid, start: BootTime::from_ns(start_boot_ns) }
}

/// The part of a change time's nanoseconds that is one. Since Linux 6.13 the kernel keeps a mark above it that somebody has
/// asked for the time (`I_CTIME_QUERIED`): with it a file would be another after the first look at it.
const NANOSECONDS: u32 = (1 << 30) - 1;

pub(super) const fn file(identity: &FileIdentity) -> FileRef {
    let InodeKey { inode, device, .. } = identity.key;
    FileRef {
        device,
        inode,
        changed: (identity.ctime_seconds, identity.ctime_nanoseconds & NANOSECONDS),
        links: identity.links,
        mode: identity.mode,
    }
}

/// The kernel's "not set" of login uid and session (`AUDIT_UID_UNSET`, `AUDIT_SID_UNSET`).
const fn unless_unset(id: u32) -> Option<u32> {
    if id == u32::MAX { None } else { Some(id) }
}

fn command_name(comm: &[u8; COMM_BYTES]) -> RawBytes {
    RawBytes::from(comm.split(|&byte| byte == 0).next().unwrap_or_default())
}

fn fork(bytes: &[u8]) -> Result<Deed, DecodeError> {
    let (record, _) = fixed::<ForkRecord>("fork", bytes)?;
    Ok(Deed::Fork(Fork {
        actor: actor(&record.actor),
        child: key(record.child_tgid, record.child_start_boot_ns),
        parent: key(record.parent_tgid, record.parent_start_boot_ns),
        namespaced_pid: record.child_namespaced_pid,
        tag: record.tag,
    }))
}

fn exit(bytes: &[u8]) -> Result<Deed, DecodeError> {
    let (record, _) = fixed::<ExitRecord>("exit", bytes)?;
    Ok(Deed::Exit(Exit { actor: actor(&record.actor), wait_status: record.wait_status }))
}

fn connect(bytes: &[u8]) -> Result<ConnectAttempt, DecodeError> {
    let (record, _) = fixed::<ConnectRecord>("connect", bytes)?;
    Ok(ConnectAttempt {
        actor: actor(&record.actor),
        cookie: record.cookie,
        protocol: protocol(record.protocol),
        remote: endpoint("remote address", record.family, record.address_be, record.port)?,
        network: record.network_cookie,
    })
}

/// `IPPROTO_*` numbers.
fn protocol(number: u16) -> Protocol {
    match i32::from(number) {
        libc::IPPROTO_TCP => Protocol::Tcp,
        libc::IPPROTO_UDP => Protocol::Udp,
        libc::IPPROTO_MPTCP => Protocol::Mptcp,
        _ => Protocol::Other(number),
    }
}

fn connect_outcome(bytes: &[u8]) -> Result<Deed, DecodeError> {
    let (record, _) = fixed::<OutcomeRecord>("outcome", bytes)?;
    let outcome = match record.outcome {
        outcome::ESTABLISHED => Outcome::Established,
        outcome::FAILED => Outcome::Failed { errno: record.errno },
        outcome::ABORTED => Outcome::Unknown(UnknownOutcome::Aborted),
        unknown => return Err(DecodeError::Outcome(unknown)),
    };
    let family = record.family;
    let remote = endpoint("remote address", family, record.remote_address_be, record.remote_port)?;
    let local = endpoint("local address", family, record.local_address_be, record.local_port)?;
    Ok(Deed::ConnectOutcome(ConnectOutcome {
        cookie: record.cookie,
        outcome,
        remote: bound(remote),
        local: bound(local),
        attempt: attempted(&record)?.map(Box::new),
    }))
}

/// What an outcome says of its attempt.
fn attempted(record: &OutcomeRecord) -> Result<Option<Attempted>, DecodeError> {
    // The hook of the attempt is that of the address asked for; what was open at the start was found in one go.
    let hook = match (record.header.hook, record.asked_family) {
        (_, 0) => return Ok(None),
        (hook::FILE_ITERATOR, _) => hook::FILE_ITERATOR,
        (_, AF_INET) => hook::CGROUP_CONNECT4,
        _ => hook::CGROUP_CONNECT6,
    };
    let attempt = ConnectAttempt {
        actor: actor(&record.actor),
        cookie: record.cookie,
        protocol: protocol(record.protocol as u16),
        remote: endpoint("asked address", record.asked_family, record.asked_address_be, record.asked_port)?,
        network: record.network_cookie,
    };
    let asked_at = BootTime::from_ns(record.asked_boot_ns);
    Ok(Some(Attempted { attempt, asked_at, hook: hook_name(hook)? }))
}

fn traffic(bytes: &[u8]) -> Result<Traffic, DecodeError> {
    let (record, _) = fixed::<TrafficRecord>("traffic", bytes)?;
    Ok(Traffic {
        actor: actor(&record.actor),
        cookie: record.cookie,
        protocol: protocol(record.protocol),
        remote: endpoint("remote address", record.family, record.address_be, record.port)?,
        asked_at: BootTime::from_ns(record.asked_boot_ns),
        established_at: BootTime::from_ns(record.established_boot_ns),
        bytes_sent: record.bytes_sent,
        bytes_received: record.bytes_received,
        errno: (record.errno != 0).then_some(record.errno),
    })
}

fn raw_socket(bytes: &[u8]) -> Result<Deed, DecodeError> {
    let (record, _) = fixed::<RawSocketRecord>("raw socket", bytes)?;
    let RawSocketRecord { header: _, actor: by, family, socket_type, protocol, reserved: _ } = record;
    let form = match family {
        TUN_FAMILY => RawForm::Tun,
        _ => RawForm::Socket { family, socket_type, protocol },
    };
    Ok(Deed::RawSocket(RawSocket { actor: actor(&by), form }))
}

/// A socket that was closed has lost its ends: all zero.
fn bound(end: Endpoint) -> Option<Endpoint> {
    (end.port != 0 || !end.address.is_unspecified()).then_some(end)
}

/// The peer of a folded UDP flow; `None` where its family is neither IPv4 nor IPv6.
pub fn flow_peer(flow: &agent_common::keys::FlowKey) -> Option<Endpoint> {
    endpoint("flow", flow.family, flow.address_be, flow.port).ok()
}

fn endpoint(
    part: &'static str,
    family: u16,
    address_be: [u8; 16],
    port: u16,
) -> Result<Endpoint, DecodeError> {
    let [a, b, c, d, ..] = address_be;
    match family {
        AF_INET => Ok(Endpoint { address: IpAddr::V4(Ipv4Addr::new(a, b, c, d)), port, mapped: false }),
        AF_INET6 => {
            let v6 = Ipv6Addr::from(address_be);
            let v4 = v6.to_ipv4_mapped();
            Ok(Endpoint { address: v4.map_or(IpAddr::V6(v6), IpAddr::V4), port, mapped: v4.is_some() })
        }
        _ => Err(DecodeError::AddressFamily { part, family }),
    }
}

fn file_open(bytes: &[u8]) -> Result<Deed, DecodeError> {
    const PATH: &str = "path";
    let (record, tail) = fixed::<FileRecord>("file", bytes)?;
    let how = way_of(record.how)?;
    let section = Tail::new(tail).take(PATH, record.path_length, PATH_BYTES)?;
    let truncated = record.flags & file_flag::PATH_TRUNCATED != 0;
    let path = if record.flags & file_flag::PATH_REVERSED != 0 {
        reversed_path(PATH, section, truncated)?
    } else {
        let text = plain(PATH, section)?;
        RawBytes::from(if record.file.links == 0 { without_deletion_mark(text) } else { text })
    };
    Ok(Deed::FileOpen(FileOpen {
        actor: actor(&record.actor),
        file: file(&record.file),
        path,
        path_truncated: truncated,
        known_inode: record.flags & file_flag::BY_INODE != 0,
        access: Access {
            read: record.access_mode & MODE_READ != 0,
            write: record.access_mode & MODE_WRITE != 0,
            // Of what somebody else has opened, the flag tells nothing of this process.
            truncate: how == Acquired::Opened && record.open_flags & libc::O_TRUNC as u32 != 0,
        },
        flags: record.open_flags,
        how,
    }))
}

fn way_of(how: u16) -> Result<Acquired, DecodeError> {
    match how {
        acquired::OPENED => Ok(Acquired::Opened),
        acquired::RECEIVED => Ok(Acquired::Received),
        acquired::TAKEN => Ok(Acquired::Taken),
        acquired::INHERITED => Ok(Acquired::Inherited),
        acquired::HELD => Ok(Acquired::Held),
        unknown => Err(DecodeError::Acquired(unknown)),
    }
}

fn unix_connect(bytes: &[u8]) -> Result<Deed, DecodeError> {
    const NAME: &str = "socket name";
    let (record, tail) = fixed::<FileRecord>("unix socket", bytes)?;
    let section = Tail::new(tail).take(NAME, record.path_length, PATH_BYTES)?;
    let is_abstract = record.flags & file_flag::ABSTRACT != 0;
    let name = if is_abstract {
        RawBytes::from(section.strip_prefix(b"\0").unwrap_or(section))
    } else {
        reversed_path(NAME, section, record.flags & file_flag::PATH_TRUNCATED != 0)?
    };
    Ok(Deed::UnixConnect(UnixConnect {
        actor: actor(&record.actor),
        file: file(&record.file),
        name,
        is_abstract,
        held: way_of(record.how)? == Acquired::Held,
    }))
}

fn listen(bytes: &[u8]) -> Result<Deed, DecodeError> {
    let (record, _) = fixed::<ListenRecord>("listener", bytes)?;
    Ok(Deed::Listen(Box::new(Listen {
        actor: actor(&record.actor),
        cookie: record.cookie,
        network: record.network_cookie,
        bound: endpoint("listener", record.family, record.address_be, record.port)?,
        device: record.bound_device,
    })))
}

fn listen_end(bytes: &[u8]) -> Result<Deed, DecodeError> {
    let (record, _) = fixed::<ListenEndRecord>("listener's end", bytes)?;
    Ok(Deed::ListenEnd { cookie: record.cookie })
}

fn cgroup_made(bytes: &[u8]) -> Result<Deed, DecodeError> {
    /// The longest that the kernel does not cut.
    const WHOLE: usize = CGROUP_PATH_BYTES - 2;
    let (record, tail) = fixed::<CgroupRecord>("cgroup", bytes)?;
    let path = plain("cgroup", Tail::new(tail).take("cgroup", record.path_length, CGROUP_PATH_BYTES)?)?;
    let path = if path.len() > WHOLE { RawBytes::default() } else { RawBytes::from(path) };
    let is_beyond_budget = record.header.ring == Ring::Bulk as u32;
    Ok(Deed::CgroupMade { cgroup: Cgroup { id: record.id, path }, is_beyond_budget })
}

fn dns_answer(bytes: &[u8]) -> Result<Deed, DecodeError> {
    let (record, tail) = fixed::<AnswerRecord>("DNS answer", bytes)?;
    let message = Tail::new(tail).take("DNS message", record.length, PAYLOAD_BYTES)?;
    Ok(Deed::DnsAnswer(DnsAnswer {
        asker: actor(&record.asker),
        cookie: record.cookie,
        network_inode: record.network_namespace,
        network: record.network_cookie,
        server: endpoint("DNS server", record.family, record.server_be, DNS_PORT)?,
        message: RawBytes::from(message),
    }))
}

fn hello_piece(bytes: &[u8]) -> Result<Deed, DecodeError> {
    let (record, tail) = fixed::<HelloRecord>("ClientHello", bytes)?;
    let piece = Tail::new(tail).take("ClientHello's piece", record.length, PAYLOAD_BYTES)?;
    Ok(Deed::HelloPiece(HelloPiece {
        cookie: record.cookie,
        offset: record.offset,
        bytes: RawBytes::from(piece),
    }))
}

/// `bpf_d_path` marks an unlinked file in the text of its path; the link count says the same without ambiguity.
fn without_deletion_mark(path: &[u8]) -> &[u8] {
    path.strip_suffix(b" (deleted)").unwrap_or(path)
}

#[cfg(test)]
#[path = "decode_tests.rs"]
mod tests;
