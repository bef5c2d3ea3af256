//! Black-box tests of Telltale on a real kernel.
//!
//! The program knows of the agent only its command line and its JSON lines (docs/events.md). It does things, says
//! itself what it did (the ground truth), and looks whether the stream at a collector says the same: exactly one event
//! for each act, with the right process, identity, target, outcome and lineage, and nothing else of its processes.

mod acts;
mod bench;
mod cases;
mod everyday;
mod harness;
mod measure;
mod outcome;
mod runner;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(name = "telltale-tests", about = "Black-box tests of Telltale on this kernel (as root)")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run tests.
    Run(runner::RunArgs),
    /// Print the names of all tests.
    List,
    /// Time what the agent could make dearer, without it and with it, and print the times as JSON.
    Measure(measure::MeasureArgs),
    /// Measure the agent on this kernel, and print figures as JSON.
    #[command(subcommand)]
    Bench(bench::Bench),
    /// Do everyday work with real programs and the shipped catalogue, and print what was told of it (docs/everyday.md).
    Everyday(everyday::EverydayArgs),
    /// Do something, and print what was done: what tests have others do.
    #[command(subcommand)]
    Act(acts::Act),
}

fn main() -> ExitCode {
    let command = match script_as_interpreter() {
        Some(words) => Cli::parse_from(words),
        None => Cli::parse(),
    };
    match command.command {
        Command::Run(args) => runner::run(&args),
        Command::List => {
            runner::list();
            ExitCode::SUCCESS
        }
        Command::Measure(args) => status(measure::run(&args)),
        Command::Bench(bench) => status(bench::run(&bench)),
        Command::Everyday(args) => status(everyday::run(&args)),
        Command::Act(act) => status(acts::perform(&act)),
    }
}

/// A copy that is called `node` is an interpreter: of a script's second line, which is an act.
fn script_as_interpreter() -> Option<Vec<String>> {
    let mut arguments = std::env::args_os();
    let is_node = std::path::Path::new(&arguments.next()?).file_name()? == "node";
    let script = std::fs::read_to_string(arguments.next().filter(|_| is_node)?).ok()?;
    let act = script.lines().nth(1).unwrap_or_default().split(' ').map(str::to_owned);
    Some(["telltale-tests", "act"].map(str::to_owned).into_iter().chain(act).collect())
}

fn status(done: Result<(), String>) -> ExitCode {
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}
