//! What this host offers, found out by looking, before anything is loaded.
//!
//! Each answer is yes, no, or could-not-tell, with the reason and what to do. Only the expected refusal is a no.
//! Whether a program loads, only loading it tells: nothing here concludes that from a version or a setting.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use caps::{CapSet, CapsHashSet};
use rustix::process::{Resource, getrlimit};

mod hierarchy;
mod host;
mod limits;
mod mounts;
mod privileges;
mod settings;

pub use limits::{LimitError, raise_limits};
pub use mounts::CgroupMount;

use crate::host::HostRoot;
use crate::model::process::Hierarchy;

/// Largest file read under `/proc` and `/sys`. A host with many containers has megabytes of `mountinfo`.
const MAX_FILE_BYTES: u64 = 16 << 20;

/// One answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// The host offers it.
    Yes,
    /// It does not.
    No,
    /// What would tell is itself missing or unreadable.
    CouldNotTell,
}

/// One thing that was looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// Stable name, as in `doctor --json`.
    pub name: &'static str,
    /// The answer.
    pub state: State,
    /// Without it nothing is loaded at all. Otherwise a part is lost, which `detail` names.
    pub required: bool,
    /// What was seen, and what follows.
    pub detail: String,
    /// What the operator can do.
    pub remedy: Option<String>,
}

impl Finding {
    fn new(name: &'static str, state: State, detail: impl Into<String>, remedy: Option<String>) -> Self {
        Self { name, state, required: false, detail: detail.into(), remedy }
    }

    fn yes(name: &'static str, detail: impl Into<String>) -> Self {
        Self::new(name, State::Yes, detail, None)
    }

    fn no(name: &'static str, detail: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self::new(name, State::No, detail, Some(remedy.into()))
    }

    fn could_not_tell(name: &'static str, detail: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self::new(name, State::CouldNotTell, detail, Some(remedy.into()))
    }

    fn required(self) -> Self {
        Self { required: true, ..self }
    }
}

/// What is looked at: the live host, or a directory that stands for one.
#[derive(Clone, Debug)]
pub struct Sources {
    /// `/`, or where a `proc` and a `sys` are.
    pub root: PathBuf,
    /// The machine, as `uname -m` says it.
    pub machine: String,
    /// Our effective capabilities, or why they cannot be read.
    pub effective: Result<CapsHashSet, String>,
    /// Soft limit of locked memory in bytes; none: unlimited.
    pub memlock_bytes: Option<u64>,
    /// Hard limit of open descriptors; none: unlimited.
    pub descriptors: Option<u64>,
}

impl Sources {
    /// The live host and this process.
    pub fn live() -> Self {
        Self {
            root: PathBuf::from("/"),
            machine: rustix::system::uname().machine().to_string_lossy().into_owned(),
            effective: caps::read(None, CapSet::Effective).map_err(|error| error.to_string()),
            memlock_bytes: getrlimit(Resource::Memlock).current,
            descriptors: getrlimit(Resource::Nofile).maximum,
        }
    }

    fn path(&self, absolute: &str) -> PathBuf {
        self.root.join(absolute.trim_start_matches('/'))
    }

    /// Contents without the white space around them.
    fn read(&self, absolute: &str) -> io::Result<String> {
        let mut bytes = Vec::new();
        File::open(self.path(absolute))?.take(MAX_FILE_BYTES).read_to_end(&mut bytes)?;
        Ok(String::from_utf8_lossy(&bytes).trim().to_owned())
    }
}

/// What a host offers.
#[derive(Clone, Debug)]
pub struct HostProbe {
    /// Kernel release, as `uname -r` says it; empty where it cannot be read.
    pub release: String,
    /// The machine, as `uname -m` says it.
    pub machine: String,
    /// Where cgroup v2 is mounted, to attach programs to; none: nowhere.
    pub cgroup: Option<CgroupMount>,
    /// The hierarchy that names workloads; none where no cgroups are mounted.
    pub workloads: Option<Hierarchy>,
    /// The host's own files; none: /proc shows nothing.
    pub host_root: Option<Arc<HostRoot>>,
    /// The security modules in order; none: could not be read.
    pub security_modules: Option<Vec<String>>,
    /// Every answer, in the order they are shown.
    pub findings: Vec<Finding>,
}

impl HostProbe {
    /// Looks at the live host. Reads files only; takes a few milliseconds.
    pub fn inspect() -> Self {
        Self::inspect_sources(&Sources::live())
    }

    /// Looks at what `sources` stands for.
    pub fn inspect_sources(sources: &Sources) -> Self {
        let mounts = mounts::Mounts::read(sources);
        let (release, kernel) = settings::kernel(sources);
        let (security_modules, lsm) = settings::lsm(sources, &mounts);
        let initial_namespace = privileges::in_initial_namespace(sources, "cgroup").ok();
        let (cgroup, cgroup_finding) = mounts.cgroup(initial_namespace);
        let (workloads, workloads_finding) =
            hierarchy::choose(sources, &mounts, initial_namespace, cgroup.as_ref());
        let (host_root, host_root_finding) = host::root(sources);
        let findings = vec![
            kernel,
            settings::types(sources),
            privileges::load(sources),
            privileges::read(sources),
            privileges::user_namespace(sources),
            privileges::pid_namespace(sources),
            host_root_finding,
            host::name(sources, host_root.as_deref()),
            settings::lockdown(sources, &mounts),
            lsm,
            cgroup_finding,
            workloads_finding,
            mounts.bpffs(),
            mounts.tracefs(),
            settings::perf_event_paranoid(sources),
            settings::unprivileged_bpf(sources),
            limits::memlock(sources),
            limits::descriptors(sources),
        ];
        let machine = sources.machine.clone();
        Self { release, machine, cgroup, workloads, host_root, security_modules, findings }
    }

    /// What forbids loading anything.
    pub fn blocking(&self) -> impl Iterator<Item = &Finding> {
        self.findings.iter().filter(|finding| finding.required && finding.state == State::No)
    }

    /// What is lost although programs can be loaded, where no capability's serving tells of it.
    pub fn silent_losses(&self) -> impl Iterator<Item = &Finding> {
        let names = ["read_capabilities", "cgroup_v2", "host_root", "host_name"];
        self.findings.iter().filter(move |found| names.contains(&found.name) && found.state == State::No)
    }

    /// The finding of that name.
    pub fn finding(&self, name: &str) -> Option<&Finding> {
        self.findings.iter().find(|finding| finding.name == name)
    }
}

/// The reason why a file did not tell, with its name.
fn unreadable(path: &Path, error: &io::Error) -> String {
    format!("{} cannot be read: {error}", path.display())
}

#[cfg(test)]
mod tests;
