//! What a cluster tells of addresses, as MessagePack: fields by position, private to this file, as in [`super::inventory`].

use std::net::IpAddr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::model::kube::{ClusterState, Workload};
use crate::model::peer::{Leads, PeerFacts, PeerKind, PeerNews, PeerPod, PeerPort, PeerService};

#[derive(Serialize, Deserialize)]
enum WireNews {
    Told(Box<WirePeer>),
    Gone(String),
    NotAsked,
    Asked,
    Answers,
    Silent(String),
}

#[derive(Serialize, Deserialize)]
struct WirePeer {
    key: String,
    cluster: String,
    source: String,
    namespace: String,
    name: String,
    addresses: Vec<IpAddr>,
    kind: WireKind,
}

#[derive(Serialize, Deserialize)]
enum WireKind {
    Pod { node: Option<String>, is_on_node: bool, ends: bool, leads: WireLeads },
    Service { external: Vec<IpAddr>, ports: Vec<(u16, WireLeads)> },
}

#[derive(Serialize, Deserialize)]
enum WireLeads {
    To { kind: String, name: String, doubt: Option<String> },
    Unknown(String),
}

/// Encodes news; `None`: they change nothing of what is told.
pub(super) fn encode_peer(news: &PeerNews) -> Option<Result<Vec<u8>, rmp_serde::encode::Error>> {
    let wire = match news {
        PeerNews::Told(facts) => WireNews::Told(Box::new(facts.as_ref().into())),
        PeerNews::Gone(key) => WireNews::Gone(key.to_string()),
        PeerNews::State(ClusterState::NotAsked) => WireNews::NotAsked,
        PeerNews::State(ClusterState::Asked) => WireNews::Asked,
        PeerNews::State(ClusterState::Answers) => WireNews::Answers,
        PeerNews::State(ClusterState::Silent(why)) => WireNews::Silent(why.to_string()),
        PeerNews::Counters(_) => return None,
    };
    Some(rmp_serde::to_vec(&wire))
}

/// Decodes news.
pub(super) fn decode_peer(bytes: &[u8]) -> Option<PeerNews> {
    Some(match rmp_serde::from_slice(bytes).ok()? {
        WireNews::Told(peer) => PeerNews::Told(Arc::new((*peer).into())),
        WireNews::Gone(key) => PeerNews::Gone(key.into()),
        WireNews::NotAsked => PeerNews::State(ClusterState::NotAsked),
        WireNews::Asked => PeerNews::State(ClusterState::Asked),
        WireNews::Answers => PeerNews::State(ClusterState::Answers),
        WireNews::Silent(why) => PeerNews::State(ClusterState::Silent(why.into())),
    })
}

impl From<&PeerFacts> for WirePeer {
    fn from(facts: &PeerFacts) -> Self {
        let PeerFacts { key, cluster, source, namespace, name, addresses, kind } = facts;
        let kind = match kind {
            PeerKind::Pod(PeerPod { node, is_on_node, ends, leads }) => WireKind::Pod {
                node: node.as_ref().map(ToString::to_string),
                is_on_node: *is_on_node,
                ends: *ends,
                leads: leads.into(),
            },
            PeerKind::Service(PeerService { external, ports }) => WireKind::Service {
                external: external.clone(),
                ports: ports.iter().map(|PeerPort { port, leads }| (*port, leads.into())).collect(),
            },
        };
        Self {
            key: key.to_string(),
            cluster: cluster.to_string(),
            source: source.to_string(),
            namespace: namespace.to_string(),
            name: name.to_string(),
            addresses: addresses.clone(),
            kind,
        }
    }
}

impl From<WirePeer> for PeerFacts {
    fn from(peer: WirePeer) -> Self {
        let kind = match peer.kind {
            WireKind::Pod { node, is_on_node, ends, leads } => {
                PeerKind::Pod(PeerPod { node: node.map(Into::into), is_on_node, ends, leads: leads.into() })
            }
            WireKind::Service { external, ports } => {
                let port = |(port, leads): (u16, WireLeads)| PeerPort { port, leads: leads.into() };
                PeerKind::Service(PeerService { external, ports: ports.into_iter().map(port).collect() })
            }
        };
        Self {
            key: peer.key.into(),
            cluster: peer.cluster.into(),
            source: peer.source.into(),
            namespace: peer.namespace.into(),
            name: peer.name.into(),
            addresses: peer.addresses,
            kind,
        }
    }
}

impl From<&Leads> for WireLeads {
    fn from(leads: &Leads) -> Self {
        match leads {
            Leads::To { workload: Workload { kind, name }, doubt } => {
                let doubt = doubt.as_ref().map(ToString::to_string);
                Self::To { kind: kind.to_string(), name: name.to_string(), doubt }
            }
            Leads::Unknown(why) => Self::Unknown(why.to_string()),
        }
    }
}

impl From<WireLeads> for Leads {
    fn from(leads: WireLeads) -> Self {
        match leads {
            WireLeads::To { kind, name, doubt } => {
                let workload = Workload { kind: kind.into(), name: name.into() };
                Self::To { workload, doubt: doubt.map(Into::into) }
            }
            WireLeads::Unknown(why) => Self::Unknown(why.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_cluster_told_of_addresses_comes_back() {
        let workload = Workload { kind: "deployment".into(), name: "web".into() };
        let leads = Leads::To { workload, doubt: Some("refused".into()) };
        let facts = |kind| PeerFacts {
            key: "pod/a".into(),
            cluster: "production".into(),
            source: "the API server https://10.0.0.1".into(),
            namespace: "shop".into(),
            name: "web-1".into(),
            addresses: vec!["10.244.1.7".parse().unwrap(), "fd00:1::7".parse().unwrap()],
            kind,
        };
        let pod = PeerPod { node: Some("node-7".into()), is_on_node: true, ends: true, leads: leads.clone() };
        let ports = vec![
            PeerPort { port: 443, leads },
            PeerPort { port: 80, leads: Leads::Unknown("none is ready".into()) },
        ];
        let service = PeerService { external: vec!["203.0.113.7".parse().unwrap()], ports };
        let news = [
            PeerNews::Told(Arc::new(facts(PeerKind::Pod(pod)))),
            PeerNews::Told(Arc::new(facts(PeerKind::Service(service)))),
            PeerNews::Gone("pod/a".into()),
            PeerNews::State(ClusterState::NotAsked),
            PeerNews::State(ClusterState::Asked),
            PeerNews::State(ClusterState::Answers),
            PeerNews::State(ClusterState::Silent("down".into())),
        ];
        for news in news {
            let bytes = encode_peer(&news).unwrap().unwrap();
            assert_eq!(decode_peer(&bytes), Some(news));
        }
        assert!(encode_peer(&PeerNews::Counters(Default::default())).is_none());
        assert_eq!(decode_peer(b"x"), None);
    }
}
