//! A network of one's own: nothing that is done there touches the host's.

use std::fs;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};

use rustix::net::{AddressFamily, SocketType, socket};
use rustix::thread::{UnshareFlags, unshare_unsafe};

use crate::outcome::{During, Outcome};

/// `IFF_TUN`, without a header of the driver's (`IFF_NO_PI`).
const TUN_FLAGS: libc::c_short = 0x0001 | 0x1000;
/// `TUNSETIFF` of `linux/if_tun.h`.
const TUNSETIFF: libc::c_ulong = 0x4004_54ca;

/// Leaves the host's network for a new one, whose loopback interface works.
pub(super) fn leave() -> Outcome {
    // SAFETY: there is one thread, and only its network changes.
    unsafe { unshare_unsafe(UnshareFlags::NEWNET) }.during("make a network")?;
    let any = socket(AddressFamily::INET, SocketType::DGRAM, None)?;
    let mut request = interface("lo");
    request.ifr_ifru.ifru_flags = (libc::IFF_UP | libc::IFF_RUNNING) as libc::c_short;
    control(&any, libc::SIOCSIFFLAGS, &mut request).during("start loopback")
}

/// Lets every listener take data with the first packet, and every client send it, without cookies.
pub(super) fn open_fast() -> Outcome {
    fs::write("/proc/sys/net/ipv4/tcp_fastopen", "1543\n").during("allow Fast Open")
}

/// Makes a TUN interface, which is gone with the descriptor.
pub(super) fn tun() -> Outcome<OwnedFd> {
    let device = fs::OpenOptions::new().read(true).write(true).open("/dev/net/tun");
    let device = OwnedFd::from(device.during("open /dev/net/tun")?);
    let mut request = interface("telltale%d");
    request.ifr_ifru.ifru_flags = TUN_FLAGS;
    control(&device, TUNSETIFF, &mut request).during("make a TUN interface")?;
    Ok(device)
}

fn interface(name: &str) -> libc::ifreq {
    // SAFETY: zeros are a valid `ifreq`.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    for (to, from) in request.ifr_name.iter_mut().zip(name.bytes()) {
        *to = from as libc::c_char;
    }
    request
}

fn control(descriptor: &OwnedFd, command: libc::c_ulong, request: &mut libc::ifreq) -> io::Result<()> {
    // SAFETY: the command takes an `ifreq`, which lives through the call.
    let done = unsafe { libc::ioctl(descriptor.as_raw_fd(), command as _, &raw mut *request) };
    if done < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}
