//! From the model to a batch.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::Arc;

use crate::model::act::{Endpoint, MemoryPair, Outcome, RawForm};
use crate::model::bytes::RawBytes;
use crate::model::destination::Destination;
use crate::model::event::{self, Activity, Event, EventKind, Folded, Party, What};
use crate::model::identity::{Attribution, Evidence};
use crate::model::kube::TokenOf;
use crate::model::process::{Process, ProcessKey};
use crate::model::time::ClockPair;

use super::bytes::WireAddress;
use super::rows::{self, Cgroup, Ids, Namespaces};
use super::v1::{self, Batch};
use super::{MAX_COUNTERS, MAX_EVENTS, MAX_EVIDENCE, MAX_LINEAGE, MAX_ROWS, Text, VERSION, names};

/// Who speaks: the first three parts of every event's id.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Origin {
    /// The host and its boot.
    pub host: v1::Host,
    /// Start of the agent within the boot: larger for a later start.
    pub epoch: u64,
}

/// A table of rows without duplicates.
struct Table<Row> {
    index: HashMap<Row, u32>,
}

impl<Row: Clone + Eq + Hash> Table<Row> {
    fn new() -> Self {
        Self { index: HashMap::new() }
    }

    /// Index of the row, and whether it is new. `rows` is the table itself; `index` says where each row stands.
    fn intern(&mut self, rows: &mut Vec<Row>, row: Row) -> (u32, bool) {
        let next = rows.len() as u32;
        match self.index.entry(row) {
            std::collections::hash_map::Entry::Occupied(entry) => (*entry.get(), false),
            std::collections::hash_map::Entry::Vacant(entry) => {
                rows.push(entry.key().clone());
                (*entry.insert(next), true)
            }
        }
    }
}

/// Gathers events into a batch, each shared thing once.
pub struct BatchBuilder {
    batch: Batch,
    estimated_bytes: usize,
    attributions: Table<rows::Attribution>,
    credentials: Table<Ids>,
    cgroups: Table<Cgroup>,
    namespaces: Table<Namespaces>,
    processes: Table<rows::Process>,
    /// Rows by the address of what they were made from. The values keep it alive, so that an address is not used
    /// again for another while it is a key here.
    known_attributions: HashMap<usize, (Arc<Attribution>, u32)>,
    known_processes: HashMap<usize, (Arc<Process>, u32)>,
}

/// What a batch costs before its first event, about.
const ENVELOPE_BYTES: usize = 256;
/// What an event costs beside what it names, about.
const EVENT_BYTES: usize = 260;

impl BatchBuilder {
    /// An empty batch whose first event will be `first_seq`.
    pub fn new(origin: &Origin, first_seq: u64, clock: ClockPair) -> Self {
        let batch = Batch {
            version: VERSION,
            host: origin.host.clone(),
            epoch: origin.epoch,
            first_seq,
            clock: v1::Clock { boot_ns: clock.boot.ns, unix_ns: clock.wall.unix_ns },
            attributions: Vec::new(),
            credentials: Vec::new(),
            cgroups: Vec::new(),
            namespaces: Vec::new(),
            processes: Vec::new(),
            events: Vec::new(),
        };
        Self {
            batch,
            estimated_bytes: ENVELOPE_BYTES,
            attributions: Table::new(),
            credentials: Table::new(),
            cgroups: Table::new(),
            namespaces: Table::new(),
            processes: Table::new(),
            known_attributions: HashMap::new(),
            known_processes: HashMap::new(),
        }
    }

    /// The batch so far.
    pub fn batch(&self) -> &Batch {
        &self.batch
    }

    /// About how many bytes the batch will have; above rather than below.
    pub fn estimated_bytes(&self) -> usize {
        self.estimated_bytes
    }

    /// Whether another event could exceed a limit of the format.
    pub fn is_full(&self) -> bool {
        // Who acts, another process that it is about, and the lineage.
        let rows = MAX_ROWS - MAX_LINEAGE - 2;
        self.batch.events.len() >= MAX_EVENTS
            || self.batch.processes.len() >= rows
            || self.batch.credentials.len() >= rows
            || self.batch.cgroups.len() >= rows
            || self.batch.namespaces.len() >= rows
            || self.batch.attributions.len() >= MAX_ROWS - 1
    }

    /// Adds an event. `false`, and nothing is added, where the batch [is full](Self::is_full), or `seq` is not above
    /// those before it or too far from the first.
    #[must_use]
    pub fn push(&mut self, seq: u64, event: &Event) -> bool {
        let offset = seq.checked_sub(self.batch.first_seq).and_then(|offset| u32::try_from(offset).ok());
        let Some(offset) = offset else { return false };
        if self.is_full() || self.batch.events.last().is_some_and(|last| last.offset >= offset) {
            return false;
        }
        let mut row = v1::Event {
            offset,
            boot_ns: event.time.ns,
            activity: None,
            repeat: None,
            gap: None,
            status: None,
        };
        match &event.kind {
            EventKind::Activity(activity) => row.activity = Some(Box::new(self.activity(activity))),
            EventKind::Repeat(repeat) => {
                self.estimated_bytes += repeat_bytes(repeat);
                row.repeat = Some(repeat_row(repeat));
            }
            EventKind::Gap(gap) => row.gap = Some(gap_row(gap)),
            EventKind::AgentStatus(status) => {
                let status = status_row(status);
                self.estimated_bytes += status.bytes();
                row.status = Some(Box::new(status));
            }
        }
        self.estimated_bytes += EVENT_BYTES;
        self.batch.events.push(row);
        true
    }

    fn activity(&mut self, activity: &Activity) -> v1::Activity {
        let Activity { attribution, process, actor, hook, what, why } = activity;
        let path =
            if process.cgroup.id == actor.cgroup_id { (&process.cgroup.path).into() } else { <_>::default() };
        let mut row = v1::Activity {
            who: self.attribution(attribution),
            process: self.process(process),
            tid: actor.tid,
            credentials: self.credentials.intern(&mut self.batch.credentials, (&actor.ids).into()).0,
            cgroup: self.cgroup(Cgroup { id: actor.cgroup_id, path }),
            namespaces: self.namespaces.intern(&mut self.batch.namespaces, (&actor.namespaces).into()).0,
            comm: (&actor.comm).into(),
            hook: Text::Borrowed(hook),
            lineage: why.lineage.iter().take(MAX_LINEAGE).map(|ancestor| self.process(ancestor)).collect(),
            lineage_truncated: why.lineage_truncated || why.lineage.len() > MAX_LINEAGE,
            connection: None,
            datagram: None,
            credential: None,
            update: None,
            end: None,
            raw: None,
            attempt: None,
            named: None,
            memory: None,
            key: None,
        };
        if let Some(names) = what.names() {
            self.estimated_bytes += names.claims.iter().map(|claim| claim.name.len() + 32).sum::<usize>();
        }
        match what {
            What::Connection(connection) => {
                let destination = self.destination(connection.destination.as_deref());
                row.connection = Some(connection_row(connection, destination));
            }
            What::DatagramFlow(flow) => {
                row.datagram = Some(v1::Datagram {
                    cookie: flow.cookie,
                    protocol: names::protocol(flow.protocol),
                    remote: flow.remote.into(),
                    names: (&flow.names).into(),
                });
            }
            What::CredentialAccess(access) => {
                self.estimated_bytes += both_paths(&access.path, access.other_path.as_ref());
                self.estimated_bytes += token_bytes(access.token.as_ref());
                row.credential = Some(credential_row(access));
            }
            What::ConnectionUpdate(traffic) => {
                let destination = self.destination(traffic.destination.as_deref());
                row.update = Some(traffic_row(traffic, destination));
            }
            What::ConnectionEnd(traffic) => {
                let destination = self.destination(traffic.destination.as_deref());
                row.end = Some(traffic_row(traffic, destination));
            }
            What::RawSocket(form) => row.raw = Some(raw_row(*form)),
            What::CredentialAttempt(attempt) => {
                self.estimated_bytes += both_paths(&attempt.path, attempt.other_path.as_ref());
                row.attempt = Some(attempt_row(attempt));
            }
            What::ConnectionName(event::NamedConnection { cookie, protocol, remote, names }) => {
                row.named = Some(v1::Named {
                    cookie: *cookie,
                    protocol: names::protocol(*protocol),
                    remote: (*remote).into(),
                    names: names.into(),
                });
            }
            What::MemoryAccess(event::MemoryAccess { target, way, relation, refused }) => {
                row.memory = Some(v1::Memory {
                    target: self.party(target),
                    how: names::way(*way).into(),
                    relation: names::relation(*relation).into(),
                    errno: *refused,
                });
            }
            What::KeyAccess(access) => {
                self.estimated_bytes += key_bytes(access);
                row.key = Some(key_row(access));
            }
        }
        row
    }

    fn destination(&mut self, destination: Option<&Destination>) -> Option<Box<v1::Destination>> {
        let destination = destination?;
        self.estimated_bytes += destination_bytes(Some(destination));
        let Destination { identity, evidence, confidence, process } = destination;
        Some(Box::new(v1::Destination {
            identity: identity.as_ref().map(|identity| Text::Owned(identity.to_string())),
            kind: identity.as_ref().map(|identity| names::destination_kind(identity).into()),
            confidence: identity.as_ref().map(|_| names::confidence(*confidence).into()),
            evidence: evidence.iter().take(MAX_EVIDENCE).map(Into::into).collect(),
            process: process.as_ref().map(|process| self.process(process)),
        }))
    }

    fn party(&mut self, party: &Party) -> v1::Party {
        v1::Party(self.attribution(&party.attribution), self.process(&party.process))
    }

    fn attribution(&mut self, attribution: &Arc<Attribution>) -> u32 {
        let address = Arc::as_ptr(attribution) as usize;
        if let Some((_, index)) = self.known_attributions.get(&address) {
            return *index;
        }
        let row = rows::Attribution::from(&**attribution);
        let bytes = row.bytes();
        let (index, new) = self.attributions.intern(&mut self.batch.attributions, row);
        self.estimated_bytes += if new { bytes } else { 0 };
        self.known_attributions.insert(address, (attribution.clone(), index));
        index
    }

    fn process(&mut self, process: &Arc<Process>) -> u32 {
        let address = Arc::as_ptr(process) as usize;
        if let Some((_, index)) = self.known_processes.get(&address) {
            return *index;
        }
        let credentials = self.credentials.intern(&mut self.batch.credentials, (&process.ids).into()).0;
        let namespaces = self.namespaces.intern(&mut self.batch.namespaces, (&process.namespaces).into()).0;
        let cgroup = self.cgroup(Cgroup { id: process.cgroup.id, path: (&process.cgroup.path).into() });
        let row = rows::Process::new(process, credentials, cgroup, namespaces);
        let bytes = row.bytes();
        let (index, new) = self.processes.intern(&mut self.batch.processes, row);
        self.estimated_bytes += if new { bytes } else { 0 };
        self.known_processes.insert(address, (process.clone(), index));
        index
    }

    fn cgroup(&mut self, cgroup: Cgroup) -> u32 {
        let bytes = 24 + cgroup.path.as_bytes().len();
        let (index, new) = self.cgroups.intern(&mut self.batch.cgroups, cgroup);
        self.estimated_bytes += if new { bytes } else { 0 };
        index
    }
}

/// The bytes of a batch.
///
/// # Errors
/// Only where memory for them cannot be had; the rows of version 1 have no value that MessagePack lacks.
pub fn to_bytes(batch: &Batch) -> Result<Vec<u8>, rmp_serde::encode::Error> {
    rmp_serde::to_vec_named(batch)
}

fn connection_row(
    connection: &event::Connection,
    destination: Option<Box<v1::Destination>>,
) -> v1::Connection {
    let event::Connection {
        cookie,
        protocol,
        asked,
        connected,
        local,
        outcome,
        latency_ns,
        held,
        names: said,
        destination: _,
    } = connection;
    let (name, errno, reason) = names::outcome(*outcome);
    let as_asked = *connected == Some(*asked);
    v1::Connection {
        cookie: *cookie,
        protocol: names::protocol(*protocol),
        asked: (*asked).into(),
        connected: connected.filter(|_| !as_asked).map(Into::into),
        as_asked,
        local: local.map(Into::into),
        outcome: name.into(),
        errno,
        reason: reason.map(Into::into),
        waited_ns: match outcome {
            Outcome::Unknown(crate::model::act::UnknownOutcome::TimedOut(waited)) => {
                Some(u64::try_from(waited.as_nanos()).unwrap_or(u64::MAX))
            }
            Outcome::Established | Outcome::Failed { .. } | Outcome::Unknown(_) => None,
        },
        latency_ns: *latency_ns,
        held: *held,
        names: said.into(),
        destination,
    }
}

fn traffic_row(traffic: &event::Traffic, destination: Option<Box<v1::Destination>>) -> v1::Traffic {
    let event::Traffic {
        cookie,
        protocol,
        remote,
        bytes_sent,
        bytes_received,
        duration_ns,
        errno,
        names: said,
        destination: _,
    } = traffic;
    v1::Traffic {
        cookie: *cookie,
        protocol: names::protocol(*protocol),
        remote: (*remote).into(),
        sent: *bytes_sent,
        received: *bytes_received,
        duration_ns: *duration_ns,
        errno: *errno,
        names: said.into(),
        destination,
    }
}

fn raw_row(form: RawForm) -> v1::RawSocket {
    match form {
        RawForm::Tun => v1::RawSocket { family: "tun".into(), socket_type: None, protocol: None },
        RawForm::Socket { family, socket_type, protocol } => v1::RawSocket {
            family: names::address_family(family),
            socket_type: Some(names::socket_type(socket_type)),
            protocol: Some(protocol),
        },
    }
}

fn credential_row(access: &event::CredentialAccess) -> v1::Credential {
    let event::CredentialAccess {
        credential,
        kind,
        sensitivity,
        path,
        file,
        access,
        matched_by,
        how,
        other_path,
        expected,
        token,
    } = access;
    v1::Credential {
        name: Text::Owned(credential.to_string()),
        kind: Text::Owned(kind.to_string()),
        sensitivity: *sensitivity,
        path: path.into(),
        file: file.into(),
        access: names::access(*access).into(),
        truncate: access.truncate,
        matched_by: Text::Borrowed(matched_by),
        how: Text::Borrowed(how),
        other_path: other_path.as_ref().map(Into::into),
        expected: *expected,
        token: token.as_ref().map(|token| Box::new(token_row(token))),
    }
}

fn token_row(token: &TokenOf) -> v1::TokenOf {
    let TokenOf { pod_uid, pod, service_account, own } = token;
    let owned = |text: &Arc<str>| Text::Owned(text.to_string());
    v1::TokenOf {
        of: names::token_of(*own).into(),
        pod_uid: owned(pod_uid),
        pod: pod.as_ref().map(owned),
        service_account: service_account.as_ref().map(owned),
    }
}

/// Bytes of what a connection leads to, without its process.
pub(crate) fn destination_bytes(destination: Option<&Destination>) -> usize {
    let evidence = |evidence: &Evidence| 40 + evidence.kind.len() + evidence.detail.len();
    // An identity's string nests, and is mostly short.
    destination.map_or(0, |destination| 160 + destination.evidence.iter().map(evidence).sum::<usize>())
}

/// Bytes of whose token it is.
pub(crate) fn token_bytes(token: Option<&TokenOf>) -> usize {
    let known = |text: &Option<Arc<str>>| text.as_ref().map_or(0, |text| text.len() + 20);
    token.map_or(0, |token| 60 + token.pod_uid.len() + known(&token.pod) + known(&token.service_account))
}

/// Bytes of the paths of an act on a credential.
pub(crate) fn both_paths(path: &RawBytes, other: Option<&RawBytes>) -> usize {
    path.as_bytes().len() + other.map_or(0, |other| other.as_bytes().len())
}

fn attempt_row(attempt: &event::CredentialAttempt) -> v1::Attempt {
    let event::CredentialAttempt {
        credential,
        kind,
        sensitivity,
        path,
        file,
        matched_by,
        how,
        other_path,
        errno,
    } = attempt;
    v1::Attempt {
        name: Text::Owned(credential.to_string()),
        kind: Text::Owned(kind.to_string()),
        sensitivity: *sensitivity,
        path: path.into(),
        file: file.as_ref().map(Into::into),
        matched_by: Text::Borrowed(matched_by),
        how: Text::Borrowed(how),
        other_path: other_path.as_ref().map(Into::into),
        errno: *errno,
    }
}

/// Bytes of what a key is called.
pub(crate) fn key_bytes(access: &event::KeyAccess) -> usize {
    access.name.as_ref().map_or(0, |name| name.kind.as_bytes().len() + name.description.as_bytes().len())
}

fn key_row(access: &event::KeyAccess) -> v1::Key {
    let event::KeyAccess { serial, name, refused } = access;
    let name = name.as_ref();
    v1::Key {
        serial: *serial,
        kind: name.map(|name| (&name.kind).into()),
        description: name.map(|name| (&name.description).into()),
        truncated: name.is_some_and(|name| name.truncated),
        owner: name.and_then(|name| name.owner),
        errno: *refused,
    }
}

fn repeat_row(repeat: &event::Repeat) -> v1::Repeat {
    let event::Repeat { of, count, last } = repeat;
    let mut row =
        v1::Repeat { cookie: None, remote: None, memory: None, read: None, count: *count, last_ns: last.ns };
    match of {
        Folded::Flow { cookie, remote } => {
            row.cookie = Some(*cookie);
            row.remote = Some((*remote).into());
        }
        Folded::Memory(MemoryPair { actor, target, way, refused }) => {
            let pair = |process: ProcessKey| (process.pid, process.start.ns);
            let how = names::way(*way).into();
            row.memory =
                Some(v1::Reach { actor: pair(*actor), target: target.map(pair), how, errno: *refused });
        }
        Folded::Read(read) => {
            let event::ExpectedRead { attribution, image, credential, path, euid } = &**read;
            row.read = Some(Box::new(v1::Read {
                identity: Text::Owned(attribution.identity.to_string()),
                exe: (&image.exe).into(),
                exe_file: (&image.exe_file).into(),
                credential: Text::Owned(credential.to_string()),
                path: path.into(),
                euid: *euid,
            }));
        }
    }
    row
}

/// Bytes of what was read again.
pub(crate) fn repeat_bytes(repeat: &event::Repeat) -> usize {
    match &repeat.of {
        Folded::Flow { .. } | Folded::Memory(_) => 0,
        Folded::Read(read) => both_paths(&read.path, Some(&read.image.exe)) + 2 * READ_NAMES,
    }
}

/// What the names of an identity or of an entry take for the most part.
const READ_NAMES: usize = 64;

fn gap_row(gap: &event::Gap) -> v1::Gap {
    let event::Gap { stage, cause, family, lost } = *gap;
    v1::Gap { stage: stage.into(), cause: cause.into(), family: family.map(Into::into), lost }
}

fn status_row(status: &event::AgentStatus) -> v1::Status {
    let event::AgentStatus { phase, version, capabilities, impairments, counters } = status;
    let owned = |text: &String| Text::Owned(text.clone());
    v1::Status {
        phase: Text::Borrowed(phase),
        version: Text::Borrowed(version),
        serving: capabilities
            .iter()
            .take(MAX_COUNTERS)
            .map(|(name, hook)| (owned(name), owned(hook)))
            .collect(),
        counters: counters.iter().take(MAX_COUNTERS).map(|(name, value)| (owned(name), *value)).collect(),
        impairments: impairments
            .iter()
            .take(MAX_COUNTERS)
            .map(|(cause, what)| (Text::Borrowed(cause), owned(what)))
            .collect(),
    }
}

impl From<Endpoint> for v1::Endpoint {
    fn from(endpoint: Endpoint) -> Self {
        let Endpoint { address, port, mapped } = endpoint;
        Self(WireAddress(address), port, mapped)
    }
}
