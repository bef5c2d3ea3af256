//! The kernel's counters: what became of every act that a hook saw.
//!
//! `attempted = submitted + dropped + throttled + folded` holds per hook family (RELIABILITY §1). Each counter is
//! a slot of a per-CPU array, indexed `family * PER_FAMILY + counter`, and only ever added to, atomically.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::rings::Ring;

/// Hook families whose acts are counted apart.
#[repr(u32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    /// fork, exec, exit.
    Process = 0,
    /// TCP attempts and outcomes.
    Connection = 1,
    /// UDP datagrams.
    Datagram = 2,
    /// Opens of credential candidates.
    File = 3,
    /// DNS answers, and pieces of ClientHellos.
    Name = 4,
    /// Reaches into the memory of other processes.
    Memory = 5,
    /// Reads of keys.
    Key = 6,
    /// Listeners, their beginning and end.
    Listener = 7,
    /// Cgroups that are made.
    Cgroup = 8,
}

impl Family {
    /// All families, in the order of their slots.
    pub const ALL: [Self; 9] = [
        Self::Process,
        Self::Connection,
        Self::Datagram,
        Self::File,
        Self::Name,
        Self::Memory,
        Self::Key,
        Self::Listener,
        Self::Cgroup,
    ];

    /// Stable name for metrics and heartbeats.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Process => "process",
            Self::Connection => "connection",
            Self::Datagram => "datagram",
            Self::File => "file",
            Self::Name => "name",
            Self::Memory => "memory",
            Self::Key => "key",
            Self::Listener => "listener",
            Self::Cgroup => "cgroup",
        }
    }
}

/// What became of an act.
#[repr(u32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Counter {
    /// Acts for which a record was wanted.
    Attempted = 0,
    /// Records handed to the ring.
    Submitted = 1,
    /// Lost: the ring had no room.
    DroppedRingFull = 2,
    /// Lost on purpose, by the switch that simulates drops.
    DroppedSimulated = 3,
    /// Lost: a needed kernel read failed.
    DroppedRead = 4,
    /// Lost: no scratch space on this CPU.
    DroppedScratch = 5,
    /// Held back by a rate limit.
    Throttled = 6,
    /// Counted in a fold instead of sent.
    Folded = 7,
    /// A map was full, so that state was not kept (the act itself was still sent).
    MapFull = 8,
    /// Put into the bulk ring: whoever acted was beyond its budget, or it can wait. It is counted as submitted or dropped
    /// as well.
    Bulk = 9,
    /// State of a process that is gone was met under the id of a later one, and put away: its end was missed.
    Stale = 10,
}

impl Counter {
    /// All counters, in the order of their slots.
    pub const ALL: [Self; 11] = [
        Self::Attempted,
        Self::Submitted,
        Self::DroppedRingFull,
        Self::DroppedSimulated,
        Self::DroppedRead,
        Self::DroppedScratch,
        Self::Throttled,
        Self::Folded,
        Self::MapFull,
        Self::Bulk,
        Self::Stale,
    ];

    /// Stable name for metrics and heartbeats.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Attempted => "attempted",
            Self::Submitted => "submitted",
            Self::DroppedRingFull => "dropped_ring_full",
            Self::DroppedSimulated => "dropped_simulated",
            Self::DroppedRead => "dropped_read",
            Self::DroppedScratch => "dropped_scratch",
            Self::Throttled => "throttled",
            Self::Folded => "folded",
            Self::MapFull => "map_full",
            Self::Bulk => "bulk",
            Self::Stale => "stale",
        }
    }

    /// Whether an act counted here was lost.
    pub const fn is_drop(self) -> bool {
        matches!(
            self,
            Self::DroppedRingFull | Self::DroppedSimulated | Self::DroppedRead | Self::DroppedScratch
        )
    }
}

impl Counter {
    /// Whether what is counted here is told of by nothing else.
    pub const fn is_loss(self) -> bool {
        self.is_drop() || matches!(self, Self::Throttled)
    }
}

/// Slots of one family; a power of two, so that the index needs no multiplication.
pub const PER_FAMILY: u32 = 16;
/// Slots in all.
pub const SLOTS: u32 = PER_FAMILY * Family::ALL.len() as u32;

/// Index of a counter in the per-CPU array.
pub const fn slot(family: Family, counter: Counter) -> u32 {
    family as u32 * PER_FAMILY + counter as u32
}

/// What one CPU has counted: the value of the per-CPU map, written by the kernel alone.
#[repr(C)]
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, KnownLayout, Immutable)]
pub struct CpuState {
    /// Next sequence number of this CPU, for each ring.
    pub sequence: [u64; Ring::ALL.len()],
    /// By [`slot`].
    pub counters: [u64; SLOTS as usize],
}
