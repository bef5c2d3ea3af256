//! What strangers write is read for as long as one likes: `TELLTALE_FUZZ_SECONDS=600 cargo test --release -p agent --test
//! fuzz`. Without that variable each reader has a second.
//!
//! Inputs are valid messages that were changed: bytes set to values that mean something, runs taken out, doubled, put in or
//! swapped for another message's, ends cut off. A finding is made smaller and printed. It is not guided by coverage: the
//! engines that are (libFuzzer by cargo-fuzz or bolero) want a nightly compiler, and AFL's a plugin of its own build; these
//! readers have few states, all of which the seeds reach.
#![expect(clippy::panic, clippy::indexing_slicing, reason = "a test")]

mod names;
mod records;
mod text;
mod wire;

use std::time::{Duration, Instant};

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
