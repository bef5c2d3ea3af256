//! What names a destination: answers of DNS servers, and the ClientHello of a TLS connection.
//!
//! Both are copied as they are, [`PAYLOAD_BYTES`] at most, and read by userspace. Packets that are neither are told by a
//! few bytes of their headers, read in place: these programs run for every packet of the host.
//!
//! An answer is looked at only where it comes to a socket that asked a port 53: what anybody else sends from such a port
//! is not. The network namespace is the socket's own, not that of whoever uses it: a socket can be handed over.
//!
//! Which byte of a connection a segment begins with is known without counting: what is unacknowledged begins at `snd_una`,
//! and `bytes_acked` says how much was before (the SYN counts as one).

use agent_common::counters::{Counter, Family};
use agent_common::limits::PAYLOAD_BYTES;
use agent_common::records::{AnswerRecord, HelloRecord, hook, kind};
use agent_common::rings::Ring;
use aya_ebpf::bindings::bpf_sock;
use aya_ebpf::helpers::generated::{
    bpf_get_socket_cookie, bpf_sk_fullsock, bpf_sk_storage_get, bpf_skb_load_bytes, bpf_tcp_sock,
};
use aya_ebpf::macros::cgroup_skb;
use aya_ebpf::maps::ring_buf::RingBufEntry;
use aya_ebpf::programs::{SkBuffContext, SockAddrContext};

use super::connect::{AF_INET, AF_INET6, network_cookie};
use super::outcome::ring_of;
use crate::emit::{self, Ticket};
use crate::kstruct::network_namespace;
use crate::maps::{self, Asker, HELLO_DONE, SOCKET_TCP_ESTABLISHED, SOCKET_TCP_PENDING};
use crate::{budget, current, generation, kernel};

/// The port of DNS servers.
pub const DNS: u16 = 53;

const ALLOW: i32 = 1;
const TCP: u8 = 6;
const UDP: u8 = 17;
/// Bytes of an IPv4 header without options, of an IPv6 header, of a UDP header, of a TCP header without options.
const V4_BYTES: usize = 20;
const V6_BYTES: usize = 40;
const UDP_BYTES: usize = 8;
const TCP_BYTES: usize = 20;
/// First byte of an IPv4 header without options.
const V4_PLAIN: u8 = 0x45;
const SYN: u8 = 0x02;

/// Whoever runs now asks something of a port 53, by the context's UDP socket.
#[inline(always)]
pub fn asked(ctx: &SockAddrContext) {
    // SAFETY: the storage belongs to the context's socket.
    match unsafe { maps::ASKERS.get_or_insert_ptr_mut(ctx, None).as_mut() } {
        Some(asker) => {
            let _ = current::fill(&mut asker.actor);
            asker.network_cookie = network_cookie(ctx);
            asker.beyond_budget = u64::from(budget::is_spent());
        }
        None => emit::count(Family::Name, Counter::MapFull),
    }
}

/// The packet's beginning, if it has `length` bytes of it in one piece: headers always are.
#[inline(always)]
fn beginning(ctx: &SkBuffContext, length: usize) -> Option<*const u8> {
    // SAFETY: the context is valid while the program runs.
    let (start, end) = unsafe { ((*ctx.skb.skb).data as usize, (*ctx.skb.skb).data_end as usize) };
    if start + length > end { None } else { Some(start as *const u8) }
}

/// Whether a packet that leaves is of TCP.
#[inline(always)]
pub fn is_tcp(ctx: &SkBuffContext) -> bool {
    let Some(packet) = beginning(ctx, V4_BYTES) else { return false };
    // SAFETY: so many bytes are there.
    unsafe { if *packet >> 4 == 4 { *packet.add(9) == TCP } else { *packet.add(6) == TCP } }
}

/// `cgroup_skb/ingress`: answers of DNS servers.
#[cgroup_skb(ingress)]
pub fn ingress(ctx: SkBuffContext) -> i32 {
    let _ = answer(&ctx);
    ALLOW
}

#[inline(always)]
fn answer(ctx: &SkBuffContext) -> Option<()> {
    let packet = beginning(ctx, V4_BYTES + UDP_BYTES)?;
    // SAFETY: so many bytes are there, and more where that is asked.
    let (payload, is_v4) = unsafe {
        if *packet >> 4 == 4 {
            if *packet.add(9) != UDP || *packet != V4_PLAIN || !is_dns(packet.add(V4_BYTES)) {
                return None;
            }
            (V4_BYTES + UDP_BYTES, true)
        } else {
            if *packet.add(6) != UDP {
                return None;
            }
            let packet = beginning(ctx, V6_BYTES + UDP_BYTES)?;
            if !is_dns(packet.add(V6_BYTES)) {
                return None;
            }
            (V6_BYTES + UDP_BYTES, false)
        }
    };
    // SAFETY: the verifier checks each of these pointers for null where the kernel may give it.
    let (socket, asker) = unsafe {
        let socket = (*ctx.skb.skb).__bindgen_anon_2.sk;
        if socket.is_null() {
            return None;
        }
        let socket = bpf_sk_fullsock(socket);
        if socket.is_null() {
            return None;
        }
        let map = (&raw const maps::ASKERS).cast_mut().cast();
        let asker = bpf_sk_storage_get(map, socket.cast(), core::ptr::null_mut(), 0);
        (socket, asker.cast::<Asker>().as_ref()?)
    };
    // SAFETY: the context is valid while the program runs.
    let length = unsafe { (*ctx.skb.skb).len }.wrapping_sub(payload as u32);
    if length == 0 || !generation::serves_what_was_begun_by(asker.actor.tgid) {
        return None;
    }
    let told = Answer { ctx, payload: payload as u32, is_v4, socket };
    let ticket = emit::attempt(Family::Name, budget::of(Ring::Connection, asker.beyond_budget != 0))?;
    match length {
        0..=SMALL => told.tell::<{ SMALL as usize }>(ticket, asker, length),
        _ => told.tell::<PAYLOAD_BYTES>(ticket, asker, length),
    }
    Some(())
}

/// Most answers fit.
const SMALL: u32 = 512;
/// Most ClientHellos fit.
const MIDDLE: u32 = 2048;

/// Whether a UDP header is that of an answer.
///
/// # Safety
/// Two bytes must be there.
#[inline(always)]
unsafe fn is_dns(header: *const u8) -> bool {
    // SAFETY: as the caller promises.
    unsafe { *header == 0 && *header.add(1) == DNS as u8 }
}

/// A record and room for what it carries.
#[repr(C)]
struct With<T, const ROOM: usize> {
    record: T,
    bytes: [u8; ROOM],
}

impl<T: 'static, const ROOM: usize> With<T, ROOM> {
    /// Copies bytes of the packet behind the record; how many.
    ///
    /// # Safety
    /// `entry` must be room that the ring gave.
    #[inline(always)]
    unsafe fn fill(entry: *mut Self, ctx: &SkBuffContext, from: u32, length: u32) -> Option<u32> {
        let length = bounded::<ROOM>(length);
        // SAFETY: the room has `ROOM` bytes, a power of two, and `length` is not above.
        let done =
            unsafe { bpf_skb_load_bytes(ctx.skb.skb.cast(), from, (&raw mut (*entry).bytes).cast(), length) };
        if done == 0 { Some(length) } else { None }
    }
}

/// `length`, which is not 0, and at most `ROOM`, in a form in which every verifier keeps both bounds.
#[inline(always)]
fn bounded<const ROOM: usize>(length: u32) -> u32 {
    let length = if length > ROOM as u32 { ROOM as u32 } else { length };
    // Seen through, the mask would be taken away as idle.
    let below = core::hint::black_box(u64::from(length) - 1);
    (below & (ROOM as u64 - 1)) as u32 + 1
}

struct Answer<'a> {
    ctx: &'a SkBuffContext,
    payload: u32,
    is_v4: bool,
    socket: *mut bpf_sock,
}

impl Answer<'_> {
    #[inline(always)]
    fn tell<const ROOM: usize>(&self, ticket: Ticket, asker: &Asker, length: u32) {
        let Some(mut entry) = ticket.reserve::<With<AnswerRecord, ROOM>>() else { return };
        match self.fill(&mut entry, ticket, asker, length) {
            Some(()) => ticket.submit(entry),
            None => ticket.discard(entry),
        }
    }

    #[inline(always)]
    fn fill<const ROOM: usize>(
        &self,
        entry: &mut RingBufEntry<With<AnswerRecord, ROOM>>,
        ticket: Ticket,
        asker: &Asker,
        length: u32,
    ) -> Option<()> {
        let room = entry.as_mut_ptr();
        // SAFETY: the ring gave room for the whole; every field of the record is written before it is submitted.
        unsafe {
            let length = With::fill(room, self.ctx, self.payload, length)?;
            let record = &mut (*room).record;
            record.header = ticket.header(
                kind::DNS_ANSWER,
                hook::CGROUP_INGRESS,
                size_of::<AnswerRecord>() as u32 + length,
            );
            record.length = length as u16;
            record.asker = asker.actor;
            record.network_cookie = asker.network_cookie;
            record.server_be = [0; 16];
            if self.is_v4 {
                record.family = AF_INET;
                let packet = beginning(self.ctx, V4_BYTES)?;
                for at in 0..4 {
                    record.server_be[at] = *packet.add(12 + at);
                }
            } else {
                record.family = AF_INET6;
                let packet = beginning(self.ctx, V6_BYTES)?;
                for at in 0..16 {
                    record.server_be[at] = *packet.add(8 + at);
                }
            }
            record.network_namespace = network_namespace(self.socket.cast(), &raw mut record.cookie)?;
            record.cookie = bpf_get_socket_cookie(self.ctx.skb.skb.cast());
        }
        Some(())
    }
}

/// What a TCP connection of a process's own begins with, if that may be a ClientHello.
#[inline(always)]
pub fn hello(ctx: &SkBuffContext) -> Option<()> {
    let packet = beginning(ctx, V4_BYTES + TCP_BYTES)?;
    // SAFETY: so many bytes are there, and more where that is asked.
    let (header, tcp) = unsafe {
        if *packet >> 4 == 4 {
            if *packet != V4_PLAIN {
                return None;
            }
            (V4_BYTES, packet.add(V4_BYTES))
        } else {
            let packet = beginning(ctx, V6_BYTES + TCP_BYTES)?;
            (V6_BYTES, packet.add(V6_BYTES))
        }
    };
    // SAFETY: the whole header without its options is there.
    let (words, flags) = unsafe { (*tcp.add(12) >> 4, *tcp.add(13)) };
    let payload = header as u32 + u32::from(words) * 4;
    // SAFETY: the context is valid while the program runs.
    let length = unsafe { (*ctx.skb.skb).len }.wrapping_sub(payload);
    if length == 0 || length > u32::MAX / 2 {
        return None;
    }
    // SAFETY: the verifier checks each of these pointers for null where the kernel may give it.
    let (socket, acknowledged, first) = unsafe {
        let socket = (*ctx.skb.skb).__bindgen_anon_2.sk;
        if socket.is_null() {
            return None;
        }
        let socket = bpf_tcp_sock(socket);
        if socket.is_null() {
            return None;
        }
        (socket, (*socket).bytes_acked, (*socket).snd_una)
    };
    if acknowledged > PAYLOAD_BYTES as u64 {
        return None;
    }
    // SAFETY: the whole header without its options is there.
    let sequence = unsafe { u32::from_be_bytes([*tcp.add(4), *tcp.add(5), *tcp.add(6), *tcp.add(7)]) };
    // With Fast Open, data goes with the SYN, which has the number before it.
    let offset = if flags & SYN != 0 {
        0
    } else {
        sequence.wrapping_sub(first).wrapping_add(acknowledged as u32).wrapping_sub(1)
    };
    if offset >= PAYLOAD_BYTES as u32 {
        return None;
    }
    let state = kernel::packet_socket_state(ctx, socket.cast())?;
    if state.state != SOCKET_TCP_PENDING && state.state != SOCKET_TCP_ESTABLISHED {
        return None;
    }
    // What was not sent in order was sent before.
    if state.hello_next != offset || !generation::serves_what_was_begun_by(state.actor.tgid) {
        return None;
    }
    if offset == 0 {
        state.hello_until = wanted(ctx, payload, length);
    }
    let (next, until) = (offset.wrapping_add(length), state.hello_until);
    state.hello_next = if next >= until { HELLO_DONE } else { next };
    if offset >= until {
        return None;
    }
    let piece = Piece { ctx, payload, offset };
    let ticket = emit::attempt(Family::Name, ring_of(state))?;
    if length <= SMALL {
        piece.tell::<{ SMALL as usize }>(ticket, length);
    } else if length <= MIDDLE {
        piece.tell::<{ MIDDLE as usize }>(ticket, length);
    } else {
        piece.tell::<PAYLOAD_BYTES>(ticket, length);
    }
    Some(())
}

/// How many bytes of a connection are to be told, by its first: none where they are not of a ClientHello; all of it where
/// it is one, in one record of TLS; as many as are ever told where that cannot be known yet.
#[inline(always)]
fn wanted(ctx: &SkBuffContext, payload: u32, length: u32) -> u32 {
    const HANDSHAKE: u8 = 22;
    const SSL_3: u8 = 3;
    const CLIENT_HELLO: u8 = 1;
    const RECORD_HEADER: u32 = 5;
    const MESSAGE_HEADER: u32 = 4;
    let mut first = [0_u8; 9];
    let all = PAYLOAD_BYTES as u32;
    let load = |first: &mut [u8; 9], length: u32| {
        // SAFETY: the array has room for so many.
        unsafe { bpf_skb_load_bytes(ctx.skb.skb.cast(), payload, first.as_mut_ptr().cast(), length) == 0 }
    };
    if length < 9 {
        // Whoever sends the first bytes one by one may do so to hide the rest.
        return if load(&mut first, 1) && first[0] == HANDSHAKE { all } else { 0 };
    }
    if !load(&mut first, 9) || first[0] != HANDSHAKE || first[1] != SSL_3 || first[5] != CLIENT_HELLO {
        return 0;
    }
    let record = u32::from(first[3]) << 8 | u32::from(first[4]);
    let message = u32::from(first[6]) << 16 | u32::from(first[7]) << 8 | u32::from(first[8]);
    if record < message + MESSAGE_HEADER {
        return all;
    }
    let whole = message + MESSAGE_HEADER + RECORD_HEADER;
    if whole > all { all } else { whole }
}

struct Piece<'a> {
    ctx: &'a SkBuffContext,
    payload: u32,
    offset: u32,
}

impl Piece<'_> {
    #[inline(always)]
    fn tell<const ROOM: usize>(&self, ticket: Ticket, length: u32) {
        let Some(mut entry) = ticket.reserve::<With<HelloRecord, ROOM>>() else { return };
        let room = entry.as_mut_ptr();
        // SAFETY: the ring gave room for the whole.
        let Some(length) = (unsafe { With::fill(room, self.ctx, self.payload, length) }) else {
            ticket.discard(entry);
            return;
        };
        // SAFETY: as above; every field of the record is written.
        unsafe {
            (*room).record = HelloRecord {
                header: ticket.header(
                    kind::CLIENT_HELLO,
                    hook::CGROUP_EGRESS,
                    size_of::<HelloRecord>() as u32 + length,
                ),
                cookie: bpf_get_socket_cookie(self.ctx.skb.skb.cast()),
                offset: self.offset,
                length: length as u16,
                reserved: 0,
            };
        }
        ticket.submit(entry);
    }
}
