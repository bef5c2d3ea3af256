//! Who may use the rings that matter: whoever acts more often than is allowed is told of by the bulk ring instead.
//!
//! Account is kept of processes, of cgroups (a process that forks has no more; where version 1 names workloads, of a task's
//! cgroups in all hierarchies together), and of users other than root (who may have cgroups of their own). Of each account there is one number: the time until which its budget is spent, were it spent
//! evenly (the generic cell rate algorithm). It is kept in two cells of a table that has no keys, nothing to insert, to
//! delete or to fill up: the hash that chooses them is seeded, so that nobody can aim at another's. Two that share a cell
//! are told apart by the other cell; the smaller number counts, and neither is raised beyond it. Two processors that spend
//! at once may spend one act for two: the figures bound floods, they are no account of anything.

use agent_common::limits::{BUDGET_CELLS, Budget, CGROUP_BUDGET, PROCESS_BUDGET, USER_BUDGET};
use agent_common::rings::Ring;
use aya_ebpf::helpers::generated::{
    bpf_get_current_pid_tgid, bpf_get_current_uid_gid, bpf_ktime_get_boot_ns,
};

use crate::{current, maps};

const SECOND_NS: u64 = 1_000_000_000;

/// An account's level: where its cells begin, and what an act costs.
struct Level {
    first: u32,
    cost_ns: u64,
    at_once_ns: u64,
}

impl Level {
    const fn new(number: u32, Budget { a_second, at_once }: Budget) -> Self {
        let cost_ns = SECOND_NS / a_second;
        Self { first: number * BUDGET_CELLS, cost_ns, at_once_ns: at_once * cost_ns }
    }
}

const PROCESS: Level = Level::new(0, PROCESS_BUDGET);
const CGROUP: Level = Level::new(1, CGROUP_BUDGET);
const USER: Level = Level::new(2, USER_BUDGET);

/// Spends an act of whoever runs now; whether that was beyond the budget.
///
/// A function of its own for the sake of its callers' stack: `sys_exit` has none to spare on 6.1, which counts all of a
/// chain of calls.
#[inline(never)]
pub fn is_spent() -> bool {
    let Some(control) = maps::CONTROL.get(0) else { return false };
    let seed = control.seed;
    // SAFETY: no arguments.
    let (now, process, user) = unsafe {
        (bpf_ktime_get_boot_ns(), bpf_get_current_pid_tgid() >> 32, bpf_get_current_uid_gid() as u32)
    };
    if !spend(&PROCESS, process ^ seed, now) {
        return true;
    }
    if !spend(&CGROUP, current::cgroup_account() ^ seed, now) {
        return true;
    }
    user != 0 && !spend(&USER, u64::from(user) ^ seed, now)
}

/// The ring for an act of whoever runs now that belongs into `ring`.
#[inline(always)]
pub fn ring(ring: Ring) -> Ring {
    of(ring, is_spent())
}

/// The ring for what belongs into `ring`, where it is known already whether that is beyond the budget.
#[inline(always)]
pub fn of(ring: Ring, is_beyond: bool) -> Ring {
    if is_beyond { Ring::Bulk } else { ring }
}

#[inline(always)]
fn spend(level: &Level, seeded: u64, now: u64) -> bool {
    let hash = mixed(seeded);
    let cell = |bits: u64| maps::BUDGETS.get_ptr_mut(level.first + (bits as u32 & (BUDGET_CELLS - 1)));
    let (Some(one), Some(other)) = (cell(hash), cell(hash >> 32)) else { return true };
    // SAFETY: the table is never freed while the program runs. Races are as the module says.
    let (until_one, until_other) = unsafe { (one.read_volatile(), other.read_volatile()) };
    let until = if until_one < until_other { until_one } else { until_other };
    let from = if until > now { until } else { now };
    if from - now > level.at_once_ns {
        return false;
    }
    let until = from + level.cost_ns;
    // SAFETY: as above.
    unsafe {
        if until_one < until {
            one.write_volatile(until);
        }
        if until_other < until {
            other.write_volatile(until);
        }
    }
    true
}

/// The finalizer of `MurmurHash3`: each bit of the result depends on each bit of what is given.
#[inline(always)]
fn mixed(value: u64) -> u64 {
    let value = (value ^ (value >> 33)).wrapping_mul(0xff51_afd7_ed55_8ccd);
    let value = (value ^ (value >> 33)).wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    value ^ (value >> 33)
}
