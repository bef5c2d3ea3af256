//! Numbers of system calls.

#[cfg(bpf_target_arch = "x86_64")]
mod table {
    pub const OPEN: u64 = 2;
    pub const IOCTL: u64 = 16;
    pub const SOCKET: u64 = 41;
    pub const CONNECT: u64 = 42;
    pub const EXECVE: u64 = 59;
    pub const CREAT: u64 = 85;
    pub const FCHMOD: u64 = 91;
    pub const FCHOWN: u64 = 93;
    pub const OPENAT: u64 = 257;
    pub const OPEN_BY_HANDLE_AT: u64 = 304;
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
    pub const EXECVE: u64 = 221;
    pub const CREAT: u64 = u64::MAX - 1;
    pub const FCHMOD: u64 = 52;
    pub const FCHOWN: u64 = 55;
    pub const OPENAT: u64 = 56;
    pub const OPEN_BY_HANDLE_AT: u64 = 265;
    pub const EXECVEAT: u64 = 281;
    pub const OPENAT2: u64 = 437;
}

pub use table::*;

/// Whether a call opens what a path names.
#[inline(always)]
pub fn opens_path(call: u64) -> bool {
    call == OPENAT || call == OPEN || call == OPENAT2 || call == CREAT
}
