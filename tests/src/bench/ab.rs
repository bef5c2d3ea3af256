//! The same acts with nobody watching, with the agent and with its peers, in turn.
//!
//! Each act is done at full speed for a moment, and the processor time of who does it, which hooks lengthen and other
//! load of the machine does not, is compared with that of the same act in the same turn with nobody watching. Nobody is measured twice a turn: how far the second lies from the first is what the figures are good
//! for.

use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use serde::Serialize;

use super::generators::{Generator, Load, credential, program};
use super::peers::{Peer, known};
use super::rate::{LEAD, pause};
use super::{Common, NotRun, progress, tell};
use crate::acts::boot_ns;
use crate::harness::places;
use crate::harness::setting::Setting;
use crate::outcome::{Outcome, Verdict, failed};

#[derive(Args)]
pub(crate) struct AbArgs {
    #[command(flatten)]
    common: Common,
    /// How long each act is done, in milliseconds.
    #[arg(long, default_value_t = 400)]
    milliseconds: u64,
    /// A further peer: a program that needs nothing but to run.
    #[arg(long = "peer", value_name = "NAME=COMMAND")]
    peers: Vec<String>,
}

/// What is done: its name, whether the file is a credential, and the round.
struct Act {
    name: &'static str,
    is_credential: bool,
    load: Load,
}

/// Nothing, at full speed.
const FULL: Load =
    Load { opens: 0, connects: 0, forks: 0, execs: 0, rounds: u64::MAX, rate: None, limit: Duration::ZERO };

const ACTS: [Act; 4] = [
    Act { name: "ordinary open", is_credential: false, load: Load { opens: 16, ..FULL } },
    Act { name: "credential open", is_credential: true, load: Load { opens: 16, ..FULL } },
    Act { name: "connect", is_credential: false, load: Load { connects: 1, ..FULL } },
    Act { name: "exec", is_credential: false, load: Load { execs: 1, ..FULL } },
];

/// A line of output: docs/benchmarks.md.
#[derive(Serialize)]
struct Line<'a> {
    bench: &'static str,
    step: String,
    run: u32,
    act: &'a str,
    peer: &'a str,
    acts: u64,
    ns_per_act: f64,
    /// Processor time of who acts.
    cpu_ns_per_act: f64,
    /// That, against nobody in the same turn.
    ratio: f64,
    peer_cpu_us_per_act: f64,
    peer_bytes_per_act: f64,
}

pub(super) fn run(args: &AbArgs) -> Outcome {
    let setting = args.common.prepare()?;
    let ordinary = setting.path("ordinary");
    places::write(&ordinary, "content\n")?;
    let files = (ordinary, credential(&setting)?);
    let program = program(&setting, "load")?;
    let mut peers = vec![Peer::Nobody, Peer::Nobody];
    peers.extend(known());
    for peer in &args.peers {
        let Some((name, command)) = peer.split_once('=') else {
            return failed(format!("--peer {peer}: write NAME=COMMAND"));
        };
        let command = command.split_whitespace().map(str::to_owned).collect();
        peers.push(Peer::Program { name: name.to_owned(), command });
    }
    for run in 1..=args.common.runs {
        let mut alone = Vec::new();
        for (position, peer) in peers.iter().enumerate() {
            let name = if position == 1 { "nobody again" } else { peer.name() };
            if position > 0 && !args.common.wants(name) {
                continue;
            }
            progress(&format!("run {run} of {}: {name}", args.common.runs));
            let watcher = match peer.start(&setting, &files.1) {
                Ok(watcher) => watcher,
                Err(Verdict::Failed(reason) | Verdict::Skipped(reason)) => {
                    super::interrupt::check()?;
                    tell(&NotRun::new("ab", name, run, &reason))?;
                    continue;
                }
            };
            let mut lines = Vec::new();
            for (at, act) in ACTS.iter().enumerate() {
                let (used, told) = (watcher.used().unwrap_or_default(), watcher.told());
                let (acts, ns, cpu_ns) = measure(&setting, act, args, &program, &files)?;
                // What it still has to do with these acts is theirs.
                pause(LEAD)?;
                let each = |value: f64| value / acts.max(1) as f64;
                let cpu_ns_per_act = each(cpu_ns as f64);
                if position == 0 {
                    alone.push(cpu_ns_per_act);
                }
                let nobody = alone.get(at).copied().unwrap_or(cpu_ns_per_act);
                lines.push(Line {
                    bench: "ab",
                    step: format!("{}, {name}", act.name),
                    run,
                    act: act.name,
                    peer: name,
                    acts,
                    ns_per_act: each(ns as f64),
                    cpu_ns_per_act,
                    ratio: cpu_ns_per_act / nobody,
                    peer_cpu_us_per_act: each(watcher.used().unwrap_or_default().since(used) as f64 / 1e3),
                    peer_bytes_per_act: each(watcher.told().saturating_sub(told) as f64),
                });
            }
            // One that took long to fail has measured nobody.
            if let Some(reason) = watcher.end() {
                tell(&NotRun::new("ab", name, run, &reason))?;
                continue;
            }
            lines.iter().try_for_each(tell)?;
        }
    }
    Ok(())
}

/// How many acts, how long they took, and how much processor time of their process.
fn measure(
    setting: &Setting,
    act: &Act,
    args: &AbArgs,
    program: &Path,
    files: &(PathBuf, PathBuf),
) -> Outcome<(u64, u64, u64)> {
    let load = Load { limit: Duration::from_millis(args.milliseconds), ..act.load };
    let file = if act.is_credential { &files.1 } else { &files.0 };
    let at_ns = boot_ns() + LEAD.as_nanos() as u64;
    let done = Generator::start(program, file, &load, at_ns, None)?.finish(setting.limit)?;
    Ok((done.opens + done.connects + done.execs, done.took_ns, done.cpu_ns))
}
