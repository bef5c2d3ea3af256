//! Files, inodes, dentries and mounts.

use agent_common::keys::InodeKey;
use agent_common::records::FileIdentity;

use super::{
    Access, Dentry, File, Inode, Lookup, Mount, OFFSETS, Path, Probed, Rename, Sock, Task, Typed, Window,
    resolved,
};

/// Which bits of a file's mode are its type, and the types (`linux/stat.h`).
pub const S_IFMT: u16 = 0o170_000;
/// Directory.
pub const S_IFDIR: u16 = 0o040_000;
/// Regular file.
pub const S_IFREG: u16 = 0o100_000;
const S_IFSOCK: u16 = 0o140_000;

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

/// Where a rename's dentry is in what describes it.
#[allow(dead_code, reason = "asked on older kernels alone")]
#[inline(always)]
pub fn renamed_dentry() -> Option<usize> {
    offset!(renamedata_old_dentry)
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

    /// Whether it is a socket.
    #[inline(always)]
    pub fn is_socket(self) -> Option<bool> {
        Some(self.inode()?.mode()? & S_IFMT == S_IFSOCK)
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
        let mut opened = Opened {
            mode: 0,
            inode: Inode::from_raw(0),
            inode_mode: 0,
            key: InodeKey { inode: 0, device: 0, reserved: 0 },
            mount: Mount::from_raw(0),
            dentry: Dentry::from_raw(0),
        };
        if read_file(self.0, &mut opened).is_some() && read_inode(&mut opened).is_some() {
            Some(opened)
        } else {
            None
        }
    }
}

/// What the file itself says. A function of its own, as the next one is: its window leaves the stack with it, and what is
/// called by the same program besides needs the room.
#[inline(never)]
fn read_file(file: u64, opened: &mut Opened) -> Option<()> {
    let mut window = Window::<10>::new(file, 0);
    let window = window.open()?;
    let path = offset!(file_path)?;
    opened.mode = window.get(offset!(file_mode)?)?;
    opened.inode = Inode::from_raw(window.get(offset!(file_inode)?)?);
    opened.mount = Mount::from_raw(window.get(path + offset!(path_mnt)?)?);
    opened.dentry = Dentry::from_raw(window.get(path + offset!(path_dentry)?)?);
    Some(())
}

/// What its inode says.
#[inline(never)]
fn read_inode(opened: &mut Opened) -> Option<()> {
    let mut window = Window::<9>::new(opened.inode.0, 0);
    let window = window.open()?;
    opened.inode_mode = window.get(offset!(inode_mode)?)?;
    opened.key.inode = window.get(offset!(inode_number)?)?;
    let superblock: u64 = window.get(offset!(inode_superblock)?)?;
    // SAFETY: probed.
    opened.key.device = unsafe { Probed::load(superblock, offset!(superblock_device)?)? };
    Some(())
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

impl<A: Access> Inode<A> {
    /// Whose file this is of /proc, which the caller knows that it is of.
    #[inline(always)]
    pub fn process(self) -> Option<Task<Probed>> {
        let whole = self.0.wrapping_sub(offset!(proc_inode_inode)? as u64);
        // SAFETY: an inode of /proc is always embedded in a proc_inode; probed.
        Task::of_pid(unsafe { Probed::load(whole, offset!(proc_inode_pid)?)? })
    }

    /// Number of its file system's kind.
    #[inline(always)]
    pub fn magic(self) -> Option<u64> {
        // SAFETY: each is loaded from a pointer of kind `A`.
        unsafe {
            let superblock: u64 = A::load(self.0, offset!(inode_superblock)?)?;
            A::load(superblock, offset!(superblock_magic)?)
        }
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

    /// What it names; `None` where it names nothing (yet). 6.18's verifier knows that this may be, and lets nobody follow
    /// the pointer who has not looked.
    #[inline(always)]
    pub fn inode(self) -> Option<Inode<A>> {
        // SAFETY: the pointer is of kind `A`.
        let inode: u64 = unsafe { A::load(self.0, offset!(dentry_inode)?)? };
        if inode == 0 { None } else { Some(Inode::from_raw(inode)) }
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
