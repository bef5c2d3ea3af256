//! Properties of the format: what goes in comes out, and no input does harm.

use proptest::collection::vec;
use proptest::prelude::*;
use serde::Serialize;
use serde_json::Value;

use super::bytes::WireBytes;
use super::v1::Batch;
use super::{
    MAX_ARGUMENT_BYTES, MAX_BATCH_BYTES, MAX_EVENTS, MAX_LINEAGE, WireError, decode, examples, to_bytes,
};
use crate::model::act::{Access, Endpoint, Outcome, Protocol, UnknownOutcome};
use crate::model::bytes::{RawBytes, is_unprintable};
use crate::model::event::{Event, Traffic, What};
use crate::model::time::BootTime;
use std::sync::Arc;

fn bytes() -> impl Strategy<Value = RawBytes> {
    prop_oneof![
        vec(1..=255_u8, 0..40).prop_map(RawBytes::from),
        ".{0,20}".prop_map(|text| RawBytes::from(text.as_str())),
        Just(RawBytes::from("a\u{1b}[31m\n\r\u{2028}\u{202e}\"\\\u{e0001}é")),
    ]
}

fn endpoint() -> impl Strategy<Value = Endpoint> {
    (any::<std::net::IpAddr>(), any::<u16>(), any::<bool>()).prop_map(|(address, port, mapped)| Endpoint {
        address,
        port,
        mapped,
    })
}

fn outcome() -> impl Strategy<Value = Outcome> {
    prop_oneof![
        Just(Outcome::Established),
        any::<u32>().prop_map(|errno| Outcome::Failed { errno }),
        Just(Outcome::Unknown(UnknownOutcome::Aborted)),
        any::<u32>().prop_map(|ms| {
            Outcome::Unknown(UnknownOutcome::TimedOut(std::time::Duration::from_millis(ms.into())))
        }),
        Just(Outcome::Unknown(UnknownOutcome::NotWaitedFor)),
    ]
}

fn what() -> impl Strategy<Value = What> {
    let protocol = prop_oneof![Just(Protocol::Tcp), any::<u16>().prop_map(Protocol::Other)];
    let ends = (endpoint(), proptest::option::of(endpoint()), proptest::option::of(endpoint()));
    let connection = (any::<u64>(), protocol, ends, outcome(), any::<(Option<u64>, bool)>()).prop_map(
        |(cookie, protocol, (asked, connected, local), outcome, (latency_ns, held))| {
            What::Connection(crate::model::event::Connection {
                cookie,
                protocol,
                asked,
                connected,
                local,
                outcome,
                latency_ns,
                held,
                names: examples::names(),
                destination: held.then(|| Arc::new(examples::listening())),
            })
        },
    );
    let credential =
        (bytes(), any::<[bool; 3]>(), any::<(u32, u64)>()).prop_map(|(path, access, (device, inode))| {
            let mut credential = examples::credential(path);
            (credential.file.device, credential.file.inode) = (device, inode);
            let [read, write, truncate] = access;
            credential.access = Access { read, write, truncate };
            What::CredentialAccess(credential)
        });
    let attempt = (bytes(), any::<Option<u64>>(), any::<u32>()).prop_map(|(path, inode, errno)| {
        let access = examples::credential(path);
        What::CredentialAttempt(crate::model::event::CredentialAttempt {
            credential: access.credential,
            kind: access.kind,
            sensitivity: access.sensitivity,
            path: access.path,
            file: inode.map(|inode| crate::model::process::FileRef { inode, ..access.file }),
            matched_by: "path",
            how: "open",
            other_path: None,
            errno,
        })
    });
    let figures = (any::<[u64; 4]>(), endpoint(), any::<Option<u32>>(), any::<bool>());
    let traffic = figures.prop_map(|([cookie, sent, received, lasted], remote, errno, ended)| {
        let destination = ended.then(|| Arc::new(examples::metadata()));
        let traffic =
            Traffic { cookie, remote, errno, destination, ..examples::traffic(sent, received, lasted) };
        if ended { What::ConnectionEnd(traffic) } else { What::ConnectionUpdate(traffic) }
    });
    prop_oneof![connection, credential, attempt, traffic]
}

fn event() -> impl Strategy<Value = Event> {
    let image = (bytes(), bytes(), vec(bytes(), 0..5), bytes(), any::<(bool, bool, u32)>());
    (what(), image, bytes(), any::<u64>(), 0..5_u32).prop_map(|(what, image, comm, time, pid)| {
        let (exe, filename, argv, cwd, (script, truncated, count)) = image;
        let mut process = examples::process(100 + pid, "", &[]);
        let mut exec = (*process.image).clone();
        (exec.exe, exec.filename, exec.argv, exec.cwd) = (exe, filename, argv, cwd);
        (exec.script, exec.argv_truncated, exec.argument_count) = (script, truncated, count);
        process.image = Arc::new(exec);
        let mut activity = examples::activity(process, "cgroup/connect4", what);
        activity.actor.comm = comm;
        let mut event = examples::event(0, activity);
        event.time = BootTime::from_ns(time);
        event
    })
}

/// The bytes that a reader of the JSON gets for `key`.
fn read_back(line: &Value, key: &str) -> Vec<u8> {
    use base64::Engine as _;
    match (line.get(format!("{key}_b64")), line.get(key)) {
        (Some(exact), _) => {
            base64::engine::general_purpose::STANDARD.decode(exact.as_str().unwrap()).unwrap()
        }
        (None, Some(text)) => text.as_str().unwrap().as_bytes().to_vec(),
        (None, None) => Vec::new(),
    }
}

proptest! {
    #[test]
    fn a_batch_arrives_as_it_was_made(events in vec(event(), 1..12)) {
        let batch = examples::batch(&events);
        prop_assert_eq!(decode(&to_bytes(&batch).unwrap()).unwrap(), batch);
    }

    #[test]
    fn each_event_is_one_line_that_a_terminal_does_not_obey(events in vec(event(), 1..6)) {
        let batch = examples::batch(&events);
        let json = super::golden::json(&batch);
        prop_assert_eq!(json.chars().filter(|character| is_unprintable(*character)).count(), events.len());
        for ((line, event), view) in json.lines().zip(&events).zip(batch.views()) {
            let line: Value = serde_json::from_str(line).unwrap();
            let crate::model::event::EventKind::Activity(activity) = &event.kind else { unreachable!() };
            prop_assert_eq!(line["id"].as_str().unwrap(), view.id());
            prop_assert_eq!(read_back(&line, "exe"), activity.process.image.exe.as_bytes());
            prop_assert_eq!(read_back(&line, "comm"), activity.actor.comm.as_bytes());
            if let What::CredentialAccess(access) = &activity.what {
                prop_assert_eq!(read_back(&line, "path"), access.path.as_bytes());
            }
        }
        prop_assert_eq!(json.lines().count(), events.len());
    }

    #[test]
    fn no_bytes_do_harm(bytes in vec(any::<u8>(), 0..512)) {
        let _ = decode(&bytes);
    }

    #[test]
    fn no_change_of_a_batch_does_harm(changes in vec((any::<prop::sample::Index>(), any::<u8>()), 1..8)) {
        let events: Vec<_> = examples::all().into_iter().map(|(_, event)| event).collect();
        let mut bytes = to_bytes(&examples::batch(&events)).unwrap();
        for (place, value) in changes {
            *place.get_mut(&mut bytes) = value;
        }
        if let Ok(batch) = decode(&bytes) {
            prop_assert!(super::golden::json(&batch).lines().count() == batch.events.len());
        }
    }
}

fn example() -> Batch {
    examples::batch(&[examples::all().remove(0).1])
}

/// A map with the fields of `value` and others, as a newer writer would send it.
fn with_more(value: impl Serialize, more: &[(&str, Value)]) -> Vec<u8> {
    let mut map = serde_json::to_value(value).unwrap();
    more.iter().for_each(|(key, value)| map[*key] = value.clone());
    rmp_serde::to_vec_named(&map).unwrap()
}

#[test]
fn fields_of_the_future_are_skipped() {
    let mut gap = examples::batch(&[examples::all().remove(7).1]);
    let plain = gap.clone();
    let bytes = with_more(&gap, &[("later", serde_json::json!({"a": [1, {"b": null}]}))]);
    assert_eq!(decode(&bytes).unwrap(), plain);

    gap.events[0].gap = None;
    let unknown = decode(&to_bytes(&gap).unwrap()).unwrap();
    assert_eq!(unknown.views().next().unwrap().name(), "unknown");
    assert!(super::golden::json(&unknown).contains(r#""event":"unknown""#));
}

#[test]
fn another_version_is_named_even_where_it_looks_different() {
    let mut batch = example();
    batch.version = 7;
    assert!(matches!(decode(&to_bytes(&batch).unwrap()), Err(WireError::Version { version: 7 })));
    let alien = rmp_serde::to_vec_named(&serde_json::json!({"version": 2, "frames": []})).unwrap();
    let error = decode(&alien).unwrap_err();
    assert!(matches!(error, WireError::Version { version: 2 }));
    assert!(error.to_string().contains("this program reads version 1"), "{error}");
}

#[test]
fn what_does_not_fit_together_is_refused() {
    type Break = fn(&mut Batch);
    let cases: [(&str, Break); 9] = [
        ("table of processes", |b| b.processes.clear()),
        ("table of attributions", |b| b.attributions.clear()),
        ("table of credentials", |b| b.credentials.clear()),
        ("table of processes", |b| b.events[0].activity.as_mut().unwrap().lineage.push(99)),
        ("do not rise", |b| b.events.push(b.events[0].clone())),
        ("do not rise", |b| b.events[0].offset = 1),
        ("no events", |b| b.events.clear()),
        ("host id", |b| b.host.id = "a/b".to_owned()),
        ("host id", |b| b.host.boot_id = "x".repeat(65)),
    ];
    for (expected, damage) in cases {
        let mut batch = example();
        damage(&mut batch);
        let error = decode(&to_bytes(&batch).unwrap()).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    }
    let mut end = example();
    end.first_seq = u64::MAX;
    assert!(decode(&to_bytes(&end).unwrap()).is_ok());
    end.events.push(end.events[0].clone());
    end.events[1].offset = 1;
    assert!(matches!(decode(&to_bytes(&end).unwrap()), Err(WireError::Sequence)));
    let mut tail = to_bytes(&example()).unwrap();
    tail.push(0);
    assert!(matches!(decode(&tail), Err(WireError::TrailingBytes(1))));
}

/// Small input must not become large memory: an array that claims four billion elements, one of a million empty
/// maps, nesting, and too many bytes.
#[test]
fn small_input_stays_small() {
    let field = |name: &str, rest: &[u8]| {
        let mut bytes = vec![0x81];
        bytes.extend(rmp_serde::to_vec(name).unwrap());
        bytes.extend(rest);
        bytes
    };
    assert!(decode(&field("events", &[0xdd, 0xff, 0xff, 0xff, 0xff])).is_err());
    let event = rmp_serde::to_vec_named(&serde_json::json!({"n": 0, "t": 0})).unwrap();
    let mut many = vec![0xdd, 0x00, 0x01, 0x00, 0x00];
    (0..0x1_0000).for_each(|_| many.extend(&event));
    let error = decode(&field("events", &many)).unwrap_err().to_string();
    assert!(error.contains(&format!("at most {MAX_EVENTS} elements")), "{error}");
    assert!(decode(&field("later", &vec![0x91; 100_000])).is_err());
    assert!(matches!(decode(&vec![0; MAX_BATCH_BYTES + 1]), Err(WireError::TooLong { .. })));
}

/// The writer keeps the limits that the reader sets, whatever it is given.
#[test]
fn what_is_too_long_is_cut_and_marked() {
    let argument = "x".repeat(3000);
    let process = examples::process(7, "/bin/x", &[&argument, &argument, &argument]);
    let what = What::CredentialAccess(examples::credential("/k".into()));
    let mut activity = examples::activity(process, "lsm/file_open", what);
    activity.why.lineage =
        (0..200).map(|pid| Arc::new(examples::process(1000 + pid, "/bin/sh", &["sh"]))).collect();
    let batch = examples::batch(&[examples::event(1, activity)]);
    let read = decode(&to_bytes(&batch).unwrap()).unwrap();
    let view = read.views().next().unwrap();
    let super::Body::Activity(activity) = view.body() else { panic!("not an activity") };
    assert_eq!(activity.lineage().count(), MAX_LINEAGE);
    assert!(activity.activity.lineage_truncated);
    let kept: usize = activity.process.argv.iter().map(|argument| argument.as_bytes().len()).sum();
    assert!(kept <= MAX_ARGUMENT_BYTES && kept > 4000, "{kept}");
    assert!(activity.process.argv_truncated);
    assert_eq!(activity.process.argument_count(), 3);
}

#[test]
fn bytes_are_strings_where_they_can_be() {
    for (bytes, marker) in [(&b"abc"[..], 0xa3), (&b"\xff"[..], 0xc4), (&b""[..], 0xa0)] {
        let value = WireBytes(RawBytes::from(bytes));
        let encoded = rmp_serde::to_vec(&value).unwrap();
        assert_eq!(encoded[0], marker);
        assert_eq!(rmp_serde::from_slice::<WireBytes>(&encoded).unwrap(), value);
    }
}
