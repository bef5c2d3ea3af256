//! Numbers of system calls.

use core::ptr::read_volatile;

#[cfg(bpf_target_arch = "x86_64")]
mod table {
    pub const OPEN: u64 = 2;
    pub const IOCTL: u64 = 16;
    pub const SOCKET: u64 = 41;
    pub const CONNECT: u64 = 42;
    pub const RECVMSG: u64 = 47;
    pub const EXECVE: u64 = 59;
    pub const CREAT: u64 = 85;
    pub const PTRACE: u64 = 101;
    pub const FCHMOD: u64 = 91;
    pub const FCHOWN: u64 = 93;
    pub const KEYCTL: u64 = 250;
    pub const OPENAT: u64 = 257;
    pub const RECVMMSG: u64 = 299;
    pub const OPEN_BY_HANDLE_AT: u64 = 304;
    pub const VM_READ: u64 = 310;
    pub const VM_WRITE: u64 = 311;
    pub const EXECVEAT: u64 = 322;
    pub const OPENAT2: u64 = 437;
}

/// arm64 has neither `open` nor `creat`: their numbers stand for calls that do not exist.
#[cfg(not(bpf_target_arch = "x86_64"))]
mod table {
    pub const OPEN: u64 = u64::MAX;
    pub const IOCTL: u64 = 29;
    pub const SOCKET: u64 = 198;
    pub const CONNECT: u64 = 203;
    pub const RECVMSG: u64 = 212;
    pub const RECVMMSG: u64 = 243;
    pub const EXECVE: u64 = 221;
    pub const CREAT: u64 = u64::MAX - 1;
    pub const FCHMOD: u64 = 52;
    pub const FCHOWN: u64 = 55;
    pub const PTRACE: u64 = 117;
    pub const KEYCTL: u64 = 219;
    pub const VM_READ: u64 = 270;
    pub const VM_WRITE: u64 = 271;
    pub const OPENAT: u64 = 56;
    pub const OPEN_BY_HANDLE_AT: u64 = 265;
    pub const EXECVEAT: u64 = 281;
    pub const OPENAT2: u64 = 437;
}

/// Of 32-bit programs.
#[cfg(bpf_target_arch = "x86_64")]
pub mod compatible {
    pub const PTRACE: u64 = 26;
    pub const VM_READ: u64 = 347;
    pub const VM_WRITE: u64 = 348;
}

/// Of 32-bit programs.
#[cfg(not(bpf_target_arch = "x86_64"))]
pub mod compatible {
    pub const PTRACE: u64 = 26;
    pub const VM_READ: u64 = 376;
    pub const VM_WRITE: u64 = 377;
}

pub use table::*;

/// The same everywhere.
pub const PIDFD_GETFD: u64 = 438;

/// Whether the exit of a call says anything that is told where the kernel has no trampolines. Every call pays for this
/// look, and one load costs the same however many calls there are.
#[inline(always)]
pub fn is_watched(call: u64) -> bool {
    // SAFETY: a reference is valid; volatile, because the compiler would make of a table that it knows as many
    // comparisons as there are calls in it.
    call < CALLS && unsafe { read_volatile(&raw const WATCHED[(call >> 6) as usize]) } >> (call & 63) & 1 != 0
}

/// Numbers below this may be watched: the newest calls are below 512 too.
const CALLS: u64 = 512;

/// A bit for each call that is watched.
static WATCHED: [u64; (CALLS / 64) as usize] = {
    let calls = [
        OPEN,
        OPENAT,
        OPENAT2,
        CREAT,
        OPEN_BY_HANDLE_AT,
        IOCTL,
        SOCKET,
        CONNECT,
        FCHMOD,
        FCHOWN,
        PTRACE,
        VM_READ,
        VM_WRITE,
        KEYCTL,
        RECVMSG,
        RECVMMSG,
        PIDFD_GETFD,
    ];
    let mut bits = [0; (CALLS / 64) as usize];
    let mut at = 0;
    while at < calls.len() {
        if calls[at] < CALLS {
            bits[(calls[at] >> 6) as usize] |= 1 << (calls[at] & 63);
        }
        at += 1;
    }
    bits
};

/// Whether a call opens what a path names.
#[inline(always)]
pub fn opens_path(call: u64) -> bool {
    call == OPENAT || call == OPEN || call == OPENAT2 || call == CREAT
}
