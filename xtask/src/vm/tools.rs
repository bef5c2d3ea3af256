//! Host programs: found, run, and named with their package when missing.

use std::{
    env,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use super::VmError;
use crate::{setup::qemu, workspace::Workspace};

/// How much of a failed program's words an error carries.
const STDERR_MAX_BYTES: usize = 4096;

/// A program of the host and the Debian package that brings it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Tool {
    /// Name looked up in `PATH` and the system's own directories.
    pub(super) name: &'static str,
    /// Debian package.
    pub(super) package: &'static str,
}

pub(super) const SETPRIV: Tool = Tool { name: "setpriv", package: "util-linux" };
pub(super) const APT_GET: Tool = Tool { name: "apt-get", package: "apt" };
pub(super) const APT_CACHE: Tool = Tool { name: "apt-cache", package: "apt" };
pub(super) const DPKG: Tool = Tool { name: "dpkg", package: "dpkg" };
pub(super) const DPKG_DEB: Tool = Tool { name: "dpkg-deb", package: "dpkg" };
pub(super) const XZ: Tool = Tool { name: "xz", package: "xz-utils" };
pub(super) const MKE2FS: Tool = Tool { name: "mke2fs", package: "e2fsprogs" };
pub(super) const DEBOOTSTRAP: Tool = Tool { name: "debootstrap", package: "debootstrap" };
pub(super) const CHROOT: Tool = Tool { name: "chroot", package: "coreutils" };
pub(super) const BASH: Tool = Tool { name: "bash", package: "bash" };
pub(super) const LDD: Tool = Tool { name: "ldd", package: "libc-bin" };

/// Where programs are, whatever the caller's `PATH`: an ordinary user's lacks the `sbin` ones.
const SYSTEM_DIRS: [&str; 4] = ["/usr/bin", "/usr/sbin", "/bin", "/sbin"];

/// QEMU's path: the system's, or the one that `cargo xtask setup` unpacked.
pub(super) fn qemu() -> Result<PathBuf, VmError> {
    let missing = VmError::MissingTool { tool: qemu::PROGRAM, package: qemu::PACKAGE };
    qemu::find(&Workspace::find()).ok_or(missing)
}

impl Tool {
    /// The program's path.
    pub(super) fn find(self) -> Result<PathBuf, VmError> {
        let path = env::var_os("PATH").unwrap_or_default();
        SYSTEM_DIRS
            .iter()
            .map(PathBuf::from)
            .chain(env::split_paths(&path))
            .map(|dir| dir.join(self.name))
            .find(|candidate| candidate.is_file())
            .ok_or(VmError::MissingTool { tool: self.name, package: self.package })
    }

    /// A command for it.
    pub(super) fn command(self) -> Result<Command, VmError> {
        let mut command = Command::new(self.find()?);
        command.stdin(Stdio::null());
        Ok(command)
    }
}

/// Runs `command` to its end and returns its standard output; `doing` names the purpose in an error.
pub(super) fn output(command: &mut Command, doing: &'static str) -> Result<Vec<u8>, VmError> {
    let done = command.output().map_err(VmError::io(doing, Path::new(command.get_program())))?;
    if done.status.success() {
        return Ok(done.stdout);
    }
    let from = done.stderr.len().saturating_sub(STDERR_MAX_BYTES);
    let stderr = String::from_utf8_lossy(done.stderr.get(from..).unwrap_or_default()).trim().to_owned();
    Err(VmError::Command { doing, command: format!("{command:?}"), status: done.status, stderr })
}

/// As [`output`], with the program's words going to the terminal as they come.
pub(super) fn watched(command: &mut Command, doing: &'static str) -> Result<(), VmError> {
    let status = command.status().map_err(VmError::io(doing, Path::new(command.get_program())))?;
    if status.success() {
        return Ok(());
    }
    Err(VmError::Command { doing, command: format!("{command:?}"), status, stderr: String::new() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_program_is_named_with_its_package_and_the_remedy() {
        let missing =
            Tool { name: "no-such-program", package: "some-package" }.find().unwrap_err().to_string();
        assert_eq!(
            missing,
            "`no-such-program` is missing (Debian package `some-package`): run `cargo xtask setup`"
        );
        assert!(Tool { name: "sh", package: "dash" }.find().is_ok());
    }

    #[test]
    fn a_failed_program_leaves_its_last_words() {
        let failed = output(Command::new("sh").args(["-c", "echo why >&2; exit 3"]), "try").unwrap_err();
        let VmError::Command { doing: "try", stderr, status, .. } = failed else { panic!("{failed}") };
        assert_eq!((stderr.as_str(), status.code()), ("why", Some(3)));
    }
}
