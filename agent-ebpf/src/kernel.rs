//! What the programs ask of the kernel that not every kernel has: here as kernels since 5.17 give it. The object for
//! older ones has `kernel_5_10` in its place.

use core::ffi::c_void;
use core::intrinsics::{AtomicOrdering, atomic_xadd};

use agent_common::counters::CpuState;
use agent_common::nesting::Number;
use agent_common::rings::Ring;
use aya_ebpf::bindings::bpf_sock;
use aya_ebpf::helpers::bpf_get_current_task_btf;
use aya_ebpf::helpers::generated::{bpf_get_socket_cookie, bpf_loop, bpf_sk_storage_get, bpf_task_pt_regs};
use aya_ebpf::programs::{SkBuffContext, SockAddrContext};

use crate::hooks::{ScanAt, environment};
use crate::kstruct::{Sock, Typed};
use crate::maps::{self, SocketState};
use crate::path;
use crate::verdict::Look;

/// Whether what a typed pointer leads to is read by a plain load.
pub const LOADS: bool = true;
/// Whether a record's CPU names the depth of interruption besides.
pub const COUNTS_LEVELS: bool = false;

/// `BPF_SK_STORAGE_GET_F_CREATE`.
const CREATE: u64 = 1;

/// What the sockets themselves keep.
pub type Stored = SocketState;

/// Whether functions that judge files are handed the mount's user namespace (or mapping of ids) besides.
#[inline(always)]
pub fn hands_namespace() -> bool {
    true
}

/// What was read where [`hands_namespace`] holds.
#[inline(always)]
pub fn apart<T>(value: T) -> T {
    value
}

/// A function that is called for what it does: `once! { fn name(a: u64) = body }`. Here it is its body.
macro_rules! once {
    ($(#[$doc:meta])* fn $name:ident($($argument:ident: $type:ty),*) = $body:expr) => {
        $(#[$doc])*
        #[inline(always)]
        fn $name($($argument: $type),*) {
            let _ = $body;
        }
    };
}
pub(crate) use once;

/// What `once!` functions can be handed.
#[inline(always)]
pub fn number(pointer: u64) -> u64 {
    pointer
}

/// The running task.
#[inline(always)]
pub fn current() -> u64 {
    // SAFETY: the helper always gives a valid task.
    unsafe { bpf_get_current_task_btf() as u64 }
}

/// The registers with which the running task, which is given, entered the kernel.
#[inline(always)]
pub fn registers(task: u64) -> Option<u64> {
    // SAFETY: the task is the running one; the helper gives a typed pointer.
    Some(unsafe { bpf_task_pt_regs(task as *mut _) as u64 })
}

/// Takes steps until one returns 1, so many at most; how many were taken. The verifier looks at a step once.
#[inline(always)]
pub fn repeat<Context>(
    steps: u32,
    step: extern "C" fn(u32, *mut Context) -> i64,
    context: *mut Context,
) -> i64 {
    // SAFETY: the callback has the helper's signature, and the context, which is on the caller's stack, outlives the call.
    unsafe { bpf_loop(steps, step as *mut _, context.cast(), 0) }
}

/// [`repeat`] over the variables of an environment.
#[inline(always)]
pub fn repeat_variables(
    steps: u32,
    step: extern "C" fn(u32, *mut environment::Scratch) -> i64,
    context: *mut environment::Scratch,
) {
    repeat(steps, step, context);
}

/// [`repeat`] over a table of descriptors.
#[inline(always)]
pub fn repeat_descriptors(
    steps: u32,
    step: extern "C" fn(u32, *mut ScanAt) -> i64,
    context: *mut ScanAt,
) -> i64 {
    repeat(steps, step, context)
}

/// [`repeat`] over a path.
#[inline(always)]
pub fn repeat_path(
    steps: u32,
    step: extern "C" fn(u32, *mut path::Scratch) -> i64,
    context: *mut path::Scratch,
) {
    repeat(steps, step, context);
}

/// [`repeat`] over the path of a cgroup.
#[inline(always)]
pub fn repeat_cgroup(
    steps: u32,
    step: extern "C" fn(u32, *mut path::Scratch) -> i64,
    context: *mut path::Scratch,
) {
    repeat(steps, step, context);
}

/// [`repeat`] over the names of a file.
#[inline(always)]
pub fn repeat_names(steps: u32, step: extern "C" fn(u32, *mut Look) -> i64, context: *mut Look) {
    repeat(steps, step, context);
}

/// Where a walk writes that is to write at `start` of `scratch`: there.
#[inline(always)]
pub fn walk_room(scratch: *mut u8, start: usize) -> Option<(*mut u8, usize)> {
    Some((scratch, start))
}

/// Brings what a walk wrote up to `end` to where it belongs; where that ends.
#[inline(always)]
pub fn walked(_scratch: *mut u8, _start: usize, _room: *mut u8, end: usize) -> usize {
    end
}

/// Takes the next number of a ring.
///
/// Sequentially consistent, for the sake of the compiler: LLVM 22 makes of a relaxed addition the instruction that does
/// not give the old value back, even where it is used. The instruction that does is of 5.12.
///
/// # Safety
/// `state` must be in a map.
#[inline(always)]
pub unsafe fn take_number(state: *mut CpuState, ring: Ring) -> Option<Number> {
    // SAFETY: as the caller promises; there is a number for each ring.
    let sequence = unsafe {
        let cell = (&raw mut (*state).sequence).cast::<u64>().add(ring as usize);
        atomic_xadd::<u64, u64, { AtomicOrdering::SeqCst }>(cell, 1)
    };
    Some(Number { sequence, level: 0 })
}

/// The cookie of a socket that is an argument; it is given one where it has none. Tracing programs can since 5.12.
#[inline(always)]
pub fn cookie_of(sock: Sock<Typed>) -> Option<u64> {
    // SAFETY: the socket is typed.
    Some(unsafe { bpf_get_socket_cookie(sock.raw() as *mut _) })
}

#[inline(always)]
unsafe fn storage<'a>(socket: *mut c_void, flags: u64) -> Option<&'a mut SocketState> {
    let map = (&raw const maps::SOCKETS).cast_mut().cast();
    // SAFETY: the socket is as the caller promises; the storage lives while the program runs.
    unsafe { bpf_sk_storage_get(map, socket, core::ptr::null_mut(), flags).cast::<SocketState>().as_mut() }
}

/// What is remembered of a socket that is an argument. Tracing programs can since 5.11.
#[inline(always)]
pub fn socket_state<'a>(sock: Sock<Typed>) -> Option<&'a mut SocketState> {
    // SAFETY: the socket is typed.
    unsafe { storage(sock.raw() as *mut _, 0) }
}

/// The same, where nothing need be known of it yet.
#[inline(always)]
pub fn socket_state_or_new<'a>(sock: Sock<Typed>) -> Option<&'a mut SocketState> {
    // SAFETY: the socket is typed.
    unsafe { storage(sock.raw() as *mut _, CREATE) }
}

/// What is remembered of a socket that a walk comes to.
#[inline(always)]
pub fn walked_socket_state<'a>(_sock: Sock<Typed>, stored: *mut Stored) -> Option<&'a mut SocketState> {
    // SAFETY: the storage lives while the program runs.
    unsafe { stored.as_mut() }
}

/// What is remembered of the socket that an address hook is asked about.
#[inline(always)]
pub fn asked_socket_state<'a>(ctx: &SockAddrContext) -> Option<&'a mut SocketState> {
    // SAFETY: the storage belongs to the context's socket.
    unsafe { maps::SOCKETS.get_ptr_mut(ctx).as_mut() }
}

/// The same, where nothing need be known of it yet.
#[inline(always)]
pub fn asked_socket_state_or_new<'a>(ctx: &SockAddrContext) -> Option<&'a mut SocketState> {
    // SAFETY: the storage belongs to the context's socket.
    unsafe { maps::SOCKETS.get_or_insert_ptr_mut(ctx, None).as_mut() }
}

/// What is remembered of a packet's socket, which is not null.
#[inline(always)]
pub fn packet_socket_state<'a>(_ctx: &SkBuffContext, socket: *mut bpf_sock) -> Option<&'a mut SocketState> {
    // SAFETY: the verifier knows the socket's type.
    unsafe { storage(socket.cast(), 0) }
}
