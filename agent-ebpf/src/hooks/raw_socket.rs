//! Sockets whose destinations no hook sees: told when they are made.
//!
//! TCP and UDP are told by whom they reach. What writes its own headers (raw and packet sockets, AF_XDP), what has no
//! hook for its addresses (ICMP, SCTP, DCCP, vsock and other families), and a TUN or TAP interface, through which a
//! program is a network of its own, are told at their creation instead.
//!
//! With trampolines: `security_socket_post_create`, called once a socket was made, for every way to make one (io_uring
//! and 32-bit programs too). Without: `cgroup/sock_create` for IP, which sees all of these ways as well, and the exit of
//! `socket` for the other families.

use agent_common::counters::Family;
use agent_common::records::{RawSocketRecord, TUN_FAMILY, hook, kind};
use agent_common::rings::Ring;
use aya_ebpf::macros::{cgroup_sock, fentry};
use aya_ebpf::programs::{FEntryContext, SockContext};

use super::connect::{AF_INET, AF_INET6};
use super::unix::AF_UNIX;
use crate::kstruct::{Task, Typed, first_argument, second_argument, third_argument};
use crate::{budget, current, emit};

/// Keys of IPsec, asked of the kernel.
const AF_KEY: u16 = 15;
const AF_NETLINK: u16 = 16;
const AF_PACKET: u16 = 17;
/// Ciphers of the kernel.
const AF_ALG: u16 = 38;
const SOCK_STREAM: u16 = 1;
const SOCK_DGRAM: u16 = 2;
/// The bits of a socket's type that are none of its flags (`SOCK_NONBLOCK`, `SOCK_CLOEXEC`).
const SOCK_TYPE_MASK: u16 = 0xf;
const IPPROTO_TCP: u16 = 6;
const IPPROTO_UDP: u16 = 17;
const IPPROTO_UDPLITE: u16 = 136;
const IPPROTO_MPTCP: u16 = 262;
/// `TUNSETIFF` of `linux/if_tun.h`.
const TUNSETIFF: u32 = 0x4004_54ca;
/// The verdict of a cgroup hook that lets the call go on.
const ALLOW: i32 = 1;

/// A socket was made: `security_socket_post_create(socket, family, type, protocol, kern)`. `kern`: by the kernel for
/// itself.
#[fentry(function = "security_socket_post_create")]
pub fn socket_created(ctx: FEntryContext) -> i32 {
    let (family, socket_type, protocol) = (ctx.arg::<u32>(1), ctx.arg::<u32>(2), ctx.arg::<u32>(3));
    if ctx.arg::<i32>(4) == 0 {
        created(family as u16, socket_type as u16, protocol as u16, hook::FENTRY_SOCKET_POST_CREATE);
    }
    0
}

/// An IP socket is made by a program: since 4.10.
#[cgroup_sock(sock_create)]
pub fn sock_create(ctx: SockContext) -> i32 {
    // SAFETY: the context is valid while the program runs.
    let (family, socket_type, protocol) =
        unsafe { ((*ctx.sock).family, (*ctx.sock).type_, (*ctx.sock).protocol) };
    created(family as u16, socket_type as u16, protocol as u16, hook::CGROUP_SOCK_CREATE);
    ALLOW
}

/// A file is bound to a TUN or TAP interface: `security_tun_dev_attach(sk, security)`, for one that is made and for one
/// that is there.
#[fentry(function = "security_tun_dev_attach")]
pub fn tun_attached(_ctx: FEntryContext) -> i32 {
    tell(TUN_FAMILY, 0, 0, hook::FENTRY_TUN_DEV_ATTACH);
    0
}

/// `socket` has returned a descriptor, where no trampoline sees it. The arguments are in registers: nobody else can have
/// changed them.
#[inline(never)]
pub fn socket_returned(registers: u64) {
    let Some(family) = first_argument(registers) else { return };
    // `cgroup/sock_create` has told these.
    if family as u16 == AF_INET || family as u16 == AF_INET6 {
        return;
    }
    let (Some(socket_type), Some(protocol)) = (second_argument(registers), third_argument(registers)) else {
        return;
    };
    created(family as u16, socket_type as u16, protocol as u16, hook::SYS_EXIT);
}

/// `ioctl` has succeeded, where no trampoline sees it.
#[inline(never)]
pub fn ioctl_succeeded(registers: u64) {
    if second_argument(registers).is_some_and(|command| command as u32 == TUNSETIFF) {
        tell(TUN_FAMILY, 0, 0, hook::SYS_EXIT);
    }
}

#[inline(always)]
fn created(family: u16, socket_type: u16, protocol: u16, hook: u16) {
    if family == AF_UNIX || family == AF_NETLINK || family == AF_ALG || family == AF_KEY {
        return;
    }
    let socket_type = socket_type & SOCK_TYPE_MASK;
    if family == AF_INET || family == AF_INET6 {
        // Protocol 0 is the type's own.
        let is_seen = match socket_type {
            SOCK_STREAM => protocol == 0 || protocol == IPPROTO_TCP || protocol == IPPROTO_MPTCP,
            SOCK_DGRAM => protocol == 0 || protocol == IPPROTO_UDP || protocol == IPPROTO_UDPLITE,
            _ => false,
        };
        if is_seen {
            return;
        }
    }
    let protocol = if family == AF_PACKET { u16::from_be(protocol) } else { protocol };
    tell(family, socket_type, protocol, hook);
}

#[inline(always)]
fn tell(family: u16, socket_type: u16, protocol: u16, hook: u16) {
    if !Task::<Typed>::current().tgid().is_some_and(current::is_passed_over) {
        let _ = try_tell(family, socket_type, protocol, hook);
    }
}

#[inline(always)]
fn try_tell(family: u16, socket_type: u16, protocol: u16, hook: u16) -> Option<()> {
    let ticket = emit::attempt(Family::Connection, budget::ring(Ring::Connection))?;
    let mut entry = ticket.reserve::<RawSocketRecord>()?;
    // SAFETY: the ring gave room for a whole record; every field is written before it is submitted.
    let record = unsafe { &mut *entry.as_mut_ptr() };
    record.header = ticket.header(kind::RAW_SOCKET, hook, size_of::<RawSocketRecord>() as u32);
    record.family = family;
    record.socket_type = socket_type;
    record.protocol = protocol;
    record.reserved = 0;
    if current::fill(&mut record.actor).is_none() {
        ticket.discard(entry);
        return None;
    }
    ticket.submit(entry);
    Some(())
}
