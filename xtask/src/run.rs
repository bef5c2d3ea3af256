//! `cargo xtask run`: from a fresh checkout to a stream of events.

use std::{
    ffi::OsString,
    io,
    os::unix::process::CommandExt,
    path::PathBuf,
    process::{Command, ExitStatus},
};

use crate::{
    build_ebpf, ebpf, setup,
    workspace::{Workspace, program},
};

/// `cargo xtask run`.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct RunArgs {
    /// Build with full optimisation: some minutes instead of one, for measuring.
    #[arg(long)]
    release: bool,
    /// For `telltale run`, such as `--json`.
    #[arg(last = true)]
    args: Vec<OsString>,
}

/// What kept the agent from starting.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// The machine lacks something.
    #[error(transparent)]
    Setup(#[from] setup::Error),
    /// No kernel object.
    #[error(transparent)]
    Ebpf(#[from] build_ebpf::Error),
    /// The agent does not compile; cargo has said why.
    #[error("building telltale failed ({0})")]
    Build(ExitStatus),
    /// A program could not be started.
    #[error("cannot start {}: {source}", program.display())]
    Start {
        /// Which.
        program: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Neither root nor a way to become it.
    #[error("loading kernel programs needs root, and there is no sudo here. As root: {} run", .0.display())]
    NoSudo(PathBuf),
}

/// Sets up, builds, and becomes `telltale run`: on success it does not return.
///
/// The development profile: its libraries are those that `cargo test` has built, so that the first run starts in half
/// the time, and what it costs at run time is lost beside a person who reads the stream.
///
/// # Errors
/// Everything that keeps the agent from starting.
pub(crate) fn run(workspace: &Workspace, args: RunArgs) -> Result<(), Error> {
    setup::ensure(workspace, setup::Level::Run)?;
    ebpf::build(workspace)?;
    let mut cargo = workspace.cargo();
    cargo.args(["build", "--quiet", "--package", "agent", "--bin", "telltale"]);
    if args.release {
        cargo.arg("--release");
    }
    eprintln!("Building telltale …");
    let status = cargo.status().map_err(start(cargo.get_program()))?;
    if !status.success() {
        return Err(Error::Build(status));
    }
    let profile = if args.release { "release" } else { "debug" };
    let mut telltale = privileged(workspace.target.join(profile).join("telltale"))?;
    telltale.arg("run").args(args.args);
    let error = telltale.exec();
    Err(start(telltale.get_program())(error))
}

/// The agent as root, by sudo where this is not root already. `-E`: the terminal's settings decide about colours.
pub(crate) fn privileged(telltale: PathBuf) -> Result<Command, Error> {
    if rustix::process::geteuid().is_root() {
        return Ok(Command::new(telltale));
    }
    let Some(sudo) = program("sudo") else { return Err(Error::NoSudo(telltale)) };
    let mut command = Command::new(sudo);
    command.args(["-E", "--"]).arg(telltale);
    Ok(command)
}

fn start(program: &std::ffi::OsStr) -> impl FnOnce(io::Error) -> Error + use<> {
    let program = PathBuf::from(program);
    move |source| Error::Start { program, source }
}
