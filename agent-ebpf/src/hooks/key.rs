//! Keys of the kernel's keyrings that are read: `keyctl(KEYCTL_READ)`, the one call that hands out what a key holds.
//!
//! With trampolines: `key_task_permission`, which is handed the key, and the end of the read, which says what came of it
//! (a key that its mode lets nobody read is handed to whoever possesses it all the same). Without: the exit of `keyctl`,
//! by the serial number alone. Finding a key (`request_key`, a search) gives its number and no more, and is not told;
//! nor is the list of keys that a keyring holds, or the length of one.

use agent_common::counters::{Counter, Family};
use agent_common::limits::{KEY_DESCRIPTION_BYTES, KEY_TYPE_BYTES, PENDING_KEY_BYTES};
use agent_common::records::{KeyRecord, hook, key_flag, kind};
use agent_common::rings::Ring;
use aya_ebpf::EbpfContext;
use aya_ebpf::helpers::bpf_get_current_pid_tgid;
use aya_ebpf::helpers::generated::bpf_probe_read_kernel_str;
use aya_ebpf::macros::fexit;
use aya_ebpf::programs::FExitContext;

use crate::kstruct::{
    Access, Key, Probed, Task, Typed, eight_bytes, first_argument, fourth_argument, second_argument,
    third_argument,
};
use crate::{budget, current, emit, maps};

/// `KEY_NEED_READ`: the same number as of the mask that it was before 5.8.
const NEED_READ: u32 = 2;
/// `KEYCTL_READ`.
const KEYCTL_READ: u32 = 11;
const EPERM: i64 = 1;
const EACCES: i64 = 13;
/// The name of the type of keyrings.
const KEYRING: u64 = u64::from_le_bytes(*b"keyring\0");
const START: usize = size_of::<KeyRecord>();

/// `key_task_permission(key, cred, need)` has answered: for a read, the key is kept until that ends.
#[fexit(function = "key_task_permission")]
pub fn key_checked(ctx: FExitContext) -> i32 {
    if ctx.arg::<u32>(2) == NEED_READ {
        let _ = checked(ctx.as_ptr() as u64);
    }
    0
}

/// `keyctl_read_key(serial, buffer, length)` has returned.
#[fexit(function = "keyctl_read_key")]
pub fn key_read(ctx: FExitContext) -> i32 {
    let _ = read(ctx.arg::<u64>(1), ctx.arg::<u64>(2), ctx.arg::<i64>(3));
    0
}

#[inline(always)]
fn checked(arguments: u64) -> Option<()> {
    // The first argument points to a structure that the kernel defines nowhere: the verifier lets nobody load it.
    // SAFETY: probed.
    let key = Key::of_reference(unsafe { Probed::load(arguments, 0)? });
    let scratch = maps::KEY_SCRATCH.get_ptr_mut(0)?.cast::<u8>();
    // SAFETY: the scratch space is larger than the fixed part and aligned to 8.
    let record = unsafe { &mut *scratch.cast::<KeyRecord>() };
    let name = key.type_name()?;
    if agent_common::keys::until_nul(eight_bytes(name)?) == KEYRING {
        return None;
    }
    record.serial = key.serial()?;
    record.owner = key.owner().unwrap_or(u32::MAX);
    record.flags = 0;
    // SAFETY: within the scratch space.
    let read = unsafe {
        bpf_probe_read_kernel_str(scratch.add(START).cast(), KEY_TYPE_BYTES as u32, name as *const _)
    };
    // The length counts the NUL.
    if read <= 1 || read > KEY_TYPE_BYTES as i64 {
        return None;
    }
    record.type_length = (read - 1) as u16;
    let description = key.description()?;
    // A place of its own, so that no offset has to be known to the verifier.
    // SAFETY: within the scratch space.
    let read = unsafe {
        bpf_probe_read_kernel_str(
            scratch.add(START + KEY_TYPE_BYTES).cast(),
            KEY_DESCRIPTION_BYTES as u32,
            description as *const _,
        )
    };
    if read < 1 || read > KEY_DESCRIPTION_BYTES as i64 {
        return None;
    }
    record.description_length = (read - 1) as u16;
    if read == KEY_DESCRIPTION_BYTES as i64 {
        record.flags = key_flag::DESCRIPTION_TRUNCATED;
    }
    #[expect(clippy::needless_borrows_for_generic_args, reason = "by value it would be copied to the stack")]
    // SAFETY: the scratch space has the size of an entry.
    let kept = maps::PENDING_KEYS.insert(bpf_get_current_pid_tgid(), unsafe { &*scratch.cast() }, 0);
    if kept.is_err() {
        emit::count(Family::Key, Counter::MapFull);
    }
    Some(())
}

#[inline(always)]
fn read(buffer: u64, room: u64, returned: i64) -> Option<()> {
    // What is kept is shared with another generation, which may be the one to tell it.
    if current::is_passed_over(Task::<Typed>::current().tgid()?) {
        return None;
    }
    let thread = bpf_get_current_pid_tgid();
    let pending = maps::PENDING_KEYS.get_ptr_mut(thread)?.cast::<u8>();
    // SAFETY: an entry is larger than the fixed part and aligned to 8; this thread alone uses it.
    let record = unsafe { &mut *pending.cast::<KeyRecord>() };
    if let Some(errno) = errno(buffer, room, returned) {
        let _ = tell(record, pending, errno, hook::FEXIT_KEY_READ);
    }
    let _ = maps::PENDING_KEYS.remove(thread);
    Some(())
}

/// `keyctl` has returned, where no trampoline sees it. A function of its own, for the sake of the stack.
#[inline(never)]
pub fn call_returned(registers: u64, returned: i64) -> Option<()> {
    if first_argument(registers)? as u32 != KEYCTL_READ {
        return None;
    }
    let serial = second_argument(registers)? as u32;
    let errno = errno(third_argument(registers)?, fourth_argument(registers)?, returned)?;
    // Special numbers are those of keyrings.
    if (serial as i32) < 0 {
        return None;
    }
    let scratch = maps::KEY_SCRATCH.get_ptr_mut(0)?.cast::<u8>();
    // SAFETY: the scratch space is larger than the fixed part and aligned to 8.
    let record = unsafe { &mut *scratch.cast::<KeyRecord>() };
    record.serial = serial;
    record.owner = u32::MAX;
    record.flags = key_flag::UNNAMED;
    record.type_length = 0;
    record.description_length = 0;
    tell(record, scratch, errno, hook::SYS_EXIT)
}

/// The errno of a refusal, 0 of a read; `None` for what failed otherwise, and for what asked for its length alone.
#[inline(always)]
fn errno(buffer: u64, room: u64, returned: i64) -> Option<u32> {
    if buffer == 0 || room == 0 {
        return None;
    }
    if returned >= 0 {
        return Some(0);
    }
    if returned == -EPERM || returned == -EACCES { Some(returned.unsigned_abs() as u32) } else { None }
}

/// Tells of a key whose record is built but for who reads it, and what came of that.
#[inline(always)]
fn tell(record: &mut KeyRecord, bytes: *const u8, errno: u32, hook: u16) -> Option<()> {
    if current::is_passed_over(Task::<Typed>::current().tgid()?) {
        return None;
    }
    let ticket = emit::attempt(Family::Key, budget::ring(Ring::Credential))?;
    record.errno = errno;
    record.reserved = 0;
    if current::fill(&mut record.actor).is_none() {
        ticket.lost(Counter::DroppedRead);
        return None;
    }
    let length = START + KEY_TYPE_BYTES + record.description_length as usize;
    let length = (length & (PENDING_KEY_BYTES - 1)) as u32;
    record.header = ticket.header(kind::KEY, hook, length);
    // SAFETY: `length` is below the size of an entry, and of the scratch space.
    unsafe { ticket.output(bytes, length) };
    Some(())
}
