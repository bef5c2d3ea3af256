//! What container engines that run as root keep of their containers, looked up beside the event path.
//!
//! Files alone are read: an engine's socket would make the agent root's equal, and its answer can be late. Each is read
//! below the host's root, and counts only where it and every directory on the way are root's, and nobody else may write
//! there: what a user keeps of a container of his own, and what an engine in a user namespace keeps, says nothing.

mod engines;

use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use rustix::fs::{FileType, OFlags, Stat, fstat};

use super::HostRoot;
use super::lookup::Lookup;
use crate::model::container::{Answer, ContainerFound, EngineFacts};
use crate::model::image::is_id;

pub use engines::{cri, docker, podman};

/// Largest file that is read of one container. A container with all of Kubernetes' mounts has 100 KiB.
const CONTAINER_BYTES: u64 = 2 << 20;
/// Largest list of all of podman's containers: each takes about 600 bytes.
const LIST_BYTES: u64 = 8 << 20;
/// Largest configuration of an image.
const IMAGE_BYTES: u64 = 2 << 20;

/// Who may not write: the group and all others.
const OTHERS_WRITE: u32 = 0o022;

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

/// Why a file says nothing.
#[derive(Debug)]
pub(in crate::host) enum Silent {
    Absent,
    TooLarge,
    Refused,
    Unreadable,
}

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

/// The whole of a file that is root's alone.
pub(in crate::host) fn read(host: &HostRoot, path: &str, limit: u64) -> Result<Vec<u8>, Silent> {
    let (file, size) = open(host, Path::new(path))?;
    if size > limit {
        return Err(Silent::TooLarge);
    }
    let mut bytes = Vec::new();
    // It may grow meanwhile.
    match file.take(limit + 1).read_to_end(&mut bytes) {
        Ok(_) if bytes.len() as u64 <= limit => Ok(bytes),
        Ok(_) => Err(Silent::TooLarge),
        Err(_) => Err(Silent::Unreadable),
    }
}

/// Opens a file, if all that leads to it is root's, links included.
pub(in crate::host) fn open(host: &HostRoot, path: &Path) -> Result<(File, u64), Silent> {
    let parts: Vec<&OsStr> = path
        .components()
        .filter_map(|part| if let Component::Normal(name) = part { Some(name) } else { None })
        .collect();
    let Some((_, above)) = parts.split_last() else { return Err(Silent::Absent) };
    let mut at = PathBuf::from("/");
    for directory in std::iter::once(None).chain(above.iter().map(Some)) {
        at.extend(directory);
        let (_, status) = status(host, &at, OFlags::PATH | OFlags::DIRECTORY)?;
        if !is_roots(&status) {
            return Err(Silent::Refused);
        }
    }
    // What is no file at that path (a pipe) does not block.
    let (file, status) = status(host, path, OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY)?;
    if FileType::from_raw_mode(status.st_mode) != FileType::RegularFile || !is_roots(&status) {
        return Err(Silent::Refused);
    }
    Ok((file, u64::try_from(status.st_size).unwrap_or(u64::MAX)))
}

fn status(host: &HostRoot, path: &Path, flags: OFlags) -> Result<(File, Stat), Silent> {
    let opened = host.open(path, flags).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => Silent::Absent,
        _ => Silent::Unreadable,
    })?;
    if opened.link_owners.iter().any(|owner| *owner != 0) {
        return Err(Silent::Refused);
    }
    let status = fstat(&opened.file).map_err(|_| Silent::Unreadable)?;
    Ok((File::from(opened.file), status))
}

fn is_roots(status: &Stat) -> bool {
    status.st_uid == 0 && status.st_mode & OTHERS_WRITE == 0
}

#[cfg(test)]
mod tests;
