//! Loads of so many events a second, and bursts: what is told of them at the collector, how late, and what it costs.

use std::path::Path;
use std::time::Duration;

use clap::Args;
use serde::Serialize;

use super::account::{Account, account, expected};
use super::generators::{Generator, Load, credential, program};
use super::session::{Ended, Session, Used};
use super::{Common, progress, tell};
use crate::acts::{Loaded, boot_ns};
use crate::harness::setting::Setting;
use crate::outcome::Outcome;

/// Opens and connects in a round of a mixed load: with the connect's two, ten events.
const MIX: (u64, u64) = (8, 1);
/// Events of such a round.
const ROUND_EVENTS: u64 = MIX.0 + 2 * MIX.1;
/// Opens in a round of a burst.
const BURST_ROUND: u64 = 10;
/// Events a second that one process cannot make beside the agent.
const ONE_PROCESS: u64 = 50_000;
/// Until the loads begin: their programs start meanwhile.
pub(super) const LEAD: Duration = Duration::from_millis(400);
/// How many times as long as it should a load may take.
const SLOWNESS: u32 = 4;

#[derive(Args)]
pub(crate) struct RateArgs {
    #[command(flatten)]
    common: Common,
    /// Events a second that are offered, ascending.
    #[arg(long = "rate", value_name = "EVENTS", default_values_t = [1_000, 10_000, 30_000, 100_000])]
    rates: Vec<u64>,
    /// How long each of these is kept up, in milliseconds; also how long the agent is watched idle.
    #[arg(long, default_value_t = 3_000)]
    milliseconds: u64,
}

/// A step: a load and its name.
#[derive(Clone, Debug)]
struct Step {
    name: String,
    /// Events a second.
    rate: u64,
    /// Each process's.
    loads: Vec<Load>,
}

/// A line of output: docs/benchmarks.md.
#[derive(Serialize)]
struct Line {
    bench: &'static str,
    step: String,
    run: u32,
    rung: Option<&'static str>,
    /// Events a second that were to be offered.
    asked_per_second: u64,
    /// And that were.
    offered_per_second: Option<f64>,
    opens: u64,
    connects: u64,
    load_seconds: f64,
    account: Option<Account>,
    agent: Costs,
    collector_cpu_percent: f64,
    kernel_to_encoded_ms: Option<Latency>,
    kernel_to_collector_ms: Option<Latency>,
}

/// What the agent cost.
#[derive(Serialize)]
struct Costs {
    /// Of one processor, while the load was offered.
    cpu_percent: f64,
    /// Until the last event was told.
    cpu_us_per_event: Option<f64>,
    resident_mib: f64,
    peak_mib: f64,
}

/// Quantiles, in milliseconds.
#[derive(Clone, Copy, Debug, Serialize)]
pub(super) struct Latency {
    pub(super) p50: f64,
    pub(super) p99: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) most: Option<f64>,
}

pub(super) fn run(args: &RateArgs) -> Outcome {
    let setting = args.common.prepare()?;
    let credential = credential(&setting)?;
    let program = program(&setting, "load")?;
    let length = Duration::from_millis(args.milliseconds);
    let steps: Vec<Step> = args
        .rates
        .iter()
        .map(|rate| sustained(*rate, length))
        .chain([burst("burst 90k in 0.7 s", 90_000, 700), burst("burst 250k in 1 s", 250_000, 1_000)])
        .filter(|step| args.common.wants(&step.name))
        .collect();
    for run in 1..=args.common.runs {
        if args.common.wants("idle") {
            progress(&format!("run {run} of {}: idle", args.common.runs));
            tell(&idle(&setting, run, length)?)?;
        }
        for step in &steps {
            progress(&format!("run {run} of {}: {}", args.common.runs, step.name));
            tell(&measure(&setting, step, run, &program, &credential)?)?;
        }
    }
    Ok(())
}

fn sustained(rate: u64, length: Duration) -> Step {
    let processes = if rate > ONE_PROCESS { 2 } else { 1 };
    let rounds_per_second = (rate / ROUND_EVENTS / processes).max(1);
    let rounds = (u128::from(rounds_per_second) * length.as_millis() / 1_000) as u64;
    let load = Load {
        opens: MIX.0,
        connects: MIX.1,
        rounds: rounds.max(1),
        rate: Some(rounds_per_second),
        limit: length * SLOWNESS,
        ..Load::default()
    };
    let name = if rate.is_multiple_of(1_000) { format!("{}k/s", rate / 1_000) } else { format!("{rate}/s") };
    Step { name, rate, loads: vec![load; processes as usize] }
}

fn burst(name: &str, events: u64, milliseconds: u64) -> Step {
    let rate = events * 1_000 / milliseconds;
    let length = Duration::from_millis(milliseconds);
    let load = Load {
        opens: BURST_ROUND,
        rounds: events / BURST_ROUND / 2,
        rate: Some(rate / BURST_ROUND / 2),
        limit: length * SLOWNESS,
        ..Load::default()
    };
    Step { name: name.to_owned(), rate, loads: vec![load; 2] }
}

fn idle(setting: &Setting, run: u32, length: Duration) -> Outcome<Line> {
    let session = Session::start(setting)?;
    // What its start left to do is done by then.
    session.settle(&[], 1)?;
    let (before, begun) = (session.used()?, boot_ns());
    pause(length)?;
    let (after, took_ns) = (session.used()?, boot_ns().saturating_sub(begun));
    let memory = session.memory()?;
    let rung = session.rung;
    session.stop(setting)?;
    Ok(Line {
        bench: "rate",
        step: "idle".to_owned(),
        run,
        rung: rung.map(|rung| rung.name()),
        asked_per_second: 0,
        offered_per_second: None,
        opens: 0,
        connects: 0,
        load_seconds: took_ns as f64 / 1e9,
        account: None,
        agent: Costs {
            cpu_percent: percent(after.agent.since(before.agent), took_ns),
            cpu_us_per_event: None,
            resident_mib: mib(memory.resident_kib),
            peak_mib: mib(memory.peak_kib),
        },
        collector_cpu_percent: percent(after.collector.since(before.collector), took_ns),
        kernel_to_encoded_ms: None,
        kernel_to_collector_ms: None,
    })
}

/// What a step gave, before the session ended.
pub(super) struct Offered {
    pub(super) done: Vec<Loaded>,
    before: Used,
    /// When the last load ended.
    loaded: Used,
    /// When the last event was told.
    pub(super) settled: Used,
}

impl Offered {
    /// The processes.
    pub(super) fn pids(&self) -> Vec<u32> {
        self.done.iter().map(|loaded| loaded.pid).collect()
    }

    /// The longest of the loads.
    pub(super) fn took_ns(&self) -> u64 {
        self.done.iter().map(|loaded| loaded.took_ns).max().unwrap_or_default()
    }

    /// Of one processor, while the loads ran: the agent, the collector.
    pub(super) fn cpu_percent(&self) -> (f64, f64) {
        let Self { before, loaded, .. } = self;
        let of = |ns| percent(ns, self.took_ns());
        (of(loaded.agent.since(before.agent)), of(loaded.collector.since(before.collector)))
    }

    /// Of the agent, for each of so many events, in microseconds.
    pub(super) fn cpu_us_per_event(&self, events: u64) -> Option<f64> {
        let used = self.settled.agent.since(self.before.agent);
        (events > 0).then(|| used as f64 / 1e3 / events as f64)
    }
}

/// Runs loads to their end, and waits until what they are owed was told.
pub(super) fn offer(
    setting: &Setting,
    session: &Session,
    start: impl FnOnce(u64) -> Outcome<Vec<Generator>>,
) -> Outcome<Offered> {
    let at_ns = boot_ns() + LEAD.as_nanos() as u64;
    let generators = start(at_ns)?;
    generators.iter().for_each(|generator| session.reader.expect(generator.pid()));
    pause(Duration::from_nanos(at_ns.saturating_sub(boot_ns())))?;
    let before = session.used()?;
    let finish = |generator: Generator| generator.finish(setting.limit);
    let done = generators.into_iter().map(finish).collect::<Outcome<Vec<_>>>()?;
    let loaded = session.used()?;
    let pids: Vec<u32> = done.iter().map(|loaded| loaded.pid).collect();
    let settled = session.settle(&pids, expected(&done))?;
    Ok(Offered { done, before, loaded, settled })
}

fn measure(setting: &Setting, step: &Step, run: u32, program: &Path, credential: &Path) -> Outcome<Line> {
    let session = Session::start(setting)?;
    let start = |at_ns| {
        let start = |load| Generator::start(program, credential, load, at_ns, None);
        step.loads.iter().map(start).collect()
    };
    let offered = offer(setting, &session, start)?;
    let memory = session.memory()?;
    let rung = session.rung;
    let ended = session.stop(setting)?;
    let account = account(&ended, &offered.done);
    let took_ns = offered.took_ns().max(1);
    let (cpu_percent, collector_cpu_percent) = offered.cpu_percent();
    let sum = |count: fn(&Loaded) -> u64| offered.done.iter().map(count).sum();
    Ok(Line {
        bench: "rate",
        step: step.name.clone(),
        run,
        rung: rung.map(|rung| rung.name()),
        asked_per_second: step.rate,
        offered_per_second: Some(account.expected_events as f64 * 1e9 / took_ns as f64),
        opens: sum(|loaded| loaded.opens),
        connects: sum(|loaded| loaded.connects),
        load_seconds: took_ns as f64 / 1e9,
        agent: Costs {
            cpu_percent,
            cpu_us_per_event: offered.cpu_us_per_event(account.delivered_events),
            resident_mib: mib(memory.resident_kib),
            peak_mib: mib(memory.peak_kib),
        },
        collector_cpu_percent,
        kernel_to_encoded_ms: encoded(&ended),
        kernel_to_collector_ms: latency(&ended, &offered.pids()),
        account: Some(account),
    })
}

/// By the agent's own summary.
pub(super) fn encoded(ended: &Ended) -> Option<Latency> {
    ended.encoded_ms.map(|(p50, p99)| Latency { p50, p99, most: None })
}

/// By when the lines came.
pub(super) fn latency(ended: &Ended, pids: &[u32]) -> Option<Latency> {
    let told = ended.seen.of(pids);
    Some(Latency { p50: told.delay_ms(0.5)?, p99: told.delay_ms(0.99)?, most: told.delay_ms(1.0) })
}

/// Waits, unless the user wants no more.
pub(super) fn pause(length: Duration) -> Outcome {
    const SLICE: Duration = Duration::from_millis(50);
    let until = std::time::Instant::now() + length;
    loop {
        super::interrupt::check()?;
        let left = until.saturating_duration_since(std::time::Instant::now());
        if left.is_zero() {
            return Ok(());
        }
        std::thread::sleep(left.min(SLICE));
    }
}

pub(super) fn percent(used_ns: u64, took_ns: u64) -> f64 {
    used_ns as f64 * 100.0 / took_ns.max(1) as f64
}

pub(super) fn mib(kib: u64) -> f64 {
    kib as f64 / 1024.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_offers_what_its_name_says() {
        for rate in [1_000, 10_000, 30_000, 100_000] {
            let step = sustained(rate, Duration::from_secs(2));
            let events = step.loads.iter().map(|load| load.rounds * (load.opens + 2 * load.connects));
            assert_eq!(events.sum::<u64>(), rate * 2, "{}", step.name);
            assert_eq!(step.name, format!("{}k/s", rate / 1_000));
        }
        let step = burst("burst", 90_000, 700);
        assert_eq!(step.loads.iter().map(|load| load.rounds * load.opens).sum::<u64>(), 90_000);
        assert_eq!(step.rate, 128_571);
    }

    #[test]
    fn what_is_given_as_share_and_size_has_the_right_unit() {
        assert_eq!((percent(450, 1_000), percent(1, 0)), (45.0, 100.0));
        assert_eq!(mib(2_048), 2.0);
    }
}
