//! Destinations: what is at the other end of a connection.
//!
//! Who listens on this host is known by the sockets that listen ([`listeners`]), the metadata services of clouds by their
//! addresses (`metadata`), pods and Services of a cluster by what it tells of theirs ([`peers`]). Who listens is looked up when a connection's outcome is known, for the moment at which it was
//! established. There is no IO and no clock here.

pub mod listeners;
mod metadata;
pub mod peers;

use std::net::IpAddr;

use listeners::{Found, Listeners};

use crate::model::act::{Actor, Endpoint};
use crate::model::destination::{Destination, DestinationIdentity};
use crate::model::event::Party;
use crate::model::identity::{Confidence, Evidence};
use crate::model::time::BootTime;

/// The host's first process: where it is the service manager, it listens for services that it starts when somebody comes.
const INIT: u32 = 1;

/// A connection that was established, as far as it tells where it leads.
#[derive(Clone, Copy, Debug)]
pub struct Route {
    /// Cookie of the network namespace.
    pub network: u64,
    /// The address connected.
    pub connected: Endpoint,
    /// The local end.
    pub local: Endpoint,
    /// When.
    pub established: BootTime,
}

impl Route {
    /// Whether it leads to the network namespace that it comes from: to loopback, or to an address that it has itself as its
    /// own. To an address of its own the kernel sends from that very address.
    fn is_within(&self) -> bool {
        self.connected.address.is_loopback() || self.connected.address == self.local.address
    }
}

/// Who may listen at the other end of a connection.
#[derive(Debug)]
pub enum Holders {
    /// These processes, each of which may have ended.
    Of(Vec<Actor>),
    /// It is somebody on this host, of whom this is all that can be said.
    Unknown(Destination),
}

/// Who listens on this host where a connection leads; `None` where it does not lead there, or nobody is known to listen.
pub fn holders(listeners: &Listeners, route: &Route) -> Option<Holders> {
    if !route.is_within() {
        return None;
    }
    let found = listeners.at(route.network, route.connected, route.established)?;
    Some(match found {
        Found::By(holders) if holders.iter().all(|holder| holder.process.pid == INIT) => {
            Holders::Unknown(unknown("listener_init", "the service manager listens, and hands what comes on"))
        }
        Found::By(holders) => {
            Holders::Of(holders.into_iter().filter(|holder| holder.process.pid != INIT).cloned().collect())
        }
        Found::Many => {
            Holders::Unknown(unknown("listener_shared", "more sockets or processes than are kept"))
        }
        Found::Unsure => Holders::Unknown(unknown("listener_unsure", "records of who listens were lost")),
    })
}

fn unknown(kind: &'static str, detail: &str) -> Destination {
    Destination {
        identity: None,
        evidence: vec![Evidence { kind, detail: detail.to_owned(), confidence: Confidence::Observed }],
        confidence: Confidence::Observed,
        process: None,
    }
}

/// The processes that listen and have not ended, as one destination: with an identity where all have the same.
pub fn local(mut parties: Vec<Party>) -> Destination {
    parties.sort_by_key(|party| party.process.key.start);
    let Some(first) = parties.first() else {
        return unknown("listener_ended", "whoever began to listen has ended, and left it to another");
    };
    let identity = &first.attribution.identity;
    if parties.iter().any(|party| party.attribution.identity != *identity) {
        let mut identities: Vec<String> =
            parties.iter().map(|party| party.attribution.identity.to_string()).collect();
        identities.sort_unstable();
        identities.dedup();
        identities.truncate(NAMED);
        return unknown("listener_shared", &identities.join(" "));
    }
    let exe = &first.process.image.exe;
    let others = match parties.len() {
        1 => String::new(),
        number => format!(", the first of {number}"),
    };
    let detail = format!("pid {}{} {exe}", first.process.key.pid, others);
    let confidence = first.attribution.confidence.min(Confidence::Observed);
    Destination {
        identity: Some(DestinationIdentity::Local(identity.clone())),
        evidence: vec![Evidence { kind: "listener", detail, confidence: Confidence::Observed }],
        confidence,
        process: Some(first.process.clone()),
    }
}

/// Identities that are named of a listener that several have.
const NAMED: usize = 8;

/// A metadata service, by its address.
pub fn metadata(endpoint: Endpoint) -> Option<Destination> {
    let service = metadata::service_at(endpoint)?;
    let shown = match endpoint.address {
        IpAddr::V4(address) => format!("{address}:{}", endpoint.port),
        IpAddr::V6(address) => format!("[{address}]:{}", endpoint.port),
    };
    let evidence = Evidence { kind: "metadata_address", detail: shown, confidence: Confidence::Observed };
    Some(Destination {
        identity: Some(DestinationIdentity::Metadata(service)),
        evidence: vec![evidence],
        confidence: Confidence::Observed,
        process: None,
    })
}
