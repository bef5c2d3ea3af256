//! Cgroups of the harness's own.

use std::fs;
use std::io;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::who;
use crate::outcome::{During, Outcome, skipped};

/// A cgroup, with those above it that were made for it; removed when it is dropped.
#[derive(Debug)]
pub(crate) struct Cgroup {
    made: Vec<PathBuf>,
    path: PathBuf,
}

impl Cgroup {
    /// Makes one below the root of cgroup v2, with all above it that are not there.
    ///
    /// # Errors
    /// Where cgroup v2 is not mounted (skipped), or may not be written.
    pub(crate) fn make(below_root: &str) -> Outcome<Self> {
        let Some(root) = who::cgroup_root() else { return skipped("cgroup v2 is not mounted") };
        Self::make_in(root, below_root)
    }

    /// The same below the root of any hierarchy.
    ///
    /// # Errors
    /// Where it may not be written.
    pub(crate) fn make_in(root: &Path, below_root: &str) -> Outcome<Self> {
        let mut cgroup = Self { made: Vec::new(), path: root.to_owned() };
        let mut names = below_root.split('/').peekable();
        while let Some(name) = names.next() {
            cgroup.path.push(name);
            // The last is the caller's alone.
            if names.peek().is_none() || !cgroup.path.exists() {
                fs::create_dir(&cgroup.path).during(format!("make the cgroup {}", cgroup.path.display()))?;
                cgroup.made.push(cgroup.path.clone());
            }
        }
        Ok(cgroup)
    }

    /// What a process does between fork and exec to enter it. It allocates nothing.
    ///
    /// # Errors
    /// Where it may not be entered.
    pub(crate) fn entrance(&self) -> Outcome<impl FnMut() -> io::Result<()> + Send + Sync + use<>> {
        let procs = self.path.join("cgroup.procs");
        let procs = fs::File::options().write(true).open(&procs).during(procs.display())?;
        Ok(move || rustix::io::write(&procs, b"0").map(drop).map_err(io::Error::from))
    }

    /// Has the command run in it.
    ///
    /// # Errors
    /// As [`Cgroup::entrance`].
    pub(crate) fn hold(&self, command: &mut Command) -> Outcome {
        let enter = self.entrance()?;
        // SAFETY: one system call, which allocates nothing and takes no lock.
        unsafe { command.pre_exec(enter) };
        Ok(())
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        for directory in self.made.iter().rev() {
            // What is still in it has its own end.
            let _ = fs::remove_dir(directory);
        }
    }
}
