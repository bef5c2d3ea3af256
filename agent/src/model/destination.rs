//! Destinations: what is at the other end of a connection, as one stable name with the evidence for it.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use super::canonical::{ParseIdentityError, decode, segment};
use super::identity::{Confidence, Evidence, Identity};
use super::process::Process;

/// What a connection leads to.
#[derive(Clone, Debug)]
pub struct Destination {
    /// One stable name; `None` where there is evidence, and not enough for a name.
    pub identity: Option<DestinationIdentity>,
    /// What is known, best first.
    pub evidence: Vec<Evidence>,
    /// Confidence in `identity`.
    pub confidence: Confidence,
    /// The process that listens, on this host; of several the oldest.
    pub process: Option<Arc<Process>>,
}

/// One stable name for what is at the other end. Its `Display` is its canonical string and [`str::parse`] reads it back:
///
/// ```text
/// destination = identity                    whoever listens on this host, as he is called when he acts
///             | "metadata/" service         one of MetadataService::ALL
///             | "k8s/" segment "/" segment "/" segment "/" segment
///                                           cluster, namespace, kind of workload, workload
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum DestinationIdentity {
    /// `svc/postgresql`: whoever listens on this host.
    Local(Identity),
    /// `metadata/instance`: a metadata service of a cloud.
    Metadata(MetadataService),
    /// `k8s/production/shop/deployment/web`: a workload of Kubernetes. Which of a pod's containers listens is not known: they
    /// share its address.
    Workload {
        /// The cluster's name.
        cluster: Arc<[u8]>,
        /// Its namespace.
        namespace: Arc<[u8]>,
        /// Its kind, as in [`Identity::Kubernetes`].
        kind: Arc<[u8]>,
        /// Its name.
        workload: Arc<[u8]>,
    },
}

/// A service by which a cloud tells a machine, or what runs on it, who it is, and hands it credentials.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum MetadataService {
    /// That of a virtual machine. Several clouds have it at the same address.
    Instance,
    /// Credentials of tasks of Amazon ECS.
    EcsTask,
    /// Credentials of pods of Amazon EKS.
    EksPodIdentity,
    /// What Azure's guest agent asks.
    AzureWireServer,
    /// That of a virtual machine of Alibaba Cloud.
    AlibabaInstance,
}

impl MetadataService {
    /// All of them.
    pub const ALL: [Self; 5] =
        [Self::Instance, Self::EcsTask, Self::EksPodIdentity, Self::AzureWireServer, Self::AlibabaInstance];

    /// Its part of the canonical string.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Instance => "instance",
            Self::EcsTask => "ecs-task",
            Self::EksPodIdentity => "eks-pod-identity",
            Self::AzureWireServer => "azure-wireserver",
            Self::AlibabaInstance => "alibaba-instance",
        }
    }
}

/// Before the name of a metadata service: no kind of identity is called so.
const METADATA: &str = "metadata/";
/// Before a workload: an identity that begins so has one part more, the container.
const KUBERNETES: &str = "k8s/";
const WORKLOAD_PARTS: usize = 4;

impl fmt::Display for DestinationIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Local(identity) => identity.fmt(f),
            Self::Metadata(service) => write!(f, "{METADATA}{}", service.name()),
            Self::Workload { cluster, namespace, kind, workload } => {
                let [cluster, namespace, kind, workload] =
                    [cluster, namespace, kind, workload].map(|part| segment(part));
                write!(f, "{KUBERNETES}{cluster}/{namespace}/{kind}/{workload}")
            }
        }
    }
}

/// A string that is no destination's.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ParseDestinationError {
    /// No metadata service is called so.
    #[error(
        "`{0}` is no metadata service: write metadata/instance, metadata/ecs-task, metadata/eks-pod-identity, \
             metadata/azure-wireserver or metadata/alibaba-instance"
    )]
    UnknownService(String),
    /// It is none of an identity's either.
    #[error(transparent)]
    Identity(#[from] ParseIdentityError),
    /// The same workload is written otherwise.
    #[error(
        "this destination is written `{0}`: bytes outside [A-Za-z0-9._-] are percent-encoded, others not"
    )]
    NotCanonical(String),
}

impl FromStr for DestinationIdentity {
    type Err = ParseDestinationError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if let Some(workload) = parse_workload(text) {
            let canonical = workload.to_string();
            return if canonical == text {
                Ok(workload)
            } else {
                Err(ParseDestinationError::NotCanonical(canonical))
            };
        }
        let Some(name) = text.strip_prefix(METADATA) else { return Ok(Self::Local(text.parse()?)) };
        let service = MetadataService::ALL.into_iter().find(|service| service.name() == name);
        service.map(Self::Metadata).ok_or_else(|| ParseDestinationError::UnknownService(text.to_owned()))
    }
}

fn parse_workload(text: &str) -> Option<DestinationIdentity> {
    let parts: Vec<Arc<[u8]>> = text.strip_prefix(KUBERNETES)?.split('/').map(decode).collect();
    let [cluster, namespace, kind, workload] = <[Arc<[u8]>; WORKLOAD_PARTS]>::try_from(parts).ok()?;
    Some(DestinationIdentity::Workload { cluster, namespace, kind, workload })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn canonical_strings_read_back() {
        let services = MetadataService::ALL.map(DestinationIdentity::Metadata);
        let unit = Identity::SystemUnit { unit: b"postgresql@15-main".as_slice().into() };
        let local = DestinationIdentity::Local(unit);
        assert_eq!(local.to_string(), "svc/postgresql%4015-main");
        let part = |text: &str| Arc::from(text.as_bytes());
        let workload = DestinationIdentity::Workload {
            cluster: part("a/b"),
            namespace: part("shop"),
            kind: part("rollout.argoproj.io"),
            workload: part("web"),
        };
        assert_eq!(workload.to_string(), "k8s/a%2Fb/shop/rollout.argoproj.io/web");
        for identity in services.into_iter().chain([local, workload]) {
            assert_eq!(identity.to_string().parse(), Ok(identity));
        }
    }

    #[test]
    fn what_is_no_destination_is_refused() {
        for text in [
            "",
            "metadata",
            "metadata/",
            "metadata/instance/",
            "metadata/Instance",
            "svc",
            "where/ever",
            "k8s/c/n/d",
            "k8s/c/n/d/%77eb",
        ] {
            assert!(text.parse::<DestinationIdentity>().is_err(), "{text}");
        }
    }
}
