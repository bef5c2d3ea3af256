//! Whether the host's files and name are in reach: not of course where the agent runs in a container.

use std::sync::Arc;

use caps::Capability;

use super::{Finding, Sources, privileges};
use crate::host::{HostRoot, View};

/// What opens `/proc/1/root` and `/proc/1/ns` to who is in the host's pid namespace.
fn remedy(sources: &Sources) -> &'static str {
    match &sources.effective {
        Ok(held) if held.contains(&Capability::CAP_SYS_PTRACE) => {
            "CAP_SYS_PTRACE is there, so a security module keeps this process from process 1: run it unconfined \
             (AppArmor in Kubernetes: appArmorProfile.type: Unconfined)"
        }
        _ => {
            "give the agent CAP_SYS_PTRACE (systemd: AmbientCapabilities=; Kubernetes: SYS_PTRACE in \
             capabilities.add, with hostPID: true)"
        }
    }
}

/// The host's files.
pub(super) fn root(sources: &Sources) -> (Option<Arc<HostRoot>>, Finding) {
    const NAME: &str = "host_root";
    let root = match HostRoot::find(&sources.root) {
        Ok(root) => root,
        Err(error) => {
            let detail = format!("/proc shows nothing of this process: {error}");
            return (None, Finding::could_not_tell(NAME, detail, "mount -t proc proc /proc"));
        }
    };
    let finding = match root.view() {
        View::Own => Finding::yes(NAME, "this process's own"),
        View::Init => Finding::yes(NAME, "through /proc/1/root: this process has mounts of its own"),
        View::Alike(reason) => Finding::no(
            NAME,
            format!(
                "{reason}: this process's own root, which has the same files, stands in for it; the host's processes \
                 are told as those of another mount namespace"
            ),
            remedy(sources),
        ),
        View::Unreachable(reason) => Finding::no(
            NAME,
            format!(
                "{reason}: the host's credentials are known by name alone, its users by number, and its processes are \
                 told as those of another mount namespace"
            ),
            remedy(sources),
        ),
    };
    (Some(Arc::new(root)), finding)
}

/// The host's name. A service may have a copy of it (systemd's `ProtectHostname=`): only a container's is another one.
pub(super) fn name(sources: &Sources, root: Option<&HostRoot>) -> Finding {
    const NAME: &str = "host_name";
    match privileges::in_initial_namespace(sources, "uts") {
        Ok(true) => Finding::yes(NAME, "the host's"),
        Ok(false) if root.is_some_and(|root| !root.in_container()) => {
            Finding::yes(NAME, "a copy of the host's, as it was when this process was started")
        }
        Ok(false) => Finding::no(
            NAME,
            "a container's own, and events carry it unless they are told another",
            "telltale run --node-name NAME, or node_name in the configuration (Kubernetes: spec.nodeName, as in \
             packaging/kubernetes/daemonset.yaml)",
        ),
        Err(reason) => Finding::could_not_tell(NAME, reason, "mount -t proc proc /proc"),
    }
}
