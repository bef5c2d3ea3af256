//! Whether an opened file may be a credential.
//!
//! A candidate is known by (device, inode), or by literal parts of a rule: its name, its name in a directory, its
//! directory, a directory above, its suffix. Userspace then matches the whole path: the reference of these semantics
//! is `agent::catalogue`.

use agent_common::keys::{RuleName, RuleSuffix, rule_name};
use agent_common::limits::{RULE_ANCESTORS, RULE_NAME_BYTES, RULE_SUFFIX_BYTES};
use agent_common::records::file_flag;
use aya_ebpf::helpers::generated::{bpf_probe_read_kernel, bpf_probe_read_kernel_str};

use crate::kstruct::{Access, Dentry, Inode, Probed};
use crate::maps;
use crate::path::{Place, Step};

/// Generation of everything that a cached verdict rests on.
#[inline(always)]
pub fn generation() -> u64 {
    let catalogue = maps::CONTROL.get(0).map_or(0, |control| u64::from(control.catalogue_generation));
    let tree = maps::TREE_GENERATION.get(0).copied().unwrap_or(0);
    catalogue + tree
}

/// Flags of `file_flag` for a file, 0 for an innocent one.
#[inline(always)]
pub fn judge<A: Access>(inode: Inode<A>, mount: u64, dentry: u64) -> u32 {
    let mut flags = 0;
    if let Some(key) = inode.key() {
        // SAFETY: the value is copied at once.
        if unsafe { maps::CREDENTIAL_FILES.get(&key) }.is_some() {
            flags |= file_flag::BY_INODE;
        }
    }
    if by_name(mount, dentry) != 0 {
        flags |= file_flag::BY_NAME;
    }
    flags
}

/// Looks up one literal component. Names that do not fit are no literals.
#[inline(always)]
fn flags_of(name: u64) -> u32 {
    let mut key = RuleName([0; RULE_NAME_BYTES]);
    // SAFETY: the buffer has the length that is named.
    let read = unsafe {
        bpf_probe_read_kernel_str(key.0.as_mut_ptr().cast(), RULE_NAME_BYTES as u32, name as *const _)
    };
    if read <= 0 || read >= RULE_NAME_BYTES as i64 {
        return 0;
    }
    // SAFETY: the value is copied at once.
    unsafe { maps::NAMES.get(&key) }.copied().unwrap_or(0)
}

/// Whether a rule knows the end of a name, from its last dot on.
#[inline(always)]
fn has_rule_suffix(dentry: Dentry<Probed>, name: u64) -> bool {
    let Some(length) = dentry.name_length() else { return false };
    let kept = if length < RULE_SUFFIX_BYTES as u32 { length } else { RULE_SUFFIX_BYTES as u32 };
    let mut bytes = [0u8; RULE_SUFFIX_BYTES];
    // SAFETY: eight bytes from within the name's buffer (names are stored in at least 32 bytes, or with their NUL).
    let failed = unsafe {
        bpf_probe_read_kernel(
            bytes.as_mut_ptr().cast(),
            RULE_SUFFIX_BYTES as u32,
            (name + u64::from(length - kept)) as *const _,
        )
    };
    if failed != 0 {
        return false;
    }
    let tail = u64::from_le_bytes(bytes);
    // The last dot within the kept bytes, lowest byte first.
    let mut from = u32::MAX;
    for index in 0..RULE_SUFFIX_BYTES as u32 {
        if index < kept && (tail >> (8 * index)) as u8 == b'.' {
            from = index;
        }
    }
    if from >= kept {
        return false;
    }
    let count = kept - from;
    let shifted = tail >> ((8 * from) & 63);
    let suffix = if count >= 8 { shifted } else { shifted & ((1u64 << ((8 * count) & 63)) - 1) };
    // SAFETY: only its presence is asked.
    unsafe { maps::SUFFIXES.get(&RuleSuffix(suffix.to_le_bytes())) }.is_some()
}

/// Whether names make a file a candidate.
#[inline(never)]
pub fn by_name(mount: u64, dentry: u64) -> u64 {
    let root = Place::process_root();
    let mut place = Place { mount, dentry };
    // 0 while the file's own name is looked for, 1 for its directory, 2 for those above.
    let mut level = 0;
    let mut own = 0;
    for _ in 0..RULE_ANCESTORS + 4 {
        match place.step(root) {
            Some(Step::Name(name, parent)) => {
                let flags = flags_of(name);
                if level == 0 {
                    own = flags;
                    if own & rule_name::FILE != 0 {
                        return 1;
                    }
                    if has_rule_suffix(Dentry::from_raw(place.dentry), name) {
                        return 1;
                    }
                    level = 1;
                } else {
                    if level == 1 {
                        if flags & rule_name::DIRECTORY != 0 {
                            return 1;
                        }
                        if own & rule_name::FILE_IN_DIRECTORY != 0
                            && flags & rule_name::DIRECTORY_OF_FILE != 0
                        {
                            return 1;
                        }
                        level = 2;
                    }
                    if flags & rule_name::ANCESTOR != 0 {
                        return 1;
                    }
                }
                place = parent;
            }
            Some(Step::Crossed(above)) => place = above,
            Some(Step::Root) | None => return 0,
        }
    }
    0
}
