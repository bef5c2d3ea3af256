//! The queue between the pipeline and the shipper: bounded, never waited for, exact about what it turns away.
//!
//! An event gets its sequence number when it is accepted; what is turned away has none. In its place, right behind
//! the last accepted event, stands one gap event with the number of those lost, which grows until an event is
//! accepted again. So a collector learns of each loss where it happened, and the queue makes no holes in the numbers.
//!
//! What a collector refuses for good is a hole in its numbers. The shipper puts a gap event here that says so, once the
//! collector takes batches again ([`QueueOutput::tell`]).
//!
//! Each [`Lane`] is a stream of its own, with its own numbers and its own reader: what waits in one never waits for
//! what fills the other.
//!
//! Bounds: [`Limits`] for events and bytes of both lanes together, plus the gap events that may stand at the end of a
//! full lane, one of each cause, plus what each shipper has in hand: about two batches.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;
use tokio::time::Instant;

use super::counters::Counters;
use super::wire::{Origin, both_paths, destination_bytes, key_bytes, repeat_bytes, token_bytes};
use crate::model::event::{Connection, Event, EventKind, Gap, Traffic, What};
use crate::model::time::BootTime;

/// How much the queue holds.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Events.
    pub events: usize,
    /// Bytes of memory, as [`weight`] estimates them.
    pub bytes: usize,
}

impl Default for Limits {
    /// Half a second at 100,000 events a second, within the memory that the agent may have (48 MiB in all).
    fn default() -> Self {
        Self { events: 65_536, bytes: 24 << 20 }
    }
}

/// Stage of the queue's gap events.
pub const STAGE: &str = "queue";
/// Cause of the queue's gap events: there was no room.
pub const CAUSE_FULL: &str = "queue_full";
/// Cause of the queue's gap events: there was no room for the bulk lane.
pub const CAUSE_BULK_FULL: &str = "bulk_full";
/// Cause of the queue's gap events: the collector refused the events for good.
pub const CAUSE_REJECTED: &str = "rejected";

/// An event with its sequence number.
#[derive(Clone, Debug)]
pub struct Queued {
    /// Its sequence number.
    pub seq: u64,
    /// The event.
    pub event: Event,
    weight: usize,
}

impl Queued {
    /// About how many bytes of memory it keeps alive.
    pub fn weight(&self) -> usize {
        self.weight
    }
}

/// The stream that an event goes in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lane {
    /// What is told at once; it may take all the room that there is.
    First,
    /// What comes from somebody who is beyond his budget, or can wait. It may take half of the room; the other half is
    /// kept for the rest.
    Bulk,
}

/// What each lane has one of.
#[derive(Clone, Copy, Debug, Default)]
pub struct PerLane<T> {
    /// Of [`Lane::First`].
    pub first: T,
    /// Of [`Lane::Bulk`].
    pub bulk: T,
}

impl<T> PerLane<T> {
    /// Makes one for each.
    pub fn new(mut make: impl FnMut(Lane) -> T) -> Self {
        Self { first: make(Lane::First), bulk: make(Lane::Bulk) }
    }

    /// That of a lane.
    pub fn of(&self, lane: Lane) -> &T {
        match lane {
            Lane::First => &self.first,
            Lane::Bulk => &self.bulk,
        }
    }

    /// As [`PerLane::of`].
    pub fn of_mut(&mut self, lane: Lane) -> &mut T {
        match lane {
            Lane::First => &mut self.first,
            Lane::Bulk => &mut self.bulk,
        }
    }
}

impl Lane {
    /// Whose numbers this lane's are, of an agent that speaks as `agent`. Its epoch is the nanosecond of its start, and no
    /// two agents of a boot start within two.
    pub fn origin(self, agent: &Origin) -> Origin {
        Origin { host: agent.host.clone(), epoch: agent.epoch + self as u64 }
    }
}

/// What became of an event that was offered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Offered {
    /// It is in the queue, with this sequence number.
    Accepted(u64),
    /// It was turned away and counted: there was no room.
    Full,
}

/// The events of one lane.
struct Waiting {
    events: VecDeque<Queued>,
    bytes: usize,
    next_seq: u64,
    /// When there was an event last after there was none: what is left behind a full batch has waited for its time already.
    since: Instant,
    /// The reader sleeps until this many wait, so that it is not woken for each event.
    wake_at: usize,
}

impl Waiting {
    /// Whether these and an event of `weight` are beyond their share. One event alone never is.
    fn is_full(&self, all: &PerLane<Self>, weight: usize, share: Limits, whole: Limits) -> bool {
        let within = |events: usize, bytes: usize, limits: Limits| {
            events < limits.events && (bytes + weight <= limits.bytes || events == 0)
        };
        let PerLane { first, bulk } = all;
        let (events, bytes) = (first.events.len() + bulk.events.len(), first.bytes + bulk.bytes);
        !(within(self.events.len(), self.bytes, share) && within(events, bytes, whole))
    }
}

struct State {
    lanes: PerLane<Waiting>,
    closed: bool,
}

struct Shared {
    limits: Limits,
    counters: Arc<Counters>,
    state: Mutex<State>,
    /// For each lane's reader.
    changed: PerLane<Notify>,
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing that holds the lock can panic half-way through a change.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn append(&self, waiting: &mut Waiting, event: Event, weight: usize) -> u64 {
        let seq = waiting.next_seq;
        if waiting.events.is_empty() {
            waiting.since = Instant::now();
        }
        waiting.next_seq += 1;
        waiting.bytes += weight;
        waiting.events.push_back(Queued { seq, event, weight });
        Counters::add(&self.counters.queued, 1);
        seq
    }

    /// Counts lost events in the gap of that cause at the end, which is made where there is none.
    fn tell(&self, waiting: &mut Waiting, cause: &'static str, lost: u64, last: BootTime) {
        for queued in waiting.events.iter_mut().rev() {
            match &mut queued.event {
                Event { time, kind: EventKind::Gap(gap) } if gap.stage == STAGE => {
                    if gap.cause == cause {
                        gap.lost += lost;
                        *time = last;
                        return;
                    }
                }
                _ => break,
            }
        }
        let event =
            Event { time: last, kind: EventKind::Gap(Gap { stage: STAGE, cause, family: None, lost }) };
        let weight = weight(&event);
        self.append(waiting, event, weight);
    }
}

/// A queue whose first event of each lane will have sequence number 1.
pub fn queue(limits: Limits, counters: Arc<Counters>) -> (QueueInput, PerLane<QueueOutput>) {
    let empty =
        |_| Waiting { events: VecDeque::new(), bytes: 0, next_seq: 1, since: Instant::now(), wake_at: 1 };
    let state = State { lanes: PerLane::new(empty), closed: false };
    let shared = Arc::new(Shared {
        limits,
        counters,
        state: Mutex::new(state),
        changed: PerLane::new(|_| Notify::new()),
    });
    let outputs = PerLane::new(|lane| QueueOutput { shared: shared.clone(), lane });
    (QueueInput { shared }, outputs)
}

/// Where the pipeline puts events. Dropping it closes the queue.
pub struct QueueInput {
    shared: Arc<Shared>,
}

impl QueueInput {
    /// Offers an event; returns at once.
    pub fn offer(&self, lane: Lane, event: Event) -> Offered {
        let whole = self.shared.limits;
        let counters = &self.shared.counters;
        let (share, dropped, cause) = match lane {
            Lane::First => (whole, &counters.dropped_queue_full, CAUSE_FULL),
            Lane::Bulk => {
                let half = Limits { events: whole.events / 2, bytes: whole.bytes / 2 };
                (half, &counters.dropped_bulk_full, CAUSE_BULK_FULL)
            }
        };
        let weight = weight(&event);
        let mut state = self.shared.state();
        let full = state.lanes.of(lane).is_full(&state.lanes, weight, share, whole);
        let waiting = state.lanes.of_mut(lane);
        let before = waiting.events.len();
        let offered = if full {
            Counters::add(dropped, 1);
            self.shared.tell(waiting, cause, 1, event.time);
            Offered::Full
        } else {
            Offered::Accepted(self.shared.append(waiting, event, weight))
        };
        let wake = before < waiting.wake_at && waiting.events.len() >= waiting.wake_at;
        drop(state);
        if wake {
            self.shared.changed.of(lane).notify_one();
        }
        offered
    }
}

impl Drop for QueueInput {
    fn drop(&mut self) {
        self.shared.state().closed = true;
        let PerLane { first, bulk } = &self.shared.changed;
        first.notify_one();
        bulk.notify_one();
    }
}

/// Where a shipper takes the events of one lane.
pub struct QueueOutput {
    shared: Arc<Shared>,
    lane: Lane,
}

impl QueueOutput {
    /// Whose events these are.
    pub fn lane(&self) -> Lane {
        self.lane
    }

    /// Since when events wait; where none does, any time.
    pub fn since(&self) -> Instant {
        self.shared.state().lanes.of(self.lane).since
    }

    /// Waits until `least` events wait, or the queue is closed; `false` where it is closed and this lane is empty. May
    /// be dropped half-way.
    pub async fn ready(&mut self, least: usize) -> bool {
        loop {
            {
                let mut state = self.shared.state();
                let closed = state.closed;
                let waiting = state.lanes.of_mut(self.lane);
                waiting.wake_at = least.max(1);
                if waiting.events.len() >= waiting.wake_at || closed {
                    return !waiting.events.is_empty();
                }
            }
            // A notification that comes between the look and the wait is kept by `Notify`.
            self.shared.changed.of(self.lane).notified().await;
        }
    }

    /// Moves up to `most` events of `weights` in all into `into`, in order; one at least. What was taken is beyond the queue's
    /// bounds.
    pub fn take(&mut self, into: &mut VecDeque<Queued>, most: usize, weights: usize) {
        let mut state = self.shared.state();
        let Waiting { events, bytes, .. } = state.lanes.of_mut(self.lane);
        let mut taken = 0;
        let fits = |queued: &&Queued| {
            let is_first = taken == 0;
            taken += queued.weight;
            is_first || taken <= weights
        };
        let count = events.iter().take(most).take_while(fits).count();
        for queued in events.drain(..count) {
            *bytes = bytes.saturating_sub(queued.weight);
            into.push_back(queued);
        }
    }

    /// Tells of events that were lost behind the queue, the last of which is from `last`.
    pub fn tell(&self, cause: &'static str, lost: u64, last: BootTime) {
        self.shared.tell(self.shared.state().lanes.of_mut(self.lane), cause, lost, last);
    }

    /// How many events wait.
    pub fn len(&self) -> usize {
        self.shared.state().lanes.of(self.lane).events.len()
    }

    /// Whether none waits.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// About how many bytes of memory an event keeps alive. Its process is counted whole although events share it: the
/// worst case is one event a process, and the bound must hold there. Ancestors are not: they outlive many events.
pub fn weight(event: &Event) -> usize {
    let fixed = size_of::<Queued>();
    match &event.kind {
        EventKind::Activity(activity) => {
            let image = &activity.process.image;
            let path = match &activity.what {
                What::CredentialAccess(access) => {
                    both_paths(&access.path, access.other_path.as_ref()) + token_bytes(access.token.as_ref())
                }
                What::CredentialAttempt(attempt) => both_paths(&attempt.path, attempt.other_path.as_ref()),
                What::KeyAccess(access) => key_bytes(access),
                _ => 0,
            };
            let claims = activity.what.names().map_or(&[][..], |names| &names.claims);
            let names = claims.iter().map(|claim| size_of_val(claim) + claim.name.len()).sum::<usize>();
            let paths = [&image.exe, &image.filename, &image.interpreter, &image.cwd];
            let arguments = image.argv.iter().map(|argument| argument.as_bytes().len() + 32).sum::<usize>();
            let other = match &activity.what {
                What::MemoryAccess(access) => size_of_val(&*access.target.process),
                What::Connection(Connection { destination, .. })
                | What::ConnectionUpdate(Traffic { destination, .. })
                | What::ConnectionEnd(Traffic { destination, .. }) => {
                    let process = destination.as_ref().and_then(|destination| destination.process.as_ref());
                    destination_bytes(destination.as_deref())
                        + process.map_or(0, |process| size_of_val(&**process))
                }
                _ => 0,
            };
            fixed
                + other
                + size_of_val(&**activity)
                + size_of_val(&*activity.process)
                + size_of_val(&**image)
                + activity.why.lineage.len() * size_of::<usize>()
                + path
                + names
                + paths.iter().map(|path| path.as_bytes().len()).sum::<usize>()
                + arguments
        }
        EventKind::AgentStatus(status) => {
            let texts = status.counters.len() + status.capabilities.len() + status.impairments.len();
            fixed + 64 * texts
        }
        EventKind::Repeat(repeat) => fixed + repeat_bytes(repeat),
        EventKind::Gap(_) => fixed,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ship::wire::examples;
    use std::sync::atomic::Ordering;

    fn event(ns: u64) -> Event {
        let mut event = examples::all().remove(0).1;
        event.time = BootTime::from_ns(ns);
        event
    }

    fn small(events: usize) -> (QueueInput, QueueOutput, Arc<Counters>) {
        let (input, PerLane { first, .. }, counters) = small_lanes(events);
        (input, first, counters)
    }

    fn small_lanes(events: usize) -> (QueueInput, PerLane<QueueOutput>, Arc<Counters>) {
        let counters = Arc::new(Counters::default());
        let (input, outputs) = queue(Limits { events, bytes: 1 << 20 }, counters.clone());
        (input, outputs, counters)
    }

    fn drain(output: &mut QueueOutput, most: usize) -> Vec<(u64, Option<u64>)> {
        let mut taken = VecDeque::new();
        output.take(&mut taken, most, usize::MAX);
        let lost = |event: &Event| match &event.kind {
            EventKind::Gap(gap) => Some(gap.lost),
            _ => None,
        };
        taken.iter().map(|queued| (queued.seq, lost(&queued.event))).collect()
    }

    #[test]
    fn a_full_queue_tells_how_much_it_lost_and_where() {
        let (input, mut output, counters) = small(3);
        let offered: Vec<_> = (0..8).map(|ns| input.offer(Lane::First, event(ns))).collect();
        assert_eq!(offered[..3], [1, 2, 3].map(Offered::Accepted));
        assert!(offered[3..].iter().all(|offered| *offered == Offered::Full));
        assert_eq!(drain(&mut output, 2), [(1, None), (2, None)]);
        // Two places are taken: one by event 3, one by the gap. One is free.
        assert_eq!(input.offer(Lane::First, event(9)), Offered::Accepted(5));
        assert_eq!(input.offer(Lane::First, event(10)), Offered::Full);
        assert_eq!(drain(&mut output, 9), [(3, None), (4, Some(5)), (5, None), (6, Some(1))]);
        assert_eq!(counters.dropped_queue_full.load(Ordering::Relaxed), 6);
        assert_eq!(counters.queued.load(Ordering::Relaxed), 6);
    }

    #[test]
    fn bytes_are_bounded_and_an_event_larger_than_all_of_them_passes_alone() {
        let counters = Arc::new(Counters::default());
        let one = weight(&event(0));
        let (input, PerLane { first: mut output, .. }) =
            queue(Limits { events: 100, bytes: one * 2 }, counters);
        assert_eq!(input.offer(Lane::First, event(0)), Offered::Accepted(1));
        assert_eq!(input.offer(Lane::First, event(1)), Offered::Accepted(2));
        assert_eq!(input.offer(Lane::First, event(2)), Offered::Full);
        assert_eq!(drain(&mut output, 9).len(), 3);
        let (input, _outputs) = queue(Limits { events: 100, bytes: 1 }, Arc::default());
        assert_eq!(input.offer(Lane::First, event(0)), Offered::Accepted(1));
        assert_eq!(input.offer(Lane::First, event(1)), Offered::Full);
    }

    #[test]
    fn what_is_taken_is_bounded_by_weight_too() {
        let (input, mut output, _) = small(100);
        for ns in 0..10 {
            let _ = input.offer(Lane::First, event(ns));
        }
        let one = weight(&event(0));
        for (weights, expected) in [(one * 3, 3), (one * 3 + 1, 3), (0, 1), (usize::MAX, 3)] {
            let mut taken = VecDeque::new();
            output.take(&mut taken, 3, weights);
            assert_eq!(taken.len(), expected, "{weights}");
        }
        assert_eq!(output.len(), 0);
    }

    #[test]
    fn the_gap_stays_one_event_however_long_the_queue_is_full() {
        let (input, mut output, _) = small(10);
        for ns in 0..10_000 {
            let _ = input.offer(Lane::First, event(ns));
        }
        assert_eq!(output.len(), 11);
        assert_eq!(drain(&mut output, 99).last(), Some(&(11, Some(9_990))));
    }

    #[test]
    fn the_bulk_lane_leaves_half_of_the_room_to_others() {
        let (input, PerLane { mut first, mut bulk }, counters) = small_lanes(100);
        for ns in 0..1_000 {
            let _ = input.offer(Lane::Bulk, event(ns));
        }
        for ns in 0..40 {
            assert_eq!(input.offer(Lane::First, event(ns)), Offered::Accepted(ns + 1));
            assert_eq!(input.offer(Lane::Bulk, event(ns)), Offered::Full);
        }
        assert_eq!(drain(&mut first, usize::MAX).last(), Some(&(40, None)));
        let bulk = drain(&mut bulk, usize::MAX);
        assert_eq!(bulk.len(), 50 + 1);
        assert_eq!(bulk.last(), Some(&(51, Some(990))), "its losses are told in its own numbers");
        assert_eq!(counters.dropped_bulk_full.load(Ordering::Relaxed), 990);
        assert_eq!(counters.dropped_queue_full.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn the_first_lane_may_take_all_room_and_the_bulk_lane_none_beyond() {
        let (input, PerLane { first, bulk }, counters) = small_lanes(10);
        for ns in 0..9 {
            let _ = input.offer(Lane::First, event(ns));
        }
        assert_eq!(input.offer(Lane::Bulk, event(9)), Offered::Accepted(1));
        assert_eq!(input.offer(Lane::Bulk, event(10)), Offered::Full);
        assert_eq!(input.offer(Lane::First, event(11)), Offered::Full);
        assert_eq!([first.len(), bulk.len()], [10, 2], "one gap each");
        assert_eq!(counters.dropped_bulk_full.load(Ordering::Relaxed), 1);
        assert_eq!(counters.dropped_queue_full.load(Ordering::Relaxed), 1);
    }

    #[tokio::test]
    async fn a_reader_sleeps_while_the_other_lane_fills() {
        let (input, PerLane { mut first, .. }, _) = small_lanes(10);
        let reader = tokio::spawn(async move { first.ready(1).await });
        for ns in 0..5 {
            let _ = input.offer(Lane::Bulk, event(ns));
            tokio::task::yield_now().await;
        }
        assert!(!reader.is_finished());
        drop(input);
        assert!(!reader.await.unwrap(), "nothing was for it");
    }

    #[test]
    fn losses_of_two_causes_are_told_apart_and_stay_two_events() {
        let (input, mut output, _) = small(1);
        let _ = input.offer(Lane::First, event(0));
        for ns in 0..100 {
            let _ = input.offer(Lane::First, event(ns));
            output.tell(CAUSE_REJECTED, 5, BootTime::from_ns(ns));
        }
        assert_eq!(drain(&mut output, 9), [(1, None), (2, Some(100)), (3, Some(500))]);
    }

    /// Whatever the interleaving: events offered = events delivered + losses told.
    #[test]
    fn nothing_is_lost_untold() {
        let (input, mut output, counters) = small(7);
        let (mut delivered, mut told, mut last) = (0, 0, 0);
        for round in 0..1_000_u64 {
            for _ in 0..round % 11 {
                let _ = input.offer(Lane::First, event(round));
            }
            for (seq, lost) in drain(&mut output, (round % 5) as usize) {
                assert_eq!(seq, last + 1);
                last = seq;
                delivered += u64::from(lost.is_none());
                told += lost.unwrap_or(0);
            }
        }
        for (_, lost) in drain(&mut output, usize::MAX) {
            delivered += u64::from(lost.is_none());
            told += lost.unwrap_or(0);
        }
        let offered: u64 = (0..1_000).map(|round| round % 11).sum();
        assert_eq!(delivered + told, offered);
        assert_eq!(told, counters.dropped_queue_full.load(Ordering::Relaxed));
        assert!(told > 0);
    }

    #[tokio::test]
    async fn the_reader_sleeps_until_enough_wait() {
        let (input, mut output, _) = small(10);
        let reader = tokio::spawn(async move { (output.ready(3).await, output.len()) });
        for ns in 0..3 {
            tokio::task::yield_now().await;
            assert!(!reader.is_finished());
            let _ = input.offer(Lane::First, event(ns));
        }
        assert_eq!(reader.await.unwrap(), (true, 3));
    }

    #[tokio::test]
    async fn the_reader_wakes_for_an_event_and_for_the_end() {
        let (input, mut output, _) = small(10);
        let reader = tokio::spawn(async move {
            let first = output.ready(1).await;
            let taken = drain(&mut output, 9).len();
            (first, taken, output.ready(1).await)
        });
        tokio::task::yield_now().await;
        let _ = input.offer(Lane::First, event(1));
        tokio::task::yield_now().await;
        drop(input);
        assert_eq!(reader.await.unwrap(), (true, 1, false));
    }
}
