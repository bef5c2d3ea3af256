use std::sync::Arc;
use std::time::{Duration, Instant};

use super::record::{DORMANT_AFTER, Life, RETURNED_FOR, State, Update};
use super::store::{Decide, Places, Seen, Store, StoreError};
use super::*;
use crate::host::HostRoot;
use crate::model::time::{ClockPair, WallTime};
use crate::ship::wire::examples;

const SECOND: u64 = 1_000_000_000;

fn clocks() -> ClockPair {
    ClockPair { boot: BootTime::from_ns(0), wall: WallTime { unix_ns: 1_000 * SECOND as i64 } }
}

fn event(attribution: &Arc<Attribution>, at: u64) -> Event {
    let what = What::CredentialAccess(examples::credential("/home/alice/.aws/credentials".into()));
    let activity = examples::activity(examples::curl(), "file_open", what);
    let activity = Activity { attribution: attribution.clone(), ..activity };
    examples::event(at, activity)
}

pub(crate) fn executable(number: usize) -> Arc<Attribution> {
    let path = format!("/x/{number}").into_bytes().into();
    Arc::new(Attribution {
        identity: Identity::Executable { path, uid: 0 },
        human: None,
        ..Attribution::clone(&examples::alice())
    })
}

fn updates(sightings: &mut Sightings) -> Vec<Update> {
    sightings.take().iter().map(|sighting| Update::new(sighting, None, "boot", clocks())).collect()
}

#[test]
fn a_session_is_counted_once_however_often_it_is_taken() {
    let (mut sightings, mut life) = (Sightings::new(7), Life::default());
    for at in 1..5 {
        sightings.event(&event(&examples::tool(), at * SECOND));
        sightings.event(&event(&examples::tool(), at * SECOND + 1));
        for update in updates(&mut sightings) {
            assert_eq!(update.identity, "agent/claude-code@human/alice");
            life.add(&update.seen);
        }
    }
    assert_eq!((life.sessions, life.events, life.credentials, life.connections), (1, 8, 8, 0));
    assert_eq!((life.first_seen_ns, life.last_seen_ns), (1_001_000_000_000, 1_004_000_000_001));
    assert_eq!(life.human.as_deref(), Some("human/alice"));
    assert!(sightings.take().is_empty());
}

#[test]
fn more_identities_than_are_kept_are_counted() {
    let mut sightings = Sightings::new(7);
    for number in 0..IDENTITIES + 7 {
        sightings.event(&event(&executable(number), SECOND));
    }
    sightings.event(&event(&executable(0), SECOND));
    assert_eq!(sightings.turned_away(), 7);
    assert_eq!(sightings.take().len(), IDENTITIES);
    sightings.event(&event(&executable(IDENTITIES + 1), SECOND));
    assert_eq!((sightings.turned_away(), sightings.take().len()), (7, 1));
}

#[test]
fn a_life_goes_through_its_states() {
    let dormant = DORMANT_AFTER.as_nanos() as i64;
    let at = |first: i64| Life { first_seen_ns: first, last_seen_ns: first, events: 1, ..Life::default() };
    let mut life = Life::default();
    life.add(&at(100));
    assert_eq!(
        (life.state(100), life.state(99 + dormant), life.state(100 + dormant)),
        (State::Active, State::Active, State::Dormant)
    );
    let back = 100 + dormant;
    life.add(&at(back));
    assert_eq!((life.first_seen_ns, life.returned_ns, life.state(back)), (100, Some(back), State::Returned));
    assert_eq!(life.state(back + RETURNED_FOR.as_nanos() as i64), State::Active);
    // A clock that was set back.
    life.add(&at(50));
    assert_eq!((life.first_seen_ns, life.last_seen_ns, life.state(60)), (50, back, State::Returned));
    life.retired = Some(super::record::Decision {
        owner: String::new(),
        by: "root".to_owned(),
        reason: String::new(),
        at_ns: back + 1,
    });
    assert_eq!(life.state(back + 2), State::Retired);
    life.add(&at(back + 3));
    assert_eq!(life.state(back + 4), State::RetiredActive);
}

#[test]
fn a_life_stays_small() {
    let mut life = Life::default();
    for number in 0..1_000_u64 {
        let seen = Life {
            events: 1,
            recent_sessions: vec![number],
            started_by: vec![format!("svc/{number}")],
            ..Life::default()
        };
        life.add(&seen);
    }
    assert_eq!((life.sessions, life.events), (1_000, 1_000));
    assert!(rmp_serde::to_vec_named(&life).unwrap().len() < 2_048);
    assert_eq!(life.started_by.last().map(String::as_str), Some("svc/999"));
}

pub(crate) struct Kept {
    directory: tempfile::TempDir,
}

impl Kept {
    pub(crate) fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        std::fs::create_dir(directory.path().join("etc")).unwrap();
        std::fs::write(directory.path().join("etc/passwd"), "alice:x:1000:1000::/:/bin/sh\n").unwrap();
        Self { directory }
    }

    pub(crate) fn path(&self) -> &std::path::Path {
        self.directory.path()
    }

    pub(crate) fn start(&self) -> (Store, super::store::StoreThread) {
        let places = Places {
            state: Some(self.directory.path().join("state")),
            registry: self.directory.path().join("owners.toml"),
        };
        Store::start(places, Arc::new(HostRoot::at(self.directory.path()).unwrap())).unwrap()
    }
}

pub(crate) async fn add(store: &Store, attributions: &[Arc<Attribution>]) {
    let mut sightings = Sightings::new(7);
    attributions.iter().for_each(|attribution| sightings.event(&event(attribution, SECOND)));
    let identities = sightings.take().into_iter().map(|sighting| (sighting, None)).collect();
    let seen = Seen { identities, boot_id: "boot".to_owned(), clocks: clocks(), credentials: Vec::new() };
    assert!(store.add(seen));
    let begun = Instant::now();
    while !store.is_ready() {
        assert!(begun.elapsed() < Duration::from_secs(60));
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn what_an_operator_decides_outlives_the_thread() {
    let kept = Kept::new();
    let (store, thread) = kept.start();
    add(&store, &[examples::tool(), executable(1)]).await;
    let name = "exe/x/1@uid:0".to_owned();
    let own = Decide::Own { owner: "human/bob".to_owned() };
    let line = store.decide(name.clone(), own, "uid 0".to_owned(), "his".to_owned()).await.unwrap();
    assert_eq!((line.owner.as_deref(), line.owner_source.as_deref()), (Some("human/bob"), Some("operator")));
    // The host's passwd file has no bob.
    assert!(line.owner_unknown);
    thread.stop();

    let (mut store, thread) = kept.start();
    let line = store.one(name.clone()).await.unwrap();
    assert_eq!((line.owner.as_deref(), line.events), (Some("human/bob"), 1));
    assert_eq!(line.owned.unwrap().reason, "his");
    let owners = store.new_owners().unwrap();
    assert_eq!(owners.of(&name, None, None).unwrap().name.as_ref(), "human/bob");
    let line = store.decide(name.clone(), Decide::Disown, String::new(), String::new()).await.unwrap();
    assert_eq!(line.owner, None);
    let line = store.decide(name, Decide::Retire, String::new(), String::new()).await.unwrap();
    assert_eq!(line.state, State::Retired);
    thread.stop();
}

#[tokio::test]
async fn the_registry_names_owners_and_is_read_again() {
    let kept = Kept::new();
    let registry =
        |owner: &str| format!("version = 1\n[[owner]]\nidentity = \"exe/x/*\"\nowner = \"{owner}\"\n");
    std::fs::write(kept.directory.path().join("owners.toml"), registry("team-one")).unwrap();
    let (mut store, thread) = kept.start();
    add(&store, &[examples::tool(), executable(1)]).await;
    let lines = store.list(String::new()).await.unwrap().lines;
    let owner = |name: &str| lines.iter().find(|line| line.identity == name).unwrap().owner.clone();
    assert_eq!(owner("exe/x/1@uid:0").as_deref(), Some("team-one"));
    assert_eq!(owner("agent/claude-code@human/alice").as_deref(), Some("human/alice"));
    // Another file of that name: its time is another, however coarse the clock of the file system.
    let other = kept.directory.path().join("other");
    std::fs::write(&other, registry("team-two")).unwrap();
    let later = std::time::SystemTime::now() + Duration::from_secs(5);
    std::fs::File::open(&other).unwrap().set_modified(later).unwrap();
    std::fs::rename(&other, kept.directory.path().join("owners.toml")).unwrap();
    store.list(String::new()).await.unwrap();
    let line = store.one("exe/x/1@uid:0".to_owned()).await.unwrap();
    assert_eq!(line.owner.as_deref(), Some("team-two"));
    assert_eq!(
        store.new_owners().unwrap().of("exe/x/9@uid:0", None, None).unwrap().name.as_ref(),
        "team-two"
    );
    thread.stop();
}

#[tokio::test]
async fn what_is_wrong_is_refused() {
    let kept = Kept::new();
    let (store, thread) = kept.start();
    add(&store, &[executable(1)]).await;
    let decide = |name: &str, what, reason: &str| {
        store.decide(name.to_owned(), what, "uid 0".to_owned(), reason.to_owned())
    };
    match decide("exe/x/2@uid:0", Decide::Retire, "").await {
        Err(StoreError::Unknown { nearest, .. }) => assert_eq!(nearest, ["exe/x/1@uid:0"]),
        other => panic!("{other:?}"),
    }
    for (owner, reason) in [("", ""), ("a\u{1b}b", ""), ("a", "\u{7}"), ("a", &"x".repeat(5_000))] {
        let what = Decide::Own { owner: owner.to_owned() };
        let refused = decide("exe/x/1@uid:0", what, reason).await;
        assert!(matches!(refused, Err(StoreError::Wrong(_))), "{refused:?}");
    }
    assert_eq!(store.one("exe/x/1@uid:0".to_owned()).await.unwrap().owner, None);
    thread.stop();
}

#[tokio::test]
async fn a_state_that_cannot_be_kept_is_kept_in_memory() {
    let kept = Kept::new();
    std::fs::write(kept.directory.path().join("state"), "a file").unwrap();
    let (store, thread) = kept.start();
    add(&store, &[executable(1)]).await;
    assert_eq!(store.list(String::new()).await.unwrap().lines.len(), 1);
    thread.stop();
}
