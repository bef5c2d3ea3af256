//! The native wire format, version 1: what leaves the host.
//!
//! # Layout
//!
//! A batch is one MessagePack map. Maps are keyed by field names (see [`v1`] and [`rows`]); a field that has its
//! default value is not there. What events share is in tables, and events refer to rows by index:
//!
//! ```text
//! batch   { version, host { name, id, boot_id }, epoch, first_seq, clock { boot_ns, unix_ns },
//!           attributions[], credentials[], cgroups[], namespaces[], processes[], events[] }
//! event   { n: seq - first_seq, t: ns since boot, and one of activity | repeat | gap | status }
//! ```
//!
//! Each batch is self-contained: no row of another batch is needed to read it. The id of an event is
//! (`host.id`, `host.boot_id`, `epoch`, `first_seq + n`): a batch that is sent again carries the same ids.
//!
//! Bytes that a process wrote are `str` where they are UTF-8 and `bin` where they are not, so they arrive as they
//! were. Addresses are `bin` of 4 or 16 bytes. Times are nanoseconds since boot; `clock` converts them.
//!
//! # Evolution
//!
//! A reader skips fields it does not know, and refuses a version it does not know. Within version 1 fields are only
//! added, and only with a default. `agent/tests/data/wire/v1` holds batches that must stay readable, and the bytes
//! that this writer must make.
//!
//! # Limits
//!
//! A reader refuses what exceeds [`MAX_BATCH_BYTES`], [`MAX_EVENTS`], [`MAX_ROWS`] and the other constants here, an
//! index outside its table, and sequence numbers that do not rise. The writer keeps below all of them.
//!
//! # Size
//!
//! Measured by the tests of `size` on a mix of connections, datagrams and credential reads below a lineage of four, in
//! batches of 500: 249 bytes an event at 20 events a process, 343 at 3, 565 where each event has a process of its own.

pub mod bytes;
mod convert;
mod decode;
mod encode;
mod json;
pub(crate) mod names;
pub mod rows;
pub mod v1;
mod view;

#[cfg(test)]
pub(crate) mod examples;
#[cfg(test)]
mod golden;
#[cfg(test)]
mod properties;
#[cfg(test)]
mod size;

pub use decode::{WireError, decode};
pub use encode::{BatchBuilder, Origin, to_bytes};
pub(crate) use encode::{both_paths, destination_bytes, key_bytes, repeat_bytes, token_bytes};
pub use json::write_json_line;
pub use view::{ActivityView, Body, Deed, View};

/// Short text: a constant of this program when written, owned when read.
pub type Text = std::borrow::Cow<'static, str>;

/// The version written, and the only one read.
pub const VERSION: u32 = 1;
/// Media type of a batch.
pub const CONTENT_TYPE: &str = "application/vnd.msgpack";
/// Where a collector takes batches, below its address.
pub const BATCHES_PATH: &str = "/v1/batches";

/// Bytes of a batch, at most: eight times what the shipper aims at, so that one event with the longest arguments and
/// lineage still fits.
pub const MAX_BATCH_BYTES: usize = 4 << 20;
/// Events of a batch, at most.
pub const MAX_EVENTS: usize = 4096;
/// Rows of one table, at most.
pub const MAX_ROWS: usize = 16_384;
/// Ancestors of one event, at most; the writer cuts longer lineages and marks them.
pub const MAX_LINEAGE: usize = 64;
/// Arguments of one process, at most: the kernel side keeps 4096 bytes of them, a NUL each.
pub const MAX_ARGUMENTS: usize = 4096;
/// Bytes of the arguments of one process, at most, as the writer cuts them.
pub const MAX_ARGUMENT_BYTES: usize = 4096;
/// Environment markers of one process, at most.
pub const MAX_MARKERS: usize = 256;
/// Pieces of evidence, and blended identities, of one attribution, at most.
pub const MAX_EVIDENCE: usize = 64;
/// Counters, and capabilities, of one status, at most.
pub const MAX_COUNTERS: usize = 1024;
/// Nesting of arrays and maps, at most; version 1 needs 6.
pub const MAX_DEPTH: usize = 32;

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}
