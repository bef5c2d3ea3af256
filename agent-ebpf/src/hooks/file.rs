//! Opens of credentials, where the kernel has trampolines: what `lsm/file_open` and `fentry/security_file_open` share.
//!
//! Both run for every open that succeeded so far, with the file that was resolved: no spelling, link, race or descriptor
//! trick gets around them, io_uring neither. A stacked file system opens the real file below under the same call: that inner open is passed
//! over, so that one act is one event.

use agent_common::counters::Family;
use agent_common::limits::{PATH_BYTES, SHORT_PATH_BYTES};
use agent_common::records::{FileRecord, acquired, file_flag, hook, kind};
use agent_common::rings::Ring;
use aya_ebpf::helpers::generated::bpf_d_path;
use aya_ebpf::macros::fentry;
use aya_ebpf::programs::FEntryContext;

use crate::kstruct::{Dentry, File, Inode, Mount, Probed, S_IFMT, S_IFREG, Task, Typed};
use crate::{budget, current, emit, verdict};

/// `-ENAMETOOLONG`.
const NAME_TOO_LONG: i64 = -36;

/// A record with room for most paths.
#[repr(C)]
struct ShortRecord {
    fixed: FileRecord,
    path: [u8; SHORT_PATH_BYTES],
}

/// A record with room for every path.
#[repr(C)]
struct LongRecord {
    fixed: FileRecord,
    path: [u8; PATH_BYTES],
}

/// Judges regular files; directories and devices hold no credential.
#[inline(always)]
pub fn first_sight(inode: Inode<Typed>, mount: Mount<Typed>, dentry: Dentry<Typed>) -> u32 {
    match inode.mode() {
        Some(mode) if mode & S_IFMT == S_IFREG => verdict::judge(inode.key(), mount, dentry),
        _ => 0,
    }
}

/// `fentry/security_file_open(file)`: inode storage is for LSM programs alone, so each open is judged.
#[fentry(function = "security_file_open")]
pub fn security_file_open(ctx: FEntryContext) -> i32 {
    let _ = try_security_file_open(File::from_raw(ctx.arg::<u64>(0)));
    0
}

#[inline(always)]
fn try_security_file_open(file: File<Typed>) -> Option<()> {
    let inode = file.inode()?;
    let (mount, dentry) = file.place()?;
    let flags = first_sight(inode, mount, dentry);
    if flags == 0 {
        return None;
    }
    opened(file, inode, flags, hook::FENTRY_FILE_OPEN)
}

/// Tells of an open.
#[inline(always)]
pub fn opened(file: File<Typed>, inode: Inode<Typed>, flags: u32, hook: u16) -> Option<()> {
    if Task::<Typed>::current().tgid().is_some_and(current::is_passed_over) || is_inner_open(file, inode) {
        return None;
    }
    let ticket = emit::attempt(Family::File, budget::ring(Ring::Credential))?;
    let mut entry = ticket.reserve::<ShortRecord>()?;
    let record = entry.as_mut_ptr();
    // SAFETY: the ring gave room for the whole record.
    let (fixed, path) = unsafe { (&mut (*record).fixed, (&raw mut (*record).path).cast::<u8>()) };
    match fill(fixed, path, SHORT_PATH_BYTES, file, inode, flags) {
        Some(length) if length >= 0 => {
            fixed.header = ticket.header(
                kind::FILE_OPEN,
                hook,
                size_of::<FileRecord>() as u32 + u32::from(fixed.path_length),
            );
            ticket.submit(entry);
            Some(())
        }
        Some(NAME_TOO_LONG) => {
            entry.discard(0);
            opened_with_long_path(ticket, file, inode, flags, hook)
        }
        _ => {
            ticket.discard(entry);
            None
        }
    }
}

#[inline(always)]
fn opened_with_long_path(
    ticket: emit::Ticket,
    file: File<Typed>,
    inode: Inode<Typed>,
    flags: u32,
    hook: u16,
) -> Option<()> {
    let mut entry = ticket.reserve::<LongRecord>()?;
    let record = entry.as_mut_ptr();
    // SAFETY: the ring gave room for the whole record.
    let (fixed, path) = unsafe { (&mut (*record).fixed, (&raw mut (*record).path).cast::<u8>()) };
    match fill(fixed, path, PATH_BYTES, file, inode, flags) {
        None => {
            ticket.discard(entry);
            return None;
        }
        Some(length) => {
            if length < 0 {
                fixed.path_length = 0;
                fixed.flags |= file_flag::PATH_TRUNCATED;
            }
            fixed.header = ticket.header(
                kind::FILE_OPEN,
                hook,
                size_of::<FileRecord>() as u32 + u32::from(fixed.path_length),
            );
            ticket.submit(entry);
        }
    }
    Some(())
}

/// Whether this is the open of the file below a stacked one: since 6.5 with its own path in a mount that the kernel
/// keeps to itself, before with the stacked path and the inode below. (`FMODE_BACKING` would say it too, but its bit
/// moves from release to release, and is another flag elsewhere.)
#[inline(always)]
fn is_inner_open(file: File<Typed>, inode: Inode<Typed>) -> bool {
    let Some((mount, dentry)) = file.place() else { return false };
    if Mount::<Probed>::from_raw(mount.raw()).is_internal() == Some(true) {
        return true;
    }
    dentry.inode().is_some_and(|named| named.raw() != inode.raw())
}

/// Fills all but the header; what `bpf_d_path` returned.
#[inline(always)]
fn fill(
    record: &mut FileRecord,
    path: *mut u8,
    room: usize,
    file: File<Typed>,
    inode: Inode<Typed>,
    flags: u32,
) -> Option<i64> {
    current::fill(&mut record.actor)?;
    record.file = inode.identity()?;
    record.open_flags = file.flags()?;
    record.access_mode = file.mode()? & 3;
    record.flags = flags;
    record.how = acquired::OPENED;
    // SAFETY: the path is a typed pointer of the kernel, the buffer has the length that is named.
    let length = unsafe { bpf_d_path(file.path_address()? as *mut _, path.cast(), room as u32) };
    // The length counts the NUL.
    record.path_length = if length > 0 { (length - 1) as u16 } else { 0 };
    Some(length)
}
