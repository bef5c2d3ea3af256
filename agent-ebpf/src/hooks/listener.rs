//! Who listens for TCP connections, and until when.
//!
//! A socket's change from CLOSE to LISTEN happens in the process that calls listen(2), its change back in whoever closes it
//! last: `tp_btf/inet_sock_set_state` sees both, and the walk over descriptors (`held_socket`) whoever holds a listener when
//! the agent starts. The two are joined by socket cookie. By the time of the change a socket that was never bound has no
//! port yet: such a listener is not told.

use agent_common::counters::Family;
use agent_common::records::{ListenEndRecord, ListenRecord, hook, kind};
use agent_common::rings::Ring;

use super::connect::{AF_INET, AF_INET6, IPPROTO_TCP, words_to_bytes};
use crate::kstruct::{Sock, Task, Typed};
use crate::{budget, current, emit, kernel};

/// A socket begins to listen, in the process that asked for it.
#[inline(always)]
pub fn began(sock: Sock<Typed>) {
    let _ = tell_began(sock);
}

#[inline(always)]
fn tell_began(sock: Sock<Typed>) -> Option<()> {
    let cookie = told_of(sock)?;
    if current::is_passed_over(Task::<Typed>::current().tgid()?) {
        return None;
    }
    tell(budget::ring(Ring::Connection), sock, cookie, hook::INET_SOCK_SET_STATE, None)
}

/// The process `task` holds a listener.
#[inline(always)]
pub fn held(sock: Sock<Typed>, task: Task<Typed>) -> Option<()> {
    let cookie = told_of(sock)?;
    if current::is_passed_over(task.tgid()?) {
        return None;
    }
    tell(Ring::Connection, sock, cookie, hook::FILE_ITERATOR, Some(task))
}

/// The cookie of a socket of TCP over IP that has a port. It has one from here on, by which its end is told.
#[inline(always)]
fn told_of(sock: Sock<Typed>) -> Option<u64> {
    let family = sock.family()?;
    if u32::from(sock.protocol()?) != IPPROTO_TCP || (family != AF_INET && family != AF_INET6) {
        return None;
    }
    if sock.local_port()? == 0 {
        return None;
    }
    kernel::cookie_of(sock)
}

#[inline(always)]
fn tell(ring: Ring, sock: Sock<Typed>, cookie: u64, hook: u16, holder: Option<Task<Typed>>) -> Option<()> {
    let ticket = emit::attempt(Family::Listener, ring)?;
    let mut entry = ticket.reserve::<ListenRecord>()?;
    // SAFETY: the ring gave room for a whole record; every field is written before it is submitted.
    let record = unsafe { &mut *entry.as_mut_ptr() };
    record.header = ticket.header(kind::LISTEN, hook, size_of::<ListenRecord>() as u32);
    record.cookie = cookie;
    let who = match holder {
        Some(task) => current::fill_other(&mut record.actor, task),
        None => current::fill(&mut record.actor),
    };
    if who.is_none() || fill(record, sock).is_none() {
        ticket.discard(entry);
        return None;
    }
    ticket.submit(entry);
    Some(())
}

#[inline(always)]
fn fill(record: &mut ListenRecord, sock: Sock<Typed>) -> Option<()> {
    record.network_cookie = sock.network_cookie()?;
    record.bound_device = sock.bound_device()?;
    record.family = sock.family()?;
    record.port = sock.local_port()?;
    record.address_be = [0; 16];
    if record.family == AF_INET6 {
        record.address_be = words_to_bytes(sock.local_v6_be()?);
    } else {
        record.address_be[..4].copy_from_slice(&sock.local_v4_be()?.to_ne_bytes());
    }
    Some(())
}

/// A listener was closed. By then whoever ends with it has no namespaces any more, so nothing is told of him.
#[inline(always)]
pub fn ended(sock: Sock<Typed>) {
    let _ = tell_ended(sock);
}

#[inline(always)]
fn tell_ended(sock: Sock<Typed>) -> Option<()> {
    // Without a cookie it was not told.
    let cookie = sock.cookie()?;
    if cookie == 0 || current::is_passed_over(Task::<Typed>::current().tgid()?) {
        return None;
    }
    let ticket = emit::attempt(Family::Listener, budget::ring(Ring::Connection))?;
    let mut entry = ticket.reserve::<ListenEndRecord>()?;
    // SAFETY: the ring gave room for a whole record; every field is written before it is submitted.
    let record = unsafe { &mut *entry.as_mut_ptr() };
    record.header =
        ticket.header(kind::LISTEN_END, hook::INET_SOCK_SET_STATE, size_of::<ListenEndRecord>() as u32);
    record.cookie = cookie;
    ticket.submit(entry);
    Some(())
}
