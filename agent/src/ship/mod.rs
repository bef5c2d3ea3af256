//! Shipping: from events to a collector, with proof that none was lost.
//!
//! ```text
//! pipeline -> queue (bounded, counts what it turns away) -> a shipper a lane (batches, retries, order) -> sink (HTTP)
//! ```
//!
//! The queue gives each event its sequence number when it accepts it, so a retry carries the same ids and the
//! collector can drop duplicates and see holes. What leaves the host is defined in [`wire`] alone.

pub mod counters;
pub mod host;
pub mod http;
pub mod queue;
mod shipper;
pub mod sink;
pub mod wire;

#[cfg(test)]
mod http_tests;
#[cfg(test)]
mod shipper_tests;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use self::counters::Counters;
use self::queue::{QueueInput, QueueOutput};
use self::sink::Sink;
use self::wire::Origin;
use crate::model::event::Event;

pub use self::queue::{Lane, Limits, Offered, PerLane};
pub use self::shipper::{Pace, ReadClocks};

/// A running shipment of events to one sink.
pub struct Shipping {
    input: QueueInput,
    counters: Arc<Counters>,
    deadline: watch::Sender<Option<Instant>>,
    tasks: PerLane<JoinHandle<()>>,
}

impl Shipping {
    /// Starts shipping, as tasks of the current tokio runtime.
    pub fn start<S: Sink>(origin: Origin, limits: Limits, pace: Pace, clocks: ReadClocks, sink: S) -> Self {
        let counters = Arc::new(Counters::default());
        let (input, outputs) = queue::queue(limits, counters.clone());
        let (deadline, receiver) = watch::channel(None);
        let trouble = Arc::new(shipper::Trouble::default());
        let start = |queue: QueueOutput| {
            let shipper = shipper::Shipper {
                origin: queue.lane().origin(&origin),
                clocks,
                pace: pace.of_lane(queue.lane()),
                queue,
                sink: sink.clone(),
                counters: counters.clone(),
                deadline: receiver.clone(),
                in_hand: VecDeque::new(),
                most: pace.events,
                trouble: trouble.clone(),
                untold: shipper::Untold::default(),
            };
            tokio::spawn(shipper.run())
        };
        let tasks = PerLane { first: start(outputs.first), bulk: start(outputs.bulk) };
        Self { input, counters, deadline, tasks }
    }

    /// Offers an event; returns at once, from any thread.
    pub fn offer(&self, lane: Lane, event: Event) -> Offered {
        self.input.offer(lane, event)
    }

    /// What became of the events so far.
    pub fn counters(&self) -> &Arc<Counters> {
        &self.counters
    }

    /// Delivers what waits, for at most `within`. What remains then is counted as abandoned.
    pub async fn stop(self, within: Duration) -> Arc<Counters> {
        let Self { input, counters, deadline, tasks } = self;
        let _ = deadline.send(Some(Instant::now() + within));
        drop(input);
        let PerLane { first, bulk } = tasks;
        let [first, bulk] = [first.await, bulk.await];
        if first.and(bulk).is_err() {
            // What a task had that ended by a panic is lost, and is told as such.
            Counters::add(&counters.abandoned, counters.waiting());
        }
        counters
    }
}
