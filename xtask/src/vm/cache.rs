//! Everything a boot leaves on disk: `target/vm/`.
//!
//! ```text
//! target/vm/lock                       held while anything below is made
//! target/vm/apt/SERIES/                package lists of a kernel series, apart from the host's own
//! target/vm/kernels/SERIES/VERSION-HASH/   an unpacked kernel package, and the layer of its modules
//! target/vm/kernels/SERIES/current     the name of the one in use
//! target/vm/layers/                    the layer of the guest's programs
//! target/vm/systems/                   the disk of a guest that has a system of its own
//! target/vm/logs/                      consoles and output of the latest runs
//! ```

use std::{
    fs::{self, File, OpenOptions},
    path::{Path, PathBuf},
};

use rustix::fs::{FlockOperation, flock};
use tempfile::TempDir;

use super::VmError;
use crate::workspace::Workspace;

/// Log files kept; older ones go. A run writes four.
const LOGS_KEPT: usize = 100;

const SCRATCH_PREFIX: &str = "half-made-";

/// The cache directory.
#[derive(Clone, Debug)]
pub(super) struct Cache {
    root: PathBuf,
}

/// Held while the cache is written; let go when dropped.
#[derive(Debug)]
pub(super) struct CacheLock(#[expect(dead_code, reason = "the lock lives as long as the open file")] File);

impl Cache {
    /// Opens, and makes if needed, the cache under cargo's target directory.
    pub(super) fn open() -> Result<Self, VmError> {
        let root = Workspace::find().target.join("vm");
        for dir in ["apt", "kernels", "layers", "logs", "systems"] {
            let dir = root.join(dir);
            fs::create_dir_all(&dir).map_err(VmError::io("create", &dir))?;
        }
        Ok(Self { root })
    }

    /// A path below the cache's root.
    pub(super) fn path(&self, below: impl AsRef<Path>) -> PathBuf {
        self.root.join(below)
    }

    /// Waits until no other run writes here: two boots may start at once.
    pub(super) fn lock(&self) -> Result<CacheLock, VmError> {
        let path = self.path("lock");
        let file = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .open(&path)
            .map_err(VmError::io("open", &path))?;
        flock(&file, FlockOperation::LockExclusive).map_err(|e| VmError::io("lock", &path)(e.into()))?;
        Ok(CacheLock(file))
    }

    /// Deletes what a run that was killed left half made in `dir`: under the lock nobody is at it.
    fn sweep(dir: &Path) -> Result<(), VmError> {
        let entries = fs::read_dir(dir).map_err(VmError::io("list", dir))?;
        for path in entries.flatten().map(|entry| entry.path()) {
            let name = path.file_name().unwrap_or_default();
            if name.to_string_lossy().starts_with(SCRATCH_PREFIX) && path.is_dir() {
                fs::remove_dir_all(&path).map_err(VmError::io("delete", &path))?;
            }
        }
        Ok(())
    }

    /// A directory for half-made things, deleted when dropped. The caller holds the lock.
    pub(super) fn scratch(&self, dir: &Path) -> Result<TempDir, VmError> {
        Self::sweep(dir)?;
        tempfile::Builder::new()
            .prefix(SCRATCH_PREFIX)
            .tempdir_in(dir)
            .map_err(VmError::io("create a directory in", dir))
    }

    /// Deletes all but the newest logs.
    pub(super) fn prune_logs(&self) -> Result<(), VmError> {
        let dir = self.path("logs");
        let mut logs: Vec<_> = fs::read_dir(&dir)
            .map_err(VmError::io("list", &dir))?
            .flatten()
            .filter_map(|entry| Some((entry.metadata().ok()?.modified().ok()?, entry.path())))
            .collect();
        logs.sort();
        let surplus = logs.len().saturating_sub(LOGS_KEPT);
        for (_, path) in logs.into_iter().take(surplus) {
            match fs::remove_file(&path) {
                Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
                    return Err(VmError::io("delete", path)(e));
                }
                _ => {}
            }
        }
        Ok(())
    }
}
