//! What container engines that run as root keep of their containers, looked up beside the event path.
//!
//! Files alone are read: an engine's socket would make the agent root's equal, and its answer can be late. Each is read
//! below the host's root, and counts only where it and every directory on the way are root's, and nobody else may write
//! there: what a user keeps of a container of his own, and what an engine in a user namespace keeps, says nothing.

mod engines;

use std::io;
use std::sync::Arc;

use super::HostRoot;
use super::lookup::Lookup;
use super::trusted::{Silent, read};
use crate::model::container::{Answer, ContainerFound, EngineFacts};
use crate::model::image::is_id;

pub use engines::{cri, docker, podman};

/// Largest file that is read of one container. A container with all of Kubernetes' mounts has 100 KiB.
const CONTAINER_BYTES: u64 = 2 << 20;
/// Largest list of all of podman's containers: each takes about 600 bytes.
const LIST_BYTES: u64 = 8 << 20;
/// Largest configuration of an image.
const IMAGE_BYTES: u64 = 2 << 20;

/// Looks containers up, by their ids.
pub type ContainerLookup = Lookup<Arc<str>, ContainerFound>;

/// Starts to, with the privileges that the caller has now.
///
/// # Errors
/// Where no thread can be had.
pub fn start(host: Arc<HostRoot>) -> io::Result<ContainerLookup> {
    Lookup::start("containers", move |id: Arc<str>| {
        let answer = look(&host, &id);
        ContainerFound { id, answer }
    })
}

/// What one engine tells of a container.
type Look = fn(&HostRoot, &str) -> Result<EngineFacts, Silent>;

/// What is known of a container: what the first engine says that keeps a file of it. An id is 32 random bytes, so that two
/// engines have none in common but where one runs for the other, which comes first here.
pub fn look(host: &HostRoot, id: &str) -> Answer {
    if !is_id(id) {
        return Answer::NotFound;
    }
    let looks: [Look; 4] = [in_docker, in_podman, in_crio, in_containerd];
    let mut answer = Answer::NotFound;
    for look in looks {
        match look(host, id) {
            Ok(facts) => return Answer::Found(Arc::new(facts)),
            Err(Silent::Absent) => {}
            // Another engine may tell all the same; that this one has something is worth more than nothing.
            Err(Silent::TooLarge) => answer = Answer::TooLarge,
            Err(Silent::Refused) => answer = Answer::Refused,
            Err(Silent::Unreadable) => answer = Answer::Unreadable,
        }
    }
    answer
}

/// Where engines keep a file, or a directory, of each container.
const KEPT: [(&str, &str); 6] = [
    ("docker", "/var/lib/docker/containers"),
    ("podman", "/var/lib/containers/storage/overlay-containers/containers.json"),
    ("podman", "/var/lib/containers/storage/vfs-containers/containers.json"),
    // Both have it.
    ("podman or CRI-O", "/run/containers/storage/overlay-containers"),
    ("containerd", "/run/containerd/io.containerd.runtime.v2.task/k8s.io"),
    ("containerd", "/run/k3s/containerd/io.containerd.runtime.v2.task/k8s.io"),
];
/// Containers in one directory: of more, what each is can be read all the same.
const KEPT_IN_ONE: usize = 1 << 16;

/// What an engine keeps, as far as the host shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EngineFound {
    /// The engine.
    pub engine: &'static str,
    /// Where.
    pub path: &'static str,
    /// Why it says nothing, where it is there and cannot be used.
    pub problem: Option<&'static str>,
}

/// Engines of the host, by where they keep what they know of containers. Those that keep nothing there are not found.
pub fn engines(host: &HostRoot) -> Vec<EngineFound> {
    let found = |(engine, path): (&'static str, &'static str)| {
        let kept = if path.ends_with(".json") {
            super::trusted::open(host, std::path::Path::new(path)).map(drop)
        } else {
            super::trusted::list(host, path, KEPT_IN_ONE).map(drop)
        };
        let problem = match kept {
            Ok(()) | Err(Silent::TooLarge) => None,
            Err(Silent::Absent) => return None,
            Err(Silent::Refused) => Some("others than root can write there, so it is not believed"),
            Err(Silent::Unreadable) => Some("it cannot be read"),
        };
        Some(EngineFound { engine, path, problem })
    };
    KEPT.into_iter().filter_map(found).collect()
}

/// `toDisk` of `container/container.go`, <https://github.com/moby/moby>, writes it when the container is made.
fn in_docker(host: &HostRoot, id: &str) -> Result<EngineFacts, Silent> {
    let path = format!("/var/lib/docker/containers/{id}/config.v2.json");
    let kept = docker::read(&read(host, &path, CONTAINER_BYTES)?).ok_or(Silent::Unreadable)?;
    // `fsPathImageConfig` of `image/fs.go`; the driver's directory is `getGraphDriver`'s name.
    let of_image = kept.image_config().and_then(|path| read(host, &path, IMAGE_BYTES).ok());
    let labels = of_image.and_then(|bytes| docker::image_labels(&bytes));
    Ok(EngineFacts { source: path.into(), ..kept.facts(labels.as_ref()) })
}

/// `newContainerStore` of `containers.go`, <https://github.com/containers/storage>: one list for all containers, and one for
/// those that need not survive a crash, which is in the run directory where the configuration says `transient_store`; all by
/// the storage's driver. Podman writes a container there when it makes it.
fn in_podman(host: &HostRoot, id: &str) -> Result<EngineFacts, Silent> {
    const LISTS: [&str; 3] = [
        "/var/lib/containers/storage/DRIVER-containers/containers.json",
        "/var/lib/containers/storage/DRIVER-containers/volatile-containers.json",
        "/run/containers/storage/DRIVER-containers/volatile-containers.json",
    ];
    const DRIVERS: [&str; 4] = ["overlay", "vfs", "btrfs", "zfs"];
    let mut silent = Silent::Absent;
    for path in DRIVERS.iter().flat_map(|driver| LISTS.map(|list| list.replace("DRIVER", driver))) {
        match read(host, &path, LIST_BYTES).map(|bytes| podman::find(&bytes, id)) {
            Ok(Ok(Some(facts))) => return Ok(EngineFacts { source: path.into(), ..facts }),
            Ok(Ok(None)) | Err(Silent::Absent) => {}
            Ok(Err(_)) => silent = Silent::Unreadable,
            Err(other) => silent = other,
        }
    }
    Err(silent)
}

/// `createSandboxContainer` of `server/container_create.go`, <https://github.com/cri-o/cri-o>, saves the specification to
/// the container's directories before it starts it.
fn in_crio(host: &HostRoot, id: &str) -> Result<EngineFacts, Silent> {
    const ROOTS: [&str; 2] = ["/run/containers/storage", "/var/lib/containers/storage"];
    let paths = ROOTS.map(|root| format!("{root}/overlay-containers/{id}/userdata/config.json"));
    first(host, &paths, cri::crio)
}

/// `NewBundle` of `runtime/v2/bundle.go`, <https://github.com/containerd/containerd>, writes the specification before the
/// shim is started. The state directory is containerd's own, docker's, or that of k3s and RKE2.
fn in_containerd(host: &HostRoot, id: &str) -> Result<EngineFacts, Silent> {
    const STATES: [&str; 2] = ["/run/containerd", "/run/k3s/containerd"];
    let paths = STATES.map(|state| format!("{state}/io.containerd.runtime.v2.task/k8s.io/{id}/config.json"));
    first(host, &paths, cri::containerd)
}

fn first(
    host: &HostRoot,
    paths: &[String],
    understand: fn(&[u8]) -> Option<EngineFacts>,
) -> Result<EngineFacts, Silent> {
    for path in paths {
        match read(host, path, CONTAINER_BYTES) {
            Ok(bytes) => {
                let facts = understand(&bytes).ok_or(Silent::Absent)?;
                return Ok(EngineFacts { source: path.as_str().into(), ..facts });
            }
            Err(Silent::Absent) => {}
            Err(other) => return Err(other),
        }
    }
    Err(Silent::Absent)
}

#[cfg(test)]
mod tests;
