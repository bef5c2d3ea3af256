//! One agent a host: a second one would tell every act twice.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};

use crate::control::runtime_directory;

/// Held while the agent runs; the kernel lets go of it however the process ends.
pub(super) struct InstanceLock {
    _file: File,
}

/// The lock cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// Another agent runs.
    #[error(
        "another telltale runs on this host (it holds {0}): stop it first, with `systemctl stop telltale` or by its pid"
    )]
    Held(PathBuf),
    /// The file cannot be made or locked.
    #[error("cannot lock {path}: {source}; make its directory writable for the agent")]
    Failed {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

impl InstanceLock {
    /// Takes the lock, or fails at once.
    pub(super) fn take() -> Result<Self, LockError> {
        Self::take_in(&runtime_directory())
    }

    fn take_in(directory: &Path) -> Result<Self, LockError> {
        let path = directory.join("agent.lock");
        let fail = |source| LockError::Failed { path: path.clone(), source };
        fs::DirBuilder::new().recursive(true).mode(0o755).create(directory).map_err(fail)?;
        let file = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .mode(0o600)
            .custom_flags(libc::O_NOFOLLOW | libc::O_CLOEXEC)
            .open(&path)
            .map_err(fail)?;
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(Self { _file: file }),
            Err(rustix::io::Errno::WOULDBLOCK) => Err(LockError::Held(path)),
            Err(errno) => Err(fail(errno.into())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_one_is_refused_until_the_first_lets_go() {
        let directory = tempfile::tempdir().unwrap();
        let first = InstanceLock::take_in(directory.path()).unwrap();
        assert!(matches!(InstanceLock::take_in(directory.path()), Err(LockError::Held(_))));
        drop(first);
        InstanceLock::take_in(directory.path()).unwrap();
    }
}
