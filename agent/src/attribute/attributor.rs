//! One attribution from all that was found, remembered for the next act of its like.

use std::cmp::Reverse;
use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;

use super::container::{engine_id, in_container};
use super::containers::{ContainerCounters, Containers};
use super::place::Place;
use super::pods::Pods;
use super::programs::{ProgramCounters, Programs};
use super::unit::in_unit;
use super::units::{UnitCounters, Units};
use super::users::Users;
use super::{Finding, Resolver, Standing, Subject, kubernetes, precedence, spiffe};
use crate::generations::Generations;
use crate::life::owners::{Grounds, Owners};
use crate::model::act::{Actor, Exec};
use crate::model::bytes::RawBytes;
use crate::model::container::ContainerFound;
use crate::model::identity::{Attribution, Confidence, Evidence, Identity};
use crate::model::kube::ClusterNews;
use crate::model::process::{AgentRole, Cgroup, CiJob, Login, Process, ProcessKey};
use crate::model::program::{AgentCopy, FileAnswer, FileKey, ProgramFound};
use crate::model::time::BootTime;
use crate::model::unit::UnitFound;
use crate::operator::rules::{self, Rules, Said};
use crate::process::inventory::HostNamespaces;

/// Attributions of one generation: 10,000 identities fit. Two are kept, so that of more what is in use survives when the
/// first is full.
const GENERATION: usize = 10_240;

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

impl AttributionCounters {
    /// All counters with their stable names, for heartbeats and metrics.
    pub fn by_name(&self) -> [(&'static str, u64); 3] {
        let Self { remembered, resolved, evicted } = *self;
        [
            ("attribution_remembered", remembered),
            ("attribution_resolved", resolved),
            ("attribution_evicted", evicted),
        ]
    }
}

/// All that the resolvers look at: equal keys have equal attributions.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Key {
    exe: RawBytes,
    file: FileKey,
    unlinked: bool,
    cgroup: Arc<Cgroup>,
    uid: u32,
    /// SPIRE's selectors are of these.
    effective: (u32, u32),
    login_uid: Option<u32>,
    session_id: Option<u32>,
    mount: u32,
    user: u32,
    role: Option<Arc<AgentRole>>,
    login: Option<Arc<Login>>,
    ci: Option<Arc<CiJob>>,
}

/// What was attributed, and what of that which is learnt later it rests on.
#[derive(Clone, Debug)]
struct Remembered {
    attribution: Arc<Attribution>,
    /// Ids of containers, names of units and uids of pods: of the process, of the agents' sessions and of the job that it is in.
    rests_on: Arc<[Arc<str>]>,
    /// Whether it rests on what is known of a pod, or that nothing is.
    is_in_pod: bool,
}

/// Of what more was learnt.
#[derive(Debug, Default)]
struct Outdated {
    files: HashSet<FileKey>,
    /// Roots of agents' sessions.
    sessions: HashSet<ProcessKey>,
    /// Containers, units and pods, as [`Remembered::rests_on`] has them.
    places: HashSet<Arc<str>>,
    /// Whether it is all pods: the cluster fell silent, or answers again.
    pods: bool,
}

impl Outdated {
    fn is_empty(&self) -> bool {
        let Self { files, sessions, places, pods } = self;
        files.is_empty() && sessions.is_empty() && places.is_empty() && !pods
    }

    fn has(&self, key: &Key, remembered: &Remembered) -> bool {
        let Self { files, sessions, places, pods } = self;
        files.contains(&key.file)
            || key.role.as_ref().is_some_and(|role| sessions.contains(&role.session.root))
            || (*pods && remembered.is_in_pod)
            || remembered.rests_on.iter().any(|place| places.contains(place))
    }
}

/// Gives acts their identity. No call blocks: all it needs is in memory.
pub struct Attributor {
    resolvers: Vec<Arc<dyn Resolver>>,
    users: Users,
    owners: Owners,
    containers: Containers,
    units: Units,
    programs: Programs,
    pods: Pods,
    host: HostNamespaces,
    remembered: Generations<Key, Remembered>,
    /// Of what more was learnt since, so that what is remembered is not all that is known.
    outdated: Outdated,
    counters: AttributionCounters,
}

impl Attributor {
    /// With the resolvers of [`precedence`].
    pub fn new(host: HostNamespaces, users: Users) -> Self {
        Self::with_resolvers(host, users, precedence())
    }

    /// With resolvers of one's own, most specific first.
    pub fn with_resolvers(host: HostNamespaces, users: Users, resolvers: Vec<Arc<dyn Resolver>>) -> Self {
        let (owners, containers, units, programs, pods, outdated, counters) = Default::default();
        let remembered = Generations::new(GENERATION);
        Self {
            resolvers,
            users,
            owners,
            containers,
            units,
            programs,
            pods,
            host,
            remembered,
            outdated,
            counters,
        }
    }

    /// Takes a new snapshot of users: what was attributed with the old one is forgotten.
    pub fn set_users(&mut self, users: Users) {
        self.users = users;
        self.forget();
    }

    fn forget(&mut self) {
        self.remembered.clear();
    }

    /// Takes other owners: what was attributed with those before is forgotten.
    pub fn set_owners(&mut self, owners: Owners) {
        self.owners = owners;
        self.forget();
    }

    /// Who a process is by what it was at its exec.
    pub fn attribute_as_started(&mut self, process: &Process) -> Arc<Attribution> {
        self.attribute(process, &as_started(process), &process.cgroup)
    }

    /// The selectors by which SPIRE would know a process, as it was at its exec.
    pub fn selectors(&self, process: &Process) -> BTreeSet<String> {
        let actor = as_started(process);
        let place = Place::parse(process.cgroup.path.as_bytes());
        spiffe::selectors(&self.subject(process, &actor, &process.cgroup, &place))
    }

    fn subject<'a>(
        &'a self,
        process: &'a Process,
        actor: &'a Actor,
        cgroup: &'a Cgroup,
        place: &'a Place,
    ) -> Subject<'a> {
        let Self { users, containers, units, programs, pods, owners, host, .. } = self;
        let (entries, host) = (owners.entries(), *host);
        Subject { process, actor, cgroup, place, users, containers, entries, units, programs, host, pods }
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
        let id = found.id.clone();
        if self.containers.learn(found) {
            self.outdated.places.insert(id);
        }
    }

    /// What is known of units.
    pub fn units(&mut self) -> &mut Units {
        &mut self.units
    }

    /// What became of the questions about units.
    pub fn unit_counters(&self) -> UnitCounters {
        self.units.counters()
    }

    /// Takes what was found of a unit: what was attributed without is said anew.
    pub fn learn_unit(&mut self, found: UnitFound) {
        let unit = found.unit.clone();
        if self.units.learn(found) {
            self.outdated.places.insert(unit);
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
        let pod = match &news {
            ClusterNews::Pod(facts) => Some(facts.uid.clone()),
            _ => None,
        };
        if self.pods.learn(news) {
            self.outdated.pods |= pod.is_none();
            self.outdated.places.extend(pod);
        }
    }

    /// What is known of programs.
    pub fn programs(&mut self) -> &mut Programs {
        &mut self.programs
    }

    /// What became of the questions about programs.
    pub fn program_counters(&self) -> ProgramCounters {
        self.programs.counters()
    }

    /// Takes what was found of a program: of whom it speaks, that is said anew. What it shows to be copies of agents' programs.
    pub fn learn_program(&mut self, found: ProgramFound) -> Vec<AgentCopy> {
        let (file, session) = match &found {
            ProgramFound::File { file, .. } => (Some(*file), None),
            ProgramFound::Agent { session, .. } => (None, Some(*session)),
        };
        if !self.programs.learn(found) {
            return Vec::new();
        }
        self.outdated.files.extend(file);
        self.outdated.sessions.extend(session);
        file.map(|file| self.programs.copies(file)).unwrap_or_default()
    }

    /// Forgets what was said without what was learnt since. All of it at once: who executes a thousand new files a second has
    /// not all that is remembered looked through a thousand times.
    fn forget_outdated(&mut self) {
        let outdated = std::mem::take(&mut self.outdated);
        self.remembered.retain(|key, remembered| !outdated.has(key, remembered));
    }

    /// Looks ahead at a program that starts: in which container, or for which, so that it is asked for before it acts.
    pub fn foresee(&mut self, exec: &Exec, now: BootTime) {
        self.containers.at(now);
        self.units.at(now);
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
        if let Some(unit) = place.unit.as_deref().and_then(|unit| std::str::from_utf8(unit).ok()) {
            self.units.see(unit);
        }
    }

    /// What it did.
    pub fn counters(&self) -> AttributionCounters {
        AttributionCounters { evicted: self.remembered.evicted(), ..self.counters }
    }

    /// Who acted: `process` as it was at the act, in `cgroup` at that moment
    /// ([`crate::process::ProcessTable::cgroup_of`]).
    pub fn attribute(&mut self, process: &Process, actor: &Actor, cgroup: &Arc<Cgroup>) -> Arc<Attribution> {
        let file = &process.image.exe_file;
        let key = Key {
            exe: process.image.exe.clone(),
            file: FileKey::from(file),
            unlinked: file.links == 0,
            cgroup: cgroup.clone(),
            uid: actor.ids.uid,
            effective: (actor.ids.euid, actor.ids.egid),
            login_uid: actor.ids.login_uid,
            session_id: actor.ids.session_id,
            mount: actor.namespaces.mount,
            user: actor.namespaces.user,
            role: process.role.clone(),
            login: process.login.login.clone(),
            ci: process.login.ci.clone(),
        };
        if !self.outdated.is_empty() {
            self.forget_outdated();
        }
        if let Some(known) = self.remembered.touched(&key) {
            self.counters.remembered += 1;
            return known.attribution;
        }
        self.counters.resolved += 1;
        let attribution = Arc::new(self.resolve(process, actor, cgroup));
        let (rests_on, is_in_pod) = self.rests_on(process, cgroup);
        self.remembered.insert(key, Remembered { attribution: attribution.clone(), rests_on, is_in_pod });
        attribution
    }

    /// On what is known of which places an attribution rests, by now; whether one of them is a pod.
    fn rests_on(&self, process: &Process, cgroup: &Cgroup) -> (Arc<[Arc<str>]>, bool) {
        let innermost = process.role.as_ref().map(|role| &*role.session);
        let sessions = std::iter::successors(innermost, |session| session.within.as_deref());
        let job = process.login.ci.as_ref().map(|job| &*job.cgroup);
        let (mut names, mut is_in_pod) = (BTreeSet::new(), false);
        for cgroup in std::iter::once(cgroup).chain(sessions.map(|session| &*session.cgroup)).chain(job) {
            let place = Place::parse(cgroup.path.as_bytes());
            let unit = place.unit.as_deref().and_then(|unit| std::str::from_utf8(unit).ok());
            let id = place.container.as_ref().and_then(engine_id);
            let engine = id.and_then(|id| self.containers.facts(id)).and_then(|facts| facts.pod.as_ref());
            let pods = place.pod.as_deref().into_iter().chain(engine.map(|pod| &*pod.uid));
            is_in_pod |= pods.clone().next().is_some();
            names.extend(pods.chain(id).chain(unit).map(Arc::<str>::from));
        }
        (names.into_iter().collect(), is_in_pod)
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
        if let Some(job) = &process.login.ci {
            self.see(&job.cgroup.path);
        }
        self.programs.see(process, self.host);
        let Self { containers, units, programs, pods, owners, .. } = &*self;
        let subject = self.subject(process, actor, cgroup, &place);
        let findings = self.resolvers.iter().map(|resolver| resolver.resolve(&subject)).collect();
        let container = in_container(&place, containers, pods).map(Arc::new);
        let unit = in_unit(&place, units).map(Arc::new);
        let (found, rule) = assemble(findings, actor.ids.uid, owners.rules());
        let found = Attribution { unit, container, ..found };
        let human = found.human.as_ref().map(ToString::to_string);
        let grounds =
            Grounds { rule: rule.as_deref(), declared: found.declared_owner(), human: human.as_deref() };
        let owner = owners.of(&found.identity.to_string(), grounds);
        let (role, login) = (process.role.clone(), process.login.login.clone());
        let file = match programs.file(FileKey::from(&process.image.exe_file)) {
            Some(FileAnswer::Found(facts)) => Some(facts.clone()),
            _ => None,
        };
        let agent_version = innermost.and_then(|session| programs.version(session.root)).cloned();
        Attribution { role, login, owner, file, agent_version, ..found }
    }
}

fn as_started(process: &Process) -> Actor {
    Actor {
        process: process.key,
        tid: process.key.pid,
        ids: process.ids,
        cgroup_id: process.cgroup.id,
        namespaces: process.namespaces,
        comm: RawBytes::default(),
    }
}

/// The key is the first identity that may be one and rests on more than claims, but where a rule says otherwise. With the
/// rule that held.
fn assemble(mut findings: Vec<Finding>, uid: u32, rules: &Rules) -> (Attribution, Option<Arc<str>>) {
    let best = |finding: &Finding| finding.evidence.iter().map(|evidence| evidence.confidence).max();
    let is_key = |finding: &Finding| {
        matches!(finding.identity, Some((_, Standing::Key))) && best(finding) >= Some(Confidence::Observed)
    };
    let key = findings.iter().position(is_key).map(|at| findings.remove(at)).unwrap_or_default();
    // That it is a pod is certain; what it is a part of may be its own word.
    let relied = |finding: &Finding| {
        let workload = finding.evidence.iter().find(|found| found.kind == kubernetes::WORKLOAD);
        let is_claimed = workload.is_some_and(|found| found.confidence == Confidence::Claimed);
        best(finding).filter(|_| !is_claimed).unwrap_or(Confidence::Claimed)
    };
    let confidence = relied(&key);
    let identity =
        key.identity.map_or(Identity::Executable { path: [].into(), uid }, |(identity, _standing)| identity);
    let mut evidence = key.evidence;
    let mut blended = Vec::new();
    let mut others = Vec::new();
    for finding in findings {
        let (may_be_key, known) = (is_key(&finding), relied(&finding));
        evidence.extend(finding.evidence);
        let other = finding.identity.map(|(other, _standing)| other).filter(|other| *other != identity);
        if let Some(other) = other {
            if may_be_key {
                others.push((other.clone(), known));
            }
            blended.push(other);
        }
    }
    let others: Vec<_> = others.iter().map(|(other, known)| (other, *known)).collect();
    let said = rules.apply(&identity, confidence, &evidence, &others);
    let rule = said.as_ref().map(|said| said.name.clone());
    let (identity, confidence) = match said {
        Some(Said { name, identity: given, confidence, owner: _ }) => {
            if given != identity {
                blended.retain(|other| *other != given);
                blended.insert(0, identity);
            }
            evidence.insert(
                0,
                Evidence {
                    kind: rules::EVIDENCE,
                    detail: name.to_string(),
                    confidence: Confidence::Declared,
                },
            );
            (given, confidence)
        }
        None => (identity, confidence),
    };
    evidence.sort_by_key(|evidence| Reverse(evidence.confidence));
    let human =
        std::iter::once(&identity).chain(&blended).find(|it| matches!(it, Identity::Human { .. })).cloned();
    let (role, login, container, owner, unit, file, agent_version) = Default::default();
    let found = Attribution {
        identity,
        evidence,
        confidence,
        human,
        blended,
        role,
        login,
        container,
        owner,
        unit,
        file,
        agent_version,
    };
    (found, rule)
}
