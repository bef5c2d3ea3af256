//! TCP connects, in every way a program may ask for one.

use std::io;
use std::net::{Ipv6Addr, SocketAddr};
use std::num::NonZeroU32;
use std::os::fd::OwnedFd;
use std::thread;

use clap::{Args, ValueEnum};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, Protocol, SendFlags, SocketFlags, SocketType, bind, connect, getpeername, getsockname,
    listen, sendto, socket_with, sockopt,
};
use serde_json::{Value, json};

use super::{compat, deed, print, target, uring, v4_mapped};
use crate::harness::expect::{Deed, object};
use crate::outcome::{During, Outcome, ensure, failed};

/// Data in the first packet (linux/socket.h); rustix has no name for it.
pub(super) const MSG_FASTOPEN: u32 = 0x2000_0000;

/// How to connect.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum How {
    /// `connect` that waits.
    Blocking,
    /// `connect` that does not, and `poll`.
    Nonblocking,
    /// As above, and `connect` again to learn the end.
    Asked,
    /// In another thread than the first.
    Thread,
    /// `sendto` with `MSG_FASTOPEN`.
    FastOpen,
    /// io_uring.
    Uring,
    /// io_uring, submitted by the kernel's polling thread.
    Sqpoll,
    /// io_uring, in a thread that the kernel makes for it.
    Worker,
    /// io_uring, with a socket that never has a descriptor.
    Direct,
    /// MPTCP.
    Mptcp,
    /// System calls with the numbers of 32-bit programs.
    Compat,
    /// Non-blocking, closed before there is an end; to a listener of its own that answers no more.
    Abandoned,
}

#[derive(Args)]
pub(crate) struct ConnectArgs {
    /// Address and port.
    #[arg(long)]
    to: Option<SocketAddr>,
    /// How.
    #[arg(long, default_value = "blocking")]
    how: How,
    /// How many times, each with a socket of its own.
    #[arg(long, default_value_t = 1)]
    times: u32,
}

pub(super) fn perform(args: &ConnectArgs) -> Outcome {
    if args.how == How::Abandoned {
        return abandoned();
    }
    let Some(to) = args.to else { return failed("--to ADDRESS:PORT is needed") };
    for _ in 0..args.times {
        let done = match args.how {
            How::Thread => thread::scope(|scope| scope.spawn(|| attempt(to, How::Blocking)).join())
                .map_err(|_| io::Error::other("the thread panicked"))??,
            how => attempt(to, how)?,
        };
        print(&done)?;
    }
    Ok(())
}

/// Connects, waits for the end, and says what it was. The socket is closed before that is printed.
pub(super) fn attempt(to: SocketAddr, how: How) -> Outcome<Deed> {
    if how == How::Direct {
        let result = uring::connect_direct(to)?;
        return told_without(to, result);
    }
    let nonblocking = matches!(how, How::Nonblocking | How::Asked);
    let socket = match how {
        How::Mptcp => multipath(to)?,
        How::Compat => compat::stream(to)?,
        _ => stream(to, nonblocking)?,
    };
    let result = match how {
        How::Nonblocking | How::Asked => waited(&socket, to, how == How::Asked),
        How::FastOpen => sendto(&socket, b"GET /", SendFlags::from_bits_retain(MSG_FASTOPEN), &to).map(drop),
        How::Uring => uring::connect(&socket, to, uring::By::Caller)?,
        How::Sqpoll => uring::connect(&socket, to, uring::By::Poller)?,
        How::Worker => uring::connect(&socket, to, uring::By::Worker)?,
        How::Compat => compat::connect(&socket, to)?,
        How::Blocking | How::Thread | How::Abandoned | How::Mptcp | How::Direct => connect(&socket, &to),
    };
    let mut told = told(&socket, to, result)?;
    if how == How::Mptcp {
        told.target.insert("protocol".to_owned(), "mptcp".into());
    }
    Ok(told)
}

/// A new socket for an address.
pub(super) fn stream(to: SocketAddr, nonblocking: bool) -> Outcome<OwnedFd> {
    let family = if to.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let flags = if nonblocking { SocketFlags::NONBLOCK | SocketFlags::CLOEXEC } else { SocketFlags::CLOEXEC };
    socket_with(family, SocketType::STREAM, flags, None).during("make a socket")
}

/// A new socket of MPTCP for an address.
fn multipath(to: SocketAddr) -> Outcome<OwnedFd> {
    let family = if to.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let protocol = NonZeroU32::new(libc::IPPROTO_MPTCP.cast_unsigned()).map(Protocol::from_raw);
    match socket_with(family, SocketType::STREAM, SocketFlags::CLOEXEC, protocol) {
        Err(Errno::PROTONOSUPPORT | Errno::NOPROTOOPT | Errno::INVAL) => failed(super::UNSUPPORTED),
        made => made.during("make a socket"),
    }
}

fn waited(socket: &OwnedFd, to: SocketAddr, ask_again: bool) -> Result<(), Errno> {
    match connect(socket, &to) {
        Err(Errno::INPROGRESS) => {}
        other => return other,
    }
    poll(&mut [PollFd::new(socket, PollFlags::OUT)], None)?;
    if ask_again {
        // EISCONN on some systems, success once on Linux; a failure is given here instead of by SO_ERROR.
        return match connect(socket, &to) {
            Err(Errno::ISCONN) => Ok(()),
            other => other,
        };
    }
    sockopt::socket_error(socket)?
}

/// What a program knows of an attempt whose socket it cannot ask.
fn told_without(to: SocketAddr, result: Result<(), Errno>) -> Outcome<Deed> {
    let socket = stream(to, false)?;
    let mut told = match result {
        Err(_) => told(&socket, to, result)?,
        Ok(()) => told(&socket, to, Err(Errno::INVAL))?,
    };
    if result.is_ok() {
        told.facts.extend(object(json!({
            "outcome": "established", "errno": Value::Null, "errno_number": Value::Null,
            "connected_address": to.ip().to_canonical().to_string(), "connected_port": to.port(),
        })));
    }
    Ok(told)
}

/// What the program knows of its attempt.
pub(super) fn told(socket: &OwnedFd, to: SocketAddr, result: Result<(), Errno>) -> Outcome<Deed> {
    let hook = if to.is_ipv4() { "cgroup/connect4" } else { "cgroup/connect6" };
    let mut facts =
        object(json!({ "v4_mapped": v4_mapped(to), "hook": hook, "outcome_reason": Value::Null }));
    let remote = to.ip().to_canonical().to_string();
    match result {
        Ok(()) => {
            let local = SocketAddr::try_from(getsockname(socket)?)?;
            facts.extend(object(json!({
                "outcome": "established", "errno": Value::Null, "errno_number": Value::Null,
                "connected_address": remote, "connected_port": to.port(),
                "local_address": local.ip().to_canonical().to_string(), "local_port": local.port(),
            })));
        }
        Err(errno) => {
            facts.extend(object(json!({
                "outcome": "failed", "errno": name_of(errno), "errno_number": errno.raw_os_error(),
            })));
        }
    }
    Ok(deed(Some("connection"), Value::Object(target("tcp", to)), Value::Object(facts))?)
}

fn name_of(errno: Errno) -> &'static str {
    match errno {
        Errno::CONNREFUSED => "ECONNREFUSED",
        Errno::NETUNREACH => "ENETUNREACH",
        Errno::HOSTUNREACH => "EHOSTUNREACH",
        Errno::ADDRNOTAVAIL => "EADDRNOTAVAIL",
        Errno::ACCESS => "EACCES",
        Errno::PERM => "EPERM",
        Errno::INVAL => "EINVAL",
        _ => "an error that no test makes",
    }
}

/// A listener with room for one takes one connection and leaves the next without an answer, so closing that one comes
/// before its end.
fn abandoned() -> Outcome {
    let here = SocketAddr::from((Ipv6Addr::LOCALHOST, 0));
    let listener = stream(here, false)?;
    bind(&listener, &here)?;
    listen(&listener, 0)?;
    let to = SocketAddr::try_from(getsockname(&listener)?)?;
    let first = stream(to, false)?;
    let done = connect(&first, &to);
    print(&told(&first, to, done)?)?;

    let second = stream(to, true)?;
    let done = connect(&second, &to);
    ensure(done == Err(Errno::INPROGRESS) && getpeername(&second).is_err(), || {
        format!("the second connection should have stayed without an answer: {done:?}")
    })?;
    drop(second);
    let facts = json!({
        "v4_mapped": Value::Null, "hook": "cgroup/connect6", "outcome": "unknown", "outcome_reason": "aborted",
        "errno": Value::Null, "errno_number": Value::Null,
    });
    print(&deed(Some("connection"), Value::Object(target("tcp", to)), facts)?)?;
    Ok(())
}
