//! File systems of the kernel, by `/proc/self/mountinfo`.

use std::ffi::OsString;
use std::io;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

use super::{Finding, Sources};
use crate::host::mountinfo::{self, Line};

const MOUNTINFO: &str = "/proc/self/mountinfo";

/// A mount of cgroup v2.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CgroupMount {
    /// Its mount point.
    pub path: PathBuf,
    /// Version 1 controllers are mounted beside it.
    pub hybrid: bool,
    /// It shows the whole host, not the part of one container.
    pub whole: bool,
}

struct Mount {
    id: u64,
    /// The mount it stands on.
    parent: u64,
    kind: Vec<u8>,
    /// Directory of the file system that is mounted; `/..` where that is above our namespace's root.
    root: Vec<u8>,
    point: PathBuf,
    /// Options of the file system.
    options: Vec<u8>,
}

impl Mount {
    /// Whether it shows the whole file system. Seen from a cgroup namespace of its own, the host's root is above `/`.
    fn is_whole(&self, initial_namespace: Option<bool>) -> bool {
        match initial_namespace {
            Some(false) => self.root.starts_with(b"/.."),
            _ => self.root == b"/",
        }
    }
}

/// The mounts that this process sees, or why they could not be read.
pub(super) struct Mounts(io::Result<Vec<Mount>>);

impl Mounts {
    pub(super) fn read(sources: &Sources) -> Self {
        Self(sources.read(MOUNTINFO).map(|text| {
            let mount = |line: Line<'_>| Mount {
                id: line.id,
                parent: line.parent,
                kind: line.kind.to_vec(),
                root: line.directory.to_vec(),
                point: PathBuf::from(OsString::from_vec(mountinfo::unescape(line.point))),
                options: line.options.to_vec(),
            };
            mountinfo::lines(text.as_bytes()).map(mount).collect()
        }))
    }

    /// Where the newest mount of this kind is.
    pub(super) fn point(&self, kind: &str) -> Option<&Path> {
        self.of(kind).last().map(|mount| mount.point.as_path())
    }

    /// Mounts of a kind that can be reached: `mountinfo` lists those under another mount too.
    fn of(&self, kind: &str) -> impl Iterator<Item = &Mount> {
        self.0.iter().flatten().filter(move |mount| mount.kind == kind.as_bytes() && !self.is_covered(mount))
    }

    /// Whether something is mounted over a mount, or over a directory between it and one that it stands on.
    fn is_covered(&self, mount: &Mount) -> bool {
        let mounts = || self.0.iter().flatten();
        if mounts().any(|other| other.parent == mount.id && other.point == mount.point) {
            return true;
        }
        let mut at = mount;
        // No chain of parents is longer than there are mounts.
        for _ in mounts() {
            let between = |other: &Mount| {
                // The first mount of all is its own parent.
                let siblings = other.parent == at.parent && other.id != at.parent;
                siblings && other.point != at.point && at.point.starts_with(&other.point)
            };
            if mounts().any(between) {
                return true;
            }
            match mounts().find(|other| other.id == at.parent) {
                Some(parent) if parent.id != at.id => at = parent,
                _ => return false,
            }
        }
        false
    }

    pub(super) fn cgroup(&self, initial_namespace: Option<bool>) -> (Option<CgroupMount>, Finding) {
        const NAME: &str = "cgroup_v2";
        let hybrid = self.of("cgroup").next().is_some();
        let is_whole = |mount: &Mount| mount.is_whole(initial_namespace);
        let best = self
            .of("cgroup2")
            .min_by_key(|mount| (!is_whole(mount), !mount.point.starts_with("/sys/fs/cgroup")))
            .map(|mount| CgroupMount { path: mount.point.clone(), hybrid, whole: is_whole(mount) });
        let finding = match (&self.0, &best) {
            (Err(error), _) => unreadable_mounts(NAME, error),
            (_, Some(CgroupMount { path, whole: false, .. })) => Finding::no(
                NAME,
                format!(
                    "{} shows only this container's part: no connection of others is seen",
                    path.display()
                ),
                "run in the host's cgroup namespace (docker, podman: --cgroupns=host), or mount the host's \
                 /sys/fs/cgroup (Kubernetes: hostPath)",
            ),
            (_, Some(CgroupMount { path, hybrid: true, .. })) => {
                Finding::yes(NAME, format!("{}, beside version 1 controllers (hybrid)", path.display()))
            }
            (_, Some(CgroupMount { path, .. })) => Finding::yes(NAME, format!("{}", path.display())),
            (_, None) => {
                // systemd leaves the directory of the hierarchies of version 1 read-only.
                let at = if hybrid { "/run/cgroup2" } else { "/sys/fs/cgroup" };
                Finding::no(
                    NAME,
                    "not mounted: connections and datagrams cannot be seen",
                    format!("mkdir -p {at} && mount -t cgroup2 cgroup2 {at}"),
                )
                .required()
            }
        };
        (best, finding)
    }

    /// Where a hierarchy of version 1 is mounted whole, by a controller's name or its own (`name=systemd`).
    pub(super) fn version_1(&self, controller: &str, initial_namespace: Option<bool>) -> Option<&Path> {
        let has = |mount: &Mount| {
            mount.options.split(|&byte| byte == b',').any(|option| option == controller.as_bytes())
        };
        let of_controller = self.of("cgroup").filter(|mount| has(mount) && mount.is_whole(initial_namespace));
        of_controller.last().map(|mount| mount.point.as_path())
    }

    pub(super) fn bpffs(&self) -> Finding {
        self.unneeded("bpffs", "bpf", "nothing is pinned", "mount -t bpf bpf /sys/fs/bpf")
    }

    pub(super) fn tracefs(&self) -> Finding {
        let why = "tracepoints are attached by their types, not by their files";
        self.unneeded("tracefs", "tracefs", why, "mount -t tracefs tracefs /sys/kernel/tracing")
    }

    /// A file system that other tools want, and this one does not.
    fn unneeded(&self, name: &'static str, kind: &str, why: &str, mount: &str) -> Finding {
        match (&self.0, self.point(kind)) {
            (Err(error), _) => unreadable_mounts(name, error),
            (_, Some(point)) => Finding::yes(name, format!("{}", point.display())),
            (_, None) => Finding::no(
                name,
                format!("not mounted, and not needed: {why}"),
                format!("none needed; for other tools: {mount}"),
            ),
        }
    }
}

fn unreadable_mounts(name: &'static str, error: &io::Error) -> Finding {
    Finding::could_not_tell(name, format!("{MOUNTINFO} cannot be read: {error}"), "mount -t proc proc /proc")
}
