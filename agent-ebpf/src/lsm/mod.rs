//! The LSM programs, for kernels that have `bpf` among their LSMs.

mod maps;

use aya_ebpf::macros::lsm;
use aya_ebpf::programs::LsmContext;

use agent_common::records::hook;

use crate::emit;
use crate::hooks::file::{first_sight, opened};
use crate::kstruct::{File, S_IFDIR, S_IFMT, Typed};
use maps::CachedVerdict;

/// `lsm/file_open(file)`, with the verdict cached in the inode.
#[lsm(hook = "file_open")]
pub fn file_open(ctx: LsmContext) -> i32 {
    let _ = try_file_open(File::from_raw(ctx.arg::<u64>(0)));
    0
}

#[inline(always)]
fn try_file_open(file: File<Typed>) -> Option<()> {
    let inode = file.inode()?;
    let (mount, dentry) = file.place()?;
    let generation = generation();
    // SAFETY: the inode is a typed pointer of the kernel; storage lives as long as it.
    let cached = unsafe { maps::VERDICTS.get_ptr_mut(inode.raw() as *mut _).as_ref() };
    let flags = match cached {
        Some(cached) if cached.generation == generation && cached.mount == mount.raw() => cached.flags as u32,
        _ => {
            let flags = first_sight(inode, mount, dentry);
            let mut value = CachedVerdict { generation, mount: mount.raw(), flags: u64::from(flags) };
            // SAFETY: as above. Where there is no memory for it, the next open judges again.
            unsafe {
                let kept = maps::VERDICTS.get_or_insert_ptr_mut(inode.raw() as *mut _, Some(&mut value));
                if let Some(kept) = kept.as_mut() {
                    *kept = value;
                }
            }
            flags
        }
    };
    if flags == 0 {
        return None;
    }
    opened(file, inode, flags, hook::LSM_FILE_OPEN)
}

/// Names moved: `lsm/inode_rename(old_dir, old_dentry, new_dir, new_dentry)`, before the file system acts. A file is
/// judged again; a directory may hold anything, so every cached verdict is.
#[lsm(hook = "inode_rename")]
pub fn inode_rename(ctx: LsmContext) -> i32 {
    forget(ctx.arg::<u64>(1));
    0
}

/// A second name: `lsm/inode_link(old_dentry, dir, new_dentry)`.
#[lsm(hook = "inode_link")]
pub fn inode_link(ctx: LsmContext) -> i32 {
    forget(ctx.arg::<u64>(0));
    0
}

/// A mount gives files other names: `lsm/sb_mount`, and `lsm/move_mount` for the newer calls.
#[lsm(hook = "sb_mount")]
pub fn sb_mount(_ctx: LsmContext) -> i32 {
    names_moved();
    0
}

/// See [`sb_mount`].
#[lsm(hook = "move_mount")]
pub fn move_mount(_ctx: LsmContext) -> i32 {
    names_moved();
    0
}

#[inline(always)]
fn forget(dentry: u64) {
    let dentry = crate::kstruct::Dentry::<Typed>::from_raw(dentry);
    let Some(inode) = dentry.inode() else { return };
    if inode.mode().is_some_and(|mode| mode & S_IFMT == S_IFDIR) {
        names_moved();
    } else {
        // SAFETY: the inode is a typed pointer of the kernel.
        let cached = unsafe { maps::VERDICTS.get_ptr_mut(inode.raw() as *mut _).as_mut() };
        if let Some(cached) = cached {
            cached.generation = 0;
        }
    }
}

#[inline(always)]
fn names_moved() {
    if let Some(generation) = crate::maps::TREE_GENERATION.get_ptr_mut(0) {
        // SAFETY: the map's memory outlives the program.
        unsafe { emit::add_one(generation) };
    }
}

/// Generation of everything that a cached verdict rests on.
#[inline(always)]
fn generation() -> u64 {
    let catalogue = crate::maps::CONTROL.get(0).map_or(0, |control| u64::from(control.catalogue_generation));
    let tree = crate::maps::TREE_GENERATION.get(0).copied().unwrap_or(0);
    catalogue + tree
}
