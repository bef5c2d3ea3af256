//! Everyday work with the agent beside it: what is told of it, and what is counted instead (docs/everyday.md).
//!
//! Nothing here passes or fails by a figure. It prints a table of all acts on credentials by work, credential, program and
//! way, each with how often it was done and in how many events that was told.
//!
//! ```text
//! work.rs   what is done, by real programs, in a home of its own
//! table.rs  events into rows
//! ```

mod table;
mod work;

use std::path::PathBuf;
use std::process::Command;
use std::time::Instant;

use clap::Args;

use crate::acts::boot_ns;
use crate::harness::agent::Agent;
use crate::harness::setting::Setting;
use crate::outcome::{Outcome, Verdict, ensure};
use table::{Span, Table};
use work::Desk;

#[derive(Args)]
pub(crate) struct EverydayArgs {
    /// The agent's program; else the one on the PATH.
    #[arg(long, value_name = "PATH")]
    telltale: Option<PathBuf>,
    /// How often each piece of work is done; what is built or installed, once.
    #[arg(long, default_value_t = 10)]
    rounds: u32,
    /// Only work whose name contains one of these. `packages` changes this system: it installs anew what is there.
    #[arg(long = "only", value_name = "NAME")]
    only: Vec<String>,
    /// Keep what the agent told, one JSON object a line.
    #[arg(long, value_name = "FILE")]
    keep: Option<PathBuf>,
}

/// Works, and prints the table.
pub(crate) fn run(args: &EverydayArgs) -> Result<(), String> {
    everyday(args).map_err(|verdict| match verdict {
        Verdict::Failed(text) | Verdict::Skipped(text) => text,
    })
}

fn everyday(args: &EverydayArgs) -> Outcome {
    ensure(rustix::process::geteuid().is_root(), || "loading kernel programs needs root".to_owned())?;
    let setting = Setting::prepare_plainly(args.telltale.as_deref(), None)?;
    let desk = Desk::prepare(&setting)?;
    let mut command = Command::new(&setting.telltale);
    command
        .args(["run", "--json"])
        .env("RUNTIME_DIRECTORY", setting.scratch.path())
        .env("STATE_DIRECTORY", "none");
    let agent = Agent::spawn_command(&mut command)?;
    agent.ready(&setting)?;

    let begun = Instant::now();
    let mut spans = Vec::new();
    for (name, work) in work::ALL {
        if !args.only.is_empty() && !args.only.iter().any(|part| name.contains(part.as_str())) {
            continue;
        }
        eprintln!("{name} …");
        let (from_ns, since) = (boot_ns(), Instant::now());
        let done = work(&desk, args.rounds);
        let (to_ns, took) = (boot_ns(), since.elapsed());
        let outcome = match done {
            Ok(()) => format!("{:.0} s", took.as_secs_f64()),
            Err(Verdict::Failed(text)) => format!("failed: {}", text.lines().last().unwrap_or_default()),
            Err(Verdict::Skipped(text)) => format!("not done: {text}"),
        };
        println!("- {name}: {outcome}");
        spans.push(Span { name, from_ns, to_ns });
    }
    let told = agent.events.clone();
    agent.stop(&setting)?;
    let events = told.all();
    if let Some(path) = &args.keep {
        let lines: String = events.iter().map(|event| format!("{}\n", event.line)).collect();
        std::fs::write(path, lines)?;
    }
    println!(
        "\n{:.0} s in all\n\n{}",
        begun.elapsed().as_secs_f64(),
        Table::of(&events, &spans, std::process::id())
    );
    Ok(())
}
