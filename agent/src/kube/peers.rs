//! Pods, Services and their endpoints of a whole cluster, listed and watched: whom connections may lead to.
//!
//! Each of the three is followed for itself, and they are joined here: which workload a Service leads to is found again when
//! something of its namespace has changed, and told where it differs.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use serde::de::DeserializeOwned;
use tokio::sync::{mpsc, watch};
use tokio::time::MissedTickBehavior;

use super::client::{Client, Failure};
use super::objects::{Change, Metadata, Pod, is_uid, named};
use super::owners::{Chain, Owners};
use super::reflect::{Collection, Pages, Rounds, Watching, reached};
use super::services::{Backs, EndpointSlice, Front, Service, facts, pod_key};
use super::settings::{Access, Settings};
use super::watch::{PODS_PATH, Pace};
use crate::model::kube::ClusterState;
use crate::model::peer::{Leads, PeerCounters, PeerFacts, PeerKind, PeerNews, PeerPod};

/// Where Services and their endpoints are.
pub(super) const SERVICES_PATH: &str = "/api/v1/services";
pub(super) const SLICES_PATH: &str = "/apis/discovery.k8s.io/v1/endpointslices";
/// Pods that run, or will: the address of one that is over is another's.
pub(super) const RUNNING: &str = "status.phase!=Succeeded,status.phase!=Failed";
/// Of all nodes: large clusters have a hundred nodes of a hundred pods.
const PODS: usize = 16_384;
const SERVICES: usize = 8_192;
/// A slice has a hundred endpoints, where it is a controller's.
const SLICES: usize = 16_384;
const ENDPOINTS: usize = 65_536;
/// Of these a namespace may have one part in so many: who fills his own has taken nobody else's room.
const PARTS: usize = 4;
/// Namespaces of which it is known that something of theirs was not kept.
const CUT: usize = 4_096;
/// Words of those who follow that wait.
const WAITING: usize = 64;

/// What one who follows a collection says.
enum Word {
    /// All of it comes now.
    Lists(Which),
    /// An object is there, or has changed.
    Put(Thing),
    /// It is gone.
    Gone(Thing),
    /// That was all.
    Listed(Which),
    /// It is being watched.
    Answers(Which),
    /// It is not: why.
    Silent(Which, Failure),
}

/// Objects that are followed.
enum Thing {
    Pod(Box<Pod>),
    Service(Box<Service>),
    Slice(Box<EndpointSlice>),
}

/// Which of the three collections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Which {
    Pods,
    Services,
    Slices,
}

/// What can be followed.
trait Followed: DeserializeOwned {
    const WHICH: Which;
    const MOST: usize;

    fn collection() -> Collection;
    fn metadata(&mut self) -> &mut Metadata;
    fn thing(self) -> Thing;
}

impl Followed for Pod {
    const WHICH: Which = Which::Pods;
    const MOST: usize = PODS;

    fn collection() -> Collection {
        Collection { path: PODS_PATH, selector: Some(RUNNING.to_owned()) }
    }

    fn metadata(&mut self) -> &mut Metadata {
        &mut self.metadata
    }

    fn thing(self) -> Thing {
        Thing::Pod(Box::new(self))
    }
}

impl Followed for Service {
    const WHICH: Which = Which::Services;
    const MOST: usize = SERVICES;

    fn collection() -> Collection {
        Collection { path: SERVICES_PATH, selector: None }
    }

    fn metadata(&mut self) -> &mut Metadata {
        &mut self.metadata
    }

    fn thing(self) -> Thing {
        Thing::Service(Box::new(self))
    }
}

impl Followed for EndpointSlice {
    const WHICH: Which = Which::Slices;
    const MOST: usize = SLICES;

    fn collection() -> Collection {
        Collection { path: SLICES_PATH, selector: None }
    }

    fn metadata(&mut self) -> &mut Metadata {
        &mut self.metadata
    }

    fn thing(self) -> Thing {
        Thing::Slice(Box::new(self))
    }
}

/// Why it ended.
enum End {
    /// Nobody listens any more.
    Closed,
    Failed(Failure),
}

impl From<Failure> for End {
    fn from(failure: Failure) -> Self {
        Self::Failed(failure)
    }
}

/// Tells of all that has addresses, for ever, once the cluster's name is known.
pub(super) async fn ask(
    settings: &Settings,
    tell: &mpsc::Sender<PeerNews>,
    name: watch::Receiver<Option<Arc<str>>>,
    pace: Pace,
) {
    let Some(server) = settings.server.clone().filter(|_| settings.destinations) else { return };
    let (say, words) = mpsc::channel(WAITING);
    tokio::select! {
        () = Joiner::run(server.clone(), tell, name, words, pace) => {}
        _ = async {
            tokio::join!(
                follow::<Pod>(server.clone(), say.clone(), pace),
                follow::<Service>(server.clone(), say.clone(), pace),
                follow::<EndpointSlice>(server.clone(), say.clone(), pace),
            )
        } => {}
        () = tell.closed() => {}
    }
}

/// Follows one collection for ever.
async fn follow<T: Followed>(server: Access, say: mpsc::Sender<Word>, pace: Pace) {
    let (mut server, mut rounds, mut version) = (Client::new(server), Rounds::new(pace), None);
    loop {
        rounds.begin();
        let mut is_watched = false;
        let end = round::<T>(&mut server, &say, &mut version, &mut is_watched).await;
        let lasted = rounds.has_lasted();
        match end {
            Ok(()) if lasted => rounds.reset(),
            // It may be a lie: it is not asked faster than one that fails.
            Ok(()) => rounds.wait().await,
            Err(End::Closed) => return,
            Err(End::Failed(failure)) => {
                if failure.begins_anew() {
                    version = None;
                }
                // A watch that broke is begun anew at once: it is silence if that fails.
                if is_watched && lasted {
                    rounds.reset();
                } else if say.send(Word::Silent(T::WHICH, failure)).await.is_err() {
                    return;
                }
                rounds.wait().await;
            }
        }
    }
}

/// One list, if there is nothing to go on from, and one watch.
async fn round<T: Followed>(
    server: &mut Client,
    say: &mpsc::Sender<Word>,
    version: &mut Option<String>,
    is_watched: &mut bool,
) -> Result<(), End> {
    let tell = async |word| say.send(word).await.map_err(|_| End::Closed);
    let collection = T::collection();
    let from = match version {
        Some(from) => from.clone(),
        None => {
            tell(Word::Lists(T::WHICH)).await?;
            let mut pages = Pages::of(&collection, T::MOST);
            while let Some(items) = pages.next::<T>(server).await? {
                for item in items {
                    tell(Word::Put(item.thing())).await?;
                }
            }
            tell(Word::Listed(T::WHICH)).await?;
            version.insert(pages.version()).clone()
        }
    };
    let mut watching = Watching::begin(server, &collection, &from).await?;
    tell(Word::Answers(T::WHICH)).await?;
    *is_watched = true;
    while let Some(change) = watching.next::<T>().await? {
        let (mut item, is_gone) = match change {
            Change::Bookmark(object) => {
                *version = reached(object.metadata.resource_version).or_else(|| version.take());
                continue;
            }
            // The watch tells it as a failure.
            Change::Error(_) => continue,
            Change::Added(item) | Change::Modified(item) => (item, false),
            Change::Deleted(item) => (item, true),
        };
        let at = std::mem::take(&mut item.metadata().resource_version);
        let thing = item.thing();
        tell(if is_gone { Word::Gone(thing) } else { Word::Put(thing) }).await?;
        *version = reached(at).or_else(|| version.take());
    }
    Ok(())
}

/// By what an object is known among those of its kind.
type Key = (Arc<str>, Arc<str>);

/// What is known of one collection.
#[derive(Default)]
struct Followers {
    /// What was seen of the list that is being read.
    seen: Option<HashSet<Key>>,
    is_whole: bool,
    silent: Option<Failure>,
    answers: bool,
}

/// How many slices and endpoints there are of a namespace.
#[derive(Clone, Copy, Debug, Default)]
struct Weight {
    slices: usize,
    endpoints: usize,
}

/// Namespaces of which slices were not kept, so that nobody can say where their Services lead.
#[derive(Debug, Default)]
struct Cut {
    namespaces: HashSet<Arc<str>>,
    /// Whether there are more than are kept.
    more: bool,
}

impl Cut {
    fn add(&mut self, namespace: &Arc<str>) {
        if self.namespaces.len() < CUT {
            self.namespaces.insert(namespace.clone());
        } else {
            self.more = true;
        }
    }

    fn has(&self, namespace: &str) -> bool {
        self.more || self.namespaces.contains(namespace)
    }
}

struct Joiner<'a> {
    tell: &'a mpsc::Sender<PeerNews>,
    source: Arc<str>,
    cluster: Arc<str>,
    server: Client,
    owners: Owners,
    /// By namespace and API uid.
    pods: HashMap<Key, Arc<PeerFacts>>,
    by_uid: HashMap<Arc<str>, Key>,
    /// Pods whose owners are to be asked for again.
    open: HashMap<Key, Pod>,
    services: BTreeMap<Key, Front>,
    slices: BTreeMap<Key, Backs>,
    endpoints: usize,
    weights: HashMap<Arc<str>, Weight>,
    cut: Cut,
    /// The same, of the list that is being read.
    cut_in_list: Cut,
    followers: [Followers; 3],
    /// Namespaces of which Services are to be told anew.
    changed: HashSet<Arc<str>>,
    told: HashMap<Arc<str>, Arc<PeerFacts>>,
    state: ClusterState,
    since: Option<jiff::Timestamp>,
    counters: PeerCounters,
}

impl<'a> Joiner<'a> {
    async fn run(
        server: Access,
        tell: &'a mpsc::Sender<PeerNews>,
        mut name: watch::Receiver<Option<Arc<str>>>,
        mut words: mpsc::Receiver<Word>,
        pace: Pace,
    ) {
        let Ok(Some(cluster)) = name.wait_for(Option::is_some).await.map(|name| name.clone()) else { return };
        let source = format!("the API server {}", server.url);
        let mut joiner = Self {
            tell,
            source: source.trim_end_matches('/').into(),
            cluster,
            server: Client::new(server),
            owners: Owners::new(pace.owners / 2),
            pods: HashMap::new(),
            by_uid: HashMap::new(),
            open: HashMap::new(),
            services: BTreeMap::new(),
            slices: BTreeMap::new(),
            endpoints: 0,
            weights: HashMap::new(),
            cut: Cut::default(),
            cut_in_list: Cut::default(),
            followers: Default::default(),
            changed: HashSet::new(),
            told: HashMap::new(),
            state: ClusterState::NotAsked,
            since: None,
            counters: PeerCounters::default(),
        };
        if joiner.say(ClusterState::Asked).await.is_err() {
            return;
        }
        let mut owners = tokio::time::interval(pace.owners);
        let mut settle = tokio::time::interval(pace.settle);
        settle.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let end = tokio::select! {
                word = words.recv() => match word {
                    Some(word) => joiner.hear(word).await,
                    None => return,
                },
                _ = owners.tick(), if !joiner.open.is_empty() => joiner.ask_for_owners().await,
                _ = settle.tick(), if joiner.is_whole() && !joiner.changed.is_empty() => joiner.settle().await,
            };
            if end.is_err() {
                return;
            }
        }
    }

    async fn send(&self, news: PeerNews) -> Result<(), End> {
        self.tell.send(news).await.map_err(|_| End::Closed)
    }

    async fn say(&mut self, state: ClusterState) -> Result<(), End> {
        if self.state == state {
            return Ok(());
        }
        self.state = state.clone();
        self.send(PeerNews::State(state)).await
    }

    fn is_whole(&self) -> bool {
        self.followers.iter().all(|follower| follower.is_whole)
    }

    fn follower(&mut self, which: Which) -> &mut Followers {
        let [pods, services, slices] = &mut self.followers;
        match which {
            Which::Pods => pods,
            Which::Services => services,
            Which::Slices => slices,
        }
    }

    async fn hear(&mut self, word: Word) -> Result<(), End> {
        match word {
            Word::Lists(which) => {
                self.follower(which).seen = Some(HashSet::new());
                if which == Which::Slices {
                    self.cut_in_list = Cut::default();
                }
                Ok(())
            }
            Word::Put(thing) => self.put(thing).await,
            Word::Gone(thing) => {
                self.counters.changes += 1;
                match thing {
                    Thing::Pod(pod) => match key(&pod.metadata, &pod.metadata.uid) {
                        Some(key) => self.remove_pod(&key).await,
                        None => Ok(()),
                    },
                    Thing::Service(service) => {
                        if let Some(key) = key_by_name(&service.metadata) {
                            self.changed.insert(key.0.clone());
                            self.services.remove(&key);
                        }
                        Ok(())
                    }
                    Thing::Slice(slice) => {
                        if let Some(key) = key_by_name(&slice.metadata) {
                            self.remove_slice(&key);
                        }
                        Ok(())
                    }
                }
            }
            Word::Listed(which) => self.listed(which).await,
            Word::Answers(which) => {
                let follower = self.follower(which);
                (follower.answers, follower.silent) = (true, None);
                self.judge().await
            }
            Word::Silent(which, failure) => {
                self.counters.failures += 1;
                let follower = self.follower(which);
                follower.silent = Some(failure);
                self.judge().await?;
                self.send(PeerNews::Counters(self.counters)).await
            }
        }
    }

    /// Forgets what the list did not have.
    async fn listed(&mut self, which: Which) -> Result<(), End> {
        self.counters.lists += 1;
        let follower = self.follower(which);
        follower.is_whole = true;
        let Some(seen) = follower.seen.take() else { return Ok(()) };
        match which {
            Which::Pods => {
                let gone: Vec<Key> = self.pods.keys().filter(|key| !seen.contains(*key)).cloned().collect();
                for key in gone {
                    self.remove_pod(&key).await?;
                }
            }
            Which::Services => self.services.retain(|key, _| seen.contains(key)),
            Which::Slices => {
                let gone: Vec<Key> = self.slices.keys().filter(|key| !seen.contains(*key)).cloned().collect();
                gone.iter().for_each(|key| self.remove_slice(key));
                // What was not kept before may be gone, too.
                self.cut = std::mem::take(&mut self.cut_in_list);
            }
        }
        let namespaces = self.services.keys().map(|(namespace, _)| namespace.clone());
        let told = self.told.values().map(|facts| facts.namespace.clone());
        let all: Vec<_> = namespaces.chain(told).collect();
        self.changed.extend(all);
        if self.is_whole() {
            self.settle().await?;
        }
        self.judge().await
    }

    /// Says whether all three answer.
    async fn judge(&mut self) -> Result<(), End> {
        let silent = self.followers.iter().find_map(|follower| follower.silent.as_ref());
        if let Some(failure) = silent {
            // The same silence has one beginning, whatever is added to it.
            if matches!(self.state, ClusterState::Silent(_)) {
                return Ok(());
            }
            let since = *self.since.get_or_insert_with(jiff::Timestamp::now);
            let why = format!("{}: {failure}, since {since:.0}", self.source);
            tracing::warn!("destinations in the cluster are not known: {}", why.escape_debug());
            return self.say(ClusterState::Silent(why.into())).await;
        }
        if !self.is_whole() || !self.followers.iter().all(|follower| follower.answers) {
            return Ok(());
        }
        if self.state != ClusterState::Answers {
            let (pods, services) = (self.pods.len(), self.services.len());
            tracing::info!(pods, services, "{} tells what has addresses in the cluster", self.source);
            if self.counters.refused > 0 {
                tracing::warn!(
                    "{} of them are not kept: destinations are told in part",
                    self.counters.refused
                );
            }
        }
        self.since = None;
        self.say(ClusterState::Answers).await?;
        self.send(PeerNews::Counters(self.counters)).await
    }

    async fn put(&mut self, thing: Thing) -> Result<(), End> {
        self.counters.changes += 1;
        match thing {
            Thing::Pod(pod) => self.put_pod(*pod).await?,
            Thing::Service(service) => match (key_by_name(&service.metadata), service.front()) {
                (Some(key), Some(front)) => {
                    self.see(Which::Services, &key);
                    if !self.services.contains_key(&key) && !self.has_room_for_service(&key.0) {
                        self.counters.refused += 1;
                    } else if self.services.get(&key) != Some(&front) {
                        self.changed.insert(key.0.clone());
                        self.services.insert(key, front);
                    }
                }
                // It has no address, or has none any more.
                (Some(key), None) => {
                    if self.services.remove(&key).is_some() {
                        self.changed.insert(key.0);
                    }
                }
                (None, _) => self.counters.refused += 1,
            },
            Thing::Slice(slice) => match (key_by_name(&slice.metadata), slice.backs()) {
                (Some(key), Some(backs)) => {
                    self.see(Which::Slices, &key);
                    self.put_slice(key, backs);
                }
                (Some(key), None) => self.remove_slice(&key),
                (None, _) => self.counters.refused += 1,
            },
        }
        Ok(())
    }

    fn see(&mut self, which: Which, key: &Key) {
        if let Some(seen) = &mut self.follower(which).seen {
            seen.insert(key.clone());
        }
    }

    fn has_room_for_service(&self, namespace: &Arc<str>) -> bool {
        let of_namespace = || {
            let first: Key = (namespace.clone(), "".into());
            self.services.range(first..).take_while(|(key, _)| key.0 == *namespace).count()
        };
        self.services.len() < SERVICES && of_namespace() < SERVICES / PARTS
    }

    fn put_slice(&mut self, key: Key, backs: Backs) {
        if self.slices.get(&key) == Some(&backs) {
            return;
        }
        self.remove_slice(&key);
        let ends = backs.ends.len();
        let weight = self.weights.get(&key.0).copied().unwrap_or_default();
        let has_room = self.slices.len() < SLICES
            && weight.slices < SLICES / PARTS
            && self.endpoints + ends <= ENDPOINTS
            && weight.endpoints + ends <= ENDPOINTS / PARTS;
        self.changed.insert(key.0.clone());
        if !has_room {
            self.counters.refused += 1;
            self.cut.add(&key.0);
            return self.cut_in_list.add(&key.0);
        }
        self.endpoints += ends;
        let weight = Weight { slices: weight.slices + 1, endpoints: weight.endpoints + ends };
        self.weights.insert(key.0.clone(), weight);
        self.slices.insert(key, backs);
    }

    fn remove_slice(&mut self, key: &Key) {
        let Some(backs) = self.slices.remove(key) else { return };
        self.endpoints -= backs.ends.len();
        self.changed.insert(key.0.clone());
        if let Some(weight) = self.weights.get_mut(&key.0) {
            weight.slices -= 1;
            weight.endpoints -= backs.ends.len();
            if weight.slices == 0 {
                self.weights.remove(&key.0);
            }
        }
    }

    async fn put_pod(&mut self, pod: Pod) -> Result<(), End> {
        let Some(key) = key(&pod.metadata, &pod.metadata.uid) else {
            self.counters.refused += 1;
            return Ok(());
        };
        if pod.is_over() {
            return self.remove_pod(&key).await;
        }
        self.see(Which::Pods, &key);
        // It has no address yet, and will be told again.
        if pod.addresses().is_empty() {
            return self.remove_pod(&key).await;
        }
        if self.pods.len() >= PODS && !self.pods.contains_key(&key) {
            self.counters.refused += 1;
            return Ok(());
        }
        let Some(name) = named(&pod.metadata.name) else { return Ok(()) };
        let facts = PeerFacts {
            key: pod_key(&pod.metadata.uid),
            cluster: self.cluster.clone(),
            source: self.source.clone(),
            namespace: key.0.clone(),
            name,
            addresses: pod.addresses(),
            kind: PeerKind::Pod(PeerPod {
                node: pod.node().and_then(named),
                is_on_node: pod.is_on_node(),
                ends: pod.metadata.ends(),
                leads: Leads::Unknown("".into()),
            }),
        };
        self.tell_pod(key, facts, pod).await
    }

    /// With its workload.
    async fn tell_pod(&mut self, key: Key, mut facts: PeerFacts, pod: Pod) -> Result<(), End> {
        let Chain { workload, doubt, is_open } = self.owners.of(&pod, Some(&mut self.server)).await;
        if let PeerKind::Pod(peer) = &mut facts.kind {
            peer.leads = match workload {
                Some(workload) => Leads::To { workload, doubt },
                None => Leads::Unknown(doubt.unwrap_or_default()),
            };
        }
        if is_open {
            self.open.insert(key.clone(), pod.for_its_owners());
        } else {
            self.open.remove(&key);
        }
        if self.pods.get(&key).is_some_and(|known| **known == facts) {
            return Ok(());
        }
        let facts = Arc::new(facts);
        self.changed.insert(key.0.clone());
        self.by_uid.insert(facts.key.clone(), key.clone());
        self.pods.insert(key, facts.clone());
        self.send(PeerNews::Told(facts)).await
    }

    async fn remove_pod(&mut self, key: &Key) -> Result<(), End> {
        self.open.remove(key);
        let Some(facts) = self.pods.remove(key) else { return Ok(()) };
        self.by_uid.remove(&facts.key);
        self.changed.insert(key.0.clone());
        self.send(PeerNews::Gone(facts.key.clone())).await
    }

    /// Asks again for owners of whom nobody has told.
    async fn ask_for_owners(&mut self) -> Result<(), End> {
        for (key, pod) in std::mem::take(&mut self.open) {
            let Some(facts) = self.pods.get(&key).cloned() else { continue };
            self.tell_pod(key, PeerFacts::clone(&facts), pod).await?;
        }
        Ok(())
    }

    /// Tells of the Services of all namespaces in which something has changed.
    async fn settle(&mut self) -> Result<(), End> {
        for namespace in std::mem::take(&mut self.changed) {
            let of_namespace = |key: &Key| key.0 == namespace;
            let first: Key = (namespace.clone(), "".into());
            let slices = self.slices.range(first.clone()..).take_while(|(key, _)| of_namespace(key));
            let backs: Vec<&Backs> = slices.map(|(_, backs)| backs).collect();
            let pod = |uid: &str| Some(&**self.pods.get(self.by_uid.get(uid)?)?);
            let names = (&namespace, &self.cluster, &self.source);
            let fronts = self.services.range(first..).take_while(|(key, _)| of_namespace(key));
            let mut now: HashMap<Arc<str>, PeerFacts> = HashMap::new();
            for (_, front) in fronts {
                let mut facts = facts(front, names, &backs, pod);
                if self.cut.has(&namespace)
                    && let PeerKind::Service(service) = &mut facts.kind
                {
                    let unknown = Leads::Unknown("there are more endpoint slices than are kept".into());
                    service.ports.iter_mut().for_each(|port| port.leads = unknown.clone());
                }
                now.insert(facts.key.clone(), facts);
            }
            let gone: Vec<Arc<str>> = (self.told.iter())
                .filter(|(key, facts)| facts.namespace == namespace && !now.contains_key(*key))
                .map(|(key, _)| key.clone())
                .collect();
            for key in gone {
                self.told.remove(&key);
                self.send(PeerNews::Gone(key)).await?;
            }
            for (key, facts) in now {
                if self.told.get(&key).is_some_and(|told| **told == facts) {
                    continue;
                }
                let facts = Arc::new(facts);
                self.told.insert(key, facts.clone());
                self.send(PeerNews::Told(facts)).await?;
            }
        }
        self.send(PeerNews::Counters(self.counters)).await
    }
}

fn key(metadata: &Metadata, uid: &str) -> Option<Key> {
    is_uid(uid).then_some(())?;
    Some((named(&metadata.namespace)?, uid.into()))
}

fn key_by_name(metadata: &Metadata) -> Option<Key> {
    Some((named(&metadata.namespace)?, named(&metadata.name)?))
}

#[cfg(test)]
#[path = "peers_tests.rs"]
mod tests;
