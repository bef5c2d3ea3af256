//! Ends of connections on loopback, each with a port of its own.

use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener};
use std::os::fd::OwnedFd;
use std::thread;

use rustix::net::{AddressFamily, Shutdown, SocketAddrAny, SocketType, bind, getsockname, shutdown, socket};

use crate::outcome::{During, Outcome};

/// Loopback of IPv4.
pub(crate) const V4: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
/// Loopback of IPv6.
pub(crate) const V6: IpAddr = IpAddr::V6(Ipv6Addr::LOCALHOST);

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
        let listener = TcpListener::bind((ip, 0)).during(format!("listen on {ip}"))?;
        let address = listener.local_addr()?;
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
        let socket = socket(family, SocketType::STREAM, None).during("make a socket")?;
        bind(&socket, &SocketAddr::new(ip, 0)).during(format!("bind on {ip}"))?;
        let address = SocketAddr::try_from(name(&socket)?).during("read a socket's name")?;
        Ok(Self { _socket: socket, address })
    }
}

fn name(socket: &OwnedFd) -> Outcome<SocketAddrAny> {
    getsockname(socket).during("read a socket's name")
}
