//! The times of acts, without the agent and with it: what `cargo xtask bench insn` boots a machine for.
//!
//! Each phase is a process of its own (`telltale-tests act measure`), so that all start alike. Prints a line of JSON a
//! phase. Times of a phase with an agent count only if it told every act that it owed, and lost none.

use std::path::{Path, PathBuf};
use std::process::Command;

use clap::Args;
use serde::Serialize;

use crate::acts::Measured;
use crate::harness::agent::{Agent, Options};
use crate::harness::child::Captured;
use crate::harness::event::Event;
use crate::harness::ledger::{DROPS, FAMILIES, equal};
use crate::harness::setting::{Rung, Setting};
use crate::outcome::{During, Outcome, Verdict, ensure, failed};

#[derive(Args)]
pub(crate) struct MeasureArgs {
    /// The agent's program; else the one on the PATH.
    #[arg(long, value_name = "PATH")]
    telltale: Option<PathBuf>,
    /// Measure with the agent on this rung; may be given more than once.
    #[arg(long, required = true)]
    rung: Vec<Rung>,
    /// How often each act is timed.
    #[arg(long, default_value_t = 200)]
    times: u32,
}

/// A line of output.
#[derive(Serialize)]
struct Phase {
    /// The agent's rung; `null` without an agent.
    rung: Option<&'static str>,
    measured: Measured,
}

/// Measures; without an agent before and after.
pub(crate) fn run(args: &MeasureArgs) -> Result<(), String> {
    measure(args).map_err(|verdict| match verdict {
        Verdict::Failed(text) | Verdict::Skipped(text) => text,
    })
}

fn measure(args: &MeasureArgs) -> Outcome {
    let setting = Setting::prepare(args.telltale.as_deref(), None)?;
    let directory = setting.places.get("ext4")?.join("measure");
    let alone = || act(&setting, &directory, args.times).and_then(|measured| tell(None, measured));
    alone()?;
    for &rung in &args.rung {
        let measured = with_agent(&setting, &directory, args.times, rung);
        tell(Some(rung.name()), measured.during(format!("measure with the agent on rung {}", rung.name()))?)?;
    }
    alone()
}

fn tell(rung: Option<&'static str>, measured: Measured) -> Outcome {
    println!("{}", serde_json::to_string(&Phase { rung, measured })?);
    Ok(())
}

fn act(setting: &Setting, directory: &Path, times: u32) -> Outcome<Measured> {
    let mut command = Command::new(&setting.me);
    command.args(["act", "measure", "--directory"]).arg(directory);
    command.args(["--times", &times.to_string()]);
    let finished = Captured::start(&mut command)?.finish(setting.limit)?.well()?;
    serde_json::from_str(&finished.stdout).during("read the times")
}

fn with_agent(setting: &Setting, directory: &Path, times: u32, rung: Rung) -> Outcome<Measured> {
    let agent = Agent::start(setting, &Options { rung: Some(rung), ..Options::default() })?;
    let events = agent.events.clone();
    let measured = act(setting, directory, times)?;
    agent.stop(setting)?;
    let told = events.all();
    let Some(stop) = told.iter().rfind(|event| event.is_phase("stop")) else {
        return failed("the agent did not say what became of its records");
    };
    for family in FAMILIES {
        for cause in DROPS.iter().chain(&["throttled"]) {
            let name = format!("kernel.{family}.{cause}");
            let lost = stop.counter(&name);
            ensure(lost == Some(0), || format!("the agent lost records: {name} is {lost:?}"))?;
        }
    }
    let of = |kind: &str| {
        let is = |event: &&Event| event.kind() == kind && event.pid() == Some(measured.pid);
        told.iter().filter(is).count() as u64
    };
    let owed = measured.owed;
    for (kind, owed) in [
        ("credential_access", owed.credential_access),
        ("connection", owed.connection),
        ("connection_end", owed.connection_end),
        ("datagram_flow", owed.datagram_flow),
    ] {
        equal(&format!("{kind}: acts = events"), owed, of(kind))?;
    }
    Ok(measured)
}
