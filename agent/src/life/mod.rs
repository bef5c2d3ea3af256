//! The lives of identities: first and last seen, sessions, owner, who started whom; and when one ends.
//!
//! [`Sightings`] counts on the event path, in memory: one [`Sighting`] for each identity since the last time they were
//! taken. The loop takes them every few seconds and hands them to the [`store`], a thread with a database of its own, which
//! adds them to what is known ([`record::Life`]), keeps what an operator decides, and answers questions. The event path
//! waits for none of it.

pub mod credentials;
pub mod database;
pub mod lines;
pub mod owners;
pub mod record;
pub mod store;

#[cfg(test)]
pub(crate) mod tests;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use crate::model::event::{Activity, Event, EventKind, Folded, Repeat, What};
use crate::model::identity::{Attribution, Identity};
use crate::model::process::{Process, ProcessKey};
use crate::model::time::{BootTime, ClockPair};
use credentials::{CredentialLife, CredentialSightings};

/// Identities between two takings; further ones are counted, and are met again when they act again.
const IDENTITIES: usize = 16_384;
/// Sessions of one identity between two takings; further ones are not counted.
const SESSIONS: usize = 64;
/// Ancestors kept for the question who started it.
const ANCESTORS: usize = 8;

/// What one session of an identity is told apart by, within one boot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Session {
    /// A run of an AI agent: the process that began it.
    Agent(ProcessKey),
    /// A login: its audit session.
    Login(u32),
    /// A start of a unit or a container: its cgroup.
    Cgroup(u64),
}

/// What was seen of an identity since the last time.
#[derive(Clone, Debug)]
pub struct Sighting {
    /// Who, with the evidence as it was last.
    pub attribution: Arc<Attribution>,
    /// Its first act.
    pub first: BootTime,
    /// Its last act.
    pub last: BootTime,
    /// Events, a repeat by its count.
    pub events: u64,
    /// Credentials acquired.
    pub credentials: u64,
    /// Connections, and datagrams to a new peer.
    pub connections: u64,
    /// Sessions in which it acted.
    pub sessions: HashSet<Session>,
    /// Makers of the process that acted first, nearest first.
    pub lineage: Vec<Arc<Process>>,
}

impl Sighting {
    fn new(activity: &Activity, time: BootTime) -> Self {
        Self {
            attribution: activity.attribution.clone(),
            first: time,
            last: time,
            events: 0,
            credentials: 0,
            connections: 0,
            sessions: HashSet::new(),
            lineage: activity.why.lineage.iter().take(ANCESTORS).cloned().collect(),
        }
    }

    fn add(&mut self, activity: &Activity, time: BootTime) {
        self.first = self.first.min(time);
        if time >= self.last {
            self.last = time;
            self.attribution.clone_from(&activity.attribution);
        }
        self.events += 1;
        match &activity.what {
            What::CredentialAccess(_) => self.credentials += 1,
            What::Connection(_) | What::DatagramFlow(_) => self.connections += 1,
            _ => {}
        }
        if let Some(session) = session(activity)
            && self.sessions.len() < SESSIONS
        {
            self.sessions.insert(session);
        }
    }
}

/// In which session of its identity somebody acts. Executables have none: each process would be one.
fn session(activity: &Activity) -> Option<Session> {
    match &activity.attribution.identity {
        Identity::Agent { .. } | Identity::McpServer { .. } => {
            let role = activity.attribution.role.as_ref()?;
            Some(Session::Agent(role.session.root))
        }
        Identity::Human { .. } => activity.actor.ids.session_id.map(Session::Login),
        Identity::SystemUnit { .. }
        | Identity::UserUnit { .. }
        | Identity::Container { .. }
        | Identity::Image { .. }
        | Identity::Compose { .. }
        | Identity::Kubernetes { .. }
        | Identity::Timer { .. } => Some(Session::Cgroup(activity.actor.cgroup_id)),
        // A run of a job has no number of its own: a cgroup or an audit session that it has is cron's, or the runner's.
        Identity::CronJob { .. }
        | Identity::AtJob { .. }
        | Identity::CiJob { .. }
        | Identity::Spiffe { .. }
        | Identity::ServiceAccount { .. }
        | Identity::Executable { .. }
        | Identity::NamespacedExecutable { .. } => None,
    }
}

/// Who was seen since the last time. Pure: no clock, no IO.
#[derive(Debug)]
pub struct Sightings {
    seen: HashMap<Identity, Sighting>,
    turned_away: u64,
    credentials: CredentialSightings,
    host_mount: u32,
}

impl Sightings {
    /// Nobody was seen yet. `host_mount` is the host's mount namespace.
    pub fn new(host_mount: u32) -> Self {
        Self { seen: HashMap::new(), turned_away: 0, credentials: CredentialSightings::default(), host_mount }
    }

    /// Takes note of who acts in an event.
    pub fn event(&mut self, event: &Event) {
        match &event.kind {
            EventKind::Activity(activity) => {
                self.activity(activity, event.time);
                self.credentials.activity(activity, event.time, self.host_mount);
            }
            EventKind::Repeat(Repeat { of: Folded::Read(read), count, last }) => {
                self.credentials.repeated(read, *count, *last);
                self.repeated(&read.attribution, *count, *last);
            }
            EventKind::Repeat(_) | EventKind::Gap(_) | EventKind::AgentStatus(_) => {}
        }
    }

    /// Expected reads that were counted and not told each.
    fn repeated(&mut self, attribution: &Arc<Attribution>, count: u64, last: BootTime) {
        if let Some(sighting) = self.seen.get_mut(&attribution.identity) {
            sighting.events += count;
            sighting.credentials += count;
            sighting.last = sighting.last.max(last);
            return;
        }
        if self.seen.len() >= IDENTITIES {
            self.turned_away += count;
            return;
        }
        let sighting = Sighting {
            attribution: attribution.clone(),
            first: last,
            last,
            events: count,
            credentials: count,
            connections: 0,
            sessions: HashSet::new(),
            lineage: Vec::new(),
        };
        self.seen.insert(attribution.identity.clone(), sighting);
    }

    fn activity(&mut self, activity: &Activity, time: BootTime) {
        let identity = &activity.attribution.identity;
        if let Some(sighting) = self.seen.get_mut(identity) {
            sighting.add(activity, time);
            return;
        }
        if self.seen.len() >= IDENTITIES {
            self.turned_away += 1;
            return;
        }
        let mut sighting = Sighting::new(activity, time);
        sighting.add(activity, time);
        self.seen.insert(identity.clone(), sighting);
    }

    /// All of them; from now on nobody was seen.
    pub fn take(&mut self) -> Vec<Sighting> {
        // The table is kept only where there were few: what a flood of identities took is given back.
        if self.seen.capacity() > 4_096 {
            return std::mem::take(&mut self.seen).into_values().collect();
        }
        self.seen.drain().map(|(_, sighting)| sighting).collect()
    }

    /// Credentials that were used since the last time, by their keys in the store.
    pub fn take_credentials(&mut self, clocks: ClockPair) -> Vec<(String, CredentialLife)> {
        self.credentials.take(clocks)
    }

    /// Events whose identity or credential was not noted, because there were too many between two takings.
    pub const fn turned_away(&self) -> u64 {
        self.turned_away + self.credentials.turned_away()
    }
}
