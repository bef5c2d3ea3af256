//! What the programs ask of the kernel that not every kernel has, for those from 5.10 on that lack some of it: the
//! additions that give back what was there (5.12), `bpf_get_current_task_btf`, socket storage in tracing programs (5.11),
//! `bpf_task_pt_regs` (5.15), `bpf_loop` (5.17).

use core::ptr::read_volatile;

use agent_common::counters::CpuState;
use agent_common::limits::{EXEC_SCRATCH_BYTES, PATH_BYTES, SOCKETS_5_10};
use agent_common::nesting::{self, Cells, LEVELS, Nested, Number};
use agent_common::offsets::{EntryRegisters, POISON};
use agent_common::rings::Ring;
use aya_ebpf::bindings::bpf_sock;
use aya_ebpf::helpers::generated::{bpf_get_current_task, bpf_get_socket_cookie, bpf_probe_read_kernel};
use aya_ebpf::macros::map;
use aya_ebpf::maps::{LruHashMap, PerCpuArray};
use aya_ebpf::programs::{SkBuffContext, SockAddrContext};

use crate::hooks::{ScanAt, environment, next_open};
use crate::kstruct::{Access, Probed, Sock, Typed, renamed_dentry};
use crate::maps::{self, SocketState};
use crate::path::{self, OFFSET_MASK};
use crate::verdict::{self, Look};

/// The running task is a number here, and what it leads to is probed: so everything is.
pub const LOADS: bool = false;
/// Each depth of interruption counts for itself.
pub const COUNTS_LEVELS: bool = true;

/// Where a task's registers are on its stack.
#[unsafe(no_mangle)]
static ENTRY_REGISTERS: EntryRegisters = EntryRegisters::POISONED;

/// One [`Nested`] a CPU.
#[map]
static NESTED: PerCpuArray<Nested> = PerCpuArray::with_max_entries(1, 0);

/// What is remembered of sockets, by their cookies: tracing programs cannot reach their storage. The longest unused go
/// where there are too many.
#[map]
static SOCKET_STATES: LruHashMap<u64, SocketState> = LruHashMap::with_max_entries(SOCKETS_5_10, 0);

/// What a socket begins with: too large for the stack. Never written.
#[map]
static NO_STATE: PerCpuArray<SocketState> = PerCpuArray::with_max_entries(1, 0);

/// What the sockets themselves keep: nothing, but that they are remembered.
pub type Stored = u64;

/// Whether functions that judge files are handed the mount's user namespace besides: since 5.12, when renames got it too.
#[inline(always)]
pub fn hands_namespace() -> bool {
    /// Of `renamedata` with it.
    const OLD_DENTRY: usize = 16;
    renamed_dentry().is_some_and(|at| at >= OLD_DENTRY)
}

/// What was read where [`hands_namespace`] holds, hidden from the compiler: it would choose the pointer instead, and read
/// once, and no verifier lets a context be read through a pointer that was chosen.
#[inline(always)]
pub fn apart<T>(value: T) -> T {
    core::hint::black_box(value)
}

/// A function that is called for what it does: `once! { fn name(a: u64) = body }`. Here it can be called from outside,
/// and is handed numbers alone: so the verifier looks at it once, and not again for each state that its caller may be in
/// (since 5.6).
macro_rules! once {
    ($(#[$doc:meta])* fn $name:ident($($argument:ident: $type:ty),*) = $body:expr) => {
        $(#[$doc])*
        #[unsafe(no_mangle)]
        #[inline(never)]
        extern "C" fn $name($($argument: $type),*) -> i64 {
            let _ = $body;
            0
        }
    };
}
pub(crate) use once;

/// Where [`number`] makes numbers.
#[map]
static NUMBER: PerCpuArray<u64> = PerCpuArray::with_max_entries(1, 0);

/// What `once!` functions can be handed: of what was written to a map and read again, the verifier knows no type.
#[inline(always)]
pub fn number(pointer: u64) -> u64 {
    let Some(at) = NUMBER.get_ptr_mut(0) else { return 0 };
    // SAFETY: in a map.
    unsafe {
        at.write_volatile(pointer);
        at.read_volatile()
    }
}

/// The running task.
#[inline(always)]
pub fn current() -> u64 {
    // SAFETY: no arguments.
    unsafe { bpf_get_current_task() }
}

/// The registers with which a task entered the kernel: at the end of its stack.
#[inline(always)]
pub fn registers(task: u64) -> Option<u64> {
    // SAFETY: a reference is valid; volatile, because userspace rewrites the static before load.
    let EntryRegisters { task_stack, from_stack } = unsafe { read_volatile(&raw const ENTRY_REGISTERS) };
    if task_stack == POISON || from_stack == POISON {
        return None;
    }
    // SAFETY: probed.
    let stack: u64 = unsafe { Probed::load(task, task_stack as usize)? };
    Some(stack + u64::from(from_stack))
}

/// More than this the verifier has no patience for.
const MOST_STEPS: u32 = 64;

/// Takes steps until one returns 1; how many were taken, or all that were asked for where none did: fewer may have been
/// taken then. The verifier looks at each step.
#[inline(always)]
pub fn repeat<Context>(
    steps: u32,
    step: extern "C" fn(u32, *mut Context) -> i64,
    context: *mut Context,
) -> i64 {
    let most = if steps > MOST_STEPS { MOST_STEPS } else { steps };
    for index in 0..most {
        if step(index, context) != 0 {
            return i64::from(index) + 1;
        }
    }
    i64::from(steps)
}

/// Looks at a variable of the environment. A function that can be called from outside and is handed nothing is
/// looked at by the verifier once, whoever calls it how often (since 5.6).
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn variable_step() -> i64 {
    let Some(scratch) = maps::EXEC_SCRATCH.get_ptr_mut(0) else { return 1 };
    let mut context = environment::Scratch::new(scratch.cast());
    environment::next_variable(0, &raw mut context)
}

/// [`repeat`] over the variables of an environment.
#[inline(always)]
pub fn repeat_variables(
    steps: u32,
    _step: extern "C" fn(u32, *mut environment::Scratch) -> i64,
    _context: *mut environment::Scratch,
) {
    for _ in 0..steps {
        if variable_step() != 0 {
            break;
        }
    }
}

/// Descriptors that are looked at in one go: the verifier keeps at most 8,192 branches in mind.
const DESCRIPTORS_AT_ONCE: u32 = 128;

/// Looks at a descriptor, as [`variable_step`] does at a variable.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn descriptor_step() -> i64 {
    let Some(scan) = maps::DESCRIPTOR_SCAN.get_ptr_mut(0) else { return 1 };
    let mut context = ScanAt::new(scan);
    next_open(0, &raw mut context)
}

/// Looks at some descriptors.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn descriptor_steps() -> i64 {
    for _ in 0..DESCRIPTORS_AT_ONCE {
        if descriptor_step() != 0 {
            return 1;
        }
    }
    0
}

/// [`repeat`] over a table of descriptors; how many steps were taken, or fewer.
#[inline(always)]
pub fn repeat_descriptors(
    steps: u32,
    _step: extern "C" fn(u32, *mut ScanAt) -> i64,
    _context: *mut ScanAt,
) -> i64 {
    for _ in 0..steps / DESCRIPTORS_AT_ONCE {
        if descriptor_steps() != 0 {
            return 0;
        }
    }
    i64::from(steps)
}

/// Where paths are walked: one walk is under way on a CPU, for only tasks walk, and none is preempted meanwhile.
#[map]
static WALK: PerCpuArray<[u8; EXEC_SCRATCH_BYTES]> = PerCpuArray::with_max_entries(1, 0);

/// Where names are looked at, likewise.
#[map]
static LOOK: PerCpuArray<Look> = PerCpuArray::with_max_entries(1, 0);

/// Goes a step of a path, as [`variable_step`] does of an environment.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn path_step() -> i64 {
    let Some(room) = WALK.get_ptr_mut(0) else { return 1 };
    let mut context = path::Scratch::new(room.cast());
    path::step(0, &raw mut context)
}

/// [`repeat`] over a path.
#[inline(always)]
pub fn repeat_path(
    steps: u32,
    _step: extern "C" fn(u32, *mut path::Scratch) -> i64,
    _context: *mut path::Scratch,
) {
    for _ in 0..steps {
        if path_step() != 0 {
            break;
        }
    }
}

/// Goes a step of a cgroup's path.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn cgroup_step() -> i64 {
    let Some(room) = WALK.get_ptr_mut(0) else { return 1 };
    let mut context = path::Scratch::new(room.cast());
    path::step_cgroup(0, &raw mut context)
}

/// [`repeat`] over the path of a cgroup.
#[inline(always)]
pub fn repeat_cgroup(
    steps: u32,
    _step: extern "C" fn(u32, *mut path::Scratch) -> i64,
    _context: *mut path::Scratch,
) {
    for _ in 0..steps {
        if cgroup_step() != 0 {
            break;
        }
    }
}

/// Looks at a name.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn name_step() -> i64 {
    let Some(look) = LOOK.get_ptr_mut(0) else { return 1 };
    verdict::look_up(0, look)
}

/// [`repeat`] over the names of a file.
#[inline(always)]
pub fn repeat_names(steps: u32, _step: extern "C" fn(u32, *mut Look) -> i64, context: *mut Look) {
    let Some(look) = LOOK.get_ptr_mut(0) else { return };
    // SAFETY: the one is the caller's, the other in a map.
    unsafe { (*context).copy_to(look) };
    for _ in 0..steps {
        if name_step() != 0 {
            break;
        }
    }
    // SAFETY: as above.
    unsafe { (*context).candidate = (&raw const (*look).candidate).read_volatile() };
}

/// Where a walk writes that is to write at `start` of `scratch`: in a room of its own, which a step finds by itself.
#[inline(always)]
pub fn walk_room(_scratch: *mut u8, _start: usize) -> Option<(*mut u8, usize)> {
    Some((WALK.get_ptr_mut(0)?.cast(), 0))
}

/// Brings what a walk wrote up to `end` to where it belongs; where that ends.
#[inline(always)]
pub fn walked(scratch: *mut u8, start: usize, room: *mut u8, end: usize) -> usize {
    let length = if end > PATH_BYTES { PATH_BYTES } else { end };
    // The verifier forgets the bounds of numbers that the compiler has spilled: they are put on again.
    let length = core::hint::black_box(length) & (2 * PATH_BYTES - 1);
    let at = core::hint::black_box(start) & OFFSET_MASK;
    // SAFETY: the room is larger than a path, and the scratch space than both together.
    let failed =
        unsafe { bpf_probe_read_kernel(scratch.add(at).cast(), length as u32, room.cast_const().cast()) };
    if failed != 0 { at } else { at + length }
}

/// The numbers of one ring on this CPU.
struct OfCpu {
    nested: *mut Nested,
    ring: usize,
}

impl OfCpu {
    /// The next number at a depth.
    #[inline(always)]
    fn cell(&self, level: u64) -> *mut u64 {
        // SAFETY: `level` is below the number of depths, as whoever asks has seen.
        unsafe {
            // The verifier forgets the bounds of a number that the compiler has spilled: they are put on again.
            let level = core::hint::black_box(level) & (LEVELS - 1);
            let at = level as usize * Ring::ALL.len() + self.ring;
            (&raw mut (*self.nested).sequence).cast::<u64>().add(at)
        }
    }
}

impl Cells for OfCpu {
    #[inline(always)]
    fn depth(&mut self) -> u64 {
        // SAFETY: in a map.
        unsafe { (&raw const (*self.nested).depth).read_volatile() }
    }

    #[inline(always)]
    fn set_depth(&mut self, depth: u64) {
        // SAFETY: in a map.
        unsafe { (&raw mut (*self.nested).depth).write_volatile(depth) }
    }

    #[inline(always)]
    fn next(&mut self, level: u64) -> u64 {
        // SAFETY: in a map.
        unsafe { self.cell(level).read_volatile() }
    }

    #[inline(always)]
    fn set_next(&mut self, level: u64, next: u64) {
        // SAFETY: in a map.
        unsafe { self.cell(level).write_volatile(next) }
    }
}

/// Takes the next number of a ring.
///
/// # Safety
/// The programs of a CPU must interrupt each other from outside in: see [`nesting`].
#[inline(always)]
pub unsafe fn take_number(_state: *mut CpuState, ring: Ring) -> Option<Number> {
    let nested = NESTED.get_ptr_mut(0)?;
    nesting::take(&mut OfCpu { nested, ring: ring as usize })
}

/// What is remembered of the socket of that cookie. A socket that was never asked for its cookie has 0.
#[inline(always)]
fn by_cookie<'a>(cookie: u64) -> Option<&'a mut SocketState> {
    // SAFETY: an entry that is evicted while it is used is used for another socket at worst once its cookie is gone.
    unsafe { SOCKET_STATES.get_ptr_mut(cookie)?.as_mut() }
}

#[inline(always)]
fn by_cookie_or_new<'a>(cookie: u64) -> Option<&'a mut SocketState> {
    if cookie == 0 {
        return None;
    }
    if let Some(state) = by_cookie(cookie) {
        return Some(state);
    }
    // SAFETY: it is never written.
    let nothing = unsafe { NO_STATE.get_ptr(0)?.as_ref()? };
    let _ = SOCKET_STATES.insert(cookie, nothing, 0);
    by_cookie(cookie)
}

/// What is remembered of a socket that is an argument.
#[inline(always)]
pub fn socket_state<'a>(sock: Sock<Typed>) -> Option<&'a mut SocketState> {
    by_cookie(sock.cookie()?)
}

/// The same, where nothing need be known of it yet.
#[inline(always)]
pub fn socket_state_or_new<'a>(sock: Sock<Typed>) -> Option<&'a mut SocketState> {
    by_cookie_or_new(sock.cookie()?)
}

/// The cookie of a socket that is an argument: such kernels give tracing programs none. So listeners are not told.
#[inline(always)]
pub fn cookie_of(_sock: Sock<Typed>) -> Option<u64> {
    None
}

/// What is remembered of a socket that a walk comes to.
#[inline(always)]
pub fn walked_socket_state<'a>(sock: Sock<Typed>, _stored: *mut Stored) -> Option<&'a mut SocketState> {
    socket_state(sock)
}

/// What is remembered of the socket that an address hook is asked about.
#[inline(always)]
pub fn asked_socket_state<'a>(ctx: &SockAddrContext) -> Option<&'a mut SocketState> {
    // SAFETY: the context is valid while the program runs.
    by_cookie(unsafe { bpf_get_socket_cookie(ctx.sock_addr.cast()) })
}

/// The same, where nothing need be known of it yet. The storage is for whoever walks over the sockets.
#[inline(always)]
pub fn asked_socket_state_or_new<'a>(ctx: &SockAddrContext) -> Option<&'a mut SocketState> {
    // SAFETY: the context is valid while the program runs.
    let cookie = unsafe {
        let _ = maps::SOCKETS.get_or_insert_ptr_mut(ctx, None);
        bpf_get_socket_cookie(ctx.sock_addr.cast())
    };
    by_cookie_or_new(cookie)
}

/// What is remembered of a packet's socket.
#[inline(always)]
pub fn packet_socket_state<'a>(ctx: &SkBuffContext, _socket: *mut bpf_sock) -> Option<&'a mut SocketState> {
    // SAFETY: the context is valid while the program runs.
    by_cookie(unsafe { bpf_get_socket_cookie(ctx.skb.skb.cast()) })
}
