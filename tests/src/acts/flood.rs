//! Many opens and connects, counted by whoever does them.

use std::net::SocketAddr;
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::thread;
use std::time::Duration;

use clap::Args;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{CWD, Mode, OFlags, openat};
use rustix::net::{connect, sockopt};
use serde::{Deserialize, Serialize};

use super::{connect::stream, print};
use crate::outcome::{During, Outcome};

#[derive(Args)]
pub(crate) struct FloodArgs {
    /// A file to open.
    #[arg(long)]
    path: PathBuf,
    /// How many times.
    #[arg(long)]
    opens: u64,
    /// Where to connect to.
    #[arg(long)]
    to: SocketAddr,
    /// How many times.
    #[arg(long)]
    connects: u64,
    /// Rounds a second, at most: a load that goes on and on must leave room for who looks at it.
    #[arg(long)]
    rate: Option<u32>,
    /// Stop when there is no more input.
    #[arg(long)]
    while_held: bool,
}

/// What was done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Counts {
    /// Process that did it.
    pub(crate) pid: u32,
    /// Opens that gave a descriptor.
    pub(crate) opens: u64,
    /// Connects that were established.
    pub(crate) connects: u64,
}

/// Whether nobody can write to this pipe any more.
fn has_ended(input: &impl AsFd) -> Outcome<bool> {
    let mut polled = [PollFd::new(input, PollFlags::empty())];
    let ready = poll(&mut polled, Some(&Timespec { tv_sec: 0, tv_nsec: 0 })).during("look at the input")?;
    Ok(ready > 0)
}

pub(super) fn perform(args: &FloodArgs) -> Outcome {
    let mut counts = Counts { pid: std::process::id(), opens: 0, connects: 0 };
    while counts.opens < args.opens || counts.connects < args.connects {
        if args.while_held && has_ended(&std::io::stdin())? {
            break;
        }
        if counts.opens < args.opens {
            drop(openat(CWD, &args.path, OFlags::RDONLY, Mode::empty()).during("open")?);
            counts.opens += 1;
        }
        if counts.connects < args.connects {
            let socket = stream(args.to, false)?;
            connect(&socket, &args.to).during("connect")?;
            // Closed with a reset: ports that linger would run out.
            sockopt::set_socket_linger(&socket, Some(Duration::ZERO)).during("set a socket's linger")?;
            counts.connects += 1;
        }
        if let Some(rate) = args.rate {
            thread::sleep(Duration::from_secs(1) / rate.max(1));
        }
    }
    print(&counts)?;
    Ok(())
}
