//! One file a hook family.

mod change;
mod connect;
mod datagram;
mod descriptor;
pub mod file;
mod held_socket;
mod key;
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

pub use descriptor::Scan;
