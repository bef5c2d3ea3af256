//! Who listens for TCP connections, by network namespace, address and port.
//!
//! It is kept what was so when: a connection is told late, and whoever listened then may have ended. What cannot be told
//! apart is not told: listeners that came after the connection, of which something was lost, or more than are kept.

use std::collections::HashMap;
use std::net::IpAddr;

use crate::capture::recent::Recent;
use crate::model::act::{Actor, Endpoint, Listen};
use crate::model::process::ProcessKey;
use crate::model::time::BootTime;

/// Listeners that are kept, those of the last minute that have ended included; one is about 300 bytes, with one holder.
pub const LISTENERS: usize = 16_384;
/// Listeners of one port of one network namespace: with `SO_REUSEPORT`, servers have one for each CPU.
pub const LISTENERS_OF_A_PORT: usize = 512;
/// Ports that are kept, those with more listeners than are kept included.
const PORTS: usize = 2 * LISTENERS;
/// Processes that are kept of one listener, and of all.
const HOLDERS: usize = 256;
const ALL_HOLDERS: usize = 65_536;
/// Ends of which the beginning may still come: the walk at the start may tell of a listener that is being closed.
const ENDS: usize = 4_096;
/// How long it is known of a listener that it was there.
const KEPT_NS: u64 = 60 * SECOND_NS;
const SECOND_NS: u64 = 1_000_000_000;
/// How often a second it is looked for what a process has made: servers that put themselves into the background are few, and
/// whoever makes such processes in a loop is not to cost more.
const SOUGHT_A_SECOND: u64 = 64;

type Port = (u64, u16);

/// A socket that listens, or did.
#[derive(Debug)]
struct Listener {
    port: Port,
    address: IpAddr,
    device: u32,
    since: BootTime,
    ended: Option<BootTime>,
    holders: Vec<Actor>,
    /// Whether there are more holders than are kept.
    more: bool,
}

/// Who listens where a connection went.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Found<'a> {
    /// These processes, all that are known to hold a socket that the connection may have come to; some may have ended.
    By(Vec<&'a Actor>),
    /// More processes, or sockets, than are kept.
    Many,
    /// Somebody, but something of who was lost.
    Unsure,
}

/// What it did and could not keep.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ListenerCounters {
    /// Listeners that are known.
    pub known: u64,
    /// Listeners, or processes that hold one, that were not kept for want of room.
    pub not_kept: u64,
    /// How often records of listeners were lost, so that those known by then are not told any more.
    pub doubted: u64,
    /// Processes that ended and held a listener, of which it was not looked for what they have made.
    pub heirs_not_sought: u64,
}

impl ListenerCounters {
    /// All figures with their names, for metrics and heartbeats.
    pub fn by_name(&self) -> [(&'static str, u64); 4] {
        let Self { known, not_kept, doubted, heirs_not_sought } = *self;
        [
            ("listeners_known", known),
            ("listeners_not_kept", not_kept),
            ("listeners_doubted", doubted),
            ("listener_heirs_not_sought", heirs_not_sought),
        ]
    }
}

/// All listeners.
pub struct Listeners {
    by_cookie: HashMap<u64, Listener>,
    /// Cookies of the listeners of a port; `None`: there are more than are kept.
    by_port: HashMap<Port, Option<Vec<u64>>>,
    /// Cookies of the listeners that a process holds.
    by_holder: HashMap<ProcessKey, Vec<u64>>,
    ends: Recent<BootTime>,
    holders: usize,
    /// How many of them have ended.
    over: usize,
    /// In which second it was looked for heirs, and how often.
    sought: (u64, u64),
    /// Up to when something was lost.
    doubted: Option<BootTime>,
    /// Up to when ended listeners were forgotten.
    forgotten: BootTime,
    counters: ListenerCounters,
}

impl Default for Listeners {
    fn default() -> Self {
        Self {
            by_cookie: HashMap::new(),
            by_port: HashMap::new(),
            by_holder: HashMap::new(),
            ends: Recent::new(ENDS),
            holders: 0,
            over: 0,
            sought: (0, 0),
            doubted: None,
            forgotten: BootTime::from_ns(0),
            counters: ListenerCounters::default(),
        }
    }
}

impl Listeners {
    /// What it did and could not keep.
    pub fn counters(&self) -> ListenerCounters {
        ListenerCounters { known: self.by_cookie.len() as u64, ..self.counters }
    }

    /// A process listens, or (`held`) has held a listener since before the start.
    pub fn begin(&mut self, time: BootTime, listen: Listen, held: bool) {
        let Listen { actor, cookie, network, bound, device } = listen;
        if self.ends.get(cookie).is_some_and(|ended| held || *ended >= time) {
            return;
        }
        if self.by_cookie.get(&cookie).is_some_and(|known| known.ended.is_some() || !held) {
            // The same socket listens anew.
            self.forget([cookie]);
        }
        if !self.by_cookie.contains_key(&cookie) {
            if !self.keep(time, cookie, (network, bound.port)) {
                return;
            }
            let listener = Listener {
                port: (network, bound.port),
                address: bound.address,
                device,
                since: time,
                ended: None,
                holders: Vec::new(),
                more: false,
            };
            self.by_cookie.insert(cookie, listener);
        }
        self.hold(cookie, actor);
    }

    /// Makes room for a listener of a port; whether there is.
    fn keep(&mut self, time: BootTime, cookie: u64, port: Port) -> bool {
        if self.by_cookie.len() >= LISTENERS && self.over > LISTENERS / 4 {
            self.forget_ended(BootTime::from_ns(u64::MAX));
        }
        let is_full = self.by_cookie.len() >= LISTENERS;
        if is_full && !self.by_port.contains_key(&port) {
            self.counters.not_kept += 1;
            return false;
        }
        let of_port = self.by_port.entry(port).or_insert_with(|| Some(Vec::new()));
        match of_port {
            Some(cookies) if !is_full && cookies.len() < LISTENERS_OF_A_PORT => {
                cookies.push(cookie);
                true
            }
            _ => {
                self.counters.not_kept += 1;
                let known = of_port.take();
                self.forget(known.into_iter().flatten());
                if self.by_port.len() > PORTS {
                    self.by_port.retain(|_, cookies| cookies.is_some());
                    self.doubt(time);
                }
                false
            }
        }
    }

    /// Forgets listeners. Of a connection that was made before the end of one, nothing is said any more.
    fn forget(&mut self, cookies: impl IntoIterator<Item = u64>) {
        for cookie in cookies {
            if let Some(ended) = self.by_cookie.get(&cookie).and_then(|listener| listener.ended) {
                self.forgotten = self.forgotten.max(ended);
                self.over -= 1;
            }
            self.remove(cookie);
        }
    }

    /// Forgets what had ended by then.
    fn forget_ended(&mut self, by: BootTime) {
        let is_over = |listener: &Listener| listener.ended.is_some_and(|ended| ended <= by);
        let over = self.by_cookie.iter().filter(|(_, listener)| is_over(listener));
        let over: Vec<u64> = over.map(|(cookie, _)| *cookie).collect();
        self.forget(over);
    }

    fn hold(&mut self, cookie: u64, actor: Actor) {
        let Some(listener) = self.by_cookie.get_mut(&cookie) else { return };
        if listener.holders.iter().any(|holder| holder.process == actor.process) {
            return;
        }
        if listener.holders.len() >= HOLDERS || self.holders >= ALL_HOLDERS {
            listener.more = true;
            self.counters.not_kept += 1;
            return;
        }
        self.by_holder.entry(actor.process).or_default().push(cookie);
        listener.holders.push(actor);
        self.holders += 1;
    }

    /// A listener was closed.
    pub fn end(&mut self, time: BootTime, cookie: u64) {
        self.ends.insert(cookie, time);
        if let Some(listener) = self.by_cookie.get_mut(&cookie)
            && listener.ended.replace(time).is_none()
        {
            self.over += 1;
        }
    }

    /// When a process that ended had begun to hold listeners, by their cookies: what it made since may hold them still.
    pub fn held_by(&self, process: ProcessKey) -> Vec<(u64, BootTime)> {
        let cookies = self.by_holder.get(&process).map(Vec::as_slice).unwrap_or_default();
        let since = |cookie: &u64| Some((*cookie, self.by_cookie.get(cookie)?.since));
        cookies.iter().filter_map(since).collect()
    }

    /// Whether it may be looked for what a process has made, which is a look at all processes.
    pub fn may_seek_heirs(&mut self, now: BootTime) -> bool {
        let second = now.ns / SECOND_NS;
        if self.sought.0 != second {
            self.sought = (second, 0);
        }
        self.sought.1 += 1;
        let may = self.sought.1 <= SOUGHT_A_SECOND;
        self.counters.heirs_not_sought += u64::from(!may);
        may
    }

    /// A process that held a listener has ended, and these, which it made, hold it in its place.
    pub fn inherit(&mut self, cookie: u64, from: ProcessKey, heirs: impl IntoIterator<Item = Heir>) {
        let Some(listener) = self.by_cookie.get_mut(&cookie).filter(|listener| listener.ended.is_none())
        else {
            return;
        };
        let Some(at) = listener.holders.iter().position(|holder| holder.process == from) else { return };
        let before = listener.holders.get(at).cloned();
        let mut heirs = heirs.into_iter().peekable();
        // Who held it last stays: that he has ended is told.
        if heirs.peek().is_some() || listener.holders.len() > 1 {
            listener.holders.remove(at);
            self.holders -= 1;
            self.let_go(from, cookie);
        }
        for Heir { process, cgroup_id } in heirs {
            if let Some(before) = &before {
                self.hold(cookie, Actor { process, tid: process.pid, cgroup_id, ..before.clone() });
            }
        }
    }

    fn let_go(&mut self, process: ProcessKey, cookie: u64) {
        if let Some(cookies) = self.by_holder.get_mut(&process) {
            cookies.retain(|other| *other != cookie);
            if cookies.is_empty() {
                self.by_holder.remove(&process);
            }
        }
    }

    fn remove(&mut self, cookie: u64) {
        let Some(listener) = self.by_cookie.remove(&cookie) else { return };
        self.holders -= listener.holders.len();
        for holder in &listener.holders {
            self.let_go(holder.process, cookie);
        }
        if let Some(Some(cookies)) = self.by_port.get_mut(&listener.port) {
            cookies.retain(|other| *other != cookie);
            if cookies.is_empty() {
                self.by_port.remove(&listener.port);
            }
        }
    }

    /// Records of listeners were lost up to now: of those that are known by now something may be wrong.
    pub fn doubt(&mut self, now: BootTime) {
        self.doubted = Some(now);
        self.counters.doubted += 1;
    }

    /// Forgets what has ended long ago.
    pub fn sweep(&mut self, now: BootTime) {
        if self.over > 0 {
            self.forget_ended(BootTime::from_ns(now.ns.saturating_sub(KEPT_NS)));
        }
    }

    /// Who listened where a connection was established at a time; `None` where nobody is known to.
    pub(super) fn at(&self, network: u64, endpoint: Endpoint, time: BootTime) -> Option<Found<'_>> {
        let Some(cookies) = self.by_port.get(&(network, endpoint.port))? else { return Some(Found::Many) };
        if time <= self.forgotten {
            return None;
        }
        let there =
            |listener: &&Listener| listener.since <= time && listener.ended.is_none_or(|ended| time <= ended);
        let listeners: Vec<&Listener> =
            cookies.iter().filter_map(|cookie| self.by_cookie.get(cookie)).filter(there).collect();
        let fit = |listener: &&Listener| fit(listener.address, endpoint.address);
        // A socket that is bound to an interface takes what comes there alone: which that is, is not known.
        let is_certain = listeners.len() == 1 || listeners.iter().all(|listener| listener.device == 0);
        let best = listeners.iter().filter_map(fit).max()?;
        let taken = |listener: &&&Listener| match fit(listener) {
            None => false,
            Some(fit) => fit == best || !is_certain,
        };
        let taken: Vec<&Listener> = listeners.iter().filter(taken).copied().collect();
        if taken.iter().any(|listener| self.doubted.is_some_and(|doubted| listener.since <= doubted)) {
            return Some(Found::Unsure);
        }
        if taken.iter().any(|listener| listener.more) {
            return Some(Found::Many);
        }
        Some(Found::By(taken.into_iter().flat_map(|listener| &listener.holders).collect()))
    }
}

/// A process that holds a listener which whoever made it held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Heir {
    /// The process.
    pub process: ProcessKey,
    /// Its cgroup.
    pub cgroup_id: u64,
}

/// How well what a socket is bound to fits an address, as the kernel weighs it (`inet_lookup_listener`): the address itself,
/// then every address of its family, then an IPv6 socket of every address for IPv4. Where that one is for IPv6 alone, nobody
/// else listens for IPv4 there, and no such connection is established.
fn fit(bound: IpAddr, address: IpAddr) -> Option<u8> {
    match (bound, address) {
        (bound, address) if bound == address => Some(2),
        (IpAddr::V4(bound), IpAddr::V4(_)) if bound.is_unspecified() => Some(1),
        (IpAddr::V6(bound), IpAddr::V6(_)) if bound.is_unspecified() => Some(1),
        (IpAddr::V6(bound), IpAddr::V4(_)) if bound.is_unspecified() => Some(0),
        _ => None,
    }
}

#[cfg(test)]
#[path = "listeners_tests.rs"]
mod tests;
