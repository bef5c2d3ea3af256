//! Very many short processes, so that their numbers come again.
//!
//! Tests run several at once, so that the same number belongs to children of different parents. Now and then a child acts:
//! it opens a credential whose name is its own serial number, which no other process opens; every other time from an
//! image of its own, started with exec.

use std::collections::BTreeMap;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use clap::Args;
use rustix::fs::{CWD, Mode, OFlags, openat};
use rustix::process::{Pid, WaitOptions, WaitStatus, waitpid};
use serde::{Deserialize, Serialize};

use super::daemon::fork;
use super::print;
use crate::harness::who;
use crate::outcome::{During, Outcome, ensure, failed};

#[derive(Args)]
pub(crate) struct ReuseArgs {
    /// Where the credentials are, named 0 and up.
    #[arg(long)]
    directory: PathBuf,
    /// Processes to start.
    #[arg(long)]
    processes: u64,
    /// One in so many acts.
    #[arg(long)]
    every: u64,
    /// The first serial number.
    #[arg(long, default_value_t = 0)]
    first: u64,
}

#[derive(Args)]
pub(crate) struct TouchArgs {
    /// Where the credentials are.
    #[arg(long)]
    directory: PathBuf,
    /// Which.
    #[arg(long)]
    serial: u64,
}

/// One act among the many: a line of the output.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Touch {
    pub(crate) serial: u64,
    pub(crate) pid: u32,
    pub(crate) start_ticks: u64,
    pub(crate) ppid: u32,
    /// Whether it ran an image of its own.
    pub(crate) exec: bool,
}

/// How often each number was used: the last line of the output.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Report {
    pub(crate) used: BTreeMap<u32, u64>,
}

pub(super) fn perform(args: &ReuseArgs) -> Outcome {
    let mut used = BTreeMap::new();
    for serial in args.first..args.first + args.processes {
        let acts = serial % args.every == 0;
        let Some(child) = fork()? else {
            let done = if acts { child(args, serial) } else { Ok(()) };
            // Nothing of the parent's is to be run or flushed by its copy.
            // SAFETY: no argument can be wrong.
            unsafe { libc::_exit(i32::from(done.is_err())) }
        };
        wait(child)?;
        *used.entry(child.as_raw_nonzero().get().cast_unsigned()).or_default() += 1;
    }
    print(&Report { used })?;
    Ok(())
}

fn wait(child: Pid) -> Outcome {
    let ended = waitpid(Some(child), WaitOptions::empty()).during("wait for a child")?;
    ensure(ended.map(|(_, status)| status).and_then(WaitStatus::exit_status) == Some(0), || {
        format!("a child ended with {ended:?}")
    })
}

fn child(args: &ReuseArgs, serial: u64) -> Outcome {
    if (serial / args.every).is_multiple_of(2) {
        return act(&args.directory, serial, false);
    }
    let mut command = Command::new("/proc/self/exe");
    command
        .args(["act", "touch", "--directory"])
        .arg(&args.directory)
        .arg("--serial")
        .arg(serial.to_string());
    failed(command.exec().to_string())
}

pub(super) fn touch(args: &TouchArgs) -> Outcome {
    act(&args.directory, args.serial, true)
}

fn act(directory: &Path, serial: u64, exec: bool) -> Outcome {
    let path = directory.join(serial.to_string());
    drop(openat(CWD, &path, OFlags::RDONLY, Mode::empty()).during(path.display())?);
    let pid = std::process::id();
    let start_ticks = who::start_ticks(pid)?;
    let ppid = rustix::process::getppid().map_or(0, |ppid| ppid.as_raw_nonzero().get().cast_unsigned());
    print(&Touch { serial, pid, start_ticks, ppid, exec })?;
    Ok(())
}
