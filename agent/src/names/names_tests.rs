//! What is believed of whom.

use std::net::IpAddr;

use super::resolvers::Fixed;
use super::*;
use crate::model::act::Endpoint;
use crate::model::bytes::RawBytes;
use crate::ship::wire::examples;

const SECOND: u64 = 1_000_000_000;
const NETWORK: u64 = 5;

fn address(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn at(second: u64) -> BootTime {
    BootTime::from_ns(second * SECOND)
}

fn table() -> NameTable {
    NameTable::new(Box::new(Fixed(vec![address("192.0.2.53")])))
}

fn actor() -> Actor {
    examples::activity(
        examples::curl(),
        "",
        crate::model::event::What::RawSocket(crate::model::act::RawForm::Tun),
    )
    .actor
}

/// One label, one address, one minute.
fn says(server: &str, name: &str, is: [u8; 4]) -> DnsAnswer {
    let head = [0, 7, 0x81, 0x80, 0, 1, 0, 1, 0, 0, 0, 0, name.len() as u8];
    let tail = [0, 0, 1, 0, 1, 0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4];
    let message = [&head[..], name.as_bytes(), &tail, &is].concat();
    DnsAnswer {
        network_inode: actor().namespaces.network,
        asker: actor(),
        cookie: 1,
        network: NETWORK,
        server: Endpoint { address: address(server), port: 53, mapped: false },
        message: RawBytes::from(message),
    }
}

fn said(names: &Names) -> Vec<(&str, Source)> {
    names.claims.iter().map(|claim| (&*claim.name, claim.source)).collect()
}

const IS: [u8; 4] = [192, 0, 2, 10];

fn key() -> Key {
    (NETWORK, IpAddr::from(IS))
}

#[test]
fn only_a_resolver_names_a_destination() {
    let mut table = table();
    assert_eq!(table.answer(at(1), &says("203.0.113.53", "bank", IS)), Fate::Kept);
    let names = table.of(at(2), &actor(), key());
    assert_eq!((names.destination.as_deref(), said(&names)), (None, vec![("bank", Source::Stranger)]));
    assert_eq!(table.answer(at(3), &says("192.0.2.53", "api", IS)), Fate::Kept);
    let names = table.of(at(4), &actor(), key());
    assert_eq!(names.destination.as_deref(), Some("api"));
    assert_eq!(said(&names), [("api", Source::Resolver), ("bank", Source::Stranger)]);
    assert_eq!(table.of(at(64), &actor(), key()), Names::default());
    assert_eq!(table.of(at(4), &actor(), (NETWORK + 1, key().1)), Names::default());
    assert_eq!(table.len(), (1, 1));
}

#[test]
fn an_answer_on_a_socket_of_another_network_says_nothing() {
    let mut table = table();
    let mut answer = says("192.0.2.53", "bank", IS);
    answer.network_inode += 1;
    assert_eq!(table.answer(at(1), &answer), Fate::OfAnotherNetwork);
    answer = says("192.0.2.53", "bank", IS);
    answer.message = RawBytes::from(&b"nonsense"[..]);
    assert_eq!(table.answer(at(1), &answer), Fate::Unreadable);
    assert_eq!(table.len(), (0, 0));
}

#[test]
fn a_hello_is_the_destinations_name_where_a_resolver_said_so() {
    let mut table = table();
    for name in ["one", "two", "three", "four", "five"] {
        table.answer(at(1), &says("192.0.2.53", name, IS));
    }
    let mut names = table.of(at(2), &actor(), key());
    assert_eq!((names.destination.as_deref(), names.claims.len()), (Some("five"), CLAIMS));
    assert!(table.add_hello(&mut names, &"one".into(), at(2), &actor(), key()));
    assert_eq!(names.destination.as_deref(), Some("one"));
    let expected = [
        ("one", Source::Resolver),
        ("five", Source::Resolver),
        ("four", Source::Resolver),
        ("one", Source::Hello),
    ];
    assert_eq!(said(&names), expected);

    let mut names = table.of(at(2), &actor(), key());
    assert!(!table.add_hello(&mut names, &"five".into(), at(2), &actor(), key()));
    assert_eq!(names.destination.as_deref(), Some("five"));

    let mut names = table.of(at(2), &actor(), key());
    assert!(table.add_hello(&mut names, &"bank".into(), at(2), &actor(), key()));
    assert_eq!(names.destination.as_deref(), Some("five"));
    assert_eq!(names.claims.last().map(|claim| claim.source), Some(Source::Hello));

    let mut names = Names::default();
    assert!(table.add_hello(&mut names, &"bank".into(), at(2), &actor(), (NETWORK, address("192.0.2.11"))));
    assert_eq!((names.destination.as_deref(), said(&names)), (None, vec![("bank", Source::Hello)]));
}

#[test]
fn pieces_are_joined_in_order_and_given_up_in_bounds() {
    let begin = [22, 3, 1, 2, 0, 1, 0, 1, 0xfc];
    let piece = |cookie, offset, bytes: &[u8]| HelloPiece { cookie, offset, bytes: RawBytes::from(bytes) };
    let mut table = table();
    assert_eq!(table.hello(&piece(1, 5, &begin)), None);
    for cookie in 0..hello::UNFINISHED as u64 + 3 {
        assert_eq!(table.hello(&piece(cookie, 0, &begin)), None);
    }
    assert_eq!(table.hellos_evicted(), 3);
    // One that was given up says nothing more.
    assert_eq!(table.hello(&piece(0, 9, &[0; 100])), None);
    assert_eq!(table.hellos_evicted(), 3);
}
