//! Debian's packages.

use std::process::{Command, Stdio};

use super::{Error, NeedsRoot};
use crate::{
    step::{self, StepError},
    workspace::{Workspace, program},
};

/// What `apt-get` is asked for. The recommended packages are desktops and documentation; no package of the user's goes
/// to make room for one of ours.
const INSTALL: [&str; 6] = [
    "install",
    "--yes",
    "--no-install-recommends",
    "--no-remove",
    "-oDPkg::Lock::Timeout=300",
    "-oDpkg::Use-Pty=0",
];

/// Whether this system has packages of Debian at all.
pub(super) fn is_here() -> bool {
    program("apt-get").is_some() && program("apt-cache").is_some()
}

/// The version that would be installed, as far as the package lists know.
pub(super) fn candidate(package: &str) -> Option<String> {
    let output = Command::new("apt-cache").env("LC_ALL", "C").args(["policy", package]).output().ok()?;
    parse_candidate(&String::from_utf8_lossy(&output.stdout))
}

fn parse_candidate(policy: &str) -> Option<String> {
    let version = policy.lines().find_map(|line| line.trim().strip_prefix("Candidate: "))?;
    (version != "(none)").then(|| version.to_owned())
}

/// Whether packages could be installed beside what is here: Debian's compiler conflicts with its package of rustup.
pub(super) fn fits(packages: &[&str]) -> bool {
    let mut apt = command();
    apt.args(INSTALL).arg("--simulate").args(packages);
    apt.stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok_and(|status| status.success())
}

/// Whether a package, which the lists know, cannot be installed beside what is here.
pub(super) fn conflicts(workspace: &Workspace, package: &str) -> Result<bool, Error> {
    if candidate(package).is_none() {
        update(workspace)?;
    }
    Ok(candidate(package).is_some() && !fits(&[package]))
}

/// What would come new with a package, each with its version, whatever would have to go for it.
pub(super) fn would_install(package: &str) -> Result<Vec<String>, Error> {
    let mut apt = command();
    apt.args(["install", "--simulate", "--no-install-recommends", package]);
    let io = |source| Error::Io { doing: "run", path: "apt-get".into(), source };
    let output = apt.output().map_err(io)?;
    Ok(parse_new(&String::from_utf8_lossy(&output.stdout)))
}

/// `Inst NAME (VERSION …)`; what is there in another version has that one before the parenthesis.
fn parse_new(simulated: &str) -> Vec<String> {
    let new = |line: &str| {
        let (name, rest) = line.strip_prefix("Inst ")?.split_once(' ')?;
        let version = rest.strip_prefix('(')?.split_whitespace().next()?;
        Some(format!("{name}={version}"))
    };
    simulated.lines().filter_map(new).collect()
}

/// Fetches the package lists.
pub(super) fn update(workspace: &Workspace) -> Result<(), Error> {
    require_root(&["apt-get update".to_owned()])?;
    let mut apt = command();
    apt.args(["update", "-oDpkg::Use-Pty=0"]);
    step::run("apt-get update", &mut apt, &workspace.log("apt-update"))?;
    Ok(())
}

/// Installs packages. Lists that have grown old name files which the archive has replaced: then they are fetched, and
/// the installation tried once more.
pub(super) fn install(workspace: &Workspace, packages: &[&str]) -> Result<(), Error> {
    require_root(&[command_line(packages)])?;
    let unknown = packages.iter().any(|package| candidate(package).is_none());
    if unknown {
        update(workspace)?;
    }
    let label = format!("apt-get install {}", packages.join(" "));
    let log = workspace.log("apt-install");
    let attempt = || step::run(&label, command().args(INSTALL).args(packages), &log);
    match attempt() {
        Err(StepError::Failed { .. }) if !unknown => {
            update(workspace)?;
            attempt()?;
        }
        other => {
            other?;
        }
    }
    Ok(())
}

/// What a person would type.
pub(super) fn command_line(packages: &[&str]) -> String {
    format!("apt-get install --no-install-recommends {}", packages.join(" "))
}

fn command() -> Command {
    let mut apt = Command::new("apt-get");
    apt.env("DEBIAN_FRONTEND", "noninteractive").env("LC_ALL", "C");
    apt
}

fn require_root(commands: &[String]) -> Result<(), NeedsRoot> {
    if rustix::process::geteuid().is_root() {
        return Ok(());
    }
    Err(NeedsRoot { commands: commands.to_vec() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_package_without_candidate_is_none() {
        let policy = |candidate| {
            format!("rustc-web:\n  Installed: (none)\n  Candidate: {candidate}\n  Version table:\n")
        };
        assert_eq!(parse_candidate(&policy("1.96.0+dfsg1-1")).as_deref(), Some("1.96.0+dfsg1-1"));
        assert_eq!(parse_candidate(&policy("(none)")), None);
        assert_eq!(parse_candidate(""), None);
    }

    #[test]
    fn what_would_come_new_is_told_from_what_would_be_replaced() {
        let simulated = "Reading package lists...\nRemv qemu-utils [1:10.0.2]\n\
                         Inst libfdt1 (1.6.1-4+b1 Debian:12.15/oldstable [amd64])\n\
                         Inst systemd [252.38] (252.39 Debian:12.15/oldstable [amd64]) [libpam-systemd:amd64 ]\n\
                         Inst seabios (1.16.2-1 Debian:12.15/oldstable [all])\nConf libfdt1 (1.6.1-4+b1 Debian)\n";
        assert_eq!(parse_new(simulated), ["libfdt1=1.6.1-4+b1", "seabios=1.16.2-1"]);
    }

    #[test]
    fn a_person_is_told_the_same_packages() {
        assert!(command_line(&["curl", "xz-utils"]).ends_with(" curl xz-utils"));
    }
}
