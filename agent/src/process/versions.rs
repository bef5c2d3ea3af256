//! What a process ran, and when: a short history, so that an act told late still names the image of its time.

use std::sync::Arc;

use crate::model::process::{AgentRole, LoginState, Origin, Process};
use crate::model::time::BootTime;

/// Images of one process kept at once: fork, a wrapper or two that exec on, and what they end in.
const KEPT: usize = 4;

/// How late an act may be told and still find an image that was replaced since. Records of different CPUs and rings
/// arrive milliseconds apart; the rest is for a reader that was held up.
const LATE_NS: u64 = 5_000_000_000;

/// Images of one process, newest first; never empty.
#[derive(Debug)]
pub(super) struct Versions {
    current: Arc<Process>,
    earlier: Vec<Arc<Process>>,
}

impl Versions {
    pub(super) fn new(process: Arc<Process>) -> Self {
        Self { current: process, earlier: Vec::new() }
    }

    /// The newest.
    pub(super) fn current(&self) -> &Arc<Process> {
        &self.current
    }

    /// All, newest first.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Arc<Process>> {
        std::iter::once(&self.current).chain(&self.earlier)
    }

    /// The one of a time; the oldest known where the time is before all.
    pub(super) fn at(&self, time: BootTime) -> &Arc<Process> {
        self.iter()
            .find(|process| process.since <= time)
            .unwrap_or(self.earlier.last().unwrap_or(&self.current))
    }

    /// Puts one in its place by time; on a tie it is the newer.
    pub(super) fn insert(&mut self, process: Arc<Process>) {
        if self.current.since <= process.since {
            self.earlier.insert(0, std::mem::replace(&mut self.current, process));
        } else {
            let place = self.earlier.partition_point(|other| other.since > process.since);
            self.earlier.insert(place, process);
        }
        self.earlier.truncate(KEPT - 1);
    }

    /// Drops those that `keep` refuses; if it refuses all, the newest stays.
    pub(super) fn retain(&mut self, keep: impl Fn(&Process) -> bool) {
        self.earlier.retain(|process| keep(process));
        if !keep(&self.current) && !self.earlier.is_empty() {
            self.current = self.earlier.remove(0);
        }
    }

    /// Puts another in the place of the newest, if that is `before` still; whether it was.
    pub(super) fn replace_current(&mut self, before: &Arc<Process>, by: &Arc<Process>) -> bool {
        let is_it = Arc::ptr_eq(&self.current, before);
        if is_it {
            self.current = by.clone();
        }
        is_it
    }

    /// Changes each; their order by time must stay.
    pub(super) fn update(&mut self, change: impl Fn(&mut Process)) {
        for process in std::iter::once(&mut self.current).chain(&mut self.earlier) {
            change(Arc::make_mut(process));
        }
    }

    /// Says what each is to an agent and to logins, oldest first; whether that changed.
    pub(super) fn update_inherited(
        &mut self,
        mut inherited: impl FnMut(&Process) -> (Option<Arc<AgentRole>>, LoginState),
    ) -> bool {
        let mut changed = false;
        for process in self.earlier.iter_mut().rev().chain(std::iter::once(&mut self.current)) {
            let (role, login) = inherited(process);
            if process.role != role || process.login != login {
                let process = Arc::make_mut(process);
                (process.role, process.login) = (role, login);
                changed = true;
            }
        }
        changed
    }

    /// Forgets what no act that is told now can mean.
    pub(super) fn forget(&mut self, now: BootTime) {
        let mut replaced = self.current.since;
        self.earlier.retain(|process| {
            let keep = now.since_ns(replaced) <= LATE_NS;
            replaced = process.since;
            keep
        });
    }

    /// Whether any was seen to be forked or executed.
    pub(super) fn fork_seen(&self) -> bool {
        self.iter().any(|process| process.origin == Origin::Observed && process.exec_count == 0)
    }
}
