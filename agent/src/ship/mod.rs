//! Shipping: from events to a collector, with proof that none was lost.
//!
//! ```text
//! pipeline -> queue (bounded, counts what it turns away) -> shipper (batches, retries, order) -> sink (HTTP)
//! ```
//!
//! The queue gives each event its sequence number when it accepts it, so a retry carries the same ids and the
//! collector can drop duplicates and see holes. What leaves the host is defined in [`wire`] alone.

pub mod counters;
pub mod host;
pub mod wire;
