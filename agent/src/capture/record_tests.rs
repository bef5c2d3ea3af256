use std::cell::RefCell;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::rc::Rc;
use std::sync::Arc;

use agent_common::counters::SLOTS;
use agent_common::rings::Ring;
use proptest::prelude::*;

use super::super::replay::{CounterSnapshot, Item, Replay, ReplayError, ReplayReport};
use super::*;
use crate::capture::decode::decode as decode_record;
use crate::capture::testing::{ExecSpec, Stream, actor};
use crate::model::act::{Deed, Namespaces};
use crate::model::process::{
    Cgroup, CredentialIds, ExecImage, FileRef, Marker, Origin, ProcessKey, Stdio, StdioKind,
};

/// A file in memory with so much room, and a system that takes a few bytes a call and is interrupted in between.
#[derive(Clone)]
struct Memory {
    bytes: Rc<RefCell<Vec<u8>>>,
    room: usize,
    full: io::ErrorKind,
    calls: u32,
}

impl Memory {
    fn new(room: usize, full: io::ErrorKind) -> Self {
        Self { bytes: Rc::default(), room, full, calls: 0 }
    }

    fn endless() -> Self {
        Self::new(usize::MAX, io::ErrorKind::StorageFull)
    }
}

impl RecordFile for Memory {
    fn append(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.calls += 1;
        if self.calls.is_multiple_of(3) {
            return Err(io::ErrorKind::Interrupted.into());
        }
        let mut kept = self.bytes.borrow_mut();
        let taken = bytes.len().min(997).min(self.room - kept.len());
        if taken == 0 {
            return Err(self.full.into());
        }
        kept.extend_from_slice(&bytes[..taken]);
        Ok(taken)
    }

    fn sync(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn host() -> Host {
    Host {
        boot_id: "b007".into(),
        kernel_release: "6.1.0".into(),
        agent_version: "0.1.0".into(),
        clocks: (5, 1_700_000_000_000_000_000),
        catalogue: "abc".into(),
        hooks: vec![("outcome".into(), "tp_btf/inet_sock_set_state".into())],
        numbers_from_zero: true,
        facts: BTreeMap::from([("user.1000".into(), "alice".into())]),
    }
}

/// Hides the argument that follows `--token`.
fn redactor() -> Redactor {
    Box::new(|argv| {
        let mut hide = false;
        argv.iter()
            .map(|argument| {
                let hidden = std::mem::replace(&mut hide, argument.as_bytes() == b"--token");
                if hidden { "[redacted]".into() } else { argument.clone() }
            })
            .collect()
    })
}

fn process() -> Process {
    Process {
        key: ProcessKey { pid: 7, start: BootTime::from_ns(9) },
        parent: Some(ProcessKey { pid: 1, start: BootTime::from_ns(1) }),
        namespaced_pid: 3,
        image: Arc::new(ExecImage {
            exe: "/usr/bin/\u{fc}".into(),
            exe_file: FileRef { device: 1, inode: 2, changed: (-3, 4), links: 5, mode: 6 },
            filename: "run".into(),
            interpreter: "/bin/sh".into(),
            script: true,
            argv: vec!["run".into(), RawBytes::from(&b"\xff\xfe"[..]), "".into()],
            argument_count: 9,
            argv_truncated: true,
            cwd: "/".into(),
            markers: vec![
                Marker { name: "A".into(), value: None },
                Marker { name: "B".into(), value: Some("c".into()) },
            ],
            markers_truncated: true,
            preload: true,
            stdio: [
                Stdio { kind: StdioKind::Pipe, device: 1, inode: 2 },
                Stdio::default(),
                Stdio { kind: StdioKind::Other, device: 3, inode: 4 },
            ],
            capabilities_permitted: 5,
        }),
        ids: CredentialIds {
            uid: 1,
            gid: 2,
            euid: 3,
            egid: 4,
            capabilities: u64::MAX,
            login_uid: Some(1000),
            session_id: None,
        },
        cgroup: Arc::new(Cgroup { id: 77, path: "/system.slice".into() }),
        namespaces: Namespaces { mount: 1, network: 2, pid: 3, user: 4 },
        origin: Origin::Inventoried,
        since: BootTime::from_ns(10),
        exec_count: 2,
        role: None,
        login: Default::default(),
    }
}

fn read_all(bytes: &[u8]) -> (Vec<Item>, ReplayReport) {
    let mut replay = Replay::new(bytes).unwrap();
    assert_eq!(replay.host(), &host());
    let mut items = Vec::new();
    while let Some(item) = replay.next_item().unwrap() {
        items.push(item);
    }
    (items, replay.report())
}

#[test]
fn all_that_was_recorded_comes_back_in_order() {
    let memory = Memory::endless();
    let mut recorder = Recorder::begin(memory.clone(), 42, &host(), redactor()).unwrap();
    let mut stream = Stream::new(0);
    let peer = SocketAddr::from(([127, 0, 0, 1], 80));
    recorder.process(&process()).unwrap();
    let mut connect = stream.connect(&actor(7, 9), 1, peer);
    let outcome = stream.established(1, peer);
    connect.extend([0xaa; 8]);
    recorder.record(&connect).unwrap();
    recorder.record(&outcome).unwrap();
    let counters: KernelCounters = std::array::from_fn(|index| index as u64);
    let of = |ring, cpu| Series { ring, cpu };
    let next = [(of(Ring::Process, 0), 2), (of(Ring::Bulk, 3), 9)];
    recorder.counters(BootTime::from_ns(5), &counters, next).unwrap();
    let counts = recorder.finish().unwrap();
    assert_eq!(counts, RecordCounts { recorded: 2, ..RecordCounts::default() });

    let (items, report) = read_all(&memory.bytes.borrow());
    assert_eq!(report, ReplayReport { records: 2, ended: true, ..ReplayReport::default() });
    let [Item::Process(found), Item::Record(first), Item::Record(second), Item::Counters(snapshot)] =
        &items[..]
    else {
        panic!("{items:?}")
    };
    assert_eq!(format!("{found:?}"), format!("{:?}", process()));
    assert_eq!(first[..], connect[..connect.len() - 8]);
    assert_eq!(second, &outcome);
    let next = next.to_vec();
    let expected = CounterSnapshot { time: BootTime::from_ns(5), counters, next };
    assert_eq!(**snapshot, expected);
    assert_eq!(SLOTS as usize, counters.len());
}

#[test]
fn no_secret_reaches_the_file() {
    let secrets: Vec<String> = (0..200).map(|number| format!("hunter2-{number:04}-secret")).collect();
    let memory = Memory::endless();
    let mut recorder = Recorder::begin(memory.clone(), 42, &host(), redactor()).unwrap();
    let mut stream = Stream::new(0);
    for secret in &secrets {
        let argv: &[&[u8]] = &[b"tool", b"--token", secret.as_bytes(), b"go"];
        let spec = ExecSpec { argv, exe: "/bin/tool", markers: &["CLAUDECODE=1"], ..ExecSpec::default() };
        let whole = stream.exec(&actor(7, 9), &spec);
        recorder.record(&whole).unwrap();
        // The same record, damaged so that its sections cannot be told apart.
        let mut damaged = whole.clone();
        let at = std::mem::offset_of!(agent_common::records::ExecRecord, argv_length);
        damaged[at..at + 2].copy_from_slice(&u16::MAX.to_ne_bytes());
        recorder.record(&damaged).unwrap();
        // The same record, under a kind that nobody knows, and under a length that cannot be.
        let mut unknown = whole.clone();
        unknown[4] = 99;
        recorder.record(&unknown).unwrap();
        recorder.record(&whole[..whole.len() - 1]).unwrap();
    }
    let counts = recorder.finish().unwrap();
    assert_eq!((counts.recorded, counts.withheld), (200, 600));
    let bytes = memory.bytes.borrow();
    assert!(!bytes.windows(7).any(|window| window == b"hunter2"));

    let (items, report) = read_all(&bytes);
    assert_eq!((report.records, report.withheld, report.missing), (200, 600, 0));
    let mut execs = 0;
    for item in &items {
        match item {
            Item::Record(record) => {
                let Deed::Exec(exec) = decode_record(record).unwrap().deed else { panic!() };
                let argv: Vec<&[u8]> = exec.image.argv.iter().map(RawBytes::as_bytes).collect();
                assert_eq!(argv, [&b"tool"[..], b"--token", b"[redacted]", b"go"]);
                assert_eq!(exec.image.exe.as_bytes(), b"/bin/tool");
                assert_eq!(exec.image.markers.len(), 1);
                execs += 1;
            }
            Item::Withheld(header) => assert!(decode_record(header).is_err()),
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(execs, 200);
}

#[test]
fn arguments_that_grow_beyond_their_room_are_cut_and_say_so() {
    let memory = Memory::endless();
    let grow: Redactor = Box::new(|argv| argv.iter().map(|_| RawBytes::from(vec![b'x'; 3_000])).collect());
    let mut recorder = Recorder::begin(memory.clone(), 42, &host(), grow).unwrap();
    let spec = ExecSpec { argv: &[b"a", b"b"], exe: "/bin/a", ..ExecSpec::default() };
    recorder.record(&Stream::new(0).exec(&actor(1, 1), &spec)).unwrap();
    recorder.finish().unwrap();
    let (items, _) = read_all(&memory.bytes.borrow());
    let [Item::Record(record)] = &items[..] else { panic!() };
    let Deed::Exec(exec) = decode_record(record).unwrap().deed else { panic!() };
    assert!(exec.image.argv_truncated);
    assert_eq!(exec.image.argv.iter().map(|argument| argument.as_bytes().len() + 1).sum::<usize>(), 4_097);
}

#[test]
fn a_full_disk_is_said_once_and_counted_after() {
    let room = 200_000;
    let memory = Memory::new(room, io::ErrorKind::StorageFull);
    let mut recorder = Recorder::begin(memory.clone(), 42, &host(), redactor()).unwrap();
    let mut stream = Stream::new(0);
    let mut errors = Vec::new();
    for _ in 0..3_000 {
        errors.extend(recorder.record(&stream.exit(&actor(1, 1), 0)).err());
    }
    assert!(matches!(errors[..], [RecordError::NoSpace { .. }]), "{errors:?}");
    assert!(errors[0].to_string().contains("free space"));
    assert!(recorder.is_stopped());
    let counts = recorder.finish().unwrap();
    assert_eq!(counts.recorded + counts.not_recorded, 3_000);

    let bytes = memory.bytes.borrow();
    assert_eq!(bytes.len(), room);
    let (items, report) = read_all(&bytes);
    assert_eq!(items.len() as u64, counts.recorded);
    assert!(!report.ended && report.damage.torn_bytes > 0 && report.damage.places == 0);
}

#[test]
fn other_failures_are_told_apart() {
    let memory = Memory::new(3, io::ErrorKind::Other);
    let error = Recorder::begin(memory, 42, &host(), redactor()).err().unwrap();
    assert!(matches!(error, RecordError::Write { .. }), "{error}");
}

#[test]
fn the_file_is_new_and_its_owners_alone() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("ring.ttr");
    Recorder::create(&path, &host(), [], redactor()).unwrap().finish().unwrap();
    assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    let again = Recorder::create(&path, &host(), [], redactor()).err().unwrap();
    assert!(matches!(again, RecordError::Exists { .. }), "{again}");
    let link = directory.path().join("link");
    std::os::unix::fs::symlink(directory.path().join("elsewhere"), &link).unwrap();
    assert!(matches!(Recorder::create(&link, &host(), [], redactor()), Err(RecordError::Exists { .. })));
    let nowhere = Recorder::create(&directory.path().join("no/file"), &host(), [], redactor()).err().unwrap();
    assert!(matches!(nowhere, RecordError::Create { .. }), "{nowhere}");
    assert!(Replay::open(&path).unwrap().next_item().unwrap().is_none());
}

#[test]
fn files_that_are_no_recordings() {
    assert!(matches!(Replay::new(&b"short"[..]), Err(ReplayError::Prologue(_))));
    assert!(matches!(Replay::new(&[0u8; 100][..]), Err(ReplayError::Prologue(_))));
    let prologue = frame::prologue(1);
    assert!(matches!(Replay::new(&prologue[..]), Err(ReplayError::Host)));
    let mut strange = prologue.clone();
    frame::append(&mut strange, 1, kind::HOST, b"\xc1");
    assert!(matches!(Replay::new(&strange[..]), Err(ReplayError::Host)));
}

#[test]
fn unknown_frames_and_missing_records_are_reported() {
    let memory = Memory::endless();
    let recorder = Recorder::begin(memory.clone(), 42, &host(), redactor()).unwrap();
    drop(recorder);
    let mut bytes = memory.bytes.borrow().clone();
    frame::append(&mut bytes, 42, 200, b"from the future");
    frame::append(&mut bytes, 42, kind::PROCESS, b"\xc1");
    frame::append(&mut bytes, 42, kind::COUNTERS, b"1234");
    frame::append(&mut bytes, 42, kind::END, &[3u64.to_le_bytes(), 1u64.to_le_bytes()].concat());
    let (items, report) = read_all(&bytes);
    assert!(items.is_empty());
    assert_eq!((report.not_understood, report.ended, report.missing), (3, true, 4));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever bytes the ring gives and wherever the disk ends: what was counted as recorded comes back.
    #[test]
    fn counts_are_what_comes_back(
        records in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..400), 0..40),
        room in 400usize..30_000,
    ) {
        let memory = Memory::new(room, io::ErrorKind::StorageFull);
        let mut recorder = Recorder::begin(memory.clone(), 7, &host(), redactor()).unwrap();
        let mut stream = Stream::new(0);
        let mut fed = 0;
        for record in &records {
            for bytes in [record.clone(), stream.exit(&actor(1, 1), 3)] {
                let _ = recorder.record(&bytes);
                fed += 1;
            }
            let _ = recorder.flush();
        }
        let counts = recorder.counts();
        prop_assert_eq!(counts.recorded + counts.withheld + counts.not_recorded, fed);
        let (items, report) = read_all(&memory.bytes.borrow());
        prop_assert_eq!(items.len() as u64, counts.recorded + counts.withheld);
        prop_assert_eq!((report.records, report.withheld), (counts.recorded, counts.withheld));
    }
}
