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

/// Where a record ends: what is said to be done with once it was handed on.
#[derive(Clone, Copy, Debug)]
pub struct Mark {
    /// Its ring.
    pub ring: Ring,
    position: u64,
}

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

    /// Copies the next record into `into`, and says where it ends; `None` where there is none now.
    pub(super) fn next(&mut self, turn: &mut Turn, into: &mut Vec<u8>) -> Option<Mark> {
        let Self { rings, merge } = self;
        let read = |ring: Ring, buffer: &mut Vec<u8>| {
            let is_there = rings.get_mut(ring as usize)?.next(buffer);
            // One that cannot be read has nothing to wait for.
            is_there.then(|| decode::meta(buffer).map_or(BootTime::from_ns(0), |meta| meta.time))
        };
        let ring = merge.next(turn, read, into)?;
        // The ring's next record is read when the next one is asked for.
        Some(Mark { ring, position: self.rings.get(ring as usize)?.position() })
    }

    /// A record and all before it in its ring were handed on.
    pub(super) fn done(&mut self, mark: Mark) {
        if let Some(ring) = self.rings.get_mut(mark.ring as usize) {
            ring.done(mark.position);
        }
    }

    /// Gives back the room of all records that are done with; whether there are more.
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
