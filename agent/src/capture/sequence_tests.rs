use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;

const fn on(cpu: u32) -> Series {
    Series { ring: Ring::Process, cpu }
}

const fn at(ns: u64) -> BootTime {
    BootTime::from_ns(ns)
}

/// Feeds numbers of CPU 0, each 1 µs after the one before.
fn feed(tracker: &mut SequenceTracker, numbers: impl IntoIterator<Item = u64>) -> Vec<Seen> {
    numbers.into_iter().map(|number| tracker.observe(on(0), number, at(number * 1_000 + 1))).collect()
}

#[test]
fn order_reordering_and_loss() {
    let mut tracker = SequenceTracker::new(Start::AtZero);
    assert_eq!(feed(&mut tracker, [0, 1, 3, 2]), [Seen::New, Seen::New, Seen::New, Seen::Late]);
    assert_eq!((tracker.lost(), tracker.open()), (0, 0));
    feed(&mut tracker, [10]);
    assert_eq!((tracker.lost(), tracker.open()), (0, 6));
    feed(&mut tracker, 11..11 + REORDER_WINDOW);
    assert_eq!((tracker.lost(), tracker.open()), (6, 0));
    assert_eq!(tracker.settle(at(0)).unwrap().lost, 6);
    assert_eq!(tracker.settle(at(0)), None);
}

#[test]
fn a_quiet_cpu_settles_by_age() {
    let mut tracker = SequenceTracker::new(Start::AtZero);
    tracker.observe(on(0), 0, at(1));
    tracker.observe(on(0), 5, at(2));
    assert_eq!(tracker.settle(at(2 + SETTLE_NS)), None);
    assert_eq!(tracker.settle(at(3 + SETTLE_NS)).unwrap().lost, 4);
}

#[test]
fn a_record_that_was_called_lost_takes_its_loss_back() {
    let mut tracker = SequenceTracker::new(Start::AtZero);
    feed(&mut tracker, [0, 4]);
    assert_eq!(tracker.settle(at(SETTLE_NS * 2)).unwrap().lost, 3);
    assert_eq!(feed(&mut tracker, [2, 2]), [Seen::Recovered, Seen::Duplicate]);
    assert_eq!((tracker.lost(), tracker.recovered(), tracker.duplicates()), (2, 1, 1));
    feed(&mut tracker, [6]);
    assert_eq!(tracker.settle(at(SETTLE_NS * 4)), None, "one more loss, one taken back: nothing to add");
}

#[test]
fn duplicates_are_told_from_a_restart_by_their_time() {
    let mut tracker = SequenceTracker::new(Start::AtZero);
    feed(&mut tracker, 0..100);
    assert_eq!(tracker.observe(on(0), 50, at(50_001)), Seen::Duplicate);
    assert_eq!(tracker.observe(on(0), 2, at(1_000_000)), Seen::Restarted);
    assert_eq!((tracker.open(), tracker.restarts()), (2, 1));
    assert_eq!(tracker.observe(on(0), 1, at(999_999)), Seen::Late);
    assert_eq!(tracker.observe(on(0), 3, at(1_000_001)), Seen::New);
    assert_eq!(tracker.close([]).unwrap().lost, 1);
}

#[test]
fn the_start_of_a_stream() {
    let mut whole = SequenceTracker::new(Start::AtZero);
    whole.observe(on(3), 7, at(1));
    assert_eq!(whole.close([(on(3), 8), (on(4), 2)]).unwrap().lost, 9);
    let mut joined = SequenceTracker::new(Start::Anywhere);
    joined.observe(on(3), 7, at(1));
    assert_eq!(joined.close([(on(3), 8), (on(4), 2)]), None);
}

#[test]
fn losses_after_the_last_record_are_learnt_from_the_kernel() {
    let mut tracker = SequenceTracker::new(Start::AtZero);
    feed(&mut tracker, [0, 1]);
    assert_eq!(tracker.close([(on(0), 5)]).unwrap().lost, 3);
    assert_eq!(tracker.close([(on(0), 5)]), None);
}

#[test]
fn numbers_at_the_end_of_their_range_are_harmless() {
    let mut tracker = SequenceTracker::new(Start::AtZero);
    tracker.observe(on(0), u64::MAX, at(1));
    tracker.observe(on(0), u64::MAX, at(2));
    assert_eq!(tracker.close([(on(0), u64::MAX)]).map(|gap| gap.lost), Some(u64::MAX));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

    /// Some records are dropped, the others come a little out of order: holes = drops, exactly.
    #[test]
    fn holes_are_the_drops(
        total in 1u64..4_000,
        dropped in prop::collection::btree_set(0u64..4_000, 0..600),
        jitter in prop::collection::vec(0u64..200, 64),
        cpus in 1u32..4,
    ) {
        let mut tracker = SequenceTracker::new(Start::AtZero);
        let dropped: BTreeSet<u64> = dropped.into_iter().filter(|number| *number < total).collect();
        for cpu in 0..cpus {
            let mut sent: Vec<u64> = (0..total).filter(|number| !dropped.contains(number)).collect();
            sent.sort_by_key(|number| number + jitter[*number as usize % jitter.len()]);
            for number in sent {
                let seen = tracker.observe(on(cpu), number, at(number));
                prop_assert!(matches!(seen, Seen::New | Seen::Late), "{seen:?}");
            }
        }
        let gaps: u64 = tracker.close((0..cpus).map(|cpu| (on(cpu), total))).map_or(0, |gap| gap.lost);
        prop_assert_eq!(gaps, dropped.len() as u64 * u64::from(cpus));
        prop_assert_eq!(tracker.lost(), gaps);
        prop_assert_eq!((tracker.duplicates(), tracker.restarts(), tracker.open()), (0, 0, 0));
    }

    /// Any numbers at any times: memory stays bounded, nothing overflows.
    #[test]
    fn any_numbers(records in prop::collection::vec((0u32..3, any::<u64>(), any::<u64>()), 0..300)) {
        let mut tracker = SequenceTracker::new(Start::AtZero);
        for (cpu, number, time) in records {
            tracker.observe(on(cpu), number, at(time));
            for state in tracker.series.values() {
                prop_assert!(state.lost.len() <= LOST_RANGES);
                prop_assert!(state.open.len() as u64 <= REORDER_WINDOW);
            }
        }
    }
}
