//! Follows the numbers that each CPU gives its records of each ring: a number that never comes is a record that was lost.
//!
//! The kernel takes a number before it asks the ring for room, so a record that found none leaves a hole. Between the
//! two a task may be preempted (tracing programs run with migration off, but not with preemption off) or interrupted
//! by another hook on its CPU: a few records come out of order. A hole therefore becomes a loss only once
//! [`REORDER_WINDOW`] later numbers of its CPU were seen, or it is older than [`SETTLE_NS`]; a record that comes later
//! still takes its loss back ([`SequenceTracker::recovered`]).
//!
//! Losses after a CPU's last record leave no hole: [`SequenceTracker::close`] learns them from the kernel's own next
//! numbers. Then `lost` equals what the kernel counted as dropped with a number.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use agent_common::rings::Ring;

use crate::model::event::Gap;
use crate::model::time::BootTime;

/// Numbers by which a record may be late. Each place is a task that was preempted between its number and its room in
/// the ring, on one CPU, while the others went on: 1,024 is far above what any scheduler does there, and 40 ms at the
/// rate one CPU can write.
pub const REORDER_WINDOW: u64 = 1_024;
/// Age, in boot time, at which a hole on a quiet CPU is a loss: a preempted task runs again long before.
pub const SETTLE_NS: u64 = 2_000_000_000;
/// Ranges of losses remembered for each CPU, so that a late record takes its loss back instead of being a duplicate.
const LOST_RANGES: usize = 64;

/// Numbers that count on by one: those of a ring and CPU.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Series {
    /// Ring.
    pub ring: Ring,
    /// CPU that writes.
    pub cpu: u32,
}

impl Series {
    /// As one number, for recordings: the ring above the CPU's 32 bits.
    pub fn to_number(self) -> u64 {
        u64::from(self.ring as u32) << 32 | u64::from(self.cpu)
    }

    /// From that number; `None` where there is no such ring.
    pub fn from_number(number: u64) -> Option<Self> {
        let ring = Ring::from_number(u32::try_from(number >> 32).ok()?)?;
        Some(Self { ring, cpu: number as u32 })
    }
}

/// Where the numbers of a stream begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// At 0 in every series: the programs were loaded for this stream.
    AtZero,
    /// Anywhere: the stream joins programs that were running, or was cut from a longer one.
    Anywhere,
}

/// What a record's number says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Seen {
    /// It is new; numbers before it may be missing.
    New,
    /// It fills a hole that had not been called a loss.
    Late,
    /// It had been called a loss.
    Recovered,
    /// It was seen before: the record must not be used again.
    Duplicate,
    /// Numbering on its CPU began anew: the programs were loaded again.
    Restarted,
}

/// Half-open range of numbers that are missing.
#[derive(Clone, Copy, Debug)]
struct Hole {
    end: u64,
    seen_at: BootTime,
}

#[derive(Debug, Default)]
struct Numbers {
    next: u64,
    latest: BootTime,
    /// Missing, not yet called lost; by first number.
    open: BTreeMap<u64, Hole>,
    /// Called lost; by first number.
    lost: BTreeMap<u64, Hole>,
}

/// Follows the numbers of all CPUs. Its memory is bounded: CPUs by [`super::decode::MAX_CPUS`], the
/// depths of each by [`agent_common::nesting::LEVELS`], open holes of a CPU by
/// the window, remembered losses by a constant.
#[derive(Debug)]
pub struct SequenceTracker {
    start: Start,
    series: BTreeMap<Series, Numbers>,
    lost: u64,
    /// Of these, in each ring, those that were recovered included.
    lost_in: [u64; Ring::ALL.len()],
    told: u64,
    recovered: u64,
    duplicates: u64,
    restarts: u64,
}

impl SequenceTracker {
    /// A tracker for a new stream.
    pub const fn new(start: Start) -> Self {
        Self {
            start,
            series: BTreeMap::new(),
            lost: 0,
            lost_in: [0; Ring::ALL.len()],
            told: 0,
            recovered: 0,
            duplicates: 0,
            restarts: 0,
        }
    }

    /// Takes note of a record.
    pub fn observe(&mut self, series: Series, sequence: u64, time: BootTime) -> Seen {
        let state = match self.series.entry(series) {
            Entry::Occupied(occupied) => occupied.into_mut(),
            Entry::Vacant(vacant) => {
                let next = if self.start == Start::AtZero { 0 } else { sequence };
                vacant.insert(Numbers { next, ..Numbers::default() })
            }
        };
        let mut lost = 0;
        let seen = if sequence >= state.next {
            Seen::New
        } else if fill(&mut state.open, sequence) {
            Seen::Late
        } else if fill(&mut state.lost, sequence) {
            self.lost = self.lost.saturating_sub(1);
            self.recovered += 1;
            state.forget();
            Seen::Recovered
        } else if time > state.latest {
            // A duplicate is as old as the record it repeats; only a new numbering is younger than all before.
            lost = state.settle(|_| true);
            state.lost.clear();
            state.next = 0;
            self.restarts += 1;
            Seen::Restarted
        } else {
            self.duplicates += 1;
            Seen::Duplicate
        };
        if matches!(seen, Seen::New | Seen::Restarted) {
            if sequence > state.next {
                state.open.insert(state.next, Hole { end: sequence, seen_at: time });
            }
            state.next = sequence.saturating_add(1);
            lost += state.leave_window();
        }
        state.latest = state.latest.max(time);
        self.lose(series.ring, lost);
        seen
    }

    /// Calls holes that are old enough at `now` lost, and reports what was lost since the last report: nothing, or one
    /// gap. Where a record was recovered meanwhile, the report is that much smaller.
    pub fn settle(&mut self, now: BootTime) -> Option<Gap> {
        self.settle_all(|hole| now.since_ns(hole.seen_at) > SETTLE_NS);
        self.report()
    }

    /// Ends the stream: every hole is a loss, and so is every number below `next` (the kernel's next number of each
    /// CPU, as its counters have it) that was not seen. Pass none where the kernel can no longer be asked.
    pub fn close(&mut self, next: impl IntoIterator<Item = (Series, u64)>) -> Option<Gap> {
        for (series, next) in next {
            let known = self.series.contains_key(&series);
            if !known && self.start == Start::Anywhere {
                continue;
            }
            let state = self.series.entry(series).or_default();
            let lost = next.saturating_sub(state.next);
            state.next = state.next.max(next);
            self.lose(series.ring, lost);
        }
        self.settle_all(|_| true);
        self.report()
    }

    fn settle_all(&mut self, is_lost: impl Fn(&Hole) -> bool) {
        let settled: Vec<_> =
            self.series.iter_mut().map(|(series, state)| (series.ring, state.settle(&is_lost))).collect();
        for (ring, lost) in settled {
            self.lose(ring, lost);
        }
    }

    fn lose(&mut self, ring: Ring, lost: u64) {
        self.lost = self.lost.saturating_add(lost);
        if let Some(in_ring) = self.lost_in.get_mut(ring as usize) {
            *in_ring = in_ring.saturating_add(lost);
        }
    }

    /// Records of a ring that were lost so far, those that came after all included.
    pub fn lost_in(&self, ring: Ring) -> u64 {
        self.lost_in.get(ring as usize).copied().unwrap_or(0)
    }

    fn report(&mut self) -> Option<Gap> {
        let lost = self.lost.saturating_sub(self.told);
        self.told = self.told.max(self.lost);
        (lost > 0).then_some(Gap { stage: "kernel", cause: "sequence_hole", family: None, lost })
    }

    /// Records lost so far, as the holes show; those that came after all are taken off.
    pub const fn lost(&self) -> u64 {
        self.lost
    }

    /// Numbers missing that may still come.
    pub fn open(&self) -> u64 {
        self.series.values().flat_map(|numbers| &numbers.open).map(|(first, hole)| hole.end - first).sum()
    }

    /// Records that came after they had been called lost.
    pub const fn recovered(&self) -> u64 {
        self.recovered
    }

    /// Records that came twice.
    pub const fn duplicates(&self) -> u64 {
        self.duplicates
    }

    /// How often a CPU's numbering began anew.
    pub const fn restarts(&self) -> u64 {
        self.restarts
    }
}

impl Numbers {
    /// Calls the holes that are behind the window lost; gives how many numbers that are. Runs for every record, so it
    /// looks at the oldest hole alone.
    fn leave_window(&mut self) -> u64 {
        let mut lost: u64 = 0;
        while let Some(oldest) = self.open.first_entry() {
            let hole = *oldest.get();
            if self.next - hole.end <= REORDER_WINDOW {
                break;
            }
            let first = *oldest.key();
            oldest.remove();
            lost = lost.saturating_add(hole.end - first);
            self.remember(first, hole);
        }
        lost
    }

    /// Calls the holes that `is_lost` names lost; gives how many numbers that are.
    fn settle(&mut self, is_lost: impl Fn(&Hole) -> bool) -> u64 {
        let mut lost: u64 = 0;
        for (first, hole) in std::mem::take(&mut self.open) {
            if is_lost(&hole) {
                lost = lost.saturating_add(hole.end - first);
                self.remember(first, hole);
            } else {
                self.open.insert(first, hole);
            }
        }
        lost
    }

    fn remember(&mut self, first: u64, hole: Hole) {
        self.lost.insert(first, hole);
        self.forget();
    }

    fn forget(&mut self) {
        while self.lost.len() > LOST_RANGES {
            self.lost.pop_first();
        }
    }
}

/// Takes one number out of the hole that holds it, if one does.
fn fill(holes: &mut BTreeMap<u64, Hole>, sequence: u64) -> bool {
    let Some((&first, &hole)) = holes.range(..=sequence).next_back() else { return false };
    if sequence >= hole.end {
        return false;
    }
    holes.remove(&first);
    if first < sequence {
        holes.insert(first, Hole { end: sequence, ..hole });
    }
    if sequence + 1 < hole.end {
        holes.insert(sequence + 1, hole);
    }
    true
}

#[cfg(test)]
#[path = "sequence_tests.rs"]
mod tests;
