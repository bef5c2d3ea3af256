//! Which events have arrived: duplicates are known, holes are seen.
//!
//! A stream is the events of one (host, boot, epoch); its sequence numbers begin at 1 and have no holes. What has
//! arrived is kept as ranges: one range for a stream in order, one more for each hole.

use std::collections::{BTreeMap, HashMap};

use serde::Serialize;

use crate::ship::wire::v1::Batch;

/// Streams remembered, at most. The one that was silent for longest is forgotten first, with its holes.
pub const STREAMS: usize = 4096;
/// Holes of one stream remembered, at most. Beyond it the oldest hole is given up: it stays counted as missing, and
/// an event that would still fill it is taken for a duplicate.
pub const HOLES: usize = 256;

/// Whose sequence numbers.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct StreamId {
    /// Hash of the machine id.
    pub host_id: String,
    /// The kernel's boot id.
    pub boot_id: String,
    /// Start of the agent.
    pub epoch: u64,
}

impl From<&Batch> for StreamId {
    fn from(batch: &Batch) -> Self {
        let Batch { host, epoch, .. } = batch;
        Self { host_id: host.id.clone(), boot_id: host.boot_id.clone(), epoch: *epoch }
    }
}

/// A range of sequence numbers, both ends included.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Range {
    /// The first.
    pub first: u64,
    /// The last.
    pub last: u64,
}

impl Range {
    /// How many numbers.
    pub fn count(&self) -> u64 {
        self.last - self.first + 1
    }
}

/// What an arrival did to the holes of its stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// Numbers were skipped.
    Opened(Range),
    /// This hole is smaller, split or gone: the event arrived after all.
    Filled {
        /// The hole as it was reported.
        hole: Range,
        /// The number that arrived.
        seq: u64,
    },
}

/// What has arrived of one stream.
#[derive(Clone, Debug, Default)]
pub struct Stream {
    /// Host name as last heard, escaped.
    pub host: String,
    /// First number to its range's last number. Ranges neither touch nor overlap.
    ranges: BTreeMap<u64, u64>,
    /// Numbers of holes that were given up.
    given_up: u64,
    heard: u64,
}

impl Stream {
    /// Whether the number has arrived, or belongs to a hole that was given up.
    pub fn has(&self, seq: u64) -> bool {
        self.ranges.range(..=seq).next_back().is_some_and(|(_, last)| seq <= *last)
    }

    /// Records an arrival that [`has`](Self::has) does not know.
    fn insert(&mut self, seq: u64) -> Option<Change> {
        let before = self.ranges.range(..seq).next_back().map(|(first, last)| (*first, *last));
        let after = self.ranges.range(seq..).next().map(|(first, last)| (*first, *last));
        let change = match (before, after) {
            (Some((_, last)), Some((first, _))) => {
                Some(Change::Filled { hole: Range { first: last + 1, last: first - 1 }, seq })
            }
            (Some((_, last)), None) if last + 1 < seq => {
                Some(Change::Opened(Range { first: last + 1, last: seq - 1 }))
            }
            // An event before the first that arrived: what lies between was not known to be missing until now.
            (None, Some((first, _))) if seq + 1 < first => {
                Some(Change::Opened(Range { first: seq + 1, last: first - 1 }))
            }
            _ => None,
        };
        let joins_before = before.filter(|(_, last)| last + 1 == seq);
        let joins_after = after.filter(|(first, _)| seq + 1 == *first);
        let last = joins_after.map_or(seq, |(_, last)| last);
        if let Some((first, _)) = joins_after {
            self.ranges.remove(&first);
        }
        self.ranges.insert(joins_before.map_or(seq, |(first, _)| first), last);
        if self.ranges.len() > HOLES + 1 {
            self.give_up_the_oldest_hole();
        }
        change
    }

    fn give_up_the_oldest_hole(&mut self) {
        let mut oldest = self.ranges.iter().take(2).map(|(first, last)| (*first, *last));
        if let (Some((first, end)), Some((next, last))) = (oldest.next(), oldest.next()) {
            self.given_up += next - end - 1;
            self.ranges.remove(&next);
            self.ranges.insert(first, last);
        }
    }

    /// What is missing between the first and the last that arrived.
    pub fn holes(&self) -> impl Iterator<Item = Range> {
        let nexts = self.ranges.keys().skip(1);
        self.ranges.values().zip(nexts).map(|(last, next)| Range { first: last + 1, last: next - 1 })
    }

    /// How many are missing, holes that were given up included.
    pub fn missing(&self) -> u64 {
        self.given_up + self.holes().map(|hole| hole.count()).sum::<u64>()
    }

    /// Numbers before the first that arrived: sent before this collector began, or lost.
    pub fn before_the_first(&self) -> u64 {
        self.ranges.keys().next().map_or(0, |first| first.saturating_sub(1))
    }

    /// The last number that arrived.
    pub fn last(&self) -> u64 {
        self.ranges.values().next_back().copied().unwrap_or(0)
    }
}

/// What has arrived of all streams.
#[derive(Clone, Debug, Default)]
pub struct Ledger {
    streams: HashMap<StreamId, Stream>,
    forgotten: u64,
    clock: u64,
}

impl Ledger {
    /// Whether the event has arrived before.
    pub fn has(&self, stream: &StreamId, seq: u64) -> bool {
        self.streams.get(stream).is_some_and(|stream| stream.has(seq))
    }

    /// Records that an event has arrived; `host` is the name that its host goes by, escaped.
    pub fn insert(&mut self, id: &StreamId, host: &str, seq: u64) -> Option<Change> {
        self.clock += 1;
        if !self.streams.contains_key(id) {
            if self.streams.len() >= STREAMS {
                self.forget_the_most_silent();
            }
            self.streams.insert(id.clone(), Stream::default());
        }
        let stream = self.streams.get_mut(id)?;
        stream.heard = self.clock;
        if stream.host != host {
            host.clone_into(&mut stream.host);
        }
        if stream.has(seq) { None } else { stream.insert(seq) }
    }

    fn forget_the_most_silent(&mut self) {
        let silent = self.streams.iter().min_by_key(|(_, stream)| stream.heard).map(|(id, _)| id.clone());
        if let Some(id) = silent {
            self.streams.remove(&id);
            self.forgotten += 1;
        }
    }

    /// All streams, in no order.
    pub fn streams(&self) -> impl Iterator<Item = (&StreamId, &Stream)> {
        self.streams.iter()
    }

    /// Hosts heard.
    pub fn hosts(&self) -> usize {
        let hosts: std::collections::HashSet<_> = self.streams.keys().map(|id| &id.host_id).collect();
        hosts.len()
    }

    /// Events missing in all streams.
    pub fn missing(&self) -> u64 {
        self.streams.values().map(Stream::missing).sum()
    }

    /// Streams forgotten for want of room.
    pub fn forgotten(&self) -> u64 {
        self.forgotten
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn id(epoch: u64) -> StreamId {
        StreamId { host_id: "h".to_owned(), boot_id: "b".to_owned(), epoch }
    }

    fn opened(first: u64, last: u64) -> Option<Change> {
        Some(Change::Opened(Range { first, last }))
    }

    fn filled(first: u64, last: u64, seq: u64) -> Option<Change> {
        Some(Change::Filled { hole: Range { first, last }, seq })
    }

    #[test]
    fn holes_open_shrink_and_close() {
        let mut ledger = Ledger::default();
        let mut arrive = |seq| ledger.insert(&id(1), "web", seq);
        assert_eq!([1, 2, 3].map(&mut arrive), [None; 3]);
        assert_eq!(arrive(7), opened(4, 6));
        assert_eq!(arrive(7), None);
        assert_eq!(arrive(5), filled(4, 6, 5));
        assert_eq!(arrive(4), filled(4, 4, 4));
        assert_eq!(arrive(8), None);
        assert_eq!(ledger.missing(), 1);
        assert_eq!(ledger.streams[&id(1)].holes().collect::<Vec<_>>(), [Range { first: 6, last: 6 }]);
        assert_eq!(ledger.insert(&id(1), "web", 6), filled(6, 6, 6));
        assert_eq!(ledger.missing(), 0);
        assert!(ledger.has(&id(1), 8) && !ledger.has(&id(1), 9) && !ledger.has(&id(2), 1));
    }

    #[test]
    fn what_came_before_the_first_is_told_apart() {
        let mut ledger = Ledger::default();
        assert_eq!(ledger.insert(&id(1), "web", 100), None);
        assert_eq!(ledger.streams[&id(1)].before_the_first(), 99);
        assert_eq!(ledger.insert(&id(1), "web", 98), opened(99, 99));
        assert_eq!(ledger.insert(&id(1), "web", 99), filled(99, 99, 99));
        assert_eq!((ledger.streams[&id(1)].before_the_first(), ledger.missing()), (97, 0));
        assert_eq!(ledger.insert(&id(1), "web", u64::MAX), opened(101, u64::MAX - 1));
        assert_eq!(ledger.insert(&id(1), "web", 0), opened(1, 97));
    }

    #[test]
    fn memory_is_bounded_and_the_sum_stays_right() {
        let mut ledger = Ledger::default();
        let sent = (HOLES as u64 + 100) * 2;
        for seq in (1..=sent).step_by(2) {
            ledger.insert(&id(1), "web", seq);
        }
        let stream = &ledger.streams[&id(1)];
        assert_eq!(stream.holes().count(), HOLES);
        assert_eq!(stream.missing(), sent / 2 - 1);
        for epoch in 0..STREAMS as u64 + 10 {
            ledger.insert(&id(epoch), "web", 1);
        }
        assert_eq!((ledger.streams.len(), ledger.forgotten()), (STREAMS, 10));
        assert!(ledger.has(&id(STREAMS as u64 + 9), 1));
    }

    proptest! {
        /// Against the plain model: a set of what arrived.
        #[test]
        fn it_knows_what_a_set_knows(arrivals in proptest::collection::vec(1..60_u64, 1..120)) {
            let mut ledger = Ledger::default();
            let mut set = std::collections::BTreeSet::new();
            for seq in arrivals {
                prop_assert_eq!(ledger.has(&id(1), seq), set.contains(&seq));
                let change = ledger.insert(&id(1), "web", seq);
                if !set.insert(seq) {
                    prop_assert_eq!(change, None);
                }
                let (first, last) = (*set.first().unwrap(), *set.last().unwrap());
                let missing: Vec<_> = (first..=last).filter(|seq| !set.contains(seq)).collect();
                let stream = &ledger.streams[&id(1)];
                prop_assert_eq!(stream.missing(), missing.len() as u64);
                prop_assert_eq!(stream.holes().flat_map(|hole| hole.first..=hole.last).collect::<Vec<_>>(), missing);
                prop_assert_eq!((stream.before_the_first(), stream.last()), (first - 1, last));
            }
        }
    }
}
