//! Several rings become one stream, in the order of time.
//!
//! What a record means depends on records before it, which may be in another ring: a connection is that of a process whose
//! exec came in the ring of processes. So of the records that head the rings the oldest is next. The bulk ring alone has to
//! stand back: where others wait, no more than [`BULK_A_TURN`] of its records are taken in a turn, however old they are.
//! Else whoever floods could delay everybody by as much as that ring holds.

use agent_common::rings::Ring;

use crate::model::time::BootTime;

/// Records of the bulk ring that others wait for in one turn: less than a millisecond.
pub const BULK_A_TURN: usize = 64;

/// The order in which rings that have no head are asked. What somebody did before he was told of in one ring is then seen
/// in those that are asked after it: nobody connects before his exec was told, and whoever reads a credential and then
/// connects is seen to do so in this order.
const ASKED: [Ring; 4] = [Ring::Bulk, Ring::Connection, Ring::Credential, Ring::Process];

/// The record that heads a ring.
#[derive(Debug, Default)]
struct Head {
    record: Vec<u8>,
    /// Its time, where there is one.
    time: Option<BootTime>,
}

/// The heads of all rings.
#[derive(Debug, Default)]
pub struct Merge {
    heads: [Head; Ring::ALL.len()],
}

/// What a turn may still take of the bulk ring while others wait.
#[derive(Debug)]
pub struct Turn {
    bulk: usize,
}

impl Turn {
    /// A new turn.
    pub const fn new() -> Self {
        Self { bulk: BULK_A_TURN }
    }
}

impl Default for Turn {
    fn default() -> Self {
        Self::new()
    }
}

impl Merge {
    /// Puts the next record into `into`, and says which ring it is of; `None` where all are empty. `read` puts a ring's next record into a buffer,
    /// and says when it was written; `None` where the ring is empty.
    pub fn next(
        &mut self,
        turn: &mut Turn,
        mut read: impl FnMut(Ring, &mut Vec<u8>) -> Option<BootTime>,
        into: &mut Vec<u8>,
    ) -> Option<Ring> {
        for ring in ASKED {
            if let Some(head) = self.heads.get_mut(ring as usize)
                && head.time.is_none()
            {
                head.time = read(ring, &mut head.record);
            }
        }
        let bulk_stands_back = turn.bulk == 0;
        let others = Ring::ALL.into_iter().filter(|ring| *ring != Ring::Bulk);
        let time_of = |ring: Ring| self.heads.get(ring as usize).and_then(|head| head.time);
        let first = others.filter_map(|ring| Some((time_of(ring)?, ring))).min_by_key(|(time, _)| *time);
        let ring = match (first, time_of(Ring::Bulk)) {
            (Some((time, _)), Some(bulk)) if bulk < time && !bulk_stands_back => {
                turn.bulk -= 1;
                Ring::Bulk
            }
            (Some((_, ring)), _) => ring,
            (None, Some(_)) => Ring::Bulk,
            (None, None) => return None,
        };
        let head = self.heads.get_mut(ring as usize)?;
        head.time = None;
        std::mem::swap(&mut head.record, into);
        Some(ring)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use proptest::prelude::*;

    use super::*;

    /// Records of two bytes, the ring's number and the last digits of the time, written at the times given.
    struct Rings([VecDeque<u64>; 4]);

    impl Rings {
        fn read(&mut self, ring: Ring, into: &mut Vec<u8>) -> Option<BootTime> {
            let time = self.0[ring as usize].pop_front()?;
            into.clear();
            into.extend([ring as u8, time as u8]);
            Some(BootTime::from_ns(time))
        }

        fn all(mut self, turn_of: usize) -> Vec<(u8, u8)> {
            let (mut merge, mut into, mut all) = (Merge::default(), Vec::new(), Vec::new());
            loop {
                let mut turn = Turn::new();
                for _ in 0..turn_of {
                    if merge.next(&mut turn, |ring, into| self.read(ring, into), &mut into).is_none() {
                        return all;
                    }
                    all.push((into[0], into[1]));
                }
            }
        }
    }

    fn rings(times: [&[u64]; 4]) -> Rings {
        Rings(times.map(|times| times.iter().copied().collect()))
    }

    #[test]
    fn the_oldest_is_next() {
        let merged = rings([&[1, 5], &[4], &[2, 6], &[3]]).all(100);
        assert_eq!(merged, [(0, 1), (2, 2), (3, 3), (1, 4), (0, 5), (2, 6)]);
    }

    #[test]
    fn a_flood_delays_others_by_no_more_than_its_share_of_a_turn() {
        let flood: Vec<u64> = (0..10_000).collect();
        let merged = rings([&[], &[20_000, 20_001], &[], &flood]).all(1_000);
        let at: Vec<usize> =
            merged.iter().enumerate().filter(|(_, (ring, _))| *ring == 1).map(|(at, _)| at).collect();
        assert_eq!(at, [BULK_A_TURN, BULK_A_TURN + 1]);
        assert_eq!(merged.len(), 10_002);
    }

    #[test]
    fn a_flood_alone_is_not_held_up() {
        let flood: Vec<u64> = (0..1_000).collect();
        assert_eq!(rings([&[], &[], &[], &flood]).all(2_000).len(), 1_000);
    }

    #[test]
    fn what_happened_before_is_found_though_it_was_written_between_two_looks() {
        // The connection is there at the first look; its process's exec, told before it, is seen by a later look alone.
        let (mut merge, mut into) = (Merge::default(), Vec::new());
        let mut exec_is_told = false;
        let mut order = Vec::new();
        let mut told = [false; 4];
        for _ in 0..2 {
            let read = |ring: Ring, record: &mut Vec<u8>| {
                let number = ring as usize;
                let is_there = match ring {
                    Ring::Connection => {
                        exec_is_told = true;
                        true
                    }
                    Ring::Process => exec_is_told,
                    _ => false,
                };
                if !is_there || std::mem::replace(&mut told[number], true) {
                    return None;
                }
                record.clear();
                record.push(ring as u8);
                Some(BootTime::from_ns(if ring == Ring::Process { 1 } else { 2 }))
            };
            assert!(merge.next(&mut Turn::new(), read, &mut into).is_some());
            order.extend_from_slice(&into);
        }
        assert_eq!(order, [Ring::Process as u8, Ring::Connection as u8]);
    }

    proptest! {
        #[test]
        fn nothing_is_lost_and_each_ring_keeps_its_order(
            times in proptest::array::uniform4(proptest::collection::vec(0_u64..256, 0..200)),
            turn_of in 1_usize..300,
        ) {
            let sorted = times.map(|mut times| { times.sort_unstable(); times });
            let merged = rings([&sorted[0], &sorted[1], &sorted[2], &sorted[3]]).all(turn_of);
            for (ring, times) in sorted.iter().enumerate() {
                let of_ring = merged.iter().filter(|(of, _)| usize::from(*of) == ring);
                let found: Vec<u64> = of_ring.map(|(_, time)| u64::from(*time)).collect();
                prop_assert_eq!(&found, times);
            }
        }
    }
}
