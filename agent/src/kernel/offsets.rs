//! [`KernelOffsets`] from the kernel's types: a table of what to look for, and what each field must be.
//!
//! A field that is not found, or is not what its reader expects, stays poisoned and is named with the reason. It
//! takes along only the capabilities that cannot do without it.

use std::fmt::{self, Display};

use agent_common::offsets::{EntryRegisters, KernelOffsets};

use super::btf::{KernelTypes, LookupError, Shape};

/// What a set of kernel programs gives, as far as it depends on offsets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Capability {
    /// Fork and exit, and who acts in every other record.
    Process,
    /// The exec record.
    Exec,
    /// Connections and datagrams, as asked for. Its hooks read no kernel structure but the actor's.
    Connection,
    /// How a TCP attempt ended.
    Outcome,
    /// Opened files, from whichever hook.
    FileOpen,
    /// Opened files from the exit of system calls, through the descriptor table.
    FileOpenAtExit,
    /// What a TCP connection carries.
    Traffic,
    /// Sockets from the exit of system calls.
    SocketAtExit,
    /// Peers of unix sockets.
    UnixPeer,
    /// Paths that are being looked up.
    NameLookup,
    /// Network namespaces of sockets.
    Names,
    /// Sockets that were connected before.
    HeldSocket,
    /// Renames.
    Rename,
    /// Memory of other processes.
    Memory,
    /// The same from the exit of system calls.
    MemoryAtExit,
    /// Keys of the kernel's keyrings.
    Key,
    /// Sockets that listen.
    Listener,
    /// Cgroups that are made.
    Cgroup,
}

/// What a field must be for its reader to be right.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expected {
    /// An integer of this many bytes.
    Integer(u32),
    /// An array of integers, of this many bytes in all.
    Integers(u32),
    /// A pointer to this structure.
    Pointer(&'static str),
    /// A pointer to pointers to this structure.
    PointerToPointers(&'static str),
    /// A pointer to characters.
    Text,
    /// A pointer to anything.
    AnyPointer,
    /// This structure, embedded, of at least so many bytes.
    Structure(&'static str, u32),
    /// An array of this structure.
    Array(&'static str),
    /// An array of pointers to anything, of this many bytes in all.
    Pointers(u32),
}

/// What is taken from the place that was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Measure {
    /// Its offset.
    Offset,
    /// Its size.
    Size,
}

/// One place where a field may be.
#[derive(Clone, Copy, Debug)]
pub struct Place {
    /// As [`KernelTypes::locate`] takes it.
    pub path: &'static str,
    /// What must be found there.
    pub expected: Expected,
}

/// How one field of [`KernelOffsets`] is resolved.
#[derive(Clone, Copy, Debug)]
pub struct Field {
    /// Its name in [`KernelOffsets`].
    pub name: &'static str,
    /// What of it.
    pub measure: Measure,
    /// The first that is right is taken: newest kernels first.
    pub places: &'static [Place],
    /// What is lost without it; nothing: the one value that it gives is absent from records.
    pub needed_by: &'static [Capability],
}

use Capability::{
    Cgroup, Connection, Exec, FileOpen, FileOpenAtExit, HeldSocket, Key, Listener, Memory, MemoryAtExit,
    NameLookup, Names, Outcome, Process, Rename, SocketAtExit, Traffic, UnixPeer,
};
use Expected::{AnyPointer, Array, Integer, Integers, Pointer, PointerToPointers, Pointers, Structure, Text};

/// The key of a process: no record is worth anything without.
const ALL: &[Capability] = &[Process, Exec, Connection, FileOpen, FileOpenAtExit];
const LIFE: &[Capability] = &[Process, Exec];
const EXEC: &[Capability] = &[Exec];
const FILES: &[Capability] = &[FileOpen, FileOpenAtExit];
const FILE_IDENTITY: &[Capability] = &[Exec, FileOpen, FileOpenAtExit];
const AT_EXIT: &[Capability] = &[FileOpenAtExit];
const OUTCOME: &[Capability] = &[Outcome];
const TRAFFIC: &[Capability] = &[Traffic];
const SYSCALL_EXIT: &[Capability] = &[FileOpenAtExit, SocketAtExit, NameLookup];
const UNIX_PEER: &[Capability] = &[UnixPeer];
const SOCKET_AT_EXIT: &[Capability] = &[SocketAtExit, NameLookup];
const NAME_LOOKUP: &[Capability] = &[NameLookup];
const NAMES: &[Capability] = &[Names];
const HELD_SOCKET: &[Capability] = &[HeldSocket];
const LISTENER: &[Capability] = &[Listener];
const RENAME: &[Capability] = &[Rename];
const MEMORY: &[Capability] = &[Memory, MemoryAtExit];
const MEMORY_AT_EXIT: &[Capability] = &[MemoryAtExit];
const KEY: &[Capability] = &[Key];
const COOKIE: &[Capability] = &[Outcome, Traffic];
const CGROUP: &[Capability] = &[Cgroup];
/// Only the value itself is lost.
const VALUE: &[Capability] = &[];

macro_rules! table {
    ($($name:ident $needed_by:ident $measure:ident: $($path:literal $expected:expr),+;)*) => {
        &[$(Field {
            name: stringify!($name),
            measure: Measure::$measure,
            places: &[$(Place { path: $path, expected: $expected }),+],
            needed_by: $needed_by,
        },)*]
    };
}

/// Every field of [`KernelOffsets`]. Where kernels differ: `kernfs_node.parent` became `__parent` in 6.15; an inode's
/// change time was a `timespec64` until 6.10 (named `__i_ctime` from 6.6), and two members after, of which the
/// nanoseconds are four bytes instead of eight; `kernel_cap_t` was an array of two u32 until 6.2, and lies at a
/// multiple of four there. `d_name`, `f_path` and `i_nlink` are in anonymous unions with a twin that is writable
/// (`__d_name` …) on newer kernels. `orig_ax` is x86-64's, `syscallno` arm64's.
pub const TABLE: &[Field] = table! {
    task_tgid LIFE Offset: "task_struct.tgid" Integer(4);
    task_pid LIFE Offset: "task_struct.pid" Integer(4);
    task_group_leader ALL Offset: "task_struct.group_leader" Pointer("task_struct");
    task_real_parent LIFE Offset: "task_struct.real_parent" Pointer("task_struct");
    task_start_boottime ALL Offset: "task_struct.start_boottime" Integer(8);
    task_exit_code VALUE Offset: "task_struct.exit_code" Integer(4);
    task_signal VALUE Offset: "task_struct.signal" Pointer("signal_struct");
    task_loginuid VALUE Offset: "task_struct.loginuid.val" Integer(4);
    task_sessionid VALUE Offset: "task_struct.sessionid" Integer(4);
    task_cred VALUE Offset: "task_struct.cred" Pointer("cred");
    task_mm EXEC Offset: "task_struct.mm" Pointer("mm_struct");
    task_fs VALUE Offset: "task_struct.fs" Pointer("fs_struct");
    task_files AT_EXIT Offset: "task_struct.files" Pointer("files_struct");
    task_nsproxy VALUE Offset: "task_struct.nsproxy" Pointer("nsproxy");
    task_cgroups VALUE Offset: "task_struct.cgroups" Pointer("css_set");
    task_thread_pid VALUE Offset: "task_struct.thread_pid" Pointer("pid");
    signal_live VALUE Offset: "signal_struct.live.counter" Integer(4);
    cred_uid VALUE Offset: "cred.uid.val" Integer(4);
    cred_cap_effective VALUE Offset: "cred.cap_effective.val" Integer(8), "cred.cap_effective.cap" Integers(8);
    cred_cap_permitted VALUE Offset: "cred.cap_permitted.val" Integer(8), "cred.cap_permitted.cap" Integers(8);
    cred_user_ns VALUE Offset: "cred.user_ns" Pointer("user_namespace");
    user_ns_inum VALUE Offset: "user_namespace.ns.inum" Integer(4);
    nsproxy_mnt_ns VALUE Offset: "nsproxy.mnt_ns" Pointer("mnt_namespace");
    nsproxy_net_ns VALUE Offset: "nsproxy.net_ns" Pointer("net");
    nsproxy_pid_ns VALUE Offset: "nsproxy.pid_ns_for_children" Pointer("pid_namespace");
    mnt_ns_inum VALUE Offset: "mnt_namespace.ns.inum" Integer(4);
    net_ns_inum NAMES Offset: "net.ns.inum" Integer(4);
    net_cookie VALUE Offset: "net.net_cookie" Integer(8), "net.net_cookie.counter" Integer(8);
    pid_ns_inum VALUE Offset: "pid_namespace.ns.inum" Integer(4);
    pid_level VALUE Offset: "pid.level" Integer(4);
    pid_numbers VALUE Offset: "pid.numbers" Array("upid");
    upid_size VALUE Size: "pid.numbers[]" Structure("upid", 16);
    upid_nr VALUE Offset: "upid.nr" Integer(4);
    upid_ns VALUE Offset: "upid.ns" Pointer("pid_namespace");
    mm_arg_start EXEC Offset: "mm_struct.arg_start" Integer(8);
    mm_arg_end EXEC Offset: "mm_struct.arg_end" Integer(8);
    mm_env_start VALUE Offset: "mm_struct.env_start" Integer(8);
    mm_env_end VALUE Offset: "mm_struct.env_end" Integer(8);
    mm_exe_file VALUE Offset: "mm_struct.exe_file" Pointer("file");
    bprm_filename VALUE Offset: "linux_binprm.filename" Text;
    bprm_interp VALUE Offset: "linux_binprm.interp" Text;
    bprm_argc VALUE Offset: "linux_binprm.argc" Integer(4);
    bprm_file EXEC Offset: "linux_binprm.file" Pointer("file");
    fs_pwd VALUE Offset: "fs_struct.pwd" Structure("path", 16);
    fs_root VALUE Offset: "fs_struct.root" Structure("path", 16);
    path_mnt FILES Offset: "path.mnt" Pointer("vfsmount");
    path_dentry FILES Offset: "path.dentry" Pointer("dentry");
    mount_mnt FILES Offset: "mount.mnt" Structure("vfsmount", 8);
    mount_parent FILES Offset: "mount.mnt_parent" Pointer("mount");
    mount_mountpoint FILES Offset: "mount.mnt_mountpoint" Pointer("dentry");
    mount_namespace FILES Offset: "mount.mnt_ns" Pointer("mnt_namespace");
    vfsmount_root FILES Offset: "vfsmount.mnt_root" Pointer("dentry");
    dentry_parent FILES Offset: "dentry.d_parent" Pointer("dentry");
    dentry_name FILES Offset: "dentry.d_name.name" Text, "dentry.__d_name.name" Text;
    dentry_name_len FILES Offset: "dentry.d_name.len" Integer(4), "dentry.__d_name.len" Integer(4);
    dentry_inline_name VALUE Offset: "dentry.d_shortname" Structure("shortname_store", 40), "dentry.d_iname" Integers(40), "dentry.d_iname" Integers(32);
    dentry_inode VALUE Offset: "dentry.d_inode" Pointer("inode");
    file_inode FILE_IDENTITY Offset: "file.f_inode" Pointer("inode");
    file_path FILES Offset: "file.f_path" Structure("path", 16), "file.__f_path" Structure("path", 16);
    file_flags VALUE Offset: "file.f_flags" Integer(4);
    file_mode VALUE Offset: "file.f_mode" Integer(4);
    file_private_data VALUE Offset: "file.private_data" AnyPointer;
    inode_number FILE_IDENTITY Offset: "inode.i_ino" Integer(8);
    inode_mode VALUE Offset: "inode.i_mode" Integer(2);
    inode_links VALUE Offset: "inode.i_nlink" Integer(4), "inode.__i_nlink" Integer(4);
    inode_superblock FILE_IDENTITY Offset: "inode.i_sb" Pointer("super_block");
    inode_ctime_seconds VALUE Offset:
        "inode.i_ctime_sec" Integer(8), "inode.__i_ctime.tv_sec" Integer(8), "inode.i_ctime.tv_sec" Integer(8);
    inode_ctime_nanoseconds VALUE Offset:
        "inode.i_ctime_nsec" Integer(4), "inode.__i_ctime.tv_nsec" Integer(8), "inode.i_ctime.tv_nsec" Integer(8);
    superblock_device FILE_IDENTITY Offset: "super_block.s_dev" Integer(4);
    files_fdt AT_EXIT Offset: "files_struct.fdt" Pointer("fdtable");
    fdtable_fd AT_EXIT Offset: "fdtable.fd" PointerToPointers("file");
    fdtable_max_fds AT_EXIT Offset: "fdtable.max_fds" Integer(4);
    fdtable_open_fds AT_EXIT Offset: "fdtable.open_fds" AnyPointer;
    css_set_default_cgroup VALUE Offset: "css_set.dfl_cgrp" Pointer("cgroup");
    cgroup_node CGROUP Offset: "cgroup.kn" Pointer("kernfs_node");
    kernfs_name VALUE Offset: "kernfs_node.name" Text;
    kernfs_parent VALUE Offset:
        "kernfs_node.__parent" Pointer("kernfs_node"), "kernfs_node.parent" Pointer("kernfs_node");
    kernfs_id CGROUP Offset: "kernfs_node.id" Integer(8);
    socket_sock VALUE Offset: "socket.sk" Pointer("sock");
    sock_cookie COOKIE Offset: "sock.__sk_common.skc_cookie.counter" Integer(8);
    sock_daddr OUTCOME Offset: "sock.__sk_common.skc_daddr" Integer(4);
    sock_saddr OUTCOME Offset: "sock.__sk_common.skc_rcv_saddr" Integer(4);
    sock_v6_daddr VALUE Offset: "sock.__sk_common.skc_v6_daddr" Structure("in6_addr", 16);
    sock_v6_saddr VALUE Offset: "sock.__sk_common.skc_v6_rcv_saddr" Structure("in6_addr", 16);
    sock_dport OUTCOME Offset: "sock.__sk_common.skc_dport" Integer(2);
    sock_local_port OUTCOME Offset: "sock.__sk_common.skc_num" Integer(2);
    sock_family OUTCOME Offset: "sock.__sk_common.skc_family" Integer(2);
    sock_error OUTCOME Offset: "sock.sk_err" Integer(4);
    sock_protocol VALUE Offset: "sock.sk_protocol" Integer(2);
    regs_syscall SYSCALL_EXIT Offset: "pt_regs.orig_ax" Integer(8), "pt_regs.syscallno" Integer(4);
    regs_first_argument SYSCALL_EXIT Offset: "pt_regs.di" Integer(8), "pt_regs.orig_x0" Integer(8);
    sock_state TRAFFIC Offset: "sock.__sk_common.skc_state" Integer(1);
    sock_flags TRAFFIC Offset: "sock.__sk_common.skc_flags" Integer(8);
    sock_max_ack_backlog HELD_SOCKET Offset: "sock.sk_max_ack_backlog" Integer(4);
    tcp_bytes_sent TRAFFIC Offset: "tcp_sock.bytes_sent" Integer(8);
    tcp_bytes_retransmitted TRAFFIC Offset: "tcp_sock.bytes_retrans" Integer(8);
    tcp_bytes_received TRAFFIC Offset: "tcp_sock.bytes_received" Integer(8);
    regs_second_argument SOCKET_AT_EXIT Offset: "pt_regs.si" Integer(8), "pt_regs.regs" Integers(248);
    regs_third_argument SOCKET_AT_EXIT Offset: "pt_regs.dx" Integer(8), "pt_regs.regs" Integers(248);
    compatibility VALUE Offset: "task_struct.thread_info.status" Integer(4), "pt_regs.pstate" Integer(8);
    unix_address UNIX_PEER Offset: "unix_sock.addr" Pointer("unix_address");
    unix_path UNIX_PEER Offset: "unix_sock.path" Structure("path", 16);
    unix_peer UNIX_PEER Offset: "unix_sock.peer" Pointer("sock");
    unix_address_length UNIX_PEER Offset: "unix_address.len" Integer(4);
    unix_address_name UNIX_PEER Offset: "unix_address.name" Array("sockaddr_un");
    tcp_is_mptcp VALUE Offset: "tcp_sock.is_mptcp" Integer(1);
    task_flags VALUE Offset: "task_struct.flags" Integer(4);
    task_nameidata NAME_LOOKUP Offset: "task_struct.nameidata" Pointer("nameidata");
    nameidata_path NAME_LOOKUP Offset: "nameidata.path" Structure("path", 16);
    nameidata_name NAME_LOOKUP Offset: "nameidata.name" Pointer("filename");
    nameidata_dfd NAME_LOOKUP Offset: "nameidata.dfd" Integer(4);
    filename_name NAME_LOOKUP Offset: "filename.name" Text;
    sock_net NAMES Offset: "sock.__sk_common.skc_net.net" Pointer("net");
    renamedata_old_dentry RENAME Offset: "renamedata.old_dentry" Pointer("dentry");
    task_comm VALUE Offset: "task_struct.comm" Integers(16);
    task_pid_links MEMORY Offset: "task_struct.pid_links" Array("hlist_node");
    pid_tasks MEMORY Offset: "pid.tasks" Array("hlist_head");
    proc_inode_pid MEMORY Offset: "proc_inode.pid" Pointer("pid");
    proc_inode_inode MEMORY Offset: "proc_inode.vfs_inode" Structure("inode", 64);
    superblock_magic MEMORY Offset: "super_block.s_magic" Integer(8);
    pid_ns_tree MEMORY_AT_EXIT Offset: "pid_namespace.idr.idr_rt.xa_head" AnyPointer;
    tree_shift MEMORY_AT_EXIT Offset: "xa_node.shift" Integer(1);
    tree_slots MEMORY_AT_EXIT Offset: "xa_node.slots" Pointers(512);
    key_serial KEY Offset: "key.serial" Integer(4);
    key_uid VALUE Offset: "key.uid.val" Integer(4);
    key_kind KEY Offset: "key.type" Pointer("key_type");
    key_description KEY Offset: "key.description" Text;
    key_type_name KEY Offset: "key_type.name" Text;
    regs_fourth_argument SOCKET_AT_EXIT Offset: "pt_regs.r10" Integer(8), "pt_regs.regs" Integers(248);
    css_set_links VALUE Offset: "css_set.cgrp_links" Structure("list_head", 16);
    set_link_cgroup VALUE Offset: "cgrp_cset_link.cgrp" Pointer("cgroup");
    set_link_of_set VALUE Offset: "cgrp_cset_link.cgrp_link" Structure("list_head", 16);
    cgroup_hierarchy CGROUP Offset: "cgroup.root" Pointer("cgroup_root");
    hierarchy_number CGROUP Offset: "cgroup_root.hierarchy_id" Integer(4);
    sock_bound_device LISTENER Offset: "sock.__sk_common.skc_bound_dev_if" Integer(4);
};

impl Expected {
    fn admits(self, shape: &Shape, size: u32) -> bool {
        let is_composite = |shape: &Shape, name: &str| matches!(shape, Shape::Composite(n) if n == name);
        match (self, shape) {
            (Integer(bytes), Shape::Integer) => size == bytes,
            (Integers(bytes), Shape::Array(element)) => **element == Shape::Integer && size == bytes,
            (Pointer(name), Shape::Pointer(to)) => is_composite(to, name),
            (PointerToPointers(name), Shape::Pointer(to)) => {
                matches!(&**to, Shape::Pointer(to) if is_composite(to, name))
            }
            (Text, Shape::Pointer(to)) => **to == Shape::Integer,
            (AnyPointer, Shape::Pointer(_)) => true,
            (Structure(name, bytes), shape) => is_composite(shape, name) && size >= bytes,
            (Array(name), Shape::Array(element)) => is_composite(element, name),
            (Pointers(bytes), Shape::Array(element)) => {
                matches!(**element, Shape::Pointer(_)) && size == bytes
            }
            _ => false,
        }
    }
}

impl Display for Expected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Integer(bytes) => write!(f, "an integer of {bytes} bytes"),
            Integers(bytes) => write!(f, "integers of {bytes} bytes in all"),
            Pointer(name) => write!(f, "a pointer to {name}"),
            PointerToPointers(name) => write!(f, "a pointer to pointers to {name}"),
            Text => write!(f, "a pointer to text"),
            AnyPointer => write!(f, "a pointer"),
            Structure(name, bytes) => write!(f, "a {name} of at least {bytes} bytes"),
            Array(name) => write!(f, "an array of {name}"),
            Pointers(bytes) => write!(f, "pointers of {bytes} bytes in all"),
        }
    }
}

/// Where a task's registers are on its stack: on x86-64 at its upper end, which is the size of a stack away from the
/// lower one (`THREAD_SIZE`, 16 KiB but for kernels that look for memory errors). Poisoned elsewhere.
pub fn entry_registers(types: &KernelTypes) -> EntryRegisters {
    const THREAD_SIZE: u32 = 16_384;
    /// The last of `pt_regs`.
    const LAST: &str = "pt_regs.ss";
    let (Ok(stack), Ok(last)) = (types.locate("task_struct.stack"), types.locate(LAST)) else {
        return EntryRegisters::POISONED;
    };
    let size = types.locate("thread_union.stack").map_or(THREAD_SIZE, |union| union.size);
    let registers = last.offset.saturating_add(last.size);
    match size.checked_sub(registers) {
        Some(from_stack) => EntryRegisters { task_stack: stack.offset, from_stack },
        None => EntryRegisters::POISONED,
    }
}

/// Why one place of a field was not taken.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    /// It is not there.
    #[error("{path}: {source}")]
    Lookup {
        /// Where it was looked for.
        path: &'static str,
        /// The reason.
        source: LookupError,
    },
    /// It is there, and is something else: reading it would give wrong values.
    #[error("{path}: wanted {expected}, found {found:?} of {size} bytes")]
    Mismatch {
        /// Where it was looked for.
        path: &'static str,
        /// What its reader can read.
        expected: Expected,
        /// What is there.
        found: Shape,
        /// Bytes of what is there.
        size: u32,
    },
}

/// A field that was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResolvedOffset {
    /// Its name in [`KernelOffsets`].
    pub field: &'static str,
    /// The path that held.
    pub path: &'static str,
    /// What was stored: an offset or a size, in bytes.
    pub value: u32,
    /// Bytes of the member: two places of one field can differ in width.
    pub size: u32,
    /// What it is.
    pub shape: Shape,
}

/// A field that stays poisoned.
#[derive(Debug)]
pub struct MissingOffset {
    /// Its name in [`KernelOffsets`].
    pub field: &'static str,
    /// The paths that would have done, joined by ` | `.
    pub wanted: String,
    /// For each path, why not.
    pub refusals: Vec<Refusal>,
    /// What is lost; nothing: one value in records is absent.
    pub needed_by: &'static [Capability],
}

impl MissingOffset {
    /// All refusals in one line.
    pub fn reason(&self) -> String {
        self.refusals.iter().map(Refusal::to_string).collect::<Vec<_>>().join("; ")
    }
}

/// What the kernel's types gave.
#[derive(Debug)]
pub struct Resolved {
    /// For the programs' `.rodata`; what is missing is poisoned.
    pub offsets: KernelOffsets,
    /// What was found, in the order of the table.
    pub found: Vec<ResolvedOffset>,
    /// What was not.
    pub missing: Vec<MissingOffset>,
}

impl Resolved {
    /// The missing fields that `capability` cannot do without; none: its programs may be loaded.
    pub fn lacking(&self, capability: Capability) -> impl Iterator<Item = &MissingOffset> {
        self.missing.iter().filter(move |missing| missing.needed_by.contains(&capability))
    }
}

/// Looks up all of [`TABLE`].
pub fn resolve(types: &KernelTypes) -> Resolved {
    let mut resolved = Resolved { offsets: KernelOffsets::POISONED, found: Vec::new(), missing: Vec::new() };
    for field in TABLE {
        match resolve_field(types, field) {
            Ok(found) => {
                resolved.offsets.set(found.field, found.value);
                resolved.found.push(found);
            }
            Err(refusals) => resolved.missing.push(MissingOffset {
                field: field.name,
                wanted: field.places.iter().map(|place| place.path).collect::<Vec<_>>().join(" | "),
                refusals,
                needed_by: field.needed_by,
            }),
        }
    }
    resolved
}

fn resolve_field(types: &KernelTypes, field: &Field) -> Result<ResolvedOffset, Vec<Refusal>> {
    let mut refusals = Vec::new();
    for &Place { path, expected } in field.places {
        match types.locate(path) {
            Ok(place) if expected.admits(&place.shape, place.size) => {
                let value = match field.measure {
                    Measure::Offset => place.offset,
                    Measure::Size => place.size,
                };
                let (size, shape) = (place.size, place.shape);
                return Ok(ResolvedOffset { field: field.name, path, value, size, shape });
            }
            Ok(place) => {
                let (found, size) = (place.shape, place.size);
                refusals.push(Refusal::Mismatch { path, expected, found, size });
            }
            Err(source) => refusals.push(Refusal::Lookup { path, source }),
        }
    }
    Err(refusals)
}

#[cfg(test)]
mod tests;
