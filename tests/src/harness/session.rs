//! An agent that ships to a collector, and the way to know that all was seen.

use std::collections::BTreeMap;
use std::fs::File;
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::Path;

use super::agent::{Agent, Ended, Options};
use super::collector::Collector;
use super::event::Event;
use super::ledger::equal;
use super::servers::on_own_port;
use super::setting::{Rung, Setting};
use crate::outcome::{During, Outcome, Verdict, ensure};

/// Numberings of one agent: of what is told at once, and of what may wait.
const STREAMS_OF_AN_AGENT: usize = 2;

/// A running pair.
#[derive(Debug)]
pub(crate) struct Session {
    /// The agent.
    pub(crate) agent: Agent,
    /// The collector.
    pub(crate) collector: Collector,
    /// By which the agent said that it sees.
    pub(crate) start: Event,
}

/// What is left of a pair: all that was seen, everywhere.
#[derive(Debug)]
pub(crate) struct Told {
    /// Lines of the collector.
    pub(crate) collected: Vec<Event>,
    /// Lines of the agent.
    pub(crate) printed: Vec<Event>,
    /// The last status.
    pub(crate) stop: Event,
    /// How the agent ended.
    pub(crate) ended: Ended,
    /// `GET /status` at the end.
    pub(crate) status: serde_json::Value,
}

impl Session {
    /// Starts a pair, and waits until the collector has heard of the agent.
    pub(crate) fn start(setting: &Setting, options: &Options) -> Outcome<Self> {
        let collector = Collector::start(setting, 0)?;
        let options = Options { collector: Some(collector.port), ..options.clone() };
        let agent = Agent::spawn(setting, &options)?;
        agent.ready(setting)?;
        let is_start = |event: &Event| event.is_phase("start").then(|| event.clone());
        let start = collector.events.wait("the agent's start", 0, setting.limit, is_start)?;
        Ok(Self { agent, collector, start })
    }

    /// The rung that serves opens.
    pub(crate) fn rung(&self) -> Option<Rung> {
        rung_of(&self.start)
    }

    /// Does a harmless act that is known by its port, and waits until the collector tells it: all that was done before
    /// and has an end has been told too, for the kernel keeps the order.
    pub(crate) fn settle(&self, setting: &Setting) -> Outcome {
        let from = self.collector.events.len();
        let port = mark()?;
        let mark = |event: &Event| is_mark(event, port).then_some(());
        self.collector
            .events
            .wait("the marking connection", from, setting.limit, mark)
            .map_err(|verdict| verdict.during(format!("settle (the agent said: {})", self.agent.said())))
    }

    /// As [`Session::settle`], where records are dropped on purpose: opens a credential more often than can be dropped in
    /// a row, and waits until one open is told; how many it made.
    pub(crate) fn settle_by_opens(&self, setting: &Setting, credential: &Path) -> Outcome<u64> {
        const OPENS: u64 = 3;
        let from = self.collector.events.len();
        for _ in 0..OPENS {
            drop(File::open(credential).during(credential.display())?);
        }
        let me = std::process::id();
        let is_mine = |event: &Event| {
            event.mentions("pid", me.into()) && event.kind() == "credential_access" && event.pid() == Some(me)
        };
        self.collector
            .events
            .wait("the marking open", from, setting.limit, |event| is_mine(event).then_some(OPENS))
    }

    /// Ends the pair: first the agent, which tells all it has; then the collector.
    pub(crate) fn stop(self, setting: &Setting) -> Outcome<Told> {
        let Self { agent, collector, start: _ } = self;
        let printed = agent.events.clone();
        let ended = agent.stop(setting)?;
        let is_stop = |event: &Event| event.is_phase("stop").then(|| event.clone());
        let stop = collector.events.wait("the agent's stop", 0, setting.limit, is_stop)?;
        let status = collector.status(setting)?;
        let collected = collector.stop(setting)?;
        let told = Told { collected, printed: printed.all(), stop, ended, status };
        told.check()?;
        Ok(told)
    }
}

impl Told {
    /// What must hold of every pair: lines are objects, numbers have no holes, both streams tell the same.
    fn check(&self) -> Outcome {
        for event in self.collected.iter().chain(&self.printed) {
            ensure(event.is_object(), || format!("a line that is no object: {}", event.line))?;
        }
        for key in ["missing", "duplicates", "refused", "failed_writes"] {
            let number = self.status.get(key).and_then(serde_json::Value::as_u64);
            ensure(number == Some(0), || format!("the collector's {key} is {number:?}: {}", self.status))?;
        }
        let mut next_of_epoch = BTreeMap::new();
        for event in &self.collected {
            let expected = next_of_epoch.entry(event.number("epoch")).or_insert(1);
            let seq = event.number("seq");
            ensure(seq == Some(*expected), || {
                format!("number {seq:?} where {expected} should be: {}", event.line)
            })?;
            *expected += 1;
        }
        ensure(next_of_epoch.len() <= STREAMS_OF_AN_AGENT, || {
            format!("an agent of {STREAMS_OF_AN_AGENT} streams sent those: {next_of_epoch:?}")
        })?;
        let turned_away = self.turned_away()?;
        if turned_away > 0 {
            // They are printed and have no number; the queue's gap events have one and are not printed.
            let is_gap = |event: &&Event| event.kind() == "gap" && event.text("stage") == "queue";
            let gaps = self.collected.iter().filter(is_gap).count() as u64;
            return equal(
                "events printed and gaps of the queue = events collected and turned away",
                self.printed.len() as u64 + gaps,
                self.collected.len() as u64 + turned_away,
            );
        }
        // Each stream is in order; neither waits for the other.
        let ids = |events: &[Event]| {
            let mut ids: BTreeMap<_, Vec<_>> = BTreeMap::new();
            for event in events {
                ids.entry(event.number("epoch")).or_default().push(event.text("id").to_owned());
            }
            ids.into_values().flatten().collect::<Vec<_>>()
        };
        let (printed, collected) = (ids(&self.printed), ids(&self.collected));
        ensure(printed == collected, || {
            let missing = printed.iter().filter(|id| !collected.contains(id)).count();
            format!(
                "the agent printed {} events, the collector {}; {missing} of the former were not collected",
                printed.len(),
                collected.len()
            )
        })
    }
}

/// The rung that an `agent_status` tells of.
pub(crate) fn rung_of(status: &Event) -> Option<Rung> {
    let serving = status.serving("credential_open")?;
    let hooks = [
        ("lsm/file_open", Rung::Lsm),
        ("fentry/security_file_open", Rung::Fentry),
        ("tp_btf/sys_exit", Rung::Tracepoint),
    ];
    hooks.into_iter().find(|(hook, _)| serving.contains(hook)).map(|(_, rung)| rung)
}

/// Makes the failure of a start on a rung that this kernel does not have a skip, with the reason.
pub(crate) fn no_such_rung(rung: Rung, verdict: Verdict) -> Verdict {
    match verdict {
        // Every kernel has what it takes.
        verdict if rung == Rung::Tracepoint => verdict,
        Verdict::Failed(text) => match text.lines().find(|line| line.contains("does not serve")) {
            Some(reason) => Verdict::Skipped(reason.trim_start_matches("telltale: ").to_owned()),
            None => Verdict::Failed(text),
        },
        skipped @ Verdict::Skipped(_) => skipped,
    }
}

/// Connects to a port of our own; which.
pub(crate) fn mark() -> Outcome<u16> {
    let (_listener, address) = on_own_port(|| {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).during("listen for a mark")?;
        let address = listener.local_addr()?;
        Ok((listener, address))
    })?;
    drop(TcpStream::connect(address).during("connect for a mark")?);
    Ok(address.port())
}

/// Whether an event is the connection of [`mark`].
pub(crate) fn is_mark(event: &Event, port: u16) -> bool {
    event.mentions("remote_port", port.into())
        && event.kind() == "connection"
        && event.pid() == Some(std::process::id())
        && event.number("remote_port") == Some(port.into())
}
