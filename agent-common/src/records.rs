//! What the kernel writes to the ring.
//!
//! A record is a fixed part, one of the structs below, and for some kinds a tail of sections whose lengths the
//! fixed part names. Every record begins with a [`Header`]. A record may be followed by unused bytes: only
//! `header.length` counts.
//!
//! **Reversed paths.** A path that the kernel walked is a run of NUL-terminated components, the file's own name
//! first, the root's child last; `/` is the empty run. A path that `bpf_d_path` rendered is plain text. Flags say
//! which it is.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::keys::InodeKey;
use crate::limits::COMM_BYTES;

/// Kinds of records (`Header::kind`).
pub mod kind {
    /// [`super::ForkRecord`].
    pub const FORK: u16 = 1;
    /// [`super::ExecRecord`].
    pub const EXEC: u16 = 2;
    /// [`super::ExitRecord`].
    pub const EXIT: u16 = 3;
    /// [`super::ConnectRecord`]: a TCP connection attempt.
    pub const CONNECT: u16 = 4;
    /// [`super::OutcomeRecord`]: how a TCP attempt ended.
    pub const OUTCOME: u16 = 5;
    /// [`super::ConnectRecord`]: the first datagram of a socket to a peer.
    pub const DATAGRAM: u16 = 6;
    /// [`super::FileRecord`]: a descriptor of a credential candidate was opened, or acquired otherwise.
    pub const FILE_OPEN: u16 = 7;
    /// [`super::TrafficRecord`]: a TCP connection was closed.
    pub const CONNECTION_END: u16 = 16;
    /// [`super::TrafficRecord`]: what a TCP connection has carried so far.
    pub const CONNECTION_UPDATE: u16 = 17;
    /// [`super::RawSocketRecord`]: a socket was made whose destinations no hook sees.
    pub const RAW_SOCKET: u16 = 18;
    /// [`super::FileRecord`]: a unix socket that may be a credential source was connected or sent to. The file is the
    /// one that the peer is bound to.
    pub const UNIX_CONNECT: u16 = 19;
    /// [`super::RefusedRecord`]: an open of what may be a credential was refused.
    pub const OPEN_REFUSED: u16 = 48;
    /// [`super::AnswerRecord`]: the answer of a DNS server to a socket that had asked it.
    pub const DNS_ANSWER: u16 = 50;
    /// [`super::HelloRecord`]: a piece of the beginning of a TLS connection.
    pub const CLIENT_HELLO: u16 = 51;
    /// [`super::ChangeRecord`]: what may be a credential was renamed, linked, removed or changed.
    pub const CHANGE: u16 = 49;
    /// [`super::MemoryRecord`]: a process reached into the memory of another.
    pub const MEMORY: u16 = 52;
    /// [`super::KeyRecord`]: a key of the kernel's keyrings was read.
    pub const KEY: u16 = 53;
    /// [`super::ListenRecord`]: a process listens for TCP connections.
    pub const LISTEN: u16 = 54;
    /// [`super::ListenEndRecord`]: a listener was closed.
    pub const LISTEN_END: u16 = 55;
    /// [`super::CgroupRecord`]: a cgroup was made.
    pub const CGROUP_MADE: u16 = 56;
}

/// The hook that saw an act (`Header::hook`).
pub mod hook {
    /// `tp_btf/sched_process_fork`.
    pub const SCHED_PROCESS_FORK: u16 = 1;
    /// `tp_btf/sched_process_exec`.
    pub const SCHED_PROCESS_EXEC: u16 = 2;
    /// `tp_btf/sched_process_exit`.
    pub const SCHED_PROCESS_EXIT: u16 = 3;
    /// `cgroup/connect4`.
    pub const CGROUP_CONNECT4: u16 = 4;
    /// `cgroup/connect6`.
    pub const CGROUP_CONNECT6: u16 = 5;
    /// `cgroup/sendmsg4`.
    pub const CGROUP_SENDMSG4: u16 = 6;
    /// `cgroup/sendmsg6`.
    pub const CGROUP_SENDMSG6: u16 = 7;
    /// `cgroup_skb/egress`.
    pub const CGROUP_EGRESS: u16 = 8;
    /// `tp_btf/inet_sock_set_state`.
    pub const INET_SOCK_SET_STATE: u16 = 9;
    /// `fexit/tcp_v4_connect`.
    pub const TCP_V4_CONNECT_EXIT: u16 = 10;
    /// `fexit/tcp_v6_connect`.
    pub const TCP_V6_CONNECT_EXIT: u16 = 11;
    /// `tp_btf/sys_exit`.
    pub const SYS_EXIT: u16 = 12;
    /// `lsm/file_open`.
    pub const LSM_FILE_OPEN: u16 = 13;
    /// `fentry/security_file_open`.
    pub const FENTRY_FILE_OPEN: u16 = 14;
    /// `iter/bpf_sk_storage_map`.
    pub const SOCKET_ITERATOR: u16 = 32;
    /// `fentry/security_socket_post_create`.
    pub const FENTRY_SOCKET_POST_CREATE: u16 = 33;
    /// `cgroup/sock_create`.
    pub const CGROUP_SOCK_CREATE: u16 = 34;
    /// `fentry/security_tun_dev_attach`.
    pub const FENTRY_TUN_DEV_ATTACH: u16 = 35;
    /// `fentry/security_unix_stream_connect`.
    pub const FENTRY_UNIX_STREAM_CONNECT: u16 = 36;
    /// `fentry/security_unix_may_send`.
    pub const FENTRY_UNIX_MAY_SEND: u16 = 37;
    /// `fexit/capable_wrt_inode_uidgid`.
    pub const FEXIT_CAPABLE_OVER_INODE: u16 = 64;
    /// `cgroup_skb/ingress`.
    pub const CGROUP_INGRESS: u16 = 48;
    /// `fexit/vfs_rename`.
    pub const FEXIT_RENAME: u16 = 65;
    /// `fexit/vfs_link`.
    pub const FEXIT_LINK: u16 = 66;
    /// `fexit/vfs_unlink`.
    pub const FEXIT_UNLINK: u16 = 67;
    /// `fexit/chmod_common`.
    pub const FEXIT_CHMOD: u16 = 68;
    /// `fexit/chown_common`.
    pub const FEXIT_CHOWN: u16 = 69;
    /// `fexit/vfs_truncate`.
    pub const FEXIT_TRUNCATE: u16 = 70;
    /// `fexit/__ptrace_may_access`.
    pub const FEXIT_PTRACE_MAY_ACCESS: u16 = 80;
    /// `fexit/mem_open`.
    pub const FEXIT_MEM_OPEN: u16 = 81;
    /// `fexit/environ_open`.
    pub const FEXIT_ENVIRON_OPEN: u16 = 82;
    /// `fexit/security_ptrace_traceme`.
    pub const FEXIT_PTRACE_TRACEME: u16 = 83;
    /// `fexit/keyctl_read_key`.
    pub const FEXIT_KEY_READ: u16 = 84;
    /// `fexit/security_file_receive`.
    pub const FEXIT_FILE_RECEIVE: u16 = 85;
    /// `iter/task_file`.
    pub const FILE_ITERATOR: u16 = 86;
    /// `tp_btf/cgroup_mkdir`.
    pub const CGROUP_MKDIR: u16 = 87;
}

/// To be raised where what records or shared maps mean changes, though their sizes do not: an agent reads what an earlier
/// one's programs wrote only where both say the same.
pub const LAYOUT_VERSION: u32 = 1;

/// Sizes of all that records are made of, for the same end.
pub const SIZES: [usize; 21] = [
    size_of::<Header>(),
    size_of::<Actor>(),
    size_of::<FileIdentity>(),
    size_of::<StdioIdentity>(),
    size_of::<ForkRecord>(),
    size_of::<ExecRecord>(),
    size_of::<ExitRecord>(),
    size_of::<ConnectRecord>(),
    size_of::<OutcomeRecord>(),
    size_of::<TrafficRecord>(),
    size_of::<RawSocketRecord>(),
    size_of::<FileRecord>(),
    size_of::<RefusedRecord>(),
    size_of::<AnswerRecord>(),
    size_of::<HelloRecord>(),
    size_of::<ChangeRecord>(),
    size_of::<MemoryRecord>(),
    size_of::<KeyRecord>(),
    size_of::<ListenRecord>(),
    size_of::<ListenEndRecord>(),
    size_of::<CgroupRecord>(),
];

/// Begins every record.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
pub struct Header {
    /// Bytes of the record, header and tail included.
    pub length: u32,
    /// One of [`kind`].
    pub kind: u16,
    /// One of [`hook`].
    pub hook: u16,
    /// Counts this CPU's records for the ring from 0, taken before the ring is asked: a hole is a loss.
    pub sequence: u64,
    /// Boot time (suspend included) in ns.
    pub time_boot_ns: u64,
    /// CPU that wrote the record; from bit [`crate::nesting::LEVEL_SHIFT`] on the depth of interruption that counts it.
    pub cpu: u32,
    /// Number of the [`crate::rings::Ring`] that it was written to.
    pub ring: u32,
}

/// Who acted, as it was at the moment of the act.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
pub struct Actor {
    /// Start of the thread group's leader, boot time in ns: with `tgid` the key of a process.
    pub start_boot_ns: u64,
    /// cgroup v2 id (the inode number of its directory).
    pub cgroup_id: u64,
    /// Effective capabilities, a bit each.
    pub capabilities: u64,
    /// Process id in the initial pid namespace.
    pub tgid: u32,
    /// Thread id in the initial pid namespace.
    pub tid: u32,
    /// Real user id (initial user namespace, as all ids here).
    pub uid: u32,
    /// Real group id.
    pub gid: u32,
    /// Effective user id.
    pub euid: u32,
    /// Effective group id.
    pub egid: u32,
    /// Login uid; `u32::MAX` where none was set.
    pub login_uid: u32,
    /// Audit session id; `u32::MAX` where none was set.
    pub session_id: u32,
    /// Inode number of the mount namespace.
    pub mount_namespace: u32,
    /// Inode number of the network namespace.
    pub network_namespace: u32,
    /// Inode number of the pid namespace of the process's children.
    pub pid_namespace: u32,
    /// Inode number of the user namespace.
    pub user_namespace: u32,
    /// The thread's command name: a claim.
    pub comm: [u8; COMM_BYTES],
}

/// A file as its inode was at the moment.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
pub struct FileIdentity {
    /// Device and inode number.
    pub key: InodeKey,
    /// Change time, seconds since the epoch.
    pub ctime_seconds: i64,
    /// Change time, nanoseconds.
    pub ctime_nanoseconds: u32,
    /// Hard links; 0: unlinked.
    pub links: u32,
    /// `st_mode`: type and permissions.
    pub mode: u32,
    /// Zero.
    pub reserved: u32,
}

/// Standard input, output or error at exec. All zero: closed.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
pub struct StdioIdentity {
    /// Device and inode: the two ends of one pipe share it.
    pub key: InodeKey,
    /// `st_mode`: its type bits tell pipe, socket, terminal, file.
    pub mode: u32,
    /// Zero.
    pub reserved: u32,
}

/// A process was made. Threads are not recorded.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
pub struct ForkRecord {
    /// Header.
    pub header: Header,
    /// The caller of fork or clone.
    pub actor: Actor,
    /// The child's start, boot time in ns.
    pub child_start_boot_ns: u64,
    /// Start of the child's parent (the caller, or the caller's parent with `CLONE_PARENT`).
    pub parent_start_boot_ns: u64,
    /// The child's process id.
    pub child_tgid: u32,
    /// The child's parent.
    pub parent_tgid: u32,
    /// The child's id in its own pid namespace.
    pub child_namespaced_pid: u32,
    /// The child's tag, which is its maker's; 0: none.
    pub tag: u32,
}

/// Flags of [`ExecRecord`].
pub mod exec_flag {
    /// argv did not fit.
    pub const ARGV_TRUNCATED: u32 = 1;
    /// Not all of the environment was looked at, or the markers did not fit.
    pub const ENVIRONMENT_TRUNCATED: u32 = 2;
    /// The working directory had more components than are walked.
    pub const CWD_TRUNCATED: u32 = 4;
    /// The executable's path had more components than are walked.
    pub const EXE_TRUNCATED: u32 = 8;
    /// The cgroup's path had more components than are walked.
    pub const CGROUP_TRUNCATED: u32 = 16;
    /// `LD_PRELOAD`, `LD_AUDIT` or `LD_LIBRARY_PATH` was set.
    pub const PRELOAD: u32 = 32;
    /// `interp` differs from `filename`: a script.
    pub const SCRIPT: u32 = 64;
    /// argv could not be read.
    pub const ARGV_UNREADABLE: u32 = 128;
}

/// A process runs a new program. Tail, in this order: argv (NUL-terminated strings), working directory (reversed
/// path), executable (reversed path), cgroup (reversed path), filename, interp (plain text), environment markers
/// (`NAME\0` or `NAME=VALUE\0`).
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
pub struct ExecRecord {
    /// Header.
    pub header: Header,
    /// The process, with its new credentials.
    pub actor: Actor,
    /// The executable that was mapped: for a script, the interpreter.
    pub exe: FileIdentity,
    /// Start of the parent, boot time in ns.
    pub parent_start_boot_ns: u64,
    /// Permitted capabilities.
    pub capabilities_permitted: u64,
    /// Standard input, output, error.
    pub stdio: [StdioIdentity; 3],
    /// The parent's process id.
    pub parent_tgid: u32,
    /// The process's id in its own pid namespace.
    pub namespaced_pid: u32,
    /// Number of arguments, also of those that did not fit.
    pub argc: u32,
    /// [`exec_flag`].
    pub flags: u32,
    /// Bytes of argv.
    pub argv_length: u16,
    /// Bytes of the working directory.
    pub cwd_length: u16,
    /// Bytes of the executable's path.
    pub exe_length: u16,
    /// Bytes of the cgroup's path.
    pub cgroup_length: u16,
    /// Bytes of `filename`.
    pub filename_length: u16,
    /// Bytes of `interp`.
    pub interp_length: u16,
    /// Bytes of environment markers.
    pub markers_length: u16,
    /// Zero.
    pub reserved: u16,
}

/// A process ended (its last thread did).
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
pub struct ExitRecord {
    /// Header.
    pub header: Header,
    /// The process.
    pub actor: Actor,
    /// As `wait` gives it: the exit code in bits 8 to 15, a signal in bits 0 to 6.
    pub wait_status: u32,
    /// Zero.
    pub reserved: u32,
}

/// A TCP connection attempt, or the first datagram of a socket to a peer.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
pub struct ConnectRecord {
    /// Header.
    pub header: Header,
    /// Who connects or sends.
    pub actor: Actor,
    /// Socket cookie: joins attempt and outcome.
    pub cookie: u64,
    /// Address asked for; IPv4 in the first four bytes, network order.
    pub address_be: [u8; 16],
    /// Port asked for, host order.
    pub port: u16,
    /// `AF_INET` or `AF_INET6` of the address asked for.
    pub family: u16,
    /// `IPPROTO_*`; MPTCP is 262.
    pub protocol: u16,
    /// `SOCK_STREAM`, `SOCK_DGRAM` …
    pub socket_type: u16,
    /// Cookie of the network namespace that the socket belongs to: inode numbers are used again, cookies never.
    pub network_cookie: u64,
}

/// How a TCP attempt ended. It may be seen in an interrupt. It needs no record before it: whoever reads it may not have
/// read, or not know any more, what was attempted.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
pub struct OutcomeRecord {
    /// Header.
    pub header: Header,
    /// Socket cookie.
    pub cookie: u64,
    /// Address of the peer as the socket has it; IPv4 in the first four bytes, network order.
    pub remote_address_be: [u8; 16],
    /// Local address.
    pub local_address_be: [u8; 16],
    /// Remote port, host order.
    pub remote_port: u16,
    /// Local port, host order.
    pub local_port: u16,
    /// `AF_INET` or `AF_INET6` of the socket.
    pub family: u16,
    /// One of [`outcome`].
    pub outcome: u16,
    /// Positive errno of a failure, 0 where the kernel gave none.
    pub errno: u32,
    /// `IPPROTO_*` as asked for.
    pub protocol: u32,
    /// Who connected.
    pub actor: Actor,
    /// When it was asked for, boot time in ns; 0 is not known.
    pub asked_boot_ns: u64,
    /// Cookie of the socket's network namespace; 0 is not known.
    pub network_cookie: u64,
    /// Address asked for.
    pub asked_address_be: [u8; 16],
    /// Port asked for, host order.
    pub asked_port: u16,
    /// Address family asked for; 0: nothing of what was asked for is known.
    pub asked_family: u16,
    /// Zero.
    pub reserved: u32,
}

/// Values of [`OutcomeRecord::outcome`].
pub mod outcome {
    /// The handshake was completed.
    pub const ESTABLISHED: u16 = 1;
    /// The attempt failed with an errno.
    pub const FAILED: u16 = 2;
    /// The socket was closed before the handshake ended.
    pub const ABORTED: u16 = 3;
}

/// What a TCP connection has carried: in all, or so far. It needs no record before it.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
pub struct TrafficRecord {
    /// Header.
    pub header: Header,
    /// Who connected, as it was then.
    pub actor: Actor,
    /// Socket cookie.
    pub cookie: u64,
    /// When it was asked for, boot time in ns.
    pub asked_boot_ns: u64,
    /// When its handshake was completed, boot time in ns.
    pub established_boot_ns: u64,
    /// Bytes of payload sent, each counted once however often it was sent.
    pub bytes_sent: u64,
    /// Bytes of payload received in order.
    pub bytes_received: u64,
    /// Address asked for; IPv4 in the first four bytes, network order.
    pub address_be: [u8; 16],
    /// Port asked for, host order.
    pub port: u16,
    /// `AF_INET` or `AF_INET6` of the address asked for.
    pub family: u16,
    /// `IPPROTO_*`; MPTCP is 262.
    pub protocol: u16,
    /// Zero.
    pub reserved: u16,
    /// Positive errno that ended it (`ECONNRESET`, `ETIMEDOUT`); 0 where it was closed in order, or is open.
    pub errno: u32,
    /// Zero.
    pub reserved_too: u32,
}

/// A socket was made whose destinations no hook sees, or a TUN or TAP interface was taken hold of.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
pub struct RawSocketRecord {
    /// Header.
    pub header: Header,
    /// Who made it.
    pub actor: Actor,
    /// `AF_*`; [`TUN_FAMILY`] for a TUN or TAP interface.
    pub family: u16,
    /// `SOCK_*`; 0 for a TUN or TAP interface.
    pub socket_type: u16,
    /// As asked for: `IPPROTO_*`; for a packet socket the EtherType, host order.
    pub protocol: u16,
    /// Zero.
    pub reserved: u16,
}

/// [`RawSocketRecord::family`] of a TUN or TAP interface: beyond every address family.
pub const TUN_FAMILY: u16 = 0xffff;

/// Flags of [`FileRecord`].
pub mod file_flag {
    /// The path is reversed (walked); otherwise plain text (`bpf_d_path`).
    pub const PATH_REVERSED: u32 = 1;
    /// The path had more components, or bytes, than are carried.
    pub const PATH_TRUNCATED: u32 = 2;
    /// (device, inode) is that of a catalogued credential.
    pub const BY_INODE: u32 = 4;
    /// Its name is that of a rule.
    pub const BY_NAME: u32 = 8;
    /// A socket of the abstract namespace: there is no file, and the path is its name, any bytes, without its first NUL.
    pub const ABSTRACT: u32 = 16;
    /// The path is as the caller wrote it, and was not resolved: see [`super::RefusedRecord`].
    pub const CLAIMED: u32 = 32;
    /// The directory that a claimed path begins at had more components than are carried.
    pub const BASE_TRUNCATED: u32 = 64;
    /// The second path of a change lacks its beginning, or all of it.
    pub const OTHER_TRUNCATED: u32 = 128;
}

/// How a descriptor was acquired (`FileRecord::how`).
pub mod acquired {
    /// Opened.
    pub const OPENED: u16 = 0;
    /// Received in a message, or installed by whoever supervises the process's calls.
    pub const RECEIVED: u16 = 1;
    /// Taken from another process (`pidfd_getfd`).
    pub const TAKEN: u16 = 2;
    /// Open when the process became another program.
    pub const INHERITED: u16 = 3;
    /// Open since before the agent.
    pub const HELD: u16 = 4;
}

/// A descriptor of a candidate for a credential was acquired. Tail: the path, relative to the root of the process.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
pub struct FileRecord {
    /// Header.
    pub header: Header,
    /// Who acquired it.
    pub actor: Actor,
    /// The file.
    pub file: FileIdentity,
    /// Open flags (`O_*`), as the kernel keeps them.
    pub open_flags: u32,
    /// `FMODE_READ` (1), `FMODE_WRITE` (2).
    pub access_mode: u32,
    /// [`file_flag`].
    pub flags: u32,
    /// Bytes of the path.
    pub path_length: u16,
    /// [`acquired`].
    pub how: u16,
}

/// An open was refused. Tail: the path; then, where that is claimed and does not begin with `/`, the directory that it
/// begins at, as a reversed path.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
pub struct RefusedRecord {
    /// Header.
    pub header: Header,
    /// Who was refused.
    pub actor: Actor,
    /// The file; all zero where the path is claimed.
    pub file: FileIdentity,
    /// Positive errno.
    pub errno: u32,
    /// [`file_flag`].
    pub flags: u32,
    /// Bytes of the path.
    pub path_length: u16,
    /// Bytes of the directory's path.
    pub base_length: u16,
    /// Zero.
    pub reserved: u32,
}

/// A datagram from port 53 came to a socket that had asked something of a port 53. Tail: its payload, as far as
/// [`crate::limits::PAYLOAD_BYTES`] goes.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
pub struct AnswerRecord {
    /// Header.
    pub header: Header,
    /// Who asked last by that socket, as it was then.
    pub asker: Actor,
    /// Socket cookie.
    pub cookie: u64,
    /// Who answered, as the packet says; IPv4 in the first four bytes, network order.
    pub server_be: [u8; 16],
    /// `AF_INET` or `AF_INET6`.
    pub family: u16,
    /// Bytes of the payload that are carried.
    pub length: u16,
    /// Inode number of the network namespace that the socket belongs to.
    pub network_namespace: u32,
    /// Its cookie.
    pub network_cookie: u64,
}

/// A piece of what a TCP connection begins with, where that may be a TLS ClientHello. Tail: the piece.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
pub struct HelloRecord {
    /// Header.
    pub header: Header,
    /// Socket cookie: that of the connection.
    pub cookie: u64,
    /// Bytes of the connection's payload before the piece.
    pub offset: u32,
    /// Bytes of the piece.
    pub length: u16,
    /// Zero.
    pub reserved: u16,
}

/// What was done to a file (`ChangeRecord::change`).
pub mod change {
    /// It got another name, which is the second path.
    pub const RENAME: u32 = 1;
    /// Another file, whose name was the second path, took its place or got its name.
    pub const REPLACE: u32 = 2;
    /// It got a further name, which is the second path.
    pub const LINK: u32 = 3;
    /// It lost this name.
    pub const UNLINK: u32 = 4;
    /// Its mode was set.
    pub const CHMOD: u32 = 5;
    /// Its owner or group was set.
    pub const CHOWN: u32 = 6;
    /// It was cut or stretched by its path.
    pub const TRUNCATE: u32 = 7;
}

/// A candidate for a credential was renamed, linked, removed or changed, or that was refused. Tail: the path, and for
/// some the second path, both reversed.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
pub struct ChangeRecord {
    /// Header.
    pub header: Header,
    /// Who did it.
    pub actor: Actor,
    /// The file, as it is afterwards.
    pub file: FileIdentity,
    /// One of [`change`].
    pub change: u32,
    /// Positive errno of a refusal; 0: it was done.
    pub errno: u32,
    /// [`file_flag`].
    pub flags: u32,
    /// Bytes of the path.
    pub path_length: u16,
    /// Bytes of the second path.
    pub other_length: u16,
}

/// How the memory of another process is reached (`MemoryRecord::way`).
pub mod memory {
    /// `ptrace`: attached or seized.
    pub const PTRACE: u32 = 1;
    /// `ptrace`: the other asked to be traced.
    pub const TRACEME: u32 = 2;
    /// `process_vm_readv`.
    pub const VM_READ: u32 = 3;
    /// `process_vm_writev`.
    pub const VM_WRITE: u32 = 4;
    /// `/proc/PID/mem` was opened.
    pub const PROC_MEM: u32 = 5;
    /// `/proc/PID/environ` was opened.
    pub const PROC_ENVIRON: u32 = 6;
    /// By a call that is none of these.
    pub const OTHER: u32 = 7;
}

/// A process got at the memory of another one, or was refused.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
pub struct MemoryRecord {
    /// Header.
    pub header: Header,
    /// Who.
    pub actor: Actor,
    /// Whose memory it is, and the thread that was named.
    pub target: Actor,
    /// One of [`memory`].
    pub way: u32,
    /// Positive errno of a refusal; 0: it was allowed.
    pub errno: u32,
}

/// Flags of [`KeyRecord`].
pub mod key_flag {
    /// Type, description and owner are not known.
    pub const UNNAMED: u32 = 1;
    /// The description did not fit.
    pub const DESCRIPTION_TRUNCATED: u32 = 2;
}

/// A key of the kernel's keyrings was read, or that was refused. Tail: its type, in as many bytes as
/// [`crate::limits::KEY_TYPE_BYTES`], and its description.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
pub struct KeyRecord {
    /// Header.
    pub header: Header,
    /// Who.
    pub actor: Actor,
    /// Its serial number.
    pub serial: u32,
    /// Whose it is.
    pub owner: u32,
    /// Positive errno of a refusal; 0: it was read.
    pub errno: u32,
    /// [`key_flag`].
    pub flags: u32,
    /// Bytes of its type.
    pub type_length: u16,
    /// Bytes of its description.
    pub description_length: u16,
    /// Zero.
    pub reserved: u32,
}

/// A process listens for TCP connections, or held a listener at the start: then there is one record for each that does.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
pub struct ListenRecord {
    /// Header.
    pub header: Header,
    /// Who.
    pub actor: Actor,
    /// Socket cookie: joins beginning and end.
    pub cookie: u64,
    /// Cookie of the network namespace that the socket belongs to.
    pub network_cookie: u64,
    /// Address that it is bound to, all zero for every address; IPv4 in the first four bytes, network order.
    pub address_be: [u8; 16],
    /// Index of the interface that it is bound to; 0: to none.
    pub bound_device: u32,
    /// Port, host order; not 0.
    pub port: u16,
    /// `AF_INET` or `AF_INET6` of the socket.
    pub family: u16,
}

/// A listener was closed.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
pub struct ListenEndRecord {
    /// Header.
    pub header: Header,
    /// Socket cookie.
    pub cookie: u64,
}

/// A cgroup was made, in the hierarchy that names workloads; nothing is in it yet. Tail: its path from the hierarchy's root,
/// plain text. The kernel cuts it to 1,023 bytes: one of as many may lack its end.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
pub struct CgroupRecord {
    /// Header.
    pub header: Header,
    /// Its id, as [`Actor::cgroup_id`].
    pub id: u64,
    /// Bytes of its path.
    pub path_length: u16,
    /// Zero.
    pub reserved: [u16; 3],
}

const _: () = {
    assert!(size_of::<CgroupRecord>() == 48);
    assert!(size_of::<ListenRecord>() == 160);
    assert!(size_of::<ListenEndRecord>() == 40);
    assert!(size_of::<KeyRecord>() == 144);
    assert!(size_of::<MemoryRecord>() == 216);
    assert!(size_of::<ChangeRecord>() == 176);
    assert!(size_of::<RefusedRecord>() == 176);
    assert!(size_of::<AnswerRecord>() == 160);
    assert!(size_of::<HelloRecord>() == 48);
    assert!(size_of::<Header>() == 32);
    assert!(size_of::<Actor>() == 88);
    assert!(size_of::<FileIdentity>() == 40);
    assert!(size_of::<ForkRecord>() == 152);
    assert!(size_of::<ExecRecord>() == 280);
    assert!(size_of::<ExitRecord>() == 128);
    assert!(size_of::<ConnectRecord>() == 160);
    assert!(size_of::<OutcomeRecord>() == 216);
    assert!(size_of::<FileRecord>() == 176);
    assert!(size_of::<TrafficRecord>() == 192);
    assert!(size_of::<RawSocketRecord>() == 128);
};
