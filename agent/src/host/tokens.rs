//! Which pod each mounted volume of tokens is for.
//!
//! The kubelet mounts a file system of its own for each (`volumes/kubernetes.io~projected` of `pkg/volume/projected` and
//! `pkg/volume/emptydir`, <https://github.com/kubernetes/kubernetes>: a tmpfs), and a runtime binds that into the pod. So a
//! token's device number says whose it is, wherever and by whatever path it is opened. Who mounts a tmpfs in the host's mount
//! namespace is root; and paths that only a process sees say nothing.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use tokio::sync::mpsc;

use super::HostRoot;
use super::mountinfo::{lines, unescape};
use crate::catalogue::mounts::device;
use crate::model::kube::ClusterNews;

/// Volumes that are told: a recording's frame holds so many.
const VOLUMES: usize = 4_096;
/// Between two looks at mounts that change all the time.
const REST: Duration = Duration::from_millis(200);
/// After this it is looked whether somebody still listens.
const PATIENCE: Timespec = Timespec { tv_sec: 30, tv_nsec: 0 };

/// Tells of all volumes with tokens, at once and whenever they change, from a thread of its own. It ends with the receiver.
///
/// # Errors
/// Where the host's mounts are not shown, or no thread can be had.
pub fn start(host: Arc<HostRoot>, tell: mpsc::Sender<ClusterNews>) -> io::Result<()> {
    let mounts = host.mountinfo_file()?;
    std::thread::Builder::new().name("tokens".to_owned()).spawn(move || serve(&host, &mounts, &tell))?;
    Ok(())
}

fn serve(host: &HostRoot, mounts: &File, tell: &mpsc::Sender<ClusterNews>) {
    let mut told = Arc::from([]);
    while !tell.is_closed() {
        // Where it cannot be read the last ones stay.
        if let Ok(text) = host.mountinfo() {
            let found: Arc<[_]> = volumes(&text).into();
            if found != told {
                told = found.clone();
                if tell.blocking_send(ClusterNews::Tokens(found)).is_err() {
                    return;
                }
            }
        }
        // The kernel says so where mounts have changed since the last time (proc_pid_mountinfo(5)).
        let mut watched = [PollFd::new(mounts, PollFlags::PRI)];
        if poll(&mut watched, Some(&PATIENCE)).is_err() {
            std::thread::sleep(REST);
        }
        std::thread::sleep(REST);
    }
}

/// Device number and pod of each volume.
fn volumes(mountinfo: &[u8]) -> Vec<(u32, Arc<str>)> {
    let found =
        lines(mountinfo).filter(|line| line.kind == b"tmpfs" && line.directory == b"/").filter_map(|line| {
            let (major, minor) = std::str::from_utf8(line.device).ok()?.split_once(':')?;
            let device = device(major.parse().ok()?, minor.parse().ok()?);
            Some((device, pod_of(&unescape(line.point))?))
        });
    let found: BTreeMap<u32, Arc<str>> = found.take(VOLUMES).collect();
    found.into_iter().collect()
}

/// `…/pods/UID/volumes/kubernetes.io~projected/NAME`: distributions have the kubelet's directory in different places.
fn pod_of(point: &[u8]) -> Option<Arc<str>> {
    let mut parts = point.rsplit(|&byte| byte == b'/');
    let (_name, plugin, volumes, uid, pods) =
        (parts.next()?, parts.next()?, parts.next()?, parts.next()?, parts.next()?);
    let is_volume = plugin == b"kubernetes.io~projected" && volumes == b"volumes" && pods == b"pods";
    let is_uid =
        (1..=64).contains(&uid.len()) && uid.iter().all(|byte| byte.is_ascii_alphanumeric() || *byte == b'-');
    let uid = Some(uid).filter(|_| is_volume && is_uid)?;
    Some(std::str::from_utf8(uid).ok()?.into())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_volume_of_tokens_is_its_pods() {
        // The first line is of https://github.com/kubernetes/kubernetes/issues/114644 in form; numbers are made up.
        let text = b"1507 26 0:171 / /var/lib/kubelet/pods/4cad64d0-7a36-452a-8a08-bd3a694cdad5/volumes/kubernetes.io~projected/kube-api-access-4xk2v rw,relatime shared:843 - tmpfs tmpfs rw,size=170Mi\n\
            1508 26 0:172 / /var/lib/kubelet/pods/4cad64d0-7a36-452a-8a08-bd3a694cdad5/volumes/kubernetes.io~secret/x rw - tmpfs tmpfs rw\n\
            1509 26 0:173 / /var/snap/microk8s/common/var/lib/kubelet/pods/a-1/volumes/kubernetes.io~projected/b\\040c rw - tmpfs tmpfs rw\n\
            1510 26 0:174 / /home/u/pods/a-2/volumes/kubernetes.io~projected/x rw - fuse.x x rw\n\
            1511 26 254:1 /var/lib /var/lib/kubelet/pods/a-3/volumes/kubernetes.io~projected/x rw - tmpfs tmpfs rw\n";
        let expected: [(u32, Arc<str>); 2] =
            [(171, "4cad64d0-7a36-452a-8a08-bd3a694cdad5".into()), (173, "a-1".into())];
        assert_eq!(volumes(text), expected);
    }

    proptest! {
        #[test]
        fn any_list_is_read(text in proptest::collection::vec(any::<u8>(), 0..400)) {
            prop_assert!(volumes(&text).len() <= VOLUMES);
        }
    }
}
