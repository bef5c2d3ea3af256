//! Where the running kernel keeps the fields that the programs read.
//!
//! One `KernelOffsets` lives in the object's frozen `.rodata`; userspace resolves it from the kernel's BTF before
//! load. Every field starts poisoned, so that the verifier refuses (or removes) a read nobody resolved.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// Value of an offset that was not resolved.
pub const POISON: u32 = u32::MAX;

macro_rules! offsets {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        /// Byte offsets into kernel structures, named `structure_member`.
        #[repr(C)]
        #[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
        pub struct KernelOffsets {
            $($(#[$doc])* pub $name: u32,)*
        }

        impl KernelOffsets {
            /// All fields poisoned.
            pub const POISONED: Self = Self { $($name: POISON,)* };

            /// Names of all fields, in order: the resolver's tests check that it knows each.
            pub const NAMES: &'static [&'static str] = &[$(stringify!($name),)*];

            /// Sets a field by its name; `false` where there is none of that name.
            pub fn set(&mut self, name: &str, offset: u32) -> bool {
                match name {
                    $(stringify!($name) => self.$name = offset,)*
                    _ => return false,
                }
                true
            }

            /// Reads a field by its name.
            pub fn get(&self, name: &str) -> Option<u32> {
                match name {
                    $(stringify!($name) => Some(self.$name),)*
                    _ => None,
                }
            }
        }
    };
}

offsets! {
    /// `task_struct.tgid`: s32.
    task_tgid,
    /// `task_struct.pid`: s32.
    task_pid,
    /// `task_struct.group_leader`: pointer to task_struct.
    task_group_leader,
    /// `task_struct.real_parent`: pointer to task_struct.
    task_real_parent,
    /// `task_struct.start_boottime`: u64, ns since boot, suspend included.
    task_start_boottime,
    /// `task_struct.exit_code`: s32, as `wait` gives it.
    task_exit_code,
    /// `task_struct.signal`: pointer to signal_struct.
    task_signal,
    /// `task_struct.loginuid`: kuid, u32.
    task_loginuid,
    /// `task_struct.sessionid`: u32.
    task_sessionid,
    /// `task_struct.cred`: pointer to cred.
    task_cred,
    /// `task_struct.mm`: pointer to mm_struct.
    task_mm,
    /// `task_struct.fs`: pointer to fs_struct.
    task_fs,
    /// `task_struct.files`: pointer to files_struct.
    task_files,
    /// `task_struct.nsproxy`: pointer to nsproxy.
    task_nsproxy,
    /// `task_struct.cgroups`: pointer to css_set.
    task_cgroups,
    /// `task_struct.thread_pid`: pointer to struct pid.
    task_thread_pid,
    /// `signal_struct.live.counter`: s32, threads alive.
    signal_live,
    /// `cred.uid`: first of eight u32: uid, gid, suid, sgid, euid, egid, fsuid, fsgid.
    cred_uid,
    /// `cred.cap_effective`: u64.
    cred_cap_effective,
    /// `cred.cap_permitted`: u64.
    cred_cap_permitted,
    /// `cred.user_ns`: pointer to user_namespace.
    cred_user_ns,
    /// `user_namespace.ns.inum`: u32.
    user_ns_inum,
    /// `nsproxy.mnt_ns`: pointer to mnt_namespace.
    nsproxy_mnt_ns,
    /// `nsproxy.net_ns`: pointer to net.
    nsproxy_net_ns,
    /// `nsproxy.pid_ns_for_children`: pointer to pid_namespace.
    nsproxy_pid_ns,
    /// `mnt_namespace.ns.inum`: u32.
    mnt_ns_inum,
    /// `net.ns.inum`: u32.
    net_ns_inum,
    /// `net.net_cookie`: u64.
    net_cookie,
    /// `pid_namespace.ns.inum`: u32.
    pid_ns_inum,
    /// `pid.level`: u32, depth of the pid namespace.
    pid_level,
    /// `pid.numbers`: array of upid.
    pid_numbers,
    /// Size of `struct upid`.
    upid_size,
    /// `upid.nr`: s32.
    upid_nr,
    /// `upid.ns`: pointer to pid_namespace.
    upid_ns,
    /// `mm_struct.arg_start`: u64.
    mm_arg_start,
    /// `mm_struct.arg_end`: u64.
    mm_arg_end,
    /// `mm_struct.env_start`: u64.
    mm_env_start,
    /// `mm_struct.env_end`: u64.
    mm_env_end,
    /// `mm_struct.exe_file`: pointer to file.
    mm_exe_file,
    /// `linux_binprm.filename`: pointer to a kernel string.
    bprm_filename,
    /// `linux_binprm.interp`: pointer to a kernel string.
    bprm_interp,
    /// `linux_binprm.argc`: s32.
    bprm_argc,
    /// `linux_binprm.file`: pointer to file.
    bprm_file,
    /// `fs_struct.pwd`: struct path.
    fs_pwd,
    /// `fs_struct.root`: struct path.
    fs_root,
    /// `path.mnt`: pointer to vfsmount.
    path_mnt,
    /// `path.dentry`: pointer to dentry.
    path_dentry,
    /// `mount.mnt`: the embedded vfsmount.
    mount_mnt,
    /// `mount.mnt_parent`: pointer to mount.
    mount_parent,
    /// `mount.mnt_mountpoint`: pointer to dentry.
    mount_mountpoint,
    /// `mount.mnt_ns`: pointer to mnt_namespace, or an error pointer for a mount that the kernel keeps to itself.
    mount_namespace,
    /// `vfsmount.mnt_root`: pointer to dentry.
    vfsmount_root,
    /// `dentry.d_parent`: pointer to dentry.
    dentry_parent,
    /// `dentry.d_name.name`: pointer to a kernel string.
    dentry_name,
    /// `dentry.d_name.len`: u32.
    dentry_name_len,
    /// `dentry.d_iname`, `dentry.d_shortname`: where a short name is stored.
    dentry_inline_name,
    /// `dentry.d_inode`: pointer to inode.
    dentry_inode,
    /// `file.f_inode`: pointer to inode.
    file_inode,
    /// `file.f_path`: struct path.
    file_path,
    /// `file.f_flags`: u32, open flags.
    file_flags,
    /// `file.f_mode`: u32.
    file_mode,
    /// `file.private_data`: pointer, a socket for socket files.
    file_private_data,
    /// `inode.i_ino`: u64.
    inode_number,
    /// `inode.i_mode`: u16.
    inode_mode,
    /// `inode.i_nlink`: u32.
    inode_links,
    /// `inode.i_sb`: pointer to super_block.
    inode_superblock,
    /// Seconds of the inode's change time: s64.
    inode_ctime_seconds,
    /// Nanoseconds of the inode's change time: u32 (u64 before 6.11).
    inode_ctime_nanoseconds,
    /// `super_block.s_dev`: u32.
    superblock_device,
    /// `files_struct.fdt`: pointer to fdtable.
    files_fdt,
    /// `fdtable.fd`: pointer to an array of pointers to file.
    fdtable_fd,
    /// `fdtable.max_fds`: u32.
    fdtable_max_fds,
    /// `fdtable.open_fds`: pointer to an array of u64, a bit for each descriptor.
    fdtable_open_fds,
    /// `css_set.dfl_cgrp`: pointer to cgroup.
    css_set_default_cgroup,
    /// `cgroup.kn`: pointer to kernfs_node.
    cgroup_node,
    /// `kernfs_node.name`: pointer to a kernel string.
    kernfs_name,
    /// `kernfs_node.parent`, `__parent` since 6.15: pointer to kernfs_node.
    kernfs_parent,
    /// `kernfs_node.id`: u64.
    kernfs_id,
    /// `socket.sk`: pointer to sock.
    socket_sock,
    /// `sock.__sk_common.skc_cookie`: s64.
    sock_cookie,
    /// `sock.__sk_common.skc_daddr`: be32.
    sock_daddr,
    /// `sock.__sk_common.skc_rcv_saddr`: be32.
    sock_saddr,
    /// `sock.__sk_common.skc_v6_daddr`: 16 bytes.
    sock_v6_daddr,
    /// `sock.__sk_common.skc_v6_rcv_saddr`: 16 bytes.
    sock_v6_saddr,
    /// `sock.__sk_common.skc_dport`: be16.
    sock_dport,
    /// `sock.__sk_common.skc_num`: u16, local port.
    sock_local_port,
    /// `sock.__sk_common.skc_family`: u16.
    sock_family,
    /// `sock.sk_err`: s32.
    sock_error,
    /// `sock.sk_protocol`: u16 (u8 before 5.6).
    sock_protocol,
    /// `pt_regs.orig_ax` on x86-64, `syscallno` on arm64: the system call's number.
    regs_syscall,
    /// `pt_regs.di` on x86-64, `orig_x0` on arm64: the call's first argument, still there at its exit.
    regs_first_argument,
    /// `sock.__sk_common.skc_state`: u8, `TCP_*` of a TCP socket.
    sock_state,
    /// `sock.__sk_common.skc_flags`: u64, a bit for each `SOCK_*`.
    sock_flags,
    /// `sock.sk_max_ack_backlog`: u32.
    sock_max_ack_backlog,
    /// `tcp_sock.bytes_sent`: u64, payload, each time that it is sent.
    tcp_bytes_sent,
    /// `tcp_sock.bytes_retrans`: u64, payload sent again.
    tcp_bytes_retransmitted,
    /// `tcp_sock.bytes_received`: u64, payload and one for a FIN.
    tcp_bytes_received,
    /// `pt_regs.si` on x86-64; on arm64 `regs`, of which it is the element 1.
    regs_second_argument,
    /// `pt_regs.dx` on x86-64; on arm64 `regs`, of which it is the element 2.
    regs_third_argument,
    /// `task_struct.thread_info.status` on x86-64, with a bit for a 32-bit system call; `pt_regs.pstate` on arm64, with a
    /// bit for a 32-bit program.
    compatibility,
    /// `unix_sock.addr`: pointer to unix_address, null where it has no name.
    unix_address,
    /// `unix_sock.path`: struct path, null where its name is no file.
    unix_path,
    /// `unix_sock.peer`: pointer to sock.
    unix_peer,
    /// `unix_address.len`: s32, bytes of the address, its family included.
    unix_address_length,
    /// `unix_address.name`: sockaddr_un, of any length.
    unix_address_name,
    /// `tcp_sock.is_mptcp`: u8, whether it is a subflow; absent where the kernel has no MPTCP.
    tcp_is_mptcp,
    /// `task_struct.flags`: u32, a bit for each `PF_*`.
    task_flags,
    /// `task_struct.nameidata`: pointer to nameidata, null while no path is looked up.
    task_nameidata,
    /// `nameidata.path`: struct path, how far the lookup has come.
    nameidata_path,
    /// `nameidata.name`: pointer to filename.
    nameidata_name,
    /// `nameidata.dfd`: s32, the directory that the path begins at.
    nameidata_dfd,
    /// `filename.name`: pointer to the kernel's copy of the path.
    filename_name,
    /// `sock.__sk_common.skc_net.net`: pointer to net.
    sock_net,
    /// `renamedata.old_dentry`: pointer to dentry.
    renamedata_old_dentry,
    /// `task_struct.comm`: 16 bytes, the thread's name.
    task_comm,
    /// `task_struct.pid_links`: array of hlist_node, the first of which is in the list of the thread's own pid.
    task_pid_links,
    /// `pid.tasks`: array of hlist_head, the first of which begins the list of the thread that has the pid.
    pid_tasks,
    /// `proc_inode.pid`: pointer to pid, whose file it is.
    proc_inode_pid,
    /// `proc_inode.vfs_inode`: the embedded inode.
    proc_inode_inode,
    /// `super_block.s_magic`: u64, which file system.
    superblock_magic,
    /// `pid_namespace.idr.idr_rt.xa_head`: pointer, the tree of pids by their numbers.
    pid_ns_tree,
    /// `xa_node.shift`: u8, bits of the index below those that choose a slot.
    tree_shift,
    /// `xa_node.slots`: array of 64 pointers.
    tree_slots,
    /// `key.serial`: s32.
    key_serial,
    /// `key.uid`: kuid, u32.
    key_uid,
    /// `key.type`: pointer to key_type.
    key_kind,
    /// `key.description`: pointer to a kernel string.
    key_description,
    /// `key_type.name`: pointer to a kernel string.
    key_type_name,
    /// `pt_regs.r10` on x86-64; on arm64 `regs`, of which it is the element 3.
    regs_fourth_argument,
    /// `css_set.cgrp_links`: list_head of the set's cgroups, one of each hierarchy, oldest hierarchy first.
    css_set_links,
    /// `cgrp_cset_link.cgrp`: pointer to cgroup.
    set_link_cgroup,
    /// `cgrp_cset_link.cgrp_link`: list_head by which it is in the set's list.
    set_link_of_set,
    /// `cgroup.root`: pointer to cgroup_root.
    cgroup_hierarchy,
    /// `cgroup_root.hierarchy_id`: s32, as `/proc/PID/cgroup` has it; 0 is version 2.
    hierarchy_number,
    /// `sock.__sk_common.skc_bound_dev_if`: s32, index of the interface that it is bound to.
    sock_bound_device,
}

/// Where the registers are with which a task entered the kernel: for kernels that have no helper for it.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
pub struct EntryRegisters {
    /// `task_struct.stack`: pointer to the lowest byte of its stack.
    pub task_stack: u32,
    /// How far from there they are.
    pub from_stack: u32,
}

impl EntryRegisters {
    /// Not known.
    pub const POISONED: Self = Self { task_stack: POISON, from_stack: POISON };
}
