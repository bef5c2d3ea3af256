//! Every read of a kernel structure.
//!
//! Offsets come from frozen `.rodata`, so that the verifier sees constants: a read through a BTF-typed pointer is a
//! plain load that it checks against the running kernel. A pointer that was itself read as a number (from an array of
//! pointers, or through `container_of`) can only be followed by `bpf_probe_read_kernel`. The [`Access`] parameter of
//! each newtype says which of the two a pointer is.

use core::marker::PhantomData;
use core::mem::MaybeUninit;
use core::ptr::read_volatile;

use agent_common::offsets::{KernelOffsets, POISON};
use aya_ebpf::helpers::bpf_probe_read_kernel;
use aya_ebpf::helpers::generated;

use crate::kernel;

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
    const CHEAP: bool = kernel::LOADS;

    #[inline(always)]
    unsafe fn load<T: Copy>(pointer: u64, offset: usize) -> Option<T> {
        if !kernel::LOADS {
            let mut value = MaybeUninit::<T>::uninit();
            // SAFETY: a typed pointer is a number as well; the helper checks the address, and writes zeros on a fault: no
            // branch for the verifier to follow.
            return unsafe {
                let from = (pointer as *const u8).add(offset);
                generated::bpf_probe_read_kernel(
                    value.as_mut_ptr().cast(),
                    size_of::<T>() as u32,
                    from.cast(),
                );
                Some(value.assume_init())
            };
        }
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
    /// `struct cgroup`.
    Cgroup;
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
    /// `struct key`.
    Key;
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

mod file;
mod key;
mod registers;
mod socket;
mod task;

pub use file::*;
pub use registers::*;
pub use socket::*;
pub use task::*;
