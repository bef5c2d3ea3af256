//! One file a hook family.

mod connect;
mod datagram;
pub mod file;
mod names;
mod outcome;
mod process;
mod raw_socket;
mod sys_exit;
mod traffic;
mod unix;
