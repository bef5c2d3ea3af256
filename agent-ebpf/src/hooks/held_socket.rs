//! Connections that are open when the agent starts, by a walk over all descriptors.
//!
//! A TCP connection is told as an attempt and its outcome, and its socket is remembered, so that its updates and its end
//! follow as of any other. A connected UDP socket is remembered alone: its next datagram is told as its first. Whoever has
//! the descriptor is taken for who connected, and of several the one that the walk comes to first.
//!
//! What was accepted is no connection of this host's: such a socket is a copy of its listener, and so has that one's
//! limit of waiting connections (`sk_max_ack_backlog`), of which a socket that connects has none unless it had listened
//! before. The ladder says what that mistakes.
//!
//! Listeners are told with each process that holds them.

use agent_common::counters::{Counter, Family};
use agent_common::records::{ConnectRecord, hook, kind, outcome};
use agent_common::rings::Ring;
use aya_ebpf::helpers::generated::{bpf_get_socket_cookie, bpf_ktime_get_boot_ns, bpf_sock_from_file};

use super::connect::{AF_INET, AF_INET6, IPPROTO_TCP, IPPROTO_UDP, words_to_bytes};
use super::descriptor::OpenFile;
use super::listener;
use super::outcome as ended;
use crate::kstruct::{Sock, Task, Typed, sock_of};
use crate::maps::{
    SOCKET_IDLE, SOCKET_TCP_ESTABLISHED, SOCKET_TCP_PENDING, SOCKET_UDP_CONNECTED, SocketState,
};
use crate::{current, emit, kernel};

const TCP_ESTABLISHED: u8 = 1;
const TCP_SYN_SENT: u8 = 2;
const TCP_CLOSE_WAIT: u8 = 8;
const TCP_LISTEN: u8 = 10;
const SOCK_STREAM: u16 = 1;

/// A descriptor of a task; once more with neither at the end of the walk. What is asked for needs 5.12.
#[unsafe(no_mangle)]
#[unsafe(link_section = "iter/task_file")]
pub extern "C" fn held_socket(ctx: *const OpenFile) -> i32 {
    // SAFETY: the context is valid while the program runs.
    let (task, file) = unsafe { ((*ctx).task, (*ctx).file) };
    if task == 0 || file == 0 {
        return 0;
    }
    // SAFETY: the file is a typed pointer, and not null.
    let socket = unsafe { bpf_sock_from_file(file as *mut _) };
    if !socket.is_null()
        && let Some(sock) = sock_of(socket as u64)
        && !sock.is_null()
    {
        let _ = found(Task::from_raw(task), sock);
    }
    0
}

#[inline(always)]
fn found(task: Task<Typed>, sock: Sock<Typed>) -> Option<()> {
    let family = sock.family()?;
    if family != AF_INET && family != AF_INET6 {
        return None;
    }
    let (protocol, now) = (u32::from(sock.protocol()?), sock.state()?);
    if (protocol, now) == (IPPROTO_TCP, TCP_LISTEN) {
        return listener::held(sock, task);
    }
    let state = match (protocol, now) {
        (IPPROTO_TCP, TCP_ESTABLISHED | TCP_CLOSE_WAIT) => SOCKET_TCP_ESTABLISHED,
        (IPPROTO_TCP, TCP_SYN_SENT) => SOCKET_TCP_PENDING,
        (IPPROTO_UDP, TCP_ESTABLISHED) => SOCKET_UDP_CONNECTED,
        _ => return None,
    };
    if sock.waiting_limit()? != 0 || current::is_passed_over(task.tgid()?) {
        return None;
    }
    let Some(kept) = remembered(sock) else {
        emit::count(Family::Connection, Counter::MapFull);
        return None;
    };
    // Told already, by the hooks or by another descriptor of it.
    if kept.state != SOCKET_IDLE || kept.port != 0 {
        return None;
    }
    if current::fill_other(&mut kept.actor, task).is_none() || fill(kept, sock).is_none() {
        return None;
    }
    kept.protocol = protocol;
    kept.state = state;
    if state == SOCKET_UDP_CONNECTED {
        return None;
    }
    tell(sock, kept)?;
    if state == SOCKET_TCP_ESTABLISHED {
        ended::tell(Ring::Connection, sock, Some(&*kept), hook::FILE_ITERATOR, outcome::ESTABLISHED, 0)?;
    }
    Some(())
}

/// What is remembered of a socket, of which nothing need be known yet.
#[inline(always)]
fn remembered<'a>(sock: Sock<Typed>) -> Option<&'a mut SocketState> {
    kernel::socket_state_or_new(sock)
}

#[inline(always)]
fn fill(kept: &mut SocketState, sock: Sock<Typed>) -> Option<()> {
    kept.family = sock.family()?;
    kept.port = u16::from_be(sock.remote_port_be()?);
    kept.address_be = [0; 16];
    if kept.family == AF_INET6 {
        kept.address_be = words_to_bytes(sock.remote_v6_be()?);
    } else {
        kept.address_be[..4].copy_from_slice(&sock.remote_v4_be()?.to_ne_bytes());
    }
    kept.network_cookie = sock.network_cookie().unwrap_or(0);
    // SAFETY: no arguments.
    let now = unsafe { bpf_ktime_get_boot_ns() };
    kept.asked_boot_ns = now;
    kept.established_boot_ns = now;
    kept.told_boot_ns = now;
    Some(())
}

#[inline(always)]
fn tell(sock: Sock<Typed>, kept: &SocketState) -> Option<()> {
    // Before anything can fail, as of an attempt: what follows is told by it.
    // SAFETY: the socket is typed.
    let cookie = unsafe { bpf_get_socket_cookie(sock.raw() as *mut _) };
    let ticket = emit::attempt(Family::Connection, Ring::Connection)?;
    let mut entry = ticket.reserve::<ConnectRecord>()?;
    // SAFETY: the ring gave room for a whole record; every field is written.
    let record = unsafe { &mut *entry.as_mut_ptr() };
    record.header = ticket.header(kind::CONNECT, hook::FILE_ITERATOR, size_of::<ConnectRecord>() as u32);
    record.actor = kept.actor;
    record.cookie = cookie;
    record.address_be = kept.address_be;
    record.port = kept.port;
    record.family = kept.family;
    record.protocol = kept.protocol as u16;
    record.socket_type = SOCK_STREAM;
    record.network_cookie = kept.network_cookie;
    ticket.submit(entry);
    Some(())
}
