//! The rings as userspace reads them.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use agent_common::rings::Ring;
use aya::Ebpf;
use aya::maps::{MapData, RingBuf};
use rustix::event::epoll;

use super::maps::MapFailure;
use crate::capture::decode;
use crate::capture::merge::{Merge, Turn};
use crate::model::time::BootTime;

/// All rings, and what was taken out of them and not yet given.
pub(super) struct Rings {
    rings: [RingBuf<MapData>; Ring::ALL.len()],
    merge: Merge,
}

impl Rings {
    /// Takes the rings.
    pub(super) fn take(ebpf: &mut Ebpf) -> Result<Self, MapFailure> {
        let mut take = |ring: Ring| {
            let map = ring.map();
            RingBuf::try_from(ebpf.take_map(map).ok_or(MapFailure::Missing(map))?)
                .map_err(|source| MapFailure::Refused { map, source })
        };
        let [process, credential, connection, bulk] = Ring::ALL.map(&mut take);
        Ok(Self { rings: [process?, credential?, connection?, bulk?], merge: Merge::default() })
    }

    /// Copies the next record into `into`, and says of which ring it is; `None` where there is none now.
    pub(super) fn next(&mut self, turn: &mut Turn, into: &mut Vec<u8>) -> Option<Ring> {
        let Self { rings, merge } = self;
        let read = |ring: Ring, buffer: &mut Vec<u8>| {
            let record = rings.get_mut(ring as usize)?.next()?;
            buffer.clear();
            buffer.extend_from_slice(&record);
            // One that cannot be read has nothing to wait for.
            Some(decode::meta(buffer).map_or(BootTime::from_ns(0), |meta| meta.time))
        };
        merge.next(turn, read, into)
    }

    /// A descriptor that becomes readable when a ring that was empty holds a record, and the kernel side was told to wake.
    pub(super) fn readiness(&self) -> io::Result<OwnedFd> {
        let all = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        for (ring, number) in self.rings.iter().zip(0..) {
            // SAFETY: the ring holds its descriptor open for longer than this call.
            let descriptor = unsafe { BorrowedFd::borrow_raw(ring.as_raw_fd()) };
            // On the edge: the ring is read to its end after each.
            let flags = epoll::EventFlags::IN | epoll::EventFlags::ET;
            epoll::add(all.as_fd(), descriptor, epoll::EventData::new_u64(number), flags)?;
        }
        Ok(all)
    }
}
