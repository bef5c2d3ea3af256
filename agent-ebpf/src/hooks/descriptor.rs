//! Descriptors of credentials that a process has not opened itself: received in a message or installed by a supervisor,
//! taken from another process, inherited through exec, or held since before the agent.
//!
//! Received and taken: `security_file_receive`, which everything asks that puts a foreign file into a table of
//! descriptors; without trampolines the exit of `recvmsg`, `recvmmsg` and `pidfd_getfd`. Inherited: a walk over the table
//! when a process has become another program, with what closes on exec closed. Held: `iter/task_file` (since 5.8), which
//! shows every descriptor of every process; its neighbour, /proc/PID/fd, would have to be asked for each, and each file
//! be looked up by what its link claims.

use agent_common::counters::{Counter, Family};
use agent_common::limits::{DESCRIPTOR_STEPS, MESSAGE_STEPS};
use agent_common::records::{Actor, FileRecord, acquired, file_flag, hook, kind};
use agent_common::rings::Ring;
use aya_ebpf::helpers::bpf_probe_read_user;
use aya_ebpf::macros::{btf_tracepoint, fexit};
use aya_ebpf::programs::{BtfTracePointContext, FExitContext};

use super::number;
use crate::kernel::{self, once};
use crate::kstruct::{
    DESCRIPTORS_A_WORD, Descriptors, File, Inode, Opened, Probed, S_IFMT, S_IFREG, Task, Typed,
    second_argument, syscall_number,
};
use crate::path::{self, OFFSET_MASK, Place};
use crate::{budget, current, emit, maps, verdict};

/// `O_PATH` descriptors give no bytes.
const FMODE_PATH: u32 = 1 << 14;

/// Places of [`maps::FILE_SCRATCH`].
mod place {
    pub const SYS_EXIT: u32 = 0;
    pub const RECEIVED: u32 = 1;
    pub const EXEC: u32 = 2;
    pub const HELD: u32 = 3;
}

/// How a descriptor came, and who says so.
#[derive(Clone, Copy)]
struct Way {
    how: u16,
    hook: u16,
    place: u32,
}

/// A file that may be a credential.
#[derive(Clone, Copy)]
struct Candidate {
    file: File<Probed>,
    inode: Inode<Probed>,
    mount: u64,
    dentry: u64,
    flags: u32,
}

/// `security_file_receive(file)` has returned.
#[fexit(function = "security_file_receive")]
pub fn file_received(ctx: FExitContext) -> i32 {
    if ctx.arg::<i32>(1) == 0 {
        let registers = Task::<Typed>::current().registers();
        let is_taken = registers.and_then(syscall_number) == Some(number::PIDFD_GETFD);
        let how = if is_taken { acquired::TAKEN } else { acquired::RECEIVED };
        let _ = received(File::from_raw(ctx.arg::<u64>(0)), how);
    }
    0
}

#[inline(always)]
fn received(file: File<Probed>, how: u16) -> Option<()> {
    let candidate = candidate(file)?;
    tell_own(candidate, Way { how, hook: hook::FEXIT_FILE_RECEIVE, place: place::RECEIVED })
}

/// `sched_process_exec(task, old_pid, bprm)`.
#[btf_tracepoint(function = "sched_process_exec")]
pub fn exec_inherits(_ctx: BtfTracePointContext) -> i32 {
    if Task::<Typed>::current().tgid().is_some_and(current::is_passed_over) {
        return 0;
    }
    let Some(descriptors) = Task::<Typed>::current().descriptors() else { return 0 };
    let Some(scan) = maps::DESCRIPTOR_SCAN.get_ptr_mut(0) else { return 0 };
    // SAFETY: the map's memory outlives the program, and exec runs it with preemption off.
    unsafe { scan.write_volatile(Scan { descriptors, open: 0, word: 0, last: 0 }) };
    let mut context = ScanAt(scan);
    let steps = kernel::repeat_descriptors(DESCRIPTOR_STEPS, next_open, &raw mut context);
    count_rest(steps, DESCRIPTOR_STEPS);
    0
}

/// Counts a loss where a walk came to its bound: what lies beyond was not looked at, and there may be something.
#[inline(always)]
fn count_rest(steps: i64, bound: u32) {
    if steps >= i64::from(bound) {
        emit::count(Family::File, Counter::Attempted);
        emit::count(Family::File, Counter::DroppedRead);
    }
}

/// A walk over a table of descriptors. It lives in map memory, of which the verifier remembers nothing: see `path::Walk`.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Scan {
    descriptors: Descriptors,
    /// Those of the word before `word` that were not looked at yet.
    open: u64,
    word: u64,
    /// The inode that was told last: standard output and error are often one file.
    last: u64,
}

/// All that a step is handed: `bpf_loop` takes a pointer to the stack alone.
pub struct ScanAt(*mut Scan);

impl ScanAt {
    /// With the walk that is kept there.
    #[allow(dead_code, reason = "made anew by kernel_5_10 alone")]
    #[inline(always)]
    pub const fn new(scan: *mut Scan) -> Self {
        Self(scan)
    }
}

/// One descriptor, or one word of the table; 1 ends the loop.
pub extern "C" fn next_open(_index: u32, context: *mut ScanAt) -> i64 {
    // SAFETY: whoever repeats it hands the context on that it was given.
    let at = unsafe { (*context).0 };
    // SAFETY: the walk lives in map memory.
    let Scan { descriptors, open, word, last } = unsafe { at.read_volatile() };
    let set_open = |open: u64, word: u64| {
        // SAFETY: as above.
        unsafe {
            (&raw mut (*at).open).write_volatile(open);
            (&raw mut (*at).word).write_volatile(word);
        }
    };
    if open == 0 {
        let Some(open) = descriptors.open(word as u32) else { return 1 };
        set_open(open, word + 1);
        return 0;
    }
    let lowest = open & open.wrapping_neg();
    set_open(open ^ lowest, word);
    let descriptor = (word as u32).wrapping_sub(1) * DESCRIPTORS_A_WORD + lowest.trailing_zeros();
    if let Some(inode) = descriptors.file(descriptor).and_then(|file| inherited(file, last)) {
        // SAFETY: as above.
        unsafe { (&raw mut (*at).last).write_volatile(inode) };
    }
    0
}

/// Tells of a descriptor that stays open; its inode, where that was told now.
#[inline(always)]
fn inherited(file: File<Probed>, last: u64) -> Option<u64> {
    let candidate = candidate(file)?;
    let inode = candidate.inode.raw();
    if inode == last {
        return None;
    }
    let way = Way { how: acquired::INHERITED, hook: hook::SCHED_PROCESS_EXEC, place: place::EXEC };
    let _ = tell_own(candidate, way);
    Some(inode)
}

/// `struct bpf_iter__task_file`.
#[repr(C)]
pub struct OpenFile {
    meta: u64,
    /// `struct task_struct`.
    pub task: u64,
    descriptor: u32,
    /// `struct file`.
    pub file: u64,
}

/// A descriptor of a task; once more with neither at the end of the walk.
#[unsafe(no_mangle)]
#[unsafe(link_section = "iter/task_file")]
pub extern "C" fn held(ctx: *const OpenFile) -> i32 {
    // SAFETY: the context is valid while the program runs.
    let (task, file) = unsafe { ((*ctx).task, (*ctx).file) };
    if task != 0 && file != 0 {
        let _ = tell_held(Task::from_raw(task), File::from_raw(file));
    }
    0
}

/// The agent is who runs now: neither its budget nor its root directory is meant.
#[inline(always)]
fn tell_held(task: Task<Typed>, file: File<Probed>) -> Option<()> {
    let candidate = candidate(file)?;
    if current::is_passed_over(task.tgid()?) {
        return None;
    }
    let way = Way { how: acquired::HELD, hook: hook::FILE_ITERATOR, place: place::HELD };
    tell(candidate, way, Ring::Credential, Place::root_of(task), |actor| current::fill_other(actor, task))
}

/// `recvmsg` or `recvmmsg` has returned, where no trampoline sees it. What was received is read from the memory of the
/// process: another of its threads may have changed that already.
#[inline(never)]
pub fn messages_returned(registers: u64, count: u32) -> Option<()> {
    let zero = maps::CONTROL.get(0).map_or(0, |control| control.reserved);
    let mut messages = Messages {
        next: second_argument(registers)?,
        left: zero + count,
        descriptors: zero,
        at: u64::from(zero),
        end: u64::from(zero),
    };
    // Most messages bring none: a look at the first costs less than a loop.
    if count == 1 && !messages.open()? {
        return None;
    }
    let steps = kernel::repeat(MESSAGE_STEPS, next_received, &raw mut messages);
    count_rest(steps, MESSAGE_STEPS);
    Some(())
}

/// A walk over control messages.
struct Messages {
    /// `struct mmsghdr` of the next message, in the memory of the process.
    next: u64,
    /// Messages from there on.
    left: u32,
    /// Descriptors that follow at `at`.
    descriptors: u32,
    /// Where in the control messages it has come to.
    at: u64,
    /// Where they end.
    end: u64,
}

impl Messages {
    /// `sizeof(struct mmsghdr)`.
    const BYTES: u64 = 64;
    /// `offsetof(struct msghdr, msg_control)`; its length follows.
    const CONTROL: u64 = 32;
    /// `sizeof(struct cmsghdr)`.
    const HEAD: u64 = 16;
    const SOL_SOCKET: i32 = 1;
    const SCM_RIGHTS: i32 = 1;
    /// `SCM_MAX_FD`.
    const MOST: u64 = 253;

    /// Goes on with the next message; whether it has control messages.
    #[inline(always)]
    fn open(&mut self) -> Option<bool> {
        // SAFETY: the helper checks the address and reports a fault.
        let [control, length]: [u64; 2] =
            unsafe { bpf_probe_read_user((self.next + Self::CONTROL) as *const _).ok()? };
        self.next += Self::BYTES;
        self.left -= 1;
        self.at = control;
        self.end = control.wrapping_add(length);
        Some(length > Self::HEAD)
    }

    /// One step; `None` at the end.
    #[inline(always)]
    fn step(&mut self) -> Option<()> {
        if self.descriptors > 0 {
            // SAFETY: as in `open`.
            let descriptor: u32 = unsafe { bpf_probe_read_user(self.at as *const _).ok()? };
            self.at += 4;
            self.descriptors -= 1;
            descriptor_received(u64::from(descriptor));
            return Some(());
        }
        self.at = self.at.wrapping_add(7) & !7;
        if self.at.wrapping_add(Self::HEAD) > self.end {
            if self.left == 0 {
                return None;
            }
            return self.open().map(|_| ());
        }
        // SAFETY: as in `open`.
        let (length, level_and_type): (u64, [i32; 2]) = unsafe {
            (
                bpf_probe_read_user(self.at as *const _).ok()?,
                bpf_probe_read_user((self.at + 8) as *const _).ok()?,
            )
        };
        if length < Self::HEAD {
            self.at = self.end;
            return Some(());
        }
        if level_and_type != [Self::SOL_SOCKET, Self::SCM_RIGHTS] {
            self.at = self.at.wrapping_add(length);
            return Some(());
        }
        let count = (length - Self::HEAD) / 4;
        self.descriptors = if count > Self::MOST { Self::MOST as u32 } else { count as u32 };
        self.at += Self::HEAD;
        Some(())
    }
}

/// One descriptor, control message or message; 1 ends the loop.
extern "C" fn next_received(_index: u32, context: *mut Messages) -> i64 {
    // SAFETY: whoever repeats it hands the context on that it was given.
    let messages = unsafe { &mut *context };
    messages.step().is_none().into()
}

once! { fn descriptor_received(descriptor: u64) = descriptor_returned(descriptor as u32, acquired::RECEIVED) }

/// A call has given the running process a descriptor, where no trampoline sees it.
#[inline(never)]
pub fn descriptor_returned(descriptor: u32, how: u16) -> Option<()> {
    let candidate = candidate(Task::<Typed>::current().file(descriptor)?)?;
    tell_own(candidate, Way { how, hook: hook::SYS_EXIT, place: place::SYS_EXIT })
}

/// A file that was opened may be a credential, where no trampoline sees it.
#[inline(never)]
pub fn opened(file: File<Probed>, opened: &Opened, flags: u32) -> Option<()> {
    let Opened { inode, mount, dentry, .. } = *opened;
    let candidate = Candidate { file, inode, mount: mount.raw(), dentry: dentry.raw(), flags };
    tell_own(candidate, Way { how: acquired::OPENED, hook: hook::SYS_EXIT, place: place::SYS_EXIT })
}

/// Judges the file behind a descriptor. Most are no regular files, which is seen first.
#[inline(always)]
fn candidate(file: File<Probed>) -> Option<Candidate> {
    if file.inode()?.mode()? & S_IFMT != S_IFREG {
        return None;
    }
    let Opened { mode, inode, key, mount, dentry, .. } = file.opened()?;
    if mode & FMODE_PATH != 0 {
        return None;
    }
    let flags = verdict::judge(Some(key), mount, dentry);
    if flags == 0 {
        return None;
    }
    Some(Candidate { file, inode, mount: mount.raw(), dentry: dentry.raw(), flags })
}

/// The running process has it now. A function of its own, as all that needs much of the stack.
#[inline(never)]
fn tell_own(candidate: Candidate, way: Way) -> Option<()> {
    if Task::<Typed>::current().tgid().is_some_and(current::is_passed_over) {
        return None;
    }
    tell(candidate, way, budget::ring(Ring::Credential), Place::process_root(), current::fill)
}

#[inline(always)]
fn tell(
    candidate: Candidate,
    Way { how, hook, place }: Way,
    ring: Ring,
    root: Place,
    who: impl FnOnce(&mut Actor) -> Option<()>,
) -> Option<()> {
    let ticket = emit::attempt(Family::File, ring)?;
    let Some(scratch) = maps::FILE_SCRATCH.get_ptr_mut(place) else {
        ticket.lost(Counter::DroppedScratch);
        return None;
    };
    let scratch = scratch.cast::<u8>();
    // SAFETY: the scratch space is larger than the fixed part and aligned to 8.
    let record = unsafe { &mut *scratch.cast::<FileRecord>() };
    if who(&mut record.actor).is_none() || fill(record, candidate).is_none() {
        ticket.lost(Counter::DroppedRead);
        return None;
    }
    let start = size_of::<FileRecord>();
    let written = path::write_from(scratch, start, candidate.mount, candidate.dentry, root);
    record.flags = candidate.flags
        | file_flag::PATH_REVERSED
        | if written.truncated { file_flag::PATH_TRUNCATED } else { 0 };
    record.how = how;
    record.path_length = written.end.wrapping_sub(start) as u16;
    let length = (written.end & OFFSET_MASK) as u32;
    record.header = ticket.header(kind::FILE_OPEN, hook, length);
    // SAFETY: `length` is below the mask, and so below the scratch space's size.
    unsafe { ticket.output(scratch, length) };
    Some(())
}

#[inline(always)]
fn fill(record: &mut FileRecord, Candidate { file, inode, .. }: Candidate) -> Option<()> {
    record.file = inode.identity()?;
    record.open_flags = file.flags()?;
    record.access_mode = file.mode()? & 3;
    Some(())
}
