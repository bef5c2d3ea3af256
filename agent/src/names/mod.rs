//! Names of destinations: what DNS servers answered, what ClientHellos ask for, and which of it to believe.
//!
//! An answer is kept for the network namespace of the socket that it came to, by cookie, until its time to live is over. It is a resolver's if the
//! host is configured with that server ([`Resolvers`]), else a stranger's: kept apart, so that strangers can neither
//! speak for a resolver nor push out what one said. There is no IO and no clock here.

pub mod cache;
pub mod dns;
mod hello;
pub mod resolvers;
pub mod tls;

use std::fmt::Write as _;
use std::sync::Arc;

use crate::capture::recent::Recent;
use crate::model::act::{Actor, DnsAnswer, HelloPiece};
use crate::model::name::{Claim, Names, Source};
use crate::model::time::BootTime;
use cache::{Cache, Entry, Key};
use hello::Hellos;
use resolvers::Resolvers;

/// Addresses of which a resolver's names are kept, over all network namespaces; an entry is about 200 bytes.
pub const RESOLVED_ADDRESSES: usize = 32_768;
/// Addresses of which strangers' names are kept.
pub const STRANGE_ADDRESSES: usize = 4_096;
/// Claims that one event carries.
pub const CLAIMS: usize = 4;
/// Connections whose ClientHello came before their outcome.
const PARKED: usize = 1_024;

/// What became of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// Its addresses are known.
    Kept,
    /// It has no addresses: another question, or a refusal.
    NoAddress,
    /// It cannot be read.
    Unreadable,
    /// The socket is of another network than whoever used it: what is said there says nothing here.
    OfAnotherNetwork,
}

/// All that is known of names.
pub struct NameTable {
    resolved: Cache,
    strange: Cache,
    resolvers: Box<dyn Resolvers>,
    hellos: Hellos,
    parked: Recent<Arc<str>>,
}

impl NameTable {
    /// Nothing known yet.
    pub fn new(resolvers: Box<dyn Resolvers>) -> Self {
        Self {
            resolved: Cache::new(RESOLVED_ADDRESSES),
            strange: Cache::new(STRANGE_ADDRESSES),
            resolvers,
            hellos: Hellos::default(),
            parked: Recent::new(PARKED),
        }
    }

    /// Takes an answer.
    pub fn answer(&mut self, time: BootTime, answer: &DnsAnswer) -> Fate {
        let DnsAnswer { asker, server, network_inode, network, message, cookie: _ } = answer;
        if asker.namespaces.network != *network_inode {
            return Fate::OfAnotherNetwork;
        }
        let Ok(read) = dns::read(message.as_bytes()) else { return Fate::Unreadable };
        if read.addresses.is_empty() {
            return Fate::NoAddress;
        }
        let server = server.address;
        let cache = if self.resolvers.is_configured(asker, *network, server) {
            &mut self.resolved
        } else {
            &mut self.strange
        };
        for (address, time_to_live) in read.addresses {
            let entry = Entry::new(read.name.clone(), server, asker.process, time, time_to_live);
            cache.learn((*network, address), time, entry);
        }
        Fate::Kept
    }

    /// What is said of an address of a network (by its cookie), which `actor` reaches at `time`.
    pub fn of(&self, time: BootTime, actor: &Actor, key: Key) -> Names {
        let claims = |cache: &Cache, source| {
            let found = cache.find(key, time, actor.process);
            let claim =
                move |entry: &Entry| Claim { name: entry.name.clone(), source, server: Some(entry.server) };
            found.into_iter().map(claim).collect::<Vec<_>>()
        };
        let mut all = claims(&self.resolved, Source::Resolver);
        let destination = all.first().map(|claim| claim.name.clone());
        all.extend(claims(&self.strange, Source::Stranger));
        all.truncate(CLAIMS);
        Names { destination, claims: all }
    }

    /// Takes a piece of a ClientHello; its server name, once it is whole and has one.
    pub fn hello(&mut self, piece: &HelloPiece) -> Option<Arc<str>> {
        self.hellos.take(piece)
    }

    /// Keeps a server name whose connection was not told yet.
    pub fn park(&mut self, cookie: u64, name: Arc<str>) {
        self.parked.insert(cookie, name);
    }

    /// The server name that was kept for a connection.
    pub fn unpark(&mut self, cookie: u64) -> Option<Arc<str>> {
        self.parked.remove(cookie)
    }

    /// Adds a ClientHello's server name to what is said of a connection; whether that is another name than the
    /// destination's.
    pub fn add_hello(
        &self,
        names: &mut Names,
        name: &Arc<str>,
        time: BootTime,
        actor: &Actor,
        key: Key,
    ) -> bool {
        let told = names.destination.as_ref() == Some(name);
        let supported =
            self.resolved.find(key, time, actor.process).into_iter().find(|entry| entry.name == *name);
        if let Some(entry) = supported.filter(|_| !told) {
            let claim = Claim { name: name.clone(), source: Source::Resolver, server: Some(entry.server) };
            names.claims.retain(|other| other.source != Source::Resolver || other.name != *name);
            names.claims.insert(0, claim);
            names.destination = Some(name.clone());
        }
        names.claims.truncate(CLAIMS - 1);
        names.claims.push(Claim { name: name.clone(), source: Source::Hello, server: None });
        !told
    }

    /// Addresses whose names are known: a resolver's, strangers'.
    pub fn len(&self) -> (usize, usize) {
        (self.resolved.len(), self.strange.len())
    }

    /// Addresses and names that had to go for want of room: a resolver's, strangers'.
    pub const fn evicted(&self) -> (u64, u64) {
        (self.resolved.evicted(), self.strange.evicted())
    }

    /// ClientHellos that were given up: unfinished when there was no more room.
    pub const fn hellos_evicted(&self) -> u64 {
        self.hellos.evicted()
    }
}

/// Writes bytes of a name in lower case. What is not printable ASCII, a backslash, and what is told to be escaped is
/// written as `\DDD`.
fn push_text(out: &mut String, bytes: &[u8], escape: &[u8]) {
    for byte in bytes {
        match byte {
            b'!'..=b'~' if *byte != b'\\' && !escape.contains(byte) => {
                out.push(char::from(byte.to_ascii_lowercase()));
            }
            // Writing to a string does not fail.
            _ => drop(write!(out, "\\{byte:03}")),
        }
    }
}

#[cfg(test)]
#[path = "names_tests.rs"]
mod tests;
