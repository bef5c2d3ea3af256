//! One file a hook family.

mod cgroup;
mod change;
mod connect;
mod datagram;
mod descriptor;
pub mod file;
mod held_socket;
mod key;
mod listener;
mod memory;
mod names;
mod number;
mod outcome;
mod process;
mod raw_socket;
mod refused;
mod sys_exit;
mod traffic;
mod unix;

#[allow(unused_imports, reason = "kernel_5_10 alone steps by itself")]
pub use descriptor::{Scan, ScanAt, next_open};

/// The walk over an environment, for whoever repeats its steps.
pub mod environment {
    #[allow(unused_imports, reason = "as above")]
    pub use super::process::{Scratch, next_variable};
}
