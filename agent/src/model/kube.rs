//! Pods, as a cluster tells of them.

use std::sync::Arc;

use super::peer::PeerNews;

/// What a cluster tells of a pod.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct PodFacts {
    /// The cluster's name.
    pub cluster: Arc<str>,
    /// Who says so: the address that was asked.
    pub source: Arc<str>,
    /// The uid by which the node's cgroups and directories know it: of a static pod the kubelet's own, not that of the
    /// mirror which the API server shows.
    pub uid: Arc<str>,
    /// Its namespace.
    pub namespace: Arc<str>,
    /// Its name.
    pub name: Arc<str>,
    /// The service account that it runs as.
    pub service_account: Option<Arc<str>>,
    /// What it is a part of.
    pub workload: Option<Workload>,
    /// Why `workload` is not known, or is not confirmed.
    pub workload_doubt: Option<Arc<str>>,
    /// Its containers.
    pub containers: Vec<PodContainer>,
    /// Its labels, without those that are made anew for each version of a workload.
    pub labels: Vec<(Arc<str>, Arc<str>)>,
    /// Who owns it, as whoever deploys it says.
    pub owner: Option<Arc<str>>,
}

/// What a pod is a part of: the top of the chain of its owners.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Workload {
    /// Kind in lower case (`deployment`), with its group where that is not Kubernetes' own (`rollout.argoproj.io`).
    pub kind: Arc<str>,
    /// Name.
    pub name: Arc<str>,
}

/// A container of a pod.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct PodContainer {
    /// Its name in the pod.
    pub name: Arc<str>,
    /// The engine's id of it: 64 hex digits.
    pub id: Arc<str>,
    /// Digest of its image, `sha256:…`.
    pub digest: Option<Arc<str>>,
}

/// Characters of a static pod's uid, which is a digest (`getPodUID` of `pkg/kubelet/config/common.go`,
/// <https://github.com/kubernetes/kubernetes>).
const STATIC_UID: usize = 32;

/// Whether a uid is one that the kubelet gives to a pod of a file.
pub fn is_static_uid(uid: &str) -> bool {
    uid.len() == STATIC_UID && uid.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// By what a pod is looked up. Uids are unique, but those of static pods are an annotation's word, which who creates pods can
/// write: there it is namespace and name, too, of which one time there is one pod.
pub fn pod_key(uid: &str, namespace: &str, name: &str) -> Arc<str> {
    if is_static_uid(uid) { format!("{uid} {namespace}/{name}").into() } else { uid.into() }
}

impl PodFacts {
    /// By what it is looked up.
    pub fn key(&self) -> Arc<str> {
        pod_key(&self.uid, &self.namespace, &self.name)
    }

    /// The container with this id.
    pub fn container(&self, id: &str) -> Option<&PodContainer> {
        self.containers.iter().find(|container| &*container.id == id)
    }
}

/// Whether the cluster answers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum ClusterState {
    /// None is asked.
    #[default]
    NotAsked,
    /// It has not answered yet.
    Asked,
    /// It has told of all pods of the node, and tells of changes.
    Answers,
    /// It does not: why, and since when.
    Silent(Arc<str>),
}

/// What became of the questions to a cluster; each only grows, but the last.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ClusterCounters {
    /// Lists of all pods that were read.
    pub lists: u64,
    /// Changes that were told.
    pub changes: u64,
    /// Questions that failed.
    pub failures: u64,
    /// Pods that were not taken: too many, or nothing that can be one.
    pub refused: u64,
}

/// What a look at the cluster, or at the node's mounts, has brought: recordings keep all but the counters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ClusterNews {
    /// A pod is there, or has changed.
    Pod(Arc<PodFacts>),
    /// A pod is gone, by its key.
    Gone(Arc<str>),
    /// Whether the cluster answers.
    State(ClusterState),
    /// All volumes with tokens of pods: device number, uid of the pod.
    Tokens(Arc<[(u32, Arc<str>)]>),
    /// What became of the questions.
    Counters(ClusterCounters),
    /// Of pods and Services of all nodes, whom connections may lead to.
    Peers(PeerNews),
}

/// Whose token a file is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenOf {
    /// The uid of the pod that it was made for.
    pub pod_uid: Arc<str>,
    /// That pod, `namespace/name`, where the cluster told of it.
    pub pod: Option<Arc<str>>,
    /// The service account whose token it is, `namespace/name`.
    pub service_account: Option<Arc<str>>,
    /// Whether who acts is in that pod.
    pub own: bool,
}
