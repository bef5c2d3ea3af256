//! Where batches go: the seam between the shipper and a transport.

use std::future::Future;
use std::time::Duration;

use bytes::Bytes;

/// What became of a batch that was handed to a sink.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Delivery {
    /// The other side has it.
    Acknowledged,
    /// Not now: try again, not before `after` where that is said.
    Retry {
        /// What went wrong, for the operator.
        why: String,
        /// What the other side asks for.
        after: Option<Duration>,
    },
    /// The other side takes smaller batches only.
    TooLarge,
    /// Never: the other side refuses this batch for good.
    Refused {
        /// What it said, for the operator.
        why: String,
    },
}

/// An encoded batch.
#[derive(Clone, Debug)]
pub struct Encoded {
    /// Its bytes.
    pub bytes: Bytes,
    /// Sequence number of its first event.
    pub first: u64,
    /// Sequence number of its last event.
    pub last: u64,
}

/// Delivers batches, one at a time; each clone delivers the batches of one lane. A batch may be delivered more than once;
/// its ids make that harmless.
pub trait Sink: Clone + Send + 'static {
    /// Tries once, within its own time limit. Dropping the future gives the try up.
    fn deliver(&mut self, batch: &Encoded) -> impl Future<Output = Delivery> + Send;

    /// Where it delivers to, for messages.
    fn target(&self) -> &str;
}
