//! Runs that the kernel skipped.
//!
//! A program that was preempted on a CPU while it ran is not begun again there until it has ended
//! (`kernel/bpf/trampoline.c`, `bpf_trace_run`): what calls its hook meanwhile is not seen. That happens on kernels that
//! preempt the kernel (`preempt=full`) to whatever runs in a process, and everywhere to what interrupts run. The kernel keeps
//! count, since 5.12.
//!
//! What is told by twins ([`TWINS`]) is lost only where both were kept from it, by one interruption within another. Hooks of
//! tracepoints cannot be preempted (`include/linux/tracepoint.h`) and soft interrupts do not nest, but on kernels for real
//! time (`PREEMPT_RT`) they can and do.
//!
//! aya was looked at: its `ProgramInfo` does not give this count. `/proc/self/fdinfo` does (`bpf_prog_show_fdinfo`).

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::os::fd::{AsFd, AsRawFd};

use aya::Ebpf;
use aya::programs::ProgramFd;
use rustix::system::uname;

use super::hooks::TWINS;

/// How many runs the kernel skipped whose acts nothing else has told: of all programs that are loaded together, at most.
///
/// # Errors
/// Where the kernel does not say.
pub(super) fn runs_skipped(ebpf: &Ebpf) -> io::Result<u64> {
    let mut of_programs = BTreeMap::new();
    for (name, program) in ebpf.programs() {
        // Not loaded: another serves in its place.
        let Ok(descriptor) = program.fd() else { continue };
        of_programs.insert(name, recursion_misses(descriptor)?);
    }
    let is_real_time = uname().version().to_string_lossy().contains("PREEMPT_RT");
    Ok(untold(of_programs, is_real_time))
}

/// Of the runs that were skipped of each program, those that no twin can have made up for.
fn untold(mut of_programs: BTreeMap<&str, u64>, is_real_time: bool) -> u64 {
    for (one, other) in TWINS {
        if let (Some(&of_one), Some(&of_other)) = (of_programs.get(one), of_programs.get(other)) {
            of_programs.remove(other);
            of_programs.insert(one, if is_real_time { of_one.min(of_other) } else { 0 });
        }
    }
    of_programs.into_values().fold(0, u64::saturating_add)
}

/// How often a program was not run. Before 5.12 the kernel does not say, and skips none.
fn recursion_misses(program: &ProgramFd) -> io::Result<u64> {
    let text = fs::read_to_string(format!("/proc/self/fdinfo/{}", program.as_fd().as_raw_fd()))?;
    let line = text.lines().find_map(|line| line.strip_prefix("recursion_misses:"));
    line.map_or(Ok(0), |number| number.trim().parse().map_err(io::Error::other))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn skipped(of_twins: (u64, u64), of_other: u64) -> BTreeMap<&'static str, u64> {
        let (one, other) = TWINS[0];
        BTreeMap::from([(one, of_twins.0), (other, of_twins.1), ("open", of_other)])
    }

    #[test]
    fn what_a_twin_has_told_is_not_lost() {
        assert_eq!(untold(skipped((7, 5), 2), false), 2);
        assert_eq!(untold(skipped((7, 0), 0), true), 0);
    }

    #[test]
    fn on_a_kernel_for_real_time_both_may_have_been_kept_from_it() {
        assert_eq!(untold(skipped((7, 5), 2), true), 7);
    }

    #[test]
    fn a_program_without_its_twin_is_counted() {
        assert_eq!(untold(BTreeMap::from([(TWINS[0].0, 3)]), false), 3);
    }
}
