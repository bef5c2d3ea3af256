//! A TCP connection to another process of this program, which listens.

use std::io::{self, PipeReader, PipeWriter, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener};
use std::os::fd::OwnedFd;

use clap::{Args, ValueEnum};
use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, listen, socket_with, sockopt};
use rustix::process::{Pid, WaitOptions, waitpid};
use serde_json::json;

use super::connect::{How, attempt};
use super::daemon::fork;
use super::{network, print};
use crate::harness::expect::object;
use crate::outcome::{During, Outcome, failed};

/// Who listens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Way {
    /// One process.
    One,
    /// One, on a port at which another has listened before.
    TakenAgain,
    /// One, on a port at which another listens in another network.
    OtherNetwork,
    /// Two, each with a socket of its own (`SO_REUSEPORT`).
    Shared,
    /// One on every address, and another on the address that is connected to.
    MoreExact,
    /// What a process has made that listened, put itself into the background and ended.
    Background,
}

#[derive(Args)]
pub(crate) struct PeerArgs {
    /// Who listens.
    #[arg(long, default_value = "one")]
    way: Way,
    /// Address to listen on.
    #[arg(long, default_value = "127.0.0.1")]
    on: IpAddr,
    /// Address to connect to.
    #[arg(long, default_value = "127.0.0.1")]
    to: IpAddr,
}

/// A process that listens until this is dropped.
struct Listening {
    pid: Pid,
    port: u16,
    hold: Option<PipeWriter>,
}

impl Listening {
    /// Has a child listen; `port` 0: on any.
    fn start(on: IpAddr, port: u16, prepare: fn() -> Outcome) -> Outcome<Self> {
        let (mut told, mut tell) = io::pipe().during("make a pipe")?;
        let (wait, hold) = io::pipe().during("make a pipe")?;
        let Some(pid) = fork()? else {
            drop((told, hold));
            end(listener(on, port, prepare).and_then(|(listener, port)| {
                tell.write_all(&port.to_ne_bytes())?;
                until_let_go(wait)?;
                drop(listener);
                Ok(())
            }))
        };
        drop((tell, wait));
        let mut port = [0; 2];
        told.read_exact(&mut port).during("hear of the listener")?;
        Ok(Self { pid, port: u16::from_ne_bytes(port), hold: Some(hold) })
    }

    /// Ends it; it is gone then.
    fn end(mut self) -> Outcome {
        drop(self.hold.take());
        waitpid(Some(self.pid), WaitOptions::empty()).during("wait for who listened")?;
        Ok(())
    }
}

/// Ends the child that this is.
fn end(done: Outcome) -> ! {
    let code = match done {
        Ok(()) => 0,
        Err(verdict) => {
            eprintln!("{verdict:?}");
            1
        }
    };
    std::process::exit(code)
}

fn until_let_go(mut wait: PipeReader) -> io::Result<usize> {
    wait.read(&mut [0])
}

fn listener(on: IpAddr, port: u16, prepare: fn() -> Outcome) -> Outcome<(OwnedFd, u16)> {
    prepare()?;
    let family = if on.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let socket = socket_with(family, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
    sockopt::set_socket_reuseaddr(&socket, true)?;
    sockopt::set_socket_reuseport(&socket, true)?;
    bind(&socket, &SocketAddr::new(on, port)).during("bind")?;
    listen(&socket, 8).during("listen")?;
    let listener = TcpListener::from(socket);
    let port = listener.local_addr()?.port();
    Ok((listener.into(), port))
}

fn nothing() -> Outcome {
    Ok(())
}

/// A child that listens, makes another, and ends; what it made.
fn background(on: IpAddr) -> Outcome<Listening> {
    let (mut told, mut tell) = io::pipe().during("make a pipe")?;
    let (wait, hold) = io::pipe().during("make a pipe")?;
    let Some(first) = fork()? else {
        drop((told, hold));
        end(listener(on, 0, nothing).and_then(|(listener, port)| {
            if let Some(second) = fork()? {
                let pid = second.as_raw_nonzero().get();
                tell.write_all(&port.to_ne_bytes())?;
                tell.write_all(&pid.to_ne_bytes())?;
                return Ok(());
            }
            drop(tell);
            until_let_go(wait)?;
            drop(listener);
            Ok(())
        }))
    };
    drop((tell, wait));
    let (mut port, mut pid) = ([0; 2], [0; 4]);
    told.read_exact(&mut port).during("hear of the listener")?;
    told.read_exact(&mut pid).during("hear of who is in the background")?;
    waitpid(Some(first), WaitOptions::empty()).during("wait for who made it")?;
    let Some(pid) = Pid::from_raw(i32::from_ne_bytes(pid)) else { return failed("a child without a number") };
    Ok(Listening { pid, port: u16::from_ne_bytes(port), hold: Some(hold) })
}

pub(super) fn perform(args: &PeerArgs) -> Outcome {
    let start = |port, prepare| Listening::start(args.on, port, prepare);
    let first = match args.way {
        Way::Background => background(args.on)?,
        Way::OtherNetwork => start(0, network::leave)?,
        _ => start(0, nothing)?,
    };
    let port = first.port;
    let mut all = vec![first];
    match args.way {
        Way::One | Way::Background => {}
        Way::TakenAgain => {
            end_all(all)?;
            all = vec![start(port, nothing)?];
        }
        Way::OtherNetwork | Way::Shared => all.push(start(port, nothing)?),
        Way::MoreExact => all.push(Listening::start(args.to, port, nothing)?),
    }
    // Of several the one that has been there longest is told.
    let listens = if args.way == Way::Shared { all.first() } else { all.last() };
    let pid = listens.map(|listens| listens.pid.as_raw_nonzero().get());
    let mut done = attempt(SocketAddr::new(args.to, port), How::Blocking)?;
    done.facts.extend(object(json!({ "destination_pid": pid })));
    print(&done)?;
    if args.way == Way::Background {
        // Who is in the background is another's child.
        return Ok(());
    }
    end_all(all)
}

/// Ends them, the last first: each has its elders' pipes.
fn end_all(mut all: Vec<Listening>) -> Outcome {
    while let Some(last) = all.pop() {
        last.end()?;
    }
    Ok(())
}
