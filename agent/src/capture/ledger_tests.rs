use std::net::SocketAddr;

use agent_common::rings::Ring;
use proptest::prelude::*;

use super::*;
use crate::capture::decode;
use crate::capture::sequence::{Series, Start};
use crate::capture::testing::{ExecSpec, Stream, actor};
use crate::model::act::Deed;

/// A kernel side, a ring and an agent in miniature: counts as the real ones do.
struct House {
    stream: Stream,
    kernel: KernelCounters,
    ring: Vec<Vec<u8>>,
    ledger: Ledger,
    tracker: SequenceTracker,
    join: Join<()>,
}

/// What happens to an act on its way.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Fate {
    Kept,
    Dropped,
    NotRead,
    Folded,
    Throttled,
    Damaged,
}

impl House {
    fn new() -> Self {
        Self {
            stream: Stream::new(1_000),
            kernel: [0; SLOTS as usize],
            ring: Vec::new(),
            ledger: Ledger::new(),
            tracker: SequenceTracker::new(Start::AtZero),
            join: Join::with_capacity(super::super::join::OUTCOME_TIMEOUT, 8),
        }
    }

    fn count(&mut self, family: Family, counter: Counter) {
        self.kernel[slot(family, counter) as usize] += 1;
    }

    fn act(&mut self, cpu: u32, kind: u8, fate: Fate) {
        let family =
            [Family::Process, Family::Connection, Family::Connection, Family::Datagram, Family::File]
                [usize::from(kind % 5)];
        self.count(family, Counter::Attempted);
        self.stream.cpu = cpu;
        match fate {
            Fate::Dropped => {
                self.stream.lose();
                return self.count(family, Counter::DroppedRingFull);
            }
            Fate::NotRead => {
                self.stream.lose();
                return self.count(family, Counter::DroppedRead);
            }
            Fate::Folded => return self.count(family, Counter::Folded),
            Fate::Throttled => return self.count(family, Counter::Throttled),
            Fate::Kept | Fate::Damaged => {}
        }
        let (who, peer) = (actor(10, 5), SocketAddr::from(([127, 0, 0, 1], 80)));
        let mut record = match kind % 5 {
            0 => self.stream.exec(&who, &ExecSpec { exe: "/bin/true", ..ExecSpec::default() }),
            1 => self.stream.connect(&who, u64::from(kind), peer),
            2 => self.stream.established(u64::from(kind) - 1, peer),
            3 => self.stream.datagram(&who, u64::from(kind), peer),
            _ => self.stream.file_open(&who, "/etc/shadow", 1, u64::from(kind)),
        };
        if fate == Fate::Damaged {
            record.truncate(record.len() - 1 - usize::from(kind % 2) * 60);
        }
        self.count(family, Counter::Submitted);
        self.ring.push(record);
    }

    fn tell(&self, number: usize) {
        self.ledger.add(Tally::Activity, number as u64);
        self.ledger.add(Tally::Queued, number as u64);
        self.ledger.add(Tally::Acknowledged, number as u64);
    }

    fn read_all(&mut self) {
        for bytes in std::mem::take(&mut self.ring) {
            match decode::meta(&bytes) {
                Ok(meta) => {
                    self.tracker.observe(meta.series, meta.sequence, meta.time);
                }
                Err(_) => self.ledger.add(Tally::Unnumbered, 1),
            }
            let act = decode::decode(&bytes);
            self.ledger.read(&act);
            let Ok(act) = act else { continue };
            match act.deed {
                Deed::ConnectAttempt(attempt) => {
                    let told = self.join.attempt(attempt.cookie, act.time, ()).len();
                    self.tell(told);
                }
                Deed::ConnectOutcome(outcome) => {
                    let told = self.join.outcome(act.time, outcome).is_some();
                    self.tell(usize::from(told));
                }
                Deed::Datagram(_) | Deed::ConnectionEnd(_) | Deed::ConnectionUpdate(_) => self.tell(1),
                Deed::DnsAnswer(_) => self.ledger.add(Tally::DnsAnswer, 1),
                Deed::HelloPiece(_) => self.ledger.add(Tally::HelloPiece, 1),
                Deed::RawSocket(_)
                | Deed::UnixConnect(_)
                | Deed::OpenRefused(_)
                | Deed::Change(_)
                | Deed::Memory(_)
                | Deed::Key(_) => self.tell(1),
                Deed::FileOpen(open) if open.file.inode % 2 == 0 => self.tell(1),
                Deed::FileOpen(_) => self.ledger.add(Tally::NotACredential, 1),
                Deed::Listen(_)
                | Deed::ListenEnd { .. }
                | Deed::CgroupMade { .. }
                | Deed::Fork(_)
                | Deed::Exec(_)
                | Deed::Exit(_) => self.ledger.add(Tally::Context, 1),
            }
        }
        self.ledger.kernel(&self.kernel);
        self.ledger.join(&self.join);
        self.ledger.sequence(&self.tracker);
    }

    fn close(&mut self) {
        let series = (0u32..).map(|cpu| Series { ring: Ring::Process, cpu });
        let ends: Vec<(Series, u64)> = series.zip(self.stream.next_numbers().iter().copied()).collect();
        self.tracker.close(ends);
        self.ledger.sequence(&self.tracker);
    }
}

#[test]
fn a_day_with_losses_balances() {
    let mut house = House::new();
    for kind in 0..250u8 {
        let fate = match kind % 7 {
            0 => Fate::Dropped,
            1 => Fate::Folded,
            _ => Fate::Kept,
        };
        house.act(u32::from(kind % 3), kind, fate);
        if kind % 50 == 49 {
            house.read_all();
            assert_eq!(house.ledger.check_running(), Ok(()));
        }
    }
    house.close();
    assert_eq!(house.ledger.check(), Ok(()));
    let told = house.join.drain().len();
    house.tell(told);
    house.ledger.join(&house.join);
    assert_eq!(house.ledger.check(), Ok(()));
    assert_eq!(house.ledger.get(Tally::SequenceLost), 36);
    let gaps = GapReporter::default().report(&house.ledger);
    assert_eq!(gaps.iter().map(|gap| gap.lost).sum::<u64>(), 36);
    assert!(gaps.iter().all(|gap| gap.stage == "kernel" && gap.cause == "dropped_ring_full"));
}

#[test]
fn each_equation_can_fail() {
    let broken = |change: &dyn Fn(&mut House)| {
        let mut house = House::new();
        for kind in 0..50u8 {
            house.act(0, kind, if kind % 5 == 4 { Fate::Dropped } else { Fate::Kept });
        }
        house.read_all();
        house.close();
        assert_eq!(house.ledger.check(), Ok(()));
        change(&mut house);
        house.ledger.kernel(&house.kernel);
        house
            .ledger
            .check()
            .map_err(|imbalance| imbalance.equation.split([' ', '=']).next().unwrap_or_default())
    };
    assert_eq!(broken(&|house| house.count(Family::File, Counter::Attempted)), Err("attempted"));
    assert_eq!(
        broken(&|house| {
            house.count(Family::File, Counter::Attempted);
            house.count(Family::File, Counter::Submitted);
        }),
        Err("submitted")
    );
    assert_eq!(
        broken(&|house| {
            house.count(Family::File, Counter::Attempted);
            house.count(Family::File, Counter::DroppedRingFull);
        }),
        Err("lost")
    );
    assert_eq!(
        broken(&|house| {
            house.ledger.set(Tally::Decoded, house.ledger.get(Tally::Decoded) - 1);
        }),
        Err("read")
    );
    assert_eq!(broken(&|house| house.ledger.add(Tally::NotACredential, 1)), Err("decoded"));
    assert_eq!(broken(&|house| house.ledger.add(Tally::QueueFull, 1)), Err("events"));
    assert_eq!(broken(&|house| house.ledger.add(Tally::Waiting, 1)), Err("queued"));
}

#[test]
fn an_imbalance_says_where_and_what_to_do() {
    let mut house = House::new();
    house.count(Family::Datagram, Counter::Attempted);
    house.ledger.kernel(&house.kernel);
    let text = house.ledger.check().unwrap_err().to_string();
    assert!(text.contains("(datagram): 1 against 0") && text.contains("telltale status"), "{text}");
}

#[test]
fn gaps_are_told_once() {
    let mut house = House::new();
    let mut reporter = GapReporter::default();
    house.act(0, 1, Fate::Dropped);
    house.act(0, 3, Fate::Throttled);
    house.act(0, 3, Fate::Damaged);
    house.read_all();
    house.ledger.add(Tally::QueueFull, 2);
    house.ledger.set(Tally::RunsSkipped, 3);
    let gap = |stage, cause, family, lost| Gap { stage, cause, family, lost };
    assert_eq!(
        reporter.report(&house.ledger),
        [
            gap("kernel", "dropped_ring_full", Some("connection"), 1),
            gap("kernel", "throttled", Some("datagram"), 1),
            gap("kernel", "run_skipped", None, 3),
            gap("decode", "length", None, 1),
            gap("queue", "queue_full", None, 2),
        ]
    );
    assert_eq!(reporter.report(&house.ledger), []);
    house.ledger.add(Tally::QueueFull, 1);
    assert_eq!(reporter.report(&house.ledger), [gap("queue", "queue_full", None, 1)]);
}

#[test]
fn names_are_stable_and_unique() {
    let ledger = Ledger::new();
    ledger.add(Tally::Acknowledged, 3);
    let snapshot = ledger.snapshot();
    let figures = Family::ALL.len() * Counter::ALL.len() + DecodeError::CAUSES.len() + Tally::ALL.len();
    assert_eq!(snapshot.len(), figures);
    assert_eq!(snapshot["queue.acknowledged"], 3);
    for name in ["kernel.file.dropped_simulated", "decode.undecodable.kind", "record.not_a_credential"] {
        assert!(snapshot.contains_key(name), "{name}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn whatever_is_lost_the_ledger_balances(
        acts in prop::collection::vec((0u32..4, any::<u8>(), 0usize..9), 0..300),
        turn in 1usize..60,
    ) {
        let fates = [Fate::Dropped, Fate::NotRead, Fate::Folded, Fate::Throttled, Fate::Damaged];
        let mut house = House::new();
        let mut expected_drops = 0;
        for (index, (cpu, kind, fate)) in acts.into_iter().enumerate() {
            let fate = fates.get(fate).copied().unwrap_or(Fate::Kept);
            expected_drops += u64::from(matches!(fate, Fate::Dropped | Fate::NotRead));
            house.act(cpu, kind, fate);
            if index % turn == 0 {
                house.read_all();
                prop_assert_eq!(house.ledger.check_running(), Ok(()));
            }
        }
        house.read_all();
        house.close();
        prop_assert_eq!(house.ledger.check(), Ok(()));
        prop_assert_eq!(
            house.ledger.get(Tally::SequenceLost),
            expected_drops + house.ledger.get(Tally::Unnumbered)
        );
    }
}
