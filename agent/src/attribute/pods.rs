//! What a cluster tells of the pods of this node, and whose token each volume holds.
//!
//! Asking a cluster takes as long as it takes, so it is done elsewhere ([`crate::kube`]); this is told. A pod that is gone is
//! known for a while longer: what it did last is read after it has ended.

use std::collections::HashMap;
use std::sync::Arc;

use crate::model::container::{InContainer, Pod};
use crate::model::kube::{
    ClusterCounters, ClusterNews, ClusterState, PodFacts, TokenOf, is_static_uid, pod_key,
};
use crate::model::time::BootTime;

/// Pods that are known at once, those that are gone included: a large node runs 500.
const PODS: usize = 4_096;
/// For so long a pod that is gone is known.
const GONE_NS: u64 = 300_000_000_000;

#[derive(Clone, Debug)]
struct Known {
    facts: Arc<PodFacts>,
    gone: Option<BootTime>,
}

/// All that is known of pods.
#[derive(Debug, Default)]
pub struct Pods {
    known: HashMap<Arc<str>, Known>,
    state: ClusterState,
    /// Device number of each volume with tokens, and the uid of its pod.
    tokens: HashMap<u32, Arc<str>>,
    now: BootTime,
    asked: ClusterCounters,
    evicted: u64,
    not_kept: u64,
    /// When the cluster fell silent.
    silent: Option<BootTime>,
}

impl Pods {
    /// A pod by its uid on the node; `engine` is what the container's engine calls it.
    pub fn find(&self, uid: &str, engine: Option<&Pod>) -> Option<&Arc<PodFacts>> {
        let known = match engine {
            Some(Pod { name, namespace, uid: _ }) if is_static_uid(uid) => {
                self.known.get(&pod_key(uid, namespace, name))
            }
            _ => self.known.get(uid),
        };
        Some(&known?.facts)
    }

    /// Whether the cluster answers.
    pub fn state(&self) -> &ClusterState {
        &self.state
    }

    /// Takes the time: by it what is gone is forgotten.
    pub fn at(&mut self, now: BootTime) {
        self.now = self.now.max(now);
    }

    /// Forgets what has been gone for long.
    pub fn sweep(&mut self, now: BootTime) {
        self.at(now);
        let now = self.now;
        self.known.retain(|_, known| known.gone.is_none_or(|gone| now.since_ns(gone) < GONE_NS));
    }

    /// Takes news; whether what was said of pods is to be said anew.
    pub fn learn(&mut self, news: ClusterNews) -> bool {
        match news {
            ClusterNews::Pod(facts) => self.add(facts),
            ClusterNews::Gone(key) => {
                let now = self.now;
                if let Some(known) = self.known.get_mut(&key) {
                    known.gone.get_or_insert(now);
                }
                false
            }
            ClusterNews::State(state) => {
                let changes = self.state != state;
                match state {
                    ClusterState::Silent(_) => _ = self.silent.get_or_insert(self.now),
                    _ => self.silent = None,
                }
                self.state = state;
                changes
            }
            ClusterNews::Tokens(tokens) => {
                self.tokens = tokens.iter().cloned().collect();
                false
            }
            ClusterNews::Counters(counters) => {
                self.asked = counters;
                false
            }
            // Whom connections lead to changes nothing of who acts.
            ClusterNews::Peers(_) => false,
        }
    }

    fn add(&mut self, facts: Arc<PodFacts>) -> bool {
        let key = facts.key();
        if let Some(known) = self.known.get_mut(&key) {
            known.gone = None;
            let changes = known.facts != facts;
            known.facts = facts;
            return changes;
        }
        if self.known.len() >= PODS && !self.evict() {
            self.not_kept += 1;
            return false;
        }
        self.known.insert(key, Known { facts, gone: None });
        true
    }

    /// Forgets the pod that has been gone for longest, if one is gone.
    fn evict(&mut self) -> bool {
        let gone = self.known.iter().filter_map(|(key, known)| Some((known.gone?, key)));
        let Some(key) = gone.min().map(|(_, key)| key.clone()) else { return false };
        self.known.remove(&key);
        self.evicted += 1;
        true
    }

    /// Whose token lies in a volume, where it is one: by the device, which a volume has to itself, wherever it is mounted.
    pub fn token_of(&self, device: u32, reader: Option<&InContainer>) -> Option<TokenOf> {
        let uid = self.tokens.get(&device)?;
        let own = reader.and_then(|container| container.pod_uid.as_ref()) == Some(uid);
        let facts = self.known.get(uid).map(|known| &known.facts);
        let named = |name: &str, facts: &PodFacts| Arc::from(format!("{}/{name}", facts.namespace));
        Some(TokenOf {
            pod_uid: uid.clone(),
            pod: facts.map(|facts| named(&facts.name, facts)),
            service_account: facts.and_then(|facts| Some(named(facts.service_account.as_ref()?, facts))),
            own,
        })
    }

    /// All figures with their stable names, for heartbeats and metrics; none where no cluster is asked.
    pub fn figures(&self) -> Vec<(&'static str, u64)> {
        if self.state == ClusterState::NotAsked {
            return Vec::new();
        }
        let ClusterCounters { lists, changes, failures, refused } = self.asked;
        let silent_ns = self.silent.map_or(0, |since| self.now.since_ns(since));
        vec![
            ("pods_known", self.known.len() as u64),
            ("pods_evicted", self.evicted),
            ("pods_not_kept", self.not_kept.saturating_add(refused)),
            ("kube_lists", lists),
            ("kube_changes", changes),
            ("kube_failures", failures),
            ("kube_silent_seconds", silent_ns / 1_000_000_000),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> BootTime {
        BootTime::from_ns(seconds * 1_000_000_000)
    }

    fn pod(uid: &str, name: &str) -> Arc<PodFacts> {
        let facts = PodFacts {
            uid: uid.into(),
            name: name.into(),
            namespace: "shop".into(),
            service_account: Some("web".into()),
            ..PodFacts::default()
        };
        Arc::new(facts)
    }

    #[test]
    fn a_pod_that_is_gone_is_known_for_a_while() {
        let mut pods = Pods::default();
        pods.at(at(10));
        assert!(pods.learn(ClusterNews::Pod(pod("a", "web-1"))));
        assert!(!pods.learn(ClusterNews::Pod(pod("a", "web-1"))), "nothing new");
        assert!(pods.learn(ClusterNews::Pod(pod("a", "web-2"))));
        pods.learn(ClusterNews::Gone("a".into()));
        pods.sweep(at(300));
        assert!(pods.find("a", None).is_some());
        pods.sweep(at(311));
        assert!(pods.find("a", None).is_none());
    }

    #[test]
    fn any_number_of_pods_is_bounded_and_what_runs_is_not_driven_out() {
        let mut pods = Pods::default();
        for number in 0..PODS {
            pods.learn(ClusterNews::Pod(pod(&number.to_string(), "x")));
        }
        assert!(!pods.learn(ClusterNews::Pod(pod("one more", "x"))));
        assert!(pods.find("0", None).is_some() && pods.find("one more", None).is_none());
        pods.learn(ClusterNews::Gone("7".into()));
        assert!(pods.learn(ClusterNews::Pod(pod("one more", "x"))));
        assert!(pods.find("7", None).is_none() && pods.find("one more", None).is_some());
        assert_eq!((pods.known.len(), pods.evicted, pods.not_kept), (PODS, 1, 1));
    }

    #[test]
    fn a_static_pod_is_found_by_its_name_too() {
        let uid = "0123456789abcdef0123456789abcdef";
        let engine = |name: &str| Pod { name: name.into(), namespace: "shop".into(), uid: uid.into() };
        let mut pods = Pods::default();
        pods.learn(ClusterNews::Pod(pod(uid, "apiserver-node")));
        pods.learn(ClusterNews::Pod(pod(uid, "forged")));
        assert_eq!(&*pods.find(uid, Some(&engine("apiserver-node"))).unwrap().name, "apiserver-node");
        assert!(pods.find(uid, Some(&engine("other"))).is_none());
        assert!(pods.find(uid, None).is_none());
    }

    #[test]
    fn a_token_is_its_pods_wherever_it_is_read() {
        let mut pods = Pods::default();
        pods.learn(ClusterNews::Pod(pod("a", "web-1")));
        pods.learn(ClusterNews::Tokens([(41, "a".into()), (42, "b".into())].into()));
        let within = |uid: &str| InContainer {
            engine: "containerd".into(),
            id: "x".into(),
            facts: None,
            pod_uid: Some(uid.into()),
            kube: None,
        };
        let own = pods.token_of(41, Some(&within("a"))).unwrap();
        assert_eq!((own.own, own.pod.as_deref()), (true, Some("shop/web-1")));
        assert_eq!(own.service_account.as_deref(), Some("shop/web"));
        assert!(!pods.token_of(41, Some(&within("b"))).unwrap().own);
        assert!(!pods.token_of(41, None).unwrap().own);
        let unknown = pods.token_of(42, Some(&within("b"))).unwrap();
        assert_eq!((unknown.own, unknown.pod), (true, None));
        assert!(pods.token_of(43, Some(&within("a"))).is_none());
    }

    #[test]
    fn how_long_the_cluster_has_been_silent_is_a_figure() {
        let mut pods = Pods::default();
        assert!(pods.figures().is_empty());
        pods.at(at(10));
        assert!(pods.learn(ClusterNews::State(ClusterState::Silent("x".into()))));
        pods.at(at(25));
        assert!(!pods.learn(ClusterNews::State(ClusterState::Silent("x".into()))));
        let silent =
            |pods: &Pods| pods.figures().into_iter().find(|(name, _)| *name == "kube_silent_seconds");
        assert_eq!(silent(&pods).unwrap().1, 15);
        assert!(pods.learn(ClusterNews::State(ClusterState::Answers)));
        assert_eq!(silent(&pods).unwrap().1, 0);
    }
}
