//! What packaging/ promises, and who real AI agents, logins, containers and programs are told to be, by scripts: each can be run by
//! hand too, and says what it needs.

use std::{fmt, process::Command};

use super::{
    Counts, Outcome, Reason,
    stages::{Ran, in_machine, outcome},
};
use crate::{
    real::{CANNOT, Real},
    step,
    vm::{self, ProofSpec, Series},
    workspace::Workspace,
};

/// One of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Proof {
    /// The manifest is valid, and asks for no more than it must.
    Manifest,
    /// Real programs, on this machine's kernel.
    Real(Real),
    /// The unit is refused in a container that has process ids of its own.
    Nspawn,
    /// The unit in a real systemd, in a virtual machine.
    Systemd,
    /// The manifest's pod on a node, in a virtual machine.
    Pod,
}

impl Proof {
    /// All of them.
    pub(super) fn all() -> impl Iterator<Item = Self> {
        let real = Real::ALL.into_iter().map(Self::Real);
        std::iter::once(Self::Manifest).chain(real).chain([Self::Nspawn, Self::Systemd, Self::Pod])
    }

    /// Whether it boots a virtual machine.
    pub(super) fn is_machine(self) -> bool {
        matches!(self, Self::Systemd | Self::Pod)
    }

    /// Whether it starts the agent: the static one, which is for x86-64.
    pub(super) fn needs_agent(self) -> bool {
        self != Self::Manifest
    }

    /// Its script, from the root of the checkout.
    fn script(self) -> String {
        match self {
            Self::Real(real) => real.script(),
            _ => format!("packaging/tests/{}.sh", self.name()),
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Manifest => "manifest",
            Self::Real(real) => real.name(),
            Self::Nspawn => "nspawn",
            Self::Systemd => "systemd",
            Self::Pod => "pod",
        }
    }

    /// Runs it to its end.
    pub(super) fn run(self, workspace: &Workspace) -> Ran {
        let mut script = Command::new("bash");
        script.arg(workspace.root.join(self.script()));
        script.current_dir(&workspace.root).env("CARGO_TARGET_DIR", &workspace.target);
        if self.needs_agent() {
            if !rustix::process::geteuid().is_root() {
                let why = "loading kernel programs, and making a system for them, needs root";
                return Ok(Outcome::Skipped(Reason::Unable(why.to_owned())));
            }
            match vm::build_static() {
                Ok(binaries) => script.env("TELLTALE", binaries.agent),
                Err(error) => return Ok(Outcome::Failed(Counts::ONE_FAILED, error.to_string())),
            };
        }
        let log = workspace.log(&format!("proof-{}", self.name()));
        let ended = step::attempt(&self.script(), &mut script, &log)?;
        let output = ended.output();
        Ok(cannot(ended.status.code(), &output)
            .unwrap_or_else(|| outcome(&ended, Counts::of_kernel_tests(&output))))
    }
}

/// Where its script says that it cannot run: the reason, which no run passes over.
fn cannot(status: Option<i32>, output: &str) -> Option<Outcome> {
    let why = output.lines().last().unwrap_or("the script does not say why");
    (status == Some(CANNOT)).then(|| Outcome::Skipped(Reason::Unable(why.to_owned())))
}

/// A proof with real programs in a virtual machine.
pub(super) fn in_guest(real: Real, series: Series, bpf_lsm: bool) -> Outcome {
    let agent = match vm::build_static() {
        Ok(binaries) => binaries.agent,
        Err(error) => return Outcome::Failed(Counts::ONE_FAILED, error.to_string()),
    };
    let exit = match vm::prove(&ProofSpec { bpf_lsm, echo: false, ..ProofSpec::new(real, series, agent) }) {
        Ok(exit) => exit,
        Err(error) => return Outcome::Failed(Counts::ONE_FAILED, error.to_string()),
    };
    let output = exit.output();
    cannot(Some(exit.status.into()), &output).unwrap_or_else(|| in_machine(&exit, &output))
}

impl fmt::Display for Proof {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Manifest => "packaging: manifest",
            Self::Real(real) => return real.fmt(f),
            Self::Nspawn => "packaging: unit in a container",
            Self::Systemd => "packaging: unit in a systemd",
            Self::Pod => "packaging: pod on a node",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_proof_has_its_script() {
        let here = Workspace::find();
        for proof in Proof::all() {
            let script = here.root.join(proof.script());
            assert!(script.is_file(), "{}", script.display());
        }
    }

    /// A checkout whose script is this one.
    fn run(script: &str) -> Outcome {
        let root = tempfile::tempdir().unwrap();
        let tests = root.path().join("packaging/tests");
        std::fs::create_dir_all(&tests).unwrap();
        std::fs::write(tests.join("manifest.sh"), script).unwrap();
        let workspace = Workspace { root: root.path().to_owned(), target: root.path().join("target") };
        Proof::Manifest.run(&workspace).unwrap()
    }

    #[test]
    fn the_last_line_and_the_status_count() {
        assert!(matches!(
            run("echo ok; echo 3 passed, 0 failed"),
            Outcome::Passed(Some(Counts { passed: 3, .. }))
        ));
        assert!(matches!(
            run("echo 2 passed, 1 failed; exit 1"),
            Outcome::Failed(Counts { passed: 2, failed: 1, .. }, _)
        ));
        assert!(matches!(
            run("echo 2 passed, 0 failed; exit 1"),
            Outcome::Failed(Counts { failed: 1, .. }, _)
        ));
        assert!(matches!(run("exit 0"), Outcome::Failed(Counts { failed: 1, .. }, _)));
        let Outcome::Skipped(reason) = run("echo cannot run here: no cpio; exit 77") else { panic!() };
        assert_eq!(reason.to_string(), "cannot run here: no cpio");
        assert!(!reason.is_allowed());
    }
}
