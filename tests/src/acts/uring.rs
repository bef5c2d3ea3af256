//! System calls by way of io_uring.

use std::ffi::CString;
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

use io_uring::{IoUring, opcode, squeue, types};
use rustix::io::Errno;
use rustix::net::SocketAddrUnix;

use crate::outcome::{During, Outcome, failed};

/// Milliseconds for which the kernel's thread polls before it rests.
const POLL_IDLE_MS: u32 = 100;

/// Which thread does it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum By {
    /// The caller's.
    Caller,
    /// One of the kernel's, which polls for what is to be done.
    Poller,
    /// One of the kernel's, made for this.
    Worker,
}

/// Makes a socket that has no descriptor but a place in the ring, and connects it; what the kernel gave.
pub(super) fn connect_direct(to: SocketAddr) -> Outcome<Result<(), Errno>> {
    let (address, length) = raw(to);
    let mut ring: IoUring = IoUring::new(4).during("make a ring")?;
    match ring.submitter().register_files_sparse(1) {
        // Since 5.19.
        Err(error) if error.raw_os_error() == Some(libc::EINVAL) => return failed(super::UNSUPPORTED),
        room => room.during("make room in the ring")?,
    }
    let family = if to.is_ipv4() { libc::AF_INET } else { libc::AF_INET6 };
    let Ok(place) = types::DestinationSlot::try_from_slot_target(0) else {
        return failed("the ring has no first place");
    };
    let make = opcode::Socket::new(family, libc::SOCK_STREAM, 0).file_index(Some(place)).build();
    match one(&mut ring, &make).during("make a socket by io_uring")? {
        0 => {}
        error if error == -libc::EINVAL => return failed(super::UNSUPPORTED),
        error => {
            return Err(io::Error::from_raw_os_error(-error)).during("make a socket by io_uring");
        }
    }
    let connect = opcode::Connect::new(types::Fixed(0), (&raw const address).cast(), length).build();
    let result = one(&mut ring, &connect).during("connect by io_uring")?;
    Ok(if result < 0 { Err(Errno::from_raw_os_error(-result)) } else { Ok(()) })
}

/// Connects; what the kernel gave.
pub(super) fn connect(socket: &OwnedFd, to: SocketAddr, by: By) -> Outcome<Result<(), Errno>> {
    let (address, length) = raw(to);
    let entry =
        opcode::Connect::new(types::Fd(socket.as_raw_fd()), (&raw const address).cast(), length).build();
    let entry = if by == By::Worker { entry.flags(squeue::Flags::ASYNC) } else { entry };
    let result = submit(&entry, by == By::Poller).during("connect by io_uring")?;
    Ok(if result < 0 { Err(Errno::from_raw_os_error(-result)) } else { Ok(()) })
}

/// Opens for reading.
pub(super) fn open(path: &str) -> Outcome<OwnedFd> {
    let Ok(path) = CString::new(path) else { return failed("a path with a NUL") };
    let entry = opcode::OpenAt::new(types::Fd(libc::AT_FDCWD), path.as_ptr()).flags(libc::O_RDONLY).build();
    let result = submit(&entry, false).during("open by io_uring")?;
    if result < 0 {
        return Err(io::Error::from_raw_os_error(-result)).during("open by io_uring");
    }
    // SAFETY: the kernel has just given us this descriptor.
    Ok(unsafe { OwnedFd::from_raw_fd(result) })
}

/// Connects a unix socket.
pub(super) fn connect_local(socket: &OwnedFd, to: &SocketAddrUnix) -> Outcome<Result<(), Errno>> {
    // SAFETY: zeros are a valid `sockaddr_un`.
    let mut address: libc::sockaddr_un = unsafe { std::mem::zeroed() };
    address.sun_family = libc::AF_UNIX as libc::sa_family_t;
    let name = to.path_bytes().unwrap_or_default();
    for (to, from) in address.sun_path.iter_mut().zip(name) {
        *to = *from as libc::c_char;
    }
    let length = size_of_val(&address) as libc::socklen_t;
    let entry =
        opcode::Connect::new(types::Fd(socket.as_raw_fd()), (&raw const address).cast(), length).build();
    let result = submit(&entry, false).during("connect by io_uring")?;
    Ok(if result < 0 { Err(Errno::from_raw_os_error(-result)) } else { Ok(()) })
}

/// Makes a socket.
pub(super) fn socket(family: i32, kind: u32, protocol: i32) -> Outcome<OwnedFd> {
    let entry = opcode::Socket::new(family, kind.cast_signed(), protocol).build();
    let result = submit(&entry, false).during("make a socket by io_uring")?;
    if result == -libc::EINVAL || result == -libc::EAFNOSUPPORT {
        return failed(super::UNSUPPORTED);
    }
    if result < 0 {
        return Err(io::Error::from_raw_os_error(-result)).during("make a socket by io_uring");
    }
    // SAFETY: the kernel has just given us this descriptor.
    Ok(unsafe { OwnedFd::from_raw_fd(result) })
}

fn submit(entry: &squeue::Entry, polled: bool) -> io::Result<i32> {
    let mut builder = IoUring::builder();
    if polled {
        builder.setup_sqpoll(POLL_IDLE_MS);
    }
    one(&mut builder.build(4)?, entry)
}

fn one(ring: &mut IoUring, entry: &squeue::Entry) -> io::Result<i32> {
    // SAFETY: what the entry points to is alive in the caller, which waits for its end here.
    let pushed = unsafe { ring.submission().push(entry) };
    pushed.map_err(io::Error::other)?;
    ring.submit_and_wait(1)?;
    let result = ring.completion().next().map(|completion| completion.result());
    result.ok_or_else(|| io::Error::other("no completion"))
}

/// An address as the kernel takes it.
pub(super) fn raw(to: SocketAddr) -> (libc::sockaddr_storage, libc::socklen_t) {
    // SAFETY: zeros are a valid `sockaddr_storage`.
    let mut storage: libc::sockaddr_storage = unsafe { std::mem::zeroed() };
    let size = match to {
        SocketAddr::V4(v4) => {
            let address = libc::sockaddr_in {
                sin_family: libc::AF_INET as libc::sa_family_t,
                sin_port: v4.port().to_be(),
                sin_addr: libc::in_addr { s_addr: u32::from_ne_bytes(v4.ip().octets()) },
                sin_zero: [0; 8],
            };
            // SAFETY: the storage is larger, and aligned for every kind of address.
            unsafe { (&raw mut storage).cast::<libc::sockaddr_in>().write(address) };
            size_of::<libc::sockaddr_in>()
        }
        SocketAddr::V6(v6) => {
            let address = libc::sockaddr_in6 {
                sin6_family: libc::AF_INET6 as libc::sa_family_t,
                sin6_port: v6.port().to_be(),
                sin6_flowinfo: 0,
                sin6_addr: libc::in6_addr { s6_addr: v6.ip().octets() },
                sin6_scope_id: v6.scope_id(),
            };
            // SAFETY: as above.
            unsafe { (&raw mut storage).cast::<libc::sockaddr_in6>().write(address) };
            size_of::<libc::sockaddr_in6>()
        }
    };
    (storage, size as libc::socklen_t)
}
