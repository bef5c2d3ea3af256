//! Acts: what a hook saw, decoded, before anything is known about the process behind it.

use std::net::IpAddr;
use std::time::Duration;

use super::bytes::RawBytes;
use super::process::{Cgroup, CredentialIds, ExecImage, FileRef, ProcessKey};
use super::time::BootTime;

/// One decoded record of the kernel.
#[derive(Clone, Debug)]
pub struct Act {
    /// When.
    pub time: BootTime,
    /// Which hook saw it, by its stable name (`cgroup/connect4`).
    pub hook: &'static str,
    /// What happened.
    pub deed: Deed,
}

/// What happened.
#[derive(Clone, Debug)]
pub enum Deed {
    /// A process was made.
    Fork(Fork),
    /// A process runs a new program.
    Exec(Box<Exec>),
    /// A process ended.
    Exit(Exit),
    /// A TCP connection was asked for; its outcome follows.
    ConnectAttempt(ConnectAttempt),
    /// A TCP attempt ended.
    ConnectOutcome(ConnectOutcome),
    /// A socket sent its first datagram to a peer.
    Datagram(ConnectAttempt),
    /// A file that may be a credential was opened.
    FileOpen(FileOpen),
    /// A TCP connection was closed.
    ConnectionEnd(Traffic),
    /// A TCP connection lasts.
    ConnectionUpdate(Traffic),
    /// A socket was made whose destinations no hook sees.
    RawSocket(RawSocket),
    /// A unix socket that may be a credential source was connected or sent to, or has been connected to since before the start.
    UnixConnect(UnixConnect),
    /// An open of what may be a credential was refused.
    OpenRefused(OpenRefused),
    /// A DNS server answered.
    DnsAnswer(DnsAnswer),
    /// A TCP connection begins with what may be a ClientHello.
    HelloPiece(HelloPiece),
    /// What may be a credential was renamed, linked, removed or changed, or that was refused.
    Change(Box<Change>),
    /// A process reached into the memory of another, or was refused.
    Memory(Box<MemoryUse>),
    /// A key of the kernel's keyrings was read, or that was refused.
    Key(Box<KeyUse>),
    /// A process listens for TCP connections, or held a listener at the start.
    Listen(Box<Listen>),
    /// A listener was closed.
    ListenEnd {
        /// Its cookie.
        cookie: u64,
    },
    /// A cgroup was made.
    CgroupMade {
        /// It, with its path; an empty one where the kernel may have cut that.
        cgroup: Cgroup,
        /// Whether whoever made it was beyond his budget.
        is_beyond_budget: bool,
    },
}

/// Who acted, as it was at the moment of the act.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Actor {
    /// The process.
    pub process: ProcessKey,
    /// The thread, in the initial pid namespace.
    pub tid: u32,
    /// Users, groups, capabilities, login.
    pub ids: CredentialIds,
    /// Id of the cgroup, in the hierarchy that names workloads.
    pub cgroup_id: u64,
    /// Namespaces.
    pub namespaces: Namespaces,
    /// The thread's command name: a claim.
    pub comm: RawBytes,
}

/// Namespaces by inode number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub struct Namespaces {
    /// Mount namespace.
    pub mount: u32,
    /// Network namespace.
    pub network: u32,
    /// pid namespace of the process's children.
    pub pid: u32,
    /// User namespace.
    pub user: u32,
}

/// A process was made.
#[derive(Clone, Debug)]
pub struct Fork {
    /// The caller.
    pub actor: Actor,
    /// The new process.
    pub child: ProcessKey,
    /// Its parent.
    pub parent: ProcessKey,
    /// Its id in its own pid namespace.
    pub namespaced_pid: u32,
    /// Its tag in the kernel, which is its maker's; 0: none.
    pub tag: u32,
}

/// A process runs a new program.
#[derive(Clone, Debug)]
pub struct Exec {
    /// The process, with its new credentials.
    pub actor: Actor,
    /// Its parent.
    pub parent: ProcessKey,
    /// Its id in its own pid namespace.
    pub namespaced_pid: u32,
    /// What it runs. `argv` is as the process had it: it holds secrets until the process table redacts it.
    pub image: ExecImage,
    /// Path of its cgroup below that hierarchy's root, as the kernel has it.
    pub cgroup_path: RawBytes,
}

/// A process ended.
#[derive(Clone, Debug)]
pub struct Exit {
    /// The process.
    pub actor: Actor,
    /// As `wait` gives it.
    pub wait_status: u32,
}

/// A transport protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Protocol {
    /// TCP.
    Tcp,
    /// Multipath TCP.
    Mptcp,
    /// UDP.
    Udp,
    /// Another, by its number.
    Other(u16),
}

/// An address and port. A v4-mapped IPv6 address is kept as IPv4 with `mapped` set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Endpoint {
    /// Address.
    pub address: IpAddr,
    /// Port.
    pub port: u16,
    /// Whether the program wrote the IPv4 address in its v4-mapped IPv6 form.
    pub mapped: bool,
}

/// A connection asked for, or a datagram sent.
#[derive(Clone, Debug)]
pub struct ConnectAttempt {
    /// Who.
    pub actor: Actor,
    /// Joins attempt and outcome.
    pub cookie: u64,
    /// Transport protocol.
    pub protocol: Protocol,
    /// The address asked for.
    pub remote: Endpoint,
    /// Cookie of the network namespace of the socket: never used again, as inode numbers are.
    pub network: u64,
}

/// A process listens for TCP connections.
#[derive(Clone, Debug)]
pub struct Listen {
    /// Who.
    pub actor: Actor,
    /// The socket's cookie.
    pub cookie: u64,
    /// Cookie of its network namespace.
    pub network: u64,
    /// Address and port that it is bound to; the address of all zeros is every address, that of IPv6 of IPv4 too, unless the
    /// socket is for IPv6 alone.
    pub bound: Endpoint,
    /// Index of the interface that it is bound to; 0: to none.
    pub device: u32,
}

/// How a TCP attempt ended.
#[derive(Clone, Debug)]
pub struct ConnectOutcome {
    /// Joins attempt and outcome.
    pub cookie: u64,
    /// The outcome.
    pub outcome: Outcome,
    /// The address connected, as the socket has it (a program may be redirected).
    pub remote: Option<Endpoint>,
    /// The local end.
    pub local: Option<Endpoint>,
    /// What was attempted, for where that record was lost or read by an earlier agent. `None`: the hook does not know.
    pub attempt: Option<Box<Attempted>>,
}

/// An attempt, as its outcome tells it.
#[derive(Clone, Debug)]
pub struct Attempted {
    /// Who, and to what.
    pub attempt: ConnectAttempt,
    /// When it was asked for.
    pub asked_at: BootTime,
    /// The hook that saw it.
    pub hook: &'static str,
}

/// What a connection has carried.
#[derive(Clone, Debug)]
pub struct Traffic {
    /// Who connected, as it was then.
    pub actor: Actor,
    /// The same as of the attempt.
    pub cookie: u64,
    /// Transport protocol.
    pub protocol: Protocol,
    /// The address asked for.
    pub remote: Endpoint,
    /// When it was asked for.
    pub asked_at: BootTime,
    /// When its handshake was completed.
    pub established_at: BootTime,
    /// Bytes of payload sent, each counted once.
    pub bytes_sent: u64,
    /// Bytes of payload received.
    pub bytes_received: u64,
    /// Positive errno that ended it.
    pub errno: Option<u32>,
}

/// A socket was made whose destinations no hook sees, or a TUN or TAP interface was taken hold of.
#[derive(Clone, Debug)]
pub struct RawSocket {
    /// Who made it.
    pub actor: Actor,
    /// What it is.
    pub form: RawForm,
}

/// What sends without a destination that a hook sees.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RawForm {
    /// A socket.
    Socket {
        /// `AF_*`.
        family: u16,
        /// `SOCK_*`.
        socket_type: u16,
        /// As asked for: `IPPROTO_*`; for a packet socket the EtherType.
        protocol: u16,
    },
    /// A TUN or TAP interface.
    Tun,
}

/// A unix socket that may be a credential source was connected or sent to.
#[derive(Clone, Debug)]
pub struct UnixConnect {
    /// Who.
    pub actor: Actor,
    /// The file that the peer is bound to; all zero for one of the abstract namespace.
    pub file: FileRef,
    /// Where that file is, from the root of the process; the name of one of the abstract namespace, any bytes.
    pub name: RawBytes,
    /// Whether its name is in the abstract namespace.
    pub is_abstract: bool,
    /// Whether it was connected to before the start.
    pub held: bool,
}

/// A DNS server answered.
#[derive(Clone, Debug)]
pub struct DnsAnswer {
    /// Who asked last by the socket to which the answer came, as it was then.
    pub asker: Actor,
    /// Cookie of that socket.
    pub cookie: u64,
    /// Inode number of the network namespace of that socket.
    pub network_inode: u32,
    /// Its cookie.
    pub network: u64,
    /// Who answered, as the packet says.
    pub server: Endpoint,
    /// The message, or its beginning.
    pub message: RawBytes,
}

/// A piece of what may be a ClientHello.
#[derive(Clone, Debug)]
pub struct HelloPiece {
    /// The connection's.
    pub cookie: u64,
    /// Bytes of the connection before it.
    pub offset: u32,
    /// The piece.
    pub bytes: RawBytes,
}

/// How a connection attempt ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The handshake was completed.
    Established,
    /// It failed.
    Failed {
        /// Positive errno.
        errno: u32,
    },
    /// It cannot be known.
    Unknown(UnknownOutcome),
}

/// Why an outcome cannot be known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UnknownOutcome {
    /// The socket was closed before the handshake ended.
    Aborted,
    /// No hook reported an end within the time-out.
    TimedOut(Duration),
    /// The agent stopped, or had no room to wait for it.
    NotWaitedFor,
}

/// How a descriptor was acquired.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Acquired {
    /// Opened.
    Opened,
    /// Received in a message, or installed by whoever supervises the process's calls.
    Received,
    /// Taken from another process.
    Taken,
    /// Open when the process became another program.
    Inherited,
    /// Open since before the agent.
    Held,
}

/// A descriptor of a file was acquired.
#[derive(Clone, Debug)]
pub struct FileOpen {
    /// Who.
    pub actor: Actor,
    /// The file.
    pub file: FileRef,
    /// Its path, from the root of the process.
    pub path: RawBytes,
    /// Whether `path` lacks its beginning (too deep) or its end (too long).
    pub path_truncated: bool,
    /// Whether (device, inode) is that of a catalogued credential.
    pub known_inode: bool,
    /// Read, write, or both.
    pub access: Access,
    /// Open flags (`O_*`), also of an open by somebody else.
    pub flags: u32,
    /// How.
    pub how: Acquired,
}

/// An open was refused.
#[derive(Clone, Debug)]
pub struct OpenRefused {
    /// Who.
    pub actor: Actor,
    /// The file; `None` where only its path is claimed.
    pub file: Option<FileRef>,
    /// Its path, from the root of the process. Where there is no file, as the caller wrote it, with the directory that
    /// it begins at put before it: links in it were not followed.
    pub path: RawBytes,
    /// Whether `path` lacks its beginning.
    pub path_truncated: bool,
    /// Whether (device, inode) is that of a catalogued credential.
    pub known_inode: bool,
    /// Positive errno.
    pub errno: u32,
}

/// A file was renamed, linked, removed or changed, or that was refused.
#[derive(Clone, Debug)]
pub struct Change {
    /// Who.
    pub actor: Actor,
    /// What was done.
    pub kind: ChangeKind,
    /// The file, as it is afterwards.
    pub file: FileRef,
    /// Its path, from the root of the process.
    pub path: RawBytes,
    /// The other path: of what a file was renamed or linked to, or of what took its name.
    pub other: Option<RawBytes>,
    /// Whether (device, inode) is that of a catalogued credential.
    pub known_inode: bool,
    /// Positive errno of a refusal; `None`: it was done.
    pub refused: Option<u32>,
}

/// What was done to a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ChangeKind {
    /// It got another name.
    Rename,
    /// Another file took its place, or its name where there was none.
    Replace,
    /// It got a further name.
    Link,
    /// It lost this name.
    Unlink,
    /// Its mode was set.
    Chmod,
    /// Its owner or group was set.
    Chown,
    /// It was cut or stretched by its path.
    Truncate,
}

/// A process reached into the memory of another one, or was refused.
#[derive(Clone, Debug)]
pub struct MemoryUse {
    /// Who.
    pub actor: Actor,
    /// Whose memory it is, at that moment; its thread is the one that was named.
    pub target: Actor,
    /// How.
    pub way: MemoryWay,
    /// Positive errno of a refusal; `None`: it was allowed.
    pub refused: Option<u32>,
}

/// Two processes of which one reached into the other's memory, told already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MemoryPair {
    /// Who reached.
    pub actor: ProcessKey,
    /// Whose memory it is; `None` for environments, whosesoever.
    pub target: Option<ProcessKey>,
    /// How.
    pub way: MemoryWay,
    /// Positive errno of a refusal.
    pub refused: Option<u32>,
}

/// How the memory of another process is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum MemoryWay {
    /// `ptrace`, by who traces.
    Ptrace,
    /// `ptrace`, asked for by who is traced, for its parent.
    Traceme,
    /// `process_vm_readv`.
    VmRead,
    /// `process_vm_writev`.
    VmWrite,
    /// An open of `/proc/PID/mem`.
    ProcMem,
    /// An open of `/proc/PID/environ`.
    ProcEnviron,
    /// By a call that is none of these.
    Other,
}

/// A key of the kernel's keyrings was read, or that was refused.
#[derive(Clone, Debug)]
pub struct KeyUse {
    /// Who.
    pub actor: Actor,
    /// Its serial number.
    pub serial: u32,
    /// What it is; `None` where its number alone is known.
    pub name: Option<KeyName>,
    /// Positive errno of a refusal; `None`: it was read.
    pub refused: Option<u32>,
}

/// What a key is called.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyName {
    /// Its type: `user`, `logon`, `big_key`, `ceph`.
    pub kind: RawBytes,
    /// Its description: what its maker wrote, any bytes.
    pub description: RawBytes,
    /// Whether the description lacks its end.
    pub truncated: bool,
    /// Whose it is: a user id.
    pub owner: Option<u32>,
}

/// What a descriptor may be used for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Access {
    /// Reading.
    pub read: bool,
    /// Writing.
    pub write: bool,
    /// The file was truncated by the open.
    pub truncate: bool,
}
