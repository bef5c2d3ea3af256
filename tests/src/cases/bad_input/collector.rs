//! Collectors that are down, or say no.

use rustix::net::{AddressFamily, SocketType, bind, getsockname, socket};

use super::{Case, names, own, sees};
use crate::harness::agent::{Agent, Options};
use crate::harness::collector::Collector;
use crate::harness::event::Event;
use crate::harness::ledger::equal;
use crate::harness::leftovers;
use crate::harness::relay::Relay;
use crate::harness::servers::V4;
use crate::harness::session;
use crate::harness::setting::Setting;
use crate::outcome::{Outcome, ensure};

/// Batches that are refused in a row.
const REFUSED: usize = 3;

/// All of them.
pub(super) fn cases() -> Vec<Case> {
    vec![
        own("bad-input/collector-down", down),
        own("bad-input/collector-never", never),
        own("bad-input/collector-refuses", refuses),
    ]
}

/// A port on which nobody listens.
fn port_of_nobody() -> Outcome<u16> {
    let socket = socket(AddressFamily::INET, SocketType::STREAM, None)?;
    bind(&socket, &std::net::SocketAddr::new(V4, 0))?;
    Ok(std::net::SocketAddr::try_from(getsockname(&socket)?)?.port())
}

fn with_collector(port: u16) -> Options {
    Options { collector: Some(port), ..Options::default() }
}

/// A collector that is not there yet is waited for; what happened meanwhile arrives, without a hole.
fn down(setting: &Setting) -> Outcome {
    let before = leftovers::loaded()?;
    let port = port_of_nobody()?;
    let agent = Agent::start(setting, &with_collector(port))?;
    let mark = session::mark()?;
    let told = |event: &Event| session::is_mark(event, mark).then_some(());
    agent.events.wait("the marking connection", 0, setting.limit, told)?;
    let said = |word: &'static str| move |line: &String| line.contains(word).then(|| line.clone());
    let line = agent.messages.wait("word of the trouble", 0, setting.limit, said("not delivered"))?;
    names(&line, &["Connection refused", &port.to_string(), "tried again"])?;
    ensure(agent.runs(), || format!("the agent ended: {}", agent.said()))?;

    let collector = Collector::start(setting, port)?;
    collector.events.wait("what happened before the collector came", 0, setting.limit, told)?;
    agent.messages.wait("word of the recovery", 0, setting.limit, said("delivering again"))?;
    let ended = agent.stop(setting)?;
    names(&ended.messages, &["no losses"])?;
    let collected = collector.stop(setting)?;
    let first = collected.first().and_then(|event| event.number("seq"));
    ensure(first == Some(1), || format!("the first event has number {first:?}"))?;
    leftovers::wait_gone(setting, &before)
}

/// What a collector that never came did not get is lost, and told: the agent ended as asked.
fn never(setting: &Setting) -> Outcome {
    let before = leftovers::loaded()?;
    let agent = Agent::start(setting, &with_collector(port_of_nobody()?))?;
    sees(setting, &agent)?;
    let ended = agent.stop(setting)?;
    names(&ended.messages, &["not delivered", "they are lost", "LOST", "queue: abandoned"])?;
    leftovers::wait_gone(setting, &before)
}

/// What a collector refuses for good is passed over, and told as lost as soon as it takes events again.
fn refuses(setting: &Setting) -> Outcome {
    let before = leftovers::loaded()?;
    let collector = Collector::start(setting, 0)?;
    let relay = Relay::start(collector.port)?;
    let agent = Agent::start(setting, &with_collector(relay.port))?;
    let is_start = |event: &Event| event.is_phase("start").then_some(());
    collector.events.wait("the agent's start", 0, setting.limit, is_start)?;

    relay.refuse(REFUSED);
    for _ in 0..REFUSED {
        session::mark()?;
        relay.wait_refused(setting.limit)?;
    }
    let said = |line: &String| line.contains("refused events").then(|| line.clone());
    let line = agent.messages.wait("word of the refusal", 0, setting.limit, said)?;
    names(&line, &["ERROR", "400 Bad Request", "for good", "check that the address"])?;
    let from = collector.events.len();
    let mark = session::mark()?;
    let told = |event: &Event| session::is_mark(event, mark).then_some(());
    collector.events.wait("what came after the refusal", from, setting.limit, told)?;
    let is_gap = |event: &Event| (event.text("cause") == "rejected").then(|| event.clone());
    let gap = collector.events.wait("the loss", from, setting.limit, is_gap)?;
    ensure(gap.kind() == "gap" && gap.text("stage") == "queue", || format!("no gap event: {}", gap.line))?;

    let ended = agent.stop(setting)?;
    let stopped = |event: &Event| event.is_phase("stop").then(|| event.clone());
    let stop = collector.events.wait("the agent's stop", 0, setting.limit, stopped)?;
    let status = collector.status(setting)?;
    let lost = gap.number("lost").unwrap_or(0);
    ensure(lost >= REFUSED as u64, || format!("{lost} events were told as lost: {}", gap.line))?;
    equal("told as lost = counted", lost, stop.counter("queue.rejected").unwrap_or(0))?;
    let missing = status.get("missing").and_then(serde_json::Value::as_u64).unwrap_or(0);
    equal("told as lost = numbers that the collector misses", lost, missing)?;
    names(&ended.messages, &["LOST", "queue: rejected"])?;
    let collected = collector.stop(setting)?;
    let gaps = collected.iter().filter(|event| event.text("cause") == "rejected").count();
    ensure(gaps == 1, || format!("the loss was told {gaps} times"))?;
    leftovers::wait_gone(setting, &before)
}
