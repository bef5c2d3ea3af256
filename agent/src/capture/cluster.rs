//! What a cluster tells, as MessagePack: fields by position, private to this file, as in [`super::inventory`].

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::model::kube::{ClusterNews, ClusterState, PodContainer, PodFacts, Workload};

/// What kind of news, a pod, a text (key of a pod, reason), volumes.
type WireNews = (u8, Option<WirePod>, String, Vec<(u32, String)>);

const POD: u8 = 0;
const GONE: u8 = 1;
const TOKENS: u8 = 2;
const NOT_ASKED: u8 = 3;
const ASKED: u8 = 4;
const ANSWERS: u8 = 5;
const SILENT: u8 = 6;

#[derive(Serialize, Deserialize)]
struct WirePod {
    cluster: String,
    source: String,
    uid: String,
    namespace: String,
    name: String,
    service_account: Option<String>,
    workload: Option<(String, String)>,
    workload_doubt: Option<String>,
    containers: Vec<(String, String, Option<String>)>,
    labels: Vec<(String, String)>,
    owner: Option<String>,
}

/// Encodes news; `None`: they change nothing of what is told.
pub(super) fn encode_cluster(news: &ClusterNews) -> Option<Result<Vec<u8>, rmp_serde::encode::Error>> {
    let state = |number, why: &str| (number, None, why.to_owned(), Vec::new());
    let wire: WireNews = match news {
        ClusterNews::Pod(facts) => (POD, Some(wire_pod(facts)), String::new(), Vec::new()),
        ClusterNews::Gone(key) => (GONE, None, key.to_string(), Vec::new()),
        ClusterNews::Tokens(tokens) => {
            let tokens = tokens.iter().map(|(device, uid)| (*device, uid.to_string())).collect();
            (TOKENS, None, String::new(), tokens)
        }
        ClusterNews::State(ClusterState::NotAsked) => state(NOT_ASKED, ""),
        ClusterNews::State(ClusterState::Asked) => state(ASKED, ""),
        ClusterNews::State(ClusterState::Answers) => state(ANSWERS, ""),
        ClusterNews::State(ClusterState::Silent(why)) => state(SILENT, why),
        // Those of addresses have frames of their own.
        ClusterNews::Counters(_) | ClusterNews::Peers(_) => return None,
    };
    Some(rmp_serde::to_vec(&wire))
}

fn wire_pod(facts: &PodFacts) -> WirePod {
    let PodFacts {
        cluster,
        source,
        uid,
        namespace,
        name,
        service_account,
        workload,
        workload_doubt,
        containers,
        labels,
        owner,
    } = facts;
    let text = |text: &Arc<str>| text.to_string();
    let container =
        |PodContainer { name, id, digest }: &PodContainer| (text(name), text(id), digest.as_ref().map(text));
    WirePod {
        cluster: text(cluster),
        source: text(source),
        uid: text(uid),
        namespace: text(namespace),
        name: text(name),
        service_account: service_account.as_ref().map(text),
        workload: workload.as_ref().map(|Workload { kind, name }| (text(kind), text(name))),
        workload_doubt: workload_doubt.as_ref().map(text),
        containers: containers.iter().map(container).collect(),
        labels: labels.iter().map(|(name, value)| (text(name), text(value))).collect(),
        owner: owner.as_ref().map(text),
    }
}

/// Decodes news.
pub(super) fn decode_cluster(bytes: &[u8]) -> Option<ClusterNews> {
    let (kind, pod, text, tokens): WireNews = rmp_serde::from_slice(bytes).ok()?;
    Some(match (kind, pod) {
        (POD, Some(pod)) => ClusterNews::Pod(Arc::new(pod.into())),
        (GONE, _) => ClusterNews::Gone(text.into()),
        (TOKENS, _) => {
            ClusterNews::Tokens(tokens.into_iter().map(|(device, uid)| (device, uid.into())).collect())
        }
        (NOT_ASKED, _) => ClusterNews::State(ClusterState::NotAsked),
        (ASKED, _) => ClusterNews::State(ClusterState::Asked),
        (ANSWERS, _) => ClusterNews::State(ClusterState::Answers),
        (SILENT, _) => ClusterNews::State(ClusterState::Silent(text.into())),
        _ => return None,
    })
}

impl From<WirePod> for PodFacts {
    fn from(pod: WirePod) -> Self {
        let container = |(name, id, digest): (String, String, Option<String>)| PodContainer {
            name: name.into(),
            id: id.into(),
            digest: digest.map(Into::into),
        };
        Self {
            cluster: pod.cluster.into(),
            source: pod.source.into(),
            uid: pod.uid.into(),
            namespace: pod.namespace.into(),
            name: pod.name.into(),
            service_account: pod.service_account.map(Into::into),
            workload: pod.workload.map(|(kind, name)| Workload { kind: kind.into(), name: name.into() }),
            workload_doubt: pod.workload_doubt.map(Into::into),
            containers: pod.containers.into_iter().map(container).collect(),
            labels: pod.labels.into_iter().map(|(name, value)| (name.into(), value.into())).collect(),
            owner: pod.owner.map(Into::into),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_cluster_told_comes_back() {
        let facts = PodFacts {
            cluster: "production".into(),
            source: "the API server https://10.0.0.1".into(),
            uid: "a".into(),
            namespace: "shop".into(),
            name: "web-1".into(),
            service_account: Some("web".into()),
            workload: Some(Workload { kind: "deployment".into(), name: "web".into() }),
            workload_doubt: Some("refused".into()),
            containers: vec![PodContainer {
                name: "c".into(),
                id: "4f".into(),
                digest: Some("sha256:0".into()),
            }],
            labels: vec![("app".into(), "web".into())],
            owner: Some("team: web".into()),
        };
        let news = [
            ClusterNews::Pod(Arc::new(facts)),
            ClusterNews::Pod(Arc::default()),
            ClusterNews::Gone("a".into()),
            ClusterNews::Tokens([(41, "a".into())].into()),
            ClusterNews::State(ClusterState::NotAsked),
            ClusterNews::State(ClusterState::Asked),
            ClusterNews::State(ClusterState::Answers),
            ClusterNews::State(ClusterState::Silent("down".into())),
        ];
        for news in news {
            let bytes = encode_cluster(&news).unwrap().unwrap();
            assert_eq!(decode_cluster(&bytes), Some(news));
        }
        assert!(encode_cluster(&ClusterNews::Counters(Default::default())).is_none());
        assert_eq!(decode_cluster(b"x"), None);
    }
}
