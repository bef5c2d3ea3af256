//! The only writer of the rings, and the only keeper of counters.
//!
//! The sequence number is taken before the ring is asked: a reserve that fails leaves a hole which userspace sees.
//! A record wakes the agent only where that has said that it sleeps: otherwise it comes by itself.
//! Counters are added to atomically: a program may be preempted by another on the same CPU.

use core::intrinsics::{AtomicOrdering, atomic_xadd};

use agent_common::counters::{Counter, CpuState, Family, slot};
use agent_common::nesting::{LEVEL_SHIFT, Number};
use agent_common::records::Header;
use agent_common::rings::Ring;
use aya_ebpf::helpers::generated::{bpf_get_smp_processor_id, bpf_ktime_get_boot_ns, bpf_ringbuf_output};
use aya_ebpf::maps::RingBuf;
use aya_ebpf::maps::ring_buf::RingBufEntry;

use crate::{kernel, maps};

/// An act that is to be told: it has its sequence number and is counted as attempted.
#[derive(Clone, Copy)]
pub struct Ticket {
    state: *mut CpuState,
    family: Family,
    /// The ring's number, and above its two bits the flags with which the record is handed over. In one: what is kept
    /// while a record is filled lies on the stack, of which `sys_exit` has none to spare.
    lane: u64,
    sequence: u64,
}

/// Bits of a ring's number.
const RING_BITS: u32 = 2;
/// Bit above the flags from which on the depth stands, where there is one.
const LEVEL_AT: u32 = 8;

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
    // SAFETY: as in `add`; the programs are loaded on no kernel where they may interrupt each other otherwise.
    let Some(Number { sequence, level }) = (unsafe { kernel::take_number(state, ring) }) else {
        add(state, family, Counter::DroppedScratch);
        return None;
    };
    let (drop_every, wake) =
        maps::CONTROL.get(0).map_or((0, 1), |control| (control.drop_every, control.wake));
    if drop_every != 0 && sequence % u64::from(drop_every) == 0 {
        add(state, family, Counter::DroppedSimulated);
        return None;
    }
    let flags = if wake != 0 { WAKE_IF_WAITING } else { BPF_RB_NO_WAKEUP };
    let lane = flags << RING_BITS | ring as u64;
    Some(Ticket {
        state,
        family,
        lane: if kernel::COUNTS_LEVELS { lane | level << LEVEL_AT } else { lane },
        sequence,
    })
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
    #[inline(always)]
    fn ring(self) -> Ring {
        match self.lane & ((1 << RING_BITS) - 1) {
            0 => Ring::Process,
            1 => Ring::Credential,
            2 => Ring::Connection,
            _ => Ring::Bulk,
        }
    }

    #[inline(always)]
    fn level(self) -> u32 {
        if kernel::COUNTS_LEVELS { (self.lane >> LEVEL_AT) as u32 } else { 0 }
    }

    #[inline(always)]
    fn flags(self) -> u64 {
        let flags = self.lane >> RING_BITS;
        if kernel::COUNTS_LEVELS { flags & ((1 << (LEVEL_AT - RING_BITS)) - 1) } else { flags }
    }

    /// Room in the ring for a `T`, counted as dropped where there is none.
    #[inline(always)]
    pub fn reserve<T: 'static>(self) -> Option<RingBufEntry<T>> {
        let entry = map_of(self.ring()).reserve::<T>(0);
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
            cpu: unsafe { bpf_get_smp_processor_id() } as u32 | self.level() << LEVEL_SHIFT,
            ring: self.ring() as u32,
        }
    }

    /// Hands a filled entry over.
    #[inline(always)]
    pub fn submit<T>(self, entry: RingBufEntry<T>) {
        entry.submit(self.flags());
        add(self.state, self.family, Counter::Submitted);
    }

    /// Gives an entry back: what it needed could not be read.
    #[inline(always)]
    pub fn discard<T>(self, entry: RingBufEntry<T>) {
        entry.discard(self.flags());
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
                core::ptr::from_ref(map_of(self.ring())).cast_mut().cast(),
                data.cast_mut().cast(),
                u64::from(length),
                self.flags(),
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
