//! The first datagram of a UDP socket to a peer.
//!
//! An unconnected socket names its peer in each call: `cgroup/sendmsg4,6` (since 4.18) sees every message, those of
//! `sendmmsg` too. A connected one does not pass there; its first packet is seen by `cgroup_skb/egress`, which costs
//! every other packet a look at its socket's protocol.

use agent_common::counters::{Counter, Family};
use agent_common::keys::{FlowCount, FlowKey};
use agent_common::records::{ConnectRecord, hook, kind};
use agent_common::rings::Ring;
use aya_ebpf::helpers::generated::{bpf_get_socket_cookie, bpf_ktime_get_boot_ns, bpf_sk_fullsock};
use aya_ebpf::macros::{cgroup_skb, cgroup_sock_addr};
use aya_ebpf::programs::{SkBuffContext, SockAddrContext};

use super::connect::{AF_INET, AF_INET6, Asked, IPPROTO_UDP, asked_v4, asked_v6, emit_connect};
use super::names;
use super::outcome::ring_of;
use crate::kstruct::{Task, Typed};
use crate::maps::{self, SOCKET_IDLE, SOCKET_UDP_CONNECTED};
use crate::{budget, current, emit, generation, kernel};

/// The verdict of a cgroup hook that lets the call or packet go on.
const ALLOW: i32 = 1;
const SOCK_DGRAM: u16 = 2;
const BPF_NOEXIST: u64 = 1;

/// `cgroup/sendmsg4`.
#[cgroup_sock_addr(sendmsg4)]
pub fn sendmsg4(ctx: SockAddrContext) -> i32 {
    let asked = asked_v4(&ctx);
    send(&ctx, &asked, hook::CGROUP_SENDMSG4);
    ALLOW
}

/// `cgroup/sendmsg6`.
#[cgroup_sock_addr(sendmsg6)]
pub fn sendmsg6(ctx: SockAddrContext) -> i32 {
    let asked = asked_v6(&ctx);
    send(&ctx, &asked, hook::CGROUP_SENDMSG6);
    ALLOW
}

#[inline(always)]
fn send(ctx: &SockAddrContext, asked: &Asked, hook: u16) {
    if Task::<Typed>::current().tgid().is_some_and(current::is_passed_over) {
        return;
    }
    if asked.port == names::DNS {
        names::asked(ctx);
    }
    if is_connected_mapped(ctx, asked) {
        return;
    }
    let key = FlowKey {
        // SAFETY: the context is valid while the program runs.
        cookie: unsafe { bpf_get_socket_cookie(ctx.sock_addr.cast()) },
        address_be: asked.address_be,
        port: asked.port,
        family: asked.family,
        reserved: 0,
    };
    if let Some(count) = maps::FLOWS.get_ptr_mut(key) {
        // SAFETY: the entry lives until a grace period after its removal.
        unsafe {
            emit::add_one(&raw mut (*count).folded);
            (*count).last_boot_ns = bpf_ktime_get_boot_ns();
        }
        emit::folded(Family::Datagram);
        return;
    }
    // Two threads may race to be first: the one whose insert fails folds nothing, and both are told.
    // Its time is set from the start: a sweep that comes before the second datagram would take it for idle.
    // SAFETY: a helper without arguments.
    let last_boot_ns = unsafe { bpf_ktime_get_boot_ns() };
    if maps::FLOWS.insert(key, FlowCount { folded: 0, last_boot_ns }, BPF_NOEXIST).is_err() {
        emit::count(Family::Datagram, Counter::MapFull);
    }
    let ring = budget::ring(Ring::Connection);
    let _ = emit_connect(ring, kind::DATAGRAM, ctx, asked, hook);
}

/// Whether an IPv6 socket sends to the v4-mapped peer that it is connected to: the kernel then asks here for each
/// datagram, as if the peer had been named. `egress` tells of it.
#[inline(always)]
fn is_connected_mapped(ctx: &SockAddrContext, asked: &Asked) -> bool {
    if asked.family != AF_INET {
        return false;
    }
    kernel::asked_socket_state(ctx).is_some_and(|state| {
        state.family == AF_INET6
            && state.port == asked.port
            && state.address_be[12..] == asked.address_be[..4]
    })
}

/// `cgroup_skb/egress`: the first packet of a connected UDP socket, and what TCP connections begin with.
#[cgroup_skb(egress)]
pub fn egress(ctx: SkBuffContext) -> i32 {
    if names::is_tcp(&ctx) {
        let _ = names::hello(&ctx);
    } else {
        let _ = try_egress(&ctx);
    }
    ALLOW
}

#[inline(always)]
fn try_egress(ctx: &SkBuffContext) -> Option<()> {
    // SAFETY: the verifier checks each of these pointers for null where the kernel may give it.
    let socket = unsafe {
        let socket = (*ctx.skb.skb).__bindgen_anon_2.sk;
        if socket.is_null() {
            return None;
        }
        let socket = bpf_sk_fullsock(socket);
        if socket.is_null() || (*socket).protocol != IPPROTO_UDP {
            return None;
        }
        socket
    };
    let state = kernel::packet_socket_state(ctx, socket)?;
    if state.state != SOCKET_UDP_CONNECTED || !generation::serves_what_was_begun_by(state.actor.tgid) {
        return None;
    }
    state.state = SOCKET_IDLE;
    // SAFETY: the context is valid while the program runs.
    let cookie = unsafe { bpf_get_socket_cookie(ctx.skb.skb.cast()) };
    let ticket = emit::attempt(Family::Datagram, ring_of(state))?;
    let mut entry = ticket.reserve::<ConnectRecord>()?;
    // SAFETY: the ring gave room for a whole record; every field is written.
    let record = unsafe { &mut *entry.as_mut_ptr() };
    *record = ConnectRecord {
        header: ticket.header(kind::DATAGRAM, hook::CGROUP_EGRESS, size_of::<ConnectRecord>() as u32),
        actor: state.actor,
        cookie,
        address_be: state.address_be,
        port: state.port,
        family: state.family,
        protocol: IPPROTO_UDP as u16,
        socket_type: SOCK_DGRAM,
        network_cookie: state.network_cookie,
    };
    ticket.submit(entry);
    Some(())
}
