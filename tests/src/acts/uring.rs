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

/// Connects; what the kernel gave.
pub(super) fn connect(socket: &OwnedFd, to: SocketAddr, polled: bool) -> Outcome<Result<(), Errno>> {
    let (address, length) = raw(to);
    let entry =
        opcode::Connect::new(types::Fd(socket.as_raw_fd()), (&raw const address).cast(), length).build();
    let result = submit(&entry, polled).during("connect by io_uring")?;
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
    let mut ring: IoUring = builder.build(4)?;
    // SAFETY: what the entry points to is alive in the caller, which waits for its end here.
    let pushed = unsafe { ring.submission().push(entry) };
    pushed.map_err(io::Error::other)?;
    ring.submit_and_wait(1)?;
    let result = ring.completion().next().map(|completion| completion.result());
    result.ok_or_else(|| io::Error::other("no completion"))
}

/// An address as the kernel takes it.
fn raw(to: SocketAddr) -> (libc::sockaddr_storage, libc::socklen_t) {
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
