use std::net::SocketAddr;

use agent_common::records::exec_flag;
use proptest::prelude::*;
use zerocopy::IntoBytes;

use super::*;
use crate::capture::testing::{ExecSpec, Stream, actor as made_actor, file_identity, reversed};
use crate::model::act::MemoryWay;
use crate::model::process::{Marker, Stdio, StdioKind};

const V4: &str = "127.0.0.1:8080";

fn peer(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

fn spec() -> ExecSpec<'static> {
    ExecSpec {
        argv: &[b"python3", b"", b"-c", b"print(1)\xff"],
        exe: "/usr/bin/python3.11",
        cwd: "/home/alice",
        cgroup: "/user.slice/session-3.scope",
        filename: "/home/alice/run",
        interpreter: "/usr/bin/python3",
        markers: &["CLAUDECODE=1", "SSH_AUTH_SOCK", "TRACEPARENT=a=b"],
        flags: exec_flag::PRELOAD,
        stdio: [(5, 9, libc::S_IFIFO | 0o600), (0, 0, 0), (14, 1, 0o600)],
        parent: (7, 70),
    }
}

/// One record of each kind.
fn one_of_each() -> Vec<Vec<u8>> {
    let mut stream = Stream::new(1_000);
    let who = made_actor(100, 50);
    vec![
        stream.fork(&who, (101, 60)),
        stream.exec(&who, &spec()),
        stream.exit(&who, 0x100),
        stream.connect(&who, 9, peer(V4)),
        stream.established(9, peer(V4)),
        stream.datagram(&who, 10, peer("[2001:db8::1]:53")),
        stream.file_open(&who, "/etc/shadow", 8 << 20, 42),
        stream.memory(&who, &made_actor(200, 55), records::memory::VM_READ, 0),
        stream.key(&who, 7, (b"user", b"ticket"), 0),
        stream.listen(&who, 11, peer("[::]:80"), false),
        stream.listen_end(11),
    ]
}

#[test]
fn a_listener_is_told_with_where_it_is_bound() {
    let who = made_actor(100, 50);
    let mut stream = Stream::new(1_000);
    for (bound, address) in [("127.0.0.1:80", "127.0.0.1"), ("[::]:80", "::"), ("0.0.0.0:80", "0.0.0.0")] {
        let act = decode(&stream.listen(&who, 11, peer(bound), true)).unwrap();
        assert_eq!(act.hook, HELD);
        let Deed::Listen(listen) = act.deed else { panic!("{act:?}") };
        assert_eq!((listen.actor, listen.cookie, listen.bound.port), (actor(&who), 11, 80));
        assert_eq!(listen.bound.address, address.parse::<IpAddr>().unwrap());
    }
    let act = decode(&stream.listen_end(11)).unwrap();
    assert!(matches!(act.deed, Deed::ListenEnd { cookie: 11 }));
}

#[test]
fn a_cgroup_is_told_with_its_path_where_that_is_whole() {
    let mut stream = Stream::new(1_000);
    let mut made = |path: &[u8]| {
        let act = decode(&stream.cgroup_made(7, path)).unwrap();
        assert_eq!(act.hook, "tp_btf/cgroup_mkdir");
        let Deed::CgroupMade { cgroup, is_beyond_budget: false } = act.deed else { panic!("{act:?}") };
        assert_eq!(cgroup.id, 7);
        cgroup.path
    };
    assert_eq!(made(b"/a.slice/b.service"), "/a.slice/b.service".into());
    let longest = [&b"/"[..], &[b'x'; 1021]].concat();
    assert_eq!(made(&longest), RawBytes::from(&longest[..]));
    assert_eq!(made(&[&longest[..], b"x"].concat()), RawBytes::default());
    assert_eq!(decode(&stream.cgroup_made(7, b"/a\0b")).unwrap_err(), DecodeError::Component("cgroup"));
    assert_eq!(decode(&stream.cgroup_made(7, &[b'x'; 1025])).unwrap_err().cause(), "limit");
    let mut short = stream.cgroup_made(7, b"/a");
    short.truncate(short.len() - 1);
    assert_eq!(decode(&short).unwrap_err().cause(), "length");
}

#[test]
fn another_process_is_told_as_whole_as_who_acts() {
    let (who, other) = (made_actor(100, 50), made_actor(200, 55));
    let mut stream = Stream::new(1_000);
    let act = decode(&stream.memory(&who, &other, records::memory::PROC_MEM, 13)).unwrap();
    let Deed::Memory(access) = act.deed else { panic!("{act:?}") };
    assert_eq!((access.actor, access.target), (actor(&who), actor(&other)));
    assert_eq!((access.way, access.refused), (MemoryWay::ProcMem, Some(13)));
    let unknown = decode(&stream.memory(&who, &other, 99, 0)).unwrap_err();
    assert_eq!((unknown, unknown.cause()), (DecodeError::Way(99), "kind"));
}

#[test]
fn keys_are_told_with_their_names_and_no_more() {
    let who = made_actor(100, 50);
    let mut stream = Stream::new(1_000);
    let read = |bytes: &[u8]| {
        let act = decode(bytes).unwrap();
        let Deed::Key(key) = act.deed else { panic!("{act:?}") };
        key
    };
    let bytes = stream.key(&who, 7, (b"user", b"caf\xe9\n"), 0);
    let key = read(&bytes);
    let name = key.name.unwrap();
    assert_eq!((name.kind.as_bytes(), name.description.as_bytes()), (&b"user"[..], &b"caf\xe9\n"[..]));
    assert_eq!((key.serial, name.owner, name.truncated, key.refused), (7, Some(who.uid), false, None));
    let flags = std::mem::offset_of!(records::KeyRecord, flags);
    let unnamed = read(&patch(bytes.clone(), flags, &records::key_flag::UNNAMED.to_le_bytes()));
    assert_eq!(unnamed.name, None);
    let kind_length = std::mem::offset_of!(records::KeyRecord, type_length);
    let error = decode(&patch(bytes, kind_length, &33_u16.to_le_bytes())).unwrap_err();
    assert_eq!(error, DecodeError::Limit { part: "type of a key", length: 33, limit: 32 });
}

/// Writes a little-endian number over the bytes at `at`.
fn patch(mut bytes: Vec<u8>, at: usize, with: &[u8]) -> Vec<u8> {
    bytes[at..at + with.len()].copy_from_slice(with);
    bytes
}

#[test]
fn exec_whole() {
    let bytes = &one_of_each()[1];
    let act = decode(bytes).unwrap();
    assert_eq!((act.hook, act.time), ("tp_btf/sched_process_exec", BootTime::from_ns(3_000)));
    let Deed::Exec(exec) = act.deed else { panic!("{act:?}") };
    assert_eq!(exec.parent, key(7, 70));
    assert_eq!(exec.actor.comm.as_bytes(), b"test");
    assert_eq!((exec.actor.ids.login_uid, exec.actor.ids.session_id), (None, None));
    assert_eq!(exec.cgroup_path.as_bytes(), b"/user.slice/session-3.scope");
    let image = exec.image;
    let argv: Vec<&[u8]> = image.argv.iter().map(RawBytes::as_bytes).collect();
    assert_eq!(argv, [&b"python3"[..], b"", b"-c", b"print(1)\xff"]);
    assert_eq!((image.argument_count, image.argv_truncated), (4, false));
    assert_eq!(image.exe.as_bytes(), b"/usr/bin/python3.11");
    assert_eq!(image.cwd.as_bytes(), b"/home/alice");
    assert_eq!(image.filename.as_bytes(), b"/home/alice/run");
    assert_eq!(image.interpreter.as_bytes(), b"/usr/bin/python3");
    assert!(image.script && image.preload && !image.markers_truncated);
    let marker = |name: &str, value: Option<&str>| Marker { name: name.into(), value: value.map(Into::into) };
    assert_eq!(
        image.markers,
        [marker("CLAUDECODE", Some("1")), marker("SSH_AUTH_SOCK", None), marker("TRACEPARENT", Some("a=b"))]
    );
    assert_eq!(image.stdio[0], Stdio { kind: StdioKind::Pipe, device: 5, inode: 9 });
    assert_eq!(image.stdio[1], Stdio::default());
    assert_eq!(image.stdio[2].kind, StdioKind::Other);
}

#[test]
fn the_other_kinds() {
    let acts: Vec<Act> = one_of_each().iter().map(|bytes| decode(bytes).unwrap()).collect();
    let Deed::Fork(fork) = &acts[0].deed else { panic!() };
    assert_eq!((fork.child, fork.parent, fork.namespaced_pid), (key(101, 60), key(100, 50), 101));
    let Deed::Exit(exit) = &acts[2].deed else { panic!() };
    assert_eq!((exit.wait_status, exit.actor.process), (0x100, key(100, 50)));
    let Deed::ConnectAttempt(attempt) = &acts[3].deed else { panic!() };
    assert_eq!((attempt.cookie, attempt.protocol, acts[3].hook), (9, Protocol::Tcp, "cgroup/connect4"));
    assert_eq!(attempt.remote, Endpoint { address: [127, 0, 0, 1].into(), port: 8080, mapped: false });
    let Deed::ConnectOutcome(outcome) = &acts[4].deed else { panic!() };
    assert_eq!(
        (outcome.cookie, outcome.outcome, outcome.remote),
        (9, Outcome::Established, Some(attempt.remote))
    );
    assert_eq!(outcome.local.unwrap().port, 40_000);
    let Deed::Datagram(datagram) = &acts[5].deed else { panic!() };
    assert_eq!((datagram.protocol, datagram.remote.address.is_ipv6()), (Protocol::Udp, true));
    let Deed::FileOpen(open) = &acts[6].deed else { panic!() };
    assert_eq!((open.path.as_bytes(), open.file.inode, open.known_inode), (&b"/etc/shadow"[..], 42, false));
    assert_eq!(open.access, Access { read: true, write: false, truncate: false });
}

#[test]
fn mapped_addresses_are_ipv4_and_say_so() {
    let mut stream = Stream::new(0);
    let bytes = stream.connect(&made_actor(1, 1), 1, peer("[::ffff:10.1.2.3]:443"));
    let Deed::ConnectAttempt(attempt) = decode(&bytes).unwrap().deed else { panic!() };
    assert_eq!(attempt.remote, Endpoint { address: [10, 1, 2, 3].into(), port: 443, mapped: true });
}

#[test]
fn a_closed_socket_has_no_ends() {
    let mut stream = Stream::new(0);
    let bytes = stream.outcome(1, outcome::FAILED, 111, peer("0.0.0.0:0"));
    let Deed::ConnectOutcome(ended) = decode(&bytes).unwrap().deed else { panic!() };
    assert_eq!((ended.outcome, ended.remote), (Outcome::Failed { errno: 111 }, None));
}

/// The kernel marks a change time that somebody has asked for: the file is the same one.
#[test]
fn a_change_time_that_was_asked_for_is_the_same() {
    let plain = FileIdentity { ctime_seconds: 7, ctime_nanoseconds: 999_999_999, ..file_identity(1, 2) };
    for mark in [1 << 30, 1 << 31, 3 << 30] {
        let marked = FileIdentity { ctime_nanoseconds: plain.ctime_nanoseconds | mark, ..plain };
        assert_eq!(file(&marked), file(&plain));
        assert_eq!(file(&marked).changed, (7, 999_999_999));
    }
}

#[test]
fn paths_of_files() {
    let shown = |path: &[u8], flags, links| {
        let file = FileIdentity { links, ..file_identity(1, 2) };
        let bytes = Stream::new(0).file_open_as(hook::LSM_FILE_OPEN, &made_actor(1, 1), path, flags, file);
        let Deed::FileOpen(open) = decode(&bytes).unwrap().deed else { panic!() };
        (open.path.to_string(), open.path_truncated)
    };
    assert_eq!(shown(b"/etc/shadow\0", 0, 1), ("/etc/shadow".into(), false));
    assert_eq!(shown(b"/tmp/x (deleted)\0", 0, 0), ("/tmp/x".into(), false));
    assert_eq!(shown(b"/tmp/x (deleted)\0", 0, 1), ("/tmp/x (deleted)".into(), false));
    let walked = file_flag::PATH_REVERSED;
    assert_eq!(shown(&reversed("/a/b"), walked, 1), ("/a/b".into(), false));
    assert_eq!(shown(&reversed("/a/b"), walked | file_flag::PATH_TRUNCATED, 1), ("a/b".into(), true));
}

#[test]
fn only_what_a_process_opened_itself_was_emptied_by_it() {
    let shown = |how: u16| {
        let flags = libc::O_TRUNC as u32;
        let bytes = Stream::new(0).file_open(&made_actor(1, 1), "/etc/shadow", 1, 2);
        let bytes = patch(bytes, std::mem::offset_of!(FileRecord, how), &how.to_ne_bytes());
        let bytes = patch(bytes, std::mem::offset_of!(FileRecord, open_flags), &flags.to_ne_bytes());
        let Deed::FileOpen(open) = decode(&bytes).unwrap().deed else { panic!() };
        (open.how, open.access.truncate)
    };
    assert_eq!(shown(acquired::OPENED), (Acquired::Opened, true));
    assert_eq!(shown(acquired::RECEIVED), (Acquired::Received, false));
    assert_eq!(shown(acquired::TAKEN), (Acquired::Taken, false));
    assert_eq!(shown(acquired::INHERITED), (Acquired::Inherited, false));
    assert_eq!(shown(acquired::HELD), (Acquired::Held, false));
}

#[test]
fn each_cause() {
    let all = one_of_each();
    let (exec, connect, ended, open) = (&all[1], &all[3], &all[4], &all[6]);
    let argv_length = std::mem::offset_of!(agent_common::records::ExecRecord, argv_length);
    let markers_length = argv_length + 12;
    let family = std::mem::offset_of!(ConnectRecord, family);
    let outcome = std::mem::offset_of!(OutcomeRecord, outcome);
    let path_length = std::mem::offset_of!(FileRecord, path_length);
    let how = std::mem::offset_of!(FileRecord, how);
    let cases: [(Vec<u8>, &str); 16] = [
        (vec![], "short"),
        (exec[..31].to_vec(), "short"),
        (patch(connect.clone(), 0, &40u32.to_ne_bytes()), "short"),
        (connect[..100].to_vec(), "length"),
        (patch(vec![0; 30_000], 0, &30_000u32.to_ne_bytes()), "length"),
        (patch(exec.clone(), 4, &99u16.to_ne_bytes()), "kind"),
        (patch(open.clone(), how, &99u16.to_ne_bytes()), "kind"),
        (patch(exec.clone(), 6, &99u16.to_ne_bytes()), "hook"),
        (patch(exec.clone(), 24, &MAX_CPUS.to_ne_bytes()), "cpu"),
        (patch(exec.clone(), 24, &((LEVELS as u32) << LEVEL_SHIFT).to_ne_bytes()), "cpu"),
        (patch(exec.clone(), argv_length, &5_000u16.to_ne_bytes()), "limit"),
        (patch(exec.clone(), markers_length, &900u16.to_ne_bytes()), "section"),
        (patch(exec.clone(), exec.len() - 1, b"x"), "terminator"),
        (patch(open.clone(), path_length, &6u16.to_ne_bytes()), "terminator"),
        (patch(connect.clone(), family, &1u16.to_ne_bytes()), "address_family"),
        (patch(ended.clone(), outcome, &9u16.to_ne_bytes()), "outcome"),
    ];
    for (index, (bytes, cause)) in cases.into_iter().enumerate() {
        assert_eq!(decode(&bytes).unwrap_err().cause(), cause, "case {index}");
        assert!(DecodeError::CAUSES.contains(&cause));
    }
    let mut double = open.clone();
    let at = double.len() - 4;
    double[at - 1] = 0;
    double[at - 2] = 0;
    assert_eq!(decode(&double).unwrap_err(), DecodeError::Component("path"));
}

#[test]
fn each_depth_of_interruption_is_a_series_of_its_own() {
    let exec = one_of_each().remove(0);
    let series = |cpu: u32| meta(&patch(exec.clone(), 24, &cpu.to_ne_bytes())).map(|meta| meta.series);
    let of_cpu: Vec<_> =
        (0..LEVELS as u32).map(|level| series(3 | level << LEVEL_SHIFT).expect("a depth")).collect();
    let distinct: std::collections::BTreeSet<_> = of_cpu.iter().copied().collect();
    assert_eq!(distinct.len(), of_cpu.len());
    for one in of_cpu {
        assert_eq!(Series::from_number(one.to_number()), Some(one));
    }
}

#[test]
fn what_follows_a_record_is_ignored() {
    for bytes in one_of_each() {
        let mut longer = bytes.clone();
        longer.extend_from_slice(&[0xaa; 64]);
        assert_eq!(format!("{:?}", decode(&longer)), format!("{:?}", decode(&bytes)));
    }
}

#[test]
fn argv_may_lack_its_end_only_where_it_was_cut() {
    let mut spec = spec();
    spec.markers = &[];
    let cut = |flags| {
        let bytes = Stream::new(0).exec(&made_actor(1, 1), &ExecSpec { flags, ..spec.clone() });
        let nul = size_of::<agent_common::records::ExecRecord>() + spec.argv.concat().len() + 3;
        decode(&patch(bytes, nul, b"x"))
    };
    assert_eq!(cut(0).unwrap_err(), DecodeError::Terminator("argv"));
    let Deed::Exec(exec) = cut(exec_flag::ARGV_TRUNCATED).unwrap().deed else { panic!() };
    assert!(exec.image.argv_truncated);
    assert_eq!(exec.image.argv.last().unwrap().as_bytes(), b"print(1)\xffx");
}

/// A budget, not a proof: each case is one call.
fn cases(number: u32) -> ProptestConfig {
    ProptestConfig { cases: number, failure_persistence: None, ..ProptestConfig::default() }
}

proptest! {
    #![proptest_config(cases(2_000))]

    #[test]
    fn any_bytes_are_decoded_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..1_024)) {
        if let Err(error) = decode(&bytes) {
            prop_assert!(DecodeError::CAUSES.contains(&error.cause()));
            prop_assert!(!error.to_string().is_empty());
        }
    }

    #[test]
    fn a_plausible_header_before_any_bytes(kind in 0u16..9, hook in 0u16..16, tail in prop::collection::vec(any::<u8>(), 0..2_048)) {
        let length = (size_of::<Header>() + tail.len()) as u32;
        let header = Header { length, kind, hook, sequence: 1, time_boot_ns: 2, cpu: 3, ring: 0 };
        let mut bytes = header.as_bytes().to_vec();
        bytes.extend(tail);
        match decode(&bytes) {
            Ok(act) => prop_assert_eq!(act.time.ns, 2),
            Err(error) => prop_assert!(DecodeError::CAUSES.contains(&error.cause())),
        }
    }

    #[test]
    fn mutated_records_never_panic(
        which in 0usize..7,
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8),
        keep in any::<prop::sample::Index>(),
    ) {
        let mut bytes = one_of_each().swap_remove(which);
        for (at, value) in changes {
            let at = at.index(bytes.len());
            bytes[at] = value;
        }
        let claimed = meta(&bytes).map(|meta| meta.length);
        let whole = decode(&bytes);
        bytes.truncate(keep.index(bytes.len()));
        let cut = decode(&bytes);
        // What is cut off may only be what the record does not claim.
        prop_assert!(cut.is_err() || claimed.is_ok_and(|length| length <= bytes.len()));
        prop_assert!(cut.is_err() || whole.is_ok());
    }
}

#[test]
fn what_connections_carry() {
    let (mut stream, who, to) = (Stream::new(10_000_000), made_actor(5, 4), peer("192.0.2.1:443"));
    let act = decode(&stream.traffic(&who, 9, to, (10, 20), Some(104))).unwrap();
    let Deed::ConnectionEnd(end) = &act.deed else { panic!("{act:?}") };
    assert_eq!((end.cookie, end.bytes_sent, end.bytes_received, end.errno), (9, 10, 20, Some(104)));
    assert_eq!(
        (act.time.since_ns(end.asked_at), act.time.since_ns(end.established_at)),
        (2_000_000, 1_000_000)
    );
    let act = decode(&stream.traffic(&who, 9, to, (1, 2), None)).unwrap();
    let Deed::ConnectionUpdate(update) = &act.deed else { panic!("{act:?}") };
    assert_eq!((update.protocol, update.remote.port, update.errno), (Protocol::Tcp, 443, None));
    assert_eq!(act.hook, "iter/bpf_sk_storage_map");
}

#[test]
fn sockets_that_are_raw() {
    use crate::model::act::RawForm;
    let form = |family| {
        let bytes = Stream::new(0).raw_socket(&made_actor(5, 4), (family, 3, 255));
        let Deed::RawSocket(raw) = decode(&bytes).unwrap().deed else { panic!() };
        raw.form
    };
    assert_eq!(form(2), RawForm::Socket { family: 2, socket_type: 3, protocol: 255 });
    assert_eq!(form(agent_common::records::TUN_FAMILY), RawForm::Tun);
}

#[test]
fn unix_sockets_by_path_and_by_abstract_name() {
    let reached = |path: &str| {
        let bytes = Stream::new(0).unix_connect(&made_actor(5, 4), path);
        let Deed::UnixConnect(socket) = decode(&bytes).unwrap().deed else { panic!() };
        (socket.name.as_bytes().to_vec(), socket.is_abstract)
    };
    assert_eq!(reached("/run/docker.sock"), (b"/run/docker.sock".to_vec(), false));
    assert_eq!(reached("\0/containerd-shim/a\0b"), (b"/containerd-shim/a\0b".to_vec(), true));
    assert_eq!(reached("\0"), (Vec::new(), true));
}

#[test]
fn every_kind_that_is_decoded_has_a_family() {
    for kind in 0..=u16::MAX {
        let header = Header { length: 32, kind, hook: 0, sequence: 0, time_boot_ns: 0, cpu: 0, ring: 0 };
        let bytes = header.as_bytes();
        let known = !matches!(decode(bytes), Err(DecodeError::Kind(_)));
        assert_eq!(meta(bytes).unwrap().family().is_some(), known, "{kind}");
    }
}
