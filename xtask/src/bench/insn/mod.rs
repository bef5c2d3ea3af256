//! `cargo xtask bench insn`: instructions added, in an emulated machine whose clock counts them.
//!
//! ```text
//! telltale-tests measure   in the guest: times of acts, without the agent and with it on each rung
//! guest.rs                 its output -> times by rung and path
//! figures.rs               times -> instructions added, and their budgets
//! baseline.rs              against what was accepted before
//! report.rs                for people and for machines
//! ```
//!
//! One virtual nanosecond is one instruction; the guest times loops of known length too, and a run whose clock says
//! something else of them is refused. All rungs are measured in one machine with `bpf` among its security modules:
//! without it the differences are the same (docs/benchmarks.md).

mod baseline;
mod error;
mod figures;
mod guest;
mod report;

use std::{fs, path::PathBuf, time::Duration};

use crate::{
    step,
    vm::{self, BootSpec, Series},
    workspace::Workspace,
};
use baseline::Baselines;
pub(crate) use error::InsnError;
use figures::{Figure, Rung};
use guest::Guest;
use report::Report;

/// On 6.1 the length of a handshake changes midway, with and without the agent: its figures would mean nothing.
const KERNEL: Series = Series::V6_12;
/// How often each rung is measured, in turn; the least counts. What the agent does to a path is the same every time; in
/// the first phase with an agent of some boots, each close is 135 instructions longer from its first to its last.
const ROUNDS: usize = 2;
/// A machine that runs longer is stopped. A loaded host needs five minutes.
const TIME_LIMIT: Duration = Duration::from_secs(900);
/// Else what the kernel remembers of earlier connections to an address changes the length of later ones midway.
const STEADY: &str = "sysctl.net.ipv4.tcp_no_metrics_save=1";

/// `cargo xtask bench insn`.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct InsnArgs {
    /// Make what is measured the baseline, whatever it is.
    #[arg(long)]
    accept: bool,
    /// Print one JSON object instead of a table.
    #[arg(long)]
    json: bool,
}

/// Measures, compares, prints.
///
/// # Errors
/// Where the machine or its measurement fails, and where a path has become dearer than the tolerance allows.
pub(crate) fn run(workspace: &Workspace, args: &InsnArgs) -> Result<(), InsnError> {
    let path = baseline_file(workspace);
    let mut baselines = Baselines::load(&path)?;
    let measured = Measured::take()?;
    let report = measured.against(&baselines);
    println!("{}", if args.json { report.json() } else { report.table() });
    if args.accept {
        baselines.accept(&measured.kernel, &measured.figures);
        baselines.store(&path)?;
        eprintln!("The baseline of {} is now what was measured: {}", measured.kernel, path.display());
        return Ok(());
    }
    report.verdict()
}

/// As [`run`], for `cargo xtask test`: what it would print, where all is as it should be.
///
/// # Errors
/// As [`run`].
pub(crate) fn gate(workspace: &Workspace) -> Result<String, InsnError> {
    let baselines = Baselines::load(&baseline_file(workspace))?;
    let report = Measured::take()?.against(&baselines);
    report.verdict()?;
    Ok(report.table())
}

fn baseline_file(workspace: &Workspace) -> PathBuf {
    workspace.root.join("xtask/baseline/insn.json")
}

/// A whole measurement.
struct Measured {
    /// Debian's version of the kernel.
    kernel: String,
    figures: Vec<Figure>,
}

impl Measured {
    fn take() -> Result<Self, InsnError> {
        let binaries = vm::build_static()?;
        let mut command = vec!["telltale-tests".to_owned(), "measure".to_owned()];
        for rung in [Rung::ALL; ROUNDS].into_iter().flatten() {
            command.extend(["--rung".to_owned(), rung.name().to_owned()]);
        }
        let spec = BootSpec {
            time_limit: TIME_LIMIT,
            kernel_arguments: vec![STEADY.to_owned()],
            files: binaries.guest_files(),
            echo: false,
            ..BootSpec::new(KERNEL, command)
        };
        let exit = vm::boot(&spec.icount())?;
        if exit.status != 0 {
            let tail = step::tail(&exit.log);
            return Err(InsnError::Guest { status: exit.status, output: exit.log, tail });
        }
        let text = fs::read_to_string(&exit.log)
            .map_err(|source| InsnError::Output { path: exit.log.clone(), source })?;
        let guest = Guest::parse(&text)?;
        guest.check_clock()?;
        let figures = figures::of(&guest)?;
        check_steady(&figures)?;
        Ok(Self { kernel: exit.kernel_version, figures })
    }

    fn against(&self, baselines: &Baselines) -> Report {
        let found = baselines.of(&self.kernel);
        let judged = self.figures.iter().map(|figure| {
            let was = found.and_then(|(_, rungs)| baseline::added(rungs, figure));
            (figure.clone(), was)
        });
        Report {
            kernel: self.kernel.clone(),
            baseline_kernel: found.map(|(kernel, _)| kernel.to_owned()),
            figures: judged.collect(),
        }
    }
}

/// That each act takes as long without the agent after all phases as before them, as far as that matters.
fn check_steady(figures: &[Figure]) -> Result<(), InsnError> {
    match figures.iter().find(|figure| figure.drift.abs() > baseline::tolerance(figure.added)) {
        None => Ok(()),
        Some(&Figure { path, drift, added, .. }) => Err(InsnError::Unsteady { path, drift, added }),
    }
}

#[cfg(test)]
mod tests {
    use super::{guest::tests::line, *};

    #[test]
    fn figures_of_a_path_that_changes_by_itself_are_refused() {
        let steady = |after| {
            let lines = [line("null", 1_000), line("\"lsm\"", 1_400), line("null", after)];
            check_steady(&figures::of(&Guest::parse(&lines.join("\n")).unwrap()).unwrap())
        };
        steady(1_020).unwrap();
        let error = steady(1_021).unwrap_err();
        assert!(matches!(error, InsnError::Unsteady { drift: 21, added: 400, .. }), "{error}");
    }
}
