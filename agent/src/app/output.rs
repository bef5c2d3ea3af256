//! Where events go: to the collector's queue, to standard output, into the summary.

use std::io::{self, BufWriter, Stdout};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use crate::capture::ledger::Ledger;
use crate::capture::tally::Tally;
use crate::cli::print::{Format, Printer};
use crate::cli::summary::Summary;
use crate::model::event::{Event, EventKind};
use crate::model::time::BootTime;
use crate::ship::wire::Origin;
use crate::ship::{Lane, Offered, PerLane, ReadClocks, Shipping};

/// All ways out of the agent.
pub(super) struct Output {
    ledger: Arc<Ledger>,
    shipping: Option<Shipping>,
    printer: Option<Printer<BufWriter<Stdout>>>,
    pub(super) summary: Summary,
    now: fn() -> BootTime,
    next_seq: PerLane<u64>,
    /// Events offered to the queue; it adds gap events of its own.
    offered: u64,
    queue_gaps: u64,
    /// Events have nowhere to go any more: the agent ends.
    pub(super) closed: bool,
    /// Why, where it is not that the reader of standard output has gone.
    pub(super) unwritable: Option<io::Error>,
}

impl Output {
    pub(super) fn new(
        ledger: Arc<Ledger>,
        shipping: Option<Shipping>,
        printing: Option<(Format, Origin, ReadClocks)>,
        now: fn() -> BootTime,
    ) -> Self {
        let printer = printing.map(|(format, origin, clocks)| {
            Printer::new(format, origin, clocks, BufWriter::new(io::stdout()))
        });
        Self {
            ledger,
            shipping,
            printer,
            summary: Summary::new(),
            now,
            next_seq: PerLane::new(|_| 0),
            offered: 0,
            queue_gaps: 0,
            closed: false,
            unwritable: None,
        }
    }

    /// Sends an event every way, in the first lane.
    pub(super) fn event(&mut self, event: Event) {
        self.event_in(Lane::First, event);
    }

    /// Sends an event every way.
    pub(super) fn event_in(&mut self, lane: Lane, event: Event) {
        self.summary.event(&event);
        if matches!(event.kind, EventKind::Activity(_)) {
            self.summary.encoded_after((self.now)().since_ns(event.time));
        }
        let next_seq = self.next_seq.of_mut(lane);
        let (seq, printed) = match &self.shipping {
            Some(shipping) => {
                let printed = self.printer.is_some().then(|| event.clone());
                self.offered += 1;
                match shipping.offer(lane, event) {
                    Offered::Accepted(seq) => (seq, printed),
                    Offered::Full => (*next_seq, printed),
                }
            }
            None => {
                self.ledger.add(Tally::NotShipped, 1);
                (*next_seq, Some(event))
            }
        };
        *next_seq = seq + 1;
        if let (Some(printer), Some(event)) = (&mut self.printer, printed)
            && let Err(error) = printer.event(lane, seq, &event)
        {
            self.stop_printing(error);
        }
    }

    /// Hands what is buffered to the reader of standard output.
    pub(super) fn flush(&mut self) {
        if let Some(printer) = &mut self.printer
            && let Err(error) = printer.flush()
        {
            self.stop_printing(error);
        }
    }

    fn stop_printing(&mut self, error: io::Error) {
        self.printer = None;
        if error.kind() == io::ErrorKind::BrokenPipe {
            self.closed = true;
        } else if self.shipping.is_some() {
            tracing::error!(%error, "standard output cannot be written any more; events go on to the collector alone");
        } else {
            self.closed = true;
            self.unwritable = Some(error);
        }
    }

    /// Takes the queue's figures into the ledger.
    pub(super) fn take_figures(&mut self) {
        let Some(shipping) = &self.shipping else { return };
        let counters = shipping.counters().clone();
        self.take(&counters);
    }

    fn take(&mut self, counters: &crate::ship::counters::Counters) {
        let value = |counter: &std::sync::atomic::AtomicU64| counter.load(Ordering::Acquire);
        // The fates first: they may only be behind what was queued.
        let fates = [
            (Tally::Acknowledged, value(&counters.acknowledged)),
            (Tally::Rejected, value(&counters.dead_lettered)),
            (Tally::Abandoned, value(&counters.abandoned)),
        ];
        let (queued, full) = (value(&counters.queued), value(&counters.dropped_queue_full));
        let bulk_full = value(&counters.dropped_bulk_full);
        let settled: u64 = fates.iter().map(|(_, value)| value).sum();
        for (tally, value) in fates {
            self.ledger.set(tally, value);
        }
        self.ledger.set(Tally::Queued, queued);
        self.ledger.set(Tally::QueueFull, full);
        self.ledger.set(Tally::BulkFull, bulk_full);
        self.ledger.set(Tally::Waiting, queued.saturating_sub(settled));
        let gaps = (queued + full + bulk_full).saturating_sub(self.offered);
        self.ledger.add(Tally::Gap, gaps.saturating_sub(self.queue_gaps));
        self.queue_gaps = gaps;
    }

    /// Delivers what waits, for at most `within`.
    pub(super) async fn stop(&mut self, within: std::time::Duration) {
        self.flush();
        if let Some(shipping) = self.shipping.take() {
            let counters = shipping.stop(within).await;
            self.take(&counters);
            // The queue's own gap events do not come by here.
            for (tally, cause) in Tally::OF_THE_QUEUE {
                self.summary.loss("queue", cause, self.ledger.get(tally));
            }
        }
    }
}
