//! What runs already: one reading of /proc and of the cgroup tree, for a [`super::ProcessTable`] that starts late.
//!
//! Crate `procfs` parses `stat` and `status`. Its readers of `cmdline` and `environ` take UTF-8 only, and the latter
//! keeps every variable; both are read here, as bytes and with a limit.

mod cgroups;
mod markers;
mod one;
mod parse;

use std::path::Path;
use std::{fs, io};

pub(crate) use cgroups::find as find_cgroups;
pub use markers::Markers;
pub use parse::HostNamespaces;
pub(crate) use parse::cgroup_path;

use crate::model::bytes::RawBytes;
use crate::model::process::{Hierarchy, Process};
use crate::model::time::BootTime;

/// Processes read at most: as many as the table keeps running.
const PROCESSES: usize = 50_000;

/// A process that /proc showed.
#[derive(Clone, Debug)]
pub struct Found {
    /// What it showed, without its parent. The start in its key is that of its clock tick; its image is not redacted.
    pub process: Process,
    /// Its parent's pid; 0 where it has none.
    pub parent_pid: u32,
    /// When it was read.
    pub read_at: BootTime,
}

/// What runs already.
#[derive(Clone, Debug, Default)]
pub struct Inventory {
    /// Processes.
    pub processes: Vec<Found>,
    /// cgroups: id and path below the root of the hierarchy that names workloads.
    pub cgroups: Vec<(u64, RawBytes)>,
    /// Processes whose executable could not be looked at: without CAP_SYS_PTRACE all of other users.
    pub unreadable: u64,
    /// Processes and cgroups beyond what is read.
    pub skipped: u64,
}

/// Where to read, and what to keep.
pub struct Reader<'a> {
    /// `/proc`, of the initial pid namespace.
    pub proc: &'a Path,
    /// The hierarchy that names workloads.
    pub hierarchy: Option<&'a Hierarchy>,
    /// Environment markers to keep.
    pub markers: &'a Markers,
    /// The clock of records (`CLOCK_BOOTTIME`).
    pub now: &'a dyn Fn() -> BootTime,
}

impl Reader<'_> {
    /// Reads what runs now. Processes that come and go meanwhile may or may not be in it.
    ///
    /// # Errors
    /// If /proc itself cannot be listed.
    pub fn read(&self) -> io::Result<Inventory> {
        let mut inventory = Inventory::default();
        if let Some(Hierarchy { root, .. }) = self.hierarchy {
            inventory.skipped += cgroups::walk(root, &mut inventory.cgroups);
        }
        let number = self.hierarchy.map_or(0, |hierarchy| hierarchy.number);
        let cgroups = cgroups::Index::new(&inventory.cgroups, self.proc, number);
        let tick_ns = tick_ns();
        for entry in fs::read_dir(self.proc)? {
            let Ok(entry) = entry else { continue };
            let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
            if inventory.processes.len() >= PROCESSES {
                inventory.skipped += 1;
                continue;
            }
            let Some(found) = one::read(self, &entry.path(), pid, tick_ns, &cgroups) else { continue };
            inventory.unreadable += u64::from(found.unreadable);
            inventory.processes.push(found.found);
        }
        Ok(inventory)
    }
}

/// Length of a clock tick: the precision of starts in /proc.
pub fn tick_ns() -> u64 {
    1_000_000_000 / procfs::ticks_per_second().max(1)
}

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};
    use std::sync::Arc;

    use super::*;
    use crate::model::process::{Origin, StdioKind};

    #[test]
    fn a_running_child_is_read_as_it_is() {
        let mut child = Command::new("/bin/cat")
            .arg("-")
            .env_clear()
            .env("GITHUB_REPOSITORY", "acme/web")
            .env("GITHUB_TOKEN", "ghp_secret")
            .env("SECRET", "x")
            .current_dir("/usr")
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let pid = child.id();
        let markers = Markers::new([("GITHUB_", false), ("GITHUB_REPOSITORY", true)]);
        let now = || BootTime::from_ns(77);
        let reader = Reader { proc: Path::new("/proc"), hierarchy: None, markers: &markers, now: &now };
        let inventory = reader.read().unwrap();
        let found = inventory.processes.iter().find(|found| found.process.key.pid == pid).unwrap();
        drop(child.stdin.take());
        child.wait().unwrap();

        assert_eq!(found.parent_pid, std::process::id());
        assert_eq!(found.read_at, BootTime::from_ns(77));
        let process = &found.process;
        assert_eq!(process.origin, Origin::Inventoried);
        assert_eq!(process.namespaced_pid, pid);
        assert_eq!(process.image.argv, ["/bin/cat".into(), RawBytes::from("-")]);
        assert_eq!(process.image.argument_count, 2);
        assert_eq!(process.image.cwd, "/usr".into());
        assert!(process.image.exe.as_bytes().ends_with(b"/bin/cat"), "{:?}", process.image.exe);
        assert_ne!(process.image.exe_file.inode, 0);
        assert_eq!(
            process.image.stdio.map(|stdio| stdio.kind)[..2],
            [StdioKind::Pipe, StdioKind::CharacterDevice]
        );
        let markers: Vec<_> =
            process.image.markers.iter().map(|m| (m.name.clone(), m.value.clone())).collect();
        assert_eq!(
            markers,
            [("GITHUB_REPOSITORY".into(), Some("acme/web".into())), ("GITHUB_TOKEN".into(), None)]
        );
        let own =
            inventory.processes.iter().find(|found| found.process.key.pid == std::process::id()).unwrap();
        assert_eq!(own.process.namespaces, process.namespaces);
        assert_ne!(own.process.namespaces.mount, 0);
        assert_eq!(own.process.ids.uid, process.ids.uid);
        assert!(own.process.key.start <= process.key.start);
        assert!(!Arc::ptr_eq(&own.process.image, &process.image));
    }
}
