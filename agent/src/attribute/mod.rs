//! Who: from a process and its act to an identity with the evidence for it.
//!
//! [`precedence`] lists the resolvers in order. Each looks at the same [`Subject`] and says what it finds; the
//! [`Attributor`] makes one [`crate::model::identity::Attribution`] of it: the first identity that may be the key is,
//! all others are blended in. To add a kind of identity, write a file with its [`Resolver`] and name it in
//! [`precedence`].
//!
//! Whatever rests on claims alone is never the key: [`Attributor`] sees to it, not the resolvers.

mod agent;
mod attributor;
mod ci;
mod container;
pub mod containers;
mod executable;
mod human;
mod job;
#[cfg(test)]
mod job_tests;
mod kubernetes;
mod login;
#[cfg(test)]
mod login_tests;
pub mod place;
pub mod pods;
pub mod programs;
mod spiffe;
mod unit;
pub mod units;
pub mod users;

#[cfg(test)]
mod agent_tests;
#[cfg(test)]
mod tests;

pub use agent::AgentRoles;
pub use attributor::{AttributionCounters, Attributor};
pub use login::LoginServers;

use std::sync::Arc;

use crate::model::act::Actor;
use crate::model::identity::{Evidence, Identity};
use crate::model::process::{Cgroup, Process};
use crate::operator::entries::Entries;
use crate::process::inventory::HostNamespaces;
use containers::Containers;
use place::Place;
use pods::Pods;
use programs::Programs;
use units::Units;
use users::Users;

/// Who is to be told: a process, and what it was at the moment of its act.
#[derive(Clone, Copy, Debug)]
pub struct Subject<'a> {
    /// The process, with the image it ran.
    pub process: &'a Process,
    /// Users, login and namespaces at the moment of the act.
    pub actor: &'a Actor,
    /// The cgroup at the moment of the act.
    pub cgroup: &'a Cgroup,
    /// What that cgroup's path says.
    pub place: &'a Place,
    /// Names of users.
    pub users: &'a Users,
    /// What engines tell of containers.
    pub containers: &'a Containers,
    /// Entries of SPIRE, as an operator exported them.
    pub entries: &'a Entries,
    /// What files say of units.
    pub units: &'a Units,
    /// What is known of executables and agents' versions.
    pub programs: &'a Programs,
    /// The host's own namespaces.
    pub host: HostNamespaces,
    /// What a cluster tells of pods.
    pub pods: &'a Pods,
}

/// What an identity that was found may become.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// The key, if no resolver before has one.
    Key,
    /// A blended field only.
    Blended,
}

/// What a resolver found.
#[derive(Clone, Debug, Default)]
pub struct Finding {
    /// An identity that applies.
    pub identity: Option<(Identity, Standing)>,
    /// Facts for it, and facts worth telling without one.
    pub evidence: Vec<Evidence>,
}

/// Finds identities of one kind.
pub trait Resolver: Send + Sync {
    /// What there is of this kind about a subject. Pure: all it needs is in the subject.
    fn resolve(&self, subject: &Subject<'_>) -> Finding;
}

/// The resolvers, most specific first. The key is the first identity found here that may be one:
///
/// | | is the key | is blended |
/// |---|---|---|
/// | MCP server | an agent started it, or what it is a tool of | |
/// | AI agent | its program is one's, or it was started by one | by its MCP servers |
/// | workload of Kubernetes | its cgroup is a pod's, and the cluster tells of what | by an engine's file alone |
/// | container | its cgroup is named by a host's engine | |
/// | job of a build system | its runner executed it, and says so | where only the job says so |
/// | job of cron, anacron or at | it descends from what one of these executed | where it was found running |
/// | timer, system unit | its cgroup is one of the system's service manager, and its name is stable | |
/// | user unit | never: a user names these cgroups | always |
/// | human | a login uid is set, and the cgroup is a session's or no unit's | whenever a login uid is set |
/// | service account | never: a workload is more, and has one | of a pod that the cluster tells of |
/// | SPIFFE ID | never: an operator's export of entries says so | where its entry is met |
/// | executable | where nothing above is | always |
///
/// So a job of `cron.service` is `cron/alice/backup` with the unit and the human blended in; a shell over SSH is the human; what a user's
/// own service manager starts is its executable, with the unit and the human blended in: the user who names the unit
/// could otherwise borrow another unit's habits.
pub fn precedence() -> Vec<Arc<dyn Resolver>> {
    vec![
        Arc::new(agent::McpServer),
        Arc::new(agent::Agent),
        Arc::new(kubernetes::Kubernetes),
        Arc::new(container::Container),
        Arc::new(ci::Ci),
        Arc::new(job::CronJob),
        Arc::new(unit::SystemUnit),
        Arc::new(unit::UserUnit),
        Arc::new(human::Human),
        Arc::new(login::LoginEvidence),
        Arc::new(kubernetes::ServiceAccount),
        Arc::new(spiffe::Spiffe),
        Arc::new(executable::Executable),
    ]
}
