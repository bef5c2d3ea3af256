//! Which events of the stream are a test's own.

use std::collections::{HashMap, HashSet};
use std::net::{IpAddr, SocketAddr};
use std::os::unix::fs::MetadataExt;
use std::sync::OnceLock;

use serde_json::Value;

use super::event::Event;
use crate::acts::load::boot_ns;

/// What belongs to a test: processes with all their descendants, and targets that nobody else has. So an event that
/// names the wrong process is found by its target, and one that names the wrong target by its process.
#[derive(Clone, Debug, Default)]
pub(crate) struct Claim {
    pids: HashSet<u32>,
    /// With the time since boot at which each was taken: the kernel gives a port again that some act's own server had.
    ends: HashMap<(IpAddr, u16), u64>,
    directories: Vec<String>,
}

impl Claim {
    /// A process, and what descends of it.
    pub(crate) fn process(&mut self, pid: u32) {
        self.pids.insert(pid);
    }

    /// An address and port that are the test's alone: of the other IP version, the port may be another's.
    pub(crate) fn end(&mut self, address: SocketAddr) {
        self.ends.insert((address.ip(), address.port()), boot_ns());
    }

    /// A directory that is the test's alone.
    pub(crate) fn directory(&mut self, path: &str) {
        self.directories.push(format!("{}/", path.trim_end_matches('/')));
    }

    /// Whether an event that a process caused is the test's.
    pub(crate) fn holds(&self, event: &Event) -> bool {
        event.is_activity() && (self.by_process(event) || self.by_target(event))
    }

    fn by_process(&self, event: &Event) -> bool {
        let own = event.pid().is_some_and(|pid| self.pids.contains(&pid));
        own || event.lineage().iter().filter_map(pid).any(|pid| self.pids.contains(&pid))
    }

    fn by_target(&self, event: &Event) -> bool {
        let port = event.number("remote_port").and_then(|port| u16::try_from(port).ok());
        let address = event.text("remote_address").parse::<IpAddr>().ok();
        let taken = address.zip(port).and_then(|end| self.ends.get(&end));
        let began =
            event.number("boot_ns").map(|at| at.saturating_sub(event.number("duration_ns").unwrap_or(0)));
        let is_end = taken.is_some_and(|taken| began.is_none_or(|began| began >= *taken));
        // In a network of its own another process may have been given the same port.
        let network = event.number("network_namespace");
        is_end && network.is_none_or(|network| own_network().is_none_or(|own| network == own))
            || self.directories.iter().any(|directory| {
                event.text("path").starts_with(directory) || event.text("other_path").starts_with(directory)
            })
    }
}

/// The network namespace in which servers of tests listen, by its inode.
fn own_network() -> Option<u64> {
    static OWN: OnceLock<Option<u64>> = OnceLock::new();
    *OWN.get_or_init(|| std::fs::metadata("/proc/self/ns/net").ok().map(|metadata| metadata.ino()))
}

/// The process of a lineage's entry.
pub(crate) fn pid(ancestor: &Value) -> Option<u32> {
    ancestor.get("pid")?.as_u64()?.try_into().ok()
}
