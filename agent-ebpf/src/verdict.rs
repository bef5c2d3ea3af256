//! Whether an opened file may be a credential.
//!
//! A candidate is known by (device, inode), or by literal parts of a rule: its name, its name in a directory, its
//! directory, a directory above, its suffix. Userspace then matches the whole path: the reference of these semantics
//! is `agent::catalogue`.

use agent_common::keys::{
    InodeKey, NAME_FILTER_WORDS, RuleName, RuleSuffix, from_last_dot, name_filter_bit, rule_name,
    suffix_filter_bit, until_nul,
};
use agent_common::limits::{PATH_MOUNTS, RULE_ANCESTORS, RULE_NAME_BYTES, RULE_SUFFIX_BYTES};
use agent_common::records::file_flag;
use aya_ebpf::helpers::generated::bpf_probe_read_kernel_str;

use crate::kstruct::{Access, Dentry, Mount, Named, Probed, Typed, eight_bytes};
use crate::path::Place;
use crate::{kernel, maps};

/// Flags of `file_flag` for a file, 0 for an innocent one.
#[inline(always)]
pub fn judge<A: Access>(key: Option<InodeKey>, mount: Mount<A>, dentry: Dentry<A>) -> u32 {
    let mut flags = 0;
    if let Some(key) = key {
        // SAFETY: the value is copied at once.
        if unsafe { maps::CREDENTIAL_FILES.get(key) }.is_some() {
            flags |= file_flag::BY_INODE;
        }
    }
    let by_name =
        if kernel::LOADS { by_name(mount, dentry) } else { by_name_apart(mount.raw(), dentry.raw()) };
    if by_name {
        flags |= file_flag::BY_NAME;
    }
    flags
}

/// Looks up one literal component. Names that do not fit are no literals.
#[inline(always)]
fn flags_of(named: Named) -> u32 {
    if !may_be_known(name_filter_bit(until_nul(named.head))) {
        return 0;
    }
    let mut key = RuleName([0; RULE_NAME_BYTES]);
    // SAFETY: the buffer has the length that is named.
    let read = unsafe {
        bpf_probe_read_kernel_str(key.0.as_mut_ptr().cast(), RULE_NAME_BYTES as u32, named.name as *const _)
    };
    if read <= 0 || read >= RULE_NAME_BYTES as i64 {
        return 0;
    }
    // SAFETY: the value is copied at once.
    unsafe { maps::NAMES.get(key) }.copied().unwrap_or(0)
}

/// Whether a name or suffix may be one of the rules'.
#[inline(always)]
fn may_be_known(bit: u32) -> bool {
    let word = (bit >> 6) as usize & (NAME_FILTER_WORDS - 1);
    maps::NAME_FILTER.get(0).is_some_and(|filter| filter[word] >> (bit & 63) & 1 != 0)
}

/// Whether a rule knows the end of a name, from its last dot on.
#[inline(always)]
fn has_rule_suffix(named: Named) -> bool {
    let Named { name, length, head, .. } = named;
    let kept = if length < RULE_SUFFIX_BYTES as u32 { length } else { RULE_SUFFIX_BYTES as u32 };
    let tail = if length <= RULE_SUFFIX_BYTES as u32 {
        head
    } else {
        let Some(tail) = eight_bytes(name + u64::from(length - kept)) else { return false };
        tail
    };
    if kept == 0 {
        return false;
    }
    let suffix = from_last_dot(tail, kept);
    if suffix == 0 || !may_be_known(suffix_filter_bit(suffix)) {
        return false;
    }
    // SAFETY: only its presence is asked.
    unsafe { maps::SUFFIXES.get(RuleSuffix(suffix.to_le_bytes())) }.is_some()
}

/// A look at the names of a file and its directories. `bpf_loop` verifies its step once instead of once for each.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Look {
    dentry: u64,
    mount: u64,
    /// Root dentry of the mount.
    mount_root: u64,
    root: Place,
    /// 0 while the file's own name is looked for, 1 for its directory, 2 for those above.
    level: u32,
    /// Flags of the file's own name.
    own: u32,
    /// Whether it is one.
    pub candidate: u64,
}

impl Look {
    /// Copies it field by field: the compiler does not see that it could be one copy, of which 5.10 knows less.
    ///
    /// # Safety
    /// `to` must be in a map.
    #[allow(dead_code, reason = "asked by kernel_5_10 alone")]
    #[inline(always)]
    pub unsafe fn copy_to(&self, to: *mut Self) {
        let Self { dentry, mount, mount_root, root, level, own, candidate } = *self;
        // SAFETY: as the caller promises.
        unsafe {
            (&raw mut (*to).dentry).write_volatile(dentry);
            (&raw mut (*to).mount).write_volatile(mount);
            (&raw mut (*to).mount_root).write_volatile(mount_root);
            (&raw mut (*to).root.mount).write_volatile(root.mount);
            (&raw mut (*to).root.dentry).write_volatile(root.dentry);
            (&raw mut (*to).level).write_volatile(level);
            (&raw mut (*to).own).write_volatile(own);
            (&raw mut (*to).candidate).write_volatile(candidate);
        }
    }
}

/// Names that are looked at one by one where a pointer is cheap to follow. Most files lie no deeper in their mount; the
/// verifier looks at each level anew.
const NEAR_LEVELS: u32 = 12;

/// Whether names make a file a candidate.
#[inline(always)]
pub fn by_name<A: Access>(mount: Mount<A>, dentry: Dentry<A>) -> bool {
    look(mount, dentry).unwrap_or(0) != 0
}

/// [`by_name`] as a function of its own: what it needs of the stack leaves with it.
#[inline(never)]
fn by_name_apart(mount: u64, dentry: u64) -> bool {
    by_name(Mount::<Probed>::from_raw(mount), Dentry::<Probed>::from_raw(dentry))
}

#[inline(always)]
fn look<A: Access>(mount: Mount<A>, dentry: Dentry<A>) -> Option<u64> {
    // The verifier of 6.1 looks at the step once, with the values of the first: a zero that it knows would let it drop
    // what later steps need. This one it does not know.
    let zero = maps::CONTROL.get(0).map_or(0, |control| control.reserved);
    let mut look = Look {
        dentry: dentry.raw(),
        mount: mount.raw(),
        mount_root: mount.root()?.raw(),
        root: Place::process_root(),
        level: zero,
        own: zero,
        candidate: u64::from(zero),
    };
    if A::CHEAP && near(&mut look, Dentry::from_raw(dentry.raw()), zero) {
        return Some(look.candidate);
    }
    kernel::repeat_names(RULE_ANCESTORS + PATH_MOUNTS, look_up, &raw mut look);
    Some(look.candidate)
}

#[inline(always)]
fn root_of(mount: u64) -> Option<u64> {
    Mount::<Probed>::from_raw(mount).root().map(Dentry::raw)
}

/// Looks at the names up to the root of the file's mount; whether that says all there is to say.
#[inline(always)]
fn near(look: &mut Look, from: Dentry<Typed>, zero: u32) -> bool {
    let mut dentry = from;
    let mut own = zero;
    for index in 0..NEAR_LEVELS {
        // A number that the verifier knows: of one that it does not, it looks at each level as if it were any.
        let level = if index < 2 { index } else { 2 };
        if dentry.raw() == look.mount_root {
            look.dentry = dentry.raw();
            look.level = zero + level;
            look.own = own | zero;
            return false;
        }
        if dentry.raw() == look.root.dentry && look.mount == look.root.mount {
            return true;
        }
        let Some(named) = dentry.named() else { return true };
        if named.parent == dentry.raw() {
            return true;
        }
        if is_candidate(level, &mut own, named) {
            look.candidate = 1;
            return true;
        }
        dentry = Dentry::from_raw(named.parent);
    }
    look.dentry = dentry.raw();
    look.level = zero + 2;
    false
}

/// One name; 1 ends the loop.
pub extern "C" fn look_up(_index: u32, context: *mut Look) -> i64 {
    // SAFETY: whoever repeats it hands the context on that it was given.
    let look = unsafe { &mut *context };
    if look.dentry == look.mount_root {
        return cross(look).is_none().into();
    }
    if look.dentry == look.root.dentry && look.mount == look.root.mount {
        return 1;
    }
    let Some(named) = Dentry::<Probed>::from_raw(look.dentry).named() else { return 1 };
    if named.parent == look.dentry {
        return 1;
    }
    if is_candidate(look.level, &mut look.own, named) {
        look.candidate = 1;
        return 1;
    }
    if look.level < 2 {
        look.level += 1;
    }
    look.dentry = named.parent;
    0
}

/// At the root of a mount: goes on where that is mounted. `None` at the root of all, or of the process.
#[inline(always)]
fn cross(look: &mut Look) -> Option<()> {
    if look.dentry == look.root.dentry && look.mount == look.root.mount {
        return None;
    }
    let (above, at) = Mount::<Probed>::from_raw(look.mount).mountpoint()?;
    look.mount = above.raw();
    look.dentry = at.raw();
    look.mount_root = root_of(above.raw())?;
    Some(())
}

/// Whether a name makes the file a candidate; `own` keeps what is known of the file's own.
#[inline(always)]
fn is_candidate(level: u32, own: &mut u32, named: Named) -> bool {
    let flags = flags_of(named);
    if level == 0 {
        *own = flags;
        return flags & rule_name::FILE != 0 || has_rule_suffix(named);
    }
    if level == 1 {
        let pair = *own & rule_name::FILE_IN_DIRECTORY != 0 && flags & rule_name::DIRECTORY_OF_FILE != 0;
        if pair || flags & rule_name::DIRECTORY != 0 {
            return true;
        }
    }
    flags & rule_name::ANCESTOR != 0
}
