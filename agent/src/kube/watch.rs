//! Lists the node's pods, then watches what changes, for ever.
//!
//! A watch goes on from the version of the list, or of the last line; where that is too long ago (410), all are listed again
//! (<https://kubernetes.io/docs/reference/using-api/api-concepts/#efficient-detection-of-changes>). A kubelet has no watch: it
//! is asked again and again.

use std::collections::{HashMap, HashSet};
use std::mem::Discriminant;
use std::sync::Arc;
use std::time::Duration;

use backon::{BackoffBuilder as _, ExponentialBackoff, ExponentialBuilder};
use tokio::sync::{mpsc, watch};

use super::client::{Client, Failure, JSON, METADATA};
use super::namespaces::Namespaces;
use super::objects::{Change, List, Object, Pod, is_name, parse};
use super::owners::{Chain, Owners};
use super::reflect::{Collection, Pages, Rounds, Watching, reached};
use super::settings::Settings;
use crate::model::kube::{ClusterCounters, ClusterNews, ClusterState, PodFacts};

/// Pods that are told at once: Kubernetes is made for 110 a node, and large nodes run 500.
pub(super) const PODS: usize = 4_096;
/// Where pods are.
pub(super) const PODS_PATH: &str = "/api/v1/pods";
/// Bytes of one answer: a pod has about 10 KiB and 1.5 MiB at most. One that is larger is asked for in smaller pages.
pub(super) const LIST_BYTES: usize = 8 << 20;
/// Bytes of a kubelet's answer, which has no pages.
pub(super) const KUBELET_BYTES: usize = 32 << 20;
/// Bytes of a line of a watch.
pub(super) const LINE_BYTES: usize = 4 << 20;
/// Bytes of a namespace's metadata.
const NAMESPACE_BYTES: usize = 1 << 20;
/// A watch without a word for so long is broken: it is asked for for less.
pub(super) const IDLE: Duration = Duration::from_secs(150);
/// The cluster's name where it tells none, and none is configured.
const LOCAL: &str = "local";

/// How long is waited.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pace {
    /// After the first failure, doubling.
    pub(super) first: Duration,
    /// At most.
    pub(super) longest: Duration,
    /// Between two questions to a kubelet.
    pub(super) poll: Duration,
    /// Before what nobody answered of a pod's owners is asked again.
    pub(super) owners: Duration,
    /// Between two times that Services are joined with what is behind them.
    pub(super) settle: Duration,
}

impl Default for Pace {
    fn default() -> Self {
        let seconds = Duration::from_secs;
        let settle = Duration::from_millis(250);
        Self { first: seconds(1), longest: seconds(30), poll: seconds(10), owners: seconds(10), settle }
    }
}

impl Pace {
    /// With jitter: the agents of a cluster would else all ask at once when its API server is back.
    pub(super) fn waits(self) -> ExponentialBackoff {
        let builder = ExponentialBuilder::default().with_min_delay(self.first).with_max_delay(self.longest);
        builder.without_max_times().with_jitter().build()
    }
}

/// Why a round ended.
#[derive(Debug)]
enum End {
    /// Nobody listens any more.
    Closed,
    /// Something could not be had.
    Failed(Failure),
}

impl From<Failure> for End {
    fn from(failure: Failure) -> Self {
        Self::Failed(failure)
    }
}

/// Asks until nobody listens any more.
pub(super) async fn ask(
    settings: &Settings,
    tell: &mpsc::Sender<ClusterNews>,
    name: &watch::Sender<Option<Arc<str>>>,
) {
    ask_at(settings, tell, name, Pace::default()).await;
}

pub(super) async fn ask_at(
    settings: &Settings,
    tell: &mpsc::Sender<ClusterNews>,
    name: &watch::Sender<Option<Arc<str>>>,
    pace: Pace,
) {
    let mut asker = Asker::new(settings, tell, name, pace);
    tokio::select! {
        () = asker.run() => {}
        () = tell.closed() => {}
    }
}

struct Asker<'a> {
    settings: &'a Settings,
    tell: &'a mpsc::Sender<ClusterNews>,
    /// Who else asks the same cluster calls it the same.
    name: &'a watch::Sender<Option<Arc<str>>>,
    pace: Pace,
    server: Option<Client>,
    kubelet: Option<Client>,
    source: Arc<str>,
    cluster: Option<Arc<str>>,
    owners: Owners,
    namespaces: Namespaces,
    /// What was told, by key.
    told: HashMap<Arc<str>, Arc<PodFacts>>,
    /// Pods whose owners are to be asked for again.
    open: HashMap<Arc<str>, Pod>,
    counters: ClusterCounters,
    state: ClusterState,
    /// What the cluster fell silent with.
    silent: Option<Discriminant<Failure>>,
    since: Option<jiff::Timestamp>,
}

impl<'a> Asker<'a> {
    fn new(
        settings: &'a Settings,
        tell: &'a mpsc::Sender<ClusterNews>,
        name: &'a watch::Sender<Option<Arc<str>>>,
        pace: Pace,
    ) -> Self {
        let server = settings.server.clone().map(Client::new);
        let kubelet = settings.kubelet.clone().map(Client::new);
        let source = match (&kubelet, &server) {
            (Some(kubelet), _) => format!("the kubelet {}", kubelet.url()),
            (None, Some(server)) => format!("the API server {}", server.url()),
            (None, None) => String::new(),
        };
        Self {
            settings,
            tell,
            name,
            pace,
            server,
            kubelet,
            source: source.trim_end_matches('/').into(),
            cluster: None,
            owners: Owners::new(pace.owners / 2),
            namespaces: Namespaces::new(pace.owners / 2),
            told: HashMap::new(),
            open: HashMap::new(),
            counters: ClusterCounters::default(),
            state: ClusterState::NotAsked,
            silent: None,
            since: None,
        }
    }

    async fn run(&mut self) {
        if self.say(ClusterState::Asked).await.is_err() {
            return;
        }
        let mut rounds = Rounds::new(self.pace);
        // The version up to which all is known.
        let mut version = None;
        loop {
            rounds.begin();
            let end = self.round(&mut version).await;
            if self.tell(ClusterNews::Counters(self.counters)).await.is_err() {
                return;
            }
            let lasted = rounds.has_lasted();
            match end {
                Ok(()) if lasted => rounds.reset(),
                // It may be a lie: it is not asked faster than one that fails.
                Ok(()) => rounds.wait().await,
                Err(End::Closed) => return,
                Err(End::Failed(failure)) => {
                    self.counters.failures += 1;
                    let was_watched = version.is_some() && self.state == ClusterState::Answers && lasted;
                    if failure.begins_anew() {
                        version = None;
                    }
                    // A watch that broke is begun anew; so is one from too long ago.
                    if was_watched {
                        rounds.reset();
                    } else if self.fall_silent(&failure).await.is_err() {
                        return;
                    }
                    rounds.wait().await;
                }
            }
        }
    }

    async fn tell(&self, news: ClusterNews) -> Result<(), End> {
        self.tell.send(news).await.map_err(|_| End::Closed)
    }

    async fn say(&mut self, state: ClusterState) -> Result<(), End> {
        if self.state == state {
            return Ok(());
        }
        self.state = state.clone();
        self.tell(ClusterNews::State(state)).await
    }

    async fn answers(&mut self) -> Result<(), End> {
        if self.state != ClusterState::Answers {
            let cluster = self.cluster.as_deref().unwrap_or_default();
            tracing::info!(cluster, pods = self.told.len(), "{} tells of this node's pods", self.source);
            if self.told.is_empty() {
                let node = &self.settings.node;
                tracing::warn!("{} knows no pod of node {node:?}: is this node called so?", self.source);
            }
        }
        (self.silent, self.since) = (None, None);
        self.say(ClusterState::Answers).await
    }

    async fn fall_silent(&mut self, failure: &Failure) -> Result<(), End> {
        let kind = std::mem::discriminant(failure);
        if self.silent == Some(kind) {
            return Ok(());
        }
        self.silent = Some(kind);
        let since = *self.since.get_or_insert_with(jiff::Timestamp::now);
        let why = format!("{}: {failure}, since {since:.0}", self.source);
        tracing::warn!("pods are told as they are known: {}", why.escape_debug());
        self.say(ClusterState::Silent(why.into())).await
    }

    /// One list, or one watch.
    async fn round(&mut self, version: &mut Option<String>) -> Result<(), End> {
        self.name_cluster().await?;
        if self.kubelet.is_some() {
            self.poll().await?;
            self.answers().await?;
            tokio::time::sleep(self.pace.poll).await;
            return Ok(());
        }
        let from = match version {
            Some(from) => from.clone(),
            None => {
                let from = self.list().await?;
                self.answers().await?;
                version.insert(from).clone()
            }
        };
        self.watch(from, version).await
    }

    /// Before the first pod: a name that changed would make other identities of all.
    async fn name_cluster(&mut self) -> Result<(), End> {
        if self.cluster.is_some() {
            return Ok(());
        }
        let name = match (&self.settings.cluster, &mut self.server) {
            (Some(name), _) => name.clone(),
            (None, Some(server)) => {
                let path = "/api/v1/namespaces/kube-system";
                match server.get(path, &[], METADATA, NAMESPACE_BYTES).await {
                    Ok(bytes) => {
                        let uid = parse::<Object>(&bytes).map_err(Failure::Malformed)?.metadata.uid;
                        if !is_name(&uid, 64) {
                            return Err(Failure::Malformed("kube-system has no uid".to_owned()).into());
                        }
                        uid
                    }
                    Err(failure) if failure.is_passing() => return Err(failure.into()),
                    Err(failure) => unnamed(&failure.to_string()),
                }
            }
            (None, None) => unnamed("no API server is asked"),
        };
        let name: Arc<str> = name.into();
        self.cluster = Some(name.clone());
        self.name.send_replace(Some(name));
        Ok(())
    }

    /// Tells of all pods, and which are gone; the version of that.
    async fn list(&mut self) -> Result<String, End> {
        let collection = pods_of(&self.settings.node);
        let mut pages = Pages::of(&collection, PODS);
        let mut seen = HashSet::new();
        while let Some(server) = &mut self.server {
            let Some(pods) = pages.next::<Pod>(server).await? else { break };
            for pod in pods {
                seen.extend(self.add(pod).await?);
            }
        }
        self.counters.lists += 1;
        self.forget_all_but(&seen).await?;
        Ok(pages.version())
    }

    async fn poll(&mut self) -> Result<(), End> {
        let Some(kubelet) = &mut self.kubelet else { return Ok(()) };
        let bytes = kubelet.get("/pods", &[], JSON, KUBELET_BYTES).await?;
        let List { items, .. } = parse::<List<Pod>>(&bytes).map_err(Failure::Malformed)?;
        drop(bytes);
        let mut seen = HashSet::new();
        for pod in items.into_iter().flatten().flatten() {
            seen.extend(self.add(pod).await?);
        }
        self.counters.lists += 1;
        self.forget_all_but(&seen).await
    }

    /// Tells of a pod, if there is something new; its key.
    async fn add(&mut self, pod: Pod) -> Result<Option<Arc<str>>, End> {
        if pod.node() != Some(self.settings.node.as_str()) || pod.is_over() {
            return Ok(None);
        }
        let Some(mut facts) = pod.facts(&self.settings.owner_labels) else {
            self.counters.refused += 1;
            return Ok(None);
        };
        let key = facts.key();
        if self.told.len() >= PODS && !self.told.contains_key(&key) {
            self.counters.refused += 1;
            return Ok(None);
        }
        if facts.owner.is_none() && self.settings.namespace_owners {
            let names = &self.settings.owner_labels;
            facts.owner = self.namespaces.owner_of(&facts.namespace, names, self.server.as_mut()).await;
        }
        let chain = self.owners.of(&pod, self.server.as_mut()).await;
        let is_open = chain.is_open;
        self.tell_pod(key.clone(), facts, chain).await?;
        if is_open {
            self.open.insert(key.clone(), pod.for_its_owners());
        } else {
            self.open.remove(&key);
        }
        Ok(Some(key))
    }

    async fn tell_pod(&mut self, key: Arc<str>, facts: PodFacts, chain: Chain) -> Result<(), End> {
        let Chain { workload, doubt: workload_doubt, is_open: _ } = chain;
        let (cluster, source) = (self.cluster.clone().unwrap_or_default(), self.source.clone());
        let facts = Arc::new(PodFacts { cluster, source, workload, workload_doubt, ..facts });
        if self.told.get(&key) == Some(&facts) {
            return Ok(());
        }
        self.told.insert(key, facts.clone());
        self.tell(ClusterNews::Pod(facts)).await
    }

    async fn remove(&mut self, key: Arc<str>) -> Result<(), End> {
        self.open.remove(&key);
        match self.told.remove(&key) {
            Some(_) => self.tell(ClusterNews::Gone(key)).await,
            None => Ok(()),
        }
    }

    async fn forget_all_but(&mut self, seen: &HashSet<Arc<str>>) -> Result<(), End> {
        let gone: Vec<Arc<str>> = self.told.keys().filter(|key| !seen.contains(*key)).cloned().collect();
        for key in gone {
            self.remove(key).await?;
        }
        Ok(())
    }

    /// Asks again for owners of whom nobody has told.
    async fn ask_for_owners(&mut self) -> Result<(), End> {
        for (key, pod) in std::mem::take(&mut self.open) {
            let Some(facts) = self.told.get(&key).cloned() else { continue };
            let chain = self.owners.of(&pod, self.server.as_mut()).await;
            let is_open = chain.is_open;
            self.tell_pod(key.clone(), PodFacts::clone(&facts), chain).await?;
            if is_open {
                self.open.insert(key, pod);
            }
        }
        Ok(())
    }

    async fn watch(&mut self, from: String, version: &mut Option<String>) -> Result<(), End> {
        let Some(server) = &mut self.server else { return Ok(()) };
        let mut watching = Watching::begin(server, &pods_of(&self.settings.node), &from).await?;
        self.answers().await?;
        let mut owners = tokio::time::interval(self.pace.owners);
        loop {
            let change = tokio::select! {
                change = watching.next() => change?,
                _ = owners.tick(), if !self.open.is_empty() => {
                    self.ask_for_owners().await?;
                    continue;
                }
            };
            let Some(change) = change else { return Ok(()) };
            if let Some(reached) = reached(self.change(change).await?) {
                *version = Some(reached);
            }
        }
    }

    /// Takes a change; the version of it.
    async fn change(&mut self, change: Change<Pod>) -> Result<String, End> {
        let mut pod = match change {
            Change::Bookmark(object) => return Ok(object.metadata.resource_version),
            // The watch tells it as a failure.
            Change::Error(_) => return Ok(String::new()),
            Change::Deleted(pod) => {
                self.counters.changes += 1;
                if let Some(facts) = pod.facts(&[]) {
                    self.remove(facts.key()).await?;
                }
                return Ok(pod.metadata.resource_version);
            }
            Change::Added(pod) | Change::Modified(pod) => pod,
        };
        self.counters.changes += 1;
        let version = std::mem::take(&mut pod.metadata.resource_version);
        self.add(pod).await?;
        Ok(version)
    }
}

/// The name of a cluster that tells none.
fn unnamed(why: &str) -> String {
    tracing::warn!(
        "the cluster is called `{LOCAL}`: its own name, the uid of kube-system, cannot be had ({why})"
    );
    LOCAL.to_owned()
}

fn pods_of(node: &str) -> Collection {
    Collection { path: PODS_PATH, selector: Some(selector(node)) }
}

/// Pods of a node that run, or will: those that are over would take the room of others, and anybody can have many.
pub(super) fn selector(node: &str) -> String {
    format!("spec.nodeName={node},status.phase!=Succeeded,status.phase!=Failed")
}
