//! A load of so many acts a second, counted by whoever does them: what benchmarks measure under.
//!
//! A round is so many opens of a file, connects (each to a listener of its own process, accepted and closed with a
//! reset) and processes started and ended. Rounds are due by the clock: who was kept from the processor for a while
//! catches up, so that what is offered over a second is what was asked for, if the processor can do it at all.

use std::ffi::CString;
use std::fs;
use std::io;
use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use clap::Args;
use rustix::fs::{CWD, Mode, OFlags, openat};
use rustix::net::{connect, sockopt};
use rustix::time::{ClockId, clock_gettime};
use serde::{Deserialize, Serialize};

use super::connect::stream;
use super::measure::processes::Child;
use super::{network, print};
use crate::outcome::{During, Outcome, ensure, failed};

/// How long one that is ahead of its rate sleeps: short against what a second is divided into, long against a wake-up.
const AHEAD: Duration = Duration::from_millis(1);
/// Rounds at full speed between two looks at the clock.
const ROUNDS_A_LOOK: u64 = 16;

#[derive(Args)]
pub(crate) struct LoadArgs {
    /// A file to open; given more than once, one after the other.
    #[arg(long)]
    path: Vec<PathBuf>,
    /// A directory whose files are opened, one after the other.
    #[arg(long)]
    directory: Option<PathBuf>,
    /// Opens in a round.
    #[arg(long, default_value_t = 0)]
    opens: u64,
    /// Connects in a round.
    #[arg(long, default_value_t = 0)]
    connects: u64,
    /// Processes in a round.
    #[arg(long, default_value_t = 0)]
    forks: u64,
    /// Runs of another program in a round.
    #[arg(long, default_value_t = 0)]
    execs: u64,
    /// Which.
    #[arg(long)]
    program: Option<PathBuf>,
    /// Rounds, at most.
    #[arg(long)]
    rounds: u64,
    /// Rounds a second; without it, as many as there can be.
    #[arg(long)]
    rate: Option<u64>,
    /// Stop after so many milliseconds, however many rounds there were.
    #[arg(long, default_value_t = 60_000)]
    milliseconds: u64,
    /// Begin when the clock since boot shows so many nanoseconds, so that several begin at once.
    #[arg(long)]
    at: Option<u64>,
    /// Connect within a network of its own.
    #[arg(long)]
    own_network: bool,
}

/// What was done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Loaded {
    /// Process that did it.
    pub(crate) pid: u32,
    /// Rounds.
    pub(crate) rounds: u64,
    /// Opens that gave a descriptor.
    pub(crate) opens: u64,
    /// Connects that were established, and closed.
    pub(crate) connects: u64,
    /// Processes that ended.
    pub(crate) forks: u64,
    /// Programs that ran to their end.
    pub(crate) execs: u64,
    /// From the first act to the last, in nanoseconds.
    pub(crate) took_ns: u64,
    /// Processor time of that, its own and that of what it ran: not lengthened by what others do meanwhile.
    pub(crate) cpu_ns: u64,
}

/// Nanoseconds since boot, suspend included: the clock of events.
pub(crate) fn boot_ns() -> u64 {
    let time = clock_gettime(ClockId::Boottime);
    time.tv_sec.unsigned_abs() * 1_000_000_000 + time.tv_nsec.unsigned_abs()
}

pub(super) fn perform(args: &LoadArgs) -> Outcome {
    if args.own_network {
        network::leave()?;
    }
    let mut paths = args.path.clone();
    for entry in args.directory.iter().map(fs::read_dir).collect::<Result<Vec<_>, _>>()?.into_iter().flatten()
    {
        paths.push(entry?.path());
    }
    ensure(args.opens == 0 || !paths.is_empty(), || "--opens needs files to open".to_owned())?;
    let paths = paths.into_iter().map(|path| CString::new(path.into_os_string().into_vec()));
    let paths = paths.collect::<Result<Vec<_>, _>>()?;
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).during("listen")?;
    let mut generator = Generator { paths, listener, child: Child::new(), done: Loaded::default() };
    if let Some(at) = args.at {
        thread::sleep(Duration::from_nanos(at.saturating_sub(boot_ns())));
    }
    generator.run(args)?;
    generator.done.pid = std::process::id();
    print(&generator.done)?;
    Ok(())
}

struct Generator {
    paths: Vec<CString>,
    listener: TcpListener,
    child: Child,
    done: Loaded,
}

impl Generator {
    fn run(&mut self, args: &LoadArgs) -> Outcome {
        let (begun, used) = (boot_ns(), cpu_ns()?);
        let limit_ns = args.milliseconds.saturating_mul(1_000_000);
        loop {
            let elapsed_ns = boot_ns().saturating_sub(begun);
            self.done.took_ns = elapsed_ns;
            if elapsed_ns >= limit_ns || self.done.rounds >= args.rounds {
                self.done.cpu_ns = cpu_ns()?.saturating_sub(used);
                return Ok(());
            }
            let due = args.rate.map_or(self.done.rounds + ROUNDS_A_LOOK, |rate| due(rate, elapsed_ns));
            let due = due.min(args.rounds).min(self.done.rounds + ROUNDS_A_LOOK);
            if due <= self.done.rounds {
                thread::sleep(AHEAD);
            }
            while self.done.rounds < due {
                self.round(args)?;
            }
        }
    }

    fn round(&mut self, args: &LoadArgs) -> Outcome {
        for _ in 0..args.opens {
            let at = (self.done.opens as usize).checked_rem(self.paths.len()).unwrap_or_default();
            let Some(path) = self.paths.get(at) else { continue };
            let opened = openat(CWD, path.as_c_str(), OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty());
            drop(opened.during("open")?);
            self.done.opens += 1;
        }
        for _ in 0..args.connects {
            self.connect()?;
            self.done.connects += 1;
        }
        for _ in 0..args.forks {
            let status = self.child.run(None).during("start a process")?;
            ensure(status == 0, || "a process that does nothing failed".to_owned())?;
            self.done.forks += 1;
        }
        for _ in 0..args.execs {
            let Some(program) = &args.program else { return failed("--execs needs a --program") };
            let status = Command::new(program).stdin(Stdio::null()).status().during("run a program")?;
            ensure(status.success(), || format!("{} ended with {status}", program.display()))?;
            self.done.execs += 1;
        }
        self.done.rounds += 1;
        Ok(())
    }

    /// Both ends, one after the other: on loopback the handshake happens within the call. Closed with a reset, else
    /// ports that linger run out.
    fn connect(&self) -> Outcome {
        let to = self.listener.local_addr()?;
        let socket = stream(to, false)?;
        connect(&socket, &to).during("connect")?;
        let peer = self.listener.accept().during("accept")?;
        sockopt::set_socket_linger(&socket, Some(Duration::ZERO)).during("set a socket's linger")?;
        drop(socket);
        drop(peer);
        Ok(())
    }
}

/// Processor time of this process and of those that it has waited for, in user's and kernel's code.
fn cpu_ns() -> io::Result<u64> {
    let mut total_us = 0;
    for who in [libc::RUSAGE_SELF, libc::RUSAGE_CHILDREN] {
        // SAFETY: zeros are a valid `rusage`, which lives through the call.
        let usage = unsafe {
            let mut usage: libc::rusage = std::mem::zeroed();
            if libc::getrusage(who, &raw mut usage) != 0 {
                return Err(io::Error::last_os_error());
            }
            usage
        };
        for time in [usage.ru_utime, usage.ru_stime] {
            total_us += time.tv_sec.unsigned_abs() * 1_000_000 + time.tv_usec.unsigned_abs();
        }
    }
    Ok(total_us * 1_000)
}

/// Rounds that should have been done after so long.
fn due(rate: u64, elapsed_ns: u64) -> u64 {
    u64::try_from(u128::from(rate) * u128::from(elapsed_ns) / 1_000_000_000).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rounds_are_due_by_the_clock() {
        for (rate, elapsed_ns, rounds) in [
            (1_000, 0, 0),
            (1_000, 999_999, 0),
            (1_000, 1_000_000, 1),
            (3, 2_000_000_000, 6),
            (0, u64::MAX, 0),
        ] {
            assert_eq!(due(rate, elapsed_ns), rounds, "{rate} {elapsed_ns}");
        }
    }
}
