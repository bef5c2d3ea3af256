//! From the start of the agent to its first word and its first event, its memory then, and how long it takes to end.

use std::fs::File;
use std::path::Path;
use std::time::{Duration, Instant};

use clap::Args;
use rustix::process::Signal;
use serde::Serialize;

use super::generators::credential;
use super::rate::mib;
use super::reader::Reader;
use super::usage::{Usage, map_bytes, memory};
use super::{Common, interrupt, progress, tell};
use crate::harness::agent::{Agent, Options};
use crate::harness::child::Running;
use crate::harness::session::rung_of;
use crate::harness::setting::Setting;
use crate::harness::stream::Stream;
use crate::outcome::{During, Outcome, ensure};

/// Between two opens that wait for the first that is told.
const OPEN_EVERY: Duration = Duration::from_millis(2);
/// What the first event may wait for, of the agent's own making, before memory is looked at.
const SETTLE: Duration = Duration::from_millis(500);

#[derive(Args)]
pub(crate) struct StartArgs {
    #[command(flatten)]
    common: Common,
}

/// A line of output: docs/benchmarks.md.
#[derive(Serialize)]
struct Line {
    bench: &'static str,
    step: &'static str,
    run: u32,
    rung: Option<&'static str>,
    /// Until it says that it sees.
    ready_ms: f64,
    /// Until an open of a credential was told, of opens that went on all the time.
    first_event_ms: f64,
    /// Processor time until then.
    start_cpu_ms: f64,
    /// From SIGTERM to its end.
    stop_ms: f64,
    resident_mib: f64,
    peak_mib: f64,
    /// What the kernel charges for its maps.
    maps_mib: f64,
    maps: usize,
}

pub(super) fn run(args: &StartArgs) -> Outcome {
    let setting = args.common.prepare()?;
    let credential = credential(&setting)?;
    for run in 1..=args.common.runs {
        progress(&format!("run {run} of {}: start", args.common.runs));
        tell(&measure(&setting, run, &credential)?)?;
    }
    Ok(())
}

fn measure(setting: &Setting, run: u32, credential: &Path) -> Outcome<Line> {
    let me = std::process::id();
    let mut command = Agent::command(setting, &Options::default());
    command.env("RUNTIME_DIRECTORY", setting.scratch.path());
    let begun = Instant::now();
    let (mut agent, stdout, stderr) = Running::start(&mut command)?;
    let (reader, messages) = (Reader::reading(stdout), Stream::reading("the agent", stderr, |line| line));
    let deadline = begun + setting.limit;
    let mut ready = None;
    let first_event = loop {
        interrupt::check()?;
        drop(File::open(credential).during("open a credential")?);
        let (started, told) = reader.look(|seen| (!seen.statuses.is_empty(), !seen.of(&[me]).is_empty()));
        let now = begun.elapsed();
        if started && ready.is_none() {
            ready = Some(now);
        }
        if told {
            break now;
        }
        ensure(Instant::now() < deadline, || {
            format!("the agent told nothing within {:.0?}: {}", setting.limit, messages.all().join("\n"))
        })?;
        std::thread::sleep(OPEN_EVERY);
    };
    let cpu = Usage::of(agent.pid())?;
    let start = reader.wait("the agent's start", setting.limit, |seen| seen.statuses.first().cloned())?;
    super::rate::pause(SETTLE)?;
    let (memory, maps) = (memory(agent.pid())?, map_bytes(agent.pid())?);
    let asked = Instant::now();
    agent.signal(Signal::TERM)?;
    let status = agent.reap(setting.limit)?;
    let stopped = asked.elapsed();
    ensure(status.success(), || format!("the agent ended with {status}: {}", messages.all().join("\n")))?;
    let ms = |time: Duration| time.as_secs_f64() * 1e3;
    Ok(Line {
        bench: "start",
        step: "start and stop",
        run,
        rung: rung_of(&start).map(|rung| rung.name()),
        ready_ms: ms(ready.unwrap_or(first_event)),
        first_event_ms: ms(first_event),
        start_cpu_ms: cpu.since(Usage::default()) as f64 / 1e6,
        stop_ms: ms(stopped),
        resident_mib: mib(memory.resident_kib),
        peak_mib: mib(memory.peak_kib),
        maps_mib: maps.values().sum::<u64>() as f64 / f64::from(1 << 20),
        maps: maps.len(),
    })
}
