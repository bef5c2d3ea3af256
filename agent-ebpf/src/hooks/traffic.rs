//! What TCP connections carry: in all when they end, so far while they last.
//!
//! Who connected, to what and when is remembered in the socket's own storage: it is freed with the socket, needs no bound
//! of its own, and outlives an agent. Nothing is counted packet by packet: the kernel's own figures are read.
//!
//! Long connections are found by `iter/bpf_sk_storage_map` (since 5.9), which walks the sockets that have such storage:
//! those that were told of and no others, in all network namespaces. Its neighbours, `iter/tcp` and sock_diag, walk every
//! socket of one namespace, which must be entered, and know nothing of who connected.
//!
//! `bytes_sent` counts what is sent again, which is taken off. `bytes_received` counts a FIN as one byte, and
//! `SOCK_DONE` is set where one was received. SYNs count nowhere, nor does a FIN that is sent.

use agent_common::counters::Family;
use agent_common::limits::BULK_RING_BYTES;
use agent_common::records::{TrafficRecord, hook, kind};
use agent_common::rings::Ring;

use aya_ebpf::helpers::generated::bpf_ktime_get_boot_ns;

use super::outcome::{TCP_CLOSE, ring_of, state_of};
use crate::kernel::{self, Stored};
use crate::kstruct::{Sock, Typed};
use crate::maps::{self, SOCKET_IDLE, SOCKET_TCP_ESTABLISHED, SocketState};
use crate::{emit, generation};

/// `SOCK_DONE` of `enum sock_flags`: the other end sends no more.
const PEER_IS_DONE: u64 = 1 << 1;

/// A socket was closed.
#[inline(always)]
pub fn closed(sock: Sock<Typed>) {
    let Some(state) = state_of(sock) else { return };
    if state.state != SOCKET_TCP_ESTABLISHED || !generation::serves_what_was_begun_by(state.actor.tgid) {
        return;
    }
    state.state = SOCKET_IDLE;
    if let Some(carried) = Carried::by(sock) {
        let errno = sock.error().unwrap_or(0);
        let _ = tell(
            ring_of(state),
            sock,
            state,
            carried,
            kind::CONNECTION_END,
            hook::INET_SOCK_SET_STATE,
            errno,
        );
    }
}

/// `struct bpf_iter__bpf_sk_storage_map`.
#[repr(C)]
pub struct StoredSocket {
    meta: u64,
    map: u64,
    socket: u64,
    stored: *mut Stored,
}

/// A socket with storage; once more with neither at the end of the walk. Since 5.9.
#[unsafe(no_mangle)]
#[unsafe(link_section = "iter/bpf_sk_storage_map")]
pub extern "C" fn traffic_update(ctx: *const StoredSocket) -> i32 {
    // SAFETY: the context is valid while the program runs.
    let (socket, stored) = unsafe { ((*ctx).socket, (*ctx).stored) };
    if socket != 0 && !stored.is_null() {
        let sock = Sock::from_raw(socket);
        if let Some(state) = kernel::walked_socket_state(sock, stored) {
            let _ = update(sock, state);
        }
    }
    0
}

#[inline(always)]
fn update(sock: Sock<Typed>, state: &mut SocketState) -> Option<()> {
    if state.state != SOCKET_TCP_ESTABLISHED || i32::from(sock.state()?) == TCP_CLOSE {
        return None;
    }
    let interval_ns = u64::from(maps::CONTROL.get(0)?.update_interval_ms) * 1_000_000;
    // SAFETY: no arguments.
    let now = unsafe { bpf_ktime_get_boot_ns() };
    if now.wrapping_sub(state.told_boot_ns) < interval_ns {
        return None;
    }
    let carried = Carried::by(sock)?;
    let bytes = carried.sent + carried.received;
    // An idle connection has nothing new; and a walk over many must leave room in the ring for those who act: what is
    // passed over now is told by the next walk.
    if bytes == state.told_bytes || emit::unread(Ring::Bulk) > u64::from(BULK_RING_BYTES / 2) {
        return None;
    }
    tell(Ring::Bulk, sock, state, carried, kind::CONNECTION_UPDATE, hook::SOCKET_ITERATOR, 0)?;
    state.told_boot_ns = now;
    state.told_bytes = bytes;
    Some(())
}

/// Bytes of payload.
#[derive(Clone, Copy)]
struct Carried {
    sent: u64,
    received: u64,
}

impl Carried {
    #[inline(always)]
    fn by(sock: Sock<Typed>) -> Option<Self> {
        let tcp = sock.as_tcp()?;
        let fin = if sock.flags()? & PEER_IS_DONE != 0 { 1 } else { 0 };
        Some(Self {
            sent: tcp.bytes_sent()?.saturating_sub(tcp.bytes_retransmitted()?),
            received: tcp.bytes_received()?.saturating_sub(fin),
        })
    }
}

#[inline(always)]
fn tell(
    ring: Ring,
    sock: Sock<Typed>,
    state: &SocketState,
    carried: Carried,
    kind: u16,
    hook: u16,
    errno: u32,
) -> Option<()> {
    let ticket = emit::attempt(Family::Connection, ring)?;
    let mut entry = ticket.reserve::<TrafficRecord>()?;
    // SAFETY: the ring gave room for a whole record; every field is written before it is submitted.
    let record = unsafe { &mut *entry.as_mut_ptr() };
    record.header = ticket.header(kind, hook, size_of::<TrafficRecord>() as u32);
    record.actor = state.actor;
    record.asked_boot_ns = state.asked_boot_ns;
    record.established_boot_ns = state.established_boot_ns;
    record.bytes_sent = carried.sent;
    record.bytes_received = carried.received;
    record.address_be = state.address_be;
    record.port = state.port;
    record.family = state.family;
    record.protocol = state.protocol as u16;
    record.reserved = 0;
    record.errno = errno;
    record.reserved_too = 0;
    let Some(cookie) = sock.cookie() else {
        ticket.discard(entry);
        return None;
    };
    record.cookie = cookie;
    ticket.submit(entry);
    Some(())
}
