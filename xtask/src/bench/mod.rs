//! `cargo xtask bench`: what the agent costs.

pub(crate) mod insn;

use crate::workspace::Workspace;

/// What to measure.
#[derive(Clone, Debug, clap::Subcommand)]
pub(crate) enum Bench {
    /// Count the instructions that the agent adds to paths through the kernel, and compare with the baseline
    Insn(insn::InsnArgs),
}

/// Measures.
///
/// # Errors
/// As the benchmark says.
pub(crate) fn run(workspace: &Workspace, bench: &Bench) -> Result<(), insn::InsnError> {
    match bench {
        Bench::Insn(args) => insn::run(workspace, args),
    }
}
