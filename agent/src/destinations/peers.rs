//! Pods and Services of a cluster, by their addresses, as the cluster tells of them.
//!
//! An address goes from one pod to another, and what the cluster says comes later than what is so. What cannot be told apart
//! is not told: an address that has just been another's, that several have, or that somebody merely says is his.

use std::collections::{BTreeSet, HashMap};
use std::net::IpAddr;
use std::sync::Arc;

use super::NAMED;
use crate::model::act::Endpoint;
use crate::model::destination::{Destination, DestinationIdentity};
use crate::model::identity::{Confidence, Evidence};
use crate::model::kube::{ClusterState, Workload};
use crate::model::peer::{Leads, PeerCounters, PeerFacts, PeerKind, PeerNews, PeerPod, PeerPort};
use crate::model::time::BootTime;

/// Pods and Services that are known at once, those that are gone included; one is about 500 bytes.
pub(crate) const PEERS: usize = 24_576;
/// Of one address: those of a node are all of its pods' that share it, and a large node runs 500.
const PEERS_OF_AN_ADDRESS: usize = 512;
/// For so long one that is gone is known: whose an address was.
const GONE_NS: u64 = 300 * SECOND_NS;
/// After so long without an answer an address may be another's: the field's quickest give one away again after half a minute
/// (`IP_COOLDOWN_PERIOD`, <https://github.com/aws/amazon-vpc-cni-k8s>).
const TRUSTED_SILENCE_NS: u64 = 30 * SECOND_NS;
const SECOND_NS: u64 = 1_000_000_000;

/// Evidence of a Service that has the address as its own.
pub(crate) const SERVICE: &str = "service";

#[derive(Debug)]
struct Known {
    facts: Arc<PeerFacts>,
    /// Since when that is so, as far as it was told.
    since: BootTime,
    gone: Option<BootTime>,
}

/// All that say that an address is theirs.
#[derive(Debug, Default)]
struct Claimants {
    keys: Vec<Arc<str>>,
    /// Whether there were more than are kept.
    more: bool,
}

/// Where something connects, and when.
#[derive(Clone, Copy, Debug)]
pub struct Question {
    /// The address asked for.
    pub asked: Endpoint,
    /// The address connected: another where the kernel's programs of a cluster's network have chosen an endpoint.
    pub connected: Endpoint,
    /// Whether it is TCP, or what falls back to it.
    pub is_tcp: bool,
    /// When it was asked for; `None`: before the agent looked.
    pub at: Option<BootTime>,
}

/// Pods and Services of a cluster.
#[derive(Debug, Default)]
pub struct Peers {
    known: HashMap<Arc<str>, Known>,
    by_address: HashMap<IpAddr, Claimants>,
    state: ClusterState,
    /// Whether all were told once.
    is_whole: bool,
    silent: Option<BootTime>,
    now: BootTime,
    asked: PeerCounters,
    evicted: u64,
    not_kept: u64,
}

impl Peers {
    /// Takes the time.
    pub fn at(&mut self, now: BootTime) {
        self.now = self.now.max(now);
    }

    /// Forgets what has been gone for long.
    pub fn sweep(&mut self, now: BootTime) {
        self.at(now);
        let now = self.now;
        let is_over = |known: &Known| known.gone.is_some_and(|gone| now.since_ns(gone) >= GONE_NS);
        let over: Vec<Arc<str>> =
            self.known.iter().filter(|(_, known)| is_over(known)).map(|(key, _)| key.clone()).collect();
        over.iter().for_each(|key| self.forget(key));
    }

    /// Takes news.
    pub fn learn(&mut self, news: PeerNews) {
        match news {
            PeerNews::Told(facts) => self.add(facts),
            PeerNews::Gone(key) => {
                let now = self.now;
                if let Some(known) = self.known.get_mut(&key) {
                    known.gone.get_or_insert(now);
                }
            }
            PeerNews::State(state) => {
                match state {
                    ClusterState::Silent(_) => _ = self.silent.get_or_insert(self.now),
                    _ => self.silent = None,
                }
                self.is_whole |= state == ClusterState::Answers;
                self.state = state;
            }
            PeerNews::Counters(counters) => self.asked = counters,
        }
    }

    fn add(&mut self, facts: Arc<PeerFacts>) {
        let key = facts.key.clone();
        if self.known.get(&key).is_some_and(|known| known.gone.is_none() && known.facts == facts) {
            return;
        }
        self.forget(&key);
        if self.known.len() >= PEERS && !self.evict() {
            self.not_kept += 1;
            let claimed = addresses(&facts).into_iter();
            claimed.for_each(|address| {
                if let Some(claimants) = self.by_address.get_mut(&address) {
                    claimants.more = true;
                }
            });
            return;
        }
        for address in addresses(&facts) {
            let claimants = self.by_address.entry(address).or_default();
            if claimants.keys.len() < PEERS_OF_AN_ADDRESS {
                claimants.keys.push(key.clone());
            } else {
                claimants.more = true;
            }
        }
        self.known.insert(key, Known { facts, since: self.now, gone: None });
    }

    fn forget(&mut self, key: &Arc<str>) {
        let Some(known) = self.known.remove(key) else { return };
        for address in addresses(&known.facts) {
            let Some(claimants) = self.by_address.get_mut(&address) else { continue };
            claimants.keys.retain(|other| other != key);
            if claimants.keys.is_empty() {
                self.by_address.remove(&address);
            }
        }
    }

    /// Forgets what has been gone for longest, if something is gone.
    fn evict(&mut self) -> bool {
        let gone = self.known.iter().filter_map(|(key, known)| Some((known.gone?, key)));
        let Some(key) = gone.min().map(|(_, key)| key.clone()) else { return false };
        self.forget(&key);
        self.evicted += 1;
        true
    }

    /// What a connection leads to, as far as the cluster tells; `None`: it has told of nothing there.
    pub fn find(&self, question: Question) -> Option<Destination> {
        if !self.is_whole {
            return None;
        }
        let Question { asked, connected, is_tcp, at } = question;
        let mut found = self.answer(connected, is_tcp, at);
        if (asked.address, asked.port) != (connected.address, connected.port) {
            // A Service's address, in whose place one of its endpoints was chosen.
            found.evidence.extend(self.answer(asked, is_tcp, at).evidence);
        }
        if found.evidence.is_empty() {
            return None;
        }
        let mut is_sure = found.is_sure;
        if let (ClusterState::Silent(why), Some(since)) = (&self.state, self.silent) {
            let detail = format!("as it was told before the cluster fell silent: {}", why.escape_debug());
            found.say("cluster_silent", detail, Confidence::Observed);
            is_sure &= self.now.since_ns(since) < TRUSTED_SILENCE_NS;
        }
        let to = found.to.filter(|_| is_sure);
        let confidence = match &to {
            Some(to) if to.is_claimed => Confidence::Claimed,
            _ => Confidence::Declared,
        };
        Some(Destination {
            identity: to.map(|to| to.identity),
            evidence: found.evidence,
            confidence,
            process: None,
        })
    }

    fn answer(&self, endpoint: Endpoint, is_tcp: bool, at: Option<BootTime>) -> Answer {
        let mut answer = Answer { to: None, evidence: Vec::new(), is_sure: true };
        let Some(claimants) = self.by_address.get(&endpoint.address) else { return answer };
        let known = claimants.keys.iter().filter_map(|key| self.known.get(key));
        let mut ends: Vec<(&Known, &Leads)> = Vec::new();
        let (mut sharing, mut external) = (Vec::new(), Vec::new());
        // Whose it was last.
        let mut before: Option<(BootTime, &'static str, String)> = None;
        for known in known {
            let facts = &*known.facts;
            let named = || format!("{}/{}", facts.namespace, facts.name);
            match &facts.kind {
                PeerKind::Pod(pod) => {
                    let PeerPod { node, is_on_node, ends: is_ending, leads } = pod;
                    let on = node.as_ref().map(|node| format!(" on {node}")).unwrap_or_default();
                    if let Some(gone) = known.gone {
                        before = before.max(Some((gone, "pod_gone", format!("{}{on}", named()))));
                    } else if *is_on_node {
                        // All that is said of a node's address is that it is one: of its pods some are named.
                        if sharing.len() < NAMED {
                            sharing.push(named());
                        }
                    } else if *is_ending {
                        answer.doubt("pod_ends", format!("{}{on} is being deleted", named()));
                    } else {
                        let detail = format!("{}{on} of {}, says {}", named(), facts.cluster, facts.source);
                        answer.hint("pod", detail);
                        ends.push((known, leads));
                    }
                }
                PeerKind::Service(service) => {
                    let port = service.ports.iter().find(|port| is_tcp && port.port == endpoint.port);
                    let Some(PeerPort { port, leads }) = port else { continue };
                    let is_own = facts.addresses.contains(&endpoint.address);
                    if let Some(gone) = known.gone {
                        let whose = || (gone, "service_gone", format!("{}:{port}", named()));
                        before = before.max(is_own.then(whose));
                    } else if is_own {
                        let detail =
                            format!("{}:{port} of {}, says {}", named(), facts.cluster, facts.source);
                        answer.hint(SERVICE, detail);
                        ends.push((known, leads));
                    } else if external.len() < NAMED {
                        external.push(format!("{}:{port}", named()));
                    }
                }
            }
        }
        for (kind, all) in [("node_address", sharing), ("service_external", external)] {
            if !all.is_empty() {
                answer.doubt(kind, all.join(" "));
            }
        }
        if let Some((gone, kind, whose)) = before {
            let seconds = self.now.since_ns(gone) / SECOND_NS;
            answer.hint(kind, format!("{whose}, until {seconds} s ago"));
        }
        if claimants.more {
            answer.doubt("address_shared", "more than are kept say that it is theirs".to_owned());
        }
        self.decide(&ends, at, &mut answer);
        answer
    }

    /// Gives a name where all that have the address lead to one workload, and did so when the connection was asked for.
    fn decide(&self, ends: &[(&Known, &Leads)], at: Option<BootTime>, answer: &mut Answer) {
        let mut workloads = BTreeSet::new();
        let mut doubts = BTreeSet::new();
        for (known, leads) in ends {
            match leads {
                Leads::To { workload, doubt } => {
                    workloads.insert(named(&known.facts, workload));
                    doubts.extend(doubt.as_deref());
                }
                Leads::Unknown(why) => answer.doubt("workload_unknown", why.to_string()),
            }
        }
        let Some((known, Leads::To { workload, .. })) =
            ends.iter().find(|(_, leads)| matches!(leads, Leads::To { .. }))
        else {
            return;
        };
        if workloads.len() > 1 {
            let all: Vec<_> = workloads.iter().take(NAMED).cloned().collect();
            answer.doubt("address_shared", all.join(" "));
        }
        let is_claimed = !doubts.is_empty();
        if let Some(doubt) = doubts.first() {
            answer.say("workload_unconfirmed", (*doubt).to_owned(), Confidence::Observed);
        }
        match at {
            None => answer.doubt("address_unsure", "it was connected before the agent looked".to_owned()),
            Some(at) if ends.iter().any(|(known, _)| known.since > at) => {
                answer.doubt("address_unsure", "that was told after it was connected".to_owned());
            }
            Some(_) => {}
        }
        let part = |text: &str| Arc::from(text.as_bytes());
        let identity = DestinationIdentity::Workload {
            cluster: part(&known.facts.cluster),
            namespace: part(&known.facts.namespace),
            kind: part(&workload.kind),
            workload: part(&workload.name),
        };
        answer.to = Some(To { identity, is_claimed });
    }

    /// All figures with their stable names, for heartbeats and metrics; none where nobody is asked.
    pub fn figures(&self) -> Vec<(&'static str, u64)> {
        if self.state == ClusterState::NotAsked {
            return Vec::new();
        }
        let PeerCounters { lists, changes, failures, refused } = self.asked;
        let silent_ns = self.silent.map_or(0, |since| self.now.since_ns(since));
        vec![
            ("peers_known", self.known.len() as u64),
            ("peers_evicted", self.evicted),
            ("peers_not_kept", self.not_kept.saturating_add(refused)),
            ("peer_lists", lists),
            ("peer_changes", changes),
            ("peer_failures", failures),
            ("peer_silent_seconds", silent_ns / SECOND_NS),
        ]
    }
}

/// What an address leads to.
struct Answer {
    to: Option<To>,
    evidence: Vec<Evidence>,
    /// Whether it may have a name.
    is_sure: bool,
}

struct To {
    identity: DestinationIdentity,
    is_claimed: bool,
}

impl Answer {
    fn say(&mut self, kind: &'static str, detail: String, confidence: Confidence) {
        // Of very many that have the address, the first tell what is the matter.
        if self.evidence.len() < 2 * NAMED {
            self.evidence.push(Evidence { kind, detail, confidence });
        }
    }

    fn hint(&mut self, kind: &'static str, detail: String) {
        self.say(kind, detail, Confidence::Declared);
    }

    fn doubt(&mut self, kind: &'static str, detail: String) {
        self.hint(kind, detail);
        self.is_sure = false;
    }
}

fn named(facts: &PeerFacts, workload: &Workload) -> String {
    format!("{}/{} {}", facts.namespace, workload.kind, workload.name)
}

fn addresses(facts: &PeerFacts) -> BTreeSet<IpAddr> {
    let external = match &facts.kind {
        PeerKind::Pod(_) => &[][..],
        PeerKind::Service(service) => &service.external,
    };
    facts.addresses.iter().chain(external).copied().collect()
}

#[cfg(test)]
#[path = "peers_tests.rs"]
mod tests;
