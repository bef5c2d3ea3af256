//! How a TCP attempt ended, and when its connection did.
//!
//! `tp_btf/inet_sock_set_state` sees the end of every handshake and of every connection, in the caller or in an interrupt: records are joined
//! by socket cookie, never by the running process. An attempt that fails before a packet is sent (no route, refused by
//! a cgroup program) never changes state; where trampolines exist, the exits of `tcp_v4_connect` and `tcp_v6_connect`
//! give its errno, else `sys_exit` does.
//!
//! Most handshakes end in an interrupt, which may come while this very program runs for another socket: the kernel does not
//! run it a second time on that CPU then. A twin at the same tracepoint is run instead, and does what the first has not done:
//! interrupts nest once, so one of the two always runs.

use agent_common::counters::Family;
use agent_common::records::{OutcomeRecord, hook, kind, outcome};
use agent_common::rings::Ring;
use aya_ebpf::EbpfContext;
use aya_ebpf::helpers::generated::bpf_ktime_get_boot_ns;
use aya_ebpf::macros::{btf_tracepoint, fexit};
use aya_ebpf::programs::{BtfTracePointContext, FExitContext};

use super::connect::{AF_INET, AF_INET6, IPPROTO_TCP, words_to_bytes};
use super::{listener, traffic};
use crate::kstruct::{Access, Sock, Typed};
use crate::maps::{SOCKET_IDLE, SOCKET_TCP_ABORTED, SOCKET_TCP_ESTABLISHED, SOCKET_TCP_PENDING, SocketState};
use crate::{budget, current, emit, generation, kernel};

const TCP_ESTABLISHED: i32 = 1;
const TCP_SYN_SENT: i32 = 2;
const TCP_SYN_RECV: i32 = 3;
pub const TCP_CLOSE: i32 = 7;
const TCP_LISTEN: i32 = 10;

/// The end of a handshake: `inet_sock_set_state(sk, oldstate, newstate)`. From SYN_RECV too, which a socket that
/// connects to itself passes; server sockets have no pending attempt.
///
/// The end of a connection is its change to CLOSE from any later state: on the side that closes first when it enters
/// TIME_WAIT, for which the kernel keeps a small stand-in instead of the socket.
#[btf_tracepoint(function = "inet_sock_set_state")]
pub fn set_state(ctx: BtfTracePointContext) -> i32 {
    let old: i32 = ctx.arg(1);
    let new: i32 = ctx.arg(2);
    if new == TCP_LISTEN {
        listener::began(Sock::from_raw(ctx.arg::<u64>(0)));
    } else if old == TCP_LISTEN {
        if new == TCP_CLOSE {
            listener::ended(Sock::from_raw(ctx.arg::<u64>(0)));
        }
    } else {
        connection_changed(&ctx, old, new);
    }
    0
}

/// What `set_state` may have been kept from, and has not done. A listener begins and ends in a process, which interrupts
/// nothing: it is told by the other alone.
#[btf_tracepoint(function = "inet_sock_set_state")]
pub fn set_state_twin(ctx: BtfTracePointContext) -> i32 {
    let old: i32 = ctx.arg(1);
    let new: i32 = ctx.arg(2);
    if old != TCP_LISTEN {
        connection_changed(&ctx, old, new);
    }
    0
}

/// What has been told of the socket already is not told again.
#[inline(always)]
fn connection_changed(ctx: &BtfTracePointContext, old: i32, new: i32) {
    if old == TCP_SYN_SENT || old == TCP_SYN_RECV {
        if new == TCP_ESTABLISHED || new == TCP_CLOSE {
            handshake_ended(Sock::from_raw(ctx.arg::<u64>(0)), new);
        }
    } else if new == TCP_CLOSE {
        traffic::closed(Sock::from_raw(ctx.arg::<u64>(0)));
    }
}

#[inline(always)]
fn handshake_ended(sock: Sock<Typed>, new: i32) {
    let Some(state) = state_of(sock) else { return };
    if state.state != SOCKET_TCP_PENDING || !generation::serves_what_was_begun_by(state.actor.tgid) {
        return;
    }
    let errno = if new == TCP_CLOSE { sock.error().unwrap_or(0) } else { 0 };
    let result = match (new, errno) {
        (TCP_ESTABLISHED, _) => outcome::ESTABLISHED,
        (_, 0) => outcome::ABORTED,
        _ => outcome::FAILED,
    };
    match result {
        outcome::ESTABLISHED => {
            // SAFETY: no arguments.
            let now = unsafe { bpf_ktime_get_boot_ns() };
            state.established_boot_ns = now;
            state.told_boot_ns = now;
            state.told_bytes = 0;
            state.state = SOCKET_TCP_ESTABLISHED;
        }
        // A connect that fails on its way leaves no error in the socket; the function's exit may still tell it.
        outcome::ABORTED => state.state = SOCKET_TCP_ABORTED,
        _ => state.state = SOCKET_IDLE,
    }
    let _ = tell(ring_of(state), sock, Some(&*state), hook::INET_SOCK_SET_STATE, result, errno);
}

/// `tcp_v4_connect(sk, uaddr, addr_len) -> errno`.
#[fexit(function = "tcp_v4_connect")]
pub fn tcp_v4_connect_exit(ctx: FExitContext) -> i32 {
    connect_exit(&ctx, hook::TCP_V4_CONNECT_EXIT);
    0
}

/// `tcp_v6_connect(sk, uaddr, addr_len) -> errno`.
#[fexit(function = "tcp_v6_connect")]
pub fn tcp_v6_connect_exit(ctx: FExitContext) -> i32 {
    connect_exit(&ctx, hook::TCP_V6_CONNECT_EXIT);
    0
}

#[inline(always)]
fn connect_exit(ctx: &FExitContext, hook: u16) {
    // SAFETY: behind its three arguments, a trampoline puts the function's return value.
    let returned = unsafe { *ctx.as_ptr().cast::<i64>().add(3) } as i32;
    if returned >= 0 {
        return;
    }
    let sock = Sock::<Typed>::from_raw(ctx.arg::<u64>(0));
    if let Some(state) = state_of(sock)
        && (state.state == SOCKET_TCP_PENDING || state.state == SOCKET_TCP_ABORTED)
        && generation::serves_what_was_begun_by(state.actor.tgid)
    {
        state.state = SOCKET_IDLE;
        let _ = tell(ring_of(state), sock, Some(&*state), hook, outcome::FAILED, returned.unsigned_abs());
    }
}

/// Where the socket's attempt was told.
#[inline(always)]
pub fn ring_of(state: &SocketState) -> Ring {
    budget::of(Ring::Connection, state.beyond_budget != 0)
}

/// What is remembered of a socket.
#[inline(always)]
pub fn state_of<'a>(sock: Sock<Typed>) -> Option<&'a mut SocketState> {
    kernel::socket_state(sock)
}

/// Tells of an outcome. Where it is not known what was asked for, it was asked by the running process.
#[inline(always)]
pub fn tell<A: Access>(
    ring: Ring,
    sock: Sock<A>,
    asked: Option<&SocketState>,
    hook: u16,
    result: u16,
    errno: u32,
) -> Option<()> {
    let ticket = emit::attempt(Family::Connection, ring)?;
    let mut entry = ticket.reserve::<OutcomeRecord>()?;
    // SAFETY: the ring gave room for a whole record; every field is written before it is submitted.
    let record = unsafe { &mut *entry.as_mut_ptr() };
    record.header = ticket.header(kind::OUTCOME, hook, size_of::<OutcomeRecord>() as u32);
    record.outcome = result;
    record.errno = errno;
    record.reserved = 0;
    let who = match asked {
        Some(asked) => {
            record.protocol = asked.protocol;
            record.actor = asked.actor;
            record.asked_boot_ns = asked.asked_boot_ns;
            record.network_cookie = asked.network_cookie;
            record.asked_address_be = asked.address_be;
            record.asked_port = asked.port;
            record.asked_family = asked.family;
            Some(())
        }
        None => {
            record.protocol = IPPROTO_TCP;
            record.asked_boot_ns = 0;
            record.network_cookie = 0;
            record.asked_address_be = [0; 16];
            record.asked_port = 0;
            record.asked_family = 0;
            current::fill(&mut record.actor)
        }
    };
    if who.is_none() || fill(record, sock).is_none() {
        ticket.discard(entry);
        return None;
    }
    ticket.submit(entry);
    Some(())
}

#[inline(always)]
fn fill<A: Access>(record: &mut OutcomeRecord, sock: Sock<A>) -> Option<()> {
    record.cookie = sock.cookie()?;
    record.family = sock.family()?;
    record.remote_port = u16::from_be(sock.remote_port_be()?);
    record.local_port = sock.local_port()?;
    record.remote_address_be = [0; 16];
    record.local_address_be = [0; 16];
    if record.family == AF_INET6 {
        record.remote_address_be = words_to_bytes(sock.remote_v6_be()?);
        record.local_address_be = words_to_bytes(sock.local_v6_be()?);
    } else if record.family == AF_INET {
        record.remote_address_be[..4].copy_from_slice(&sock.remote_v4_be()?.to_ne_bytes());
        record.local_address_be[..4].copy_from_slice(&sock.local_v4_be()?.to_ne_bytes());
    }
    Some(())
}
