//! Proofs with real programs (`tests/*/*.sh`): each runs on this machine's kernel, and in virtual machines on others.

use std::{fmt, path::PathBuf};

use crate::workspace::Workspace;

/// Exit status of a proof's script that cannot run; its last line says why.
pub(crate) const CANNOT: i32 = 77;

/// One of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Real {
    /// AI agents, and an MCP server.
    Agents,
    /// Containers of engines.
    Containers,
    /// Pods of an engine, with an API server that is the test's.
    Kubernetes,
    /// Logins: OpenSSH, login, sudo, tmux.
    Login,
    /// Programs: their contents, packages, and an agent of PyPI.
    Programs,
    /// Jobs of cron, anacron and atd, units, a runner's layout.
    Jobs,
}

impl Real {
    /// All of them.
    pub(crate) const ALL: [Self; 6] =
        [Self::Agents, Self::Containers, Self::Kubernetes, Self::Login, Self::Programs, Self::Jobs];

    /// As the command line and logs have it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Agents => "agents",
            Self::Containers => "containers",
            Self::Kubernetes => "kubernetes",
            Self::Login => "login",
            Self::Programs => "programs",
            Self::Jobs => "jobs",
        }
    }

    /// Its script, from the root of the checkout.
    pub(crate) fn script(self) -> String {
        format!("tests/{0}/{0}.sh", self.name())
    }

    /// Whether it takes packages from a registry: with the argument `fetch` its script does no more, and says last where they
    /// are.
    pub(crate) fn fetches(self) -> bool {
        matches!(self, Self::Agents | Self::Programs)
    }

    /// Files of the checkout that it reads beside its own directory and what all share.
    pub(crate) fn sources(self) -> &'static [&'static str] {
        match self {
            // The order in which units' directories are searched.
            Self::Jobs => &["agent/src/host/units/mod.rs"],
            _ => &[],
        }
    }

    /// Files and directories of the checkout that its script runs.
    pub(crate) fn files(self, workspace: &Workspace) -> Vec<PathBuf> {
        let own = format!("tests/{}", self.name());
        let shared = ["tests/proof.py", "tests/cri.py", "packaging/tests", &own];
        shared.iter().chain(self.sources()).map(|path| workspace.root.join(path)).collect()
    }
}

impl fmt::Display for Real {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Agents => "real AI agents",
            Self::Containers => "real container engines",
            Self::Kubernetes => "real pods",
            Self::Login => "real logins",
            Self::Programs => "real programs",
            Self::Jobs => "real cron, anacron and at, units, runners",
        })
    }
}

#[cfg(test)]
mod tests {
    use clap::ValueEnum;

    use super::*;

    #[test]
    fn each_is_listed_and_has_its_files() {
        assert_eq!(Real::ALL, Real::value_variants());
        let here = Workspace::find();
        for real in Real::ALL {
            assert!(here.root.join(real.script()).is_file(), "{real:?}");
            assert!(real.files(&here).iter().all(|path| path.exists()), "{real:?}");
        }
    }
}
