//! Containers, as their engines know them.

use std::sync::Arc;

use super::image::ImageReference;
use super::kube::PodFacts;

/// What the engine that runs a container keeps of it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct EngineFacts {
    /// The engine: `docker`, `podman`, `containerd`, `crio`.
    pub engine: Arc<str>,
    /// The file that says so.
    pub source: Arc<str>,
    /// The container's name: that of its pod's specification in Kubernetes.
    pub name: Option<Arc<str>>,
    /// The image it was made from, where the engine knows it by a name.
    pub image: Option<ImageReference>,
    /// Digest of the image's configuration, `sha256:…`: the same for the same image by any name.
    pub image_id: Option<Arc<str>>,
    /// The service of a compose project that it is.
    pub compose: Option<ComposeService>,
    /// The pod it is in.
    pub pod: Option<Pod>,
    /// Selectors that SPIRE's attestor for its engine would compute (`docker:label:KEY:VALUE`).
    pub selectors: Vec<Arc<str>>,
}

/// A service of a compose project, by labels that compose sets and the image does not.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ComposeService {
    /// The project.
    pub project: Arc<str>,
    /// The service.
    pub service: Arc<str>,
}

/// A pod of Kubernetes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Pod {
    /// Its name.
    pub name: Arc<str>,
    /// Its namespace.
    pub namespace: Arc<str>,
    /// Its uid.
    pub uid: Arc<str>,
}

/// What is known when a container was looked up, or something else of which root's files tell.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Answer<F = EngineFacts> {
    /// Files tell of it: an engine's.
    Found(Arc<F>),
    /// No file tells of it, where there should be one.
    NotFound,
    /// A file of it is larger than is read.
    TooLarge,
    /// A file of it is not root's alone: others could have written it.
    Refused,
    /// A file of it cannot be read, or not understood.
    Unreadable,
}

/// A container that was looked up: kept by recordings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ContainerFound {
    /// Its id: 64 hex digits.
    pub id: Arc<str>,
    /// What is known.
    pub answer: Answer,
}

/// The container that a process is in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InContainer {
    /// The engine.
    pub engine: Arc<str>,
    /// Its id, or a machine's name, as text.
    pub id: Arc<str>,
    /// What the engine keeps of it, where that is known.
    pub facts: Option<Arc<EngineFacts>>,
    /// The uid of its pod, by the cgroup's path.
    pub pod_uid: Option<Arc<str>>,
    /// What the cluster tells of that pod, where engine and cgroup agree with it.
    pub kube: Option<Arc<PodFacts>>,
}
