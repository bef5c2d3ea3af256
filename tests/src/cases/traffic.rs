//! What TCP connections carry: to the byte at their end, so far while they last.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream, UdpSocket};

use super::{Case, own, shared};
use crate::harness::agent::Options;
use crate::harness::event::Event;
use crate::harness::gaps;
use crate::harness::places;
use crate::harness::servers::{V4, V6};
use crate::harness::session::Session;
use crate::harness::setting::Setting;
use crate::outcome::{During, Outcome, ensure, skipped};

/// Name, bytes sent, bytes received, further arguments.
const TABLE: [(&str, &str, &str, &[&str]); 18] = [
    ("nothing", "0", "0", &[]),
    ("one-byte", "1", "1", &[]),
    ("v6", "1000", "5", &["--on", "::1"]),
    ("out", "4194304", "0", &[]),
    ("in", "0", "4194304", &[]),
    ("both", "1048577", "2097151", &["--on", "::1"]),
    ("closed-by-peer", "10", "20", &["--end", "closed"]),
    ("half-closed", "30", "40", &["--end", "half"]),
    ("reset", "11", "12", &["--end", "reset"]),
    ("reset-by-peer", "13", "14", &["--end", "reset-by-peer"]),
    ("unread", "15", "16", &["--end", "unread"]),
    ("exit", "17", "18", &["--end", "exit"]),
    ("fast-open", "19", "20", &["--fast-open"]),
    ("fast-open-large", "100000", "7", &["--fast-open", "--on", "::1"]),
    ("fast-open-data-in-syn", "21", "22", &["--fast-open", "--fast-network"]),
    ("put-off", "23", "24", &["--put-off"]),
    ("put-off-data-in-syn", "25", "26", &["--put-off", "--fast-network"]),
    ("put-off-data-in-syn-v6", "27000", "28", &["--put-off", "--fast-network", "--on", "::1"]),
];

/// All of them.
pub(super) fn cases() -> Vec<Case> {
    let rows = TABLE.iter().map(|(name, send, receive, more)| {
        shared(format!("traffic/{name}"), move |scene| {
            let args = [&["talk", "--send", send, "--receive", receive], *more].concat();
            scene.act_and_expect(&args)
        })
    });
    let mut cases: Vec<Case> = rows.collect();
    cases.push(own("traffic/updates", updates));
    cases.push(own("traffic/held", held));
    cases
}

/// A connection that lasts is told of when it has carried something more, and only then.
fn updates(setting: &Setting) -> Outcome {
    let config = setting.path("updates.toml");
    places::write(&config, "connection_update_seconds = 1\n")?;
    let session = Session::start(setting, &Options { config: Some(config), ..Options::default() })?;
    let listener = TcpListener::bind((V4, 0)).during("listen")?;
    let port = listener.local_addr()?.port();
    let mut ours = TcpStream::connect((V4, port)).during("connect")?;
    let (mut theirs, _) = listener.accept()?;
    let mut from = 0;
    let mut wait = |kind: &str| -> Outcome<(u64, u64)> {
        let carried = |event: &Event| {
            let is_it = event.mentions("remote_port", port.into())
                && event.kind() == kind
                && event.pid() == Some(std::process::id());
            is_it.then(|| event.number("bytes_sent").zip(event.number("bytes_received")))
        };
        let events = &session.collector.events;
        let found = events.wait(kind, from, setting.limit, carried)?;
        from = events.len();
        found.map_or_else(|| crate::outcome::failed(format!("{kind} lacks its figures")), Ok)
    };
    let mut expected = Vec::new();
    for (sent, received) in [(100, 0), (100, 250), (1_100, 250)] {
        let (more_out, more_in) = expected.last().map_or((sent, received), |(s, r)| (sent - s, received - r));
        ours.write_all(&vec![7; usize::try_from(more_out)?])?;
        theirs.write_all(&vec![7; usize::try_from(more_in)?])?;
        ours.read_exact(&mut vec![0; usize::try_from(more_in)?])?;
        expected.push((sent, received));
        let found = wait("connection_update")?;
        ensure(found == (sent, received), || format!("{found:?} was told, {sent} and {received} is so"))?;
    }
    drop(ours);
    let found = wait("connection_end")?;
    ensure(found == (1_100, 250), || format!("{found:?} was told at the end"))?;
    let told = session.stop(setting)?;
    told.balanced()?;
    let of_it = |event: &Event| {
        event.kind() == "connection_update" && event.number("remote_port") == Some(port.into())
    };
    let number = told.count(of_it);
    ensure(number == 3, || format!("{number} updates were told, where three times something was new"))
}

/// Of kernels before 5.17.
const HELD_UNSEEN: &str =
    "connections and connected UDP sockets of before the start are not seen on kernels before 5.17";

/// What was connected before the agent is told as held, of the end that connected alone; its end follows, with all its bytes.
/// The next datagram of a socket that was connected is told as its first.
fn held(setting: &Setting) -> Outcome {
    if gaps::named(setting, None)?.iter().any(|gap| gap == HELD_UNSEEN) {
        return skipped(format!("the agent says: {HELD_UNSEEN}"));
    }
    let mut ends = Vec::new();
    for address in [V4, V6] {
        let listener = TcpListener::bind((address, 0)).during("listen")?;
        let mut ours = TcpStream::connect(listener.local_addr()?).during("connect")?;
        let (mut theirs, _) = listener.accept()?;
        ours.write_all(&[7; 100])?;
        theirs.read_exact(&mut [0; 100])?;
        ends.push((ours, theirs));
    }
    let receiver = UdpSocket::bind((V4, 0)).during("make a socket")?;
    let datagrams = UdpSocket::bind((V4, 0)).during("make a socket")?;
    datagrams.connect(receiver.local_addr()?).during("connect a socket")?;

    let session = Session::start(setting, &Options::default())?;
    let own = std::process::id();
    let is = |event: &Event, kind: &str, port: u16| {
        event.mentions("remote_port", port.into())
            && event.kind() == kind
            && event.pid() == Some(own)
            && event.number("remote_port") == Some(port.into())
    };
    let events = &session.collector.events;
    let find = |kind: &str, port: u16| {
        events.wait(kind, 0, setting.limit, |event| is(event, kind, port).then(|| event.apart()))
    };
    for _ in 0..2 {
        datagrams.send(b"datagram").during("send")?;
    }
    find("datagram_flow", receiver.local_addr()?.port())?;
    let mut ports = Vec::new();
    for (mut ours, theirs) in ends {
        let (port, accepted_from) = (ours.peer_addr()?.port(), ours.local_addr()?.port());
        let found = find("connection", port)?;
        let held = found.get("held") == Some(&true.into()) && found.get("latency_ns").is_none();
        ensure(held && found.text("outcome") == "established", || {
            format!("it was connected before: {}", found.brief())
        })?;
        ours.write_all(&[7; 11])?;
        drop((ours, theirs));
        let found = find("connection_end", port)?;
        ensure(found.number("bytes_sent") == Some(111), || format!("111 were sent: {}", found.brief()))?;
        ports.push((port, accepted_from));
    }
    let told = session.stop(setting)?;
    told.balanced()?;
    let flows =
        told.count(|event| is(event, "datagram_flow", receiver.local_addr().map_or(0, |at| at.port())));
    ensure(flows == 1, || format!("{flows} flows were told"))?;
    for (port, accepted_from) in ports {
        let (made, accepted) = (
            told.count(|event| is(event, "connection", port)),
            told.count(|event| is(event, "connection", accepted_from)),
        );
        ensure((made, accepted) == (1, 0), || {
            format!("{made} connections were told as made, {accepted} of what was accepted")
        })?;
    }
    Ok(())
}
