//! A collector and an agent that ships to it: started, watched, ended.

use std::ffi::OsString;
use std::process::Command;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::Value;

use super::interrupt;
use super::reader::{Reader, Seen, Told};
use super::usage::{Memory, Usage, memory};
use crate::acts::boot_ns;
use crate::harness::agent::{Agent, Options};
use crate::harness::child::Running;
use crate::harness::collector::{port_of, status_at};
use crate::harness::event::Event;
use crate::harness::session::rung_of;
use crate::harness::setting::{Rung, Setting};
use crate::harness::stream::Stream;
use crate::outcome::{During, Outcome, ensure, failed};

/// How long nothing must come before what is missing is taken for lost.
const QUIET: Duration = Duration::from_secs(2);
/// How often the pair is looked at.
const LOOK: Duration = Duration::from_millis(20);
/// How often an agent that starts is looked at, whether it has ended instead.
const START_LOOK: Duration = Duration::from_millis(250);
/// How long an agent may take to end before it is killed.
const END_WITHIN: Duration = Duration::from_secs(5);

/// A running pair. Dropped, it ends: the agent is asked first, for it has to take its hooks away.
#[derive(Debug)]
pub(super) struct Session {
    agent: Process,
    collector: Process,
    port: u16,
    /// What the collector prints.
    pub(super) reader: Reader,
    /// The rung that serves opens.
    pub(super) rung: Option<Rung>,
}

/// What is left of a pair.
#[derive(Debug)]
pub(super) struct Ended {
    /// All that was collected.
    pub(super) seen: Seen,
    /// The agent's last status.
    pub(super) stop: Event,
    /// The collector's numbers.
    pub(super) status: Value,
    /// From the act to its encoded event, by the agent's own summary: median and 99 of 100, in milliseconds.
    pub(super) encoded_ms: Option<(f64, f64)>,
}

/// Processor time of both, at one moment.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Used {
    pub(super) agent: Usage,
    pub(super) collector: Usage,
}

#[derive(Debug)]
struct Process {
    running: Option<Running>,
    messages: Stream<String>,
    pid: u32,
}

impl Process {
    fn has_ended(&self) -> bool {
        self.running.as_ref().is_none_or(|running| running.wait_exit(Duration::ZERO).is_ok())
    }

    fn end(&mut self, limit: Duration) -> Outcome<String> {
        let Some(mut running) = self.running.take() else { return failed("it has ended before") };
        running.signal(Signal::TERM)?;
        let status = running.reap(limit)?;
        self.messages.wait_end(limit)?;
        let said = self.messages.all().join("\n");
        ensure(status.success() && !said.contains("panicked"), || format!("{status}: {said}"))?;
        Ok(said)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if let Some(mut running) = self.running.take()
            && running.signal(Signal::TERM).is_ok()
        {
            // What does not end is killed by the next drop.
            let _ = running.reap(END_WITHIN);
        }
    }
}

impl Session {
    /// Starts a pair, and waits until the collector has heard of the agent.
    pub(super) fn start(setting: &Setting) -> Outcome<Self> {
        Self::start_with(setting, &[])
    }

    /// As [`Session::start`], the agent with further arguments.
    pub(super) fn start_with(setting: &Setting, arguments: &[OsString]) -> Outcome<Self> {
        interrupt::check()?;
        let mut collect = Command::new(&setting.telltale);
        collect.args(["collect", "--json", "--listen", "127.0.0.1:0"]);
        let (running, stdout, stderr) = Running::start(&mut collect)?;
        let messages = Stream::reading("the collector", stderr, |line| line);
        let collector = Process { pid: running.pid(), running: Some(running), messages };
        let reader = Reader::reading(stdout);
        let port = |line: &String| port_of(line);
        let port = collector.messages.wait("the address it listens on", 0, setting.limit, port)?;

        // As an operator has it: what is seen of identities is kept, in a place of its own each time.
        let state = setting.path(&format!("state-{}", boot_ns()));
        let options = Options { collector: Some(port), state: Some(state), ..Options::default() };
        let mut run = Agent::command(setting, &options);
        run.arg("--quiet").args(arguments).env("RUNTIME_DIRECTORY", setting.scratch.path());
        let (running, _quiet, stderr) = Running::start(&mut run)?;
        let messages = Stream::reading("the agent", stderr, |line| line);
        let agent = Process { pid: running.pid(), running: Some(running), messages };
        let mut session = Self { agent, collector, port, reader, rung: None };
        let deadline = Instant::now() + setting.limit;
        let is_start = |seen: &Seen| seen.statuses.iter().find(|event| event.is_phase("start")).cloned();
        let start = loop {
            let verdict = match session.reader.wait("the agent's start", START_LOOK, is_start) {
                Ok(start) => break start,
                Err(verdict) => verdict,
            };
            if session.agent.has_ended() || Instant::now() >= deadline {
                let said = session.agent.messages.all().join("\n");
                return Err(verdict.during(format!("start the agent ({said})")));
            }
            interrupt::check()?;
        };
        session.rung = rung_of(&start);
        Ok(session)
    }

    /// The agent's process.
    pub(super) fn agent_pid(&self) -> u32 {
        self.agent.pid
    }

    /// Processor time so far.
    pub(super) fn used(&self) -> Outcome<Used> {
        Ok(Used { agent: Usage::of(self.agent.pid)?, collector: Usage::of(self.collector.pid)? })
    }

    /// Memory of the agent.
    pub(super) fn memory(&self) -> Outcome<Memory> {
        memory(self.agent.pid)
    }

    /// Waits until so many events of these processes were told, or nothing has come for a while: what was used when the
    /// last of them came.
    pub(super) fn settle(&self, pids: &[u32], events: u64) -> Outcome<Used> {
        let told = || {
            self.reader.look(|seen| {
                pids.iter().filter_map(|pid| seen.processes.get(pid)).map(Told::events).sum::<u64>()
            })
        };
        let (mut before, mut since, mut used) = (told(), Instant::now(), self.used()?);
        while before < events && since.elapsed() < QUIET {
            interrupt::check()?;
            std::thread::sleep(LOOK);
            let now = told();
            if now != before {
                (before, since, used) = (now, Instant::now(), self.used()?);
            }
        }
        Ok(used)
    }

    /// Ends the pair: first the agent, which tells all it has; then the collector.
    pub(super) fn stop(mut self, setting: &Setting) -> Outcome<Ended> {
        let said = self.agent.end(setting.limit).during("end the agent")?;
        let is_stop = |seen: &Seen| seen.statuses.iter().find(|event| event.is_phase("stop")).cloned();
        let stop = self.reader.wait("the agent's stop", setting.limit, is_stop)?;
        let status = status_at(self.port, setting.limit)?;
        self.collector.end(setting.limit).during("end the collector")?;
        let seen = self.reader.wait_end(setting.limit)?;
        Ok(Ended { seen, stop, status, encoded_ms: encoded_ms(&said) })
    }
}

/// The two figures in `kernel to encoded: p50 8.9 ms, p99 62 ms`.
fn encoded_ms(said: &str) -> Option<(f64, f64)> {
    let line = said.lines().find_map(|line| line.strip_prefix("kernel to encoded: p50 "))?;
    let (median, most) = line.split_once(", p99 ")?;
    Some((milliseconds(median)?, milliseconds(most)?))
}

fn milliseconds(text: &str) -> Option<f64> {
    let (number, unit) = text.trim().split_once(' ')?;
    let factor = match unit {
        "ms" => 1.0,
        "s" => 1_000.0,
        _ => return None,
    };
    Some(number.parse::<f64>().ok()? * factor)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_summary_tells_how_late_events_are_encoded() {
        let said = "4 events in 4.9 s\nno losses\nkernel to encoded: p50 8.9 ms, p99 1.2 s\n";
        assert_eq!(encoded_ms(said), Some((8.9, 1_200.0)));
        assert_eq!(encoded_ms("kernel to encoded: p50 8.9 h, p99 1 s"), None);
        assert_eq!(encoded_ms("no losses"), None);
    }
}
