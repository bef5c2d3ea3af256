//! Ends of connections on loopback, each with a port of its own.

use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener};
use std::os::fd::OwnedFd;
use std::sync::{Mutex, PoisonError};
use std::thread;

use rustix::net::{AddressFamily, Shutdown, SocketAddrAny, SocketType, bind, getsockname, shutdown, socket};

use crate::outcome::{During, Outcome, failed};

/// Loopback of IPv4.
pub(crate) const V4: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
/// Loopback of IPv6.
pub(crate) const V6: IpAddr = IpAddr::V6(Ipv6Addr::LOCALHOST);

/// Ports handed out in this run.
static TAKEN: Mutex<BTreeSet<u16>> = Mutex::new(BTreeSet::new());
/// More than a range of ephemeral ports gives again in a row.
const TRIES: usize = 256;

/// What `take` binds to a free port, where nothing of this run was bound before, over any protocol: events are told apart
/// by the port that they went to.
pub(crate) fn on_own_port<T>(mut take: impl FnMut() -> Outcome<(T, SocketAddr)>) -> Outcome<(T, SocketAddr)> {
    // Held while others are tried, so that the kernel gives others.
    let mut used = Vec::new();
    for _ in 0..TRIES {
        let (taken, address) = take()?;
        if TAKEN.lock().unwrap_or_else(PoisonError::into_inner).insert(address.port()) {
            return Ok((taken, address));
        }
        used.push(taken);
    }
    failed(format!("{TRIES} free ports were all used before in this run"))
}

/// Answers every request with a short page. Ends when it is dropped.
#[derive(Debug)]
pub(crate) struct Server {
    listener: TcpListener,
    /// Where.
    pub(crate) address: SocketAddr,
}

impl Server {
    /// Listens on a free port.
    pub(crate) fn start(ip: IpAddr) -> Outcome<Self> {
        let (listener, address) = on_own_port(|| {
            let listener = TcpListener::bind((ip, 0)).during(format!("listen on {ip}"))?;
            let address = listener.local_addr()?;
            Ok((listener, address))
        })?;
        let accepting = listener.try_clone()?;
        thread::spawn(move || {
            // Fails once the listener was shut down.
            while let Ok((mut stream, _)) = accepting.accept() {
                thread::spawn(move || {
                    // Whoever connects may as well hang up: nothing depends on the answer but their own status.
                    let _ = stream.read(&mut [0; 4096]);
                    let _ = stream
                        .write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nConnection: close\r\n\r\nok\n");
                });
            }
        });
        Ok(Self { listener, address })
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = shutdown(&self.listener, Shutdown::Both);
    }
}

/// An IPv4 address in its v4-mapped form.
pub(crate) fn mapped(address: SocketAddr) -> SocketAddr {
    match address.ip() {
        IpAddr::V4(ip) => SocketAddr::new(IpAddr::V6(ip.to_ipv6_mapped()), address.port()),
        IpAddr::V6(_) => address,
    }
}

/// A port that is taken but not listened on: connecting to it is refused.
#[derive(Debug)]
pub(crate) struct Refusing {
    _socket: OwnedFd,
    /// Where.
    pub(crate) address: SocketAddr,
}

impl Refusing {
    /// Takes a free port.
    pub(crate) fn start(ip: IpAddr) -> Outcome<Self> {
        let family = if ip.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
        let (socket, address) = on_own_port(|| {
            let socket = socket(family, SocketType::STREAM, None).during("make a socket")?;
            bind(&socket, &SocketAddr::new(ip, 0)).during(format!("bind on {ip}"))?;
            let address = SocketAddr::try_from(name(&socket)?).during("read a socket's name")?;
            Ok((socket, address))
        })?;
        Ok(Self { _socket: socket, address })
    }
}

fn name(socket: &OwnedFd) -> Outcome<SocketAddrAny> {
    getsockname(socket).during("read a socket's name")
}
