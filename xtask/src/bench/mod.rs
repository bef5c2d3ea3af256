//! `cargo xtask bench`: what the agent costs.

pub(crate) mod insn;
mod live;

use crate::workspace::Workspace;

/// What to measure.
#[derive(Clone, Debug, clap::Subcommand)]
pub(crate) enum Bench {
    /// Count the instructions that the agent adds to paths through the kernel, and compare with the baseline
    Insn(insn::InsnArgs),
    /// Measure loss, delay and processor time under loads of so many events a second, from the kernel to a collector
    Rate(live::LiveArgs),
    /// Measure what becomes of a victim's events beside two processes at full speed, and account for all of them
    Overload(live::LiveArgs),
    /// Measure how long the agent takes to start and to end, and its memory
    Start(live::LiveArgs),
    /// Measure what an act costs beside few and many identities, files, rules and processes
    Scale(live::LiveArgs),
    /// Measure what it costs to say who acted, in a process of its own
    Attribute(live::LiveArgs),
    /// Measure the same acts with nobody watching, with the agent, and with other programs that tell of them
    Ab(live::LiveArgs),
}

/// Measures.
///
/// # Errors
/// As the benchmark says.
pub(crate) fn run(workspace: &Workspace, bench: &Bench) -> Result<(), Box<dyn std::error::Error>> {
    match bench {
        Bench::Insn(args) => insn::run(workspace, args)?,
        Bench::Rate(args) => live::run(&live::RATE, args)?,
        Bench::Overload(args) => live::run(&live::OVERLOAD, args)?,
        Bench::Scale(args) => live::run(&live::SCALE, args)?,
        Bench::Attribute(args) => live::run(&live::ATTRIBUTE, args)?,
        Bench::Ab(args) => live::run(&live::AB, args)?,
        Bench::Start(args) => live::run(&live::START, args)?,
    }
    Ok(())
}
