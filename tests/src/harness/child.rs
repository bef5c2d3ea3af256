//! Programs that the harness starts, and ends whatever happens.

use std::fs;
use std::io;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, ChildStderr, ChildStdin, ChildStdout, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{
    Pid, PidfdFlags, Signal, WaitId, WaitIdOptions, kill_process, pidfd_open,
    set_parent_process_death_signal, waitid,
};

use super::stream::Stream;
use super::who;
use crate::outcome::{During, Outcome, Verdict, failed};

/// A program that runs. Dropped, it is killed and waited for: nothing outlives the harness, not even after a panic or
/// the harness's own death.
#[derive(Debug)]
pub(crate) struct Running {
    child: Child,
    name: String,
}

/// A program that runs, whose outputs are read as they come and kept.
#[derive(Debug)]
pub(crate) struct Captured {
    running: Running,
    /// Lines that it prints.
    pub(crate) stdout: Stream<String>,
    stderr: Stream<String>,
}

/// A program that has ended.
#[derive(Clone, Debug)]
pub(crate) struct Finished {
    /// Its process id.
    pub(crate) pid: u32,
    /// Its start since boot, in clock ticks.
    pub(crate) start_ticks: u64,
    /// How it ended.
    pub(crate) status: ExitStatus,
    /// What it printed.
    pub(crate) stdout: String,
    /// What it printed as errors.
    pub(crate) stderr: String,
}

/// For a process to end that was killed.
const AFTER_KILL: Duration = Duration::from_secs(30);

/// Where the threads of a process stand, as far as the kernel tells.
fn standing(pid: u32) -> String {
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten().take(16);
    let threads = tasks.map(|task| {
        let read = |name: &str| fs::read_to_string(task.path().join(name)).unwrap_or_default();
        let state = read("stat").rsplit(") ").next().map(|rest| rest.chars().take(1).collect::<String>());
        let stack = read("stack").lines().take(12).collect::<Vec<_>>().join(" < ");
        format!("{} {} in {} {stack}", read("comm").trim(), state.unwrap_or_default(), read("wchan"))
    });
    threads.collect::<Vec<_>>().join("; ")
}

/// Where the loader looks first.
const LIBRARIES: &str = "LD_LIBRARY_PATH";

impl Running {
    /// Starts a program whose outputs the caller reads from now on: one that nobody reads is written to until its pipe
    /// is full, and then its program stands still.
    pub(crate) fn start(command: &mut Command) -> Outcome<(Self, ChildStdout, ChildStderr)> {
        let mut running = Self::spawn(command.stdin(Stdio::null()))?;
        let (stdout, stderr) = running.outputs()?;
        Ok((running, stdout, stderr))
    }

    fn spawn(command: &mut Command) -> Outcome<Self> {
        let name = command.get_program().to_string_lossy().into_owned();
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        // cargo sets it for all that it runs; who decides where a program's libraries are decides what the program does,
        // and the agent takes it for none that is expected.
        if !command.get_envs().any(|(name, _)| name == LIBRARIES) {
            command.env_remove(LIBRARIES);
        }
        // SAFETY: one system call, which allocates nothing and takes no lock.
        unsafe {
            command.pre_exec(|| Ok(set_parent_process_death_signal(Some(Signal::KILL))?));
        }
        let child = command.spawn().during(format!("start {name}"))?;
        Ok(Self { child, name })
    }

    /// Its process id.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    fn outputs(&mut self) -> Outcome<(ChildStdout, ChildStderr)> {
        match (self.child.stdout.take(), self.child.stderr.take()) {
            (Some(stdout), Some(stderr)) => Ok((stdout, stderr)),
            _ => failed(format!("the output of {} was taken before", self.name)),
        }
    }

    fn raw_pid(&self) -> Outcome<Pid> {
        i32::try_from(self.pid()).ok().and_then(Pid::from_raw).map_or_else(|| failed("no process id"), Ok)
    }

    /// Sends a signal. The process is not waited for yet, so its id is its own.
    pub(crate) fn signal(&self, signal: Signal) -> Outcome {
        kill_process(self.raw_pid()?, signal).during(format!("signal {}", self.name))
    }

    /// Waits until it ends; it stays a zombie until [`Running::reap`] or the drop.
    pub(crate) fn wait_exit(&self, limit: Duration) -> Outcome {
        let pid = self.raw_pid()?;
        let handle = pidfd_open(pid, PidfdFlags::empty()).during(format!("open {}", self.name))?;
        let deadline = Instant::now() + limit;
        loop {
            let left = Timespec::try_from(deadline.saturating_duration_since(Instant::now()))?;
            match poll(&mut [PollFd::new(&handle, PollFlags::IN)], Some(&left)) {
                Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(error).during(format!("wait for {}", self.name)),
                Ok(0) => {
                    return failed(format!(
                        "{} did not end within {limit:.0?}: {}",
                        self.name,
                        standing(self.pid())
                    ));
                }
                Ok(_) => break,
            }
        }
        waitid(WaitId::Pid(pid), WaitIdOptions::EXITED | WaitIdOptions::NOWAIT)?;
        Ok(())
    }

    /// Takes its exit status.
    pub(crate) fn reap(&mut self, limit: Duration) -> Outcome<ExitStatus> {
        self.wait_exit(limit)?;
        self.child.wait().during(format!("wait for {}", self.name))
    }
}

impl Captured {
    /// Starts a program with nothing to read.
    pub(crate) fn start(command: &mut Command) -> Outcome<Self> {
        Self::capture(Running::spawn(command.stdin(Stdio::null()))?)
    }

    /// Starts a program that may end once what is returned is dropped: it waits for the end of its input.
    pub(crate) fn start_held(command: &mut Command) -> Outcome<(Self, ChildStdin)> {
        let mut running = Running::spawn(command.stdin(Stdio::piped()))?;
        match running.child.stdin.take() {
            Some(held) => Ok((Self::capture(running)?, held)),
            None => failed(format!("{} has no input", running.name)),
        }
    }

    fn capture(mut running: Running) -> Outcome<Self> {
        let (stdout, stderr) = running.outputs()?;
        let stdout = Stream::reading(&running.name, stdout, |line| line);
        let stderr = Stream::reading(&running.name, stderr, |line| line);
        Ok(Self { running, stdout, stderr })
    }

    /// Its process id.
    pub(crate) fn pid(&self) -> u32 {
        self.running.pid()
    }

    /// As [`Running::wait_exit`].
    pub(crate) fn wait_exit(&self, limit: Duration) -> Outcome {
        self.running.wait_exit(limit)
    }

    /// Runs it to its end.
    pub(crate) fn finish(mut self, limit: Duration) -> Outcome<Finished> {
        self.running.wait_exit(limit)?;
        // Still a zombie: its number and its start are still to be read.
        let (pid, start_ticks) = (self.pid(), who::start_ticks(self.pid())?);
        let status = self.running.child.wait().during(format!("wait for {}", self.running.name))?;
        let text = |lines: &Stream<String>| -> Outcome<String> {
            lines.wait_end(limit)?;
            Ok(lines.all().iter().map(|line| format!("{line}\n")).collect())
        };
        Ok(Finished { pid, start_ticks, status, stdout: text(&self.stdout)?, stderr: text(&self.stderr)? })
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(Some(_))) {
            return;
        }
        // An error says that it has ended meanwhile.
        let _ = self.child.kill();
        // One that the kernel does not let go would be waited for without end.
        match self.wait_exit(AFTER_KILL) {
            Err(Verdict::Failed(reason)) => eprintln!("{reason}"),
            _ => drop(self.child.wait()),
        }
    }
}

impl Finished {
    /// Fails unless it ended well.
    pub(crate) fn well(self) -> Outcome<Self> {
        if self.status.success() {
            return Ok(self);
        }
        failed(format!("process {} ended with {}: {}{}", self.pid, self.status, self.stdout, self.stderr))
    }

    /// The exit code; `None` after a signal.
    pub(crate) fn code(&self) -> Option<i32> {
        if self.status.signal().is_some() { None } else { self.status.code() }
    }
}

/// Finds a program as a shell would, links resolved.
pub(crate) fn find(name: &str) -> io::Result<std::path::PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_else(|| "/usr/sbin:/usr/bin:/sbin:/bin".into());
    // System directories first: a version manager's shim is a shell script of its own doings.
    let system = ["/usr/bin", "/usr/sbin", "/bin", "/sbin"].map(std::path::PathBuf::from);
    let found = system.into_iter().chain(std::env::split_paths(&path)).map(|dir| dir.join(name));
    match found.into_iter().find(|path| path.is_file()) {
        Some(path) => fs::canonicalize(path),
        None => Err(io::Error::new(io::ErrorKind::NotFound, format!("there is no {name} on the PATH"))),
    }
}
