//! Telltale's automation: `cargo xtask --help`.

mod bench;
mod build_ebpf;
mod ebpf;
mod real;
mod run;
mod setup;
mod step;
mod test;
mod vm;
mod workspace;

use std::process::ExitCode;

use clap::Parser;
use workspace::Workspace;

/// Sets up, builds, runs and tests Telltale.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
enum Task {
    /// Find what this machine lacks, and install it
    Setup(setup::SetupArgs),
    /// Build the kernel programs, unless this state of their sources was built before
    BuildEbpf,
    /// Set up, build, load, and print one line an event
    Run(run::RunArgs),
    /// Check and test everything
    Test(test::TestArgs),
    /// Run a test or a program in a virtual machine with a distribution's kernel
    Vm(vm::VmArgs),
    /// Measure what the agent costs
    #[command(subcommand)]
    Bench(bench::Bench),
}

fn main() -> ExitCode {
    match Task::parse().perform(&Workspace::find()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) if error.is::<test::Failed>() => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error}");
            error.downcast_ref::<vm::VmError>().map_or(ExitCode::FAILURE, |error| error.exit_status().into())
        }
    }
}

impl Task {
    fn perform(self, workspace: &Workspace) -> Result<(), Box<dyn std::error::Error>> {
        match self {
            Self::Setup(args) => setup::run(workspace, args)?,
            Self::BuildEbpf => ebpf::run(workspace)?,
            Self::Run(args) => run::run(workspace, args)?,
            Self::Test(args) => test::run(workspace, &args)?,
            Self::Vm(args) => vm::run(args)?,
            Self::Bench(bench) => bench::run(workspace, &bench)?,
        }
        Ok(())
    }
}
