//! The static binaries that a guest runs: it has no libraries of ours, and the host's may be newer than its kernel.

use std::path::PathBuf;

use super::{GuestFile, VmError, tools};
use crate::workspace::Workspace;

/// The target is named even though it is the host's own, so that build scripts and proc macros, which cannot be
/// static, do not get the flag.
const TARGET: &str = "x86_64-unknown-linux-gnu";
const FLAG: &str = "-C target-feature=+crt-static";
pub(super) const AGENT: &str = "telltale";
pub(super) const TESTS: &str = "telltale-tests";

/// Where the static binaries are.
#[derive(Clone, Debug)]
pub(crate) struct Binaries {
    /// The agent.
    pub(crate) agent: PathBuf,
    /// The black-box tests.
    pub(crate) tests: PathBuf,
}

impl Binaries {
    /// Both, for the guest's `PATH`.
    pub(crate) fn guest_files(&self) -> Vec<GuestFile> {
        vec![GuestFile::program(&self.agent, AGENT), GuestFile::program(&self.tests, TESTS)]
    }
}

/// Builds them; cargo's own words go to standard error.
///
/// # Errors
/// [`VmError::Command`] if cargo fails, [`VmError::Io`] if it cannot be started.
pub(crate) fn build_static() -> Result<Binaries, VmError> {
    let workspace = Workspace::find();
    let mut build = workspace.cargo();
    build.env("RUSTFLAGS", FLAG).arg("build");
    build.args(["--release", "--target", TARGET, "--package", "agent", "--package", TESTS]);
    tools::watched(&mut build, "build the static binaries")?;
    let dir = workspace.target.join(TARGET).join("release");
    Ok(Binaries { agent: dir.join(AGENT), tests: dir.join(TESTS) })
}

/// Builds an example of the agent's, beside the static binaries, whose library it shares.
///
/// # Errors
/// Where the build fails.
pub(crate) fn build_example(name: &str) -> Result<PathBuf, VmError> {
    let workspace = Workspace::find();
    let mut build = workspace.cargo();
    build.env("RUSTFLAGS", FLAG).arg("build");
    build.args(["--release", "--target", TARGET, "--package", "agent", "--example", name]);
    tools::watched(&mut build, "build an example of the agent's")?;
    Ok(workspace.target.join(TARGET).join("release/examples").join(name))
}
