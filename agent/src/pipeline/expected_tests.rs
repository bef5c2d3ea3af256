//! Expected reads through the whole pipeline, from records made by hand.

use std::path::Path;

use agent_common::records::{Actor as ActorRecord, FileRecord, acquired, exec_flag, memory};
use proptest::prelude::*;

use super::*;
use crate::attribute::Attributor;
use crate::attribute::users::Users;
use crate::capture::ledger::Ledger;
use crate::capture::sequence::Start;
use crate::capture::testing::{ExecSpec, Stream, actor};
use crate::catalogue::Catalogue;
use crate::catalogue::enumerate::KnownFiles;
use crate::catalogue::file::Source;
use crate::model::event::{Activity, CredentialAccess, What};
use crate::names::resolvers::Fixed;
use crate::pipeline::Parts;
use crate::process::ProcessTable;
use crate::process::inventory::Inventory;
use crate::session::Tags;

const HOST: HostNamespaces = HostNamespaces { mount: 11, user: 12 };
const SECOND: u64 = 1_000_000_000;
const KEY: &str = "/srv/keys/one";
const READER: &str = "/usr/bin/reader";
const CATALOGUE: &str = r#"
    version = 1
    [[credential]]
    name = "key"
    kind = "test"
    sensitivity = 3
    paths = ["/srv/keys/*"]
    expected_readers = ["reader", "/srv/ours/*er"]
    comment = "A key."
    [[credential]]
    name = "other"
    kind = "test"
    sensitivity = 3
    paths = ["/srv/others/*"]
    comment = "Nobody's."
"#;

/// Everything below /usr and /srv is root's, but what is called `loose`.
struct Everything;

impl Installed for Everything {
    fn is_installed(&mut self, path: &RawBytes, _: &FileRef) -> bool {
        !path.as_bytes().ends_with(b"loose-reader")
    }

    fn learn(&mut self, _: Judgement) {}
}

struct World {
    pipeline: Pipeline,
    stream: Stream,
    ledger: Arc<Ledger>,
    told: Vec<Event>,
}

impl World {
    fn new() -> Self {
        let ledger = Arc::new(Ledger::new());
        let source = Source { file: "test".into(), text: CATALOGUE.into() };
        let pipeline = Pipeline::new(Parts {
            start: Start::AtZero,
            ledger: ledger.clone(),
            table: ProcessTable::new(|argv| argv.to_vec(), 10_000_000),
            attributor: Attributor::new(HOST, Users::default()),
            catalogue: Arc::new(Catalogue::from_sources(&[source]).unwrap()),
            known: KnownFiles::default(),
            resolvers: Box::new(Fixed::default()),
            installed: Box::new(Everything),
            host: HOST,
            tags: Tags::default(),
            own: None,
        });
        Self { pipeline, stream: Stream::new(SECOND), ledger, told: Vec::new() }
    }

    fn take(&mut self, record: &[u8]) {
        let (told, ledger) = (&mut self.told, &self.ledger);
        self.pipeline.record(record, &mut |event| {
            ledger.add(Tally::NotShipped, 1);
            told.push(event);
        });
    }

    fn run(&mut self, who: &ActorRecord, spec: &ExecSpec<'_>) {
        let record = self.stream.exec(who, spec);
        self.take(&record);
    }

    fn open(&mut self, who: &ActorRecord, path: &str) {
        self.open_as(who, path, |_| {});
    }

    fn open_as(&mut self, who: &ActorRecord, path: &str, change: impl FnOnce(&mut FileRecord)) {
        let mut record = self.stream.file_open(who, path, 5, 6);
        let (head, rest) = zerocopy::FromBytes::read_from_prefix(&record)
            .map(|(head, rest): (FileRecord, _)| (head, rest.to_vec()))
            .unwrap();
        let mut head = head;
        change(&mut head);
        record = [zerocopy::IntoBytes::as_bytes(&head), &rest].concat();
        self.take(&record);
    }

    fn now(&self) -> BootTime {
        BootTime::from_ns(self.stream.time_boot_ns)
    }

    fn tick(&mut self) {
        let (now, told, ledger) = (self.now(), &mut self.told, &self.ledger);
        self.pipeline.tick(now, None, &mut |event| {
            ledger.add(Tally::NotShipped, 1);
            told.push(event);
        });
    }

    fn finish(&mut self) {
        let (now, told, ledger) = (self.now(), &mut self.told, &self.ledger);
        self.pipeline.finish(now, None, &[], &mut |event| {
            ledger.add(Tally::NotShipped, 1);
            told.push(event);
        });
    }

    /// What was told since the last call: `!` for an access that is not expected, `1` for the first expected one, and
    /// counts of repeats.
    fn told(&mut self) -> Vec<String> {
        let mark = |event: Event| match event.kind {
            EventKind::Activity(activity) => match activity.what {
                What::CredentialAccess(CredentialAccess { expected: true, .. }) => "1".to_owned(),
                What::CredentialAccess(_) => "!".to_owned(),
                _ => "other".to_owned(),
            },
            EventKind::Repeat(repeat) => format!("x{}", repeat.count),
            _ => "gap".to_owned(),
        };
        std::mem::take(&mut self.told).into_iter().map(mark).collect()
    }

    /// Every open is an event or in a count that is told or waits.
    fn check(&self) {
        if let Err(imbalance) = self.ledger.check_running() {
            // No kernel counted these records.
            assert_eq!(imbalance.equation, "read ≤ submitted + inherited", "{imbalance}");
        }
        let of = |tally| self.ledger.get(tally);
        assert_eq!(of(Tally::ExpectedRead), of(Tally::FoldTold) + of(Tally::FoldWaiting));
        assert_eq!(
            of(Tally::Decoded),
            of(Tally::Context) + of(Tally::Activity) + of(Tally::ExpectedRead) + of(Tally::NotACredential)
        );
    }
}

fn reader() -> ActorRecord {
    ActorRecord { mount_namespace: HOST.mount, user_namespace: HOST.user, ..actor(100, 50) }
}

fn spec(exe: &str) -> ExecSpec<'_> {
    ExecSpec { exe, argv: &[b"reader"], cwd: "/", cgroup: "/", ..ExecSpec::default() }
}

#[test]
fn the_first_is_told_and_the_rest_are_counted() {
    let mut world = World::new();
    world.run(&reader(), &spec(READER));
    (0..5).for_each(|_| world.open(&reader(), KEY));
    assert_eq!(world.told(), ["1"]);
    world.check();
    world.tick();
    assert_eq!(world.told(), <[&str; 0]>::default(), "counts are told after a while");
    world.stream.time_boot_ns += TOLD_AFTER_NS;
    world.tick();
    world.tick();
    assert_eq!(world.told(), ["x4"]);
    // Ever more seldom, and within a bound.
    let ticks: Vec<usize> = (0..30)
        .filter(|_| {
            world.open(&reader(), KEY);
            world.stream.time_boot_ns += SECOND;
            world.tick();
            !world.told().is_empty()
        })
        .collect();
    assert_eq!(ticks, [1, 5, 13, 23]);
    world.told();
    world.finish();
    assert_eq!(world.told(), ["x6"]);
    world.open(&reader(), KEY);
    world.finish();
    assert_eq!(world.told(), ["x1"]);
    assert_eq!(world.ledger.get(Tally::FoldWaiting), 0);
    world.check();
}

#[test]
fn a_repeat_says_which_read_it_was() {
    let mut world = World::new();
    world.run(&reader(), &spec(READER));
    (0..3).for_each(|_| world.open(&reader(), KEY));
    world.finish();
    let [first, again] = &world.told[..] else { panic!("{:?}", world.told) };
    let (EventKind::Activity(first), EventKind::Repeat(again)) = (&first.kind, &again.kind) else {
        panic!("{first:?} {again:?}")
    };
    let Activity { attribution, process, .. } = &**first;
    let Folded::Read(read) = &again.of else { panic!("{again:?}") };
    assert_eq!((&read.attribution.identity, &read.image), (&attribution.identity, &process.image));
    assert_eq!((&*read.credential, read.path.as_bytes(), read.euid), ("key", KEY.as_bytes(), 1000));
    assert_eq!((again.count, again.last), (2, world.now()));
}

#[test]
fn whatever_differs_is_told() {
    let mut world = World::new();
    world.run(&reader(), &spec(READER));
    world.open(&reader(), KEY);
    world.open(&reader(), "/srv/keys/two");
    world.open(&ActorRecord { euid: 0, ..reader() }, KEY);
    assert_eq!(world.told(), ["1", "1", "1"]);
    // Another identity, as another user.
    let bob = ActorRecord { tgid: 101, tid: 101, uid: 1001, euid: 1001, login_uid: 1001, ..reader() };
    world.run(&bob, &spec(READER));
    world.open(&bob, KEY);
    world.run(&reader(), &spec("/srv/ours/reader"));
    world.open(&reader(), KEY);
    assert_eq!(world.told(), ["1", "1"], "another user, another path of the program: another identity");
    world.open(&bob, KEY);
    assert_eq!(world.told(), <[&str; 0]>::default());
    world.check();
}

#[test]
fn another_process_of_the_same_program_is_counted_with_it() {
    let mut world = World::new();
    for pid in 100..110 {
        let who = ActorRecord { tgid: pid, tid: pid, ..reader() };
        world.run(&who, &spec(READER));
        world.open(&who, KEY);
        let gone = world.stream.exit(&who, 0);
        world.take(&gone);
    }
    assert_eq!(world.told(), ["1"]);
    world.finish();
    assert_eq!(world.told(), ["x9"]);
}

#[test]
fn only_plain_reads_are_folded() {
    let mut world = World::new();
    world.run(&reader(), &spec(READER));
    let changes: [fn(&mut FileRecord); 8] = [
        |record| record.access_mode = 2,
        |record| record.access_mode = 3,
        |record| (record.access_mode, record.open_flags) = (2, libc::O_TRUNC as u32),
        |record| record.open_flags = libc::O_TRUNC as u32,
        |record| record.how = acquired::RECEIVED,
        |record| record.how = acquired::TAKEN,
        |record| record.how = acquired::INHERITED,
        |record| record.flags |= agent_common::records::file_flag::PATH_TRUNCATED,
    ];
    for change in changes {
        world.open(&reader(), KEY);
        world.told();
        (0..2).for_each(|_| world.open_as(&reader(), KEY, change));
        assert!(world.told().iter().all(|told| told == "!"));
    }
    world.open(&reader(), "/srv/others/one");
    assert_eq!(world.told(), ["!"]);
}

#[test]
fn nobody_else_is_expected() {
    let elsewhere = |mount, user| ActorRecord { mount_namespace: mount, user_namespace: user, ..reader() };
    let host = reader();
    let specs = [
        ("a copy", host, spec("/tmp/reader")),
        ("a home's", host, spec("/home/alice/.local/bin/reader")),
        ("a loose one", host, spec("/srv/ours/loose-reader")),
        ("an interpreter", host, ExecSpec { filename: "/usr/bin/reader", ..spec("/usr/bin/python3.13") }),
        ("a script", host, ExecSpec { filename: "/usr/bin/x", ..spec(READER) }),
        ("a preload", host, ExecSpec { flags: exec_flag::PRELOAD, ..spec(READER) }),
        ("a long environment", host, ExecSpec { flags: exec_flag::ENVIRONMENT_TRUNCATED, ..spec(READER) }),
        ("another mount namespace", elsewhere(99, HOST.user), spec(READER)),
        ("another user namespace", elsewhere(HOST.mount, 99), spec(READER)),
        ("no namespace", elsewhere(0, 0), spec(READER)),
    ];
    for (what, who, spec) in specs {
        let mut world = World::new();
        world.run(&who, &spec);
        (0..2).for_each(|_| world.open(&who, KEY));
        assert_eq!(world.told(), ["!", "!"], "{what}");
        // Nor does it help to have been the real one before, or to enter the host's namespaces later.
        world.open(&host, KEY);
        assert_eq!(world.told(), ["!"], "{what}");
        world.check();
    }
    let mut world = World::new();
    world.run(&host, &spec(READER));
    world.open(&elsewhere(99, HOST.user), KEY);
    assert_eq!(world.told(), ["!"], "it left the host's mounts after its exec");
    let unknown = ActorRecord { tgid: 500, tid: 500, ..host };
    world.open(&unknown, KEY);
    assert_eq!(world.told(), ["!"], "its exec was not seen");
}

#[test]
fn whoever_was_reached_into_is_no_longer_expected() {
    for (way, errno, expected) in [
        (memory::PTRACE, 0, false),
        (memory::TRACEME, 0, false),
        (memory::VM_WRITE, 0, false),
        (memory::PROC_MEM, 0, false),
        (memory::PTRACE, 1, true),
        (memory::VM_READ, 0, true),
    ] {
        let mut world = World::new();
        let (who, other) = (reader(), ActorRecord { tgid: 7, tid: 7, ..reader() });
        world.run(&who, &spec(READER));
        let reach = world.stream.memory(&other, &who, way, errno);
        world.take(&reach);
        world.told();
        world.open(&who, KEY);
        assert_eq!(world.told() == ["1"], expected, "way {way}, errno {errno}");
        // A child may be traced from its first instruction on, and so may what it runs.
        let child = ActorRecord { tgid: 200, tid: 200, start_boot_ns: 60, ..reader() };
        let fork = world.stream.fork(&who, (200, 60));
        world.take(&fork);
        world.run(&child, &spec(READER));
        world.open(&child, "/srv/keys/child");
        assert_eq!(world.told() == ["1"], expected, "way {way}, errno {errno}");
    }
}

#[test]
fn a_fork_is_judged_by_the_exec_before_it() {
    let mut world = World::new();
    let child = ActorRecord { tgid: 200, tid: 200, start_boot_ns: 60, ..reader() };
    world.run(&reader(), &spec(READER));
    let fork = world.stream.fork(&reader(), (200, 60));
    world.take(&fork);
    world.open(&child, KEY);
    assert_eq!(world.told(), ["1"]);

    // Seeded from /proc: what it was begun with is what it says, unless it is root's.
    for (uid, expected) in [(1000, "!"), (0, "1")] {
        let mut world = World::new();
        let (mut daemon, mut child) = (reader(), child);
        (daemon.uid, daemon.euid, child.uid, child.euid) = (uid, uid, uid, uid);
        world.run(&daemon, &spec(READER));
        let mut process = world.pipeline.processes().snapshot().remove(0);
        let found = Arc::make_mut(&mut process);
        (found.origin, found.exec_count) = (Origin::Inventoried, 0);
        let read_at = BootTime::from_ns(1);
        let mut fresh = World::new();
        let found = crate::process::inventory::Found { process: found.clone(), parent_pid: 0, read_at };
        fresh.pipeline.processes().seed(Inventory { processes: vec![found], ..Inventory::default() });
        fresh.open(&daemon, KEY);
        let fork = fresh.stream.fork(&daemon, (200, 60));
        fresh.take(&fork);
        fresh.open(&child, "/srv/keys/child");
        assert_eq!(fresh.told(), [expected, expected], "uid {uid}");
    }
}

#[test]
fn a_fold_ends_and_what_it_counted_is_told() {
    let mut world = World::new();
    world.run(&reader(), &spec(READER));
    (0..3).for_each(|_| world.open(&reader(), KEY));
    world.told();
    world.stream.time_boot_ns += FOLD_NS;
    world.tick();
    assert_eq!(world.told(), ["x2"]);
    assert_eq!(world.ledger.get(Tally::Folds), 0);
    world.open(&reader(), KEY);
    assert_eq!(world.told(), ["1"], "after that it is told whole again");
}

#[test]
fn there_is_a_bound_and_nothing_is_lost_by_it() {
    let mut world = World::new();
    world.run(&reader(), &spec(READER));
    (0..2).for_each(|_| world.open(&reader(), KEY));
    world.told();
    for number in 0..FOLDS {
        world.open(&reader(), &format!("/srv/keys/n{number}"));
    }
    let told = world.told();
    assert_eq!(told.iter().filter(|told| *told == "1").count(), FOLDS);
    assert_eq!(told.iter().filter(|told| *told == "x1").count(), 1, "of the one that made room");
    world.open(&reader(), KEY);
    assert_eq!(world.told(), ["1"]);
    world.tick();
    assert_eq!(world.ledger.get(Tally::Folds), FOLDS as u64);
    assert_eq!(world.ledger.get(Tally::FoldsEvicted), 2);
    world.check();
}

#[test]
fn too_many_that_were_reached_into_end_folding_and_nothing_else() {
    let mut reached = Reached::default();
    let process = |pid: u32| ProcessKey { pid, start: BootTime::from_ns(u64::from(pid)) };
    for pid in 1..=REACHED as u32 {
        reached.add(BootTime::from_ns(10_000), process(pid));
    }
    assert!(!reached.holds(process(9_000)));
    reached.add(BootTime::from_ns(10_000), process(9_000));
    assert!(reached.holds(process(9_000)) && reached.holds(process(9_001)));
    assert!(!reached.holds(process(10_001)), "it began after that");
}

#[test]
fn shipped_readers_are_where_the_distribution_has_them() {
    let catalogue = Catalogue::shipped().unwrap();
    let reader_of = |path: &str, exe: &str| {
        catalogue.find(path.as_bytes()).is_some_and(|entry| entry.readers.holds(exe.as_bytes()))
    };
    for (path, exe) in [
        ("/etc/shadow", "/usr/sbin/unix_chkpwd"),
        ("/etc/shadow", "/usr/lib/openssh/sshd-session"),
        ("/etc/shadow", "/usr/sbin/cron"),
        ("/etc/shadow", "/usr/lib/systemd/systemd-userwork"),
        ("/etc/ssh/ssh_host_ed25519_key", "/usr/sbin/sshd"),
        ("/home/alice/.ssh/id_ed25519", "/usr/bin/ssh"),
        ("/etc/apt/auth.conf.d/private.conf", "/usr/lib/apt/methods/http"),
        ("/home/alice/.git-credentials", "/usr/lib/git-core/git-credential-store"),
        ("/home/alice/.config/chromium/Local State", "/usr/lib/chromium/chromium"),
    ] {
        assert!(Path::new(exe).is_absolute() && reader_of(path, exe), "{exe} of {path}");
        assert!(!reader_of(path, "/usr/bin/cat"), "{path}");
    }
}

proptest! {
    /// Whoever opens what, however often: each open is told, or counted and told.
    #[test]
    fn every_open_is_in_an_event_or_a_count(
        acts in proptest::collection::vec((0..3u32, 0..3u32, 0..4u8), 0..200),
    ) {
        let mut world = World::new();
        let mut opens = 0;
        for (who, path, what) in acts {
            let who = ActorRecord { tgid: 100 + who, tid: 100 + who, ..reader() };
            match what {
                0 => world.run(&who, &spec(READER)),
                1 => world.run(&who, &spec("/tmp/reader")),
                2 => {
                    world.stream.time_boot_ns += 3 * SECOND;
                    world.tick();
                }
                _ => {
                    opens += 1;
                    world.open(&who, &format!("/srv/keys/{path}"));
                }
            }
            world.check();
        }
        world.finish();
        let counted = |event: &Event| match &event.kind {
            EventKind::Activity(_) => 1,
            EventKind::Repeat(repeat) => repeat.count,
            _ => 0,
        };
        prop_assert_eq!(world.told.iter().map(counted).sum::<u64>(), opens);
        prop_assert_eq!(world.ledger.get(Tally::FoldWaiting), 0);
    }
}
