//! One attribution from all that was found, remembered for the next act of its like.

use std::cmp::Reverse;
use std::collections::HashMap;
use std::sync::Arc;

use super::container::{engine_id, in_container};
use super::containers::{ContainerCounters, Containers};
use super::place::Place;
use super::pods::Pods;
use super::users::Users;
use super::{Finding, Resolver, Standing, Subject, precedence};
use crate::life::owners::Owners;
use crate::model::act::{Actor, Exec};
use crate::model::bytes::RawBytes;
use crate::model::container::{ContainerFound, InContainer};
use crate::model::identity::{Attribution, Confidence, Identity};
use crate::model::kube::ClusterNews;
use crate::model::process::{AgentRole, Cgroup, Login, Process};
use crate::model::time::BootTime;
use crate::process::inventory::HostNamespaces;

/// Attributions of one generation. Two are kept, so that what is in use survives when the first is full; 10,000
/// identities fit.
const GENERATION: usize = 8_192;

/// What an attributor did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AttributionCounters {
    /// Acts attributed from memory.
    pub remembered: u64,
    /// Acts for which the resolvers ran.
    pub resolved: u64,
    /// Attributions forgotten because there were too many; they are made again when needed.
    pub evicted: u64,
}

/// All that the resolvers look at: equal keys have equal attributions.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Key {
    exe: RawBytes,
    device: u32,
    inode: u64,
    unlinked: bool,
    cgroup: Arc<Cgroup>,
    uid: u32,
    login_uid: Option<u32>,
    session_id: Option<u32>,
    mount: u32,
    user: u32,
    role: Option<Arc<AgentRole>>,
    login: Option<Arc<Login>>,
}

/// Gives acts their identity. No call blocks: all it needs is in memory.
pub struct Attributor {
    resolvers: Vec<Arc<dyn Resolver>>,
    users: Users,
    owners: Owners,
    containers: Containers,
    pods: Pods,
    host: HostNamespaces,
    young: HashMap<Key, Arc<Attribution>>,
    old: HashMap<Key, Arc<Attribution>>,
    counters: AttributionCounters,
}

impl Attributor {
    /// With the resolvers of [`precedence`].
    pub fn new(host: HostNamespaces, users: Users) -> Self {
        Self::with_resolvers(host, users, precedence())
    }

    /// With resolvers of one's own, most specific first.
    pub fn with_resolvers(host: HostNamespaces, users: Users, resolvers: Vec<Arc<dyn Resolver>>) -> Self {
        let (owners, containers, pods, young, old, counters) = Default::default();
        Self { resolvers, users, owners, containers, pods, host, young, old, counters }
    }

    /// Takes a new snapshot of users: what was attributed with the old one is forgotten.
    pub fn set_users(&mut self, users: Users) {
        self.users = users;
        self.forget();
    }

    fn forget(&mut self) {
        self.young.clear();
        self.old.clear();
    }

    /// Takes other owners: what was attributed with those before is forgotten.
    pub fn set_owners(&mut self, owners: Owners) {
        self.owners = owners;
        self.young.clear();
        self.old.clear();
    }

    /// Who a process is by what it was at its exec.
    pub fn attribute_as_started(&mut self, process: &Process) -> Arc<Attribution> {
        let actor = Actor {
            process: process.key,
            tid: process.key.pid,
            ids: process.ids,
            cgroup_id: process.cgroup.id,
            namespaces: process.namespaces,
            comm: RawBytes::default(),
        };
        self.attribute(process, &actor, &process.cgroup)
    }

    /// What is known of containers.
    pub fn containers(&mut self) -> &mut Containers {
        &mut self.containers
    }

    /// What became of the questions about containers.
    pub fn container_counters(&self) -> ContainerCounters {
        self.containers.counters()
    }

    /// Takes what was found of a container: what was attributed without is said anew.
    pub fn learn_container(&mut self, found: ContainerFound) {
        if self.containers.learn(found) {
            self.forget();
        }
    }

    /// What is known of pods.
    pub fn pods(&mut self) -> &mut Pods {
        &mut self.pods
    }

    /// The figures of pods.
    pub fn pod_figures(&self) -> Vec<(&'static str, u64)> {
        self.pods.figures()
    }

    /// Takes what a cluster tells: what was attributed without is said anew.
    pub fn learn_cluster(&mut self, news: ClusterNews) {
        if self.pods.learn(news) {
            self.forget();
        }
    }

    /// Looks ahead at a program that starts: in which container, or for which, so that it is asked for before it acts.
    pub fn foresee(&mut self, exec: &Exec, now: BootTime) {
        self.containers.at(now);
        self.pods.at(now);
        let place = Place::parse(exec.cgroup_path.as_bytes());
        self.see_place(&place);
        // Engines run as root of the host, in no container. What another's arguments say is not even looked up.
        let is_in_container = place.container.is_some() || place.claimed_container.is_some();
        if exec.actor.ids.euid == 0 && exec.actor.namespaces.user == self.host.user && !is_in_container {
            self.containers.hint(exec);
        }
    }

    /// A process is in this cgroup: its container is asked for.
    pub fn see(&mut self, path: &RawBytes) {
        self.see_place(&Place::parse(path.as_bytes()));
    }

    fn see_place(&mut self, place: &Place) {
        if let Some(id) = place.container.as_ref().and_then(engine_id) {
            self.containers.see(id);
        }
    }

    /// What it did.
    pub fn counters(&self) -> AttributionCounters {
        self.counters
    }

    /// Who acted: `process` as it was at the act, in `cgroup` at that moment
    /// ([`crate::process::ProcessTable::cgroup_of`]).
    pub fn attribute(&mut self, process: &Process, actor: &Actor, cgroup: &Arc<Cgroup>) -> Arc<Attribution> {
        let file = &process.image.exe_file;
        let key = Key {
            exe: process.image.exe.clone(),
            device: file.device,
            inode: file.inode,
            unlinked: file.links == 0,
            cgroup: cgroup.clone(),
            uid: actor.ids.uid,
            login_uid: actor.ids.login_uid,
            session_id: actor.ids.session_id,
            mount: actor.namespaces.mount,
            user: actor.namespaces.user,
            role: process.role.clone(),
            login: process.login.login.clone(),
        };
        if let Some(known) = self.young.get(&key) {
            self.counters.remembered += 1;
            return known.clone();
        }
        let attribution = match self.old.remove(&key) {
            Some(known) => {
                self.counters.remembered += 1;
                known
            }
            None => {
                self.counters.resolved += 1;
                Arc::new(self.resolve(process, actor, cgroup))
            }
        };
        if self.young.len() >= GENERATION {
            self.counters.evicted += self.old.len() as u64;
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(key, attribution.clone());
        attribution
    }

    fn resolve(&mut self, process: &Process, actor: &Actor, cgroup: &Cgroup) -> Attribution {
        let place = Place::parse(cgroup.path.as_bytes());
        self.see_place(&place);
        // An agent's runner is the container that its session began in.
        let innermost = process.role.as_ref().map(|role| &*role.session);
        let outermost = std::iter::successors(innermost, |session| session.within.as_deref()).last();
        if let Some(session) = outermost {
            self.see(&session.cgroup.path);
        }
        let Self { users, containers, pods, host, .. } = &*self;
        let subject = Subject { process, actor, cgroup, place: &place, users, containers, host: *host, pods };
        let findings = self.resolvers.iter().map(|resolver| resolver.resolve(&subject)).collect();
        let container = in_container(&place, containers, pods).map(Arc::new);
        let found = assemble(findings, actor.ids.uid);
        let human = found.human.as_ref().map(ToString::to_string);
        // Whoever deploys a workload says who owns that, and nothing else that runs in it.
        let pod = container.as_ref().and_then(|container: &Arc<InContainer>| container.kube.as_ref());
        let is_workload = matches!(found.identity, Identity::Kubernetes { .. });
        let declared = pod.and_then(|pod| pod.owner.as_deref()).filter(|_| is_workload);
        let owner = self.owners.of(&found.identity.to_string(), declared, human.as_deref());
        let (role, login) = (process.role.clone(), process.login.login.clone());
        Attribution { role, login, container, owner, ..found }
    }
}

/// The key is the first identity that may be one and rests on more than claims.
fn assemble(mut findings: Vec<Finding>, uid: u32) -> Attribution {
    let best = |finding: &Finding| finding.evidence.iter().map(|evidence| evidence.confidence).max();
    let is_key = |finding: &Finding| {
        matches!(finding.identity, Some((_, Standing::Key))) && best(finding) >= Some(Confidence::Observed)
    };
    let key = findings.iter().position(is_key).map(|at| findings.remove(at)).unwrap_or_default();
    let confidence = best(&key).unwrap_or(Confidence::Claimed);
    let identity =
        key.identity.map_or(Identity::Executable { path: [].into(), uid }, |(identity, _standing)| identity);
    let mut evidence = key.evidence;
    let mut blended = Vec::new();
    for finding in findings {
        evidence.extend(finding.evidence);
        blended.extend(
            finding.identity.map(|(identity, _standing)| identity).filter(|other| *other != identity),
        );
    }
    evidence.sort_by_key(|evidence| Reverse(evidence.confidence));
    let human =
        std::iter::once(&identity).chain(&blended).find(|it| matches!(it, Identity::Human { .. })).cloned();
    let (role, login, container, owner) = Default::default();
    Attribution { identity, evidence, confidence, human, blended, role, login, container, owner }
}
