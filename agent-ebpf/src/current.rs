//! Who acts now.

use agent_common::limits::COMM_BYTES;
use agent_common::records::Actor;
use aya_ebpf::helpers::generated::{bpf_get_current_cgroup_id, bpf_get_current_comm};

use crate::kstruct::{Access, Probed, Task, Typed, cgroup_hierarchy};
use crate::{generation, maps};

/// Whether the running process, whose number that is, is not told of: it is the agent itself (it would report on its
/// reporting), or another generation of programs tells of it.
#[inline(always)]
pub fn is_passed_over(tgid: u32) -> bool {
    let is_own =
        maps::CONTROL.get(0).is_some_and(|control| control.own_tgid != 0 && control.own_tgid == tgid);
    is_own || !generation::serves(tgid)
}

/// The agent is gone: its number may be another's soon.
#[inline(always)]
pub fn ended(tgid: u32) {
    if let Some(control) = maps::CONTROL.get_ptr_mut(0) {
        // SAFETY: the map's memory outlives the program.
        unsafe {
            if (*control).own_tgid == tgid {
                (*control).own_tgid = 0;
            }
        }
    }
}

/// Fills `actor` from the running task. `None` where a field that makes up a process's key cannot be read: a record
/// without it would name nobody.
#[inline(always)]
pub fn fill(actor: &mut Actor) -> Option<()> {
    fill_from(actor, Task::<Typed>::current())
}

/// Fills `actor` from `task`, which must be the running one: cgroup and name are asked of the kernel.
#[inline(always)]
pub fn fill_from<A: Access>(actor: &mut Actor, task: Task<A>) -> Option<()> {
    fields(actor, task)?;
    actor.cgroup_id = cgroup_of(task);
    // SAFETY: the buffer has the length that is named; a failure leaves it zeroed.
    unsafe { bpf_get_current_comm(actor.comm.as_mut_ptr().cast(), COMM_BYTES as u32) };
    Some(())
}

/// What tells the running task's cgroup from others while it is there: its id, and where a hierarchy of version 1 names
/// workloads the address of the set of its cgroups, which costs no walk. 0 where it cannot be read.
#[inline(always)]
pub fn cgroup_account() -> u64 {
    if cgroup_hierarchy() == 0 {
        // SAFETY: no arguments.
        return unsafe { bpf_get_current_cgroup_id() };
    }
    // Probed: with an address whose type it knows the verifier lets nobody calculate.
    Task::<Probed>::from_raw(Task::<Typed>::current().raw()).cgroup_set().unwrap_or(0)
}

/// Id of a task's cgroup in the hierarchy that names workloads. The task must be the running one: the kernel is asked where
/// it tells. 0 where it cannot be read.
#[inline(always)]
fn cgroup_of<A: Access>(task: Task<A>) -> u64 {
    if cgroup_hierarchy() == 0 {
        // SAFETY: no arguments.
        return unsafe { bpf_get_current_cgroup_id() };
    }
    task.cgroup_id().unwrap_or(0)
}

/// Fills `actor` from any task.
#[inline(always)]
pub fn fill_other<A: Access>(actor: &mut Actor, task: Task<A>) -> Option<()> {
    fields(actor, task)?;
    actor.cgroup_id = task.cgroup_id().unwrap_or(0);
    actor.comm = task.name().unwrap_or([0; COMM_BYTES]);
    Some(())
}

/// Fills all but cgroup and name, which are left empty.
#[inline(always)]
fn fields<A: Access>(actor: &mut Actor, task: Task<A>) -> Option<()> {
    let leader = task.group_leader()?;
    let cred = task.cred()?;
    let namespaces = task.ns_proxy()?;
    *actor = Actor {
        start_boot_ns: leader.start_boot_ns()?,
        cgroup_id: 0,
        capabilities: cred.capabilities()?,
        tgid: task.tgid()?,
        tid: task.pid()?,
        uid: cred.uid()?,
        gid: cred.gid()?,
        euid: cred.euid()?,
        egid: cred.egid()?,
        login_uid: task.login_uid().unwrap_or(u32::MAX),
        session_id: task.session_id().unwrap_or(u32::MAX),
        mount_namespace: namespaces.mount().unwrap_or(0),
        network_namespace: namespaces.network().unwrap_or(0),
        pid_namespace: namespaces.pid().unwrap_or(0),
        user_namespace: cred.user_namespace().unwrap_or(0),
        comm: [0; COMM_BYTES],
    };
    Some(())
}
