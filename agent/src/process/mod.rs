//! Processes: who is behind an act.
//!
//! [`ProcessTable`] keeps every process by (pid, start time), so that a reused pid is another process. It is seeded
//! from /proc once ([`inventory`]) and from then on kept by fork, exec and exit records alone: nothing is read from
//! /proc when an act arrives. Arguments are redacted before they are kept ([`Redactor`]).

pub mod cgroups;
pub mod counters;
mod entries;
mod image;
pub mod inventory;
pub mod program;
pub mod redact;
pub mod scripts;
pub mod table;
mod versions;

#[cfg(test)]
mod model_test;
#[cfg(test)]
mod table_test;

pub use counters::ProcessCounters;
pub use entries::{Asked, Limits};
pub use table::ProcessTable;

use std::fmt::Debug;
use std::sync::Arc;

use crate::model::bytes::RawBytes;
use crate::model::process::{AgentRole, LoginState, Process};
use crate::model::program::AgentCopy;
use program::Program;

/// Replaces secrets in a command line. It returns as many arguments as it is given.
pub type Redactor = fn(&[RawBytes]) -> Vec<RawBytes>;

/// Says what a process is to an AI agent.
pub trait Roles: Debug + Send {
    /// What `process` is from an exec on, by which it runs `program`, and which was `before` until then. Pure.
    fn at_exec(
        &self,
        process: &Process,
        program: &Program,
        before: Option<&Arc<AgentRole>>,
    ) -> Option<Arc<AgentRole>>;

    /// Takes that a file is a copy of an agent's program.
    fn learn_copy(&mut self, copy: &AgentCopy);

    /// Copies that were forgotten because there were too many.
    fn copies_evicted(&self) -> u64;
}

/// Says what a process is to logins.
pub trait Logins: Debug + Send {
    /// What `process` is from an exec on, or as it was found running, where it, or who made it, was `before` until then.
    /// Pure.
    fn at_exec(&self, process: &Process, before: &LoginState) -> LoginState;
}

/// No login is known.
#[derive(Debug)]
struct NoLogins;

impl Logins for NoLogins {
    fn at_exec(&self, _: &Process, _: &LoginState) -> LoginState {
        LoginState::default()
    }
}

/// There are no agents.
#[derive(Debug)]
struct NoRoles;

impl Roles for NoRoles {
    fn at_exec(&self, _: &Process, _: &Program, _: Option<&Arc<AgentRole>>) -> Option<Arc<AgentRole>> {
        None
    }

    fn learn_copy(&mut self, _: &AgentCopy) {}

    fn copies_evicted(&self) -> u64 {
        0
    }
}
