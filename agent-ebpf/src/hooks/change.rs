//! Credentials that are renamed, linked, removed, or whose mode, owner or length is set.
//!
//! With trampolines: `chmod_common`, `chown_common` and `vfs_truncate` are handed the path and return what came of it.
//! `vfs_rename`, `vfs_link` and `vfs_unlink` know no mounts, and a name is gone by their end: the checks right before
//! them (`security_path_*`) have both, so the record is made there and kept until the end. Without: the exit of the
//! calls that take a descriptor.
//!
//! A file that gets another name stays what it was: its inode is known as a credential's from then on, and until its
//! last name is gone, for the number is another file's afterwards.

use agent_common::counters::{Counter, Family};
use agent_common::limits::PENDING_BYTES;
use agent_common::records::{ChangeRecord, change, file_flag, hook, kind};
use agent_common::rings::Ring;
use aya_ebpf::helpers::bpf_get_current_pid_tgid;
use aya_ebpf::macros::fexit;
use aya_ebpf::programs::FExitContext;

use crate::kstruct::{Dentry, Inode, Mount, Path, Probed, Rename, S_IFMT, S_IFREG, Task, Typed};
use crate::path::{self, OFFSET_MASK};
use crate::{budget, current, emit, kernel, maps, verdict};

const EPERM: i32 = -1;
const EACCES: i32 = -13;

/// Places of [`maps::CHANGE_SCRATCH`], one for each program that builds a record.
mod place {
    pub const RENAME: u32 = 0;
    pub const LINK: u32 = 1;
    pub const UNLINK: u32 = 2;
    pub const CHMOD: u32 = 3;
    pub const CHOWN: u32 = 4;
    pub const TRUNCATE: u32 = 5;
    pub const SYS_EXIT: u32 = 6;
}

/// A name of a file: the mount and the dentry, which may name nothing yet.
#[derive(Clone, Copy)]
struct Name {
    mount: u64,
    dentry: Dentry<Probed>,
}

impl Name {
    /// The regular file of that name.
    #[inline(always)]
    fn file(self) -> Option<Inode<Probed>> {
        let inode = self.dentry.inode()?;
        if inode.mode()? & S_IFMT != S_IFREG { None } else { Some(inode) }
    }

    #[inline(always)]
    fn mount(self) -> Mount<Probed> {
        Mount::from_raw(self.mount)
    }

    /// Flags of `file_flag`, 0 for an innocent file or none.
    #[inline(always)]
    fn judge(self) -> u32 {
        self.file().map_or(0, |inode| verdict::judge(inode.key(), self.mount(), self.dentry))
    }
}

/// What was done, to what.
#[derive(Clone, Copy)]
struct Change {
    what: u32,
    flags: u32,
    file: Inode<Probed>,
    name: Name,
    other: Option<Name>,
}

/// `security_path_rename(old_dir, old_dentry, new_dir, new_dentry, flags)` has returned.
#[fexit(function = "security_path_rename")]
pub fn path_rename(ctx: FExitContext) -> i32 {
    let _ = try_rename(ctx.arg(0), ctx.arg(1), ctx.arg(2), ctx.arg(3), ctx.arg::<i32>(5));
    0
}

#[inline(always)]
fn try_rename(old_directory: u64, old: u64, new_directory: u64, new: u64, checked: i32) -> Option<()> {
    let (old_mount, _) = Path::<Typed>::from_raw(old_directory).place()?;
    let (new_mount, _) = Path::<Typed>::from_raw(new_directory).place()?;
    let from = Name { mount: old_mount.raw(), dentry: Dentry::from_raw(old) };
    let to = Name { mount: new_mount.raw(), dentry: Dentry::from_raw(new) };
    let file = from.file()?;
    let flags = from.judge();
    if flags != 0 {
        let change = Change { what: change::RENAME, flags, file, name: from, other: Some(to) };
        return pend(place::RENAME, old, change, checked, hook::FEXIT_RENAME);
    }
    // What it replaces, or a name that is a credential's with nothing there yet.
    let flags = match to.file() {
        Some(_) => to.judge(),
        None if verdict::by_name(to.mount(), to.dentry) => file_flag::BY_NAME,
        None => 0,
    };
    if flags == 0 {
        return None;
    }
    let file = to.file().unwrap_or(file);
    let change = Change { what: change::REPLACE, flags, file, name: to, other: Some(from) };
    pend(place::RENAME, old, change, checked, hook::FEXIT_RENAME)
}

/// `security_path_link(old_dentry, new_dir, new_dentry)` has returned. Both names are in one mount, the kernel has seen
/// to that.
#[fexit(function = "security_path_link")]
pub fn path_link(ctx: FExitContext) -> i32 {
    let _ = try_link(ctx.arg(0), ctx.arg(1), ctx.arg(2), ctx.arg::<i32>(3));
    0
}

#[inline(always)]
fn try_link(old: u64, directory: u64, new: u64, checked: i32) -> Option<()> {
    let (mount, _) = Path::<Typed>::from_raw(directory).place()?;
    let name = Name { mount: mount.raw(), dentry: Dentry::from_raw(old) };
    let other = Name { mount: mount.raw(), dentry: Dentry::from_raw(new) };
    let file = name.file()?;
    let flags = name.judge();
    if flags == 0 {
        return None;
    }
    let change = Change { what: change::LINK, flags, file, name, other: Some(other) };
    pend(place::LINK, old, change, checked, hook::FEXIT_LINK)
}

/// `security_path_unlink(dir, dentry)` has returned.
#[fexit(function = "security_path_unlink")]
pub fn path_unlink(ctx: FExitContext) -> i32 {
    let _ = try_unlink(ctx.arg(0), ctx.arg(1), ctx.arg::<i32>(2));
    0
}

#[inline(always)]
fn try_unlink(directory: u64, dentry: u64, checked: i32) -> Option<()> {
    let (mount, _) = Path::<Typed>::from_raw(directory).place()?;
    let name = Name { mount: mount.raw(), dentry: Dentry::from_raw(dentry) };
    let file = name.file()?;
    let flags = name.judge();
    if flags == 0 {
        return None;
    }
    let change = Change { what: change::UNLINK, flags, file, name, other: None };
    pend(place::UNLINK, dentry, change, checked, hook::FEXIT_UNLINK)
}

/// `vfs_rename(renamedata)` has returned.
#[fexit(function = "vfs_rename")]
pub fn renamed(ctx: FExitContext) -> i32 {
    if let Some(old) = Rename::<Typed>::from_raw(ctx.arg::<u64>(0)).old_dentry() {
        let _ = ended(old.raw(), ctx.arg::<i32>(1), hook::FEXIT_RENAME);
    }
    0
}

/// `vfs_link(old_dentry, idmap, dir, new_dentry, delegated)` has returned; without `idmap` before 5.12.
#[fexit(function = "vfs_link")]
pub fn linked(ctx: FExitContext) -> i32 {
    let returned: i32 = if kernel::hands_namespace() { kernel::apart(ctx.arg(5)) } else { ctx.arg(4) };
    let _ = ended(ctx.arg::<u64>(0), returned, hook::FEXIT_LINK);
    0
}

/// `vfs_unlink(idmap, dir, dentry, delegated)` has returned; without `idmap` before 5.12.
#[fexit(function = "vfs_unlink")]
pub fn unlinked(ctx: FExitContext) -> i32 {
    let (dentry, returned): (u64, i32) = if kernel::hands_namespace() {
        (kernel::apart(ctx.arg(2)), kernel::apart(ctx.arg(4)))
    } else {
        (ctx.arg(1), ctx.arg(3))
    };
    let _ = ended(dentry, returned, hook::FEXIT_UNLINK);
    0
}

/// `chmod_common(path, mode)` has returned.
#[fexit(function = "chmod_common")]
pub fn mode_set(ctx: FExitContext) -> i32 {
    let _ = by_path(ctx.arg(0), ctx.arg::<i32>(2), change::CHMOD, place::CHMOD, hook::FEXIT_CHMOD);
    0
}

/// `chown_common(path, uid, gid)` has returned.
#[fexit(function = "chown_common")]
pub fn owner_set(ctx: FExitContext) -> i32 {
    let _ = by_path(ctx.arg(0), ctx.arg::<i32>(3), change::CHOWN, place::CHOWN, hook::FEXIT_CHOWN);
    0
}

/// `vfs_truncate(path, length)` has returned.
#[fexit(function = "vfs_truncate")]
pub fn length_set(ctx: FExitContext) -> i32 {
    let _ = by_path(ctx.arg(0), ctx.arg::<i32>(2), change::TRUNCATE, place::TRUNCATE, hook::FEXIT_TRUNCATE);
    0
}

#[inline(always)]
fn by_path(path: u64, returned: i32, what: u32, place: u32, hook: u16) -> Option<()> {
    let errno = errno(returned)?;
    let (mount, dentry) = Path::<Typed>::from_raw(path).place()?;
    tell_now(Name { mount: mount.raw(), dentry }, what, errno, place, hook)
}

/// `fchmod` or `fchown` has succeeded, where no trampoline sees it.
#[inline(never)]
pub fn by_descriptor(descriptor: u32, is_mode: bool) -> Option<()> {
    let (mount, dentry) = Task::<Typed>::current().file(descriptor)?.place()?;
    let what = if is_mode { change::CHMOD } else { change::CHOWN };
    tell_now(Name { mount: mount.raw(), dentry }, what, 0, place::SYS_EXIT, hook::SYS_EXIT)
}

/// The errno of what was done or refused; `None` for what failed otherwise, which changed nothing.
#[inline(always)]
fn errno(returned: i32) -> Option<u32> {
    if returned == 0 || returned == EPERM || returned == EACCES {
        Some(returned.unsigned_abs())
    } else {
        None
    }
}

#[inline(always)]
fn tell_now(name: Name, what: u32, errno: u32, place: u32, hook: u16) -> Option<()> {
    let file = name.file()?;
    let flags = name.judge();
    if flags == 0 || Task::<Typed>::current().tgid().is_some_and(current::is_passed_over) {
        return None;
    }
    let ticket = emit::attempt(Family::File, budget::ring(Ring::Credential))?;
    let Some(scratch) = maps::CHANGE_SCRATCH.get_ptr_mut(place) else {
        ticket.lost(Counter::DroppedScratch);
        return None;
    };
    let scratch = scratch.cast::<u8>();
    let Some(end) = fill(scratch, Change { what, flags, file, name, other: None }) else {
        ticket.lost(Counter::DroppedRead);
        return None;
    };
    let length = (end & OFFSET_MASK) as u32;
    // SAFETY: the scratch space is larger than the fixed part and aligned to 8.
    let record = unsafe { &mut *scratch.cast::<ChangeRecord>() };
    record.errno = errno;
    record.header = ticket.header(kind::CHANGE, hook, length);
    // SAFETY: `length` is below the mask, and so below the scratch space's size.
    unsafe { ticket.output(scratch, length) };
    Some(())
}

#[inline(always)]
fn fill(scratch: *mut u8, change: Change) -> Option<usize> {
    const START: usize = size_of::<ChangeRecord>();
    // SAFETY: the scratch space is larger than the fixed part and aligned to 8.
    let record = unsafe { &mut *scratch.cast::<ChangeRecord>() };
    current::fill(&mut record.actor)?;
    record.file = change.file.identity()?;
    record.change = change.what;
    record.errno = 0;
    let written = path::write(scratch, START, change.name.mount, change.name.dentry.raw());
    let mut flags = change.flags
        | file_flag::PATH_REVERSED
        | if written.truncated { file_flag::PATH_TRUNCATED } else { 0 };
    record.path_length = written.end.wrapping_sub(START) as u16;
    record.other_length = 0;
    let mut end = written.end;
    if let Some(other) = change.other {
        let second = path::write(scratch, end, other.mount, other.dentry.raw());
        if second.end < PENDING_BYTES {
            record.other_length = second.end.wrapping_sub(end) as u16;
            end = second.end;
            flags |= if second.truncated { file_flag::OTHER_TRUNCATED } else { 0 };
        } else {
            flags |= file_flag::OTHER_TRUNCATED;
        }
    }
    record.flags = flags;
    Some(end)
}

/// Keeps the record of what was asked for until it is done; what the check refused never will be, and is told. `dentry`
/// tells its end from that of another, below a stacked file system.
#[inline(always)]
fn pend(place: u32, dentry: u64, change: Change, checked: i32, hook: u16) -> Option<()> {
    let errno = errno(checked)?;
    if Task::<Typed>::current().tgid().is_some_and(current::is_passed_over) {
        return None;
    }
    let scratch = maps::CHANGE_SCRATCH.get_ptr_mut(place)?.cast::<u8>();
    let Some(end) = fill(scratch, change) else {
        emit::count(Family::File, Counter::Attempted);
        emit::count(Family::File, Counter::DroppedRead);
        return None;
    };
    // SAFETY: the scratch space is larger than the fixed part and aligned to 8.
    let record = unsafe { &mut *scratch.cast::<ChangeRecord>() };
    // Until it is told, the header holds what finds it again.
    record.header.length = end as u32;
    record.header.sequence = dentry;
    if errno != 0 {
        output(record, scratch, errno, hook);
        return None;
    }
    #[expect(clippy::needless_borrows_for_generic_args, reason = "by value it would be copied to the stack")]
    // SAFETY: the scratch space is larger than an entry.
    let kept = maps::PENDING.insert(bpf_get_current_pid_tgid(), unsafe { &*scratch.cast() }, 0);
    if kept.is_err() {
        emit::count(Family::File, Counter::Attempted);
        emit::count(Family::File, Counter::DroppedScratch);
    }
    Some(())
}

/// What was asked for is done, or was not to be.
#[inline(always)]
fn ended(dentry: u64, returned: i32, hook: u16) -> Option<()> {
    let thread = bpf_get_current_pid_tgid();
    let pending = maps::PENDING.get_ptr_mut(thread)?;
    // What is kept is shared with another generation, which may be the one to tell it.
    if current::is_passed_over(Task::<Typed>::current().tgid()?) {
        return None;
    }
    // SAFETY: an entry is larger than the fixed part and aligned to 8; this thread alone uses it.
    let record = unsafe { &mut *pending.cast::<ChangeRecord>() };
    if record.header.sequence != dentry {
        return None;
    }
    if let Some(errno) = errno(returned) {
        if errno == 0 {
            remember(record, dentry);
        }
        output(record, pending.cast(), errno, hook);
    }
    let _ = maps::PENDING.remove(thread);
    Some(())
}

/// Has the credential known by its inode while it has names that rules do not know, and no longer.
#[inline(always)]
fn remember(record: &mut ChangeRecord, dentry: u64) {
    let what = record.change;
    if (what == change::UNLINK || what == change::REPLACE) && record.file.links <= 1 {
        // It need not have been known.
        let _ = maps::CREDENTIAL_FILES.remove(record.file.key);
    }
    if what == change::UNLINK {
        record.file.links = record.file.links.saturating_sub(1);
        return;
    }
    // Of what was replaced, this is the file that has its name now.
    let Some(file) = Dentry::<Probed>::from_raw(dentry).inode().and_then(Inode::identity) else { return };
    record.file = file;
    if what != change::REPLACE && maps::CREDENTIAL_FILES.insert(file.key, 1, 0).is_err() {
        emit::count(Family::File, Counter::MapFull);
    }
    // Another thread may have opened it since the check, and so have had the verdict of before cached.
    if let Some(generation) = maps::TREE_GENERATION.get_ptr_mut(0) {
        // SAFETY: the map's memory outlives the program.
        unsafe { emit::add_one(generation) };
    }
}

#[inline(always)]
fn output(record: &mut ChangeRecord, bytes: *const u8, errno: u32, hook: u16) {
    let Some(ticket) = emit::attempt(Family::File, budget::ring(Ring::Credential)) else { return };
    record.errno = errno;
    let length = record.header.length & (PENDING_BYTES as u32 - 1);
    record.header = ticket.header(kind::CHANGE, hook, length);
    // SAFETY: `length` is below the size of an entry, and of the scratch space.
    unsafe { ticket.output(bytes, length) };
}
