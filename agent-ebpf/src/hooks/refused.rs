//! Opens of credentials that were refused.
//!
//! With trampolines: `capable_wrt_inode_uidgid`, which the kernel asks only once owner, group and mode have refused (so
//! an open that is allowed does not pass here). The lookup that is under way then tells the file, or, at a directory
//! above it, the path as the kernel copied it. Without: the exit code of the call and the path in the caller's memory.

use agent_common::counters::{Counter, Family};
use agent_common::keys::InodeKey;
use agent_common::limits::PATH_BYTES;
use agent_common::records::{FileIdentity, RefusedRecord, file_flag, hook, kind};
use agent_common::rings::Ring;
use aya_ebpf::helpers::bpf_probe_read_user;
use aya_ebpf::helpers::generated::{bpf_probe_read_kernel_str, bpf_probe_read_user_str};
use aya_ebpf::macros::fexit;
use aya_ebpf::programs::FExitContext;

use super::{memory, number};
use crate::kstruct::{
    Dentry, Inode, Lookup, Mount, Probed, S_IFDIR, S_IFMT, S_IFREG, Task, Typed, first_argument, is_32_bit,
    second_argument, syscall_number, third_argument,
};
use crate::path::{self, OFFSET_MASK};
use crate::{budget, current, emit, kernel, maps, verdict};

/// The last capability that is asked for when a mode refuses; the one before it is asked for some acts alone.
const CAP_DAC_OVERRIDE: u32 = 1;
const AT_FDCWD: i32 = -100;
const O_CREAT: u64 = 0o100;
const EPERM: i64 = 1;
const EACCES: i64 = 13;

/// `capable_wrt_inode_uidgid(idmap, inode, capability)` has answered; without `idmap` before 5.12.
#[fexit(function = "capable_wrt_inode_uidgid")]
pub fn open_refused(ctx: FExitContext) -> i32 {
    let (inode, capability, answer): (u64, u32, u64) = if kernel::hands_namespace() {
        (kernel::apart(ctx.arg(1)), kernel::apart(ctx.arg(2)), kernel::apart(ctx.arg(3)))
    } else {
        (ctx.arg(0), ctx.arg(1), ctx.arg(2))
    };
    // A `bool` is one byte; those above it may hold anything.
    let allowed = answer & 0xff != 0;
    if !allowed && capability == CAP_DAC_OVERRIDE {
        let _ = refused(Inode::from_raw(inode));
    }
    0
}

/// Whether a call was refused rather than failed.
#[inline(always)]
pub fn is_refusal(returned: i64) -> bool {
    returned == -EACCES || returned == -EPERM
}

#[inline(always)]
fn refused(inode: Inode<Probed>) -> Option<()> {
    let task = Task::<Typed>::current();
    // `access` and others ask again once the path is resolved: no lookup is under way then.
    let lookup = task.lookup()?;
    let (mount, dentry) = lookup.place()?;
    let registers = task.registers()?;
    let call = syscall_number(registers)?;
    if dentry.inode()?.raw() != inode.raw() || current::is_passed_over(task.tgid()?) {
        return None;
    }
    let kind = inode.mode()? & S_IFMT;
    if kind == S_IFREG {
        if call == number::EXECVE || call == number::EXECVEAT {
            return None;
        }
        if memory::has_mode_of_memory(inode.mode()?) && memory::refused(inode, dentry).is_some() {
            return None;
        }
        let flags = verdict::judge(inode.key(), mount, dentry);
        return if flags == 0 { None } else { tell(Refused::File(inode, mount, dentry, flags)) };
    }
    // A directory may refuse a new file before it is known that the file is there already.
    if kind != S_IFDIR || is_32_bit(registers) || !number::opens_path(call) || may_create(registers, call) {
        return None;
    }
    tell(Refused::Below(lookup))
}

#[inline(always)]
fn may_create(registers: u64, call: u64) -> bool {
    if call == number::OPENAT {
        return third_argument(registers).is_none_or(|flags| flags & O_CREAT != 0);
    }
    if call == number::OPEN {
        return second_argument(registers).is_none_or(|flags| flags & O_CREAT != 0);
    }
    if call == number::OPENAT2 {
        // The first member of `struct open_how` is its flags.
        let Some(how) = third_argument(registers) else { return true };
        // SAFETY: the helper checks the address.
        return unsafe { bpf_probe_read_user(how as *const u64) }.map_or(true, |flags| flags & O_CREAT != 0);
    }
    true
}

/// A call that opens has returned a refusal, where no trampoline sees it.
#[inline(never)]
pub fn call_refused(registers: u64, call: u64, returned: i64) -> Option<()> {
    if current::is_passed_over(Task::<Typed>::current().tgid()?) {
        return None;
    }
    let (directory, text) = if call == number::OPEN || call == number::CREAT {
        (AT_FDCWD, first_argument(registers)?)
    } else {
        (first_argument(registers)? as i32, second_argument(registers)?)
    };
    tell(Refused::Claim { directory, text, errno: returned.unsigned_abs() as u32 })
}

/// What is known of the file.
#[derive(Clone, Copy)]
enum Refused {
    /// All: it is itself what was refused.
    File(Inode<Probed>, Mount<Probed>, Dentry<Probed>, u32),
    /// The path as written, in the kernel's copy: a directory on the way was refused.
    Below(Lookup<Probed>),
    /// The path as written, in the caller's memory.
    Claim { directory: i32, text: u64, errno: u32 },
}

#[inline(always)]
fn tell(what: Refused) -> Option<()> {
    let ticket = emit::attempt(Family::File, budget::ring(Ring::Credential))?;
    let Some(scratch) = maps::REFUSED_SCRATCH.get_ptr_mut(0) else {
        ticket.lost(Counter::DroppedScratch);
        return None;
    };
    let scratch = scratch.cast::<u8>();
    // SAFETY: the scratch space is larger than the fixed part and aligned to 8.
    let record = unsafe { &mut *scratch.cast::<RefusedRecord>() };
    let Some(end) = fill(record, scratch, what) else {
        ticket.lost(Counter::DroppedRead);
        return None;
    };
    let length = (end & OFFSET_MASK) as u32;
    let hook = match what {
        Refused::File(..) | Refused::Below(_) => hook::FEXIT_CAPABLE_OVER_INODE,
        Refused::Claim { .. } => hook::SYS_EXIT,
    };
    record.header = ticket.header(kind::OPEN_REFUSED, hook, length);
    // SAFETY: `length` is below the mask, and so below the scratch space's size.
    unsafe { ticket.output(scratch, length) };
    Some(())
}

#[inline(always)]
fn fill(record: &mut RefusedRecord, scratch: *mut u8, what: Refused) -> Option<usize> {
    const START: usize = size_of::<RefusedRecord>();
    current::fill(&mut record.actor)?;
    record.errno = EACCES as u32;
    record.base_length = 0;
    record.reserved = 0;
    let (directory, length) = match what {
        Refused::File(inode, mount, dentry, flags) => {
            record.file = inode.identity()?;
            let written = path::write(scratch, START, mount.raw(), dentry.raw());
            let truncated = if written.truncated { file_flag::PATH_TRUNCATED } else { 0 };
            record.flags = flags | file_flag::PATH_REVERSED | truncated;
            record.path_length = written.end.wrapping_sub(START) as u16;
            return Some(written.end);
        }
        Refused::Below(lookup) => {
            let text = lookup.text()?;
            // SAFETY: the scratch space is larger.
            let read = unsafe {
                bpf_probe_read_kernel_str(scratch.add(START).cast(), PATH_BYTES as u32, text as *const _)
            };
            (lookup.directory()?, read)
        }
        Refused::Claim { directory, text, errno } => {
            record.errno = errno;
            // SAFETY: the scratch space is larger.
            let read = unsafe {
                bpf_probe_read_user_str(scratch.add(START).cast(), PATH_BYTES as u32, text as *const _)
            };
            (directory, read)
        }
    };
    // The length counts the NUL; an empty path names nothing.
    if length <= 1 || length > PATH_BYTES as i64 {
        return None;
    }
    record.file = NO_FILE;
    record.flags = file_flag::CLAIMED;
    let end = START + length as usize - 1;
    record.path_length = (length - 1) as u16;
    // SAFETY: within the scratch space.
    if unsafe { scratch.add(START).read_volatile() } == b'/' {
        return Some(end);
    }
    let (mount, dentry) = base(directory)?;
    let written = path::write(scratch, end, mount, dentry);
    record.flags |= if written.truncated { file_flag::BASE_TRUNCATED } else { 0 };
    record.base_length = written.end.wrapping_sub(end) as u16;
    Some(written.end)
}

const NO_FILE: FileIdentity = FileIdentity {
    key: InodeKey { inode: 0, device: 0, reserved: 0 },
    ctime_seconds: 0,
    ctime_nanoseconds: 0,
    links: 0,
    mode: 0,
    reserved: 0,
};

/// The directory that a path begins at.
#[inline(always)]
fn base(descriptor: i32) -> Option<(u64, u64)> {
    let task = Task::<Typed>::current();
    if descriptor == AT_FDCWD {
        return task.working_directory();
    }
    let (mount, dentry) = task.file(descriptor as u32)?.place()?;
    Some((mount.raw(), dentry.raw()))
}
