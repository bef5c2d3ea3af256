//! Where connections lead.

use std::sync::Arc;

use super::Pipeline;
use crate::destinations::listeners::Heir;
use crate::destinations::{self, Peers, Route};
use crate::model::act::{Endpoint, Outcome};
use crate::model::destination::Destination;
use crate::model::event::Party;
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
    /// How it ended.
    pub outcome: Outcome,
    /// When.
    pub ended_at: Option<BootTime>,
}

impl Pipeline {
    /// What a connection leads to. Who listens is told of what was established while the agent looked: who accepted a
    /// connection of before the start may have ended since, and another listens there.
    pub(super) fn destination(&mut self, ending: &Ending, held: bool) -> Option<Arc<Destination>> {
        let Ending { network, asked, connected, local, outcome, ended_at } = *ending;
        let metadata = destinations::metadata(connected.unwrap_or(asked));
        if outcome == Outcome::Established
            && !held
            && let (Some(connected), Some(local), Some(established)) = (connected, local, ended_at)
            && let Some(mut destination) = self.listening(Route { network, connected, local, established })
        {
            // The address is this host's own: whoever listens answers for the service, or stands between.
            destination.evidence.extend(metadata.into_iter().flat_map(|metadata| metadata.evidence));
            return Some(Arc::new(destination));
        }
        metadata.map(Arc::new)
    }

    fn listening(&mut self, route: Route) -> Option<Destination> {
        let holders = match destinations::peers(&self.listeners, &route)? {
            Peers::Unknown(destination) => return Some(destination),
            Peers::Of(holders) => holders,
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
    pub(super) fn hand_listeners_on(&mut self, from: ProcessKey) {
        for (cookie, since) in self.listeners.held_by(from) {
            let heirs = self.table.forked_by(from, since);
            let heir = |process: &Arc<Process>| Heir { process: process.key, cgroup_id: process.cgroup.id };
            self.listeners.inherit(cookie, from, heirs.iter().map(heir));
        }
    }
}

#[cfg(test)]
#[path = "destination_tests.rs"]
mod tests;
