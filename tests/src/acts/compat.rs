//! System calls with the numbers of 32-bit programs, made by this 64-bit one: the kernel serves them as those of a 32-bit
//! program. They take addresses below 4 GiB alone.

use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

use rustix::io::Errno;

use super::uring;
use crate::outcome::{During, Outcome, failed};

/// Numbers of `arch/x86/entry/syscalls/syscall_32.tbl`.
const SOCKET: u32 = 359;
const CONNECT: u32 = 362;
const PTRACE: u32 = 26;

/// A new socket for an address.
pub(super) fn stream(to: SocketAddr) -> Outcome<OwnedFd> {
    let family = if to.is_ipv4() { libc::AF_INET } else { libc::AF_INET6 };
    let made = call(SOCKET, [family.cast_unsigned(), libc::SOCK_STREAM.cast_unsigned(), 0])?;
    if made == -libc::ENOSYS {
        return failed(super::UNSUPPORTED);
    }
    if made < 0 {
        return Err(io::Error::from_raw_os_error(-made)).during("make a socket");
    }
    // SAFETY: the kernel has just given us this descriptor.
    Ok(unsafe { OwnedFd::from_raw_fd(made) })
}

/// Connects; what the kernel gave.
pub(super) fn connect(socket: &OwnedFd, to: SocketAddr) -> Outcome<Result<(), Errno>> {
    let (address, length) = uring::raw(to);
    let low = low_memory().during("take memory below 4 GiB")?;
    // SAFETY: a page is larger than an address, and aligned.
    unsafe { low.cast::<libc::sockaddr_storage>().write(address) };
    let place = u32::try_from(low as usize)?;
    let done = call(CONNECT, [socket.as_raw_fd().cast_unsigned(), place, length])?;
    Ok(if done < 0 { Err(Errno::from_raw_os_error(-done)) } else { Ok(()) })
}

/// Attaches to a thread; what the kernel gave.
pub(super) fn attach(thread: u32) -> Outcome<io::Result<()>> {
    let done = call(PTRACE, [libc::PTRACE_ATTACH, thread, 0])?;
    if done == -libc::ENOSYS {
        return failed(super::UNSUPPORTED);
    }
    Ok(if done < 0 { Err(io::Error::from_raw_os_error(-done)) } else { Ok(()) })
}

/// A page that is the process's until it ends.
fn low_memory() -> io::Result<*mut libc::c_void> {
    let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | low_flag();
    // SAFETY: a new mapping, wherever the kernel wants it.
    let place =
        unsafe { libc::mmap(std::ptr::null_mut(), 4096, libc::PROT_READ | libc::PROT_WRITE, flags, -1, 0) };
    if place == libc::MAP_FAILED { Err(io::Error::last_os_error()) } else { Ok(place) }
}

#[cfg(target_arch = "x86_64")]
const fn low_flag() -> libc::c_int {
    libc::MAP_32BIT
}

#[cfg(not(target_arch = "x86_64"))]
const fn low_flag() -> libc::c_int {
    0
}

#[cfg(target_arch = "x86_64")]
fn call(number: u32, arguments: [u32; 3]) -> Outcome<i32> {
    let [first, second, third] = arguments;
    let result: i64;
    // SAFETY: the compiler keeps rbx to itself, so it is put back; the kernel clobbers r8 to r11 at most.
    unsafe {
        std::arch::asm!(
            "xchg rbx, {first:r}",
            "int 0x80",
            "xchg rbx, {first:r}",
            first = inout(reg) u64::from(first) => _,
            inout("rax") i64::from(number) => result,
            in("rcx") u64::from(second),
            in("rdx") u64::from(third),
            out("r8") _, out("r9") _, out("r10") _, out("r11") _,
        );
    }
    Ok(i32::try_from(result)?)
}

#[cfg(not(target_arch = "x86_64"))]
fn call(_number: u32, _arguments: [u32; 3]) -> Outcome<i32> {
    failed(super::UNSUPPORTED)
}
