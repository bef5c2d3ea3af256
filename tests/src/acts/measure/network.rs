//! Connections and datagrams on loopback.

use std::net::{Ipv4Addr, SocketAddr, TcpListener, UdpSocket};
use std::os::fd::OwnedFd;
use std::time::Duration;

use rustix::io::{Errno, write};
use rustix::net::{bind, connect, getsockname, listen, sockopt};

use super::stopwatch::{Stopwatch, timed};
use crate::acts::connect::stream;
use crate::outcome::{During, Outcome, ensure};

const HERE: (Ipv4Addr, u16) = (Ipv4Addr::LOCALHOST, 0);

pub(super) fn measure(watch: &mut Stopwatch) -> Outcome {
    unanswered(watch)?;
    established(watch)?;
    send(watch)?;
    datagrams(watch)
}

/// The attempt alone: a listener with room for one takes one connection, and leaves all others without an answer. Each
/// is given up before the kernel would try again.
fn unanswered(watch: &mut Stopwatch) -> Outcome {
    let listener = stream(HERE.into(), false)?;
    bind(&listener, &SocketAddr::from(HERE))?;
    listen(&listener, 0)?;
    let to = SocketAddr::try_from(getsockname(&listener)?)?;
    let first = stream(to, false)?;
    connect(&first, &to).during("fill a listener")?;
    watch.owed.connection += 1;
    watch.owed.connection_end += 1;
    for _ in watch.rounds() {
        let socket = stream(to, true)?;
        let (done, ns) = timed(|| connect(&socket, &to));
        ensure(done == Err(Errno::INPROGRESS), || format!("a full listener answered: {done:?}"))?;
        watch.keep("connect_unanswered", ns);
        watch.owed.connection += 1;
    }
    Ok(())
}

/// On loopback the whole handshake happens within the call.
fn established(watch: &mut Stopwatch) -> Outcome {
    let listener = TcpListener::bind(HERE).during("listen")?;
    let to = listener.local_addr()?;
    for _ in watch.rounds() {
        let socket = stream(to, false)?;
        let (done, ns) = timed(|| connect(&socket, &to));
        done.during("connect")?;
        watch.keep("connect_established", ns);
        watch.owed.connection += 1;
        let peer = listener.accept().during("accept")?;
        // With a reset the connection ends, and is told of, within the call; else when the other end closes too.
        close_with_reset(&socket)?;
        let ((), ns) = timed(|| drop(socket));
        watch.keep("connect_end", ns);
        watch.owed.connection_end += 1;
        drop(peer);
    }
    Ok(())
}

/// What an established connection pays for each packet.
fn send(watch: &mut Stopwatch) -> Outcome {
    let listener = TcpListener::bind(HERE).during("listen")?;
    let to = listener.local_addr()?;
    let socket = stream(to, false)?;
    sockopt::set_tcp_nodelay(&socket, true)?;
    connect(&socket, &to).during("connect")?;
    watch.owed.connection += 1;
    let peer = OwnedFd::from(listener.accept().during("accept")?.0);
    let mut byte = [0];
    for _ in watch.rounds() {
        let (sent, ns) = timed(|| write(&socket, b"x"));
        ensure(sent == Ok(1), || format!("a connection took nothing: {sent:?}"))?;
        rustix::io::read(&peer, &mut byte).during("read what was sent")?;
        watch.keep("send_tcp", ns);
    }
    close_with_reset(&peer)?;
    watch.owed.connection_end += 1;
    Ok(())
}

/// To one peer again and again, and to a new one each time: every address below 127 is this machine.
fn datagrams(watch: &mut Stopwatch) -> Outcome {
    let receiver = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).during("receive datagrams")?;
    let port = receiver.local_addr()?.port();
    let sender = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).during("make a socket")?;
    let mut room = [0; 8];
    let mut send = |to: Ipv4Addr| {
        let (sent, ns) = timed(|| sender.send_to(b"datagram", (to, port)));
        sent.during("send a datagram")?;
        receiver.recv(&mut room).during("receive a datagram")?;
        Outcome::Ok(ns)
    };
    for _ in watch.rounds() {
        watch.keep("datagram_again", send(Ipv4Addr::LOCALHOST)?);
    }
    watch.owed.datagram_flow += 1;
    for round in watch.rounds() {
        let [_, _, high, low] = round.to_be_bytes();
        watch.keep("datagram_new", send(Ipv4Addr::new(127, 1, high, low))?);
        watch.owed.datagram_flow += 1;
    }
    Ok(())
}

/// What lingers would be in the way of the next.
fn close_with_reset(socket: &OwnedFd) -> Outcome {
    sockopt::set_socket_linger(socket, Some(Duration::ZERO)).during("set a socket's linger")
}
