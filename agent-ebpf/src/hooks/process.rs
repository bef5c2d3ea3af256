//! Process life: fork, exec, exit.
//!
//! The three scheduler tracepoints run in the context of the process concerned, with preemption off, on every kernel
//! since 2.6, and as BTF tracepoints since 5.5. Their neighbours (`execve`'s exit, `wake_up_new_task`) see the program
//! before its credentials are committed, or miss processes that a kernel thread makes.

use agent_common::counters::{Counter, Family};
use agent_common::keys::{MARKER_PRELOAD, MARKER_WITH_VALUE, MarkerName};
use agent_common::limits::{
    ARGV_BYTES, ENVIRONMENT_CHUNKS, EXEC_NAME_BYTES, MARKER_BYTES, MARKER_NAME_BYTES, MARKER_VALUE_BYTES,
};
use agent_common::records::{ExecRecord, ExitRecord, ForkRecord, StdioIdentity, exec_flag, hook, kind};
use agent_common::rings::Ring;
use aya_ebpf::helpers::generated::{
    bpf_probe_read_kernel, bpf_probe_read_kernel_str, bpf_probe_read_user, bpf_probe_read_user_str,
};
use aya_ebpf::macros::btf_tracepoint;
use aya_ebpf::programs::BtfTracePointContext;

use crate::kstruct::{BinaryParameters, Task, Typed};
use crate::path::{self, OFFSET_MASK};
use crate::{current, emit, generation, kernel, maps, tag};

/// Reads or writes a field of a state in map memory, in a way that the compiler cannot replace by what it knows.
macro_rules! state {
    ($parser:ident . $field:ident) => {
        // SAFETY: a reference is valid.
        unsafe { core::ptr::read_volatile(&raw const $parser.$field) }
    };
    ($parser:ident . $field:ident = $value:expr) => {
        // SAFETY: a reference is valid.
        unsafe { core::ptr::write_volatile(&raw mut $parser.$field, $value) }
    };
}

/// A process was made: `sched_process_fork(parent, child)`, in the parent, before the child runs. Threads are left out.
#[btf_tracepoint(function = "sched_process_fork")]
pub fn process_fork(ctx: BtfTracePointContext) -> i32 {
    let child = Task::<Typed>::from_raw(ctx.arg::<u64>(1));
    if let (Some(process), Some(thread)) = (child.tgid(), child.pid())
        && process == thread
        && is_served(Task::current())
    {
        // Before there may be no room for the record: what a session starts is of it all the same.
        let tag = tag::inherit(Task::current(), child);
        let _ = try_fork(child, tag);
    }
    0
}

#[inline(always)]
fn try_fork(child: Task<Typed>, tag: u32) -> Option<()> {
    let ticket = emit::attempt(Family::Process, Ring::Process)?;
    let mut entry = ticket.reserve::<ForkRecord>()?;
    // SAFETY: the ring gave room for a whole record; every field is written before it is submitted.
    let record = unsafe { &mut *entry.as_mut_ptr() };
    record.header = ticket.header(kind::FORK, hook::SCHED_PROCESS_FORK, size_of::<ForkRecord>() as u32);
    if fill_fork(record, child, tag).is_none() {
        ticket.discard(entry);
        return None;
    }
    ticket.submit(entry);
    Some(())
}

#[inline(always)]
fn fill_fork(record: &mut ForkRecord, child: Task<Typed>, tag: u32) -> Option<()> {
    current::fill(&mut record.actor)?;
    let parent = child.real_parent()?;
    record.child_start_boot_ns = child.start_boot_ns()?;
    record.parent_start_boot_ns = parent.group_leader()?.start_boot_ns()?;
    record.child_tgid = child.tgid()?;
    record.parent_tgid = parent.tgid()?;
    record.child_namespaced_pid = child.namespaced_pid().unwrap_or(0);
    record.tag = tag;
    Some(())
}

/// The last thread of a process ends: `sched_process_exit(task)`, in that thread, its credentials still in place.
#[btf_tracepoint(function = "sched_process_exit")]
pub fn process_exit(ctx: BtfTracePointContext) -> i32 {
    let task = Task::<Typed>::from_raw(ctx.arg::<u64>(0));
    if task.live_threads() == Some(0) {
        if is_served(task) {
            let _ = try_exit(task);
        }
        if let Some(tgid) = task.tgid() {
            tag::remove(tgid);
            current::ended(tgid);
        }
    }
    0
}

/// Whether this generation tells of what a process does that runs now. The agent's own life is told too.
#[inline(always)]
fn is_served(task: Task<Typed>) -> bool {
    task.tgid().is_none_or(generation::serves)
}

#[inline(always)]
fn try_exit(task: Task<Typed>) -> Option<()> {
    let ticket = emit::attempt(Family::Process, Ring::Process)?;
    let mut entry = ticket.reserve::<ExitRecord>()?;
    // SAFETY: as in `try_fork`.
    let record = unsafe { &mut *entry.as_mut_ptr() };
    record.header = ticket.header(kind::EXIT, hook::SCHED_PROCESS_EXIT, size_of::<ExitRecord>() as u32);
    record.wait_status = task.exit_code().unwrap_or(0);
    record.reserved = 0;
    if current::fill_from(&mut record.actor, task).is_none() {
        ticket.discard(entry);
        return None;
    }
    ticket.submit(entry);
    Some(())
}

/// A process runs a new program: `sched_process_exec(task, old_pid, bprm)`, in it, after the point of no return: new
/// memory, new credentials, argv and environment on the new stack, their pages resident.
#[btf_tracepoint(function = "sched_process_exec")]
pub fn process_exec(ctx: BtfTracePointContext) -> i32 {
    let task = Task::<Typed>::from_raw(ctx.arg::<u64>(0));
    let parameters = BinaryParameters::<Typed>::from_raw(ctx.arg::<u64>(2));
    if is_served(task) {
        let _ = try_exec(task, parameters);
    }
    0
}

#[inline(always)]
fn try_exec(task: Task<Typed>, parameters: BinaryParameters<Typed>) -> Option<()> {
    let ticket = emit::attempt(Family::Process, Ring::Process)?;
    let Some(scratch) = maps::EXEC_SCRATCH.get_ptr_mut(0) else {
        ticket.lost(Counter::DroppedScratch);
        return None;
    };
    let scratch = scratch.cast::<u8>();
    // SAFETY: the scratch space is larger than the fixed part and aligned to 8.
    let record = unsafe { &mut *scratch.cast::<ExecRecord>() };
    let Some(end) = fill_exec(record, scratch, task, parameters) else {
        ticket.lost(Counter::DroppedRead);
        return None;
    };
    let length = (end & OFFSET_MASK) as u32;
    record.header = ticket.header(kind::EXEC, hook::SCHED_PROCESS_EXEC, length);
    // SAFETY: `length` is below the mask, and so below the scratch space's size.
    unsafe { ticket.output(scratch, length) };
    Some(())
}

#[inline(always)]
fn fill_exec(
    record: &mut ExecRecord,
    scratch: *mut u8,
    task: Task<Typed>,
    parameters: BinaryParameters<Typed>,
) -> Option<usize> {
    current::fill_from(&mut record.actor, task)?;
    let parent = task.real_parent()?;
    let file = parameters.file()?;
    let memory = task.memory()?;
    let mut flags = Flags::new(record);

    record.exe = file.inode()?.identity()?;
    record.parent_start_boot_ns = parent.group_leader()?.start_boot_ns()?;
    record.capabilities_permitted = task.cred()?.capabilities_permitted()?;
    record.parent_tgid = parent.tgid()?;
    record.namespaced_pid = task.namespaced_pid().unwrap_or(0);
    record.argc = parameters.argument_count().unwrap_or(0);
    record.stdio[0] = stdio(task, 0);
    record.stdio[1] = stdio(task, 1);
    record.stdio[2] = stdio(task, 2);
    record.reserved = 0;

    let start = size_of::<ExecRecord>();
    let argv = memory.arg_start()?;
    let wanted = memory.arg_end()?.wrapping_sub(argv);
    flags.add(record, wanted > ARGV_BYTES as u64, exec_flag::ARGV_TRUNCATED);
    let mut argv_length = bounded(wanted, ARGV_BYTES as u64);
    // SAFETY: at most ARGV_BYTES into the scratch space, from the fixed part's end.
    if unsafe { bpf_probe_read_user(scratch.add(start).cast(), argv_length as u32, argv as *const _) } != 0 {
        argv_length = 0;
        flags.add(record, true, exec_flag::ARGV_UNREADABLE);
    }
    record.argv_length = argv_length as u16;
    let mut end = start + argv_length as usize;

    let (mount, dentry) = task.working_directory()?;
    let written = path::write(scratch, end, mount, dentry);
    record.cwd_length = written.end.wrapping_sub(end) as u16;
    flags.add(record, written.truncated, exec_flag::CWD_TRUNCATED);
    end = written.end;

    let (mount, dentry) = file.place()?;
    let written = path::write(scratch, end, mount.raw(), dentry.raw());
    record.exe_length = written.end.wrapping_sub(end) as u16;
    flags.add(record, written.truncated, exec_flag::EXE_TRUNCATED);
    end = written.end;

    let written = path::write_cgroup(scratch, end);
    record.cgroup_length = written.end.wrapping_sub(end) as u16;
    flags.add(record, written.truncated, exec_flag::CGROUP_TRUNCATED);
    end = written.end;

    let filename = parameters.filename()?;
    let interpreter = parameters.interpreter()?;
    // The kernel lets both point at one string unless a script's interpreter took over.
    flags.add(record, filename != interpreter, exec_flag::SCRIPT);
    let next = write_string(scratch, end, filename);
    record.filename_length = next.wrapping_sub(end) as u16;
    end = next;
    let next = write_string(scratch, end, interpreter);
    record.interp_length = next.wrapping_sub(end) as u16;
    end = next;

    flags.finish(record);
    let mut context = Scratch(scratch);
    let walk = context.walk();
    state!(walk.at = memory.env_start()?);
    state!(walk.until = memory.env_end()?);
    state!(walk.start = end as u64);
    state!(walk.end = end as u64);
    state!(walk.continues = 0);
    state!(walk.flags = exec_flag::ENVIRONMENT_TRUNCATED);
    kernel::repeat_variables(ENVIRONMENT_CHUNKS, next_variable, &raw mut context);
    record.flags |= state!(walk.flags);
    let end = state!(walk.end);
    record.markers_length = end.wrapping_sub(state!(walk.start)) as u16;
    Some(end as usize)
}

/// The flags of a record under way.
struct Flags(u32);

impl Flags {
    #[inline(always)]
    fn new(record: &mut ExecRecord) -> Self {
        if !kernel::LOADS {
            state!(record.flags = 0);
        }
        Self(0)
    }

    /// Sets one. Older verifiers follow each number that is known apart, and so every set of flags: there they are kept in
    /// map memory, of which they know nothing.
    #[inline(always)]
    fn add(&mut self, record: &mut ExecRecord, holds: bool, flag: u32) {
        if kernel::LOADS {
            self.0 |= if holds { flag } else { 0 };
        } else if holds {
            let flags = state!(record.flags) | flag;
            state!(record.flags = flags);
        }
    }

    #[inline(always)]
    fn finish(self, record: &mut ExecRecord) {
        if kernel::LOADS {
            record.flags = self.0;
        }
    }
}

/// At most `most`, and known to be: the verifier of 6.1 forgets the bounds of a number that the compiler has spilled, so
/// they are put on again behind a place where the compiler forgets them too.
#[inline(always)]
fn bounded(length: u64, most: u64) -> u64 {
    let length = if length > most { most } else { length };
    core::hint::black_box(length) & (2 * most.next_power_of_two() - 1)
}

/// Writes a kernel string without its NUL at `scratch + at`; the offset behind it.
#[inline(always)]
fn write_string(scratch: *mut u8, at: usize, string: u64) -> usize {
    let at = at & OFFSET_MASK;
    // SAFETY: offset and length stay below the scratch space's size.
    let read = unsafe {
        bpf_probe_read_kernel_str(scratch.add(at).cast(), EXEC_NAME_BYTES as u32, string as *const _)
    };
    if read <= 1 || read > EXEC_NAME_BYTES as i64 { at } else { at + read as usize - 1 }
}

#[inline(always)]
fn stdio(task: Task<Typed>, descriptor: u32) -> StdioIdentity {
    try_stdio(task, descriptor).unwrap_or(StdioIdentity {
        key: agent_common::keys::InodeKey { inode: 0, device: 0, reserved: 0 },
        mode: 0,
        reserved: 0,
    })
}

#[inline(always)]
fn try_stdio(task: Task<Typed>, descriptor: u32) -> Option<StdioIdentity> {
    let inode = task.file(descriptor)?.inode()?;
    Some(StdioIdentity { key: inode.key()?, mode: u32::from(inode.mode()?), reserved: 0 })
}

/// Where the walk over the environment is.
#[repr(C)]
struct MarkerWalk {
    at: u64,
    until: u64,
    start: u64,
    end: u64,
    /// Whether the next chunk continues a variable that did not fit.
    continues: u64,
    /// Flags for the record; `ENVIRONMENT_TRUNCATED` until the end was reached.
    flags: u32,
    reserved: u32,
}

/// All that a step is handed: `bpf_loop` takes a pointer to the stack alone, and what is kept there the verifier follows
/// from step to step, each possible value apart. So the state is in map memory.
pub struct Scratch(*mut u8);

impl Scratch {
    /// With the walk that is kept in this scratch space.
    #[allow(dead_code, reason = "made anew by kernel_5_10 alone")]
    #[inline(always)]
    pub const fn new(scratch: *mut u8) -> Self {
        Self(scratch)
    }

    #[inline(always)]
    fn walk<'a>(&mut self) -> &'a mut MarkerWalk {
        // SAFETY: the place is within the scratch space, aligned, and apart from all else there.
        unsafe { &mut *self.0.add(MARKER_WALK_AT).cast() }
    }
}

/// Bytes of one chunk: a marker's name, `=`, a kept value, NUL.
const CHUNK: usize = MARKER_NAME_BYTES + MARKER_VALUE_BYTES;
/// Where chunks are read to, behind everything that a record can hold.
const CHUNK_AT: usize = 24_576;

/// Where names are taken apart, behind the chunk.
const NAME_AT: usize = CHUNK_AT + 256;
/// Where the walk over the environment keeps its state, behind that.
const MARKER_WALK_AT: usize = CHUNK_AT + 512;

/// Takes the name out of `NAME=VALUE`. All its state lives in map memory, of which the verifier remembers nothing: else
/// it would follow every combination of lengths apart, and run out of patience.
#[repr(C)]
struct NameParser {
    key: MarkerName,
    done: u32,
    length: u32,
    prefix_length: u32,
}

impl NameParser {
    /// # Safety
    /// `place` must be aligned scratch space of this size.
    #[inline(always)]
    unsafe fn at<'a>(place: *mut Self) -> &'a mut Self {
        // SAFETY: any bytes are a parser.
        unsafe { &mut *place }
    }

    #[inline(always)]
    fn key(&self) -> &MarkerName {
        &self.key
    }

    #[inline(always)]
    fn length(&self) -> u32 {
        let length = state!(self.length);
        if length > MARKER_NAME_BYTES as u32 { MARKER_NAME_BYTES as u32 } else { length }
    }

    #[inline(always)]
    fn prefix_length(&self) -> u32 {
        state!(self.prefix_length)
    }

    #[inline(always)]
    fn parse(&mut self, chunk: *const u8) {
        state!(self.done = 0);
        state!(self.length = 0);
        state!(self.prefix_length = 0);
        for index in 0..MARKER_NAME_BYTES {
            // SAFETY: within the chunk.
            let byte = unsafe { chunk.add(index).read_volatile() };
            if byte == b'=' || byte == 0 {
                state!(self.done = 1);
            }
            if state!(self.done) != 0 {
                self.set(index, 0);
                continue;
            }
            self.set(index, byte);
            state!(self.length = index as u32 + 1);
            if byte == b'_' && state!(self.prefix_length) == 0 {
                state!(self.prefix_length = index as u32 + 1);
            }
        }
    }

    #[inline(always)]
    fn cut_to_prefix(&mut self) {
        for index in 0..MARKER_NAME_BYTES {
            if index as u32 >= state!(self.prefix_length) {
                self.set(index, 0);
            }
        }
    }

    #[inline(always)]
    fn set(&mut self, index: usize, byte: u8) {
        // SAFETY: the callers' loops stay below the array's length.
        unsafe { self.key.0.as_mut_ptr().add(index).write_volatile(byte) };
    }
}

/// Looks at one variable of the environment: only names of the catalogue are kept, values only of an allow-list.
/// Returns 1 to end the loop.
pub extern "C" fn next_variable(_index: u32, context: *mut Scratch) -> i64 {
    // SAFETY: whoever repeats it hands the context on that it was given.
    let context = unsafe { &mut *context };
    let scratch = context.0;
    let walk = context.walk();
    let at = state!(walk.at);
    if at >= state!(walk.until) {
        let flags = state!(walk.flags) & !exec_flag::ENVIRONMENT_TRUNCATED;
        state!(walk.flags = flags);
        return 1;
    }
    // SAFETY: the chunk's place is within the scratch space.
    let chunk = unsafe { scratch.add(CHUNK_AT) };
    // SAFETY: as above; the helper checks the user address.
    let read = unsafe { bpf_probe_read_user_str(chunk.cast(), CHUNK as u32, at as *const _) };
    if read <= 0 || read > CHUNK as i64 {
        return 1;
    }
    let continued = state!(walk.continues) != 0;
    // A full chunk is one that was cut: its last byte is the helper's NUL, not the variable's.
    let cut = u64::from(read == CHUNK as i64);
    state!(walk.continues = cut);
    state!(walk.at = at + read as u64 - cut);
    if continued {
        return 0;
    }

    // SAFETY: the parser's place is within the scratch space, aligned, and apart from the chunk.
    let name = unsafe { NameParser::at(scratch.add(NAME_AT).cast()) };
    name.parse(chunk);
    // SAFETY: the value is copied at once.
    let mut kept = unsafe { maps::MARKER_NAMES.get(name.key()) }.copied();
    if kept.is_none() && name.prefix_length() != 0 {
        name.cut_to_prefix();
        // SAFETY: the value is copied at once.
        kept = unsafe { maps::MARKER_NAMES.get(name.key()) }.copied();
    }
    let length = name.length();
    let Some(kept) = kept else { return 0 };
    if kept & MARKER_PRELOAD != 0 {
        let flags = state!(walk.flags) | exec_flag::PRELOAD;
        state!(walk.flags = flags);
    }
    let end = state!(walk.end);
    if end.wrapping_sub(state!(walk.start)) > (MARKER_BYTES - CHUNK - 1) as u64 {
        // The flag was set at the beginning, and stays.
        return 1;
    }
    let bytes = if kept & MARKER_WITH_VALUE != 0 { read as usize - 1 } else { length as usize };
    let bytes = bounded(bytes as u64, CHUNK as u64) as usize;
    let at = end as usize & OFFSET_MASK;
    // SAFETY: offset and length stay below the scratch space's size.
    unsafe {
        if bpf_probe_read_kernel(scratch.add(at).cast(), bytes as u32, chunk.cast_const().cast()) != 0 {
            return 0;
        }
        *scratch.add((at + bytes) & 0x7fff) = 0;
    }
    state!(walk.end = (at + bytes + 1) as u64);
    0
}
