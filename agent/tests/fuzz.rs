//! What strangers write is read for as long as one likes: `TELLTALE_FUZZ_SECONDS=600 cargo test --release -p agent --test
//! fuzz`. Without that variable each reader has a second.
//!
//! Inputs are valid messages that were changed: bytes set to values that mean something, runs taken out, doubled, put in or
//! swapped for another message's, ends cut off. A finding is made smaller and printed. It is not guided by coverage: the
//! engines that are (libFuzzer by cargo-fuzz or bolero) want a nightly compiler, and AFL's a plugin of its own build; these
//! readers have few states, all of which the seeds reach.
#![expect(clippy::panic, clippy::indexing_slicing, reason = "a test")]

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use agent::capture::decode;
use agent::capture::testing::{Stream, actor};
use agent::names::tls::Hello;
use agent::names::{dns, resolvers, tls};
use proptest::prelude::*;
use proptest::sample::{Index, select};
use proptest::test_runner::{Config, TestCaseError, TestRunner};

/// Values that are lengths, limits, types or pointers somewhere.
const TELLING: [u8; 16] = [0, 1, 2, 3, 4, 5, 12, 16, 22, 28, 0x3f, 0x40, 0x7f, 0xc0, 0xfe, 0xff];

#[derive(Clone, Debug)]
enum Change {
    Set(Index, u8),
    Remove(Index, usize),
    Double(Index, usize),
    Insert(Index, Vec<u8>),
    Cut(Index),
    Splice(Index, Index, Index),
}

fn change() -> impl Strategy<Value = Change> {
    let at = any::<Index>;
    prop_oneof![
        6 => (at(), select(&TELLING[..])).prop_map(|(at, byte)| Change::Set(at, byte)),
        3 => (at(), any::<u8>()).prop_map(|(at, byte)| Change::Set(at, byte)),
        2 => (at(), 1..40_usize).prop_map(|(at, length)| Change::Remove(at, length)),
        2 => (at(), 1..80_usize).prop_map(|(at, length)| Change::Double(at, length)),
        2 => (at(), prop::collection::vec(any::<u8>(), 1..20)).prop_map(|(at, bytes)| Change::Insert(at, bytes)),
        1 => at().prop_map(Change::Cut),
        1 => (at(), at(), at()).prop_map(|(at, seed, from)| Change::Splice(at, seed, from)),
    ]
}

fn changed(seeds: Vec<Vec<u8>>) -> impl Strategy<Value = Vec<u8>> {
    (any::<Index>(), prop::collection::vec(change(), 0..10)).prop_map(move |(seed, changes)| {
        let mut bytes = seeds[seed.index(seeds.len())].clone();
        for change in changes {
            let length = bytes.len();
            if length == 0 {
                break;
            }
            match change {
                Change::Set(at, byte) => bytes[at.index(length)] = byte,
                Change::Remove(at, run) => {
                    let at = at.index(length);
                    bytes.drain(at..(at + run).min(length));
                }
                Change::Double(at, run) => {
                    let at = at.index(length);
                    let copy = bytes[at..(at + run).min(length)].to_vec();
                    bytes.splice(at..at, copy);
                }
                Change::Insert(at, more) => drop(bytes.splice(at.index(length)..at.index(length), more)),
                Change::Cut(at) => bytes.truncate(at.index(length)),
                Change::Splice(at, seed, from) => {
                    let other = &seeds[seed.index(seeds.len())];
                    bytes.truncate(at.index(length));
                    bytes.extend_from_slice(&other[from.index(other.len())..]);
                }
            }
        }
        bytes
    })
}

/// Reads changed seeds until the time is over.
fn fuzz(seeds: Vec<Vec<u8>>, check: impl Fn(&[u8]) -> Result<(), TestCaseError>) {
    let seconds = std::env::var("TELLTALE_FUZZ_SECONDS").ok().and_then(|text| text.parse().ok()).unwrap_or(1);
    let (begun, budget) = (Instant::now(), Duration::from_secs(seconds));
    let strategy = changed(seeds);
    let mut read = 0_u64;
    while begun.elapsed() < budget {
        let config = Config { cases: 1_000, failure_persistence: None, ..Config::default() };
        let run = TestRunner::new(config).run(&strategy, |bytes| check(&bytes));
        if let Err(error) = run {
            panic!("among {} inputs: {error}", read + 1_000);
        }
        read += 1_000;
    }
    println!("{read} inputs in {:.0} s", begun.elapsed().as_secs_f64());
}

fn is_plain(text: &str) -> bool {
    text.bytes().all(|byte| (b'!'..=b'~').contains(&byte))
}

fn label(text: &str) -> Vec<u8> {
    let labels = text.split('.').flat_map(|label| std::iter::once(label.len() as u8).chain(label.bytes()));
    labels.chain([0]).collect()
}

fn record(owner: &[u8], kind: u8, data: &[u8]) -> Vec<u8> {
    [owner, &[0, kind, 0, 1, 0, 0, 0, 60, 0, data.len() as u8], data].concat()
}

fn answers() -> Vec<Vec<u8>> {
    let answer = |records: &[Vec<u8>]| {
        let head = [0, 7, 0x81, 0x80, 0, 1, 0, records.len() as u8, 0, 0, 0, 0];
        [&head[..], &label("api.example.com"), &[0, 1, 0, 1], &records.concat()].concat()
    };
    const ASKED: [u8; 2] = [0xc0, 12];
    vec![
        answer(&[record(&ASKED, 1, &[192, 0, 2, 1]), record(&ASKED, 28, &[7; 16])]),
        answer(&[
            record(&ASKED, 5, &label("edge.example.net")),
            record(&label("edge.example.net"), 5, &[0xc0, 16]),
            record(&[0xc0, 16], 1, &[192, 0, 2, 1]),
        ]),
        answer(&vec![record(&ASKED, 1, &[192, 0, 2, 1]); 70]),
        answer(&[record(&ASKED, 16, b"\x05texts"), record(&[0], 41, &[])]),
    ]
}

#[test]
fn dns_answers() {
    fuzz(answers(), |bytes| {
        if let Ok(read) = dns::read(bytes) {
            prop_assert!(read.addresses.len() <= dns::RECORDS && read.name.len() <= dns::NAME_BYTES);
            prop_assert!(!read.name.is_empty() && is_plain(&read.name), "{}", read.name);
        }
        Ok(())
    });
}

fn hellos() -> Vec<Vec<u8>> {
    let with_length = |bytes: &[u8]| [&(bytes.len() as u16).to_be_bytes()[..], bytes].concat();
    let name = [&[0][..], &with_length(b"api.example.com")].concat();
    let extensions = [
        &[0, 43, 0, 3, 2, 3, 4][..],
        &[0, 0],
        &with_length(&with_length(&name)),
        &[0, 16, 0, 5, 0, 3, 2, b'h', b'2'],
    ];
    let body = [
        &[3, 3][..],
        &[7; 32],
        &[4, 1, 2, 3, 4],
        &[0, 2, 0x13, 1],
        &[1, 0],
        &with_length(&extensions.concat()),
    ];
    let message = [&[1, 0][..], &with_length(&body.concat())].concat();
    let in_records = |size: usize| -> Vec<u8> {
        message.chunks(size).flat_map(|piece| [&[22, 3, 1][..], &with_length(piece)].concat()).collect()
    };
    vec![in_records(usize::MAX), in_records(1), in_records(20)]
}

#[test]
fn client_hellos() {
    fuzz(hellos(), |bytes| {
        let whole = tls::read(bytes);
        if let Hello::Name(name) = &whole {
            prop_assert!(!name.is_empty() && name.len() <= 4 * 255 && is_plain(name), "{name}");
        }
        // However it is cut into pieces, what was read of the first is what is read of all.
        for length in (0..bytes.len()).step_by(7) {
            let part = tls::read(&bytes[..length]);
            prop_assert!(
                part == Hello::Unfinished || part == whole,
                "{part:?} of {length} bytes, {whole:?} of all"
            );
        }
        Ok(())
    });
}

#[test]
fn resolver_configuration() {
    let seeds =
        vec![b"# text\nsearch example.com\nnameserver 192.0.2.53\nnameserver fe80::1%eth0\n".to_vec()];
    fuzz(seeds, |bytes| {
        let servers = resolvers::parse(bytes);
        prop_assert!(!servers.is_empty() && servers.len() <= 16);
        Ok(())
    });
}

#[test]
fn ring_records() {
    let mut stream = Stream::new(1_000);
    let who = actor(7, 9);
    let remote: SocketAddr = "192.0.2.1:443".parse().unwrap();
    let seeds = vec![
        stream.dns_answer(&who, "192.0.2.53".parse().unwrap(), &answers()[0]),
        stream.hello_piece(1, 0, &hellos()[0]),
        stream.connect(&who, 1, remote),
        stream.file_open(&who, "/etc/shadow", 1, 2),
        stream.unix_connect(&who, "/run/agent.sock"),
    ];
    fuzz(seeds, |bytes| {
        let meta = decode::meta(bytes);
        let decoded = decode::decode(bytes);
        prop_assert!(decoded.is_err() || meta.is_ok());
        Ok(())
    });
}
