//! Why there are no figures, or why they are not good enough.

use std::{io, path::PathBuf};

use crate::vm::VmError;

/// Why `cargo xtask bench insn` fails.
#[derive(Debug, thiserror::Error)]
pub(crate) enum InsnError {
    /// The machine.
    #[error(transparent)]
    Vm(#[from] VmError),
    /// The measuring program.
    #[error("measuring in the guest failed (status {status}); its end, the whole is in {}:\n{tail}", output.display())]
    Guest {
        /// Its exit status.
        status: u8,
        /// What it printed.
        output: PathBuf,
        /// The end of that.
        tail: String,
    },
    /// What it printed is gone.
    #[error("cannot read what the guest printed in {}: {source}", path.display())]
    Output {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// What it printed is not what this program knows.
    #[error("cannot read the guest's times: {0}; do telltale-tests and xtask come from one checkout?")]
    Form(String),
    /// A path was not measured.
    #[error(
        "the guest gave no times of {path} ({phase}); do telltale-tests and xtask come from one checkout?"
    )]
    Missing {
        /// With which agent.
        phase: String,
        /// Which.
        path: &'static str,
    },
    /// The figures would mean nothing.
    #[error(
        "the guest's clock does not count instructions: a loop of {expected} took {counted} ns; does this QEMU know \
         `-icount shift=0,sleep=off`?"
    )]
    Clock {
        /// Instructions executed.
        expected: u64,
        /// Nanoseconds counted.
        counted: i64,
    },
    /// The figures would mean nothing.
    #[error(
        "{path} did not keep its length: without the agent it took {drift:+} instructions after the measurement, which \
         is beyond the tolerance of what the agent adds ({added}); measure again, and if it stays so, find out what \
         the guest's kernel does there"
    )]
    Unsteady {
        /// Which.
        path: &'static str,
        /// The difference.
        drift: i64,
        /// What would be compared.
        added: i64,
    },
    /// The baseline cannot be read.
    #[error("the baseline {} cannot be read: {reason}; restore it from the repository, or delete it and use --accept", path.display())]
    Baseline {
        /// The file.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// The baseline cannot be written.
    #[error("cannot write the baseline {}: {source}", path.display())]
    Store {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Nothing to compare with.
    #[error(
        "there is no baseline for {what} on kernel {kernel}: look whether the figures above are good, and make them \
         the baseline with `cargo xtask bench insn --accept`"
    )]
    NoBaseline {
        /// The guest's kernel.
        kernel: String,
        /// Which figures.
        what: String,
    },
    /// Paths have become dearer.
    #[error(
        "more instructions than the baseline of kernel {kernel} and its tolerance allow:\n{}\n\
         Mend it, or, if it is worth its price, `cargo xtask bench insn --accept`", worse.join("\n")
    )]
    Worse {
        /// The baseline's kernel.
        kernel: String,
        /// Path, was, is.
        worse: Vec<String>,
    },
}
