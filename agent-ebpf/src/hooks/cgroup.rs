//! Names of cgroups, from when they are made.
//!
//! `tp_btf/cgroup_mkdir` (since 4.15) runs in whoever makes a cgroup, before its directory can be found: so what it is called
//! is told before anything is in it, and before anything there acts. Its neighbours tell less: `cgroup_attach_task` runs for
//! each process that is moved, and not for one that is made in its cgroup (`CLONE_INTO_CGROUP`); an exec tells the name of
//! the cgroup that it is in, which a process that was moved has not done there.
//!
//! Ids of cgroups are never used again (since 5.5), so an end need not be told.

use agent_common::counters::{Counter, Family};
use agent_common::limits::CGROUP_PATH_BYTES;
use agent_common::records::{CgroupRecord, hook, kind};
use agent_common::rings::Ring;
use aya_ebpf::helpers::generated::bpf_probe_read_kernel_str;
use aya_ebpf::macros::btf_tracepoint;
use aya_ebpf::programs::BtfTracePointContext;

use crate::kstruct::{Cgroup, Task, Typed, cgroup_hierarchy};
use crate::{budget, emit, generation, maps};

/// A cgroup was made: `cgroup_mkdir(cgroup, path)`, with the kernel's lock for the path held and interrupts off.
#[btf_tracepoint(function = "cgroup_mkdir")]
pub fn cgroup_made(ctx: BtfTracePointContext) -> i32 {
    let cgroup = Cgroup::<Typed>::from_raw(ctx.arg::<u64>(0));
    let path = ctx.arg::<u64>(1);
    if cgroup.hierarchy() == Some(cgroup_hierarchy())
        && Task::<Typed>::current().tgid().is_none_or(generation::serves)
    {
        let _ = tell(cgroup, path);
    }
    0
}

#[inline(always)]
fn tell(cgroup: Cgroup<Typed>, path: u64) -> Option<()> {
    let ticket = emit::attempt(Family::Cgroup, budget::ring(Ring::Process))?;
    let Some(scratch) = maps::CGROUP_SCRATCH.get_ptr_mut(0) else {
        ticket.lost(Counter::DroppedScratch);
        return None;
    };
    let scratch = scratch.cast::<u8>();
    let Some(length) = fill(scratch, cgroup, path) else {
        ticket.lost(Counter::DroppedRead);
        return None;
    };
    // SAFETY: the scratch space is larger than the fixed part and aligned to 8.
    let record = unsafe { &mut *scratch.cast::<CgroupRecord>() };
    record.header = ticket.header(kind::CGROUP_MADE, hook::CGROUP_MKDIR, length);
    // SAFETY: `length` is at most that of the fixed part and of a path, which the scratch space has room for.
    unsafe { ticket.output(scratch, length) };
    Some(())
}

/// Fills all but the header; the record's length.
#[inline(always)]
fn fill(scratch: *mut u8, cgroup: Cgroup<Typed>, path: u64) -> Option<u32> {
    const FIXED: usize = size_of::<CgroupRecord>();
    let id = cgroup.id()?;
    // SAFETY: a path and the fixed part fit the scratch space.
    let read = unsafe {
        bpf_probe_read_kernel_str(scratch.add(FIXED).cast(), CGROUP_PATH_BYTES as u32, path as *const _)
    };
    if read <= 0 || read > CGROUP_PATH_BYTES as i64 {
        return None;
    }
    // The verifier forgets the bounds of a number that the compiler has spilled: they are put on again.
    let length = (read as u64 - 1) & (CGROUP_PATH_BYTES as u64 - 1);
    // SAFETY: as in `tell`.
    let record = unsafe { &mut *scratch.cast::<CgroupRecord>() };
    record.id = id;
    record.path_length = length as u16;
    record.reserved = [0; 3];
    Some(FIXED as u32 + length as u32)
}
