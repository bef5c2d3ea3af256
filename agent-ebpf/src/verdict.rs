//! Whether an opened file may be a credential.
//!
//! A candidate is known by (device, inode), or by literal parts of a rule: its name, its name in a directory, its
//! directory, a directory above, its suffix. Userspace then matches the whole path: the reference of these semantics
//! is `agent::catalogue`.

use agent_common::keys::{RuleName, RuleSuffix, rule_name};
use agent_common::limits::{PATH_MOUNTS, RULE_ANCESTORS, RULE_NAME_BYTES, RULE_SUFFIX_BYTES};
use agent_common::records::file_flag;
use aya_ebpf::helpers::generated::{bpf_loop, bpf_probe_read_kernel, bpf_probe_read_kernel_str};

use crate::kstruct::{Access, Dentry, Inode, Probed};
use crate::maps;
use crate::path::{Place, Step};

/// Flags of `file_flag` for a file, 0 for an innocent one.
#[inline(always)]
pub fn judge<A: Access>(inode: Inode<A>, mount: u64, dentry: u64) -> u32 {
    let mut flags = 0;
    if let Some(key) = inode.key() {
        // SAFETY: the value is copied at once.
        if unsafe { maps::CREDENTIAL_FILES.get(key) }.is_some() {
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
    unsafe { maps::NAMES.get(key) }.copied().unwrap_or(0)
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
    unsafe { maps::SUFFIXES.get(RuleSuffix(suffix.to_le_bytes())) }.is_some()
}

/// A look at the names of a file and its directories. `bpf_loop` verifies its step once instead of once for each.
struct Look {
    place: Place,
    root: Place,
    /// 0 while the file's own name is looked for, 1 for its directory, 2 for those above.
    level: u32,
    /// Flags of the file's own name.
    own: u32,
    candidate: u64,
}

/// Whether names make a file a candidate.
#[inline(always)]
pub fn by_name(mount: u64, dentry: u64) -> u64 {
    // The verifier of 6.1 looks at the step once, with the values of the first: a zero that it knows would let it drop
    // what later steps need. This one it does not know.
    let zero = maps::CONTROL.get(0).map_or(0, |control| control.reserved);
    let mut look = Look {
        place: Place { mount, dentry },
        root: Place::process_root(),
        level: zero,
        own: zero,
        candidate: u64::from(zero),
    };
    // SAFETY: the callback has the helper's signature, and the context outlives the call.
    unsafe { bpf_loop(RULE_ANCESTORS + PATH_MOUNTS, look_up as *mut _, (&raw mut look).cast(), 0) };
    look.candidate
}

/// One name; 1 ends the loop.
extern "C" fn look_up(_index: u32, context: *mut Look) -> i64 {
    // SAFETY: `bpf_loop` hands the context on that it was given.
    let look = unsafe { &mut *context };
    match look.place.step(look.root) {
        Some(Step::Name(name, parent)) => {
            if is_candidate(look, name) {
                look.candidate = 1;
                return 1;
            }
            if look.level < 2 {
                look.level += 1;
            }
            look.place = parent;
            0
        }
        Some(Step::Crossed(above)) => {
            look.place = above;
            0
        }
        Some(Step::Root) | None => 1,
    }
}

#[inline(always)]
fn is_candidate(look: &mut Look, name: u64) -> bool {
    let flags = flags_of(name);
    if look.level == 0 {
        look.own = flags;
        return flags & rule_name::FILE != 0 || has_rule_suffix(Dentry::from_raw(look.place.dentry), name);
    }
    if look.level == 1 {
        let pair = look.own & rule_name::FILE_IN_DIRECTORY != 0 && flags & rule_name::DIRECTORY_OF_FILE != 0;
        if pair || flags & rule_name::DIRECTORY != 0 {
            return true;
        }
    }
    flags & rule_name::ANCESTOR != 0
}
