//! The thread that keeps lives: it adds what was seen to what is known, keeps what operators decide, and answers.
//!
//! One request at a time. It alone reads the registry of owners and writes the database, so a slow disk holds up it
//! alone: what is seen meanwhile waits in the event path's own table, which is bounded.

use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};
use tokio::sync::{oneshot, watch};

use super::Sighting;
use super::credentials::CredentialLife;
use super::database::{Database, DatabaseError, Row};
use super::lines::{CredentialLine, Line, PAGE, Page};
use super::owners::{self, Grounds, Owners, check_owner};
use super::record::{Decision, Life, Update};
use crate::attribute::users::{PasswdFile, Users};
use crate::host::HostRoot;
use crate::model::identity::{Identity, OwnerSource};
use crate::model::time::ClockPair;
use crate::operator::file::FileError;
use crate::operator::{entries, rules};

/// Requests that wait; an operator's beyond it is refused.
const WAITING: usize = 16;
/// Identities that could not be written and are kept in memory; beyond it what was seen is dropped, and said to be.
const UNWRITTEN: usize = 16_384;
/// Identities written at once.
const WRITTEN_AT_ONCE: usize = 512;
/// How often it is looked whether what operators write was changed.
const LOOK_EVERY: Duration = Duration::from_secs(2);
/// For writing what is left when the agent stops.
const STOP_WITHIN: Duration = Duration::from_secs(2);
/// Bytes of an operator's reason.
const REASON_BYTES: usize = 1_024;
/// From which likeness a name is offered where another is not known; 1 is the same.
const ALIKE: f64 = 0.7;
/// Names offered where one is not known.
const NEAREST: usize = 3;

/// Where it keeps what, and where it reads what.
#[derive(Clone, Debug)]
pub struct Places {
    /// The directory of the database; `None`: nothing outlives the agent.
    pub state: Option<PathBuf>,
    /// The realm: identities of others are kept apart.
    pub realm: Option<String>,
    /// The registry of owners.
    pub registry: PathBuf,
    /// Rules of identities.
    pub rules: PathBuf,
    /// Entries of SPIRE.
    pub entries: PathBuf,
}

/// What was seen since the last time.
#[derive(Debug)]
pub struct Seen {
    /// Of identities, each with who started it.
    pub identities: Vec<(Sighting, Option<Identity>)>,
    /// Of which boot.
    pub boot_id: String,
    /// What their times are.
    pub clocks: ClockPair,
    /// Of credentials, by their keys.
    pub credentials: Vec<(String, CredentialLife)>,
}

/// What an operator decides.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "decision")]
pub enum Decide {
    /// Somebody owns it.
    Own {
        /// Who.
        owner: String,
    },
    /// What an operator said of its owner counts no more.
    Disown,
    /// Its life has ended.
    Retire,
    /// It has not.
    Unretire,
}

/// Why a request was not met.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// There is no such identity.
    #[error("no identity `{name}` was seen{}", offer(nearest))]
    Unknown {
        /// What was asked for.
        name: String,
        /// Names most like it.
        nearest: Vec<String>,
    },
    /// The request is wrong.
    #[error("{0}")]
    Wrong(String),
    /// The database cannot be used.
    #[error(transparent)]
    Database(#[from] DatabaseError),
    /// Too many requests wait, or the agent ends.
    #[error("the agent has too much to do, or ends: try again")]
    Busy,
}

fn offer(names: &[String]) -> String {
    if names.is_empty() { String::new() } else { format!("; nearest: {}", names.join(", ")) }
}

enum Request {
    Add(Seen),
    Credentials(String, oneshot::Sender<Result<Page<CredentialLine>, StoreError>>),
    List(String, oneshot::Sender<Result<Page<Line>, StoreError>>),
    One(String, oneshot::Sender<Result<Line, StoreError>>),
    Decide {
        identity: String,
        what: Decide,
        by: String,
        reason: String,
        reply: oneshot::Sender<Result<Line, StoreError>>,
    },
    Stop,
}

/// The way to the thread.
#[derive(Clone)]
pub struct Store {
    requests: SyncSender<Request>,
    adding: Arc<AtomicBool>,
    owners: watch::Receiver<Arc<Owners>>,
}

/// The thread itself, to be waited for at the end.
pub struct StoreThread {
    requests: SyncSender<Request>,
    /// Closed when the thread has ended.
    ended: Receiver<()>,
}

impl Store {
    /// Starts the thread.
    ///
    /// # Errors
    /// Where no thread can be had. That the database cannot be is said, and lives are then kept in memory alone.
    pub fn start(places: Places, host: Arc<HostRoot>) -> io::Result<(Self, StoreThread)> {
        let (requests, asked) = sync_channel(WAITING);
        let (publish, owners) = watch::channel(Arc::default());
        let adding = Arc::new(AtomicBool::new(false));
        let store = Self { requests, adding: adding.clone(), owners };
        let (ending, ended) = sync_channel(1);
        std::thread::Builder::new().name("lives".to_owned()).spawn(move || {
            let _ending: SyncSender<()> = ending;
            Keeper::new(places, host, publish).serve(&asked, &adding);
        })?;
        let thread = StoreThread { requests: store.requests.clone(), ended };
        Ok((store, thread))
    }

    /// Whether what was given last was taken.
    pub fn is_ready(&self) -> bool {
        !self.adding.load(Ordering::Acquire)
    }

    /// Adds what was seen. It is lost where the thread has ended, or operators ask for too much: `false`.
    pub fn add(&self, seen: Seen) -> bool {
        if seen.identities.is_empty() && seen.credentials.is_empty() {
            return true;
        }
        self.adding.store(true, Ordering::Release);
        let is_taken = self.requests.try_send(Request::Add(seen)).is_ok();
        if !is_taken {
            self.adding.store(false, Ordering::Release);
        }
        is_taken
    }

    /// Owners, where they have changed since they were asked for last.
    pub fn new_owners(&mut self) -> Option<Arc<Owners>> {
        self.owners.has_changed().unwrap_or(false).then(|| self.owners.borrow_and_update().clone())
    }

    /// Identities behind a key, in the order of keys: a page of them.
    ///
    /// # Errors
    /// Where they cannot be read.
    pub async fn list(&self, after: String) -> Result<Page<Line>, StoreError> {
        self.ask(|reply| Request::List(after, reply)).await
    }

    /// Credentials behind a key, in the order of keys: a page of them.
    ///
    /// # Errors
    /// Where they cannot be read.
    pub async fn credentials(&self, after: String) -> Result<Page<CredentialLine>, StoreError> {
        self.ask(|reply| Request::Credentials(after, reply)).await
    }

    /// One identity.
    ///
    /// # Errors
    /// Where it is not known, or cannot be read.
    pub async fn one(&self, identity: String) -> Result<Line, StoreError> {
        self.ask(|reply| Request::One(identity, reply)).await
    }

    /// Keeps what an operator decides: on disk when this returns.
    ///
    /// # Errors
    /// Where the identity is not known, or it cannot be kept.
    pub async fn decide(
        &self,
        identity: String,
        what: Decide,
        by: String,
        reason: String,
    ) -> Result<Line, StoreError> {
        self.ask(|reply| Request::Decide { identity, what, by, reason, reply }).await
    }

    async fn ask<T>(
        &self,
        request: impl FnOnce(oneshot::Sender<Result<T, StoreError>>) -> Request,
    ) -> Result<T, StoreError> {
        let (reply, answer) = oneshot::channel();
        self.requests.try_send(request(reply)).map_err(|_| StoreError::Busy)?;
        answer.await.unwrap_or(Err(StoreError::Busy))
    }
}

impl StoreThread {
    /// Waits until all that was given is written and the thread has ended, for a while.
    pub fn stop(self) {
        let is_told = self.requests.try_send(Request::Stop).is_ok();
        if !is_told || self.ended.recv_timeout(STOP_WITHIN) == Err(RecvTimeoutError::Timeout) {
            tracing::warn!("what was seen of identities last could not be written in time");
        }
    }
}

/// What a file says, where it is another than it was (that it is not there is a state too), and is right.
fn read_again<T>(
    path: &Path,
    seen: &mut Option<SystemTime>,
    load: fn(&Path) -> Result<T, FileError>,
) -> Option<T> {
    let changed = std::fs::metadata(path).and_then(|metadata| metadata.modified()).ok();
    if std::mem::replace(seen, changed) == changed {
        return None;
    }
    load(path).inspect_err(|error| tracing::error!("{error}; what it said before stays in force")).ok()
}

/// Where it is said who owns an identity of this kind.
fn declared_by(kind: &str) -> OwnerSource {
    if kind == "kubernetes" { OwnerSource::Workload } else { OwnerSource::Unit }
}

/// The thread's own.
struct Keeper {
    places: Places,
    database: Option<Database>,
    unwritten: HashMap<String, Life>,
    unwritten_credentials: HashMap<String, CredentialLife>,
    dropped: u64,
    failing: bool,
    registry_seen: Option<SystemTime>,
    rules_seen: Option<SystemTime>,
    entries_seen: Option<SystemTime>,
    owners: Owners,
    publish: watch::Sender<Arc<Owners>>,
    passwd: PasswdFile,
    users: Users,
}

impl Keeper {
    fn new(places: Places, host: Arc<HostRoot>, publish: watch::Sender<Arc<Owners>>) -> Self {
        Self {
            places,
            database: None,
            unwritten: HashMap::new(),
            unwritten_credentials: HashMap::new(),
            dropped: 0,
            failing: false,
            registry_seen: None,
            rules_seen: None,
            entries_seen: None,
            owners: Owners::default(),
            publish,
            passwd: PasswdFile::new(host),
            users: Users::default(),
        }
    }

    fn serve(mut self, asked: &Receiver<Request>, adding: &AtomicBool) {
        self.begin();
        loop {
            match asked.recv_timeout(LOOK_EVERY) {
                Ok(Request::Add(seen)) => {
                    self.add(seen);
                    adding.store(false, Ordering::Release);
                }
                // Who asked may have gone.
                Ok(Request::List(after, reply)) => drop(reply.send(self.list(&after))),
                Ok(Request::Credentials(after, reply)) => drop(reply.send(self.credentials(&after))),
                Ok(Request::One(identity, reply)) => drop(reply.send(self.one(&identity))),
                Ok(Request::Decide { identity, what, by, reason, reply }) => {
                    drop(reply.send(self.decide(&identity, &what, by, reason)));
                }
                Err(RecvTimeoutError::Timeout) => {}
                Ok(Request::Stop) | Err(RecvTimeoutError::Disconnected) => return,
            }
            self.look_for_files();
        }
    }

    fn begin(&mut self) {
        self.database = Some(match self.open() {
            Ok(database) => database,
            Err(error) => {
                tracing::warn!("{error}; until the agent ends identities are kept in memory alone");
                match Database::in_memory() {
                    Ok(database) => database,
                    Err(error) => {
                        tracing::error!("identities are not kept: {error}");
                        return;
                    }
                }
            }
        });
        let mut decided = Vec::new();
        let shown = self.database().and_then(|database| {
            database.each(|identity, life: Life| {
                decided.extend(life.owned.map(|owned| (identity.to_owned(), owned.owner)));
            })
        });
        if let Err(error) = shown {
            tracing::error!("who owns what cannot be read: {error}");
        }
        decided.into_iter().for_each(|(identity, owner)| self.owners.decide(identity, Some(owner)));
        self.look_for_files();
        self.publish.send_replace(Arc::new(self.owners.clone()));
    }

    fn open(&self) -> Result<Database, DatabaseError> {
        let Places { state, realm, .. } = &self.places;
        state.as_ref().map_or_else(Database::in_memory, |state| Database::open(state, realm.as_deref()))
    }

    /// The database; opened again after it failed.
    fn database(&mut self) -> Result<&Database, DatabaseError> {
        let database = match self.database.take() {
            Some(database) => database,
            None => self.open()?,
        };
        Ok(self.database.insert(database))
    }

    /// What operators write is read again when its file has changed; what is wrong leaves the last in force.
    fn look_for_files(&mut self) {
        let Places { registry, rules, entries, .. } = &self.places;
        let registry = read_again(registry, &mut self.registry_seen, owners::load);
        let rules = read_again(rules, &mut self.rules_seen, rules::load);
        let entries = read_again(entries, &mut self.entries_seen, entries::load);
        if registry.is_none() && rules.is_none() && entries.is_none() {
            return;
        }
        registry.into_iter().for_each(|registry| self.owners.set_registry(registry));
        rules.into_iter().for_each(|rules| self.owners.set_rules(rules));
        entries.into_iter().for_each(|entries| self.owners.set_entries(entries));
        self.publish.send_replace(Arc::new(self.owners.clone()));
    }

    fn add(&mut self, Seen { identities, boot_id, clocks, credentials }: Seen) {
        for (key, seen) in credentials {
            if self.unwritten_credentials.len() < UNWRITTEN || self.unwritten_credentials.contains_key(&key) {
                self.unwritten_credentials.entry(key).or_default().add(&seen);
            } else {
                self.dropped += 1;
            }
        }
        for (sighting, starter) in identities {
            let Update { identity, seen } = Update::new(&sighting, starter.as_ref(), &boot_id, clocks);
            // A few at a time: in memory they are several times what they are in a sighting.
            if self.unwritten.len() >= WRITTEN_AT_ONCE && !self.failing {
                self.write();
            }
            if let Some(known) = self.unwritten.get_mut(&identity) {
                known.add(&seen);
            } else if self.unwritten.len() < UNWRITTEN {
                let mut new = Life::default();
                new.add(&seen);
                self.unwritten.insert(identity, new);
            } else {
                self.dropped += 1;
            }
        }
        self.write();
    }

    fn write(&mut self) {
        let identities = std::mem::take(&mut self.unwritten);
        if let Err(error) = self.write_rows(&identities, Life::add) {
            self.unwritten = identities;
            self.cannot_write(&error);
            return;
        }
        let credentials = std::mem::take(&mut self.unwritten_credentials);
        if let Err(error) = self.write_rows(&credentials, CredentialLife::add) {
            self.unwritten_credentials = credentials;
            self.cannot_write(&error);
            return;
        }
        if std::mem::take(&mut self.failing) {
            let dropped = std::mem::take(&mut self.dropped);
            tracing::warn!(
                dropped,
                "identities are written again; what was dropped meanwhile is not counted in them"
            );
        }
    }

    fn write_rows<R: Row>(
        &mut self,
        rows: &HashMap<String, R>,
        add: fn(&mut R, &R),
    ) -> Result<(), DatabaseError> {
        if rows.is_empty() {
            return Ok(());
        }
        self.database()?.change(rows.iter().map(|(key, seen)| (key.as_str(), seen)), add)
    }

    fn cannot_write(&mut self, error: &DatabaseError) {
        // After an error of its disk a database takes nothing more until it is opened again.
        self.database = None;
        if !std::mem::replace(&mut self.failing, true) {
            tracing::error!("identities cannot be written: {error}");
        }
    }

    fn list(&mut self, after: &str) -> Result<Page<Line>, StoreError> {
        self.look_for_users();
        let now = now_ns();
        let mut rows = self.database()?.page::<Life>(after, PAGE)?;
        for (identity, life) in &mut rows {
            if let Some(seen) = self.unwritten.get(identity) {
                life.add(seen);
            }
        }
        Ok(Page::of(rows, |identity, life| self.line(identity, life, now)))
    }

    fn credentials(&mut self, after: &str) -> Result<Page<CredentialLine>, StoreError> {
        let now = now_ns();
        let mut rows = self.database()?.page::<CredentialLife>(after, PAGE)?;
        for (key, life) in &mut rows {
            if let Some(seen) = self.unwritten_credentials.get(key) {
                life.add(seen);
            }
        }
        Ok(Page::of(rows, |_, life| CredentialLine::new(life, now)))
    }

    fn one(&mut self, identity: &str) -> Result<Line, StoreError> {
        self.look_for_users();
        let Some(mut life) = self.database()?.get::<Life>(identity)? else {
            return Err(self.unknown(identity));
        };
        if let Some(seen) = self.unwritten.get(identity) {
            life.add(seen);
        }
        Ok(self.line(identity.to_owned(), life, now_ns()))
    }

    fn unknown(&mut self, name: &str) -> StoreError {
        let mut likest: Vec<(f64, String)> = Vec::new();
        let shown = self.database().and_then(|database| {
            database.each(|identity, _: Life| {
                let likeness = strsim::jaro_winkler(name, identity);
                if likeness > ALIKE {
                    likest.push((likeness, identity.to_owned()));
                    likest.sort_by(|(one, _), (other, _)| other.total_cmp(one));
                    likest.truncate(NEAREST);
                }
            })
        });
        if let Err(error) = shown {
            tracing::debug!(%error, "names like this one cannot be looked for");
        }
        let nearest = likest.into_iter().map(|(_, identity)| identity).collect();
        StoreError::Unknown { name: name.escape_debug().to_string(), nearest }
    }

    fn decide(
        &mut self,
        identity: &str,
        what: &Decide,
        by: String,
        reason: String,
    ) -> Result<Line, StoreError> {
        if reason.len() > REASON_BYTES || reason.chars().any(char::is_control) {
            let message = format!("a reason has at most {REASON_BYTES} bytes and no control characters");
            return Err(StoreError::Wrong(message));
        }
        if let Decide::Own { owner } = what {
            check_owner(owner).map_err(|why| StoreError::Wrong(format!("the owner {owner:?}: {why}")))?;
        }
        if self.database()?.get::<Life>(identity)?.is_none() {
            return Err(self.unknown(identity));
        }
        let owner = if let Decide::Own { owner } = what { owner.clone() } else { String::new() };
        let decision = Decision { owner, by, reason, at_ns: now_ns() };
        let change = |life: &mut Life, ()| match what {
            Decide::Own { .. } => life.owned = Some(decision.clone()),
            Decide::Disown => life.owned = None,
            Decide::Retire => life.retired = Some(decision.clone()),
            Decide::Unretire => life.retired = None,
        };
        let written = self.database()?.change([(identity, ())], change);
        if let Err(error) = written {
            self.database = None;
            return Err(error.into());
        }
        match what {
            Decide::Own { owner } => self.owners.decide(identity.to_owned(), Some(owner.clone())),
            Decide::Disown => self.owners.decide(identity.to_owned(), None),
            Decide::Retire | Decide::Unretire => {}
        }
        self.publish.send_replace(Arc::new(self.owners.clone()));
        self.one(identity)
    }

    fn look_for_users(&mut self) {
        // Where it cannot be read the last ones stay.
        if let Ok(Some(users)) = self.passwd.poll() {
            self.users = users;
        }
    }

    fn line(&self, identity: String, life: Life, now: i64) -> Line {
        let rule = life.evidence.iter().find(|proof| proof.kind == rules::EVIDENCE);
        let grounds = Grounds {
            rule: rule.map(|proof| proof.detail.as_str()),
            declared: life.declared_owner.as_deref().map(|owner| (owner, declared_by(&life.kind))),
            human: life.human.as_deref(),
        };
        let owner = self.owners.of(&identity, grounds);
        let owner_unknown = owner.as_ref().is_some_and(|owner| self.is_unknown_person(&owner.name));
        Line { owner_unknown, ..Line::new(identity, life, owner, now) }
    }

    fn is_unknown_person(&self, owner: &str) -> bool {
        match owner.parse() {
            Ok(Identity::Human { user }) => !self.users.has(&user),
            _ => false,
        }
    }
}

fn now_ns() -> i64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_nanos()).unwrap_or(i64::MAX)
}
