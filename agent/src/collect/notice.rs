//! What a collector tells its operator, beside the events.

use std::fmt;

use super::ledger::Range;

/// Something that the operator should know. All text of others in it is escaped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Notice {
    /// The first event of a stream was not its first.
    BeganAt {
        /// Host name.
        host: String,
        /// The first that arrived.
        seq: u64,
    },
    /// Sequence numbers were skipped.
    Missing {
        /// Host name.
        host: String,
        /// Which.
        missing: Range,
    },
    /// More holes of the same batch.
    MoreMissing {
        /// Host name.
        host: String,
        /// How many holes.
        more: usize,
    },
    /// Events that were missing have arrived.
    Late {
        /// Host name.
        host: String,
        /// How many.
        count: u64,
        /// Between which numbers.
        range: Range,
    },
    /// Events could not be written.
    WriteFailed {
        /// Where to.
        output: String,
        /// Why.
        why: String,
    },
    /// Events can be written again.
    WritesAgain {
        /// Where to.
        output: String,
    },
    /// A request was no batch.
    Refused {
        /// Why.
        why: String,
    },
}

impl fmt::Display for Notice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::BeganAt { host, seq } => write!(
                f,
                "{host}: the first event that arrived has number {seq}; the {} before it were delivered before \
                 this collector started, or are lost",
                seq - 1
            ),
            Self::Missing { host, missing } => {
                write!(
                    f,
                    "{host}: {} events are MISSING: numbers {} to {}",
                    missing.count(),
                    missing.first,
                    missing.last
                )
            }
            Self::MoreMissing { host, more } => {
                write!(f, "{host}: events are missing in {more} more places; GET /status lists them")
            }
            Self::Late { host, count, range } => write!(
                f,
                "{host}: {count} events that were missing have arrived after all: numbers {} to {}",
                range.first, range.last
            ),
            Self::WriteFailed { output, why } => write!(
                f,
                "writing to {output} failed: {why}; nothing is acknowledged until it can be written, and agents try \
                 again; make room or stop and start with another --output"
            ),
            Self::WritesAgain { output } => write!(f, "writing to {output} works again"),
            Self::Refused { why } => write!(f, "a request was refused: {why}"),
        }
    }
}
