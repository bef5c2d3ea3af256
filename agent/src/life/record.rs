//! What is kept of an identity, and how what was seen since is added to it.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::{Session, Sighting};
use crate::model::identity::{Attribution, Evidence, Identity};
use crate::model::time::ClockPair;
use crate::ship::wire::names;

/// Seconds of a day.
const DAY: u64 = 86_400;
/// Not seen for so long is dormant; seen again after that is a return.
pub const DORMANT_AFTER: Duration = Duration::from_secs(30 * DAY);
/// For so long a return is shown.
pub const RETURNED_FOR: Duration = Duration::from_secs(7 * DAY);

/// Sessions remembered, so that one which goes on is not counted again.
const SESSIONS: usize = 64;
/// Pieces of evidence kept.
const EVIDENCE: usize = 16;
/// Other identities kept.
const BLENDED: usize = 8;
/// Who started it: identities kept.
const STARTERS: usize = 8;
/// Bytes of one detail of evidence.
const DETAIL_BYTES: usize = 512;

/// A piece of evidence, as it is kept and shown.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Proof {
    /// What kind of fact.
    pub kind: String,
    /// The fact.
    pub detail: String,
    /// `claimed`, `declared`, `observed` or `attested`.
    pub confidence: String,
}

impl From<&Evidence> for Proof {
    fn from(evidence: &Evidence) -> Self {
        Self {
            kind: evidence.kind.to_owned(),
            detail: cut(&evidence.detail, DETAIL_BYTES).to_owned(),
            confidence: names::confidence(evidence.confidence).to_owned(),
        }
    }
}

/// What an operator has decided of an identity.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Decision {
    /// Who owns it; empty for a retirement.
    #[serde(default)]
    pub owner: String,
    /// The operator.
    pub by: String,
    /// Why, as the operator wrote it.
    #[serde(default)]
    pub reason: String,
    /// When, in nanoseconds since 1970.
    pub at_ns: i64,
}

/// An identity's life. Times are nanoseconds since 1970 (UTC).
///
/// It is kept as MessagePack with names; a field that a newer build adds is ignored by an older one.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Life {
    /// Kind of identity, as in events (`identity_kind`).
    pub kind: String,
    /// Confidence in it when it was last seen.
    pub confidence: String,
    /// First act that was seen.
    pub first_seen_ns: i64,
    /// Last act that was seen.
    pub last_seen_ns: i64,
    /// Events so far.
    pub events: u64,
    /// Credentials acquired so far.
    pub credentials: u64,
    /// Connections so far, and datagrams to a new peer.
    pub connections: u64,
    /// Sessions so far; 0 for kinds that have none.
    pub sessions: u64,
    /// Digests of the latest sessions, latest last.
    pub recent_sessions: Vec<u64>,
    /// Who started it, latest last.
    pub started_by: Vec<String>,
    /// The human behind it, when it was last seen.
    pub human: Option<String>,
    /// Other identities that applied then, most specific first.
    pub blended: Vec<String>,
    /// Evidence then.
    pub evidence: Vec<Proof>,
    /// When it came back after it had been dormant.
    pub returned_ns: Option<i64>,
    /// Who an operator said owns it.
    pub owned: Option<Decision>,
    /// That an operator retired it.
    pub retired: Option<Decision>,
    /// Who owns it, as whoever deployed it said, when it was last seen.
    pub declared_owner: Option<String>,
}

/// Where an identity is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// Seen lately.
    Active,
    /// Seen lately, for the first time after it had been dormant.
    Returned,
    /// Not seen for [`DORMANT_AFTER`].
    Dormant,
    /// An operator retired it, and it was not seen since.
    Retired,
    /// An operator retired it, and it acted since.
    RetiredActive,
}

impl State {
    /// As it is shown.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Returned => "returned",
            Self::Dormant => "dormant",
            Self::Retired => "retired",
            Self::RetiredActive => "retired, active",
        }
    }
}

/// What was seen of an identity, in the terms in which it is kept.
#[derive(Clone, Debug)]
pub struct Update {
    /// Canonical string.
    pub identity: String,
    /// What was seen; `owned` and `retired` are not.
    pub seen: Life,
}

impl Update {
    /// From what was seen. `started_by` is the nearest maker that is somebody else.
    pub fn new(sighting: &Sighting, started_by: Option<&Identity>, boot_id: &str, clocks: ClockPair) -> Self {
        let Attribution {
            identity,
            evidence,
            confidence,
            human,
            blended,
            role: _,
            owner: _,
            login: _,
            container: _,
            unit: _,
            file: _,
            agent_version: _,
        } = &*sighting.attribution;
        let mut recent: Vec<u64> =
            sighting.sessions.iter().map(|session| digest(boot_id, *session)).collect();
        recent.sort_unstable();
        let seen = Life {
            kind: names::identity_kind(identity).to_owned(),
            confidence: names::confidence(*confidence).to_owned(),
            first_seen_ns: clocks.wall_time(sighting.first).unix_ns,
            last_seen_ns: clocks.wall_time(sighting.last).unix_ns,
            events: sighting.events,
            credentials: sighting.credentials,
            connections: sighting.connections,
            sessions: recent.len() as u64,
            recent_sessions: recent,
            started_by: started_by.map(ToString::to_string).into_iter().collect(),
            human: human.as_ref().map(ToString::to_string),
            blended: blended.iter().take(BLENDED).map(ToString::to_string).collect(),
            evidence: evidence.iter().take(EVIDENCE).map(Into::into).collect(),
            declared_owner: sighting.attribution.declared_owner().map(|(owner, _)| owner.to_owned()),
            ..Life::default()
        };
        Self { identity: identity.to_string(), seen }
    }
}

impl Life {
    /// Adds what was seen since. A clock that was set back moves neither the first nor the last time forwards.
    pub fn add(&mut self, seen: &Self) {
        let absence = seen.first_seen_ns.saturating_sub(self.last_seen_ns);
        if self.events > 0 && u64::try_from(absence).is_ok_and(|ns| ns >= nanoseconds(DORMANT_AFTER)) {
            self.returned_ns = Some(seen.first_seen_ns);
        }
        if self.events == 0 {
            (self.first_seen_ns, self.last_seen_ns) = (seen.first_seen_ns, seen.last_seen_ns);
        }
        self.first_seen_ns = self.first_seen_ns.min(seen.first_seen_ns);
        self.last_seen_ns = self.last_seen_ns.max(seen.last_seen_ns);
        self.kind.clone_from(&seen.kind);
        self.confidence.clone_from(&seen.confidence);
        self.events = self.events.saturating_add(seen.events);
        self.credentials = self.credentials.saturating_add(seen.credentials);
        self.connections = self.connections.saturating_add(seen.connections);
        for session in &seen.recent_sessions {
            if !self.recent_sessions.contains(session) {
                self.sessions += 1;
                self.recent_sessions.push(*session);
            }
        }
        let beyond = self.recent_sessions.len().saturating_sub(SESSIONS);
        self.recent_sessions.drain(..beyond);
        for starter in &seen.started_by {
            self.started_by.retain(|known| known != starter);
            self.started_by.push(starter.clone());
        }
        let beyond = self.started_by.len().saturating_sub(STARTERS);
        self.started_by.drain(..beyond);
        self.human.clone_from(&seen.human);
        self.declared_owner.clone_from(&seen.declared_owner);
        self.blended.clone_from(&seen.blended);
        if !seen.evidence.is_empty() {
            self.evidence.clone_from(&seen.evidence);
        }
    }

    /// Where it is in its life at `now`.
    pub fn state(&self, now_ns: i64) -> State {
        if let Some(retired) = &self.retired {
            return if self.last_seen_ns > retired.at_ns { State::RetiredActive } else { State::Retired };
        }
        let older = |then: i64, than: Duration| {
            u64::try_from(now_ns.saturating_sub(then)).is_ok_and(|ns| ns >= nanoseconds(than))
        };
        if older(self.last_seen_ns, DORMANT_AFTER) {
            return State::Dormant;
        }
        match self.returned_ns {
            Some(returned) if !older(returned, RETURNED_FOR) => State::Returned,
            _ => State::Active,
        }
    }
}

fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// At most so many bytes of a text, whole characters.
fn cut(text: &str, bytes: usize) -> &str {
    let mut end = text.len().min(bytes);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.get(..end).unwrap_or_default()
}

/// A session of one boot, told apart from those of every other.
fn digest(boot_id: &str, session: Session) -> u64 {
    let (kind, one, other) = match session {
        // /proc tells the start in hundredths of a second, and so does the session's name.
        Session::Agent(root) => (b'a', u64::from(root.pid), root.start.ns / 10_000_000),
        Session::Login(number) => (b'l', u64::from(number), 0),
        Session::Cgroup(id) => (b'c', id, 0),
    };
    let mut hash = Sha256::new();
    hash.update([kind]);
    hash.update(one.to_le_bytes());
    hash.update(other.to_le_bytes());
    hash.update(boot_id.as_bytes());
    let hash: [u8; 32] = hash.finalize().into();
    hash.first_chunk().map_or(0, |first| u64::from_le_bytes(*first))
}
