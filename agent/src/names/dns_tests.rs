//! Answers, byte by byte, and what is no answer.

use proptest::prelude::*;

use super::*;

/// A, CNAME, AAAA.
const A: u8 = 1;
const CNAME: u8 = 5;
const AAAA: u8 = 28;
/// A name that points to the one asked for.
const ASKED: &[u8] = &[0xc0, 12];

fn name(text: &str) -> Vec<u8> {
    let labels = text.split('.').flat_map(|label| std::iter::once(label.len() as u8).chain(label.bytes()));
    labels.chain([0]).collect()
}

fn record(owner: &[u8], kind: u8, ttl: u32, data: &[u8]) -> Vec<u8> {
    [owner, &[0, kind, 0, 1], &ttl.to_be_bytes(), &(data.len() as u16).to_be_bytes(), data].concat()
}

fn message(flags: [u8; 2], asked: &[u8], records: &[Vec<u8>]) -> Vec<u8> {
    let head = [0, 7, flags[0], flags[1], 0, 1, 0, records.len() as u8, 0, 0, 0, 0];
    [&head[..], asked, &[0, A, 0, 1], &records.concat()].concat()
}

const ANSWER: [u8; 2] = [0x81, 0x80];

fn answer(asked: &str, records: &[Vec<u8>]) -> Vec<u8> {
    message(ANSWER, &name(asked), records)
}

fn found(message: &[u8]) -> Vec<(String, u64)> {
    let addresses = read(message).unwrap().addresses;
    addresses.into_iter().map(|(address, ttl)| (address.to_string(), ttl.as_secs())).collect()
}

#[test]
fn addresses_of_the_name_that_was_asked_for() {
    let v6 = "2001:db8::7".parse::<std::net::Ipv6Addr>().unwrap().octets();
    let mapped = "::ffff:192.0.2.9".parse::<std::net::Ipv6Addr>().unwrap().octets();
    let bytes = answer(
        "API.Example.com",
        &[
            record(ASKED, A, 60, &[192, 0, 2, 1]),
            record(&name("api.example.COM"), AAAA, 61, &v6),
            record(ASKED, AAAA, 62, &mapped),
            record(ASKED, 16, 63, b"\x04text"),
            record(&name("other.example.com"), A, 64, &[192, 0, 2, 2]),
        ],
    );
    assert_eq!(&*read(&bytes).unwrap().name, "api.example.com");
    let expected = [("192.0.2.1", 60), ("2001:db8::7", 61), ("192.0.2.9", 62)];
    assert_eq!(found(&bytes), expected.map(|(address, ttl)| (address.to_owned(), ttl)));
}

#[test]
fn aliases_are_followed_from_the_question_and_no_further() {
    let alias = |from: &str, to: &str, ttl| record(&name(from), CNAME, ttl, &name(to));
    let address = |of: &str, last| record(&name(of), A, 300, &[192, 0, 2, last]);
    let bytes = answer(
        "a.test",
        &[
            address("c.test", 1),
            alias("b.test", "c.test", 20),
            alias("a.test", "b.test", 30),
            address("x.test", 2),
        ],
    );
    assert_eq!(found(&bytes), [("192.0.2.1".to_owned(), 20)]);
    let round =
        answer("a.test", &[alias("a.test", "b.test", 9), alias("b.test", "a.test", 9), address("a.test", 3)]);
    assert!(found(&round).len() <= RECORDS);
    let chain: Vec<_> = (0..40).map(|n| alias(&format!("{n}.test"), &format!("{}.test", n + 1), 9)).collect();
    let long = answer("0.test", &[chain, vec![address("40.test", 4)]].concat());
    assert_eq!(found(&long), []);
}

#[test]
fn what_is_no_answer_to_one_question_is_refused() {
    let one = [record(ASKED, A, 60, &[192, 0, 2, 1])];
    let good = message(ANSWER, &name("a.test"), &one);
    assert!(read(&good).is_ok());
    for flags in [[0x01, 0x80], [0xa9, 0x80]] {
        assert_eq!(read(&message(flags, &name("a.test"), &one)), Err(NoAnswer), "{flags:x?}");
    }
    let mut two = good.clone();
    two[5] = 2;
    let mut chaos = good.clone();
    chaos[12 + 8 + 3] = 3;
    for bytes in [&two[..], &chaos, &[], &good[..11], &message(ANSWER, &[0], &one)] {
        assert_eq!(read(bytes), Err(NoAnswer), "{bytes:x?}");
    }
    let refused = message([0x81, 0x83], &name("a.test"), &one);
    assert_eq!(found(&refused), []);
}

#[test]
fn what_is_cut_off_or_points_in_circles_ends_the_answer() {
    let records = [record(ASKED, A, 60, &[192, 0, 2, 1]), record(ASKED, A, 60, &[192, 0, 2, 2])];
    let bytes = answer("a.test", &records);
    assert_eq!(found(&bytes[..bytes.len() - 1]), [("192.0.2.1".to_owned(), 60)]);
    let here = 12 + 8 + 4;
    let itself = answer("a.test", &[record(&[0xc0, here], A, 60, &[192, 0, 2, 1])]);
    assert_eq!(found(&itself), []);
    let many = vec![record(ASKED, A, 60, &[192, 0, 2, 1]); 200];
    assert_eq!(found(&answer("a.test", &many)).len(), RECORDS);
}

#[test]
fn names_are_text_that_nothing_obeys() {
    let bytes = message(ANSWER, b"\x06a.\x1b\n\xffB\x04test\x00", &[]);
    let name = read(&bytes).unwrap().name;
    assert!(name.bytes().all(|byte| (b'!'..=b'~').contains(&byte)), "{name}");
    assert!(name == "a\\046\\027\\010\\255b.test".into(), "{name}");
}

proptest! {
    #[test]
    fn any_bytes_are_read_within_bounds(bytes in prop::collection::vec(any::<u8>(), 0..1200)) {
        if let Ok(read) = read(&bytes) {
            prop_assert!(read.addresses.len() <= RECORDS && read.name.len() <= NAME_BYTES);
        }
    }

    #[test]
    fn any_change_of_an_answer_is_read_within_bounds(
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..12),
    ) {
        let records = [
            record(ASKED, CNAME, 9, &name("b.test")),
            record(&[0xc0, 32], A, 9, &[192, 0, 2, 1]),
            record(&name("b.test"), AAAA, 9, &[1; 16]),
        ];
        let mut bytes = answer("a.test", &records);
        for (at, byte) in changes {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        if let Ok(read) = read(&bytes) {
            prop_assert!(read.addresses.len() <= RECORDS && read.name.len() <= NAME_BYTES);
            prop_assert!(read.name.bytes().all(|byte| (b'!'..=b'~').contains(&byte)), "{}", read.name);
        }
    }
}
