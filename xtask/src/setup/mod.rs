//! `cargo xtask setup`: finds what this machine lacks, and installs it.

mod apt;
pub(crate) mod deny;
mod needs;
pub(crate) mod qemu;
mod toolchain;

use std::path::PathBuf;

pub(crate) use needs::Level;
use needs::{NEEDS, Need, Source};

use crate::{
    step::{self, StepError},
    workspace::Workspace,
};

/// `cargo xtask setup`.
#[derive(Clone, Copy, Debug, clap::Args)]
pub(crate) struct SetupArgs {
    /// Also what `cargo xtask test`, `vm` and `bench` need.
    #[arg(long)]
    tests: bool,
}

/// Why something is still missing, and what to do about it.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// Only root installs packages.
    #[error(transparent)]
    NeedsRoot(#[from] NeedsRoot),
    /// An installation failed.
    #[error(transparent)]
    Step(#[from] StepError),
    /// A file of an installation could not be written.
    #[error("cannot {doing} {}: {source}", path.display())]
    Io {
        /// What was tried.
        doing: &'static str,
        /// On what.
        path: PathBuf,
        /// Why it failed.
        source: std::io::Error,
    },
    /// Nothing here can install a compiler.
    #[error(
        "no eBPF compiler can be installed: this system's package lists have no rustc-web from 1.88 on that goes with \
         what is installed, and there is no rustup. Install rustup (https://rustup.rs), then run `cargo xtask setup` \
         again"
    )]
    NoCompiler,
    /// Nothing here to link bpf-linker against.
    #[error(
        "bpf-linker needs the development files of LLVM {major} or newer (at most 23): Debian, Ubuntu `apt-get install \
         llvm-{major}-dev` (from apt.llvm.org where the distribution has none), Fedora `dnf install llvm-devel`, Arch \
         `pacman -S llvm`. Then run `cargo xtask setup` again"
    )]
    NoLlvm {
        /// LLVM release of the compiler.
        major: u32,
    },
    /// Packages are wanted on a system without apt.
    #[error(
        "this system has no apt-get. Install with its own package manager what brings: {}. Then run this again",
        what.join(", ")
    )]
    NoApt {
        /// What is missing.
        what: Vec<&'static str>,
    },
    /// Installed, and still not seen.
    #[error("installed without an error, and still not found: {}", what.join(", "))]
    StillMissing {
        /// What is missing.
        what: Vec<&'static str>,
    },
}

/// What root would have to type.
#[derive(Debug, thiserror::Error)]
#[error(
    "installing packages needs root. Run as root:\n{}\nThen run this again",
    commands.iter().map(|command| format!("    {command}")).collect::<Vec<_>>().join("\n")
)]
pub(crate) struct NeedsRoot {
    commands: Vec<String>,
}

/// `cargo xtask setup`: as [`ensure`], and says so when there was nothing to do.
///
/// # Errors
/// As [`ensure`].
pub(crate) fn run(workspace: &Workspace, args: SetupArgs) -> Result<(), Error> {
    let level = if args.tests { Level::Tests } else { Level::Run };
    if !ensure(workspace, level)? {
        let hint =
            if args.tests { "" } else { " (`cargo xtask setup --tests` looks for what tests need too)" };
        eprintln!("Nothing is missing{hint}.");
    }
    Ok(())
}

/// Installs what is missing; says what, why and how. Returns whether anything was.
///
/// # Errors
/// Says what could not be installed and what to do instead.
pub(crate) fn ensure(workspace: &Workspace, level: Level) -> Result<bool, Error> {
    let missing = missing(workspace, level);
    if missing.is_empty() {
        return Ok(false);
    }
    eprintln!("Missing on this machine:");
    for need in &missing {
        eprintln!("  {:<20} {}", need.what, need.why);
    }
    install(workspace, &missing)?;
    let what: Vec<_> = self::missing(workspace, level).iter().map(|need| need.what).collect();
    if what.is_empty() { Ok(true) } else { Err(Error::StillMissing { what }) }
}

fn missing(workspace: &Workspace, level: Level) -> Vec<&'static Need> {
    NEEDS.iter().filter(|need| need.level <= level && !need.is_met(workspace)).collect()
}

fn install(workspace: &Workspace, missing: &[&Need]) -> Result<(), Error> {
    let wants = |source| missing.iter().any(|need| need.source == source);
    let (compiler, linker, deny) = (wants(Source::Compiler), wants(Source::Linker), wants(Source::Deny));
    let mut packages = toolchain::packages(workspace, compiler, linker)?;
    packages.extend(missing.iter().filter_map(|need| match need.source {
        Source::Package(package) => Some(package.to_owned()),
        _ => None,
    }));
    if deny && apt::is_here() && !deny::has_venv() {
        packages.push("python3-venv".to_owned());
    }
    install_packages(workspace, missing, &packages)?;
    if compiler {
        toolchain::install_compiler(workspace)?;
    }
    if linker {
        toolchain::install_linker(workspace)?;
    }
    for need in missing {
        if let Source::Component(component) = need.source {
            let mut rustup = std::process::Command::new("rustup");
            rustup.args(["component", "add", component]);
            step::run(&format!("rustup component add {component}"), &mut rustup, &workspace.log("rustup"))?;
        }
    }
    if deny {
        deny::install(workspace)?;
    }
    Ok(())
}

fn install_packages(workspace: &Workspace, missing: &[&Need], packages: &[String]) -> Result<(), Error> {
    if packages.is_empty() {
        return Ok(());
    }
    if !apt::is_here() {
        let named = missing.iter().filter(|need| matches!(need.source, Source::Package(_)));
        return Err(Error::NoApt { what: named.map(|need| need.what).collect() });
    }
    let mut names: Vec<&str> = packages.iter().map(String::as_str).collect();
    names.sort_unstable();
    names.dedup();
    let beside = names.contains(&qemu::PACKAGE) && apt::conflicts(workspace, qemu::PACKAGE)?;
    if beside {
        names.retain(|name| *name != qemu::PACKAGE);
    }
    if !names.is_empty() {
        apt::install(workspace, &names)?;
    }
    if beside {
        qemu::install_beside(workspace)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_is_not_root_is_told_what_to_type() {
        let error = NeedsRoot { commands: vec![apt::command_line(&["curl"])] }.to_string();
        assert!(error.contains("\n    apt-get install --no-install-recommends curl\n"), "{error}");
    }

    #[test]
    fn each_refusal_says_what_to_do() {
        let refusals = [Error::NoCompiler, Error::NoLlvm { major: 22 }, Error::NoApt { what: vec!["curl"] }];
        for error in refusals {
            let text = error.to_string();
            assert!(text.contains("nstall") && text.contains("again"), "{text}");
        }
    }
}
