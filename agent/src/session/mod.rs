//! Sessions: what a process is of, for as long as that lasts. Each has a number, its *tag*, by which the kernel's programs
//! know what is of it: a child has its maker's from its fork on.
//!
//! [`Tags`] says which process is to have which tag, and [`crate::kernel`] sets it. The kernel may be ahead (a child was made
//! before its maker's tag was set), and the process table may lag behind (the record of a fork was lost): each is mended by
//! what the other knows.

mod tags;
#[cfg(test)]
mod tests;

pub use tags::{Tag, TagCounters, TagNews, Tags};

use std::sync::Arc;

use agent_common::keys::START_TICK_NS;

use crate::attribute::place::{ContainerName, Place};
use crate::model::process::{AgentPart, AgentRole, CiJob, Login, Process};

/// [`Session::kind`] of agents.
const AGENT: u32 = 1;
/// Bits of a number that are for the kind of session.
const KIND_BITS: u32 = 3;

/// The kind of session that a number is of; 0 of none.
const fn kind_of(number: u32) -> u32 {
    number & ((1 << KIND_BITS) - 1)
}

/// What a process is of, most specific first.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Session {
    /// One run of an AI agent, or what a server of it that speaks MCP runs.
    Agent {
        /// Pid of the process that began it.
        root: u32,
        /// When that began, in ticks of /proc: it may be known no better.
        start_tick: u64,
        /// Which server.
        server: Option<Arc<str>>,
    },
    /// A container.
    Container(ContainerName),
    /// A job of a build system.
    Build(Arc<CiJob>),
    /// A unit of the system's service manager, over all of its starts.
    Unit(Arc<[u8]>),
    /// A login, or a job of cron, anacron or at.
    Login(Arc<Login>),
    /// An audit session of which no login is known.
    Audit {
        /// Login uid.
        uid: u32,
        /// The kernel's number.
        number: u32,
    },
}

impl Session {
    /// Of which session `process` is; `None`: of none, as what the host starts before its service manager.
    pub fn of(process: &Process, place: &Place) -> Option<Self> {
        if let Some(role) = &process.role {
            return Some(Self::of_agent(role));
        }
        if let Some(container) = &place.container {
            return Some(Self::Container(container.clone()));
        }
        if let Some(job) = &process.login.ci {
            return Some(Self::Build(job.clone()));
        }
        let login = process.login.login.as_ref();
        if let Some(login) = login.filter(|login| login.job.is_some()) {
            return Some(Self::Login(login.clone()));
        }
        if let Some(unit) = &place.unit {
            return Some(Self::Unit(unit.clone()));
        }
        if let Some(login) = login {
            return Some(Self::Login(login.clone()));
        }
        let ids = &process.ids;
        Some(Self::Audit { uid: ids.login_uid?, number: ids.session_id? })
    }

    /// The kind of session, which stands in the lowest bits of its number: so a number that an earlier agent gave still says
    /// that much.
    const fn kind(&self) -> u32 {
        match self {
            Self::Agent { .. } => AGENT,
            Self::Container(_) => 2,
            Self::Build(_) => 3,
            Self::Unit(_) => 4,
            Self::Login(_) => 5,
            Self::Audit { .. } => 6,
        }
    }

    fn of_agent(role: &AgentRole) -> Self {
        let server = match &role.part {
            AgentPart::Agent | AgentPart::Tool => None,
            AgentPart::McpServer { server } | AgentPart::McpTool { server } => Some(server.clone()),
        };
        let root = role.session.root;
        Self::Agent { root: root.pid, start_tick: root.start.ns / START_TICK_NS, server }
    }
}
