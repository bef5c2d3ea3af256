//! Loads, each by a process that counts what it does.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use super::interrupt;
use crate::acts::{self, Loaded};
use crate::harness::cgroup::Cgroup;
use crate::harness::child::Captured;
use crate::harness::places;
use crate::harness::setting::{CREDENTIALS, Setting};
use crate::outcome::{During, Outcome, failed};

/// How long a wait is before it looks for an interruption.
const LOOK: Duration = Duration::from_millis(50);

/// What a process is to do: rounds of so many acts (`telltale-tests act load`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Load {
    /// Opens of a credential in a round.
    pub(super) opens: u64,
    /// Connects in a round.
    pub(super) connects: u64,
    /// Processes in a round.
    pub(super) forks: u64,
    /// Runs of the tiny program in a round.
    pub(super) execs: u64,
    /// Rounds, at most.
    pub(super) rounds: u64,
    /// Rounds a second; `None`: at full speed.
    pub(super) rate: Option<u64>,
    /// It stops after so long, whatever is left.
    pub(super) limit: Duration,
}

/// A file that the tests' catalogue names.
pub(super) fn credential(setting: &Setting) -> Outcome<PathBuf> {
    let path = setting.path(CREDENTIALS).join("key");
    places::write(&path, "secret\n")?;
    Ok(path)
}

/// A copy of this program under a name of its own: another identity.
pub(super) fn program(setting: &Setting, name: &str) -> Outcome<PathBuf> {
    let path = setting.path(name);
    fs::copy(&setting.me, &path).during(format!("copy {}", setting.me.display()))?;
    Ok(path)
}

/// A program that ends at once, beside another.
fn tiny_program(beside: &Path) -> Outcome<PathBuf> {
    let path = beside.with_file_name("tiny");
    if !path.exists() {
        fs::write(&path, acts::tiny_program())?;
        fs::set_permissions(&path, Permissions::from_mode(0o755)).during("make a program")?;
    }
    Ok(path)
}

/// What is opened.
#[derive(Clone, Copy, Debug)]
pub(super) enum Opened<'a> {
    /// One file.
    File(&'a Path),
    /// All files of a directory in turn.
    Directory(&'a Path),
}

/// A process that waits for its moment, or acts.
#[derive(Debug)]
pub(super) struct Generator {
    running: Captured,
}

impl Generator {
    /// Starts one, whose load begins when the clock since boot shows `at_ns`.
    pub(super) fn start(
        program: &Path,
        credential: &Path,
        load: &Load,
        at_ns: u64,
        group: Option<&Cgroup>,
    ) -> Outcome<Self> {
        Self::start_on(program, Opened::File(credential), load, at_ns, group)
    }

    /// As [`Generator::start`], on one file or many.
    pub(super) fn start_on(
        program: &Path,
        files: Opened<'_>,
        load: &Load,
        at_ns: u64,
        group: Option<&Cgroup>,
    ) -> Outcome<Self> {
        let Load { opens, connects, forks, execs, rounds, rate, limit } = load;
        let mut command = Command::new(program);
        command.args(["act", "load", "--own-network"]);
        match files {
            Opened::File(path) => command.arg("--path").arg(path),
            Opened::Directory(path) => command.arg("--directory").arg(path),
        };
        if *execs > 0 {
            command.arg("--program").arg(tiny_program(program)?);
        }
        let numbers = [
            ("opens", *opens),
            ("connects", *connects),
            ("forks", *forks),
            ("execs", *execs),
            ("rounds", *rounds),
        ];
        let numbers = numbers.into_iter().chain(rate.map(|rate| ("rate", rate)));
        let milliseconds = u64::try_from(limit.as_millis()).unwrap_or(u64::MAX);
        for (name, number) in numbers.chain([("milliseconds", milliseconds), ("at", at_ns)]) {
            command.arg(format!("--{name}")).arg(number.to_string());
        }
        if let Some(group) = group {
            group.hold(&mut command)?;
        }
        Ok(Self { running: Captured::start(&mut command)? })
    }

    /// Its process.
    pub(super) fn pid(&self) -> u32 {
        self.running.pid()
    }

    /// What it did, once it has.
    pub(super) fn finish(self, limit: Duration) -> Outcome<Loaded> {
        let deadline = Instant::now() + limit;
        while self.running.wait_exit(LOOK).is_err() {
            interrupt::check()?;
            if Instant::now() >= deadline {
                return failed(format!("a load did not end within {limit:.0?}"));
            }
        }
        let finished = self.running.finish(limit)?.well()?;
        serde_json::from_str(&finished.stdout).during("read what a load did")
    }
}
