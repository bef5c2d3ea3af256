//! One file a hook family.

mod connect;
mod datagram;
pub mod file;
mod outcome;
mod process;
mod sys_exit;
mod traffic;
