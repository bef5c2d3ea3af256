//! Maps of the LSM programs: a kernel without `bpf` among its LSMs refuses to make them.

use aya_ebpf::btf_maps::InodeStorage;
use aya_ebpf::macros::btf_map;

/// What was found out about a file, believed while mount and generation are the same.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct CachedVerdict {
    /// Sum of the catalogue's and the tree's generation.
    pub generation: u64,
    /// The mount through which it was seen: another mount gives it another name.
    pub mount: u64,
    /// Flags of `agent_common::records::file_flag`; 0 is innocent.
    pub flags: u64,
}

/// Freed with the inode, so bounded by the inodes in memory.
#[btf_map]
pub static VERDICTS: InodeStorage<CachedVerdict> = InodeStorage::new();
