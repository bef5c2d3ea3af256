//! The only writer of the rings, and the only keeper of counters.
//!
//! The sequence number is taken before the ring is asked: a reserve that fails leaves a hole which userspace sees.
//! A record wakes the agent only where that has said that it sleeps: otherwise it comes by itself.
//! Counters are added to atomically: a program may be preempted by another on the same CPU.

use core::intrinsics::{AtomicOrdering, atomic_xadd};

use agent_common::counters::{Counter, CpuState, Family, slot};
use agent_common::records::Header;
use agent_common::rings::Ring;
use aya_ebpf::helpers::generated::{bpf_get_smp_processor_id, bpf_ktime_get_boot_ns, bpf_ringbuf_output};
use aya_ebpf::maps::RingBuf;
use aya_ebpf::maps::ring_buf::RingBufEntry;

use crate::maps;

/// An act that is to be told: it has its sequence number and is counted as attempted.
#[derive(Clone, Copy)]
pub struct Ticket {
    state: *mut CpuState,
    family: Family,
    ring: Ring,
    sequence: u64,
    /// For the ring, when the record is handed over.
    flags: u64,
}

/// The ring wakes nobody.
const BPF_RB_NO_WAKEUP: u64 = 1;
/// The ring wakes whoever has read all before.
const WAKE_IF_WAITING: u64 = 0;

/// Adds one to a counter of this CPU.
#[inline(always)]
pub fn count(family: Family, counter: Counter) {
    if let Some(state) = maps::CPU_STATE.get_ptr_mut(0) {
        add(state, family, counter);
    }
}

#[inline(always)]
fn add(state: *mut CpuState, family: Family, counter: Counter) {
    // SAFETY: the array has `SLOTS` elements and `slot` is below; the map's memory outlives the program.
    unsafe {
        let cell = (&raw mut (*state).counters).cast::<u64>().add(slot(family, counter) as usize);
        add_one(cell);
    }
}

/// Adds one atomically. `core::sync::atomic` has no `fetch_add` on this target (it has no compare and swap on its oldest
/// processors), the instruction exists since v3.
///
/// # Safety
/// `cell` must be aligned, and in a map.
#[inline(always)]
pub unsafe fn add_one(cell: *mut u64) {
    // SAFETY: as the caller promises.
    unsafe { atomic_xadd::<u64, u64, { AtomicOrdering::Relaxed }>(cell, 1) };
}

/// Adds one atomically; the value before.
///
/// Sequentially consistent, for the sake of the compiler: LLVM 22 makes of a relaxed addition the instruction that does
/// not give the old value back, even where it is used.
///
/// # Safety
/// As of [`add_one`].
#[inline(always)]
unsafe fn take_one(cell: *mut u64) -> u64 {
    // SAFETY: as the caller promises.
    unsafe { atomic_xadd::<u64, u64, { AtomicOrdering::SeqCst }>(cell, 1) }
}

/// Counts an act that a fold takes up instead of the ring.
#[inline(always)]
pub fn folded(family: Family) {
    count(family, Counter::Attempted);
    count(family, Counter::Folded);
}

/// Begins to tell an act by a ring: takes the sequence number. `None` where it is dropped on purpose (a drill), which is
/// counted.
#[inline(always)]
pub fn attempt(family: Family, ring: Ring) -> Option<Ticket> {
    let state = maps::CPU_STATE.get_ptr_mut(0)?;
    add(state, family, Counter::Attempted);
    if ring == Ring::Bulk {
        add(state, family, Counter::Bulk);
    }
    // SAFETY: as in `add`; there is a number for each ring.
    let sequence = unsafe { take_one((&raw mut (*state).sequence).cast::<u64>().add(ring as usize)) };
    let (drop_every, wake) =
        maps::CONTROL.get(0).map_or((0, 1), |control| (control.drop_every, control.wake));
    if drop_every != 0 && sequence % u64::from(drop_every) == 0 {
        add(state, family, Counter::DroppedSimulated);
        return None;
    }
    let flags = if wake != 0 { WAKE_IF_WAITING } else { BPF_RB_NO_WAKEUP };
    Some(Ticket { state, family, ring, sequence, flags })
}

/// The ring's map.
#[inline(always)]
fn map_of(ring: Ring) -> &'static RingBuf {
    match ring {
        Ring::Process => &maps::PROCESS_RING,
        Ring::Credential => &maps::CREDENTIAL_RING,
        Ring::Connection => &maps::CONNECTION_RING,
        Ring::Bulk => &maps::BULK_RING,
    }
}

/// Bytes of a ring that were not read yet.
#[inline(always)]
pub fn unread(ring: Ring) -> u64 {
    const BPF_RB_AVAIL_DATA: u64 = 0;
    map_of(ring).query(BPF_RB_AVAIL_DATA)
}

impl Ticket {
    /// Room in the ring for a `T`, counted as dropped where there is none.
    #[inline(always)]
    pub fn reserve<T: 'static>(self) -> Option<RingBufEntry<T>> {
        let entry = map_of(self.ring).reserve::<T>(0);
        if entry.is_none() {
            self.lost(Counter::DroppedRingFull);
        }
        entry
    }

    /// The header of a record of `length` bytes.
    #[inline(always)]
    pub fn header(self, kind: u16, hook: u16, length: u32) -> Header {
        Header {
            length,
            kind,
            hook,
            sequence: self.sequence,
            // SAFETY: no arguments.
            time_boot_ns: unsafe { bpf_ktime_get_boot_ns() },
            // SAFETY: no arguments.
            cpu: unsafe { bpf_get_smp_processor_id() } as u32,
            ring: self.ring as u32,
        }
    }

    /// Hands a filled entry over.
    #[inline(always)]
    pub fn submit<T>(self, entry: RingBufEntry<T>) {
        entry.submit(self.flags);
        add(self.state, self.family, Counter::Submitted);
    }

    /// Gives an entry back: what it needed could not be read.
    #[inline(always)]
    pub fn discard<T>(self, entry: RingBufEntry<T>) {
        entry.discard(self.flags);
        self.lost(Counter::DroppedRead);
    }

    /// Copies `length` bytes that were built elsewhere.
    ///
    /// # Safety
    /// `data` must point to at least `length` bytes that the verifier knows.
    #[inline(always)]
    pub unsafe fn output(self, data: *const u8, length: u32) {
        // SAFETY: as the caller promises.
        let result = unsafe {
            bpf_ringbuf_output(
                core::ptr::from_ref(map_of(self.ring)).cast_mut().cast(),
                data.cast_mut().cast(),
                u64::from(length),
                self.flags,
            )
        };
        if result == 0 {
            add(self.state, self.family, Counter::Submitted);
        } else {
            self.lost(Counter::DroppedRingFull);
        }
    }

    /// The act is lost, for the reason given.
    #[inline(always)]
    pub fn lost(self, counter: Counter) {
        add(self.state, self.family, counter);
    }
}
