//! Tags: which session a process is of, for whatever must know it at once. Userspace gives a process its tag; what it makes
//! from then on has the same from its fork on, whoever its parent is by then, and whether or not a record of it is read.
//!
//! A tag that is found under the id of another process is not that one's: the end of its process was missed.

use agent_common::counters::{Counter, Family};
use agent_common::keys::ProcessTag;

use crate::kstruct::{Task, Typed};
use crate::{emit, maps};

/// Gives `child` the tag of `maker`; which. 0: none, or no room.
#[inline(always)]
pub fn inherit(maker: Task<Typed>, child: Task<Typed>) -> u32 {
    try_inherit(maker, child).unwrap_or(0)
}

#[inline(always)]
fn try_inherit(maker: Task<Typed>, child: Task<Typed>) -> Option<u32> {
    let makers_id = maker.tgid()?;
    // SAFETY: the value is copied at once.
    let found = *unsafe { maps::TAGS.get(makers_id) }?;
    if !found.is_of(maker.group_leader()?.start_boot_ns()?) {
        remove(makers_id);
        emit::count(Family::Process, Counter::Stale);
        return None;
    }
    let inherited = ProcessTag { start_boot_ns: child.start_boot_ns()?, tag: found.tag, reserved: 0 };
    if maps::TAGS.insert(child.tgid()?, inherited, 0).is_err() {
        emit::count(Family::Process, Counter::MapFull);
        return None;
    }
    Some(found.tag)
}

/// A process has ended.
#[inline(always)]
pub fn remove(tgid: u32) {
    // To look first is cheaper: a removal takes a lock, for what is not there too.
    // SAFETY: nothing is read.
    if unsafe { maps::TAGS.get(tgid) }.is_some() {
        let _ = maps::TAGS.remove(tgid);
    }
}
