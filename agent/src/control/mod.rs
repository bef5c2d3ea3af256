//! The control socket: what `telltale who` and other commands ask the running agent.
//!
//! HTTP over a unix socket (`/run/telltale/control.sock`), so that `curl --unix-socket` can ask too. Who may connect is the
//! socket file's matter (its owner, root, and the group of the agent); who may change something is decided by the peer's
//! uid, which the kernel tells: root and the agent's own user. What others may do is read.

pub mod api;
pub mod client;
pub mod server;

#[cfg(test)]
mod tests;

use std::env;
use std::path::PathBuf;

/// Where the agent keeps its lock and its socket, unless systemd names another directory.
const DIRECTORY: &str = "/run/telltale";
/// The socket's name there.
const SOCKET: &str = "control.sock";

/// The directory of what a running agent has: `RUNTIME_DIRECTORY`, as systemd sets it, or `/run/telltale`.
pub fn runtime_directory() -> PathBuf {
    env::var_os("RUNTIME_DIRECTORY").map_or_else(|| PathBuf::from(DIRECTORY), PathBuf::from)
}

/// The control socket of the agent of this host.
pub fn socket() -> PathBuf {
    runtime_directory().join(SOCKET)
}
