//! Where connections lead.

use std::sync::Arc;

use agent_common::counters::Family;
use agent_common::rings::Ring;

use super::Pipeline;
use crate::destinations::listeners::Heir;
use crate::destinations::peers::{Question, SERVICE};
use crate::destinations::{self, Holders, Route};
use crate::model::act::{Endpoint, Outcome, Protocol};
use crate::model::destination::Destination;
use crate::model::event::Party;
use crate::model::kube::ClusterNews;
use crate::model::process::{Process, ProcessKey};
use crate::model::time::BootTime;

/// A connection whose outcome is known.
pub(super) struct Ending {
    /// Cookie of its network namespace.
    pub network: u64,
    /// The address asked for.
    pub asked: Endpoint,
    /// The address connected.
    pub connected: Option<Endpoint>,
    /// The local end.
    pub local: Option<Endpoint>,
    /// How it carries what is sent.
    pub protocol: Protocol,
    /// When it was asked for.
    pub asked_at: BootTime,
    /// How it ended.
    pub outcome: Outcome,
    /// When.
    pub ended_at: Option<BootTime>,
}

impl Pipeline {
    /// What a connection leads to. Who listens is told of what was established while the agent looked: who accepted a
    /// connection of before the start may have ended since, and another listens there.
    pub(super) fn destination(&mut self, ending: &Ending, held: bool) -> Option<Arc<Destination>> {
        let Ending { network, asked, connected, local, protocol, asked_at, outcome, ended_at } = *ending;
        let metadata = destinations::metadata(connected.unwrap_or(asked));
        let peer = self.peers.find(Question {
            asked,
            connected: connected.unwrap_or(asked),
            is_tcp: matches!(protocol, Protocol::Tcp | Protocol::Mptcp),
            at: Some(asked_at).filter(|_| !held),
        });
        let is_service =
            peer.as_ref().is_some_and(|peer| peer.evidence.iter().any(|found| found.kind == SERVICE));
        if outcome == Outcome::Established
            && !held
            && let (Some(connected), Some(local), Some(established)) = (connected, local, ended_at)
            && let Some(mut destination) = self.listening(Route { network, connected, local, established })
        {
            // The address is this host's own: whoever listens answers for the service, or stands between.
            destination.evidence.extend(metadata.into_iter().flat_map(|metadata| metadata.evidence));
            destination.evidence.extend(peer.into_iter().flat_map(|peer| peer.evidence));
            if is_service {
                // Some proxies give their node the addresses of Services, and lead away what comes to them.
                (destination.identity, destination.process) = (None, None);
            }
            return Some(Arc::new(destination));
        }
        match (metadata, peer) {
            (Some(mut metadata), peer) => {
                metadata.evidence.extend(peer.into_iter().flat_map(|peer| peer.evidence));
                Some(Arc::new(metadata))
            }
            (None, peer) => peer.map(Arc::new),
        }
    }

    /// Takes what a cluster tells.
    pub fn learn_cluster(&mut self, news: ClusterNews, now: BootTime) {
        match news {
            ClusterNews::Peers(news) => {
                self.peers.at(now);
                self.peers.learn(news);
            }
            news => {
                self.attributor.pods().at(now);
                self.attributor.learn_cluster(news);
            }
        }
    }

    fn listening(&mut self, route: Route) -> Option<Destination> {
        let holders = match destinations::holders(&self.listeners, &route)? {
            Holders::Unknown(destination) => return Some(destination),
            Holders::Of(holders) => holders,
        };
        let parties = holders.iter().filter_map(|holder| {
            let process = self.table.running_at(holder.process, route.established)?;
            let cgroup = self.table.cgroup_of(holder, &process);
            let attribution = self.attributor.attribute(&process, holder, &cgroup);
            Some(Party { attribution, process })
        });
        Some(destinations::local(parties.collect()))
    }

    /// A process ended: what it made since it began to listen may hold the listener in its place, where it still runs the
    /// same program (a server that puts itself into the background).
    pub(super) fn hand_listeners_on(&mut self, from: ProcessKey, now: BootTime) {
        let held = self.listeners.held_by(from);
        if held.is_empty() || !self.table.has_made_others(from) || !self.listeners.may_seek_heirs(now) {
            return;
        }
        for (cookie, since) in held {
            let heirs = self.table.forked_by(from, since);
            let heir = |process: &Arc<Process>| Heir { process: process.key, cgroup_id: process.cgroup.id };
            self.listeners.inherit(cookie, from, heirs.iter().map(heir));
        }
    }
}

impl Pipeline {
    /// Where records of listeners were lost, those that are known may have ended, and others may listen in their place. What
    /// the bulk ring has lost is of somebody who was beyond his budget: he has blinded nobody but himself.
    pub(super) fn doubt_listeners(&mut self, now: BootTime) {
        let lost = (self.ledger.lost_in_kernel(Family::Listener), self.tracker.lost_in(Ring::Connection));
        let before = self.listeners_lost;
        // The kernel's figures and the holes are known at different times: until both have grown, neither is forgotten.
        if lost.0 > before.0 && lost.1 > before.1 {
            self.listeners_lost = lost;
            self.listeners.doubt(now);
        }
    }
}

#[cfg(test)]
#[path = "destination_tests.rs"]
mod tests;
