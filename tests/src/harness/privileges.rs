//! Processes with less than root has.

use std::io;
use std::os::unix::process::CommandExt;
use std::process::Command;

use rustix::process::{Resource, Rlimit, Uid, setrlimit};
use rustix::system::uname;
use rustix::thread::{self, CapabilitySet, CapabilitySets};

use crate::outcome::{Outcome, failed};

/// What the service unit and the DaemonSet give, and no more.
pub(crate) const OF_THE_SERVICE: CapabilitySet = CapabilitySet::BPF
    .union(CapabilitySet::PERFMON)
    .union(CapabilitySet::NET_ADMIN)
    .union(CapabilitySet::SYS_PTRACE)
    .union(CapabilitySet::DAC_READ_SEARCH);

/// Whom nothing belongs to.
pub(crate) const NOBODY: u32 = 65_534;

/// The highest number that a capability may have: they are 64 bits.
const BITS: u32 = 64;

fn each(set: CapabilitySet) -> impl Iterator<Item = CapabilitySet> {
    (0..BITS).map(|bit| CapabilitySet::from_bits_retain(1 << bit)).filter(move |one| set.contains(*one))
}

/// What is not in the bounding set, an exec does not give.
fn bound(away: CapabilitySet) -> io::Result<()> {
    each(away).try_for_each(|one| match thread::remove_capability_from_bounding_set(one) {
        // A number that this kernel does not know.
        Err(rustix::io::Errno::INVAL) => Ok(()),
        done => Ok(done?),
    })
}

/// Has the command run as root without these.
pub(crate) fn without(command: &mut Command, away: CapabilitySet) {
    // SAFETY: system calls on numbers alone; nothing is allocated.
    unsafe { command.pre_exec(move || bound(away)) };
}

/// Has the command run as a user of its own with these and nothing else, as a service manager starts it.
pub(crate) fn as_service(command: &mut Command, held: CapabilitySet) {
    let sets = CapabilitySets { effective: held, permitted: held, inheritable: held };
    let start = move || {
        bound(CapabilitySet::from_bits_retain(!held.bits()))?;
        thread::set_keep_capabilities(true)?;
        thread::set_thread_groups(&[])?;
        thread::set_thread_gid(rustix::process::Gid::from_raw(NOBODY))?;
        thread::set_thread_uid(Uid::from_raw(NOBODY))?;
        thread::set_capabilities(None, sets)?;
        each(held).try_for_each(|one| thread::configure_capability_in_ambient_set(one, true))?;
        Ok(())
    };
    // SAFETY: system calls on numbers alone; nothing is allocated.
    unsafe { command.pre_exec(start) };
}

/// Lifts the limit of locked memory, as the service unit does, where maps are charged to it. Elsewhere it may stay as it
/// is, and root in a container may not lift it.
pub(crate) fn with_locked_memory(command: &mut Command) -> Outcome {
    if charges_maps()? {
        let unlimited = Rlimit { current: None, maximum: None };
        // SAFETY: one system call; nothing is allocated.
        unsafe { command.pre_exec(move || Ok(setrlimit(Resource::Memlock, unlimited)?)) };
    }
    Ok(())
}

/// Has the command run with a limit, soft and hard.
pub(crate) fn limit(command: &mut Command, resource: Resource, soft: u64, hard: u64) {
    let limit = Rlimit { current: Some(soft), maximum: Some(hard) };
    // SAFETY: one system call; nothing is allocated.
    unsafe { command.pre_exec(move || Ok(setrlimit(resource, limit)?)) };
}

/// Whether the kernel charges maps to the limit of locked memory: before Linux 5.11.
pub(crate) fn charges_maps() -> Outcome<bool> {
    let names = uname();
    let release = names.release().to_string_lossy();
    let mut numbers = release.split(|c: char| !c.is_ascii_digit()).map_while(|number| number.parse().ok());
    match (numbers.next(), numbers.next()) {
        (Some(major), Some(minor)) => Ok((major, minor) < (5_u32, 11_u32)),
        _ => failed(format!("a kernel's release begins with two numbers: {release}")),
    }
}
