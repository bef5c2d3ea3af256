//! Whether an executable is one that root of the host installed.

use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use rustix::fs::{AtFlags, OFlags, Statx, StatxFlags, statx};

use super::HostRoot;
use crate::catalogue::mounts::{Mounts, device};
use crate::model::bytes::RawBytes;
use crate::model::process::FileRef;

/// Who may not write: the group and all others.
const OTHERS_WRITE: u32 = 0o022;
const STICKY: u32 = 0o1000;

/// What was found of an executable: kept by recordings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Judgement {
    /// Where it was at exec.
    pub path: RawBytes,
    /// The file that was mapped.
    pub file: FileRef,
    /// Whether the file at that path is this one, and root's alone.
    pub installed: bool,
}

/// Knows which executables are root's.
pub trait Installed {
    /// Whether the file at `path` of the host is still `file`, not written since, and belongs to root, who alone may write
    /// to it and exchange it.
    fn is_installed(&mut self, path: &RawBytes, file: &FileRef) -> bool;

    /// Takes what a recording says.
    fn learn(&mut self, judgement: Judgement);
}

/// As the host has it now.
#[derive(Debug)]
pub struct HostInstalled {
    host: Arc<HostRoot>,
    mounts: Mounts,
}

impl HostInstalled {
    /// Looks on this host.
    pub fn new(host: Arc<HostRoot>) -> Self {
        Self { host, mounts: Mounts::default() }
    }

    fn look(&mut self, path: &Path, file: &FileRef) -> io::Result<bool> {
        let parts: Option<Vec<&OsStr>> = path
            .components()
            .skip(1)
            .map(|part| if let Component::Normal(name) = part { Some(name) } else { None })
            .collect();
        let (true, Some(parts)) = (path.is_absolute(), parts) else { return Ok(false) };
        let Some((_, above)) = parts.split_last() else { return Ok(false) };
        let mut at = PathBuf::from("/");
        for directory in std::iter::once(None).chain(above.iter().map(Some)) {
            at.extend(directory);
            let is_last = at.components().count() == above.len() + 1;
            let Some(found) = self.status(&at, OFlags::PATH | OFlags::DIRECTORY)? else { return Ok(false) };
            let mode = u32::from(found.stx_mode);
            // In a sticky directory others may add, and exchange nothing of root's.
            let is_safe = mode & OTHERS_WRITE == 0 || (mode & STICKY != 0 && !is_last);
            if found.stx_uid != 0 || !is_safe {
                return Ok(false);
            }
        }
        let Some(found) = self.status(path, OFlags::PATH)? else { return Ok(false) };
        let mode = u32::from(found.stx_mode);
        if found.stx_uid != 0 || mode & OTHERS_WRITE != 0 || mode & libc::S_IFMT != libc::S_IFREG {
            return Ok(false);
        }
        let changed = (found.stx_ctime.tv_sec, found.stx_ctime.tv_nsec);
        Ok(found.stx_ino == file.inode && changed == file.changed && self.device(&found) == file.device)
    }

    /// Of what is at a path; none where a symbolic link is on the way: the kernel gave the path without any.
    fn status(&self, path: &Path, flags: OFlags) -> io::Result<Option<Statx>> {
        let opened = self.host.open(path, flags)?;
        if !opened.link_owners.is_empty() {
            return Ok(None);
        }
        let wanted = StatxFlags::BASIC_STATS | StatxFlags::MNT_ID;
        Ok(Some(statx(&opened.file, "", AtFlags::EMPTY_PATH, wanted)?))
    }

    /// As the kernel holds it. A mount that is not known may be younger than the list.
    fn device(&mut self, found: &Statx) -> u32 {
        if self.mounts.device(found.stx_mnt_id).is_none()
            && let Ok(mounts) = Mounts::of(&self.host)
        {
            self.mounts = mounts;
        }
        let known = self.mounts.device(found.stx_mnt_id);
        known.unwrap_or_else(|| device(found.stx_dev_major, found.stx_dev_minor))
    }
}

impl Installed for HostInstalled {
    fn is_installed(&mut self, path: &RawBytes, file: &FileRef) -> bool {
        self.look(Path::new(OsStr::from_bytes(path.as_bytes())), file).unwrap_or(false)
    }

    fn learn(&mut self, _: Judgement) {}
}

/// As a recording says; what it does not say is not installed.
#[derive(Clone, Debug, Default)]
pub struct Recorded(Vec<Judgement>);

/// Executables of a recording that are remembered.
const RECORDED: usize = 4_096;

impl Installed for Recorded {
    fn is_installed(&mut self, path: &RawBytes, file: &FileRef) -> bool {
        let same = |known: &&Judgement| known.path == *path && known.file == *file;
        self.0.iter().find(same).is_some_and(|known| known.installed)
    }

    fn learn(&mut self, judgement: Judgement) {
        self.0.retain(|known| known.path != judgement.path || known.file != judgement.file);
        if self.0.len() < RECORDED {
            self.0.push(judgement);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs::{self, Permissions};
    use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};

    use tempfile::TempDir;

    use super::*;

    /// A host of its own with one program, and the program as it was mapped.
    fn host() -> (TempDir, HostInstalled, FileRef) {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir_all(root.path().join("opt/bin")).unwrap();
        for directory in ["", "opt", "opt/bin"] {
            mode(&root, directory, 0o755);
        }
        fs::write(root.path().join("opt/bin/reader"), "program").unwrap();
        mode(&root, "opt/bin/reader", 0o755);
        let mut installed = HostInstalled::new(Arc::new(HostRoot::at(root.path()).unwrap()));
        let file = mapped(&root, &mut installed, "opt/bin/reader");
        (root, installed, file)
    }

    fn mode(root: &TempDir, path: &str, mode: u32) {
        fs::set_permissions(root.path().join(path), Permissions::from_mode(mode)).unwrap();
    }

    fn mapped(root: &TempDir, installed: &mut HostInstalled, path: &str) -> FileRef {
        let status = fs::metadata(root.path().join(path)).unwrap();
        let found = installed.status(&Path::new("/").join(path), OFlags::PATH).unwrap().unwrap();
        let changed = (status.ctime(), u32::try_from(status.ctime_nsec()).unwrap());
        let device = installed.device(&found);
        FileRef { device, inode: status.ino(), changed, links: 1, mode: status.mode() }
    }

    fn is(installed: &mut HostInstalled, path: &str, file: &FileRef) -> bool {
        installed.is_installed(&RawBytes::from(path), file)
    }

    /// Tests of others than root cannot have files of root's.
    fn is_root() -> bool {
        rustix::process::geteuid().is_root()
    }

    #[test]
    fn what_root_alone_may_change_is_installed() {
        let (_root, mut installed, file) = host();
        assert_eq!(is(&mut installed, "/opt/bin/reader", &file), is_root());
        for path in ["opt/bin/reader", "/opt/bin/../bin/reader", "/opt/bin/none", "/opt/bin", "/", ""] {
            assert!(!is(&mut installed, path, &file), "{path}");
        }
    }

    #[test]
    fn what_others_may_change_is_not() {
        let (root, mut installed, _) = host();
        for (path, bits, is_safe) in [
            ("opt/bin/reader", 0o775, false),
            ("opt/bin/reader", 0o757, false),
            ("opt/bin", 0o775, false),
            ("opt/bin", 0o1777, false),
            ("opt", 0o777, false),
            ("opt", 0o1777, true),
        ] {
            mode(&root, path, bits);
            let file = mapped(&root, &mut installed, "opt/bin/reader");
            assert_eq!(is(&mut installed, "/opt/bin/reader", &file), is_safe && is_root(), "{path} {bits:o}");
            mode(&root, path, 0o755);
        }
        if is_root() {
            for path in ["opt/bin/reader", "opt/bin", "opt"] {
                let whole = root.path().join(path);
                std::os::unix::fs::chown(&whole, Some(1000), None).unwrap();
                let file = mapped(&root, &mut installed, "opt/bin/reader");
                assert!(!is(&mut installed, "/opt/bin/reader", &file), "{path}");
                std::os::unix::fs::chown(&whole, Some(0), None).unwrap();
            }
            let file = mapped(&root, &mut installed, "opt/bin/reader");
            assert!(is(&mut installed, "/opt/bin/reader", &file));
        }
    }

    #[test]
    fn another_file_at_the_path_is_not_what_runs() {
        let (root, mut installed, file) = host();
        let path = root.path().join("opt/bin/reader");
        fs::copy(&path, root.path().join("opt/bin/copy")).unwrap();
        assert!(!is(&mut installed, "/opt/bin/copy", &file));
        for other in [
            FileRef { inode: file.inode + 1, ..file },
            FileRef { device: file.device + 1, ..file },
            FileRef { changed: (file.changed.0 - 1, file.changed.1), ..file },
            FileRef { changed: (file.changed.0, file.changed.1 ^ 1), ..file },
        ] {
            assert!(!is(&mut installed, "/opt/bin/reader", &other), "{other:?}");
        }
        // Replaced while it runs, as by an upgrade.
        fs::rename(root.path().join("opt/bin/copy"), &path).unwrap();
        assert!(!is(&mut installed, "/opt/bin/reader", &file));
    }

    #[test]
    fn a_link_is_no_place_of_a_program() {
        let (root, mut installed, file) = host();
        symlink("bin", root.path().join("opt/other")).unwrap();
        symlink("reader", root.path().join("opt/bin/link")).unwrap();
        for path in ["/opt/other/reader", "/opt/bin/link"] {
            assert!(!is(&mut installed, path, &file), "{path}");
        }
    }

    #[test]
    fn a_recording_is_believed_in_what_it_says_last() {
        let mut recorded = Recorded::default();
        let (path, file) = (RawBytes::from("/opt/bin/reader"), FileRef { inode: 1, ..FileRef::default() });
        assert!(!recorded.is_installed(&path, &file));
        for installed in [true, false, true] {
            recorded.learn(Judgement { path: path.clone(), file, installed });
            assert_eq!(recorded.is_installed(&path, &file), installed);
        }
        assert!(!recorded.is_installed(&path, &FileRef { inode: 2, ..file }));
    }
}
