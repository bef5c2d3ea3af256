//! The shipper: takes events of one lane, makes batches, and delivers them in order until each is settled.
//!
//! One batch of a lane is in flight at a time, so order is kept. Neither lane waits for the other's. A batch is settled when it is acknowledged, refused for good,
//! or given up at the deadline of a stop; each way has its counter.
//!
//! What was refused is told by a gap event as soon as a batch is acknowledged again: told sooner, to a collector that
//! refuses everything, each such event would be refused in its turn and make the next.

use std::collections::VecDeque;
use std::future::pending;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use backon::{BackoffBuilder as _, ExponentialBackoff, ExponentialBuilder};
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until, timeout_at};
use tracing::{error, info, warn};

use super::counters::Counters;
use super::queue::{CAUSE_BULK_FULL, CAUSE_FULL, CAUSE_REJECTED, Lane, PerLane, QueueOutput, Queued, STAGE};
use super::sink::{Delivery, Encoded, Sink};
use super::wire::{BatchBuilder, Origin, to_bytes};
use crate::model::event::{EventKind, Gap};
use crate::model::time::{BootTime, ClockPair};

/// When a batch is sent, and how often.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    /// Events at which a batch is sent.
    pub events: usize,
    /// Bytes at which a batch is sent, as the builder estimates them.
    pub bytes: usize,
    /// Age of its first event at which a batch is sent, however small.
    pub age: Duration,
    /// First wait before a retry; doubled each time. Up to as much again is added at random, so that a restarted
    /// collector is not met by all hosts at once.
    pub first_retry: Duration,
    /// Longest wait before a retry, without what is added at random.
    pub longest_retry: Duration,
    /// Longest wait that a collector may ask for.
    pub longest_retry_after: Duration,
}

impl Pace {
    /// For a lane: what may wait goes in small batches, for a collector writes one batch after the other, and one of the
    /// first lane would wait for a large one.
    pub(super) fn of_lane(self, lane: Lane) -> Self {
        match lane {
            Lane::First => self,
            Lane::Bulk => Self { bytes: self.bytes.min(BULK_BYTES), ..self },
        }
    }
}

/// Bytes at which a batch of the bulk lane is sent, at most.
const BULK_BYTES: usize = 256 << 10;

impl Default for Pace {
    fn default() -> Self {
        Self {
            events: 2048,
            bytes: 512 << 10,
            age: Duration::from_millis(50),
            first_retry: Duration::from_millis(250),
            longest_retry: Duration::from_secs(15),
            longest_retry_after: Duration::from_secs(300),
        }
    }
}

/// Reads both clocks at once.
pub type ReadClocks = fn() -> ClockPair;

/// The task between a lane of the queue and a sink.
pub(super) struct Shipper<S> {
    pub(super) origin: Origin,
    pub(super) clocks: ReadClocks,
    pub(super) pace: Pace,
    pub(super) queue: QueueOutput,
    pub(super) sink: S,
    pub(super) counters: Arc<Counters>,
    /// Set once, when the agent stops: what is not settled by then is given up.
    pub(super) deadline: watch::Receiver<Option<Instant>>,
    /// Taken from the queue and not settled.
    pub(super) in_hand: VecDeque<Queued>,
    /// Events in the next batch, at most: less than the pace's after a batch was too large.
    pub(super) most: usize,
    pub(super) trouble: Arc<Trouble>,
    pub(super) untold: Untold,
}

/// What was said of the collector, by the shipper of whichever lane met it first: one word is enough for both.
#[derive(Debug, Default)]
pub(super) struct Trouble {
    lanes: Mutex<PerLane<Option<Instant>>>,
    refusal_said: AtomicBool,
}

impl Trouble {
    fn lanes(&self) -> MutexGuard<'_, PerLane<Option<Instant>>> {
        self.lanes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A lane cannot deliver; whether this is the first word of it.
    fn begins(&self, lane: Lane) -> bool {
        let mut lanes = self.lanes();
        let is_first = lanes.first.is_none() && lanes.bulk.is_none();
        lanes.of_mut(lane).get_or_insert_with(Instant::now);
        is_first
    }

    /// A lane has delivered; since when none could, where that is over for both.
    fn ends(&self, lane: Lane) -> Option<Instant> {
        let mut lanes = self.lanes();
        let since = lanes.of_mut(lane).take()?;
        (lanes.first.is_none() && lanes.bulk.is_none()).then_some(since)
    }
}

/// Losses that the collector has not been told of: events that it refused, and what refused gap events told.
#[derive(Debug, Default)]
pub(super) struct Untold {
    rejected: u64,
    full: u64,
    last: BootTime,
}

/// How the delivery of a batch ended.
enum Settled {
    Acknowledged,
    TooLarge,
    Refused,
    GivenUp,
}

impl<S: Sink> Shipper<S> {
    /// Runs until the queue is closed and all is settled, or the deadline has come.
    pub(super) async fn run(mut self) {
        while self.gather().await {
            if !self.ship().await {
                break;
            }
        }
        self.queue.take(&mut self.in_hand, usize::MAX, usize::MAX);
        if !self.in_hand.is_empty() {
            let events = self.in_hand.len();
            Counters::add(&self.counters.abandoned, events as u64);
            warn!(
                events,
                collector = self.sink.target(),
                "stopped before these events were delivered; they are lost"
            );
        }
    }

    /// Waits until there is something for a batch, and for the batch to fill or age. `false` at the end.
    async fn gather(&mut self) -> bool {
        let fresh = self.in_hand.is_empty();
        if fresh {
            let mut deadline = self.deadline.clone();
            tokio::select! {
                some = self.queue.ready(1) => if !some { return false },
                () = passed(&mut deadline) => return false,
            }
        }
        let missing = self.most.saturating_sub(self.in_hand.len());
        // What is left of a batch that was full goes with what is there.
        if fresh {
            // At the time-out the batch goes as it is. What came while the one before was delivered has waited already.
            let _ = timeout_at(self.queue.since() + self.pace.age, self.queue.ready(missing)).await;
        }
        // About two batches by what they weigh in memory: what a collector that hangs keeps beside the queue.
        let held: usize = self.in_hand.iter().map(Queued::weight).sum();
        let room = (2 * self.pace.bytes).saturating_sub(held);
        if room > 0 {
            self.queue.take(&mut self.in_hand, missing, room);
        }
        true
    }

    /// Encodes a batch from what is in hand and settles it. `false` when the deadline has come.
    async fn ship(&mut self) -> bool {
        let Some((batch, events)) = self.encode() else { return true };
        match self.settle(&batch).await {
            Settled::Acknowledged => {
                self.settled(events);
                Counters::add(&self.counters.acknowledged, events as u64);
                Counters::add(&self.counters.batches, 1);
                self.most = (self.most * 2).min(self.pace.events);
                self.tell();
            }
            Settled::TooLarge if events > 1 => self.most = events / 2,
            Settled::TooLarge => {
                self.say_refused(&batch, "it takes no batch as large as this one event");
                self.refused(events);
            }
            Settled::Refused => self.refused(events),
            Settled::GivenUp => return false,
        }
        true
    }

    fn settled(&mut self, events: usize) {
        self.in_hand.drain(..events.min(self.in_hand.len()));
    }

    /// Counts events that the collector will never have.
    fn refused(&mut self, events: usize) {
        let Untold { rejected, full, last } = &mut self.untold;
        for Queued { event, .. } in self.in_hand.drain(..events.min(self.in_hand.len())) {
            *rejected += 1;
            *last = event.time;
            match event.kind {
                EventKind::Gap(Gap { stage: STAGE, cause: CAUSE_FULL | CAUSE_BULK_FULL, lost, .. }) => {
                    *full += lost
                }
                EventKind::Gap(Gap { stage: STAGE, cause: CAUSE_REJECTED, lost, .. }) => *rejected += lost,
                _ => {}
            }
        }
        Counters::add(&self.counters.dead_lettered, events as u64);
    }

    /// Tells what was refused before, behind all that waits.
    fn tell(&mut self) {
        let Untold { rejected, full, last } = std::mem::take(&mut self.untold);
        let cause_full = match self.queue.lane() {
            Lane::First => CAUSE_FULL,
            Lane::Bulk => CAUSE_BULK_FULL,
        };
        for (cause, lost) in [(cause_full, full), (CAUSE_REJECTED, rejected)] {
            if lost > 0 {
                self.queue.tell(cause, lost, last);
            }
        }
    }

    /// The next batch, and how many of the events in hand it holds.
    fn encode(&mut self) -> Option<(Encoded, usize)> {
        let first = self.in_hand.front()?.seq;
        let mut builder = BatchBuilder::new(&self.origin, first, (self.clocks)());
        let (mut events, mut last) = (0, first);
        for queued in self.in_hand.iter().take(self.most.max(1)) {
            let enough = events > 0 && builder.estimated_bytes() >= self.pace.bytes;
            if enough || !builder.push(queued.seq, &queued.event) {
                break;
            }
            (events, last) = (events + 1, queued.seq);
        }
        match to_bytes(builder.batch()) {
            Ok(bytes) if events > 0 => Some((Encoded { bytes: bytes.into(), first, last }, events)),
            // Neither can be: the first event always fits, and its rows have a form in MessagePack. Were it
            // otherwise, the event must not stop those behind it.
            _ => {
                self.refused(events.max(1));
                error!(first, events, "events could not be encoded; they are lost");
                None
            }
        }
    }

    /// Delivers a batch until it is settled.
    async fn settle(&mut self, batch: &Encoded) -> Settled {
        let mut backoff = self.backoff();
        let mut deadline = self.deadline.clone();
        let mut stopping = deadline.borrow_and_update().is_some();
        loop {
            Counters::add(&self.counters.sent_bytes, batch.bytes.len() as u64);
            let delivery = tokio::select! {
                delivery = self.sink.deliver(batch) => delivery,
                () = passed(&mut self.deadline) => return Settled::GivenUp,
            };
            let (why, after) = match delivery {
                Delivery::Acknowledged => {
                    self.recovered();
                    return Settled::Acknowledged;
                }
                Delivery::TooLarge => return Settled::TooLarge,
                Delivery::Refused { why } => {
                    self.say_refused(batch, &why);
                    return Settled::Refused;
                }
                Delivery::Retry { why, after } => (why, after),
            };
            self.troubled(&why);
            Counters::add(&self.counters.retries, 1);
            let wait = after.map(|after| after.min(self.pace.longest_retry_after));
            let wait = wait.or_else(|| backoff.next()).unwrap_or(self.pace.longest_retry);
            tokio::select! {
                () = tokio::time::sleep(wait) => {}
                // The agent stops: what remains of the time is for trying, not for waiting.
                _ = deadline.changed(), if !stopping => {
                    stopping = true;
                    backoff = self.backoff();
                }
                () = passed(&mut self.deadline) => return Settled::GivenUp,
            }
        }
    }

    fn backoff(&self) -> ExponentialBackoff {
        ExponentialBuilder::default()
            .with_min_delay(self.pace.first_retry)
            .with_max_delay(self.pace.longest_retry)
            .without_max_times()
            .with_jitter()
            .build()
    }

    /// Says the first of a row of failures; the others are counted.
    fn troubled(&mut self, why: &str) {
        if self.trouble.begins(self.queue.lane()) {
            warn!(
                collector = self.sink.target(),
                "not delivered: {why}; events wait, and delivery is tried again"
            );
        }
    }

    fn recovered(&mut self) {
        if let Some(since) = self.trouble.ends(self.queue.lane()) {
            let seconds = since.elapsed().as_secs();
            info!(collector = self.sink.target(), "delivering again after {seconds} s of trouble");
        }
    }

    fn say_refused(&mut self, batch: &Encoded, why: &str) {
        if !self.trouble.refusal_said.swap(true, Ordering::Relaxed) {
            let Encoded { first, last, .. } = batch;
            error!(
                collector = self.sink.target(),
                "the collector refused events {first} to {last} for good: {why}; they are lost, and so is what it \
                 refuses from now on (counted as queue.rejected); check that the address is that of a collector \
                 of this release"
            );
        }
    }
}

/// Returns once the deadline is set and has come.
async fn passed(deadline: &mut watch::Receiver<Option<Instant>>) {
    // An error means that the other end is gone without having set a deadline: then none comes.
    match deadline.wait_for(Option::is_some).await.map(|deadline| *deadline) {
        Ok(Some(at)) => sleep_until(at).await,
        Ok(None) | Err(_) => pending().await,
    }
}
