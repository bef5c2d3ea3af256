//! The rings as userspace reads them.

use std::io;
use std::os::fd::{AsFd, OwnedFd};

use agent_common::rings::Ring;
use aya::Ebpf;
use aya::maps::{Map, MapData};
use rustix::event::epoll;

use super::maps::MapFailure;
use super::ring;
use crate::capture::decode;
use crate::capture::merge::{Merge, Turn};
use crate::model::time::BootTime;

/// All rings, and what was taken out of them and not yet given.
pub(super) struct Rings {
    rings: [ring::Ring; Ring::ALL.len()],
    merge: Merge,
}

impl Rings {
    /// Takes the rings.
    pub(super) fn take(ebpf: &mut Ebpf) -> Result<Self, MapFailure> {
        Self::of(|ring| match ebpf.take_map(ring.map()) {
            Some(Map::RingBuf(map)) => Ok(map),
            _ => Err(MapFailure::Missing(ring.map())),
        })
    }

    /// Those that `map_of` gives.
    pub(super) fn of(
        mut map_of: impl FnMut(Ring) -> Result<MapData, MapFailure>,
    ) -> Result<Self, MapFailure> {
        let mut take = |ring: Ring| {
            let mapped = ring::Ring::new(map_of(ring)?, ring.bytes());
            mapped.map_err(|source| MapFailure::Unreadable { map: ring.map(), source })
        };
        let [process, credential, connection, bulk] = Ring::ALL.map(&mut take);
        Ok(Self { rings: [process?, credential?, connection?, bulk?], merge: Merge::default() })
    }

    /// Copies the next record into `into`, and says of which ring it is; `None` where there is none now.
    pub(super) fn next(&mut self, turn: &mut Turn, into: &mut Vec<u8>) -> Option<Ring> {
        let Self { rings, merge } = self;
        let read = |ring: Ring, buffer: &mut Vec<u8>| {
            let is_there = rings.get_mut(ring as usize)?.next(buffer);
            // One that cannot be read has nothing to wait for.
            is_there.then(|| decode::meta(buffer).map_or(BootTime::from_ns(0), |meta| meta.time))
        };
        let given = merge.next(turn, read, into)?;
        self.rings.get_mut(given as usize)?.done();
        Some(given)
    }

    /// Gives back the room of all records that were given; whether there are more.
    pub(super) fn give_back(&self) -> bool {
        // Each is to be given back, whatever the others hold.
        self.rings.iter().filter(|ring| ring.give_back()).count() > 0
    }

    /// A descriptor that becomes readable when a ring that was empty holds a record, and the kernel side was told to wake.
    pub(super) fn readiness(&self) -> io::Result<OwnedFd> {
        let all = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        for (ring, number) in self.rings.iter().zip(0..) {
            // On the edge: the ring is read to its end after each.
            let flags = epoll::EventFlags::IN | epoll::EventFlags::ET;
            epoll::add(all.as_fd(), ring.as_fd(), epoll::EventData::new_u64(number), flags)?;
        }
        Ok(all)
    }
}
