//! What is asked and answered: JSON over HTTP/1.1.
//!
//! | request | answer |
//! |---|---|
//! | `GET /v1/identities?after=KEY`, the key percent-encoded; without it the first | [`Page`] of [`Line`] |
//! | `GET /v1/identities/NAME`, the name percent-encoded | [`Line`] |
//! | `GET /v1/credentials?after=KEY` | [`Page`] of [`CredentialLine`] |
//! | `GET /v1/processes/PID` | [`Who`] |
//! | `POST /v1/decisions` with [`Decision`] | the identity as it is then |
//!
//! [`Page`]: crate::life::lines::Page
//! [`Line`]: crate::life::lines::Line
//! [`CredentialLine`]: crate::life::lines::CredentialLine
//!
//! Errors are [`Failure`], with 400 (wrong), 403 (not allowed), 404 (not known) or 503 (cannot now).

use serde::{Deserialize, Serialize};

use crate::life::record::Proof;
use crate::life::store::Decide;

/// Path of the list of identities; of one below it.
pub const IDENTITIES: &str = "/v1/identities";
/// Path of the list of credentials.
pub const CREDENTIALS: &str = "/v1/credentials";
/// Path below which processes are.
pub const PROCESSES: &str = "/v1/processes";
/// Path of decisions.
pub const DECISIONS: &str = "/v1/decisions";

/// An operator's decision.
#[derive(Debug, Serialize, Deserialize)]
pub struct Decision {
    /// Of which identity: its canonical string.
    pub identity: String,
    /// What.
    #[serde(flatten)]
    pub what: Decide,
    /// Why.
    #[serde(default)]
    pub reason: String,
}

/// Why there is no answer.
#[derive(Debug, Serialize, Deserialize)]
pub struct Failure {
    /// For people.
    pub error: String,
}

/// A running process, as the agent knows it: who it is, and who made it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Who {
    /// The process.
    #[serde(flatten)]
    pub process: Ancestor,
    /// Its arguments; secrets are redacted.
    pub argv: Vec<String>,
    /// Its cgroup.
    pub cgroup: String,
    /// Login uid, where one is set.
    pub login_uid: Option<u32>,
    /// Confidence in its identity.
    pub confidence: String,
    /// Evidence for it.
    pub evidence: Vec<Proof>,
    /// The human behind it.
    pub human: Option<String>,
    /// Other identities that apply.
    pub blended: Vec<String>,
    /// What it is in an AI agent's session.
    pub role: Option<String>,
    /// That session.
    pub agent_session: Option<String>,
    /// The number of its session in the kernel, which all that the session has started has; `None`: it is of none.
    pub tag: Option<u32>,
    /// Who owns its identity.
    pub owner: Option<String>,
    /// Who says so.
    pub owner_source: Option<String>,
    /// Selectors by which SPIRE would know it.
    pub selectors: Vec<String>,
    /// Its makers, nearest first.
    pub lineage: Vec<Ancestor>,
    /// Whether these end for another reason than that the session's root is reached.
    pub lineage_truncated: bool,
}

/// A process in a lineage.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Ancestor {
    /// Process id in the initial pid namespace.
    pub pid: u32,
    /// Real uid at its exec.
    pub uid: u32,
    /// Its executable, escaped.
    pub exe: String,
    /// Who it is.
    pub identity: String,
    /// Kind of that.
    pub identity_kind: String,
}
