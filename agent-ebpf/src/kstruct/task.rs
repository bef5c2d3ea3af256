//! Tasks, and what hangs on them: credentials, namespaces, memory, the lookup of a path, cgroups.

use agent_common::limits::COMM_BYTES;

use super::{
    Access, BinaryParameters, Cgroup, Cred, File, KernfsNode, Lookup, Memory, NsProxy, OFFSETS, Probed, Task,
    Typed, resolved,
};
use crate::kernel;
use aya_ebpf::helpers::generated;

/// The hierarchy whose cgroups name workloads, by the kernel's number: 0 is that of version 2, and others are those of
/// version 1. Set by the loader; the verifier removes what is not asked for.
#[unsafe(no_mangle)]
static CGROUP_HIERARCHY: u32 = 0;

/// Hierarchies that a task can be in: one for each controller, version 2, and as many that have only a name.
const HIERARCHIES: u32 = 24;

/// The hierarchy whose cgroups name workloads.
#[inline(always)]
pub fn cgroup_hierarchy() -> u32 {
    // SAFETY: a reference is valid. Volatile: the loader sets it, the compiler must not know it.
    unsafe { core::ptr::read_volatile(&raw const CGROUP_HIERARCHY) }
}

/// Node of the cgroup that a set has in the hierarchy that names workloads, where that is one of version 1; 0 where it has
/// none, or it cannot be read.
///
/// A set's list grows at its end when a hierarchy is mounted: the one that the service manager mounts first is the second.
/// A function of its own, for the sake of version 2, where it is never called. Its callers have 32 bytes of stack to spare:
/// so there is one place for all that is read, and offsets are asked for where they are used.
#[inline(never)]
fn node_in_hierarchy(set: u64) -> u64 {
    let mut slot = 0_u64;
    macro_rules! read {
        ($from:expr, $offset:expr) => {{
            // SAFETY: the helper checks the address, and writes zeros on a fault. A list that changes meanwhile leads
            // nowhere, or to another hierarchy's number.
            unsafe {
                let from = ($from as *const u8).wrapping_add($offset);
                generated::bpf_probe_read_kernel((&raw mut slot).cast(), size_of::<u64>() as u32, from.cast());
                (&raw const slot).read_volatile()
            }
        }};
    }
    macro_rules! or_none {
        ($offset:expr) => {
            match $offset {
                Some(offset) => offset,
                None => return 0,
            }
        };
    }
    let mut at = read!(set, or_none!(offset!(css_set_links)));
    // The list's head, as the first in it has it: a number, which can be compared.
    let head = read!(at, size_of::<u64>());
    for _ in 0..HIERARCHIES {
        if at == 0 || at == head {
            return 0;
        }
        let link = at.wrapping_sub(or_none!(offset!(set_link_of_set)) as u64);
        let cgroup = read!(link, or_none!(offset!(set_link_cgroup)));
        let hierarchy = read!(cgroup, or_none!(offset!(cgroup_hierarchy)));
        // The number is the lower half of what is read: both machines that this runs on are little-endian.
        if read!(hierarchy, or_none!(offset!(hierarchy_number))) as u32 == cgroup_hierarchy() {
            return read!(cgroup, or_none!(offset!(cgroup_node)));
        }
        at = read!(at, 0);
    }
    0
}

impl Task<Typed> {
    /// The running task.
    #[inline(always)]
    pub fn current() -> Self {
        Self::from_raw(kernel::current())
    }
}

impl<A: Access> Task<A> {
    getters! {
        /// Process id.
        tgid: task_tgid -> u32;
        /// Thread id.
        pid: task_pid -> u32;
        /// Exit code as `wait` gives it.
        exit_code: task_exit_code -> u32;
        /// Login uid.
        login_uid: task_loginuid -> u32;
        /// Audit session.
        session_id: task_sessionid -> u32;
        /// Start, boot time in ns.
        start_boot_ns: task_start_boottime -> u64;
        /// A bit for each `PF_*`.
        flags: task_flags -> u32;
    }

    #[inline(always)]
    fn pointer(self, offset: Option<usize>) -> Option<u64> {
        // SAFETY: the pointer is of kind `A` by construction.
        unsafe { A::load::<u64>(self.0, offset?) }
    }

    /// First thread of the process.
    #[inline(always)]
    pub fn group_leader(self) -> Option<Self> {
        self.pointer(offset!(task_group_leader)).map(Self::from_raw)
    }

    /// The parent process's thread that made it.
    #[inline(always)]
    pub fn real_parent(self) -> Option<Self> {
        self.pointer(offset!(task_real_parent)).map(Self::from_raw)
    }

    /// Credentials.
    #[inline(always)]
    pub fn cred(self) -> Option<Cred<A>> {
        self.pointer(offset!(task_cred)).map(Cred::from_raw)
    }

    /// Namespaces; null while it exits.
    #[inline(always)]
    pub fn ns_proxy(self) -> Option<NsProxy<A>> {
        self.pointer(offset!(task_nsproxy)).map(NsProxy::from_raw)
    }

    /// Address space.
    #[inline(always)]
    pub fn memory(self) -> Option<Memory<A>> {
        self.pointer(offset!(task_mm)).map(Memory::from_raw)
    }

    /// Threads of its process that are still alive.
    #[inline(always)]
    pub fn live_threads(self) -> Option<u32> {
        let signal = self.pointer(offset!(task_signal))?;
        // SAFETY: loaded from a pointer of kind `A`.
        unsafe { A::load(signal, offset!(signal_live)?) }
    }

    /// Working directory: (vfsmount, dentry).
    #[inline(always)]
    pub fn working_directory(self) -> Option<(u64, u64)> {
        self.fs_path(offset!(fs_pwd))
    }

    /// Root directory: (vfsmount, dentry).
    #[inline(always)]
    pub fn root_directory(self) -> Option<(u64, u64)> {
        self.fs_path(offset!(fs_root))
    }

    #[inline(always)]
    fn fs_path(self, offset: Option<usize>) -> Option<(u64, u64)> {
        let fs = self.pointer(offset!(task_fs))?;
        let base = offset?;
        // SAFETY: loaded from a pointer of kind `A`.
        unsafe { Some((A::load(fs, base + offset!(path_mnt)?)?, A::load(fs, base + offset!(path_dentry)?)?)) }
    }

    /// The path that it is looking up.
    #[inline(always)]
    pub fn lookup(self) -> Option<Lookup<Probed>> {
        let lookup = self.pointer(offset!(task_nameidata))?;
        if lookup == 0 { None } else { Some(Lookup::from_raw(lookup)) }
    }

    /// Node of its cgroup in the hierarchy that names workloads, as a number.
    #[inline(always)]
    pub fn cgroup_node(self) -> Option<u64> {
        let set = self.pointer(offset!(task_cgroups))?;
        match cgroup_hierarchy() {
            // SAFETY: each is loaded from a pointer of kind `A`.
            0 => unsafe {
                let cgroup: u64 = A::load(set, offset!(css_set_default_cgroup)?)?;
                A::load(cgroup, offset!(cgroup_node)?)
            },
            _ => match node_in_hierarchy(set) {
                0 => None,
                node => Some(node),
            },
        }
    }

    /// Address of what all tasks share that are in the same cgroup of each hierarchy.
    #[inline(always)]
    pub fn cgroup_set(self) -> Option<u64> {
        self.pointer(offset!(task_cgroups))
    }

    /// Id of its cgroup in that hierarchy.
    #[inline(always)]
    pub fn cgroup_id(self) -> Option<u64> {
        let node = self.cgroup_node()?;
        if cgroup_hierarchy() == 0 {
            KernfsNode::<A>::from_raw(node).id()
        } else {
            KernfsNode::<Probed>::from_raw(node).id()
        }
    }

    /// Its name: 15 bytes at most.
    #[inline(always)]
    pub fn name(self) -> Option<[u8; COMM_BYTES]> {
        // SAFETY: probed: a typed array is read element by element.
        unsafe { Probed::load(self.0, offset!(task_comm)?) }
    }

    /// Its table of descriptors.
    #[inline(always)]
    pub fn descriptors(self) -> Option<Descriptors> {
        let files = self.pointer(offset!(task_files))?;
        // SAFETY: each is loaded from a pointer of kind `A`.
        unsafe {
            let table: u64 = A::load(files, offset!(files_fdt)?)?;
            Some(Descriptors {
                files: A::load(table, offset!(fdtable_fd)?)?,
                open: A::load(table, offset!(fdtable_open_fds)?)?,
                limit: A::load(table, offset!(fdtable_max_fds)?)?,
                reserved: 0,
            })
        }
    }

    /// The file behind a descriptor.
    #[inline(always)]
    pub fn file(self, descriptor: u32) -> Option<File<Probed>> {
        self.descriptors()?.file(descriptor)
    }

    /// Its id in the innermost pid namespace.
    #[inline(always)]
    pub fn namespaced_pid(self) -> Option<u32> {
        // SAFETY: probed from the start: the array's element is chosen at run time, and no offset but a constant may be
        // added to a typed pointer.
        unsafe {
            let pid: u64 = Probed::load(self.0, offset!(task_thread_pid)?)?;
            let level: u32 = Probed::load(pid, offset!(pid_level)?)?;
            if level > 32 {
                return None;
            }
            let at = offset!(pid_numbers)? + level as usize * offset!(upid_size)? + offset!(upid_nr)?;
            Probed::load(pid, at)
        }
    }
}

impl Task<Probed> {
    /// The thread that has a pid; `None` once it has ended.
    #[inline(always)]
    pub fn of_pid(pid: u64) -> Option<Self> {
        // SAFETY: probed.
        let link: u64 = unsafe { Probed::load(pid, offset!(pid_tasks)?)? };
        if link == 0 { None } else { Some(Self::from_raw(link - offset!(task_pid_links)? as u64)) }
    }

    /// The thread that has this number in the pid namespace of `from`.
    #[inline(always)]
    pub fn numbered(number: u32, from: Task<Typed>) -> Option<Self> {
        /// Six bits of a number choose a slot; numbers are below 2^22.
        const LEVELS: usize = 4;
        /// What the two lowest bits of an entry are that leads to a node.
        const NODE: u64 = 2;
        // SAFETY: all of it probed.
        unsafe {
            let own: u64 = Probed::load(from.raw(), offset!(task_thread_pid)?)?;
            let level: u32 = Probed::load(own, offset!(pid_level)?)?;
            if level > 32 {
                return None;
            }
            let at = offset!(pid_numbers)? + level as usize * offset!(upid_size)? + offset!(upid_ns)?;
            let namespace: u64 = Probed::load(own, at)?;
            let mut entry: u64 = Probed::load(namespace, offset!(pid_ns_tree)?)?;
            let mut beyond = true;
            for _ in 0..LEVELS {
                if entry & 3 != NODE {
                    break;
                }
                let node = entry - NODE;
                let shift = u32::from(Probed::load::<u8>(node, offset!(tree_shift)?)?) & 31;
                let slot = number >> shift;
                // The topmost node says how large numbers may be.
                if beyond && slot > 63 {
                    return None;
                }
                beyond = false;
                entry = Probed::load(node, offset!(tree_slots)? + (slot & 63) as usize * 8)?;
            }
            if entry & 3 != 0 || entry == 0 { None } else { Self::of_pid(entry) }
        }
    }
}

impl Task<Typed> {
    /// The registers with which it entered the kernel, typed: it must be the running one.
    #[inline(always)]
    pub fn registers(self) -> Option<u64> {
        kernel::registers(self.0)
    }
}

impl<A: Access> Cred<A> {
    #[inline(always)]
    fn id(self, index: usize) -> Option<u32> {
        // SAFETY: the pointer is of kind `A`; the eight ids follow each other.
        unsafe { A::load(self.0, offset!(cred_uid)? + index * 4) }
    }

    /// Real user.
    #[inline(always)]
    pub fn uid(self) -> Option<u32> {
        self.id(0)
    }

    /// Real group.
    #[inline(always)]
    pub fn gid(self) -> Option<u32> {
        self.id(1)
    }

    /// Effective user.
    #[inline(always)]
    pub fn euid(self) -> Option<u32> {
        self.id(4)
    }

    /// Effective group.
    #[inline(always)]
    pub fn egid(self) -> Option<u32> {
        self.id(5)
    }

    getters! {
        /// Effective capabilities.
        capabilities: cred_cap_effective -> u64;
        /// Permitted capabilities.
        capabilities_permitted: cred_cap_permitted -> u64;
    }

    /// Inode number of the user namespace.
    #[inline(always)]
    pub fn user_namespace(self) -> Option<u32> {
        // SAFETY: each is loaded from a pointer of kind `A`.
        unsafe {
            let namespace: u64 = A::load(self.0, offset!(cred_user_ns)?)?;
            A::load(namespace, offset!(user_ns_inum)?)
        }
    }
}

impl<A: Access> NsProxy<A> {
    #[inline(always)]
    fn number(self, namespace: Option<usize>, inum: Option<usize>) -> Option<u32> {
        // SAFETY: each is loaded from a pointer of kind `A`.
        unsafe { A::load(A::load::<u64>(self.0, namespace?)?, inum?) }
    }

    /// Inode number of the mount namespace.
    #[inline(always)]
    pub fn mount(self) -> Option<u32> {
        self.number(offset!(nsproxy_mnt_ns), offset!(mnt_ns_inum))
    }

    /// Inode number of the network namespace.
    #[inline(always)]
    pub fn network(self) -> Option<u32> {
        self.number(offset!(nsproxy_net_ns), offset!(net_ns_inum))
    }

    /// Inode number of the pid namespace of its children.
    #[inline(always)]
    pub fn pid(self) -> Option<u32> {
        self.number(offset!(nsproxy_pid_ns), offset!(pid_ns_inum))
    }
}

impl<A: Access> Memory<A> {
    getters! {
        /// Start of argv, a user address.
        arg_start: mm_arg_start -> u64;
        /// End of argv.
        arg_end: mm_arg_end -> u64;
        /// Start of the environment.
        env_start: mm_env_start -> u64;
        /// End of the environment.
        env_end: mm_env_end -> u64;
    }
}

impl<A: Access> BinaryParameters<A> {
    getters! {
        /// What was asked to run: a kernel string.
        filename: bprm_filename -> u64;
        /// What runs it: a kernel string.
        interpreter: bprm_interp -> u64;
        /// Number of arguments.
        argument_count: bprm_argc -> u32;
    }

    /// The file that was mapped.
    #[inline(always)]
    pub fn file(self) -> Option<File<A>> {
        // SAFETY: the pointer is of kind `A`.
        unsafe { A::load(self.0, offset!(bprm_file)?).map(File::from_raw) }
    }
}

impl<A: Access> Cgroup<A> {
    /// Its id.
    #[inline(always)]
    pub fn id(self) -> Option<u64> {
        // SAFETY: the pointer is of kind `A`.
        unsafe { A::load(self.0, offset!(cgroup_node)?).map(KernfsNode::<A>::from_raw)?.id() }
    }

    /// The kernel's number of its hierarchy, as [`cgroup_hierarchy`].
    #[inline(always)]
    pub fn hierarchy(self) -> Option<u32> {
        // SAFETY: each is loaded from a pointer of kind `A`.
        unsafe {
            let hierarchy: u64 = A::load(self.0, offset!(cgroup_hierarchy)?)?;
            A::load(hierarchy, offset!(hierarchy_number)?)
        }
    }
}

impl<A: Access> KernfsNode<A> {
    getters! {
        /// Its name, a kernel string.
        name: kernfs_name -> u64;
        /// Its id: that of the cgroup.
        id: kernfs_id -> u64;
    }

    /// The node above; null at the root.
    #[inline(always)]
    pub fn parent(self) -> Option<Self> {
        // SAFETY: the pointer is of kind `A`.
        unsafe { A::load(self.0, offset!(kernfs_parent)?).map(Self::from_raw) }
    }
}

/// A table of descriptors.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Descriptors {
    /// Array of pointers to files.
    files: u64,
    /// Array of words, a bit for each descriptor that is open.
    open: u64,
    /// Descriptors that it has room for.
    limit: u32,
    /// Instead of padding, which the verifier of 5.10 lets nobody copy.
    reserved: u32,
}

/// Descriptors of which one word of [`Descriptors`] says whether they are open.
pub const DESCRIPTORS_A_WORD: u32 = u64::BITS;

impl Descriptors {
    /// Which of the descriptors from `word * DESCRIPTORS_A_WORD` on are open. `None` behind the last.
    #[inline(always)]
    pub fn open(&self, word: u32) -> Option<u64> {
        if word >= self.limit / DESCRIPTORS_A_WORD {
            return None;
        }
        // SAFETY: probed.
        unsafe { Probed::load(self.open, word as usize * 8) }
    }

    /// The file behind a descriptor.
    #[inline(always)]
    pub fn file(&self, descriptor: u32) -> Option<File<Probed>> {
        if descriptor >= self.limit {
            return None;
        }
        // SAFETY: probed.
        let file: u64 = unsafe { Probed::load(self.files, descriptor as usize * 8)? };
        if file == 0 { None } else { Some(File::from_raw(file)) }
    }
}
