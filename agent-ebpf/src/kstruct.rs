//! Every read of a kernel structure.
//!
//! Offsets come from frozen `.rodata`, so that the verifier sees constants: a read through a BTF-typed pointer is a
//! plain load that it checks against the running kernel. A pointer that was itself read as a number (from an array of
//! pointers, or through `container_of`) can only be followed by `bpf_probe_read_kernel`. The [`Access`] parameter of
//! each newtype says which of the two a pointer is.

use core::marker::PhantomData;
use core::mem::MaybeUninit;
use core::ptr::read_volatile;

use agent_common::keys::InodeKey;
use agent_common::offsets::{KernelOffsets, POISON};
use agent_common::records::FileIdentity;
use aya_ebpf::helpers::generated::{self, bpf_skc_to_tcp_sock, bpf_task_pt_regs};
use aya_ebpf::helpers::{bpf_get_current_task_btf, bpf_probe_read_kernel};

#[unsafe(no_mangle)]
static OFFSETS: KernelOffsets = KernelOffsets::POISONED;

/// The value of an offset, `None` where userspace could not resolve it (the verifier then removes the read).
#[inline(always)]
fn resolved(field: &'static u32) -> Option<usize> {
    // SAFETY: a reference is valid; volatile, because userspace rewrites the static before load.
    let value = unsafe { read_volatile(field) };
    if value == POISON { None } else { Some(value as usize) }
}

macro_rules! offset {
    ($field:ident) => {
        resolved(&OFFSETS.$field)
    };
}

/// How a pointer may be followed.
pub trait Access: Copy {
    /// Whether to follow it costs no more than a load.
    const CHEAP: bool;

    /// Reads a `T` at `pointer + offset`.
    ///
    /// # Safety
    /// `pointer` must be of the kind that the implementation follows.
    unsafe fn load<T: Copy>(pointer: u64, offset: usize) -> Option<T>;
}

/// Pointers whose type the verifier knows: arguments of BTF programs and what is loaded from them.
#[derive(Clone, Copy)]
pub struct Typed;

/// Pointers that are numbers to the verifier.
#[derive(Clone, Copy)]
pub struct Probed;

impl Access for Typed {
    const CHEAP: bool = true;

    #[inline(always)]
    unsafe fn load<T: Copy>(pointer: u64, offset: usize) -> Option<T> {
        // SAFETY: the verifier checks type and offset; a fault reads as zero.
        Some(unsafe { read_volatile((pointer as *const u8).add(offset).cast::<T>()) })
    }
}

impl Access for Probed {
    const CHEAP: bool = false;

    #[inline(always)]
    unsafe fn load<T: Copy>(pointer: u64, offset: usize) -> Option<T> {
        // SAFETY: the helper checks the address and reports a fault.
        unsafe { bpf_probe_read_kernel((pointer as *const u8).add(offset).cast::<T>()).ok() }
    }
}

/// A part of a structure, probed in one read: each costs as much as a hundred loads.
struct Window<const WORDS: usize> {
    structure: u64,
    start: usize,
    words: MaybeUninit<[u64; WORDS]>,
}

impl<const WORDS: usize> Window<WORDS> {
    /// On the structure, from `start` on.
    #[inline(always)]
    const fn new(structure: u64, start: usize) -> Self {
        Self { structure, start, words: MaybeUninit::uninit() }
    }

    /// Reads it. In place: what is handed around is copied, and a program's stack has 512 bytes.
    #[inline(always)]
    fn open(&mut self) -> Option<&Self> {
        let from = self.structure.wrapping_add(self.start as u64);
        // SAFETY: the words have the length that is named; the helper checks the address and reports a fault.
        let read = unsafe {
            generated::bpf_probe_read_kernel(
                self.words.as_mut_ptr().cast(),
                (WORDS * 8) as u32,
                from as *const _,
            )
        };
        if read == 0 { Some(self) } else { None }
    }

    /// What is at an offset of the structure, once it was opened: read apart where the window does not show it.
    #[inline(always)]
    fn get<T: Copy>(&self, offset: usize) -> Option<T> {
        if offset < self.start || offset + size_of::<T>() > self.start + WORDS * 8 {
            // SAFETY: probed.
            return unsafe { Probed::load(self.structure, offset) };
        }
        // SAFETY: within the words, as was just seen; all their bytes were read, and a `T` is a number.
        Some(unsafe { read_volatile(self.words.as_ptr().cast::<u8>().add(offset - self.start).cast()) })
    }
}

macro_rules! kernel_struct {
    ($($(#[$doc:meta])* $name:ident;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy)]
        pub struct $name<A: Access = Probed>(u64, PhantomData<A>);

        #[allow(dead_code, reason = "not every structure is made from each side")]
        impl<A: Access> $name<A> {
            /// Wraps a pointer that must be of the kind `A`.
            #[inline(always)]
            pub const fn from_raw(pointer: u64) -> Self { Self(pointer, PhantomData) }

            /// The pointer as a number.
            #[inline(always)]
            pub const fn raw(self) -> u64 { self.0 }

            /// Whether there is nothing behind it.
            #[inline(always)]
            pub const fn is_null(self) -> bool { self.0 == 0 }
        }
    )*};
}

kernel_struct! {
    /// `struct task_struct`.
    Task;
    /// `struct cred`.
    Cred;
    /// `struct nsproxy`.
    NsProxy;
    /// `struct mm_struct`.
    Memory;
    /// `struct linux_binprm`.
    BinaryParameters;
    /// `struct file`.
    File;
    /// `struct inode`.
    Inode;
    /// `struct dentry`.
    Dentry;
    /// `struct vfsmount`.
    Mount;
    /// `struct kernfs_node`.
    KernfsNode;
    /// `struct sock`.
    Sock;
    /// `struct tcp_sock`.
    TcpSock;
    /// `struct unix_sock`.
    UnixSock;
    /// `struct nameidata`.
    Lookup;
    /// `struct path`.
    Path;
    /// `struct renamedata`.
    Rename;
}

/// A getter: `name: field -> Type` reads `OFFSETS.field` as `Type`.
macro_rules! getters {
    ($($(#[$doc:meta])* $name:ident: $field:ident -> $ty:ty;)*) => {$(
        $(#[$doc])*
        #[inline(always)]
        pub fn $name(self) -> Option<$ty> {
            // SAFETY: the pointer is of kind `A` by construction.
            unsafe { A::load::<$ty>(self.0, offset!($field)?) }
        }
    )*};
}

impl Task<Typed> {
    /// The running task.
    #[inline(always)]
    pub fn current() -> Self {
        // SAFETY: the helper always gives a valid task.
        Self::from_raw(unsafe { bpf_get_current_task_btf() } as u64)
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

    /// Node of its cgroup of the default hierarchy.
    #[inline(always)]
    pub fn cgroup_node(self) -> Option<KernfsNode<A>> {
        let set = self.pointer(offset!(task_cgroups))?;
        // SAFETY: each is loaded from a pointer of kind `A`.
        unsafe {
            let cgroup: u64 = A::load(set, offset!(css_set_default_cgroup)?)?;
            Some(KernfsNode::from_raw(A::load(cgroup, offset!(cgroup_node)?)?))
        }
    }

    /// The file behind a descriptor.
    #[inline(always)]
    pub fn file(self, descriptor: u32) -> Option<File<Probed>> {
        let files = self.pointer(offset!(task_files))?;
        // SAFETY: each is loaded from a pointer of kind `A`; the table itself is an array of pointers, so probed.
        unsafe {
            let table: u64 = A::load(files, offset!(files_fdt)?)?;
            let limit: u32 = A::load(table, offset!(fdtable_max_fds)?)?;
            if descriptor >= limit {
                return None;
            }
            let array: u64 = A::load(table, offset!(fdtable_fd)?)?;
            let file: u64 = Probed::load(array, descriptor as usize * 8)?;
            if file == 0 { None } else { Some(File::from_raw(file)) }
        }
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

impl Task<Typed> {
    /// The registers with which it entered the kernel, typed.
    #[inline(always)]
    pub fn registers(self) -> u64 {
        // SAFETY: the task is the running one; the helper gives a typed pointer.
        unsafe { bpf_task_pt_regs(self.0 as *mut _) as u64 }
    }
}

impl Path<Typed> {
    /// Mount and dentry.
    #[inline(always)]
    pub fn place(self) -> Option<(Mount<Probed>, Dentry<Probed>)> {
        // SAFETY: the pointer is typed.
        unsafe {
            let mount: u64 = Typed::load(self.0, offset!(path_mnt)?)?;
            let dentry: u64 = Typed::load(self.0, offset!(path_dentry)?)?;
            Some((Mount::from_raw(mount), Dentry::from_raw(dentry)))
        }
    }
}

impl Rename<Typed> {
    /// What is renamed.
    #[inline(always)]
    pub fn old_dentry(self) -> Option<Dentry<Probed>> {
        // SAFETY: the pointer is typed.
        unsafe { Typed::load(self.0, offset!(renamedata_old_dentry)?).map(Dentry::from_raw) }
    }
}

impl Lookup<Probed> {
    /// Mount and dentry that it has come to.
    #[inline(always)]
    pub fn place(self) -> Option<(Mount<Probed>, Dentry<Probed>)> {
        let base = offset!(nameidata_path)?;
        // SAFETY: probed.
        unsafe {
            Some((
                Mount::from_raw(Probed::load(self.0, base + offset!(path_mnt)?)?),
                Dentry::from_raw(Probed::load(self.0, base + offset!(path_dentry)?)?),
            ))
        }
    }

    /// The whole path as the caller wrote it, in the kernel's copy: a kernel string.
    #[inline(always)]
    pub fn text(self) -> Option<u64> {
        // SAFETY: probed.
        unsafe {
            let name: u64 = Probed::load(self.0, offset!(nameidata_name)?)?;
            Probed::load(name, offset!(filename_name)?)
        }
    }

    /// The descriptor of the directory that it begins at, or `AT_FDCWD`.
    #[inline(always)]
    pub fn directory(self) -> Option<i32> {
        // SAFETY: probed.
        unsafe { Probed::load(self.0, offset!(nameidata_dfd)?) }
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

impl<A: Access> File<A> {
    getters! {
        /// Open flags.
        flags: file_flags -> u32;
        /// `FMODE_*`.
        mode: file_mode -> u32;
    }

    /// Inode.
    #[inline(always)]
    pub fn inode(self) -> Option<Inode<A>> {
        // SAFETY: the pointer is of kind `A`.
        unsafe { A::load(self.0, offset!(file_inode)?).map(Inode::from_raw) }
    }

    /// Mount and dentry through which it was opened.
    #[inline(always)]
    pub fn place(self) -> Option<(Mount<A>, Dentry<A>)> {
        let base = offset!(file_path)?;
        // SAFETY: the pointer is of kind `A`.
        unsafe {
            Some((
                Mount::from_raw(A::load(self.0, base + offset!(path_mnt)?)?),
                Dentry::from_raw(A::load(self.0, base + offset!(path_dentry)?)?),
            ))
        }
    }

    /// Address of its `struct path`, for `bpf_d_path`.
    #[inline(always)]
    pub fn path_address(self) -> Option<u64> {
        Some(self.0 + offset!(file_path)? as u64)
    }

    /// The socket's `struct sock`, where the file is a socket (which the caller knows).
    #[inline(always)]
    pub fn socket(self) -> Option<Sock<Probed>> {
        // SAFETY: the pointer is of kind `A`; `private_data` is a `void *`, so what it points to is probed.
        unsafe {
            let socket: u64 = A::load(self.0, offset!(file_private_data)?)?;
            Probed::load(socket, offset!(socket_sock)?).map(Sock::from_raw)
        }
    }
}

/// What a file that was opened is judged by.
#[derive(Clone, Copy)]
pub struct Opened {
    /// `FMODE_*`.
    pub mode: u32,
    /// Inode.
    pub inode: Inode<Probed>,
    /// The inode's type and permissions.
    pub inode_mode: u16,
    /// The inode's device and number.
    pub key: InodeKey,
    /// Mount through which it was opened.
    pub mount: Mount<Probed>,
    /// And its dentry there.
    pub dentry: Dentry<Probed>,
}

impl File<Probed> {
    /// All that it is judged by, in few reads.
    #[inline(always)]
    pub fn opened(self) -> Option<Opened> {
        let mut opened = MaybeUninit::uninit();
        // SAFETY: written, as is said.
        if read_opened(self.0, &mut opened) { Some(unsafe { opened.assume_init() }) } else { None }
    }
}

/// Whether `opened` could be written. A function of its own, whose windows leave the stack with it: what is called by the
/// same program later needs the room.
#[inline(never)]
fn read_opened(file: u64, opened: &mut MaybeUninit<Opened>) -> bool {
    let read = || {
        let mut file = Window::<10>::new(file, 0);
        let file = file.open()?;
        let path = offset!(file_path)?;
        let inode: u64 = file.get(offset!(file_inode)?)?;
        let mut window = Window::<9>::new(inode, 0);
        let window = window.open()?;
        let superblock: u64 = window.get(offset!(inode_superblock)?)?;
        Some(Opened {
            mode: file.get(offset!(file_mode)?)?,
            inode: Inode::from_raw(inode),
            inode_mode: window.get(offset!(inode_mode)?)?,
            key: InodeKey {
                inode: window.get(offset!(inode_number)?)?,
                // SAFETY: probed.
                device: unsafe { Probed::load(superblock, offset!(superblock_device)?)? },
                reserved: 0,
            },
            mount: Mount::from_raw(file.get(path + offset!(path_mnt)?)?),
            dentry: Dentry::from_raw(file.get(path + offset!(path_dentry)?)?),
        })
    };
    match read() {
        Some(read) => {
            opened.write(read);
            true
        }
        None => false,
    }
}

impl<A: Access> Inode<A> {
    getters! {
        /// Inode number.
        number: inode_number -> u64;
        /// Type and permissions.
        mode: inode_mode -> u16;
        /// Hard links.
        links: inode_links -> u32;
        /// Change time, seconds.
        ctime_seconds: inode_ctime_seconds -> i64;
        /// Change time, nanoseconds (the lower half of a u64 on older kernels, which is little-endian here).
        ctime_nanoseconds: inode_ctime_nanoseconds -> u32;
    }

    /// Device and number.
    #[inline(always)]
    pub fn key(self) -> Option<InodeKey> {
        // SAFETY: each is loaded from a pointer of kind `A`.
        let device = unsafe {
            let superblock: u64 = A::load(self.0, offset!(inode_superblock)?)?;
            A::load(superblock, offset!(superblock_device)?)?
        };
        Some(InodeKey { inode: self.number()?, device, reserved: 0 })
    }

    /// All that a record says of a file.
    #[inline(always)]
    pub fn identity(self) -> Option<FileIdentity> {
        Some(FileIdentity {
            key: self.key()?,
            ctime_seconds: self.ctime_seconds()?,
            ctime_nanoseconds: self.ctime_nanoseconds()?,
            links: self.links()?,
            mode: u32::from(self.mode()?),
            reserved: 0,
        })
    }
}

impl<A: Access> Dentry<A> {
    getters! {
        /// Its name, a kernel string.
        name: dentry_name -> u64;
        /// Length of its name.
        name_length: dentry_name_len -> u32;
    }

    /// The directory it is in; itself at the root of its file system.
    #[inline(always)]
    pub fn parent(self) -> Option<Self> {
        // SAFETY: the pointer is of kind `A`.
        unsafe { A::load(self.0, offset!(dentry_parent)?).map(Self::from_raw) }
    }

    /// What it names.
    #[inline(always)]
    pub fn inode(self) -> Option<Inode<A>> {
        // SAFETY: the pointer is of kind `A`.
        unsafe { A::load(self.0, offset!(dentry_inode)?).map(Inode::from_raw) }
    }
}

/// What a walk towards the root needs of a dentry.
#[derive(Clone, Copy)]
pub struct Named {
    /// The directory it is in; itself at the root of its file system.
    pub parent: u64,
    /// Its name, a kernel string.
    pub name: u64,
    /// Length of its name.
    pub length: u32,
    /// The first eight bytes of its name, the first lowest; what follows its NUL has no meaning.
    pub head: u64,
}

/// Eight bytes of a kernel string, the first lowest. Of a dentry's name they lie within its buffer: names are stored in at
/// least 32 bytes, or with their NUL in an allocation that ends at a multiple of eight.
#[inline(always)]
pub fn eight_bytes(at: u64) -> Option<u64> {
    // SAFETY: probed.
    unsafe { Probed::load(at, 0) }
}

impl Dentry<Probed> {
    /// Its name and directory. All stands together, since the dentry cache was made to be walked without locks.
    #[inline(always)]
    pub fn named(self) -> Option<Named> {
        let mut window = Window::<5>::new(self.0, offset!(dentry_parent)?);
        let window = window.open()?;
        let name = window.get(offset!(dentry_name)?)?;
        let head = match offset!(dentry_inline_name) {
            Some(inline) if name == self.0 + inline as u64 => window.get(inline)?,
            _ => eight_bytes(name)?,
        };
        Some(Named {
            parent: window.get(offset!(dentry_parent)?)?,
            name,
            length: window.get(offset!(dentry_name_len)?)?,
            head,
        })
    }
}

impl Dentry<Typed> {
    /// Its name and directory.
    #[inline(always)]
    pub fn named(self) -> Option<Named> {
        let name = self.name()?;
        let head = match offset!(dentry_inline_name) {
            // SAFETY: typed. An array is read element by element.
            Some(inline) if name == self.0 + inline as u64 => unsafe {
                let mut head = 0;
                for index in 0..8 {
                    head |= u64::from(Typed::load::<u8>(self.0, inline + index)?) << (8 * index);
                }
                head
            },
            _ => eight_bytes(name)?,
        };
        Some(Named { parent: self.parent()?.raw(), name, length: self.name_length()?, head })
    }
}

impl<A: Access> Mount<A> {
    /// Root dentry of the mount.
    #[inline(always)]
    pub fn root(self) -> Option<Dentry<A>> {
        // SAFETY: the pointer is of kind `A`.
        unsafe { A::load(self.0, offset!(vfsmount_root)?).map(Dentry::from_raw) }
    }
}

impl Mount<Probed> {
    /// Whether the kernel keeps it to itself: a stacked file system opens the files below through such a mount.
    #[inline(always)]
    pub fn is_internal(self) -> Option<bool> {
        /// `MNT_NS_INTERNAL`: `ERR_PTR(-EINVAL)`.
        const INTERNAL: u64 = -22_i64 as u64;
        let mount = self.0.wrapping_sub(offset!(mount_mnt)? as u64);
        // SAFETY: a vfsmount is always embedded in a mount; probed.
        unsafe {
            Probed::load::<u64>(mount, offset!(mount_namespace)?).map(|namespace| namespace == INTERNAL)
        }
    }

    /// Where it is mounted: the mount above and the dentry there. `None` for the topmost.
    #[inline(always)]
    pub fn mountpoint(self) -> Option<(Self, Dentry<Probed>)> {
        let embedded = offset!(mount_mnt)? as u64;
        let mount = self.0.wrapping_sub(embedded);
        // SAFETY: a vfsmount is always embedded in a mount; probed.
        unsafe {
            let parent: u64 = Probed::load(mount, offset!(mount_parent)?)?;
            if parent == mount || parent == 0 {
                return None;
            }
            let dentry: u64 = Probed::load(mount, offset!(mount_mountpoint)?)?;
            Some((Self::from_raw(parent + embedded), Dentry::from_raw(dentry)))
        }
    }
}

impl<A: Access> KernfsNode<A> {
    getters! {
        /// Its name, a kernel string.
        name: kernfs_name -> u64;
    }

    /// The node above; null at the root.
    #[inline(always)]
    pub fn parent(self) -> Option<Self> {
        // SAFETY: the pointer is of kind `A`.
        unsafe { A::load(self.0, offset!(kernfs_parent)?).map(Self::from_raw) }
    }
}

impl<A: Access> Sock<A> {
    getters! {
        /// Socket cookie; 0 where none was asked for yet.
        cookie: sock_cookie -> u64;
        /// Address family.
        family: sock_family -> u16;
        /// Transport protocol.
        protocol: sock_protocol -> u16;
        /// Peer port, network order.
        remote_port_be: sock_dport -> u16;
        /// Local port, host order.
        local_port: sock_local_port -> u16;
        /// Peer IPv4 address, network order.
        remote_v4_be: sock_daddr -> u32;
        /// Local IPv4 address, network order.
        local_v4_be: sock_saddr -> u32;
        /// Pending error.
        error: sock_error -> u32;
        /// `TCP_*` of a TCP socket.
        state: sock_state -> u8;
        /// A bit for each `SOCK_*`.
        flags: sock_flags -> u64;
    }

    /// Peer IPv6 address as four words in memory order.
    #[inline(always)]
    pub fn remote_v6_be(self) -> Option<[u32; 4]> {
        self.words(offset!(sock_v6_daddr)?)
    }

    /// Local IPv6 address as four words in memory order.
    #[inline(always)]
    pub fn local_v6_be(self) -> Option<[u32; 4]> {
        self.words(offset!(sock_v6_saddr)?)
    }

    #[inline(always)]
    fn words(self, at: usize) -> Option<[u32; 4]> {
        // SAFETY: the pointer is of kind `A`; four words follow each other.
        unsafe {
            Some([
                A::load(self.0, at)?,
                A::load(self.0, at + 4)?,
                A::load(self.0, at + 8)?,
                A::load(self.0, at + 12)?,
            ])
        }
    }
}

impl Sock<Typed> {
    /// The whole of a TCP socket; `None` for any other (an MPTCP socket, what is left of one in TIME_WAIT).
    #[inline(always)]
    pub fn as_tcp(self) -> Option<TcpSock<Typed>> {
        // SAFETY: the helper takes every socket, and gives null for one that is not of TCP.
        let tcp = unsafe { bpf_skc_to_tcp_sock(self.0 as *mut _) };
        if tcp.is_null() { None } else { Some(TcpSock::from_raw(tcp as u64)) }
    }
}

impl<A: Access> Sock<A> {
    /// The whole of a unix socket, which the caller knows that it is: probed, for it is larger than its typed part.
    #[inline(always)]
    pub fn as_unix(self) -> UnixSock<Probed> {
        UnixSock::from_raw(self.0)
    }
}

/// Inode number of the network namespace of a socket that a hook of packets gives. Such a pointer has no type whose
/// fields could be read, and no offset may be added to it: it is made a number by way of memory, for which `through` is
/// lent. What it holds afterwards must not be told.
///
/// # Safety
/// `through` must be in a map or in the ring.
#[inline(always)]
pub unsafe fn network_namespace(sock: *const core::ffi::c_void, through: *mut u64) -> Option<u32> {
    // SAFETY: as the caller promises; the rest is probed.
    unsafe {
        through.write_volatile(sock as u64);
        let sock = through.read_volatile();
        let namespace: u64 = Probed::load(sock, offset!(sock_net)?)?;
        Probed::load(namespace, offset!(net_ns_inum)?)
    }
}

/// The `struct sock` of a `struct socket` that the verifier knows.
#[inline(always)]
pub fn sock_of(socket: u64) -> Option<Sock<Typed>> {
    // SAFETY: the argument of a BTF program is typed.
    unsafe { Typed::load(socket, offset!(socket_sock)?).map(Sock::from_raw) }
}

impl UnixSock<Probed> {
    /// Mount and dentry that it is bound to; `None` where its name is no file.
    #[inline(always)]
    pub fn place(self) -> Option<(Mount<Probed>, Dentry<Probed>)> {
        let base = offset!(unix_path)?;
        // SAFETY: probed.
        let (mount, dentry): (u64, u64) = unsafe {
            (
                Probed::load(self.0, base + offset!(path_mnt)?)?,
                Probed::load(self.0, base + offset!(path_dentry)?)?,
            )
        };
        if dentry == 0 { None } else { Some((Mount::from_raw(mount), Dentry::from_raw(dentry))) }
    }

    /// Its name as it was bound, and how long that is; `None` where it has none.
    #[inline(always)]
    pub fn name(self) -> Option<(u64, u32)> {
        /// Bytes of the family before the name.
        const FAMILY: u32 = 2;
        // SAFETY: probed.
        unsafe {
            let address: u64 = Probed::load(self.0, offset!(unix_address)?)?;
            if address == 0 {
                return None;
            }
            let length: u32 = Probed::load(address, offset!(unix_address_length)?)?;
            if length <= FAMILY {
                return None;
            }
            Some((address + offset!(unix_address_name)? as u64 + u64::from(FAMILY), length - FAMILY))
        }
    }

    /// Whom it is connected to.
    #[inline(always)]
    pub fn peer(self) -> Option<Self> {
        // SAFETY: probed.
        let peer: u64 = unsafe { Probed::load(self.0, offset!(unix_peer)?)? };
        if peer == 0 { None } else { Some(Self::from_raw(peer)) }
    }
}

impl<A: Access> TcpSock<A> {
    getters! {
        /// Payload sent, each time that it is.
        bytes_sent: tcp_bytes_sent -> u64;
        /// Payload sent again.
        bytes_retransmitted: tcp_bytes_retransmitted -> u64;
        /// Payload received in order, and one for a FIN.
        bytes_received: tcp_bytes_received -> u64;
        /// Whether it is a subflow of an MPTCP connection.
        is_mptcp: tcp_is_mptcp -> u8;
    }
}

/// Number of the system call that is about to return, from the registers of `sys_exit`.
#[inline(always)]
pub fn syscall_number(registers: u64) -> Option<u64> {
    // SAFETY: the tracepoint's argument is typed.
    #[cfg(bpf_target_arch = "x86_64")]
    return unsafe { Typed::load(registers, offset!(regs_syscall)?) };
    // SAFETY: as above; a negative number is no call.
    #[cfg(not(bpf_target_arch = "x86_64"))]
    return unsafe { Typed::load::<i32>(registers, offset!(regs_syscall)?).map(|number| number as u64) };
}

/// Second argument of that system call.
#[inline(always)]
pub fn second_argument(registers: u64) -> Option<u64> {
    // SAFETY: the tracepoint's argument is typed.
    unsafe { Typed::load(registers, offset!(regs_second_argument)? + ARGUMENT_BYTES) }
}

/// Third argument of that system call.
#[inline(always)]
pub fn third_argument(registers: u64) -> Option<u64> {
    // SAFETY: the tracepoint's argument is typed.
    unsafe { Typed::load(registers, offset!(regs_third_argument)? + 2 * ARGUMENT_BYTES) }
}

/// Where arm64 keeps arguments in one array, the bytes of each.
#[cfg(bpf_target_arch = "x86_64")]
const ARGUMENT_BYTES: usize = 0;
#[cfg(not(bpf_target_arch = "x86_64"))]
const ARGUMENT_BYTES: usize = 8;

/// Whether that system call has the numbers of a 32-bit program: a 64-bit one may use them too.
#[inline(always)]
pub fn is_32_bit(registers: u64) -> bool {
    /// `TS_COMPAT` of `thread_info.status`.
    #[cfg(bpf_target_arch = "x86_64")]
    const MARK: u64 = 2;
    /// `PSR_MODE32_BIT` of `pstate`.
    #[cfg(not(bpf_target_arch = "x86_64"))]
    const MARK: u64 = 0x10;
    let Some(offset) = offset!(compatibility) else { return false };
    #[cfg(bpf_target_arch = "x86_64")]
    let place = {
        let _ = registers;
        Task::<Typed>::current().raw()
    };
    #[cfg(not(bpf_target_arch = "x86_64"))]
    let place = registers;
    // SAFETY: both places are typed; 32 bits of either hold the mark.
    unsafe { Typed::load::<u32>(place, offset) }.is_some_and(|status| u64::from(status) & MARK != 0)
}

/// First argument of that system call.
#[inline(always)]
pub fn first_argument(registers: u64) -> Option<u64> {
    // SAFETY: the tracepoint's argument is typed.
    unsafe { Typed::load(registers, offset!(regs_first_argument)?) }
}
