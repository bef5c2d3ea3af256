//! Benchmarks of the running agent, on this machine.
//!
//! ```text
//! telltale-tests bench   measures, and prints a line of JSON for each run of each step
//! mod.rs                 builds and starts it, takes the lines
//! figures.rs             lines -> of each figure of a step the median, the least, the most
//! sheets.rs              what of these is shown, and the design's budgets
//! report.rs              for people and for machines
//! ```
//!
//! The runs of a step are spread over the whole measurement, in turn with those of all other steps, so that what else
//! the machine does meanwhile falls on all alike; how far they lie apart is shown. Nothing here fails for a figure.

mod figures;
mod report;
mod sheets;

use std::{
    fs,
    io::{self, BufRead, BufReader},
    path::PathBuf,
    process::{Command, ExitStatus, Stdio},
};

use serde_json::Value;

use crate::{
    run::privileged,
    vm::{self, VmError},
};
use figures::Steps;
use report::{Host, Report};
pub(super) use sheets::{AB, ATTRIBUTE, OVERLOAD, RATE, SCALE, START};
use sheets::{MeasuredBy, Sheet};

/// A benchmark of the running agent. What it needs is root, cgroup v2, and a kernel that the agent runs on.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct LiveArgs {
    /// Print one JSON object instead of a table (docs/benchmarks.md)
    #[arg(long)]
    json: bool,
    /// Measure each step so often, in turn with the others
    #[arg(long)]
    runs: Option<u32>,
    /// Use this rung of the agent's ladder alone: lsm, fentry or tracepoint
    #[arg(long)]
    rung: Option<String>,
    /// Measure only steps whose name contains this; may be given more than once
    #[arg(long = "step", value_name = "NAME")]
    steps: Vec<String>,
    /// Measure this agent, not one that is built now
    #[arg(long, value_name = "PATH")]
    telltale: Option<PathBuf>,
    /// For the benchmark itself: see `telltale-tests bench NAME --help`
    #[arg(last = true)]
    args: Vec<String>,
}

/// Why there are no figures, or what is wrong with them.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LiveError {
    /// The programs cannot be built.
    #[error(transparent)]
    Build(#[from] VmError),
    /// Neither root nor a way to become it.
    #[error(transparent)]
    Root(#[from] crate::run::Error),
    /// The measuring program cannot be started or heard.
    #[error("cannot run {}: {source}", program.display())]
    Start {
        /// Which.
        program: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It failed; it has said why.
    #[error("`telltale-tests bench {name}` failed ({status}): the reason stands above")]
    Failed {
        /// The benchmark.
        name: &'static str,
        /// How it ended.
        status: ExitStatus,
    },
    /// What it printed is not what this program knows.
    #[error(
        "cannot read a line of `telltale-tests bench`: {0}; do telltale-tests and xtask come from one checkout?"
    )]
    Form(String),
    /// The accounts do not agree.
    #[error(
        "what was done is not what was told and told as lost. This is a fault of the agent, whatever the figures:\n{}",
        .0.join("\n")
    )]
    Disagree(Vec<String>),
}

/// Measures and prints.
///
/// # Errors
/// Where it cannot be measured, and where the accounts do not agree.
pub(super) fn run(sheet: &'static Sheet, args: &LiveArgs) -> Result<(), LiveError> {
    let host = Host::read();
    let mut command = match sheet.measured_by {
        MeasuredBy::Tests => {
            let binaries = vm::build_static()?;
            let telltale = args.telltale.clone().unwrap_or(binaries.agent);
            let mut command = privileged(binaries.tests)?;
            command.args(["bench", sheet.name, "--telltale"]).arg(telltale);
            command
        }
        MeasuredBy::Example(name) => Command::new(vm::build_example(name)?),
    };
    for (flag, value) in [("--rung", args.rung.clone()), ("--runs", args.runs.map(|runs| runs.to_string()))] {
        if let Some(value) = value {
            command.arg(flag).arg(value);
        }
    }
    for step in &args.steps {
        command.arg("--step").arg(step);
    }
    command.args(&args.args);
    let (lines, status) = lines(&mut command)?;
    let (absent, lines): (Vec<_>, Vec<_>) = lines.into_iter().partition(|line| line.get("not_run").is_some());
    let steps = Steps::of(&lines);
    let report = Report { sheet, host, steps, lines, absent };
    println!("{}", if args.json { report.json() } else { report.table() });
    if !status.success() {
        return Err(LiveError::Failed { name: sheet.name, status });
    }
    match report.disagreements() {
        none if none.is_empty() => Ok(()),
        some => Err(LiveError::Disagree(some)),
    }
}

/// The lines of JSON that it prints, and how it ended. What it says beside goes to standard error as it comes.
fn lines(command: &mut Command) -> Result<(Vec<Value>, ExitStatus), LiveError> {
    let program = PathBuf::from(command.get_program());
    let fail = |source| LiveError::Start { program: program.clone(), source };
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().map_err(fail)?;
    let mut read = Vec::new();
    for line in child.stdout.take().into_iter().flat_map(|out| BufReader::new(out).lines()) {
        let line = line.map_err(fail)?;
        read.push(serde_json::from_str(&line).map_err(|error| LiveError::Form(format!("{error}: {line}")))?);
    }
    Ok((read, child.wait().map_err(fail)?))
}

/// A file of the kernel's, without what follows its first line; empty where there is none.
fn first_line(path: &str) -> String {
    fs::read_to_string(path).unwrap_or_default().lines().next().unwrap_or_default().trim().to_owned()
}
