//! Processes with less than root has.

use std::io;
use std::os::unix::process::CommandExt;
use std::process::Command;

/// Capabilities by their numbers (linux/capability.h).
pub(crate) const NET_ADMIN: u32 = 12;
/// See [`NET_ADMIN`].
pub(crate) const SYS_ADMIN: u32 = 21;
/// See [`NET_ADMIN`].
pub(crate) const PERFMON: u32 = 38;
/// See [`NET_ADMIN`].
pub(crate) const BPF: u32 = 39;

/// Has the command run as root without these: what is not in the bounding set, an exec does not give.
pub(crate) fn without(command: &mut Command, capabilities: &[u32]) {
    let capabilities = capabilities.to_vec();
    let drop = move || {
        for capability in &capabilities {
            // SAFETY: a system call on numbers.
            if unsafe { libc::prctl(libc::PR_CAPBSET_DROP, *capability, 0, 0, 0) } != 0 {
                return Err(io::Error::last_os_error());
            }
        }
        Ok(())
    };
    // SAFETY: system calls alone; nothing is allocated.
    unsafe { command.pre_exec(drop) };
}
