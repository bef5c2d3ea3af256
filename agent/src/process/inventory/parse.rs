//! Formats of /proc that are lines of bytes.

use std::path::Path;
use std::{fs, io};

use crate::model::act::Namespaces;
use crate::model::bytes::RawBytes;

/// Bytes read of files that hold a few lines.
pub(super) const LINES_BYTES: u64 = 64 << 10;

/// The path in `/proc/PID/cgroup` in the hierarchy of that number (`0::/a`, `1:name=systemd:/a`). Without the mark of a
/// removed cgroup.
pub(crate) fn cgroup_path(lines: &[u8], hierarchy: u32) -> Option<RawBytes> {
    let prefix = format!("{hierarchy}:");
    let path = lines.split(|&byte| byte == b'\n').find_map(|line| {
        let rest = line.strip_prefix(prefix.as_bytes())?;
        let end = rest.iter().position(|&byte| byte == b':')?;
        rest.get(end + 1..)
    })?;
    Some(path.strip_suffix(b" (deleted)").unwrap_or(path).into())
}

/// A number in a file of its own; `u32::MAX` stands for none (`loginuid`, `sessionid`).
pub(super) fn number_or_none(text: &[u8]) -> Option<u32> {
    std::str::from_utf8(text).ok()?.trim().parse().ok().filter(|&number| number != u32::MAX)
}

/// The arguments in `/proc/PID/cmdline`.
pub(super) fn arguments(cmdline: &[u8]) -> Vec<RawBytes> {
    if cmdline.is_empty() {
        return Vec::new();
    }
    let cmdline = cmdline.strip_suffix(b"\0").unwrap_or(cmdline);
    cmdline.split(|&byte| byte == 0).map(RawBytes::from).collect()
}

/// The inode number in a link of `/proc/PID/ns` (`mnt:[4026531841]`).
pub(super) fn namespace(link: &[u8]) -> Option<u32> {
    let number = link.split(|&byte| byte == b'[').nth(1)?.strip_suffix(b"]")?;
    std::str::from_utf8(number).ok()?.parse().ok()
}

/// Namespaces of a process directory of /proc; 0 for those that cannot be read.
pub(super) fn namespaces(process: &Path) -> Namespaces {
    use std::os::unix::ffi::OsStrExt;
    let read = |name: &str| {
        let link = fs::read_link(process.join("ns").join(name)).ok()?;
        namespace(link.as_os_str().as_bytes())
    };
    Namespaces {
        mount: read("mnt").unwrap_or_default(),
        network: read("net").unwrap_or_default(),
        pid: read("pid_for_children").or_else(|| read("pid")).unwrap_or_default(),
        user: read("user").unwrap_or_default(),
    }
}

/// The host's own mount and user namespace: paths of executables are the host's only there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HostNamespaces {
    /// Mount namespace of pid 1.
    pub mount: u32,
    /// User namespace of pid 1.
    pub user: u32,
}

impl HostNamespaces {
    /// Of pid 1 in `proc`.
    ///
    /// # Errors
    /// If they cannot be read: this needs CAP_SYS_PTRACE.
    pub fn of_init(proc: &Path) -> io::Result<Self> {
        Self::of(&proc.join("1"))
    }

    /// Of the agent itself: the host's where it does not run in a container.
    ///
    /// # Errors
    /// If /proc is not mounted.
    pub fn of_agent(proc: &Path) -> io::Result<Self> {
        Self::of(&proc.join("self"))
    }

    fn of(process: &Path) -> io::Result<Self> {
        fs::read_link(process.join("ns/mnt"))?;
        let Namespaces { mount, user, .. } = namespaces(process);
        Ok(Self { mount, user })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn lines_of_proc() {
        let two = b"11:cpu,cpuacct:/c\n1:name=systemd:/x:y\n0::/a/b\n";
        assert_eq!(cgroup_path(two, 0), Some("/a/b".into()));
        assert_eq!(cgroup_path(two, 1), Some("/x:y".into()));
        assert_eq!(cgroup_path(two, 11), Some("/c".into()));
        assert_eq!(cgroup_path(two, 2), None);
        assert_eq!(cgroup_path(b"0::/a (deleted)\n", 0), Some("/a".into()));
        assert_eq!(cgroup_path(b"1:cpu:/0::/x\n", 0), None);
        assert_eq!(cgroup_path(b"1:/x\n1\n:\n", 1), None);
        assert_eq!(number_or_none(b"1000\n"), Some(1000));
        assert_eq!(number_or_none(b"4294967295"), None);
        assert_eq!(number_or_none(b"x"), None);
        assert_eq!(arguments(b"a\0\0b\0"), ["a".into(), RawBytes::default(), "b".into()]);
        assert_eq!(arguments(b"title without end"), [RawBytes::from("title without end")]);
        assert_eq!(arguments(b"\0"), [RawBytes::default()]);
        assert!(arguments(b"").is_empty());
        assert_eq!(namespace(b"mnt:[4026531841]"), Some(4_026_531_841));
        assert_eq!(namespace(b"mnt:[]"), None);
        assert_eq!(namespace(b"/mnt"), None);
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_panic(bytes in proptest::collection::vec(any::<u8>(), 0..128)) {
            cgroup_path(&bytes, 0);
            cgroup_path(&bytes, 1);
            number_or_none(&bytes);
            namespace(&bytes);
            let arguments = arguments(&bytes);
            prop_assert_eq!(arguments.is_empty(), bytes.is_empty());
        }
    }
}
