//! What has addresses in a cluster, pods and Services, as the cluster tells of them: whom a connection may lead to.

use std::net::IpAddr;
use std::sync::Arc;

use super::kube::{ClusterState, Workload};

/// A pod or a Service, and its addresses.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct PeerFacts {
    /// By what it is told again, or to be gone; no two have the same.
    pub key: Arc<str>,
    /// The cluster's name.
    pub cluster: Arc<str>,
    /// Who says so: the address that was asked.
    pub source: Arc<str>,
    /// Its namespace.
    pub namespace: Arc<str>,
    /// Its name.
    pub name: Arc<str>,
    /// Its addresses: those that a node gave a pod, or the API server a Service.
    pub addresses: Vec<IpAddr>,
    /// Which of the two it is.
    pub kind: PeerKind,
}

/// What has addresses.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum PeerKind {
    /// A pod.
    Pod(PeerPod),
    /// A Service.
    Service(PeerService),
}

/// A pod, as far as its addresses go.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct PeerPod {
    /// The node that it is on.
    pub node: Option<Arc<str>>,
    /// Whether its addresses are its node's, which all that runs there has.
    pub is_on_node: bool,
    /// Whether it is being deleted: then its address may be another's before it is told to be gone.
    pub ends: bool,
    /// The workload that it is a part of.
    pub leads: Leads,
}

/// A Service.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct PeerService {
    /// Addresses that whoever made it, or a balancer, says are its too: nobody has looked whose they are.
    pub external: Vec<IpAddr>,
    /// Its ports of TCP.
    pub ports: Vec<PeerPort>,
}

/// A port of a Service.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct PeerPort {
    /// The port.
    pub port: u16,
    /// Where what comes to it is led.
    pub leads: Leads,
}

/// Which workload is behind something.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Leads {
    /// This one.
    To {
        /// The workload.
        workload: Workload,
        /// Why it is not confirmed, where it is not.
        doubt: Option<Arc<str>>,
    },
    /// No single one, or it is not known: why.
    Unknown(Arc<str>),
}

/// What became of the questions about addresses; each only grows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PeerCounters {
    /// Lists that were read.
    pub lists: u64,
    /// Changes that were told.
    pub changes: u64,
    /// Questions that failed.
    pub failures: u64,
    /// What was not taken: too many, or nothing that can be one.
    pub refused: u64,
}

/// News of what has addresses; recordings keep all but the counters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PeerNews {
    /// It is there, or has changed.
    Told(Arc<PeerFacts>),
    /// It is gone, by its key.
    Gone(Arc<str>),
    /// Whether the cluster answers.
    State(ClusterState),
    /// What became of the questions.
    Counters(PeerCounters),
}
