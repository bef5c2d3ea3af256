//! `cargo xtask test`: everything that must hold before a change is merged, in stages.
//!
//! A stage that fails does not stop those after it. The last line is the sum, alone: `N passed, N failed`, counting
//! real tests; a failed stage that has no tests of its own counts as one failure, so that the line never says 0 when
//! the exit status says otherwise.

mod counts;
mod docs;
mod failures;
mod proof;
mod stages;

use std::{
    panic::resume_unwind,
    sync::atomic::{AtomicUsize, Ordering},
    time::{Duration, Instant},
};

use counts::Counts;
use stages::Stage;

use crate::{
    step::{StepError, seconds},
    workspace::Workspace,
};

/// `cargo xtask test`.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct TestArgs {
    /// Only what needs neither root nor a virtual machine, and takes seconds when warm.
    #[arg(long)]
    quick: bool,
    /// No virtual machines.
    #[arg(long)]
    no_vm: bool,
    /// Every test on every kernel: hours, where processors are few.
    #[arg(long, conflicts_with_all = ["quick", "no_vm"])]
    all: bool,
    /// Run only tests whose name contains one of these, and no other stage.
    #[arg(value_name = "FILTER")]
    filters: Vec<String>,
}

/// Something does not hold, or could not be run. The summary has said what, and its sum stays the last line.
#[derive(Debug, thiserror::Error)]
#[error("not all tests hold")]
pub(crate) struct Failed;

/// How much of the matrix of kernels and tests is run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Extent {
    /// Each rung whole on one kernel at least; the other machines load everything and see the plainest acts.
    Usual,
    /// Every test on every kernel.
    All,
}

impl TestArgs {
    fn extent(&self) -> Extent {
        if self.all { Extent::All } else { Extent::Usual }
    }
}

/// What a stage came to.
#[derive(Debug)]
enum Outcome {
    /// All held. `None`: a stage without tests of its own.
    Passed(Option<Counts>),
    /// Something did not; the detail is for a person.
    Failed(Counts, String),
    /// It did not run.
    Skipped(Reason),
}

/// Why a stage did not run.
#[derive(Debug)]
enum Reason {
    /// The command line said so. It is no failure.
    Asked(&'static str),
    /// The kernels are built for x86-64 alone. It is no failure.
    OtherArchitecture,
    /// Anything else is one.
    Unable(String),
}

impl Reason {
    fn is_allowed(&self) -> bool {
        match self {
            Self::Asked(_) | Self::OtherArchitecture => true,
            Self::Unable(_) => false,
        }
    }
}

impl std::fmt::Display for Reason {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Asked(flag) => write!(f, "{flag} was given"),
            Self::OtherArchitecture => write!(f, "the virtual machines are for x86-64"),
            Self::Unable(why) => f.write_str(why),
        }
    }
}

impl From<StepError> for Outcome {
    fn from(error: StepError) -> Self {
        Self::Failed(Counts::ONE_FAILED, error.to_string())
    }
}

/// A line of the summary.
struct Line {
    stage: Stage,
    outcome: Outcome,
    took: Duration,
}

/// Runs the stages and prints the summary.
///
/// # Errors
/// If anything failed, or was skipped for a reason that is not allowed.
pub(crate) fn run(workspace: &Workspace, args: &TestArgs) -> Result<(), Failed> {
    let started = Instant::now();
    let chosen = |stage: &Stage| args.filters.is_empty() || stage.is_for_filters();
    let (machines, others): (Vec<_>, Vec<_>) =
        Stage::of(args.extent()).into_iter().filter(chosen).partition(|stage| stage.is_machine());
    let mut lines: Vec<_> = others.into_iter().map(|stage| perform(workspace, args, stage)).collect();
    lines.extend(side_by_side(machines, |stage| perform(workspace, args, stage)));
    summarize(&lines, started.elapsed())
}

fn perform(workspace: &Workspace, args: &TestArgs, stage: Stage) -> Line {
    eprintln!("{stage}");
    let begun = Instant::now();
    let outcome = skipped(stage, args).unwrap_or_else(|| stage.run(workspace, args));
    let line = Line { stage, outcome, took: begun.elapsed() };
    eprintln!("{stage}:\n{}", line.verdict());
    line
}

/// Performs all, as many at a time as there are processors; the results keep the order.
fn side_by_side<T: Copy + Sync, R: Send>(items: Vec<T>, perform: impl Fn(T) -> R + Sync) -> Vec<R> {
    let next = AtomicUsize::new(0);
    let mut done: Vec<(usize, R)> = std::thread::scope(|scope| {
        let worker = || {
            let mut mine = Vec::new();
            while let Some((at, item)) = {
                let at = next.fetch_add(1, Ordering::Relaxed);
                items.get(at).map(|item| (at, *item))
            } {
                mine.push((at, perform(item)));
            }
            mine
        };
        let processors = std::thread::available_parallelism().map_or(1, usize::from);
        let workers: Vec<_> = (0..processors.min(items.len())).map(|_| scope.spawn(worker)).collect();
        // A worker that panics takes the run with it, as anywhere.
        workers
            .into_iter()
            .flat_map(|worker| worker.join().unwrap_or_else(|panic| resume_unwind(panic)))
            .collect()
    });
    done.sort_by_key(|(at, _)| *at);
    done.into_iter().map(|(_, result)| result).collect()
}

fn skipped(stage: Stage, args: &TestArgs) -> Option<Outcome> {
    let reason = match stage {
        Stage::Host | Stage::Docs | Stage::Proof(_) if args.quick => Reason::Asked("--quick"),
        Stage::Vm { .. } | Stage::Guest { .. } | Stage::Instructions if args.quick => {
            Reason::Asked("--quick")
        }
        _ if stage.is_machine() && args.no_vm => Reason::Asked("--no-vm"),
        Stage::Proof(proof) if proof.needs_agent() && cfg!(not(target_arch = "x86_64")) => {
            Reason::OtherArchitecture
        }
        Stage::Vm { .. } | Stage::Guest { .. } | Stage::Instructions if cfg!(not(target_arch = "x86_64")) => {
            Reason::OtherArchitecture
        }
        _ => return None,
    };
    Some(Outcome::Skipped(reason))
}

impl Line {
    /// What is printed when the stage ends.
    fn verdict(&self) -> String {
        let took = seconds(self.took);
        match &self.outcome {
            Outcome::Passed(None) => format!("  ok ({took})"),
            Outcome::Passed(Some(counts)) => format!("  ok: {counts} ({took})"),
            Outcome::Failed(counts, detail) => format!("{}\n  FAILED: {counts} ({took})", detail.trim_end()),
            Outcome::Skipped(reason) => format!("  skipped: {reason}"),
        }
    }

    /// What is printed at the end of all.
    fn row(&self) -> String {
        let (word, counts, note) = match &self.outcome {
            Outcome::Passed(counts) => ("ok", *counts, String::new()),
            Outcome::Failed(counts, _) => ("FAILED", Some(*counts), String::new()),
            Outcome::Skipped(reason) if reason.is_allowed() => ("skipped", None, reason.to_string()),
            Outcome::Skipped(reason) => ("NOT RUN", None, reason.to_string()),
        };
        let counts = counts.map_or(note, |counts| counts.to_string());
        format!("{:<34} {word:<8} {:>12}  {counts}", self.stage.to_string(), seconds(self.took))
    }
}

fn summarize(lines: &[Line], took: Duration) -> Result<(), Failed> {
    let mut sum = Counts::default();
    let mut not_run = 0_u32;
    println!();
    // Said once already, in the middle of much else: who reads the end of a long run should find it there.
    for line in lines {
        if let Outcome::Failed(_, detail) = &line.outcome {
            println!("{}:\n{}\n", line.stage, detail.trim_end());
        }
    }
    for line in lines {
        println!("{}", line.row().trim_end());
        match &line.outcome {
            Outcome::Passed(counts) => sum += counts.unwrap_or_default(),
            Outcome::Failed(counts, _) => sum += *counts,
            Outcome::Skipped(reason) => not_run += u32::from(!reason.is_allowed()),
        }
    }
    println!("{:<34} {:<8} {:>12}", "all", "", seconds(took));
    if not_run > 0 {
        println!("Stages that could not be run: {not_run}. That is a failure");
    }
    if sum.passed == 0 && sum.failed == 0 {
        println!("No test ran. That is a failure");
    }
    println!("{sum}");
    if sum.failed == 0 && not_run == 0 && sum.passed > 0 { Ok(()) } else { Err(Failed) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(outcome: Outcome) -> Line {
        Line { stage: Stage::Format, outcome, took: Duration::ZERO }
    }

    fn passed(passed: u64) -> Line {
        line(Outcome::Passed(Some(Counts { passed, failed: 0, skipped: 0 })))
    }

    #[test]
    fn only_named_reasons_to_skip_are_forgiven() {
        let ends_well =
            |reason| summarize(&[passed(1), line(Outcome::Skipped(reason))], Duration::ZERO).is_ok();
        assert!(ends_well(Reason::Asked("--quick")));
        assert!(ends_well(Reason::OtherArchitecture));
        assert!(!ends_well(Reason::Unable("not root".to_owned())));
    }

    #[test]
    fn what_runs_side_by_side_keeps_its_order_and_runs_once() {
        let ran = AtomicUsize::new(0);
        let results = side_by_side((0..50).collect(), |item: i32| {
            ran.fetch_add(1, Ordering::Relaxed);
            item * 2
        });
        assert_eq!(results, (0..50).map(|item| item * 2).collect::<Vec<_>>());
        assert_eq!(ran.into_inner(), 50);
        assert!(side_by_side(Vec::<i32>::new(), |item| item).is_empty());
    }

    #[test]
    fn a_failed_stage_fails_the_run() {
        let failed = line(Outcome::Failed(Counts::ONE_FAILED, "why".to_owned()));
        assert!(failed.verdict().starts_with("why\n"));
        assert!(summarize(&[passed(3), failed], Duration::ZERO).is_err());
    }

    #[test]
    fn a_run_of_no_test_is_a_failure() {
        assert!(summarize(&[passed(0)], Duration::ZERO).is_err());
        assert!(summarize(&[passed(1)], Duration::ZERO).is_ok());
    }

    #[test]
    fn quick_leaves_out_what_needs_a_kernel() {
        let args = TestArgs { quick: true, no_vm: false, all: false, filters: Vec::new() };
        let left: Vec<_> =
            Stage::of(Extent::Usual).into_iter().filter(|stage| skipped(*stage, &args).is_none()).collect();
        assert!(left.contains(&Stage::Unit) && left.contains(&Stage::Lint), "{left:?}");
        assert!(!left.contains(&Stage::Host) && !left.iter().any(|stage| matches!(stage, Stage::Vm { .. })));
    }
}
