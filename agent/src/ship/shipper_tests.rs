//! The shipper against a sink that answers by a script, on a clock that stands still until all tasks wait.

use std::collections::VecDeque;
use std::future::pending;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::Instant;

use super::counters::Counters;
use super::queue::Limits;
use super::sink::{Delivery, Encoded, Sink};
use super::wire::{decode, examples};
use super::{Lane, Offered, Pace, Shipping};
use crate::model::event::Event;

/// What a sink does with a batch.
#[derive(Clone, Debug)]
enum Answer {
    Give(Delivery),
    Hang,
}

fn acknowledge() -> Answer {
    Answer::Give(Delivery::Acknowledged)
}

fn later(after: Option<Duration>) -> Answer {
    Answer::Give(Delivery::Retry { why: "busy".to_owned(), after })
}

/// A delivery that was tried: when, which events, how many bytes.
#[derive(Clone, Debug, PartialEq)]
struct Tried {
    at: Instant,
    first: u64,
    last: u64,
    epoch: u64,
    /// Losses that it tells of, by cause.
    gaps: Vec<(String, u64)>,
}

#[derive(Clone)]
struct Scripted {
    script: Arc<Mutex<VecDeque<Answer>>>,
    tried: mpsc::UnboundedSender<Tried>,
}

impl Sink for Scripted {
    async fn deliver(&mut self, batch: &Encoded) -> Delivery {
        let read = decode(&batch.bytes).unwrap();
        assert_eq!((read.first_seq, read.last_seq()), (batch.first, batch.last));
        let gaps = read.events.iter().filter_map(|event| event.gap.as_ref());
        let gaps = gaps.map(|gap| (gap.cause.to_string(), gap.lost)).collect();
        let (at, epoch) = (Instant::now(), read.epoch);
        let _ = self.tried.send(Tried { at, first: batch.first, last: batch.last, epoch, gaps });
        let answer = self.script.lock().unwrap().pop_front();
        match answer {
            Some(Answer::Give(delivery)) => delivery,
            Some(Answer::Hang) => pending().await,
            None => Delivery::Acknowledged,
        }
    }

    fn target(&self) -> &str {
        "a script"
    }
}

fn start(pace: Pace, script: impl IntoIterator<Item = Answer>) -> (Shipping, mpsc::UnboundedReceiver<Tried>) {
    let (tried, tries) = mpsc::unbounded_channel();
    let sink = Scripted { script: Arc::new(Mutex::new(script.into_iter().collect())), tried };
    (Shipping::start(examples::origin(), Limits::default(), pace, examples::clock, sink), tries)
}

fn event() -> Event {
    examples::all().remove(0).1
}

fn offer(shipping: &Shipping, events: usize) {
    (0..events).for_each(|_| assert_ne!(shipping.offer(Lane::First, event()), Offered::Full));
}

/// The first and the last number of a batch, and the losses that it tells of.
type Told = (u64, u64, Vec<(String, u64)>);

fn all(tries: &mut mpsc::UnboundedReceiver<Tried>) -> Vec<Told> {
    std::iter::from_fn(|| tries.try_recv().ok()).map(|tried| (tried.first, tried.last, tried.gaps)).collect()
}

fn ranges(tries: &mut mpsc::UnboundedReceiver<Tried>) -> Vec<(u64, u64)> {
    all(tries).into_iter().map(|(first, last, _)| (first, last)).collect()
}

/// [acknowledged, dead-lettered, abandoned, retries]; and that the ledger holds.
fn fates(counters: &Arc<Counters>) -> [u64; 4] {
    let counters = &**counters;
    let value = |counter: &std::sync::atomic::AtomicU64| counter.load(Ordering::Relaxed);
    let [acknowledged, dead, abandoned] =
        [&counters.acknowledged, &counters.dead_lettered, &counters.abandoned].map(value);
    assert_eq!(value(&counters.queued), acknowledged + dead + abandoned + counters.waiting());
    [acknowledged, dead, abandoned, value(&counters.retries)]
}

#[tokio::test(start_paused = true)]
async fn a_batch_goes_when_it_is_full_or_old() {
    let pace = Pace { events: 3, ..Pace::default() };
    let (shipping, mut tries) = start(pace, []);
    let begun = Instant::now();
    offer(&shipping, 3);
    let full = tries.recv().await.unwrap();
    assert_eq!((full.first, full.last, full.at), (1, 3, begun));
    offer(&shipping, 2);
    let old = tries.recv().await.unwrap();
    assert_eq!((old.first, old.last), (4, 5));
    assert!(old.at - begun >= pace.age && old.at - begun < pace.age * 2);
    assert_eq!(fates(&shipping.stop(Duration::from_secs(1)).await), [5, 0, 0, 0]);
}

#[tokio::test(start_paused = true)]
async fn a_batch_goes_when_it_has_enough_bytes() {
    let (shipping, mut tries) = start(Pace { bytes: 1, ..Pace::default() }, []);
    offer(&shipping, 3);
    assert_eq!(fates(&shipping.stop(Duration::from_secs(1)).await), [3, 0, 0, 0]);
    assert_eq!(ranges(&mut tries), [(1, 1), (2, 2), (3, 3)]);
}

#[tokio::test(start_paused = true)]
async fn a_retry_waits_longer_each_time_and_keeps_the_order() {
    let pace = Pace { events: 2, ..Pace::default() };
    let (shipping, mut tries) = start(pace, std::iter::repeat_n(later(None), 10));
    offer(&shipping, 4);
    let mut tried = Vec::new();
    while tried.len() < 12 {
        tried.push(tries.recv().await.unwrap());
    }
    assert!(tried[..11].iter().all(|tried| (tried.first, tried.last) == (1, 2)));
    assert_eq!((tried[11].first, tried[11].last), (3, 4));
    let mut expected = pace.first_retry;
    for pair in tried[..11].windows(2) {
        let waited = pair[1].at - pair[0].at;
        let slack = Duration::from_millis(2);
        assert!(waited >= expected && waited <= expected * 2 + slack, "{waited:?} for {expected:?}");
        expected = (expected * 2).min(pace.longest_retry);
    }
    assert_eq!(fates(&shipping.stop(Duration::from_secs(1)).await), [4, 0, 0, 10]);
}

#[tokio::test(start_paused = true)]
async fn a_collector_may_ask_for_time_but_not_for_ever() {
    let ask = |seconds| later(Some(Duration::from_secs(seconds)));
    let (shipping, mut tries) = start(Pace::default(), [ask(77), ask(1_000_000)]);
    offer(&shipping, 1);
    let mut tried = Vec::new();
    while tried.len() < 3 {
        tried.push(tries.recv().await.unwrap().at);
    }
    assert_eq!((tried[1] - tried[0]).as_secs(), 77);
    assert_eq!((tried[2] - tried[1]).as_secs(), Pace::default().longest_retry_after.as_secs());
    shipping.stop(Duration::from_secs(1)).await;
}

#[tokio::test(start_paused = true)]
async fn what_is_too_large_is_sent_in_parts() {
    let too_large = || Answer::Give(Delivery::TooLarge);
    let script = [too_large(), too_large(), acknowledge(), too_large()];
    let (shipping, mut tries) = start(Pace { events: 8, ..Pace::default() }, script);
    offer(&shipping, 8);
    assert_eq!(fates(&shipping.stop(Duration::from_secs(1)).await), [8, 0, 0, 0]);
    assert_eq!(ranges(&mut tries), [(1, 8), (1, 4), (1, 2), (3, 6), (3, 4), (5, 8)]);
}

#[tokio::test(start_paused = true)]
async fn one_event_that_is_too_large_does_not_stop_the_others() {
    let (shipping, mut tries) =
        start(Pace { events: 1, ..Pace::default() }, [Answer::Give(Delivery::TooLarge)]);
    offer(&shipping, 2);
    // The third tells of the first.
    assert_eq!(fates(&shipping.stop(Duration::from_secs(1)).await), [2, 1, 0, 0]);
    assert_eq!(ranges(&mut tries), [(1, 1), (2, 2), (3, 3)]);
}

fn refuse() -> Answer {
    Answer::Give(Delivery::Refused { why: "no".to_owned() })
}

#[tokio::test(start_paused = true)]
async fn what_is_refused_for_good_is_passed_over_and_told_later() {
    let (shipping, mut tries) = start(Pace { events: 2, ..Pace::default() }, [refuse()]);
    offer(&shipping, 4);
    assert_eq!(fates(&shipping.stop(Duration::from_secs(1)).await), [3, 2, 0, 0]);
    assert_eq!(all(&mut tries), [(1, 2, vec![]), (3, 4, vec![]), (5, 5, vec![("rejected".to_owned(), 2)])]);
}

#[tokio::test(start_paused = true)]
async fn a_refused_tale_of_a_loss_is_told_again_with_its_own() {
    let script = [refuse(), acknowledge(), refuse(), acknowledge()];
    let (shipping, mut tries) = start(Pace { events: 2, ..Pace::default() }, script);
    offer(&shipping, 4);
    let first: Vec<_> = [tries.recv().await, tries.recv().await, tries.recv().await].into();
    assert_eq!(first[2].as_ref().map(|tried| tried.gaps.len()), Some(1));
    offer(&shipping, 1);
    // 1 and 2, then 5, which said so; 6 is taken, and 7 tells of all three.
    assert_eq!(fates(&shipping.stop(Duration::from_secs(1)).await), [4, 3, 0, 0]);
    assert_eq!(all(&mut tries), [(6, 6, vec![]), (7, 7, vec![("rejected".to_owned(), 3)])]);
}

/// What may wait has its own numbers, and what does not never waits for it: not in the queue, not at the collector.
#[tokio::test(start_paused = true)]
async fn the_first_lane_does_not_wait_for_the_bulk_lane() {
    let pace = Pace { events: 2, ..Pace::default() };
    let (shipping, mut tries) = start(pace, [Answer::Hang]);
    for _ in 0..10 {
        assert_ne!(shipping.offer(Lane::Bulk, event()), Offered::Full);
    }
    let hangs = tries.recv().await.unwrap();
    assert_eq!((hangs.first, hangs.last, hangs.epoch), (1, 2, examples::origin().epoch + 1));
    let begun = Instant::now();
    offer(&shipping, 1);
    let told = tries.recv().await.unwrap();
    assert_eq!((told.first, told.last, told.epoch), (1, 1, examples::origin().epoch));
    assert!(told.at - begun <= pace.age, "{:?}", told.at - begun);
    assert_eq!(fates(&shipping.stop(Duration::from_secs(1)).await), [1, 0, 10, 0]);
}

/// A gap event of the bulk lane that was refused is told again with its own cause, in its own numbers.
#[tokio::test(start_paused = true)]
async fn a_refused_tale_of_the_bulk_lane_stays_its_own() {
    let (tried, mut tries) = mpsc::unbounded_channel();
    let script = Arc::new(Mutex::new(VecDeque::from([refuse(), acknowledge()])));
    let limits = Limits { events: 4, bytes: 1 << 20 };
    let pace = Pace { events: 3, ..Pace::default() };
    let sink = Scripted { script, tried };
    let shipping = Shipping::start(examples::origin(), limits, pace, examples::clock, sink);
    let full = (0..7).filter(|_| shipping.offer(Lane::Bulk, event()) == Offered::Full).count();
    assert_eq!(full, 5);
    let refused = tries.recv().await.unwrap();
    assert_eq!(refused.gaps, [("bulk_full".to_owned(), 5)]);
    assert_ne!(shipping.offer(Lane::Bulk, event()), Offered::Full);
    assert_eq!(fates(&shipping.stop(Duration::from_secs(1)).await), [3, 3, 0, 0]);
    let told: Vec<_> = all(&mut tries).into_iter().flat_map(|(_, _, gaps)| gaps).collect();
    assert_eq!(told, [("bulk_full".to_owned(), 5), ("rejected".to_owned(), 3)]);
}

/// Else each tale of a loss would be the next loss, as fast as the network carries it.
#[tokio::test(start_paused = true)]
async fn a_collector_that_refuses_everything_is_told_nothing_more() {
    let (shipping, mut tries) = start(Pace::default(), vec![refuse(); 100]);
    for _ in 0..3 {
        offer(&shipping, 1);
        tries.recv().await.unwrap();
    }
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(fates(&shipping.stop(Duration::from_secs(1)).await), [0, 3, 0, 0]);
    assert_eq!(all(&mut tries), []);
}

#[tokio::test(start_paused = true)]
async fn a_stop_flushes_and_counts_what_it_cannot() {
    for script in [vec![acknowledge(), Answer::Hang], [vec![acknowledge()], vec![later(None); 1000]].concat()]
    {
        let (shipping, mut tries) = start(Pace { events: 2, ..Pace::default() }, script);
        offer(&shipping, 2);
        tries.recv().await.unwrap();
        offer(&shipping, 5);
        tries.recv().await.unwrap();
        let begun = Instant::now();
        let counters = shipping.stop(Duration::from_secs(3)).await;
        assert!(begun.elapsed() <= Duration::from_millis(3_010), "{:?}", begun.elapsed());
        let [acknowledged, dead, abandoned, _] = fates(&counters);
        assert_eq!([acknowledged, dead, abandoned, counters.waiting()], [2, 0, 5, 0]);
    }
}

/// A stop while the shipper waits minutes for a retry tries again at once.
#[tokio::test(start_paused = true)]
async fn a_stop_does_not_wait_for_a_retry() {
    let (shipping, mut tries) = start(Pace::default(), [later(Some(Duration::from_secs(200)))]);
    offer(&shipping, 1);
    tries.recv().await.unwrap();
    tokio::task::yield_now().await;
    let begun = Instant::now();
    assert_eq!(fates(&shipping.stop(Duration::from_secs(10)).await), [1, 0, 0, 1]);
    assert!(begun.elapsed() < Duration::from_secs(1), "{:?}", begun.elapsed());
}

/// A collector that is down for long: the queue fills, and what it turned away is told in order, to the unit.
#[tokio::test(start_paused = true)]
async fn an_outage_costs_only_what_the_queue_cannot_hold() {
    let (tried, mut tries) = mpsc::unbounded_channel();
    let script = Arc::new(Mutex::new(VecDeque::from(vec![later(None); 6])));
    let sink = Scripted { script, tried };
    let limits = Limits { events: 10, bytes: 1 << 20 };
    let pace = Pace { events: 4, ..Pace::default() };
    let shipping = Shipping::start(examples::origin(), limits, pace, examples::clock, sink);
    offer(&shipping, 4);
    tries.recv().await.unwrap();
    let offered = (0..100).filter(|_| shipping.offer(Lane::First, event()) == Offered::Full).count();
    assert_eq!(offered, 90);
    let counters = shipping.stop(Duration::from_secs(600)).await;
    assert_eq!(fates(&counters)[..3], [15, 0, 0]);
    assert_eq!(counters.dropped_queue_full.load(Ordering::Relaxed), 90);
    assert_eq!(ranges(&mut tries).last(), Some(&(13, 15)));
}
