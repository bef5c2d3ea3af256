//! Many processes that do nothing.

use std::io;

use clap::Args;
use rustix::process::{Signal, set_parent_process_death_signal};
use serde::Serialize;

use super::print;
use crate::outcome::{During, Outcome};

#[derive(Args)]
pub(crate) struct CrowdArgs {
    /// How many.
    #[arg(long)]
    processes: u32,
}

/// Printed once they are all there.
#[derive(Serialize)]
struct Crowd {
    processes: u32,
}

/// Starts them and sleeps until it is killed; they end with it.
pub(super) fn perform(args: &CrowdArgs) -> Outcome {
    for _ in 0..args.processes {
        // SAFETY: there is one thread, so that the child's memory is whole.
        match unsafe { libc::fork() } {
            0 => {
                // Without that they would stay: better none.
                if set_parent_process_death_signal(Some(Signal::KILL)).is_ok() {
                    sleep();
                }
                // SAFETY: ends the child without what was registered for its parent's end.
                unsafe { libc::_exit(1) }
            }
            -1 => return Err(io::Error::last_os_error()).during("start a process"),
            _ => {}
        }
    }
    print(&Crowd { processes: args.processes })?;
    sleep();
    Ok(())
}

/// Until a signal kills.
fn sleep() {
    loop {
        // SAFETY: it only waits.
        unsafe { libc::pause() };
    }
}
