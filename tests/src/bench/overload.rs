//! Beyond what can be told: two processes at full speed, and a victim that does little beside them. What the victim did
//! must arrive, and every act of all three be told or told as lost.

use std::path::Path;
use std::time::Duration;

use clap::Args;
use serde::Serialize;

use super::account::{Account, account};
use super::generators::{Generator, Load, credential, program};
use super::rate::{Latency, encoded, latency, mib, offer};
use super::session::Session;
use super::{Common, progress, tell};
use crate::harness::cgroup::Cgroup;
use crate::harness::setting::Setting;
use crate::outcome::Outcome;

/// Rounds of the victim: an open and a connect each, so a thousand acts.
const VICTIM_ROUNDS: u64 = 500;
/// Flooders.
const FLOODERS: usize = 2;
/// The flood begins before the victim and ends after it, by so long.
const AROUND: Duration = Duration::from_millis(500);

#[derive(Args)]
pub(crate) struct OverloadArgs {
    #[command(flatten)]
    common: Common,
    /// How long the victim takes for its thousand acts, in milliseconds.
    #[arg(long, default_value_t = 4_000)]
    milliseconds: u64,
    /// Have the flooders in the victim's own cgroup, not in one of theirs.
    #[arg(long)]
    one_cgroup: bool,
}

/// At full speed, until its time is over.
const FULL: Load =
    Load { opens: 0, connects: 0, forks: 0, execs: 0, rounds: u64::MAX, rate: None, limit: Duration::ZERO };

/// What flooders do in a round, by the step's name.
const FLOODS: [(&str, Load); 4] = [
    ("nobody", Load { rounds: 0, ..FULL }),
    ("opens", Load { opens: 1, ..FULL }),
    ("connects", Load { connects: 1, ..FULL }),
    ("forks", Load { opens: 1, forks: 1, ..FULL }),
];

/// A line of output: docs/benchmarks.md.
#[derive(Serialize)]
struct Line {
    bench: &'static str,
    step: String,
    run: u32,
    rung: Option<&'static str>,
    own_cgroup: bool,
    victim: Victim,
    flood: Flood,
    account: Account,
    agent_cpu_percent: f64,
    agent_peak_mib: f64,
    collector_cpu_percent: f64,
    kernel_to_encoded_ms: Option<Latency>,
}

#[derive(Serialize)]
struct Victim {
    acts: u64,
    expected_events: u64,
    delivered_events: u64,
    lost_events: u64,
    seconds: f64,
    kernel_to_collector_ms: Option<Latency>,
}

#[derive(Serialize)]
struct Flood {
    acts: u64,
    acts_per_second: f64,
    expected_events: u64,
    delivered_events: u64,
}

pub(super) fn run(args: &OverloadArgs) -> Outcome {
    let setting = args.common.prepare()?;
    let credential = credential(&setting)?;
    let programs = (program(&setting, "flooder")?, program(&setting, "victim")?);
    for run in 1..=args.common.runs {
        for (name, flood) in FLOODS {
            let step = format!("flood of {name}");
            if !args.common.wants(&step) {
                continue;
            }
            progress(&format!("run {run} of {}: {step}", args.common.runs));
            tell(&measure(&setting, args, (&step, run), &flood, (&programs.0, &programs.1), &credential)?)?;
        }
    }
    Ok(())
}

fn measure(
    setting: &Setting,
    args: &OverloadArgs,
    (step, run): (&str, u32),
    flood: &Load,
    (flooder, victim): (&Path, &Path),
    credential: &Path,
) -> Outcome<Line> {
    // Where there is no cgroup v2, or it may not be written, all are in one; the line says so.
    let group = if args.one_cgroup {
        None
    } else {
        Cgroup::make(&format!("telltale-bench-{}", std::process::id())).ok()
    };
    let length = Duration::from_millis(args.milliseconds);
    let session = Session::start(setting)?;
    let start = |at_ns| {
        let flood = Load { limit: length + 2 * AROUND, ..*flood };
        let rate = (u128::from(VICTIM_ROUNDS) * 1_000 / length.as_millis().max(1)) as u64;
        let modest = Load {
            opens: 1,
            connects: 1,
            rounds: VICTIM_ROUNDS,
            rate: Some(rate.max(1)),
            limit: setting.limit / 2,
            ..Load::default()
        };
        let later_ns = at_ns + AROUND.as_nanos() as u64;
        let mut all = vec![Generator::start(victim, credential, &modest, later_ns, None)?];
        for _ in 0..FLOODERS {
            all.push(Generator::start(flooder, credential, &flood, at_ns, group.as_ref())?);
        }
        Ok(all)
    };
    let offered = offer(setting, &session, start)?;
    let memory = session.memory()?;
    let rung = session.rung;
    let ended = session.stop(setting)?;
    let account = account(&ended, &offered.done);
    let (victims, flooders) = offered.done.split_at(1);
    let pids = |of: &[crate::acts::Loaded]| of.iter().map(|loaded| loaded.pid).collect::<Vec<_>>();
    let (suffered, flooded) = (ended.seen.of(&pids(victims)), ended.seen.of(&pids(flooders)));
    let owed = |of: &[crate::acts::Loaded]| super::account::expected(of);
    let acts = |of: &[crate::acts::Loaded]| {
        of.iter().map(|loaded| loaded.opens + loaded.connects + loaded.forks).sum::<u64>()
    };
    let longest =
        |of: &[crate::acts::Loaded]| of.iter().map(|loaded| loaded.took_ns).max().unwrap_or_default();
    let (agent_cpu_percent, collector_cpu_percent) = offered.cpu_percent();
    Ok(Line {
        bench: "overload",
        step: step.to_owned(),
        run,
        rung: rung.map(|rung| rung.name()),
        own_cgroup: group.is_some(),
        victim: Victim {
            acts: acts(victims),
            expected_events: owed(victims),
            delivered_events: suffered.events(),
            lost_events: owed(victims).saturating_sub(suffered.events()),
            seconds: longest(victims) as f64 / 1e9,
            kernel_to_collector_ms: latency(&ended, &pids(victims)),
        },
        flood: Flood {
            acts: acts(flooders),
            acts_per_second: acts(flooders) as f64 * 1e9 / longest(flooders).max(1) as f64,
            expected_events: owed(flooders),
            delivered_events: flooded.events(),
        },
        account,
        agent_cpu_percent,
        agent_peak_mib: mib(memory.peak_kib),
        collector_cpu_percent,
        kernel_to_encoded_ms: encoded(&ended),
    })
}
