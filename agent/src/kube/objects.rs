//! Objects of the API: what is looked at of them, and what is made of a pod. Pure: bytes in, facts out.
//!
//! Fields are those of <https://kubernetes.io/docs/reference/kubernetes-api/workload-resources/pod-v1/> and
//! <https://kubernetes.io/docs/reference/kubernetes-api/common-definitions/object-meta/>.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use serde::Deserialize;

use super::settings::{LABEL_BYTES, owner};
use crate::model::image::is_id;
use crate::model::kube::{PodContainer, PodFacts, is_static_uid};

/// Bytes of an object's name.
const NAME_BYTES: usize = 253;
/// Bytes of a container's name, and of a label's value.
const SHORT_BYTES: usize = 63;
/// Labels kept of a pod.
const LABELS: usize = 16;
/// Containers kept of a pod: with ephemeral ones there is no bound of Kubernetes' own but the object's size.
const CONTAINERS: usize = 128;

/// Labels that a controller makes anew for each version or run, or that say again what the workload's name says.
const MADE_ANEW: [&str; 10] = [
    TEMPLATE_HASH,
    "controller-revision-hash",
    "pod-template-generation",
    "statefulset.kubernetes.io/pod-name",
    "apps.kubernetes.io/pod-index",
    "controller-uid",
    "job-name",
    "batch.kubernetes.io/controller-uid",
    "batch.kubernetes.io/job-name",
    "batch.kubernetes.io/job-completion-index",
];
/// The Deployment controller puts it on a ReplicaSet's pods and behind its name
/// (<https://kubernetes.io/docs/concepts/workloads/controllers/deployment/#pod-template-hash-label>).
const TEMPLATE_HASH: &str = "pod-template-hash";
/// The uid of the static pod that a mirror shows
/// (<https://kubernetes.io/docs/reference/labels-annotations-taints/#kubernetes-io-config-mirror>).
const MIRROR: &str = "kubernetes.io/config.mirror";

/// Addresses that a pod, or a Service, has: one of each family.
pub(super) const ADDRESSES: usize = 2;

/// Names and values.
type Map = BTreeMap<String, String>;

/// What every object has.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Metadata {
    pub(super) name: String,
    pub(super) namespace: String,
    pub(super) uid: String,
    pub(super) resource_version: String,
    #[serde(rename = "continue")]
    pub(super) next: String,
    labels: Option<Map>,
    annotations: Option<Map>,
    owner_references: Option<Vec<OwnerReference>>,
    creation_timestamp: Option<String>,
    deletion_timestamp: Option<String>,
}

/// An owner of an object.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct OwnerReference {
    pub(super) api_version: String,
    pub(super) kind: String,
    pub(super) name: String,
    pub(super) uid: String,
    pub(super) controller: Option<bool>,
}

/// An object of which nothing else is looked at, and lists.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Object {
    pub(super) metadata: Metadata,
}

/// A list of objects.
#[derive(Debug, Deserialize)]
#[serde(bound = "T: Deserialize<'de>")]
pub(super) struct List<T> {
    #[serde(default)]
    pub(super) metadata: Metadata,
    /// A kubelet lists a pod that it does not know yet as `null`.
    #[serde(default = "Option::default")]
    pub(super) items: Option<Vec<Option<T>>>,
}

/// A pod.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Pod {
    pub(super) metadata: Metadata,
    spec: Spec,
    status: Status,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Spec {
    node_name: Option<String>,
    host_network: Option<bool>,
    service_account_name: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Status {
    phase: Option<String>,
    #[serde(rename = "podIP")]
    pod_ip: Option<String>,
    #[serde(rename = "podIPs")]
    pod_ips: Option<Vec<Ip>>,
    container_statuses: Option<Vec<ContainerStatus>>,
    init_container_statuses: Option<Vec<ContainerStatus>>,
    ephemeral_container_statuses: Option<Vec<ContainerStatus>>,
}

/// An address, as Kubernetes has it in lists.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Ip {
    pub(super) ip: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct ContainerStatus {
    name: String,
    #[serde(rename = "containerID")]
    container_id: Option<String>,
    #[serde(rename = "imageID")]
    image_id: Option<String>,
}

/// A line of a watch.
#[derive(Debug, Deserialize)]
#[serde(tag = "type", content = "object", rename_all = "UPPERCASE")]
pub(super) enum Change<T> {
    Added(T),
    Modified(T),
    Deleted(T),
    Bookmark(Box<Object>),
    Error(Problem),
}

/// A `Status` object.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Problem {
    pub(super) code: u16,
}

/// Reads an answer.
pub(super) fn parse<'a, T: Deserialize<'a>>(bytes: &'a [u8]) -> Result<T, String> {
    serde_json::from_slice(bytes).map_err(|error| error.to_string())
}

/// Whether an object can be called so: a DNS name. `..` is none, which would lead to another path of the API.
pub(super) fn is_name(text: &str, longest: usize) -> bool {
    let is_label = |label: &str| {
        !label.is_empty()
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-'))
    };
    (1..=longest).contains(&text.len()) && text.split('.').all(is_label)
}

pub(super) fn named(text: &str) -> Option<Arc<str>> {
    is_name(text, NAME_BYTES).then(|| text.into())
}

pub(super) fn is_uid(text: &str) -> bool {
    (1..=64).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
}

/// An address that something of a cluster can have to itself. Loopback and link-local ones are each host's own, whoever says
/// that they are his.
pub(super) fn address(text: &str) -> Option<IpAddr> {
    let address = text.parse::<IpAddr>().ok()?.to_canonical();
    let is_own = match address {
        IpAddr::V4(address) => {
            !address.is_link_local() && !address.is_broadcast() && address.octets().first() != Some(&0)
        }
        IpAddr::V6(address) => !address.is_unicast_link_local(),
    };
    let is_one = is_own && !address.is_loopback() && !address.is_unspecified() && !address.is_multicast();
    is_one.then_some(address)
}

impl Metadata {
    /// The one owner that looks after it.
    pub(super) fn controller(&self) -> Option<&OwnerReference> {
        self.owner_references.iter().flatten().find(|owner| owner.controller == Some(true))
    }

    /// Who owns it, by the first of these annotations or labels that it has.
    pub(super) fn owner(&self, names: &[String]) -> Option<Arc<str>> {
        let Self { labels, annotations, .. } = self;
        let of = |map: &Option<Map>, name: &String| map.as_ref()?.get(name).cloned();
        let said = |name| {
            let word = of(annotations, name).or_else(|| of(labels, name))?;
            owner(&word).map(Arc::from)
        };
        names.iter().find_map(said)
    }

    /// A label's value.
    pub(super) fn label(&self, name: &str) -> Option<&str> {
        self.labels.as_ref()?.get(name).map(String::as_str)
    }

    /// Whether it is being deleted.
    pub(super) const fn ends(&self) -> bool {
        self.deletion_timestamp.is_some()
    }

    pub(super) fn template_hash(&self) -> Option<&str> {
        self.label(TEMPLATE_HASH)
    }

    /// When it was made, in minutes since 1970.
    pub(super) fn made_at_minute(&self) -> Option<i64> {
        let made: jiff::Timestamp = self.creation_timestamp.as_ref()?.parse().ok()?;
        Some(made.as_second() / 60)
    }
}

impl OwnerReference {
    /// Its kind as identities have it, and whether its names are those of objects.
    pub(super) fn kind(&self) -> Option<String> {
        let is_kind = (1..=SHORT_BYTES).contains(&self.kind.len())
            && self.kind.bytes().all(|byte| byte.is_ascii_alphanumeric());
        if !is_kind || !is_name(&self.name, NAME_BYTES) || !is_uid(&self.uid) {
            return None;
        }
        let kind = self.kind.to_ascii_lowercase();
        match self.group() {
            "" | "apps" | "batch" => Some(kind),
            group if is_name(group, NAME_BYTES) => Some(format!("{kind}.{group}")),
            _ => None,
        }
    }

    /// The group of its kind: empty for Kubernetes' first ones.
    pub(super) fn group(&self) -> &str {
        self.api_version.split_once('/').map_or("", |(group, _version)| group)
    }
}

impl Pod {
    /// Whether it is a static pod's: shown by a mirror that its node owns, or as the kubelet itself tells.
    pub(super) fn static_uid(&self) -> Option<&str> {
        let of_node =
            self.metadata.controller().is_some_and(|owner| owner.kind == "Node" && owner.group().is_empty());
        let mirrored = self.metadata.annotations.as_ref().and_then(|all| all.get(MIRROR)).filter(|_| of_node);
        let uid = mirrored.unwrap_or(&self.metadata.uid);
        is_static_uid(uid).then_some(uid)
    }

    /// Whether none of its containers runs any more, or will.
    pub(super) fn is_over(&self) -> bool {
        matches!(self.status.phase.as_deref(), Some("Succeeded" | "Failed"))
    }

    /// The node that it is on.
    pub(super) fn node(&self) -> Option<&str> {
        self.spec.node_name.as_deref()
    }

    /// Its addresses, as its node has told; two at most, one of each family.
    pub(super) fn addresses(&self) -> Vec<IpAddr> {
        let Status { pod_ip, pod_ips, .. } = &self.status;
        let all = pod_ips.iter().flatten().filter_map(|one| one.ip.as_ref()).chain(pod_ip);
        let mut addresses: Vec<IpAddr> = Vec::new();
        for address in all.filter_map(|text| address(text)) {
            if addresses.len() < ADDRESSES && !addresses.contains(&address) {
                addresses.push(address);
            }
        }
        addresses
    }

    /// Whether it has its node's network, and so its node's addresses.
    pub(super) fn is_on_node(&self) -> bool {
        self.spec.host_network == Some(true)
    }

    /// What is kept of it; without its workload, which takes further questions. `None`: nothing that is a pod.
    pub(super) fn facts(&self, owner_labels: &[String]) -> Option<PodFacts> {
        let Metadata { name, namespace, uid, labels, .. } = &self.metadata;
        if !is_uid(uid) {
            return None;
        }
        Some(PodFacts {
            uid: self.static_uid().unwrap_or(uid).into(),
            namespace: named(namespace)?,
            name: named(name)?,
            service_account: self.spec.service_account_name.as_deref().and_then(named),
            containers: self.status.containers().take(CONTAINERS).collect(),
            labels: labels.iter().flatten().filter_map(kept_label).take(LABELS).collect(),
            owner: self.metadata.owner(owner_labels),
            ..PodFacts::default()
        })
    }
}

impl Pod {
    /// What of it is needed to ask for its owners again.
    pub(super) fn for_its_owners(mut self) -> Self {
        self.metadata.annotations = None;
        if let Some(labels) = &mut self.metadata.labels {
            labels.retain(|name, _| name == TEMPLATE_HASH);
        }
        self.status = Status::default();
        self
    }
}

fn kept_label((name, value): (&String, &String)) -> Option<(Arc<str>, Arc<str>)> {
    let is_text = |text: &str| text.bytes().all(|byte| byte.is_ascii_graphic());
    let fits = (1..=LABEL_BYTES).contains(&name.len()) && value.len() <= SHORT_BYTES;
    let is_kept = fits && is_text(name) && is_text(value) && !MADE_ANEW.contains(&name.as_str());
    is_kept.then(|| (name.as_str().into(), value.as_str().into()))
}

impl Status {
    fn containers(&self) -> impl Iterator<Item = PodContainer> {
        let all =
            [&self.container_statuses, &self.init_container_statuses, &self.ephemeral_container_statuses];
        all.into_iter().flatten().flatten().filter_map(|status| {
            // `containerd://4f…`
            let (_engine, id) = status.container_id.as_ref()?.split_once("://")?;
            let is_whole = is_id(id) && is_name(&status.name, SHORT_BYTES);
            // `docker.io/library/redis@sha256:4f…`; a bare digest is the configuration's.
            let digest = status.image_id.as_deref().and_then(|image| image.rsplit_once('@'));
            let digest = digest.map(|(_repository, digest)| digest);
            let is_digest = |digest: &&str| digest.strip_prefix("sha256:").is_some_and(is_id);
            is_whole.then(|| PodContainer {
                name: status.name.as_str().into(),
                id: id.into(),
                digest: digest.filter(is_digest).map(Into::into),
            })
        })
    }
}
