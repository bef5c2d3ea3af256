//! File systems of the kernel, by `/proc/self/mountinfo`.

use std::ffi::OsString;
use std::io;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

use procfs::process::MountInfo;

use super::{Finding, Sources};

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
    kind: String,
    /// Directory of the file system that is mounted; `/..` where that is above our namespace's root.
    root: String,
    point: PathBuf,
}

/// The mounts that this process sees, or why they could not be read.
pub(super) struct Mounts(io::Result<Vec<Mount>>);

impl Mounts {
    pub(super) fn read(sources: &Sources) -> Self {
        // One line that does not parse costs that line: procfs's own reader would give up on the whole file.
        Self(sources.read(MOUNTINFO).map(|text| {
            text.lines()
                .filter_map(|line| MountInfo::from_line(line).ok())
                .map(|mount| Mount {
                    kind: mount.fs_type,
                    root: mount.root,
                    point: unescape(&mount.mount_point),
                })
                .collect()
        }))
    }

    /// Where the newest mount of this kind is.
    pub(super) fn point(&self, kind: &str) -> Option<&Path> {
        self.of(kind).last().map(|mount| mount.point.as_path())
    }

    fn of(&self, kind: &str) -> impl Iterator<Item = &Mount> {
        self.0.iter().flatten().filter(move |mount| mount.kind == kind)
    }

    pub(super) fn cgroup(&self, initial_namespace: Option<bool>) -> (Option<CgroupMount>, Finding) {
        const NAME: &str = "cgroup_v2";
        let hybrid = self.of("cgroup").next().is_some();
        // Seen from a cgroup namespace of its own, the host's root is above `/`.
        let is_whole = |mount: &Mount| match initial_namespace {
            Some(false) => mount.root.starts_with("/.."),
            _ => mount.root == "/",
        };
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
                let at = if hybrid { "/sys/fs/cgroup/unified" } else { "/sys/fs/cgroup" };
                Finding::no(
                    NAME,
                    "not mounted: connections and datagrams cannot be seen",
                    format!("mkdir -p {at} && mount -t cgroup2 cgroup2 {at}"),
                )
            }
        };
        (best, finding)
    }

    pub(super) fn bpffs(&self) -> Finding {
        let lost = "nothing can be pinned, so a restart leaves a gap";
        self.optional("bpffs", "bpf", lost, "mount -t bpf bpf /sys/fs/bpf")
    }

    pub(super) fn tracefs(&self) -> Finding {
        let lost = "classic tracepoints cannot be attached; the raw ones, which come first, can";
        self.optional("tracefs", "tracefs", lost, "mount -t tracefs tracefs /sys/kernel/tracing")
    }

    fn optional(&self, name: &'static str, kind: &str, lost: &str, remedy: &str) -> Finding {
        match (&self.0, self.point(kind)) {
            (Err(error), _) => unreadable_mounts(name, error),
            (_, Some(point)) => Finding::yes(name, format!("{}", point.display())),
            (_, None) => Finding::no(name, format!("not mounted: {lost}"), remedy),
        }
    }
}

fn unreadable_mounts(name: &'static str, error: &io::Error) -> Finding {
    Finding::could_not_tell(name, format!("{MOUNTINFO} cannot be read: {error}"), "mount -t proc proc /proc")
}

/// `mountinfo` writes space, tab, line feed and backslash as three octal digits; procfs leaves them so.
fn unescape(path: &Path) -> PathBuf {
    let mut rest = path.as_os_str().as_encoded_bytes();
    let mut out = Vec::with_capacity(rest.len());
    while let [first, tail @ ..] = rest {
        let digits = match rest {
            [b'\\', a @ b'0'..=b'3', b @ b'0'..=b'7', c @ b'0'..=b'7', ..] => Some((a, b, c)),
            _ => None,
        };
        match digits {
            Some((a, b, c)) => {
                out.push((a - b'0') << 6 | (b - b'0') << 3 | (c - b'0'));
                rest = tail.get(3..).unwrap_or_default();
            }
            None => {
                out.push(*first);
                rest = tail;
            }
        }
    }
    PathBuf::from(OsString::from_vec(out))
}
