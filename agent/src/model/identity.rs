//! Identities: who acts, as one stable name with the evidence for it.

use std::sync::Arc;

use super::container::InContainer;
use super::image::Repository;
use super::process::{AgentRole, Login};
use super::program::FileFacts;
use super::spiffe::SpiffeId;
use super::unit::InUnit;

/// How far a piece of evidence may be relied upon, weakest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Confidence {
    /// Written by the one it speaks of: a name, an environment variable, a cgroup below a delegation point.
    Claimed,
    /// Said by an operator or a local API, not seen.
    Declared,
    /// Seen by the kernel: an inode, a cgroup above any delegation, a login uid.
    Observed,
    /// Proven by an authority: an engine or an attestor that confirms it.
    Attested,
}

/// A reason to believe an identity.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Evidence {
    /// What kind of fact (`cgroup`, `login_uid`, `exe`).
    pub kind: &'static str,
    /// The fact itself, escaped text.
    pub detail: String,
    /// How far to rely on it.
    pub confidence: Confidence,
}

/// Who acted, why that is believed, and how firmly.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attribution {
    /// The most specific identity: the key of baselines and of the kill-switch.
    pub identity: Identity,
    /// Evidence for `identity`, best first.
    pub evidence: Vec<Evidence>,
    /// Confidence in `identity`: that of the best evidence, but where the most telling part of the name is only claimed.
    pub confidence: Confidence,
    /// The human behind it, where a login is known.
    pub human: Option<Identity>,
    /// All other identities that apply, most specific first.
    pub blended: Vec<Identity>,
    /// What it is in an AI agent's session.
    pub role: Option<Arc<AgentRole>>,
    /// The container it is in, and what its engine keeps of it.
    pub container: Option<Arc<InContainer>>,
    /// The login that it is in.
    pub login: Option<Arc<Login>>,
    /// Who owns `identity`; nobody: it is an orphan.
    pub owner: Option<Owner>,
    /// The system's unit that it is in, and what its files say.
    pub unit: Option<Arc<InUnit>>,
    /// What was found of the executable; `None`: nothing, or nothing yet.
    pub file: Option<Arc<FileFacts>>,
    /// Version of the AI agent, as its package says.
    pub agent_version: Option<Arc<str>>,
}

impl Attribution {
    /// Who owns `identity`, as whoever deployed it says: the file of its unit, an annotation or label of its pod. They say so of
    /// the unit and of the workload alone, not of all that runs there.
    pub fn declared_owner(&self) -> Option<(&str, OwnerSource)> {
        match self.identity {
            Identity::SystemUnit { .. } | Identity::Timer { .. } => {
                let owner = self.unit.as_ref()?.facts.as_ref()?.owner.as_deref()?;
                Some((owner, OwnerSource::Unit))
            }
            Identity::Kubernetes { .. } => {
                let owner = self.container.as_ref()?.kube.as_ref()?.owner.as_deref()?;
                Some((owner, OwnerSource::Workload))
            }
            _ => None,
        }
    }
}

/// Who answers for an identity, and who says so.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Owner {
    /// `human/alice`, a team, an address.
    pub name: Arc<str>,
    /// Who says so.
    pub source: OwnerSource,
}

/// Who says who owns an identity, most binding first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum OwnerSource {
    /// An operator (`telltale who own`).
    Operator,
    /// A rule of an operator's, about what it was known by.
    Rule,
    /// The registry of owners, a file.
    Registry,
    /// The file of its unit.
    Unit,
    /// Whoever deployed it: a label or an annotation of its pod.
    Workload,
    /// Nobody else: it is the human who logged in and started it.
    Starter,
}

/// An identity: one stable name for who acts. Its `Display` is its canonical string and
/// [`str::parse`] reads it back; the grammar is in [`super::canonical`].
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Identity {
    /// `human/alice`; `human/uid%3A1000` where the user has no name.
    Human {
        /// User name, or `uid:1000` where no name is known (no name of a user database holds a `:`).
        user: Arc<[u8]>,
    },
    /// `svc/nginx`: a unit of the system's service manager.
    SystemUnit {
        /// Unit name without its `.service` suffix; other suffixes are kept.
        unit: Arc<[u8]>,
    },
    /// `user-svc/alice/syncthing`: a unit of a user's own service manager. The user is known, the unit's name is
    /// what the user says.
    UserUnit {
        /// The user, as in [`Identity::Human`].
        user: Arc<[u8]>,
        /// Unit name, as in [`Identity::SystemUnit`].
        unit: Arc<[u8]>,
    },
    /// `agent/claude-code@human/alice`: an AI agent, and what it runs.
    Agent {
        /// Which agent.
        product: Arc<[u8]>,
        /// Who runs it.
        runner: Runner,
    },
    /// `mcp/%40modelcontextprotocol%2Fserver-git/of/agent/claude-code@human/alice`: a server that speaks MCP to an
    /// agent, and what it runs.
    McpServer {
        /// Its package, or its program's name.
        server: Arc<[u8]>,
        /// Which agent.
        product: Arc<[u8]>,
        /// Who runs the agent.
        runner: Runner,
    },
    /// `container/docker/<id>`: by engine and id, where no engine tells the image. An image's repository never
    /// begins with a bare engine name: its first segment is a registry host.
    Container {
        /// The engine as the cgroup names it (`docker`, `podman`, `containerd`, `crio`, `nspawn`, `lxc`): never what a
        /// registry's host may be ([`super::image::is_host`]).
        engine: Arc<[u8]>,
        /// Container id or machine name.
        id: Arc<[u8]>,
    },
    /// `container/docker.io/library/redis`: by the repository of its image, whatever the tag.
    Image {
        /// The whole repository.
        repository: Repository,
    },
    /// `container/compose/shop/db`: a service of a compose project.
    Compose {
        /// The project.
        project: Arc<[u8]>,
        /// The service.
        service: Arc<[u8]>,
    },
    /// `spiffe/example.org/ns/shop/sa/web`: the SPIFFE ID `spiffe://example.org/ns/shop/sa/web`. Blended in only.
    Spiffe {
        /// The ID.
        id: SpiffeId,
    },
    /// `k8s/production/shop/deployment/web/nginx`: a container of a workload of a Kubernetes cluster.
    Kubernetes {
        /// The cluster's name.
        cluster: Arc<[u8]>,
        /// Its namespace.
        namespace: Arc<[u8]>,
        /// Kind of the workload, in lower case.
        kind: Arc<[u8]>,
        /// Its name.
        workload: Arc<[u8]>,
        /// The container's name in the pod.
        container: Arc<[u8]>,
    },
    /// `k8s-sa/production/shop/web`: the service account that a pod runs as. Blended in only.
    ServiceAccount {
        /// The cluster's name.
        cluster: Arc<[u8]>,
        /// Its namespace.
        namespace: Arc<[u8]>,
        /// Its name.
        account: Arc<[u8]>,
    },
    /// `exe/usr/local/bin/sync@uid:1000`; `exe@uid:1000` where the executable is not known.
    Executable {
        /// Path of the executable, from the host's root mount.
        path: Arc<[u8]>,
        /// Real uid.
        uid: u32,
    },
    /// `exe-ns/<hash>`: an executable of another mount namespace.
    NamespacedExecutable {
        /// Digest of what tells it apart, in hex.
        hash: Arc<str>,
    },
    /// `timer/certbot`: what a timer of the system's service manager runs.
    Timer {
        /// The timer's name without its `.timer` suffix.
        timer: Arc<[u8]>,
    },
    /// `cron/alice/backup`: a job of cron or anacron.
    CronJob {
        /// Whose, as in [`Identity::Human`]; root's, too.
        user: Arc<[u8]>,
        /// What it runs.
        job: Arc<[u8]>,
    },
    /// `at/alice`: what somebody has had atd do. Each job runs once: they have no names.
    AtJob {
        /// Whose, as in [`Identity::Human`].
        user: Arc<[u8]>,
    },
    /// `ci/github/acme/web/Deploy/build@svc/actions.runner.acme-web.host1`: a job of a build system, and what runs it.
    CiJob {
        /// Which system.
        system: Arc<[u8]>,
        /// The project and what it runs, as the system calls them, outermost first: one part at least.
        job: Vec<Arc<[u8]>>,
        /// Who runs the system's runner.
        runner: Runner,
    },
}

/// Who runs an AI agent, or a job of a build system.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Runner {
    /// A human, a unit or a container, or the agent that started it; never an MCP server.
    Identity(Arc<Identity>),
    /// `uid:1000`: nobody logged in, and it runs in no unit and no container.
    Uid(u32),
}
