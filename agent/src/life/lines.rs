//! What operators see of what is kept: the rows of `telltale who` and `telltale credentials`, and of their JSON.

use serde::{Deserialize, Serialize};

use super::credentials::CredentialLife;
use super::record::{Decision, Life, Proof, State};
use crate::model::identity::Owner;
use crate::ship::wire::names;

/// Rows of one answer: an answer is all in memory, three times over.
pub const PAGE: usize = 500;

/// An identity as operators see it. Times are RFC 3339, UTC.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Line {
    /// Canonical string.
    pub identity: String,
    /// Kind, as in events (`identity_kind`).
    pub kind: String,
    /// Where it is in its life.
    pub state: State,
    /// Who owns it; nobody: an orphan.
    pub owner: Option<String>,
    /// Who says so: `operator`, `registry` or `starter`.
    pub owner_source: Option<String>,
    /// Whether the owner is a person (`human/…`) whom the host's users do not know (any more).
    pub owner_unknown: bool,
    /// Confidence in the identity.
    pub confidence: String,
    /// First act that was seen.
    pub first_seen: String,
    /// Last act that was seen.
    pub last_seen: String,
    /// The same, in nanoseconds since 1970.
    pub last_seen_ns: i64,
    /// When it came back after it had been dormant.
    pub returned: Option<String>,
    /// Sessions; `None` for kinds that have none.
    pub sessions: Option<u64>,
    /// Events.
    pub events: u64,
    /// Credentials acquired.
    pub credentials: u64,
    /// Connections, and datagrams to a new peer.
    pub connections: u64,
    /// Who started it, latest last.
    pub started_by: Vec<String>,
    /// The human behind it.
    pub human: Option<String>,
    /// Other identities that applied.
    pub blended: Vec<String>,
    /// Evidence.
    pub evidence: Vec<Proof>,
    /// What an operator said of its owner.
    pub owned: Option<Decision>,
    /// That an operator retired it.
    pub retired: Option<Decision>,
}

impl Line {
    /// Of an identity's life at `now`. Whether its owner is known is left open: that the host's users tell.
    pub(super) fn new(identity: String, life: Life, owner: Option<Owner>, now: i64) -> Self {
        let has_sessions = !matches!(life.kind.as_str(), "executable" | "namespaced_executable");
        Self {
            identity,
            state: life.state(now),
            owner_source: owner.as_ref().map(|owner| names::owner_source(owner.source).to_owned()),
            owner: owner.map(|owner| owner.name.to_string()),
            owner_unknown: false,
            first_seen: rfc3339(life.first_seen_ns),
            last_seen: rfc3339(life.last_seen_ns),
            last_seen_ns: life.last_seen_ns,
            returned: life.returned_ns.map(rfc3339),
            sessions: has_sessions.then_some(life.sessions),
            kind: life.kind,
            confidence: life.confidence,
            events: life.events,
            credentials: life.credentials,
            connections: life.connections,
            started_by: life.started_by,
            human: life.human,
            blended: life.blended,
            evidence: life.evidence,
            owned: life.owned,
            retired: life.retired,
        }
    }
}

/// A credential as operators see it: never what is in it. Times are RFC 3339, UTC.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct CredentialLine {
    /// Name of the catalogue's entry.
    pub credential: String,
    /// Its kind.
    pub kind: String,
    /// How bad its loss would be, 1 to 5.
    pub sensitivity: u8,
    /// `host`, the container's identity, or `elsewhere`: another mount namespace.
    pub scope: String,
    /// Path there.
    pub path: String,
    /// Permissions, as `0600`.
    pub mode: String,
    /// Last change of the file: no part of the credential is younger.
    pub changed: Option<String>,
    /// The same, in nanoseconds since 1970.
    pub changed_ns: i64,
    /// First act on it that was seen.
    pub first_seen: String,
    /// Last act on it that was seen.
    pub last_used: String,
    /// The same, in nanoseconds since 1970.
    pub last_used_ns: i64,
    /// Descriptors of it that somebody came by.
    pub uses: u64,
    /// Attempts that were refused.
    pub refused: u64,
    /// Who uses it, latest first.
    pub users: Vec<CredentialUser>,
    /// Uses by identities beyond these.
    pub more_users: u64,
    /// Whether several identities use it.
    pub shared: bool,
    /// `standing`, or `time_bound`: it was seen to be replaced every few days.
    pub lifetime: String,
    /// How often it was seen to be replaced or emptied.
    pub rotations: u64,
    /// The last time.
    pub rotated: Option<String>,
    /// Whether it was not used for 90 days.
    pub stale: bool,
}

impl CredentialLine {
    /// Of a credential's life at `now`.
    pub(super) fn new(life: CredentialLife, now: i64) -> Self {
        let users = life.users.iter().rev().map(|user| CredentialUser {
            identity: user.identity.clone(),
            uses: user.uses,
            last: rfc3339(user.last_ns),
        });
        Self {
            users: users.collect(),
            mode: format!("{:04o}", life.mode & 0o7777),
            changed: (life.changed_ns > 0).then(|| rfc3339(life.changed_ns)),
            changed_ns: life.changed_ns,
            first_seen: rfc3339(life.first_seen_ns),
            last_used: rfc3339(life.last_used_ns),
            last_used_ns: life.last_used_ns,
            shared: life.is_shared(),
            lifetime: if life.is_time_bound() { "time_bound" } else { "standing" }.to_owned(),
            stale: life.is_stale(now),
            rotations: life.rotations,
            rotated: life.rotated_ns.last().copied().map(rfc3339),
            credential: life.credential,
            kind: life.kind,
            sensitivity: life.sensitivity,
            scope: life.scope,
            path: life.path,
            uses: life.uses,
            refused: life.refused,
            more_users: life.more_users,
        }
    }
}

/// Who uses a credential.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct CredentialUser {
    /// Canonical string.
    pub identity: String,
    /// How often.
    pub uses: u64,
    /// The last time.
    pub last: String,
}

/// Some of many, in the order of their keys.
#[derive(Debug, Serialize, Deserialize)]
pub struct Page<T> {
    /// These.
    pub lines: Vec<T>,
    /// Behind which key there may be more; `None`: these were the last.
    pub next: Option<String>,
}

impl<T> Page<T> {
    pub(super) fn of<R>(rows: Vec<(String, R)>, line: impl Fn(String, R) -> T) -> Self {
        let next = rows.last().filter(|_| rows.len() >= PAGE).map(|(key, _)| key.clone());
        Self { lines: rows.into_iter().map(|(key, row)| line(key, row)).collect(), next }
    }
}

fn rfc3339(unix_ns: i64) -> String {
    // Every time in nanoseconds that fits an i64 is within jiff's range.
    jiff::Timestamp::from_nanosecond(unix_ns.into()).map(|time| format!("{time:.3}")).unwrap_or_default()
}
