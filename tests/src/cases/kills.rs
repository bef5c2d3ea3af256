//! The agent and the collector killed at random moments under load: no panic, no hang, nothing left over, and nothing
//! lost without being told.

use std::collections::BTreeMap;
use std::process::Command;
use std::time::{Duration, Instant};

use super::{Case, own};
use crate::harness::agent::{Agent, Options};
use crate::harness::child::Captured;
use crate::harness::collector::Collector;
use crate::harness::event::Event;
use crate::harness::ledger::equal;
use crate::harness::leftovers;
use crate::harness::places;
use crate::harness::programs;
use crate::harness::servers::{Server, V4};
use crate::harness::session;
use crate::harness::setting::{CREDENTIALS, Setting};
use crate::outcome::{Outcome, ensure, failed};

/// How often each is killed where machines are quick: as often as there is time for.
const KILLS: u32 = 10;
/// How often in any case.
const LEAST: u32 = 2;
/// The time for it. A start takes a second on a processor, ten where one is emulated.
const TIME: Duration = Duration::from_secs(30);
/// Events after which one is killed, at most.
const WITHIN: u64 = 300;
/// More than the load can do within a test: it is ended with it.
pub(super) const ENDLESS: &str = "1000000000";

/// Opens and connects a second: what a slow machine can follow.
const RATE: &str = "150";

/// All of them.
pub(super) fn cases() -> Vec<Case> {
    vec![own("kill/agent", agent), own("kill/agent-starting", starting), own("kill/collector", collector)]
}

/// A process that opens and connects until it is dropped.
struct Load {
    _server: Server,
    running: Captured,
}

impl Load {
    fn start(setting: &Setting) -> Outcome<Self> {
        let server = Server::start(V4)?;
        let file = setting.places.get("ext4")?.join("load").join(CREDENTIALS).join("key");
        places::write(&file, "secret\n")?;
        let mut command = Command::new(&setting.me);
        command.args(["act", "flood", "--path"]).arg(&file).arg("--to").arg(server.address.to_string());
        command.args(["--opens", ENDLESS, "--connects", ENDLESS, "--rate", RATE]);
        Ok(Self { _server: server, running: Captured::start(&mut command)? })
    }
}

/// Whether what was done so often, since then, is done once more: there is time for it, and it was not often enough.
pub(super) fn once_more(times: u32, most: u32, since: Instant) -> bool {
    times < LEAST || (times < most && since.elapsed() < TIME)
}

/// A number below a bound, told in the failure of whatever comes of it.
pub(super) fn random(below: u64) -> Outcome<u64> {
    let mut bytes = [0; 8];
    rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::empty())?;
    Ok(u64::from_le_bytes(bytes) % below)
}

/// Waits until so many more events of a process have come.
pub(super) fn after(
    events: &crate::harness::stream::Stream<Event>,
    setting: &Setting,
    pid: u32,
    number: u64,
) -> Outcome {
    let mut left = number;
    events.wait(&format!("{number} events of the load"), events.len(), setting.limit, |event| {
        left = left.saturating_sub(u64::from(event.mentions("pid", pid.into())));
        (left == 0).then_some(())
    })
}

/// Waits until a collector has all that happened so far.
fn marked(setting: &Setting, collector: &Collector) -> Outcome {
    let from = collector.events.len();
    let mark = session::mark()?;
    let told = |event: &Event| session::is_mark(event, mark).then_some(());
    collector.events.wait("the marking connection", from, setting.limit, told)
}

fn agent(setting: &Setting) -> Outcome {
    let before = leftovers::loaded()?;
    let collector = Collector::start(setting, 0)?;
    let load = Load::start(setting)?;
    let (begun, mut kill) = (Instant::now(), 0);
    while once_more(kill, KILLS, begun) {
        kill += 1;
        let agent =
            Agent::start(setting, &Options { collector: Some(collector.port), ..Options::default() })?;
        let number = random(WITHIN)?;
        let killed = after(&agent.events, setting, load.running.pid(), number)
            .and_then(|()| agent.kill(setting))
            .and_then(|_| leftovers::wait_gone(setting, &before));
        killed.map_err(|verdict| verdict.during(format!("kill {kill}, after {number} events")))?;
    }
    drop(load);
    // After all that, one that is left alone does its work.
    let agent = Agent::start(setting, &Options { collector: Some(collector.port), ..Options::default() })?;
    marked(setting, &collector)?;
    agent.stop(setting)?;
    let status = collector.status(setting)?;
    let missing = status.get("missing").and_then(serde_json::Value::as_u64);
    ensure(missing == Some(0), || format!("the collector misses {missing:?} events within its streams"))?;
    collector.stop(setting)?;
    leftovers::wait_gone(setting, &before)
}

/// Killed while it loads: after each number of programs that it holds.
fn starting(setting: &Setting) -> Outcome {
    let before = leftovers::loaded()?;
    let (begun, mut kill) = (Instant::now(), 0);
    while once_more(kill, KILLS, begun) {
        kill += 1;
        let agent = Agent::spawn(setting, &Options::default())?;
        let wanted = usize::try_from(random(12)?)?;
        // Whichever comes first: that many programs, or the end of the start.
        while programs::of_process(agent.pid()).len() < wanted && agent.events.len() == 0 && agent.runs() {}
        let killed = agent.kill(setting).and_then(|_| leftovers::wait_gone(setting, &before));
        killed.map_err(|verdict| verdict.during(format!("kill {kill}, with {wanted} programs")))?;
    }
    Ok(())
}

fn collector(setting: &Setting) -> Outcome {
    let mut collector = Collector::start(setting, 0)?;
    let port = collector.port;
    let agent = Agent::start(setting, &Options { collector: Some(port), ..Options::default() })?;
    let load = Load::start(setting)?;
    let mut collected = Vec::new();
    for kill in 1..=KILLS {
        let number = random(WITHIN)?;
        // It has what happened before it came, so that every kill finds an agent that delivers, not one that waits.
        let flowing = marked(setting, &collector)
            .and_then(|()| after(&collector.events, setting, load.running.pid(), number));
        flowing.map_err(|verdict| verdict.during(format!("kill {kill}: {}", agent.said())))?;
        collected.extend(collector.kill(setting)?);
        // The load goes on meanwhile; the agent goes on looking.
        after(&agent.events, setting, load.running.pid(), number)?;
        ensure(agent.runs(), || format!("the agent ended with its collector: {}", agent.said()))?;
        collector = Collector::start(setting, port)?;
    }
    drop(load);
    marked(setting, &collector)?;
    let printed = agent.events.clone();
    agent.stop(setting)?;
    let stopped = |event: &Event| event.is_phase("stop").then_some(());
    collector.events.wait("the agent's stop", 0, setting.limit, stopped)?;
    collected.extend(collector.stop(setting)?);
    whole(&collected, &printed.all())
}

/// All collectors together have each number, but for those that the agent told as lost; and each event is the same
/// wherever it was printed.
fn whole(collected: &[Event], printed: &[Event]) -> Outcome {
    let (collected, printed) = (by_id(collected), by_id(printed));
    let lost: u64 = printed.values().map(|event| lost_in_queue(&event.apart())).sum();
    let missing = printed.keys().filter(|id| !collected.contains_key(*id)).count();
    equal("events that no collector has = events told as lost", missing as u64, lost)?;
    for (id, event) in collected {
        let event = event.apart();
        let Some(same) = printed.get(&id).map(|event| event.apart()) else {
            return failed(format!("only a collector has {}", event.brief()));
        };
        let keys = event.differences(&same);
        ensure(keys.is_empty(), || {
            format!("{id} differs in {keys:?}: {} and {}", event.brief(), same.brief())
        })?;
    }
    Ok(())
}

fn by_id(events: &[Event]) -> BTreeMap<String, &Event> {
    // A collector that was killed may have printed half a line.
    events.iter().filter_map(|event| Some((event.id()?, event))).collect()
}

fn lost_in_queue(event: &Event) -> u64 {
    if !event.line.contains("\"gap\"") {
        return 0;
    }
    if event.kind() == "gap" && event.text("stage") == "queue" {
        event.number("lost").unwrap_or(0)
    } else {
        0
    }
}
