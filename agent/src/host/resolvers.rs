//! DNS servers that the host is configured with, for each network.
//!
//! What counts is configuration that root of the host wrote, in a file that nobody else can change:
//! - `/etc/resolv.conf` of the host, and where that names the stub of systemd-resolved, its own servers too;
//! - for a process with mounts of its own, the file of the host that is mounted on its `/etc/resolv.conf`, as container
//!   engines and `ip netns exec` do; without one, where it has the host's root directory, the host's file.
//!
//! Mounts are read from `/proc/PID/mountinfo`, which takes no privilege, and the file below [`HostRoot`]: the way by
//! `/proc/PID/root` takes CAP_SYS_PTRACE, which a running agent has given up. A process in a user namespace of its own
//! can mount and address what it likes, so nothing that is configured there counts. In another network than the host's
//! the host's own loopback addresses are others, and do not count either.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{self, Read};
use std::net::IpAddr;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::fs::OFlags;

use procfs::FromRead;
use procfs::process::Stat;

use super::HostRoot;
use super::mountinfo;
use crate::model::act::Actor;
use crate::names::resolvers::{Resolvers, parse};
use crate::process::inventory::tick_ns;

/// The file, and where it may be by a link: what is mounted on it is mounted there.
const FILE: &str = "/etc/resolv.conf";
const PLACES: [&str; 5] = [
    FILE,
    "/run/systemd/resolve/stub-resolv.conf",
    "/run/systemd/resolve/resolv.conf",
    "/run/resolvconf/resolv.conf",
    "/run/NetworkManager/resolv.conf",
];
/// The stub of systemd-resolved, and where its own servers stand.
const STUB: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(127, 0, 0, 53));
const BEHIND_STUB: &str = "/run/systemd/resolve/resolv.conf";
/// Bytes of such a file that are read.
const FILE_BYTES: u64 = 64 << 10;
/// After how long a file is read again; after how long, where a server is not in it.
const FRESH: Duration = Duration::from_secs(10);
const FRESH_FOR_A_MISS: Duration = Duration::from_secs(1);
/// Mount and network namespaces whose servers are kept; when there are more, all are read again.
const NETWORKS: usize = 1_024;

/// Reads them as they are asked for.
#[derive(Debug)]
pub struct HostResolvers {
    host: Arc<HostRoot>,
    proc: PathBuf,
    /// Network namespace of the host.
    network: Option<u32>,
    known: HashMap<(u32, u64), (Instant, Vec<IpAddr>)>,
}

impl HostResolvers {
    /// Of this host. To be made while the agent may still look at process 1.
    pub fn new(host: Arc<HostRoot>) -> Self {
        let proc = PathBuf::from("/proc");
        let inode = |process: &str| fs::metadata(proc.join(process).join("ns/net")).map(|data| data.ino());
        let network = inode("1").or_else(|_| inode("self")).ok().and_then(|inode| u32::try_from(inode).ok());
        Self { host, proc, network, known: HashMap::new() }
    }

    /// The host's own servers.
    pub fn of_host(&self) -> Vec<IpAddr> {
        let mut servers = self.read(FILE.as_ref()).unwrap_or_else(|error| {
            tracing::debug!(%error, "the host's resolv.conf counts for nothing");
            Vec::new()
        });
        if servers.contains(&STUB)
            && let Ok(behind) = self.read(BEHIND_STUB.as_ref())
        {
            servers.extend(behind);
        }
        servers
    }

    fn read(&self, path: &Path) -> io::Result<Vec<IpAddr>> {
        let opened = self.host.open(path, OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY)?;
        let file = File::from(opened.file);
        let data = file.metadata()?;
        // systemd-resolved and its kin have users of their own: a file that is not root's counts where root's directory
        // holds its link, and that is for root to say. One that anybody may write says nothing.
        if !data.is_file() || data.mode() & 0o022 != 0 {
            return Err(io::Error::new(
                io::ErrorKind::PermissionDenied,
                "it is no file, or others may write it",
            ));
        }
        let mut text = Vec::new();
        file.take(FILE_BYTES).read_to_end(&mut text)?;
        Ok(parse(&text))
    }

    /// `None` where the process is gone: then nothing can be said of its mounts.
    fn of(&self, asker: &Actor) -> Option<Vec<IpAddr>> {
        let in_host = |servers: Vec<IpAddr>| {
            let own = self.network == Some(asker.namespaces.network);
            servers.into_iter().filter(|server| own || !server.is_loopback()).collect()
        };
        if asker.namespaces.mount == self.host.namespaces().mount {
            return Some(in_host(self.of_host()));
        }
        let found = self.mounted(asker)?.and_then(|found| match found {
            Mounted::At(path) => self.read(&path),
            Mounted::AsHost => Ok(in_host(self.of_host())),
        });
        Some(found.unwrap_or_else(|error| {
            tracing::debug!(%error, pid = asker.process.pid, "its resolv.conf counts for nothing");
            Vec::new()
        }))
    }

    /// Mounts of a process, as long as it is that process.
    fn mounts(&self, asker: &Actor) -> io::Result<Vec<u8>> {
        let process = self.proc.join(asker.process.pid.to_string());
        let mut mounts = Vec::new();
        File::open(process.join("mountinfo"))?.take(super::MOUNTINFO_BYTES).read_to_end(&mut mounts)?;
        // Its number may be another's by now.
        let stat = Stat::from_read(File::open(process.join("stat"))?).map_err(io::Error::other)?;
        if asker.process.start.ns / tick_ns() == stat.starttime {
            Ok(mounts)
        } else {
            Err(io::ErrorKind::NotFound.into())
        }
    }

    /// The file that is `/etc/resolv.conf` to a process with mounts of its own. `None` where the process is gone.
    fn mounted(&self, asker: &Actor) -> Option<io::Result<Mounted>> {
        let own = self.mounts(asker).ok()?;
        Some(self.host.mountinfo().and_then(|host| find(&own, &host)))
    }
}

enum Mounted {
    At(PathBuf),
    AsHost,
}

fn find(own: &[u8], host: &[u8]) -> io::Result<Mounted> {
    match mountinfo::mounted_at(own, &PLACES) {
        Some(file) => mountinfo::path_of(host, &file)
            .map(|path| Mounted::At(std::ffi::OsStr::from_bytes(&path).into()))
            .ok_or_else(|| io::Error::other("what is mounted there is no file of the host")),
        None if mountinfo::relation(own, host).is_one_root() => Ok(Mounted::AsHost),
        None => Err(io::Error::other("it has a root directory of its own")),
    }
}

impl Resolvers for HostResolvers {
    fn is_configured(&mut self, asker: &Actor, network: u64, server: IpAddr) -> bool {
        let host = self.host.namespaces();
        if asker.namespaces.user != host.user {
            return false;
        }
        let key = (asker.namespaces.mount, network);
        let now = Instant::now();
        if let Some((read_at, servers)) = self.known.get(&key) {
            let (age, has) = (now.duration_since(*read_at), servers.contains(&server));
            if age < if has { FRESH } else { FRESH_FOR_A_MISS } {
                return has;
            }
        }
        let Some(servers) = self.of(asker) else {
            // What others of its mounts were told stands.
            return self.known.get(&key).is_some_and(|(_, servers)| servers.contains(&server));
        };
        let has = servers.contains(&server);
        if self.known.len() >= NETWORKS {
            self.known.clear();
        }
        self.known.insert(key, (now, servers));
        has
    }
}
