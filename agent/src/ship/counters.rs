//! What became of every event that was offered to the queue.

use std::sync::atomic::{AtomicU64, Ordering};

/// Counters of shipping; each only ever grows.
///
/// The ledger of this stage (RELIABILITY §1), true at every moment that no event is between two of them:
/// `queued = acknowledged + dead_lettered + abandoned + waiting`. An event that the queue turned away is in
/// `dropped_queue_full` or `dropped_bulk_full` and in none of the others; the gap event that tells of it is in `queued`.
#[derive(Debug, Default)]
pub struct Counters {
    /// Events that the queue accepted, each with a sequence number; gap events of the queue included.
    pub queued: AtomicU64,
    /// Events that the queue turned away for want of room.
    pub dropped_queue_full: AtomicU64,
    /// Events of the bulk lane that the queue turned away for want of the room that this lane may have.
    pub dropped_bulk_full: AtomicU64,
    /// Batches acknowledged.
    pub batches: AtomicU64,
    /// Deliveries that failed and were tried again.
    pub retries: AtomicU64,
    /// Events acknowledged by the collector.
    pub acknowledged: AtomicU64,
    /// Events in batches that the collector refused for good.
    pub dead_lettered: AtomicU64,
    /// Events still undelivered when the deadline of a stop came.
    pub abandoned: AtomicU64,
    /// Bytes of batches handed to the sink, retries included.
    pub sent_bytes: AtomicU64,
}

impl Counters {
    /// Adds to a counter.
    pub(crate) fn add(counter: &AtomicU64, more: u64) {
        counter.fetch_add(more, Ordering::Relaxed);
    }

    /// Events accepted whose fate is open.
    pub fn waiting(&self) -> u64 {
        // The fates first: read the other way round, an event accepted in between would be missing.
        let settled = [&self.acknowledged, &self.dead_lettered, &self.abandoned];
        let settled = settled.into_iter().map(|counter| counter.load(Ordering::Acquire)).sum::<u64>();
        self.queued.load(Ordering::Acquire).saturating_sub(settled)
    }

    /// All of them by name, for heartbeats and summaries.
    pub fn by_name(&self) -> [(&'static str, u64); 10] {
        let value = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        [
            ("ship_queued", value(&self.queued)),
            ("ship_dropped_queue_full", value(&self.dropped_queue_full)),
            ("ship_dropped_bulk_full", value(&self.dropped_bulk_full)),
            ("ship_batches", value(&self.batches)),
            ("ship_retries", value(&self.retries)),
            ("ship_acknowledged", value(&self.acknowledged)),
            ("ship_dead_lettered", value(&self.dead_lettered)),
            ("ship_abandoned", value(&self.abandoned)),
            ("ship_waiting", self.waiting()),
            ("ship_sent_bytes", value(&self.sent_bytes)),
        ]
    }
}
