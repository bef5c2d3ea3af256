//! What `/proc` says of a process: the ground truth of who acts.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use serde::{Deserialize, Serialize};

/// What the kernel gives as login uid and session where there is none.
const UNSET: u32 = u32::MAX;

/// A process.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Who {
    pub(crate) pid: u32,
    pub(crate) start_ticks: u64,
    pub(crate) ppid: u32,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    pub(crate) euid: u32,
    pub(crate) egid: u32,
    /// Effective, 16 hex digits.
    pub(crate) capabilities: String,
    pub(crate) login_uid: Option<u32>,
    pub(crate) session_id: Option<u32>,
    /// Path below the cgroup v2 mount.
    pub(crate) cgroup: String,
    /// The mapped executable.
    pub(crate) exe: String,
    pub(crate) argv: Vec<String>,
    pub(crate) cwd: String,
    /// Inode numbers: mnt, net, pid, user.
    pub(crate) namespaces: [u64; 4],
    /// Ancestors, parent first, up to where `/proc` ends.
    pub(crate) ancestors: Vec<Ancestor>,
}

/// A process of a lineage.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Ancestor {
    pub(crate) pid: u32,
    pub(crate) start_ticks: u64,
    /// Empty for a kernel thread.
    pub(crate) exe: String,
    pub(crate) argv: Vec<String>,
}

impl Who {
    /// The process of that number, now.
    pub(crate) fn of(pid: u32) -> io::Result<Self> {
        let dir = format!("/proc/{pid}");
        let file = |name: &str| fs::read_to_string(format!("{dir}/{name}"));
        let status = file("status")?;
        let line = |key: &str| status.lines().find_map(|line| line.strip_prefix(key)).unwrap_or_default();
        let ids = |key: &str| -> Vec<u32> { line(key).split_whitespace().flat_map(str::parse).collect() };
        let (users, groups) = (ids("Uid:"), ids("Gid:"));
        let id = |ids: &[u32], at: usize| ids.get(at).copied().unwrap_or(UNSET);
        let set = |name: &str| {
            let number = file(name).ok().and_then(|text| text.trim().parse().ok());
            number.filter(|number| *number != UNSET)
        };
        let namespace = |name: &str| fs::metadata(format!("{dir}/ns/{name}")).map_or(0, |data| data.ino());
        let Stat { ppid, start_ticks } = Stat::of(pid)?;
        Ok(Self {
            pid,
            start_ticks,
            ppid,
            uid: id(&users, 0),
            gid: id(&groups, 0),
            euid: id(&users, 1),
            egid: id(&groups, 1),
            capabilities: line("CapEff:").trim().to_owned(),
            login_uid: set("loginuid"),
            session_id: set("sessionid"),
            cgroup: cgroup(&file("cgroup")?),
            exe: link(&format!("{dir}/exe")),
            argv: argv(pid),
            cwd: link(&format!("{dir}/cwd")),
            namespaces: ["mnt", "net", "pid", "user"].map(namespace),
            ancestors: ancestors(ppid),
        })
    }

    /// This process.
    pub(crate) fn me() -> io::Result<Self> {
        Self::of(std::process::id())
    }

    /// As an ancestor of others.
    pub(crate) fn as_ancestor(&self) -> Ancestor {
        let Self { pid, start_ticks, exe, argv, .. } = self.clone();
        Ancestor { pid, start_ticks, exe, argv }
    }
}

/// Ancestors from a process on, itself first. One that ends meanwhile ends the list.
fn ancestors(mut pid: u32) -> Vec<Ancestor> {
    let mut found = Vec::new();
    while pid != 0 {
        let Ok(Stat { ppid, start_ticks }) = Stat::of(pid) else { break };
        found.push(Ancestor { pid, start_ticks, exe: link(&format!("/proc/{pid}/exe")), argv: argv(pid) });
        pid = ppid;
    }
    found
}

/// Start of a process since boot, in clock ticks. Works on a zombie.
pub(crate) fn start_ticks(pid: u32) -> io::Result<u64> {
    Stat::of(pid).map(|stat| stat.start_ticks)
}

/// Clock ticks of a time in nanoseconds since boot, as `/proc` rounds them.
pub(crate) fn ticks_of_ns(ns: u64) -> u64 {
    let ticks = u128::from(ns) * u128::from(rustix::param::clock_ticks_per_second()) / 1_000_000_000;
    u64::try_from(ticks).unwrap_or(u64::MAX)
}

struct Stat {
    ppid: u32,
    start_ticks: u64,
}

impl Stat {
    fn of(pid: u32) -> io::Result<Self> {
        let text = fs::read_to_string(format!("/proc/{pid}/stat"))?;
        // The name may hold anything, so what comes after its last bracket: state is the third field of proc(5).
        let mut fields = text.rsplit(')').next().unwrap_or_default().split_whitespace();
        let ppid = fields.nth(1).and_then(|field| field.parse().ok());
        let start_ticks = fields.nth(17).and_then(|field| field.parse().ok());
        match (ppid, start_ticks) {
            (Some(ppid), Some(start_ticks)) => Ok(Self { ppid, start_ticks }),
            _ => Err(io::Error::new(io::ErrorKind::InvalidData, format!("/proc/{pid}/stat: {text}"))),
        }
    }
}

/// Where a link of `/proc` leads; what it says of a file without a name is no part of the path.
fn link(path: &str) -> String {
    let target = fs::read_link(path).map(|target| target.to_string_lossy().into_owned()).unwrap_or_default();
    target.strip_suffix(" (deleted)").map(str::to_owned).unwrap_or(target)
}

fn argv(pid: u32) -> Vec<String> {
    let bytes = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    let text = String::from_utf8_lossy(&bytes);
    let Some(text) = text.strip_suffix('\0') else { return Vec::new() };
    text.split('\0').map(str::to_owned).collect()
}

fn cgroup(text: &str) -> String {
    text.lines().find_map(|line| line.strip_prefix("0::")).unwrap_or_default().to_owned()
}

/// Where cgroup v2 is mounted: by itself, or beside v1.
pub(crate) fn cgroup_root() -> Option<&'static Path> {
    let candidates = [Path::new("/sys/fs/cgroup"), Path::new("/sys/fs/cgroup/unified")];
    candidates
        .into_iter()
        .find(|path| path.join("cgroup.procs").exists() && path.join("cgroup.controllers").exists())
}
