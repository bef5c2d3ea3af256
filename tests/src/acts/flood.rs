//! Many opens and connects, counted by whoever does them.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
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

pub(super) fn perform(args: &FloodArgs) -> Outcome {
    let mut counts = Counts { pid: std::process::id(), opens: 0, connects: 0 };
    while counts.opens < args.opens || counts.connects < args.connects {
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
    }
    print(&counts)?;
    Ok(())
}
