//! The agent as a program: started, watched, ended.

use std::path::{Path, PathBuf};
use std::process::Command;

use rustix::process::Signal;

use super::child::{Captured, Finished, Running};
use super::event::Event;
use super::setting::{Rung, Setting};
use super::stream::Stream;
use crate::outcome::{During, Outcome, ensure, failed};

/// Exit code of an agent that has made way for the next.
const HANDED_OVER: i32 = 13;

/// How an agent is started.
#[derive(Clone, Debug, Default)]
pub(crate) struct Options {
    /// `--collector`: the port on loopback.
    pub(crate) collector: Option<u16>,
    /// `--rung`.
    pub(crate) rung: Option<Rung>,
    /// `--drop-every`.
    pub(crate) drop_every: Option<u32>,
    /// `--record`.
    pub(crate) record: Option<PathBuf>,
    /// `--config`.
    pub(crate) config: Option<PathBuf>,
    /// `--pins`: else nothing outlives it.
    pub(crate) pins: Option<PathBuf>,
    /// The directory of its state: else it forgets all when it ends.
    pub(crate) state: Option<PathBuf>,
    /// The program, where it is another build than the one under test.
    pub(crate) build: Option<PathBuf>,
}

/// An agent that was started.
#[derive(Debug)]
pub(crate) struct Agent {
    running: Running,
    /// What it prints.
    pub(crate) events: Stream<Event>,
    /// What it says beside.
    pub(crate) messages: Stream<String>,
}

/// How an agent ended.
#[derive(Clone, Debug)]
pub(crate) struct Ended {
    /// Exit code; `None` after a signal.
    pub(crate) code: Option<i32>,
    /// What it said.
    pub(crate) messages: String,
}

impl Agent {
    /// The command that starts one with the tests' catalogue.
    pub(crate) fn command(setting: &Setting, options: &Options) -> Command {
        let Options { collector, rung, drop_every, record, config, pins, state, build } = options;
        let mut command = Command::new(build.as_ref().unwrap_or(&setting.telltale));
        command.args(["run", "--json", "--catalogue"]).arg(&setting.catalogue);
        command.arg("--pins").arg(pins.as_deref().unwrap_or(Path::new("none")));
        // As systemd says it, and as builds that keep no state do not mind.
        command.env("STATE_DIRECTORY", state.as_deref().unwrap_or(Path::new("none")));
        if let Some(port) = collector {
            command.arg("--collector").arg(format!("http://127.0.0.1:{port}"));
        }
        if let Some(rung) = rung.or(setting.rung) {
            command.args(["--rung", rung.name()]);
        }
        if let Some(every) = drop_every {
            command.arg("--drop-every").arg(every.to_string());
        }
        if let Some(path) = record {
            command.arg("--record").arg(path);
        }
        if let Some(path) = config {
            command.arg("--config").arg(path);
        }
        command
    }

    /// Starts one, ready or not.
    pub(crate) fn spawn(setting: &Setting, options: &Options) -> Outcome<Self> {
        Self::spawn_command(&mut Self::command(setting, options))
    }

    /// Starts one by a command made elsewhere.
    pub(crate) fn spawn_command(command: &mut Command) -> Outcome<Self> {
        let (running, stdout, stderr) = Running::start(command)?;
        let events = Stream::reading("the agent", stdout, Event::read);
        let messages = Stream::reading("the agent", stderr, |line| line);
        Ok(Self { running, events, messages })
    }

    /// Starts one and waits until it says that it sees.
    pub(crate) fn start(setting: &Setting, options: &Options) -> Outcome<Self> {
        let agent = Self::spawn(setting, options)?;
        agent.ready(setting)?;
        Ok(agent)
    }

    /// Waits until it says that it sees; the event by which it does.
    pub(crate) fn ready(&self, setting: &Setting) -> Outcome<Event> {
        let start = |event: &Event| event.is_phase("start").then(|| event.clone());
        self.events.wait("its start event", 0, setting.limit, start).map_err(|verdict| {
            // It has ended, or will not be heard: what it said tells why.
            let _ = self.messages.wait_end(setting.limit / 4);
            verdict.during(format!("start the agent ({})", self.said()))
        })
    }

    /// Its process id.
    pub(crate) fn pid(&self) -> u32 {
        self.running.pid()
    }

    /// Ends it as an operator does, whatever code it gives.
    pub(crate) fn end(mut self, setting: &Setting) -> Outcome<Ended> {
        self.running.signal(Signal::TERM)?;
        self.wait(setting)
    }

    /// Ends it as an operator does, and well.
    pub(crate) fn stop(self, setting: &Setting) -> Outcome<Ended> {
        let ended = self.end(setting)?;
        ensure(ended.code == Some(0), || {
            format!("the agent ended with {:?} after SIGTERM: {}", ended.code, ended.messages)
        })?;
        Ok(ended)
    }

    /// Has it make way for the next, and leave its programs attached.
    pub(crate) fn hand_over(mut self, setting: &Setting) -> Outcome<Ended> {
        self.running.signal(Signal::USR2)?;
        let ended = self.wait(setting)?;
        ensure(ended.code == Some(HANDED_OVER), || {
            format!("the agent ended with {:?} after SIGUSR2: {}", ended.code, ended.messages)
        })?;
        Ok(ended)
    }

    /// Ends it at once.
    pub(crate) fn kill(mut self, setting: &Setting) -> Outcome<Ended> {
        self.running.signal(Signal::KILL)?;
        self.wait(setting)
    }

    /// Waits until it ends by itself.
    pub(crate) fn wait(&mut self, setting: &Setting) -> Outcome<Ended> {
        let status = self.running.reap(setting.limit).during("the agent")?;
        // Its threads' last lines; a child of its own would hold the pipe and be found by this.
        self.events.wait_end(setting.limit)?;
        self.messages.wait_end(setting.limit)?;
        let messages = self.said();
        if messages.contains("panicked") {
            return failed(format!("the agent panicked: {messages}"));
        }
        Ok(Ended { code: status.code(), messages })
    }

    /// Sends it a signal.
    pub(crate) fn signal(&self, signal: Signal) -> Outcome {
        self.running.signal(signal)
    }

    /// Whether it still runs.
    pub(crate) fn runs(&self) -> bool {
        self.running.wait_exit(std::time::Duration::ZERO).is_err()
    }

    /// What it has said beside its events.
    pub(crate) fn said(&self) -> String {
        self.messages.all().join("\n")
    }
}

/// Runs a command of `telltale` that ends by itself.
pub(crate) fn command(setting: &Setting, args: &[&str]) -> Outcome<Finished> {
    Captured::start(Command::new(&setting.telltale).args(args))?.finish(setting.limit)
}
