//! The contract between the kernel programs (`agent-ebpf`) and userspace (`agent`).
//!
//! Everything here is `repr(C)` with fixed widths and no padding (asserted by `zerocopy`'s derives): no
//! `bool`, no Rust enum crosses the boundary. Numbers are in host byte order unless a name ends in `_be`.
#![no_std]

pub mod counters;
pub mod keys;
pub mod limits;
pub mod nesting;
pub mod offsets;
pub mod records;
pub mod rings;

/// Version of this contract. A recorded stream or a pinned map of another version is refused.
pub const CONTRACT_VERSION: u16 = 1;
