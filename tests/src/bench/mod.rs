//! Benchmarks of the running agent, on this kernel: what `cargo xtask bench` shows as tables.
//!
//! Each prints a line of JSON for each of its steps, and says on standard error what it does. A benchmark measures; it
//! fails where it cannot, and where the accounts do not agree, never for a figure.
//!
//! ```text
//! session.rs    a collector and an agent, started and ended; what passed between
//! reader.rs     the collector's output, read as fast as it comes
//! generators.rs the load, by processes that count what they do
//! usage.rs      processor time and memory of a process
//! peers.rs      other programs that tell what happens
//! account.rs    what was done against what was told and what was told as lost
//! ```

mod ab;
mod account;
mod generators;
mod interrupt;
mod overload;
mod peers;
mod rate;
mod reader;
mod scale;
mod session;
mod start;
mod usage;

use std::path::PathBuf;

use clap::{Args, Subcommand};
use serde::Serialize;

use crate::harness::setting::{Rung, Setting};
use crate::outcome::{Outcome, Verdict, ensure};

/// What is measured.
#[derive(Subcommand)]
pub(crate) enum Bench {
    /// Loads of so many events a second, from the kernel to the collector.
    Rate(rate::RateArgs),
    /// Loads beyond what can be told, beside a victim that does little.
    Overload(overload::OverloadArgs),
    /// Starts and ends of the agent.
    Start(start::StartArgs),
    /// Few and many identities, files, rules and processes.
    Scale(scale::ScaleArgs),
    /// The same acts with nobody watching, with the agent, with its peers.
    Ab(ab::AbArgs),
}

/// What every benchmark takes.
#[derive(Args, Clone)]
struct Common {
    /// The agent's program; else the one on the PATH.
    #[arg(long, value_name = "PATH")]
    telltale: Option<PathBuf>,
    /// The agent's rung; else the best that holds.
    #[arg(long)]
    rung: Option<Rung>,
    /// How often each step is measured, in turn.
    #[arg(long, default_value_t = 3)]
    runs: u32,
    /// Only steps whose name contains one of these.
    #[arg(long = "step", value_name = "NAME")]
    steps: Vec<String>,
}

impl Common {
    fn prepare(&self) -> Outcome<Setting> {
        ensure(rustix::process::geteuid().is_root(), || "loading kernel programs needs root".to_owned())?;
        ensure(self.runs > 0, || "--runs must not be 0".to_owned())?;
        let setting = Setting::prepare_plainly(self.telltale.as_deref(), self.rung)?;
        interrupt::watch()?;
        Ok(setting)
    }

    fn wants(&self, step: &str) -> bool {
        self.steps.is_empty() || self.steps.iter().any(|name| step.contains(name.as_str()))
    }
}

/// Measures.
pub(crate) fn run(bench: &Bench) -> Result<(), String> {
    let done = match bench {
        Bench::Rate(args) => rate::run(args),
        Bench::Overload(args) => overload::run(args),
        Bench::Start(args) => start::run(args),
        Bench::Scale(args) => scale::run(args),
        Bench::Ab(args) => ab::run(args),
    };
    done.map_err(|verdict| match verdict {
        Verdict::Failed(text) | Verdict::Skipped(text) => text,
    })
}

/// A line about what could not be measured.
#[derive(Serialize)]
struct NotRun<'a> {
    bench: &'static str,
    step: &'a str,
    run: u32,
    not_run: &'a str,
}

impl<'a> NotRun<'a> {
    fn new(bench: &'static str, step: &'a str, run: u32, reason: &'a str) -> Self {
        Self { bench, step, run, not_run: reason.trim() }
    }
}

/// Prints a step.
fn tell(step: &impl Serialize) -> Outcome {
    println!("{}", serde_json::to_string(step)?);
    Ok(())
}

/// Says what is being done.
fn progress(text: &str) {
    eprintln!("{text}");
}
