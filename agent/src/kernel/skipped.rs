//! Runs that the kernel skipped.
//!
//! A program that was preempted on a CPU while it ran is not begun again there until it has ended
//! (`kernel/bpf/trampoline.c`, `bpf_trace_run`): what calls its hook meanwhile is not seen. That happens on kernels that
//! preempt the kernel (`preempt=full`), and the kernel keeps count, since 5.12.
//!
//! aya was looked at: its `ProgramInfo` does not give this count.

use std::io;
use std::os::fd::{AsFd, AsRawFd};

use aya::Ebpf;

/// Command of `bpf(2)` (`include/uapi/linux/bpf.h`).
const BPF_OBJ_GET_INFO_BY_FD: libc::c_long = 15;

/// `bpf_attr` of `BPF_OBJ_GET_INFO_BY_FD`.
#[repr(C)]
struct InfoByFd {
    descriptor: u32,
    length: u32,
    info: u64,
}

/// `struct bpf_prog_info` up to the count. An older kernel fills less of it, and leaves zero.
#[repr(C)]
struct ProgramInfo {
    other: [u64; 26],
    recursion_misses: u64,
}

/// How often the programs that are loaded were not run, all together.
///
/// # Errors
/// Where the kernel does not say.
pub(super) fn runs_skipped(ebpf: &Ebpf) -> io::Result<u64> {
    let mut skipped = 0_u64;
    for (_, program) in ebpf.programs() {
        // Not loaded: another serves in its place.
        let Ok(descriptor) = program.fd() else { continue };
        let descriptor = descriptor.as_fd().as_raw_fd().cast_unsigned();
        skipped = skipped.saturating_add(info(descriptor)?.recursion_misses);
    }
    Ok(skipped)
}

fn info(descriptor: u32) -> io::Result<ProgramInfo> {
    let mut info = ProgramInfo { other: [0; 26], recursion_misses: 0 };
    let attr = InfoByFd { descriptor, length: size_of::<ProgramInfo>() as u32, info: (&raw mut info) as u64 };
    // SAFETY: both structures are laid out as the command asks, have the lengths that are named, and outlive the call.
    let done = unsafe {
        libc::syscall(libc::SYS_bpf, BPF_OBJ_GET_INFO_BY_FD, &raw const attr, size_of::<InfoByFd>())
    };
    if done == 0 { Ok(info) } else { Err(io::Error::last_os_error()) }
}
