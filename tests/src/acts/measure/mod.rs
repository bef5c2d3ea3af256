//! Does each act that the agent could make dearer many times, alone and timed singly, and prints the times.
//!
//! Made for a machine with one processor whose clock counts instructions (`cargo xtask bench insn`); elsewhere the
//! times are those of that machine. The process runs before all others, so that what the agent does with what it is told
//! happens between the acts that are timed, never within: there is no second processor, and the agent waits for a pause.

mod files;
mod network;
pub(super) mod processes;
mod stopwatch;

use std::path::PathBuf;

use clap::Args;
use serde::{Deserialize, Serialize};

use super::print;
use crate::outcome::{During, Outcome, ensure};
use stopwatch::Stopwatch;

#[derive(Args)]
pub(crate) struct MeasureArgs {
    /// A directory for the files that are opened, of which only those below `telltale-test-credentials` are credentials.
    /// What an earlier run left there is used again.
    #[arg(long)]
    directory: PathBuf,
    /// How often each act is timed.
    #[arg(long, default_value_t = 200)]
    times: u32,
}

/// What was measured.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Measured {
    /// The process that acted.
    pub(crate) pid: u32,
    /// Each path's times.
    pub(crate) paths: Vec<Path>,
    /// Events that an agent owes for all of it.
    pub(crate) owed: Owed,
}

/// A path through the kernel.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Path {
    /// Its name: a key of the baseline.
    pub(crate) name: String,
    /// Each act's time in nanoseconds, in the order in which they happened.
    pub(crate) ns: Vec<u64>,
}

/// How many events of each kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Owed {
    pub(crate) credential_access: u64,
    pub(crate) connection: u64,
    pub(crate) connection_end: u64,
    pub(crate) datagram_flow: u64,
}

pub(super) fn perform(args: &MeasureArgs) -> Outcome {
    ensure(args.times > 0, || "--times must not be 0".to_owned())?;
    run_before_others()?;
    let mut watch = Stopwatch::new(args.times);
    watch.calibrate();
    files::measure(&mut watch, &args.directory)?;
    network::measure(&mut watch)?;
    processes::measure(&mut watch, &args.directory)?;
    print(&watch.finish())?;
    Ok(())
}

/// A realtime process is not put aside for one that was woken, such as the agent.
fn run_before_others() -> Outcome {
    let first = libc::sched_param { sched_priority: 1 };
    // SAFETY: the structure lives through the call; 0 is this thread.
    let done = unsafe { libc::sched_setscheduler(0, libc::SCHED_FIFO, &raw const first) };
    let done = if done == 0 { Ok(()) } else { Err(std::io::Error::last_os_error()) };
    done.during("run before all other processes (it needs root)")
}
