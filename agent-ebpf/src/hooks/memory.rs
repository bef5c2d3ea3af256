//! Memory of other processes: attached to, read, written, or opened.
//!
//! With trampolines: `__ptrace_may_access`, which `ptrace`, `process_vm_readv` and `process_vm_writev` ask, and the opens
//! of `/proc/PID/mem` and `/proc/PID/environ`, each with its answer: a refusal is told too, and one by the mode of the
//! file by `refused`. What asks for less (`ps`
//! reads `/proc/PID/stat`) asks in another mode and is passed over. Without trampolines: the exit of these calls. A
//! process that looks at itself, by whichever of its threads, is never told.

use agent_common::counters::{Counter, Family};
use agent_common::keys::{FlowCount, MemoryKey};
use agent_common::records::{MemoryRecord, hook, kind, memory};
use agent_common::rings::Ring;
use aya_ebpf::helpers::generated::bpf_ktime_get_boot_ns;
use aya_ebpf::macros::fexit;
use aya_ebpf::programs::FExitContext;

use super::number::{self, compatible};
use crate::kstruct::{
    Access, Dentry, Inode, Probed, Task, Typed, eight_bytes, first_argument, is_32_bit, second_argument,
    syscall_number,
};
use crate::{budget, current, emit, maps};

/// `PTRACE_MODE_ATTACH` and `PTRACE_MODE_REALCREDS` of `linux/ptrace.h`: what the calls ask for. The opens ask with the
/// ids of the file system.
const MODE_OF_CALLS: u32 = 0x12;
/// `PTRACE_TRACEME`, `PTRACE_ATTACH` and `PTRACE_SEIZE`.
const TRACEME: u64 = 0;
const ATTACH: u64 = 16;
const SEIZE: u64 = 0x4206;
const EPERM: i64 = 1;
const EACCES: i64 = 13;
/// `PROC_SUPER_MAGIC`.
const PROC_MAGIC: u64 = 0x9fa0;
/// Modes of `mem` and of `environ`, which nobody can change.
const MEM_MODE: u16 = 0o100_600;
const ENVIRON_MODE: u16 = 0o100_400;
/// What [`agent_common::keys::until_nul`] gives for their names.
const MEM: u64 = u64::from_le_bytes(*b"mem\0\0\0\0\0");
const ENVIRON: u64 = u64::from_le_bytes(*b"environ\0");

/// `__ptrace_may_access(task, mode)` has answered.
#[fexit(function = "__ptrace_may_access")]
pub fn ptrace_checked(ctx: FExitContext) -> i32 {
    if ctx.arg::<u32>(1) & MODE_OF_CALLS == MODE_OF_CALLS {
        let _ = checked(Task::from_raw(ctx.arg::<u64>(0)), ctx.arg::<i32>(2));
    }
    0
}

/// `security_ptrace_traceme(parent)` has answered: the running process asks to be traced by its parent.
#[fexit(function = "security_ptrace_traceme")]
pub fn traceme_checked(ctx: FExitContext) -> i32 {
    let parent = Task::<Typed>::from_raw(ctx.arg::<u64>(0));
    if let Some(errno) = errno(i64::from(ctx.arg::<i32>(1))) {
        let _ = traceme(parent, errno, hook::FEXIT_PTRACE_TRACEME);
    }
    0
}

/// `mem_open(inode, file)` has returned.
#[fexit(function = "mem_open")]
pub fn mem_opened(ctx: FExitContext) -> i32 {
    let _ = proc_opened(ctx.arg::<u64>(0), ctx.arg::<i32>(2), memory::PROC_MEM, hook::FEXIT_MEM_OPEN);
    0
}

/// `environ_open(inode, file)` has returned.
#[fexit(function = "environ_open")]
pub fn environ_opened(ctx: FExitContext) -> i32 {
    let _ = proc_opened(ctx.arg::<u64>(0), ctx.arg::<i32>(2), memory::PROC_ENVIRON, hook::FEXIT_ENVIRON_OPEN);
    0
}

#[inline(always)]
fn checked(target: Task<Typed>, answer: i32) -> Option<()> {
    let errno = errno(i64::from(answer))?;
    let registers = Task::<Typed>::current().registers()?;
    let call = syscall_number(registers)?;
    // A descriptor that is taken is told as that.
    if call == number::PIDFD_GETFD {
        return None;
    }
    let (ptrace, read, write) = if is_32_bit(registers) {
        (compatible::PTRACE, compatible::VM_READ, compatible::VM_WRITE)
    } else {
        (number::PTRACE, number::VM_READ, number::VM_WRITE)
    };
    let way = if call == ptrace {
        memory::PTRACE
    } else if call == read {
        memory::VM_READ
    } else if call == write {
        memory::VM_WRITE
    } else {
        memory::OTHER
    };
    reached(target, way, errno, hook::FEXIT_PTRACE_MAY_ACCESS)
}

#[inline(always)]
fn proc_opened(inode: u64, returned: i32, way: u32, hook: u16) -> Option<()> {
    let errno = errno(i64::from(returned))?;
    reached(Inode::<Typed>::from_raw(inode).process()?, way, errno, hook)
}

/// Whether a file may be one of /proc that gives memory: nearly all others are told apart by this alone.
#[inline(always)]
pub fn has_mode_of_memory(mode: u16) -> bool {
    mode == MEM_MODE || mode == ENVIRON_MODE
}

/// A file that may be one of /proc was opened, where no trampoline sees it; `None` where it is another. A function of its
/// own, as `call_returned` is: what the same program calls besides needs the room on the stack.
#[inline(never)]
pub fn opened(inode: Inode<Probed>, dentry: Dentry<Probed>) -> Option<()> {
    looked_up(inode, dentry, 0, hook::SYS_EXIT)
}

/// The same, refused by its mode.
#[inline(never)]
pub fn refused(inode: Inode<Probed>, dentry: Dentry<Probed>) -> Option<()> {
    looked_up(inode, dentry, EACCES as u32, hook::FEXIT_CAPABLE_OVER_INODE)
}

#[inline(always)]
fn looked_up(inode: Inode<Probed>, dentry: Dentry<Probed>, errno: u32, hook: u16) -> Option<()> {
    if inode.magic()? != PROC_MAGIC {
        return None;
    }
    let way = match agent_common::keys::until_nul(eight_bytes(dentry.name()?)?) {
        MEM => memory::PROC_MEM,
        ENVIRON => memory::PROC_ENVIRON,
        _ => return None,
    };
    let _ = reached(inode.process()?, way, errno, hook);
    Some(())
}

/// `ptrace`, `process_vm_readv` or `process_vm_writev` has returned, where no trampoline sees it.
#[inline(never)]
pub fn call_returned(registers: u64, call: u64, returned: i64) -> Option<()> {
    let errno = if returned >= 0 { 0 } else { errno(returned)? };
    if call == number::PTRACE {
        let request = first_argument(registers)?;
        if request == TRACEME {
            return traceme(Task::current().real_parent()?, errno, hook::SYS_EXIT);
        }
        if request != ATTACH && request != SEIZE {
            return None;
        }
        let target = Task::numbered(second_argument(registers)? as u32, Task::current())?;
        return reached(target, memory::PTRACE, errno, hook::SYS_EXIT);
    }
    // Nothing asked for is nothing reached.
    if returned == 0 {
        return None;
    }
    let way = if call == number::VM_READ { memory::VM_READ } else { memory::VM_WRITE };
    let target = Task::numbered(first_argument(registers)? as u32, Task::current())?;
    reached(target, way, errno, hook::SYS_EXIT)
}

/// The errno of a refusal, 0 of a success; `None` for what failed otherwise.
#[inline(always)]
fn errno(returned: i64) -> Option<u32> {
    if returned == 0 || returned == -EPERM || returned == -EACCES {
        Some(returned.unsigned_abs() as u32)
    } else {
        None
    }
}

/// The running process reaches another.
#[inline(always)]
fn reached<A: Access>(target: Task<A>, way: u32, errno: u32, hook: u16) -> Option<()> {
    let actor = Task::<Typed>::current();
    // Kernel threads have none.
    if target.memory()?.is_null() {
        return None;
    }
    if actor.tgid()? == target.tgid()?
        || current::is_passed_over(actor.tgid()?)
        || is_folded(actor, target, way, errno)?
    {
        return None;
    }
    let ticket = emit::attempt(Family::Memory, budget::ring(Ring::Credential))?;
    let mut entry = ticket.reserve::<MemoryRecord>()?;
    // SAFETY: the ring gave room for a whole record; every field is written before it is submitted.
    let record = unsafe { &mut *entry.as_mut_ptr() };
    record.header = ticket.header(kind::MEMORY, hook, size_of::<MemoryRecord>() as u32);
    record.way = way;
    record.errno = errno;
    if current::fill(&mut record.actor).is_none() || current::fill_other(&mut record.target, target).is_none()
    {
        ticket.discard(entry);
        return None;
    }
    ticket.submit(entry);
    Some(())
}

/// The running process lets its parent reach it.
#[inline(always)]
fn traceme(parent: Task<Typed>, errno: u32, hook: u16) -> Option<()> {
    let target = Task::<Typed>::current();
    if current::is_passed_over(parent.tgid()?) || is_folded(parent, target, memory::TRACEME, errno)? {
        return None;
    }
    let ticket = emit::attempt(Family::Memory, budget::ring(Ring::Credential))?;
    let mut entry = ticket.reserve::<MemoryRecord>()?;
    // SAFETY: as in `reached`.
    let record = unsafe { &mut *entry.as_mut_ptr() };
    record.header = ticket.header(kind::MEMORY, hook, size_of::<MemoryRecord>() as u32);
    record.way = memory::TRACEME;
    record.errno = errno;
    if current::fill_other(&mut record.actor, parent).is_none() || current::fill(&mut record.target).is_none()
    {
        ticket.discard(entry);
        return None;
    }
    ticket.submit(entry);
    Some(())
}

/// The address of its memory map. Probed: the verifier lets nobody reckon with what it knows to be a pointer.
#[inline(always)]
fn memory_as_number<A: Access>(task: Task<A>) -> Option<u64> {
    Some(Task::<Probed>::from_raw(task.raw()).memory()?.raw())
}

/// Whether this was told already, and is counted instead. A debugger reads very often.
#[inline(always)]
fn is_folded<A: Access, B: Access>(actor: Task<A>, target: Task<B>, way: u32, errno: u32) -> Option<bool> {
    let mut key = MemoryKey {
        actor_start_boot_ns: actor.group_leader()?.start_boot_ns()?,
        target_start_boot_ns: 0,
        memories: memory_as_number(actor)?,
        actor_tgid: actor.tgid()?,
        target_tgid: 0,
        way,
        errno,
    };
    // `ps` looks at the environments of all: the first is told, and how many there were.
    if way != memory::PROC_ENVIRON {
        key.target_start_boot_ns = target.group_leader()?.start_boot_ns()?;
        key.memories ^= memory_as_number(target)?.rotate_left(16);
        key.target_tgid = target.tgid()?;
    }
    // SAFETY: no arguments.
    let now = unsafe { bpf_ktime_get_boot_ns() };
    if let Some(count) = maps::MEMORY.get_ptr_mut(key) {
        // SAFETY: the map's memory outlives the program.
        unsafe {
            emit::add_one(&raw mut (*count).folded);
            (*count).last_boot_ns = now;
        }
        emit::folded(Family::Memory);
        return Some(true);
    }
    if maps::MEMORY.insert(key, FlowCount { folded: 0, last_boot_ns: now }, 0).is_err() {
        emit::count(Family::Memory, Counter::MapFull);
    }
    Some(false)
}
