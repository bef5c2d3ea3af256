//! What can go wrong between the command line and the guest's exit status.

use std::{io, path::PathBuf, process::ExitStatus, time::Duration};

use super::archive::ArchiveKind;

/// Exit status of a boot that its time limit ended, as `timeout(1)` has it.
const EXIT_TIME_LIMIT: u8 = 124;
/// Exit status when the virtual machine itself failed, as container runtimes have it.
const EXIT_MACHINE: u8 = 125;

/// Why a virtual machine could not be booted, or what its run came to.
#[derive(Debug, thiserror::Error)]
pub(crate) enum VmError {
    /// A host program is missing.
    #[error("`{tool}` is missing (Debian package `{package}`): run `cargo xtask setup`")]
    MissingTool {
        /// The program or file looked for.
        tool: &'static str,
        /// The Debian package that holds it.
        package: &'static str,
    },
    /// Nothing says where kernels are.
    #[error(
        "apt knows no archive of Debian's {}, where the kernel is: add it to /etc/apt/sources.list.d, \
         run apt-get update, and try again",
        match archive {
            ArchiveKind::Security => "security updates",
            ArchiveKind::Main => "releases",
        }
    )]
    NoArchive {
        /// The one that was looked for.
        archive: ArchiveKind,
    },
    /// A host program ran and failed.
    #[error("{doing}: `{command}` ended with {status}\n{stderr}")]
    Command {
        /// What it was run for.
        doing: &'static str,
        /// Its command line.
        command: String,
        /// How it ended.
        status: ExitStatus,
        /// The end of what it said.
        stderr: String,
    },
    /// A file of the cache, or one to be packed, could not be read or written.
    #[error("{doing} {}: {source}", path.display())]
    Io {
        /// What was being done to the file.
        doing: &'static str,
        /// The file.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// The archive's index does not name a kernel of the series asked for.
    #[error(
        "suite `{suite}` offers no {series} cloud kernel: Debian has moved on; \
         correct the suite in xtask/src/vm/kernel.rs"
    )]
    NoKernel {
        /// Kernel series asked for.
        series: &'static str,
        /// Debian suite asked.
        suite: &'static str,
    },
    /// The unpacked kernel package is not laid out as expected.
    #[error("kernel package in {} has no {what}: delete that directory and run again", path.display())]
    KernelLayout {
        /// What was looked for.
        what: String,
        /// Where.
        path: PathBuf,
    },
    /// A kernel module cannot be packed.
    #[error("kernel module {}: {reason}", path.display())]
    Module {
        /// The module's file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The host's Python did not describe itself as asked.
    #[error("/usr/bin/python3 did not say where its standard library is: {source}")]
    Python {
        /// Why its answer could not be read.
        source: serde_json::Error,
    },
    /// The guest's init gave up before the command.
    #[error("the guest could not be prepared: {step} failed; console: {}\n{tail}", console.display())]
    Init {
        /// The step of `init.sh` that failed.
        step: String,
        /// The saved console.
        console: PathBuf,
        /// Its last lines.
        tail: String,
    },
    /// The kernel panicked.
    #[error("the guest's kernel panicked: {message}; console: {}\n{tail}", console.display())]
    Panic {
        /// The kernel's own words.
        message: String,
        /// The saved console.
        console: PathBuf,
        /// Its last lines.
        tail: String,
    },
    /// The time limit passed.
    #[error(
        "the guest did not end within {} s and was stopped (raise --time-limit if it was still at work); \
         console: {}\n{tail}", limit.as_secs(), console.display()
    )]
    TimeLimit {
        /// The limit given.
        limit: Duration,
        /// The saved console.
        console: PathBuf,
        /// Its last lines.
        tail: String,
    },
    /// The machine went off and left no result.
    #[error("the guest went off without a result ({qemu}); console: {}\n{tail}", console.display())]
    NoResult {
        /// How QEMU ended and what it said.
        qemu: String,
        /// The saved console.
        console: PathBuf,
        /// Its last lines.
        tail: String,
    },
    /// The guest runs other security modules than the boot asked for.
    #[error("the guest's security modules are `{found}`, but the boot asked {asked} bpf among them")]
    Lsm {
        /// The guest's list.
        found: String,
        /// `for` or `against`.
        asked: &'static str,
    },
    /// The command ran to its end and failed.
    #[error(
        "the guest's command ended with status {status}; its output: {}; console: {}",
        output.display(), console.display()
    )]
    Guest {
        /// Its exit status; 128 + n for signal n.
        status: u8,
        /// Its saved output.
        output: PathBuf,
        /// The saved console.
        console: PathBuf,
    },
}

impl VmError {
    /// The exit status `cargo xtask vm` ends with: the guest's where the guest has one.
    pub(crate) fn exit_status(&self) -> u8 {
        match self {
            Self::Guest { status, .. } => *status,
            Self::TimeLimit { .. } => EXIT_TIME_LIMIT,
            _ => EXIT_MACHINE,
        }
    }

    /// For `map_err`: names the operation and the file.
    pub(super) fn io(doing: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::Io { doing, path, source }
    }
}
