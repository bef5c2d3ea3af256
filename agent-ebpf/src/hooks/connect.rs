//! TCP and UDP connects: the cgroup hooks `connect4` and `connect6`.
//!
//! They run in the caller, for every way to connect an IP socket (blocking or not, io_uring, Fast Open), before the
//! route is looked up, on both rungs. LSM `socket_connect` misses Fast Open; syscall tracepoints miss io_uring and read
//! an address that can be changed after the check. Since 4.17.

use agent_common::counters::{Counter, Family};
use agent_common::records::{Actor, ConnectRecord, hook, kind};
use agent_common::rings::Ring;
use aya_ebpf::helpers::generated::{
    bpf_get_netns_cookie, bpf_get_socket_cookie, bpf_ktime_get_boot_ns, bpf_skc_to_tcp_sock,
};
use aya_ebpf::macros::cgroup_sock_addr;
use aya_ebpf::programs::SockAddrContext;

use super::names;
use crate::kstruct::{Task, TcpSock, Typed};
use crate::maps::{SOCKET_IDLE, SOCKET_TCP_PENDING, SOCKET_UDP_CONNECTED, SocketState};
use crate::{budget, current, emit, kernel};

pub const AF_INET: u16 = 2;
pub const AF_INET6: u16 = 10;
pub const IPPROTO_TCP: u32 = 6;
const IPPROTO_MPTCP: u32 = 262;
/// A kernel thread (`linux/sched.h`).
const PF_KTHREAD: u32 = 0x0020_0000;
pub const IPPROTO_UDP: u32 = 17;
/// The verdict of a cgroup hook that lets the call go on.
const ALLOW: i32 = 1;

/// The address that a caller named.
pub struct Asked {
    pub address_be: [u8; 16],
    pub port: u16,
    pub family: u16,
}

/// Reads the IPv4 address of the context, word by word as the kernel demands.
#[inline(always)]
pub fn asked_v4(ctx: &SockAddrContext) -> Asked {
    // SAFETY: the context is valid while the program runs.
    let (address, port) = unsafe { ((*ctx.sock_addr).user_ip4, (*ctx.sock_addr).user_port) };
    let mut address_be = [0; 16];
    address_be[..4].copy_from_slice(&address.to_ne_bytes());
    Asked { address_be, port: u16::from_be(port as u16), family: AF_INET }
}

/// Reads the IPv6 address of the context.
#[inline(always)]
pub fn asked_v6(ctx: &SockAddrContext) -> Asked {
    // SAFETY: as above.
    let (words, port) = unsafe {
        let address = &raw const (*ctx.sock_addr).user_ip6;
        let word = |index: usize| address.cast::<u32>().add(index).read_volatile();
        ([word(0), word(1), word(2), word(3)], (*ctx.sock_addr).user_port)
    };
    Asked { address_be: words_to_bytes(words), port: u16::from_be(port as u16), family: AF_INET6 }
}

/// An IPv6 address from its words in memory order.
#[inline(always)]
pub fn words_to_bytes(words: [u32; 4]) -> [u8; 16] {
    let mut bytes = [0; 16];
    bytes[..4].copy_from_slice(&words[0].to_ne_bytes());
    bytes[4..8].copy_from_slice(&words[1].to_ne_bytes());
    bytes[8..12].copy_from_slice(&words[2].to_ne_bytes());
    bytes[12..].copy_from_slice(&words[3].to_ne_bytes());
    bytes
}

/// `cgroup/connect4`.
#[cgroup_sock_addr(connect4)]
pub fn connect4(ctx: SockAddrContext) -> i32 {
    let asked = asked_v4(&ctx);
    connect(&ctx, &asked, hook::CGROUP_CONNECT4);
    ALLOW
}

/// `cgroup/connect6`; for a v4-mapped address too.
#[cgroup_sock_addr(connect6)]
pub fn connect6(ctx: SockAddrContext) -> i32 {
    let asked = asked_v6(&ctx);
    connect(&ctx, &asked, hook::CGROUP_CONNECT6);
    ALLOW
}

#[inline(always)]
fn connect(ctx: &SockAddrContext, asked: &Asked, hook: u16) {
    // SAFETY: the context is valid while the program runs.
    let protocol = unsafe { (*ctx.sock_addr).protocol };
    let own = Task::<Typed>::current().tgid().is_some_and(current::is_passed_over);
    if own {
        return;
    }
    if protocol == IPPROTO_TCP {
        let _ = attempt(ctx, asked, hook);
    } else if protocol == IPPROTO_UDP {
        if asked.port == names::DNS {
            names::asked(ctx);
        }
        remember_datagram_peer(ctx, asked);
    }
}

#[inline(always)]
fn attempt(ctx: &SockAddrContext, asked: &Asked, hook: u16) -> Option<()> {
    let mptcp = is_subflow(ctx);
    // The kernel's own thread adds a subflow to a connection that was told.
    if mptcp && Task::<Typed>::current().flags().is_some_and(|flags| flags & PF_KTHREAD != 0) {
        return None;
    }
    let by_protocol = if mptcp { IPPROTO_MPTCP } else { IPPROTO_TCP };
    let is_beyond = budget::is_spent();
    let ring = budget::of(Ring::Connection, is_beyond);
    let Some(state) = kernel::asked_socket_state_or_new(ctx) else {
        emit::count(Family::Connection, Counter::MapFull);
        emit_connect_by(ring, kind::CONNECT, ctx, asked, hook, None, by_protocol)?;
        return Some(());
    };
    let SocketState {
        state,
        port,
        family,
        address_be,
        actor,
        asked_boot_ns,
        established_boot_ns: _,
        told_boot_ns: _,
        told_bytes: _,
        told_peer: _,
        network_cookie: network,
        protocol,
        hello_next,
        hello_until,
        beyond_budget,
    } = state;
    *beyond_budget = u32::from(is_beyond);
    *hello_next = 0;
    *hello_until = 0;
    *state = SOCKET_TCP_PENDING;
    *network = network_cookie(ctx);
    *protocol = by_protocol;
    *port = asked.port;
    *family = asked.family;
    *address_be = asked.address_be;
    let actor = if current::fill(actor).is_some() {
        Some(&*actor)
    } else {
        *state = SOCKET_IDLE;
        None
    };
    let told = emit_connect_by(ring, kind::CONNECT, ctx, asked, hook, actor, by_protocol);
    // SAFETY: no arguments.
    *asked_boot_ns = told.unwrap_or_else(|| unsafe { bpf_ktime_get_boot_ns() });
    Some(())
}

/// Whether the socket carries a part of an MPTCP connection: that has a socket of its own, which no hook is asked for.
#[inline(always)]
fn is_subflow(ctx: &SockAddrContext) -> bool {
    // SAFETY: the context is valid while the program runs; the helper takes its socket.
    let tcp = unsafe { bpf_skc_to_tcp_sock((*ctx.sock_addr).__bindgen_anon_1.sk.cast()) };
    !tcp.is_null() && TcpSock::<Typed>::from_raw(tcp as u64).is_mptcp().is_some_and(|is| is != 0)
}

/// Cookie of the network namespace that the context's socket belongs to. Since 5.7.
#[inline(always)]
pub fn network_cookie(ctx: &SockAddrContext) -> u64 {
    // SAFETY: the context is valid while the program runs.
    unsafe { bpf_get_netns_cookie(ctx.sock_addr.cast()) }
}

/// Tells of an attempt or of a datagram, made by the running process.
#[inline(always)]
pub fn emit_connect(ring: Ring, kind: u16, ctx: &SockAddrContext, asked: &Asked, hook: u16) -> Option<()> {
    // SAFETY: the context is valid while the program runs.
    let protocol = unsafe { (*ctx.sock_addr).protocol };
    emit_connect_by(ring, kind, ctx, asked, hook, None, protocol).map(|_| ())
}

/// The same, where it may be known already who that is; when it was told.
#[inline(always)]
fn emit_connect_by(
    ring: Ring,
    kind: u16,
    ctx: &SockAddrContext,
    asked: &Asked,
    hook: u16,
    by: Option<&Actor>,
    protocol: u32,
) -> Option<u64> {
    // Before anything can fail: the socket has no cookie until it is asked for, and the outcome is told by it even where
    // the attempt is lost.
    // SAFETY: the context is valid while the program runs.
    let cookie = unsafe { bpf_get_socket_cookie(ctx.sock_addr.cast()) };
    let family = if kind == kind::DATAGRAM { Family::Datagram } else { Family::Connection };
    let ticket = emit::attempt(family, ring)?;
    let mut entry = ticket.reserve::<ConnectRecord>()?;
    // SAFETY: the ring gave room for a whole record; every field is written before it is submitted.
    let record = unsafe { &mut *entry.as_mut_ptr() };
    record.header = ticket.header(kind, hook, size_of::<ConnectRecord>() as u32);
    record.cookie = cookie;
    record.protocol = protocol as u16;
    // SAFETY: the context is valid while the program runs.
    unsafe { record.socket_type = (*ctx.sock_addr).type_ as u16 };
    record.address_be = asked.address_be;
    record.port = asked.port;
    record.family = asked.family;
    record.network_cookie = network_cookie(ctx);
    if let Some(actor) = by {
        record.actor = *actor;
    } else if current::fill(&mut record.actor).is_none() {
        ticket.discard(entry);
        return None;
    }
    let told_boot_ns = record.header.time_boot_ns;
    ticket.submit(entry);
    Some(told_boot_ns)
}

/// A UDP connect sends nothing: resolvers connect to every candidate address. It is told with its first datagram.
#[inline(always)]
fn remember_datagram_peer(ctx: &SockAddrContext, asked: &Asked) {
    let Some(state) = kernel::asked_socket_state_or_new(ctx) else {
        emit::count(Family::Datagram, Counter::MapFull);
        return;
    };
    let SocketState {
        state, port, family, address_be, actor, network_cookie: network, beyond_budget, ..
    } = state;
    *beyond_budget = u32::from(budget::is_spent());
    *network = network_cookie(ctx);
    *port = asked.port;
    *family = asked.family;
    *address_be = asked.address_be;
    *state = if current::fill(actor).is_some() { SOCKET_UDP_CONNECTED } else { SOCKET_IDLE };
}
