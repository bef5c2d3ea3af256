//! AI agents, their MCP servers and their tools.
//!
//! An agent is known by what it runs: the executable, the script or the module that a signature names
//! ([`crate::catalogue::agents`]). From there on its session is inherited by whatever it starts, over fork, exec, a change
//! of user, a double fork: what a tool calls itself and what its environment says change nothing.
//!
//! What makes `agent/claude-code@human/alice` stable: the product, and who runs it. A new version and a new session keep
//! it. Who may write where an agent of theirs is installed can be taken for that agent, never for another user's.

use std::sync::Arc;

use crate::catalogue::agents::AgentCatalogue;
use crate::model::act::Actor;
use crate::model::identity::{Confidence, Evidence, Identity, Runner};
use crate::model::process::{
    AgentPart, AgentRole, AgentSession, Cgroup, CredentialIds, Login, Process, StdioKind, is_memfd,
};
use crate::model::program::{AgentCopy, FileKey};
use crate::process::Roles;
use crate::process::inventory::HostNamespaces;
use crate::process::program::Program;

use super::container::Container;
use super::human::Human;
use super::job;
use super::kubernetes::Kubernetes;
use super::place::Place;
use super::unit::SystemUnit;
use super::{Finding, Resolver, Standing, Subject};
use crate::generations::Generations;

/// Sessions that may begin in one another. Beyond it an agent is a tool of the innermost.
const NESTED: usize = 8;
/// Copies of agents' programs of one generation; two are kept.
const COPIES: usize = 256;

/// Knows agents by their signatures.
#[derive(Debug)]
pub struct AgentRoles {
    catalogue: Arc<AgentCatalogue>,
    host: HostNamespaces,
    /// Files with the contents of agents' programs, by who runs them.
    copies: Generations<(FileKey, u32), Arc<str>>,
}

impl AgentRoles {
    /// With these signatures.
    pub fn new(catalogue: Arc<AgentCatalogue>, host: HostNamespaces) -> Self {
        Self { catalogue, host, copies: Generations::new(COPIES) }
    }

    fn begins(&self, process: &Process, program: &Program, before: Option<&AgentRole>) -> Option<AgentRole> {
        // Whoever makes a user namespace decides what is mounted where in it: a path says nothing.
        if process.namespaces.user != self.host.user {
            return None;
        }
        let image = &process.image;
        // The name of a file in memory is no path either.
        if *program == Program::Executable && is_memfd(image.exe.as_bytes(), image.exe_file.links) {
            return None;
        }
        let by_path = self.catalogue.agent(image, program);
        let by_contents = || {
            let file = (FileKey::from(&image.exe_file), process.ids.uid);
            let is_hosts = process.namespaces.mount == self.host.mount;
            let product = self.copies.get(&file).filter(|_| is_hosts && *program == Program::Executable)?;
            self.catalogue.of_product(product)
        };
        let copied = by_path.is_none();
        let agent = by_path.or_else(by_contents)?;
        let bypass = agent.bypass(&image.argv);
        if let Some(AgentRole { session, part: AgentPart::Agent }) = before
            && session.product == agent.product
        {
            // It started itself again: a wrapper its binary, a session its helper.
            let more: Vec<_> = bypass.into_iter().filter(|flag| !session.bypass.contains(flag)).collect();
            if more.is_empty() {
                return Some(AgentRole { session: session.clone(), part: AgentPart::Agent });
            }
            let bypass = session.bypass.iter().cloned().chain(more).collect();
            let session = Arc::new(AgentSession { bypass, ..AgentSession::clone(session) });
            return Some(AgentRole { session, part: AgentPart::Agent });
        }
        let program = match program {
            Program::Script(path) | Program::Known { script: path, .. } | Program::Module(path) => {
                path.clone()
            }
            Program::Executable | Program::Inline => image.exe.clone(),
        };
        let within = before.map(|role| role.session.clone());
        if within.as_deref().is_some_and(|session| depth(session) >= NESTED) {
            return None;
        }
        let (product, root) = (agent.product.clone(), process.key);
        let (ids, cgroup) = (process.ids, process.cgroup.clone());
        let session = Arc::new(AgentSession { product, root, program, copied, bypass, within, ids, cgroup });
        Some(AgentRole { session, part: AgentPart::Agent })
    }
}

/// An MCP server reads its client's messages from standard input, and writes its own to standard output. A tool has at most one
/// of them from its agent, most often.
fn speaks_by_pipes(process: &Process) -> bool {
    let [input, output, _] = &process.image.stdio;
    [input, output].iter().all(|stream| matches!(stream.kind, StdioKind::Pipe | StdioKind::Socket))
}

fn depth(session: &AgentSession) -> usize {
    std::iter::successors(Some(session), |session| session.within.as_deref()).count()
}

impl Roles for AgentRoles {
    fn at_exec(
        &self,
        process: &Process,
        program: &Program,
        before: Option<&Arc<AgentRole>>,
    ) -> Option<Arc<AgentRole>> {
        if let Some(begun) = self.begins(process, program, before.map(|role| &**role)) {
            return Some(Arc::new(begun));
        }
        let before = before?;
        let server = self
            .catalogue
            .mcp_server(&process.image, program)
            .filter(|_| process.namespaces.user == self.host.user && speaks_by_pipes(process));
        let part = match (&before.part, server) {
            (_, Some(server)) => AgentPart::McpServer { server },
            (AgentPart::McpServer { server } | AgentPart::McpTool { server }, None) => {
                AgentPart::McpTool { server: server.clone() }
            }
            (AgentPart::Agent | AgentPart::Tool, None) => AgentPart::Tool,
        };
        if part == before.part {
            return Some(before.clone());
        }
        Some(Arc::new(AgentRole { session: before.session.clone(), part }))
    }

    fn learn_copy(&mut self, copy: &AgentCopy) {
        let AgentCopy { file, uid, product } = copy;
        if self.copies.touch(&(*file, *uid)).is_none() {
            self.copies.insert((*file, *uid), product.clone());
        }
    }

    fn copies_evicted(&self) -> u64 {
        self.copies.evicted()
    }
}

/// MCP servers, by the agent's session that they serve.
#[derive(Debug)]
pub(super) struct McpServer;

impl Resolver for McpServer {
    fn resolve(&self, subject: &Subject<'_>) -> Finding {
        let Some(role) = &subject.process.role else { return Finding::default() };
        let (AgentPart::McpServer { server } | AgentPart::McpTool { server }) = &role.part else {
            return Finding::default();
        };
        let identity = Identity::McpServer {
            server: server.as_bytes().into(),
            product: role.session.product.as_bytes().into(),
            runner: runner(&role.session, subject),
        };
        let evidence = vec![observed("mcp_server", server.escape_debug().to_string())];
        Finding { identity: Some((identity, Standing::Key)), evidence }
    }
}

/// Agents, by their session.
#[derive(Debug)]
pub(super) struct Agent;

impl Resolver for Agent {
    fn resolve(&self, subject: &Subject<'_>) -> Finding {
        let Some(role) = &subject.process.role else { return Finding::default() };
        let session = &role.session;
        let standing = match role.part {
            AgentPart::Agent | AgentPart::Tool => Standing::Key,
            AgentPart::McpServer { .. } | AgentPart::McpTool { .. } => Standing::Blended,
        };
        let identity =
            Identity::Agent { product: session.product.as_bytes().into(), runner: runner(session, subject) };
        let copied = if session.copied { ", which has the contents of the agent's program" } else { "" };
        let mut evidence = vec![
            observed("agent_program", format!("{}{copied}", session.program)),
            observed("agent_session", session.id()),
        ];
        // As its package says, which is whoever's who installed it.
        evidence.extend(subject.programs.version(session.root).map(|version| Evidence {
            kind: "agent_version",
            detail: version.to_string(),
            confidence: Confidence::Declared,
        }));
        evidence.extend(session.bypass.iter().map(|flag| observed("agent_bypass", flag.to_string())));
        let outer = std::iter::successors(session.within.as_deref(), |session| session.within.as_deref());
        evidence.extend(
            outer.map(|session| observed("agent_within", format!("{} {}", session.product, session.id()))),
        );
        Finding { identity: Some((identity, standing)), evidence }
    }
}

/// Who runs the agent: the agent that started it; or the container or the unit that it is in, or else the human who logged
/// in. What an agent starts is so never taken for what its human starts: a tool could lay out any agent's files.
fn runner(session: &AgentSession, subject: &Subject<'_>) -> Runner {
    if let Some(outer) = &session.within {
        let (product, runner) = (outer.product.as_bytes().into(), runner(outer, subject));
        return Runner::Identity(Arc::new(Identity::Agent { product, runner }));
    }
    who_runs(&session.ids, &session.cgroup, None, subject)
}

/// Who ran something when it began, by users, cgroup and login of then: what it does to these makes nobody else run it.
pub(super) fn who_runs(
    ids: &CredentialIds,
    cgroup: &Cgroup,
    login: Option<&Arc<Login>>,
    subject: &Subject<'_>,
) -> Runner {
    let actor = Actor { ids: *ids, ..subject.actor.clone() };
    let place = &Place::parse(cgroup.path.as_bytes());
    let begun = Subject { actor: &actor, cgroup, place, ..*subject };
    // All jobs of cron are in one unit.
    if place.container.is_none()
        && let Some(identity) = login.and_then(|login| job::identity(login, subject.users))
    {
        return Runner::Identity(Arc::new(identity));
    }
    let workload = Kubernetes.resolve(&begun).identity.filter(|(_, standing)| *standing == Standing::Key);
    let resolvers: [&dyn Resolver; 3] = [&Container, &SystemUnit, &Human];
    let identities = resolvers.into_iter().filter_map(|resolver| resolver.resolve(&begun).identity);
    workload
        .into_iter()
        .chain(identities)
        .map(|(identity, _standing)| Runner::Identity(Arc::new(identity)))
        .next()
        .unwrap_or(Runner::Uid(ids.uid))
}

fn observed(kind: &'static str, detail: String) -> Evidence {
    Evidence { kind, detail, confidence: Confidence::Observed }
}
