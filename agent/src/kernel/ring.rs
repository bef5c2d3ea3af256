//! A ring of the kernel's (`BPF_MAP_TYPE_RINGBUF`), read without giving its room back until what was read is safe.
//!
//! aya was looked at: its `RingBuf` gives a record's room back when the next one is read, so that a reader that is killed
//! loses what it had not passed on yet. Rings outlive the agent here: what was not given back is read by the next one. And it
//! maps the data twice, all of which is resident memory; what is copied anyway may as well be copied in two pieces.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering, fence};

use aya::maps::MapData;
use rustix::mm::{MapFlags, ProtFlags, mmap, munmap};

/// Bits of a record's length: it is still being written; it was given up.
const BUSY: u32 = 1 << 31;
const DISCARDED: u32 = 1 << 30;
/// A record's length, and where its page is: what the kernel puts before its bytes.
const HEADER_BYTES: usize = 8;

/// Memory that is shared with the kernel.
struct Shared {
    start: NonNull<u8>,
    length: usize,
}

// SAFETY: the memory belongs to the process, not to a thread; it is only read and written atomically where the kernel writes.
unsafe impl Send for Shared {}

impl Shared {
    fn map(map: BorrowedFd<'_>, offset: usize, length: usize, access: ProtFlags) -> io::Result<Self> {
        // SAFETY: the kernel chooses the place; nothing else is there.
        let start =
            unsafe { mmap(std::ptr::null_mut(), length, access, MapFlags::SHARED, map, offset as u64)? };
        let start = NonNull::new(start.cast()).ok_or(io::ErrorKind::AddrNotAvailable)?;
        Ok(Self { start, length })
    }

    /// The number at the memory's start.
    const fn position(&self) -> &AtomicU64 {
        // SAFETY: a page begins aligned and is larger; it is mapped for as long as `self`.
        unsafe { self.start.cast().as_ref() }
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        // SAFETY: it was mapped with this length, and nothing refers to it any more.
        let _ = unsafe { munmap(self.start.as_ptr().cast(), self.length) };
    }
}

/// A ring, and how far it was read.
pub(super) struct Ring {
    map: MapData,
    /// The page that holds how far room was given back.
    consumer: Shared,
    /// The page that holds how far it was written, and the data behind it.
    producer: Shared,
    page: usize,
    bytes: usize,
    /// How far it was read.
    read: u64,
    /// How far room may be given back.
    done: u64,
}

impl Ring {
    /// Maps a ring of that size. What was not given back by an earlier reader is read again.
    ///
    /// # Errors
    /// As the kernel gives them: where the ring is of another size, among others.
    pub(super) fn new(map: MapData, bytes: u32) -> io::Result<Self> {
        let (page, bytes) = (rustix::param::page_size(), bytes as usize);
        let descriptor = map.fd().as_fd();
        let consumer = Shared::map(descriptor, 0, page, ProtFlags::READ | ProtFlags::WRITE)?;
        let producer = Shared::map(descriptor, page, page + bytes, ProtFlags::READ)?;
        let read = consumer.position().load(Ordering::Acquire);
        Ok(Self { map, consumer, producer, page, bytes, read, done: read })
    }

    /// The length field of the record at a position.
    const fn length_at(&self, position: u64) -> &AtomicU32 {
        let at = self.page + (position as usize & (self.bytes - 1));
        // SAFETY: positions are multiples of eight, and so is the size: the field is aligned and lies within the data.
        unsafe { self.producer.start.add(at).cast().as_ref() }
    }

    /// So many bytes of the data, which must have been written, and not given back.
    fn data(&self, from: usize, length: usize) -> &[u8] {
        assert!(from + length <= self.bytes, "a record lies within the ring");
        // SAFETY: the data is mapped behind a page, and asked for within its size; the kernel does not write to it again
        // until its room was given back.
        unsafe { std::slice::from_raw_parts(self.producer.start.add(self.page + from).as_ptr(), length) }
    }

    /// Copies the next record into `into`; whether there was one.
    pub(super) fn next(&mut self, into: &mut Vec<u8>) -> bool {
        loop {
            if self.read >= self.producer.position().load(Ordering::Acquire) {
                return false;
            }
            let length = self.length_at(self.read).load(Ordering::Acquire);
            if length & BUSY != 0 {
                return false;
            }
            let bytes = (length & !DISCARDED) as usize;
            // What the kernel writes is never longer than the ring.
            let bytes = bytes.min(self.bytes - HEADER_BYTES);
            let from = (self.read as usize + HEADER_BYTES) & (self.bytes - 1);
            self.read += (bytes + HEADER_BYTES).next_multiple_of(HEADER_BYTES) as u64;
            if length & DISCARDED != 0 {
                continue;
            }
            let before_end = bytes.min(self.bytes - from);
            into.clear();
            into.extend_from_slice(self.data(from, before_end));
            into.extend_from_slice(self.data(0, bytes - before_end));
            return true;
        }
    }

    /// How far it was read: behind the record that was copied last.
    pub(super) const fn position(&self) -> u64 {
        self.read
    }

    /// Everything before that position is done with.
    pub(super) const fn done(&mut self, position: u64) {
        self.done = position;
    }

    /// Gives back the room of what is done with; whether there is something to read.
    pub(super) fn give_back(&self) -> bool {
        let position = self.consumer.position();
        if position.load(Ordering::Relaxed) != self.done {
            position.store(self.done, Ordering::Release);
            // The kernel wakes a reader that has given back all before: it must not look before this is seen, nor this
            // reader at the ring's end before it was.
            fence(Ordering::SeqCst);
        }
        self.read < self.producer.position().load(Ordering::Acquire)
            && self.length_at(self.read).load(Ordering::Acquire) & BUSY == 0
    }
}

impl AsFd for Ring {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.map.fd().as_fd()
    }
}
