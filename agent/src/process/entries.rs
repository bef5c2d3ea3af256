//! Where processes are kept, and for how long.
//!
//! - A *running* process stays. Above [`Limits::live`] a sixteenth of them goes at once: those without known
//!   children first, of these the ones that no record has named for longest (whose exit was lost, most likely).
//! - An *ended* process without kept children stays for [`Limits::ended_for_ns`], and above [`Limits::ended`] the
//!   earliest ended goes first.
//! - An *ended* process with kept children is an ancestor in their lineage and stays as long as they do; above
//!   [`Limits::ancestors`] the earliest ended goes first.
//!
//! A process that was dropped and acts again is known by that record alone.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use super::ProcessCounters;
use super::versions::Versions;
use crate::model::process::{Process, ProcessKey};
use crate::model::time::BootTime;

/// Bounds of a process table.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Running processes.
    pub live: usize,
    /// Ended processes without kept children.
    pub ended: usize,
    /// Ended processes with kept children.
    pub ancestors: usize,
    /// How long an ended process without kept children is kept, in ns.
    pub ended_for_ns: u64,
}

impl Default for Limits {
    /// 50,000 running processes are beyond what one host's scheduler bears, and fit the hard memory cap. Ended ones
    /// are for acts told late (milliseconds) and for what a user asks about just after; a shell script starts a few
    /// thousand a minute.
    fn default() -> Self {
        Self { live: 50_000, ended: 8_192, ancestors: 8_192, ended_for_ns: 60_000_000_000 }
    }
}

/// Whether the kernel is asked for a process's tag.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asked {
    /// There is no need to, or not yet.
    No,
    /// It is to be asked now.
    Now,
    /// It was, and has not answered.
    Waits,
    /// It has answered.
    Answered,
}

/// A process and what the table needs to know of it.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) versions: Versions,
    /// The process that made it, as it was then.
    pub(super) parent: Option<Arc<Process>>,
    /// The newest record that named it.
    pub(super) last_seen: BootTime,
    pub(super) ended: Option<BootTime>,
    /// When /proc was read, for a seeded process.
    pub(super) read_at: Option<BootTime>,
    /// Whether the start in its key is only exact to a clock tick.
    pub(super) coarse: bool,
    /// The key it had while that was so.
    alias: Option<ProcessKey>,
    /// The tag that it has in the kernel, as far as is known; 0: none.
    pub(super) tag: u32,
    /// The latest act in the cgroup that it was moved to without executing anything.
    pub(super) moved_at: BootTime,
    /// Whether the kernel was told so by the agent.
    pub(super) was_told: bool,
    /// Whether the kernel is asked for it.
    pub(super) asked: Asked,
    /// The entry whose `children` counts this one.
    held_parent: Option<ProcessKey>,
    children: u32,
}

impl Entry {
    pub(super) fn new(process: Process, parent: Option<Arc<Process>>) -> Self {
        Self {
            last_seen: process.since,
            versions: Versions::new(Arc::new(process)),
            parent,
            ended: None,
            read_at: None,
            coarse: false,
            alias: None,
            tag: 0,
            moved_at: BootTime::default(),
            was_told: false,
            asked: Asked::No,
            held_parent: None,
            children: 0,
        }
    }

    /// Whether processes that it made are kept.
    pub(super) const fn has_children(&self) -> bool {
        self.children > 0
    }

    pub(super) fn key(&self) -> ProcessKey {
        self.versions.current().key
    }
}

/// All entries, by key.
#[derive(Debug)]
pub(super) struct Entries {
    limits: Limits,
    by_key: HashMap<ProcessKey, Entry>,
    /// The latest process of each pid.
    newest: HashMap<u32, ProcessKey>,
    /// From the coarse key of a seeded process to its exact one.
    aliases: HashMap<ProcessKey, ProcessKey>,
    /// Ended, no kept children; by end.
    leaves: BTreeSet<(BootTime, ProcessKey)>,
    /// Ended, with kept children; by end.
    ancestors: BTreeSet<(BootTime, ProcessKey)>,
}

impl Entries {
    pub(super) fn new(limits: Limits) -> Self {
        Self {
            limits,
            by_key: HashMap::new(),
            newest: HashMap::new(),
            aliases: HashMap::new(),
            leaves: BTreeSet::new(),
            ancestors: BTreeSet::new(),
        }
    }

    pub(super) fn get(&self, key: ProcessKey) -> Option<&Entry> {
        self.by_key.get(&self.exact(key))
    }

    pub(super) fn get_mut(&mut self, key: ProcessKey) -> Option<&mut Entry> {
        let key = self.exact(key);
        self.by_key.get_mut(&key)
    }

    /// The exact key of a seeded process, where it is known.
    pub(super) fn exact(&self, key: ProcessKey) -> ProcessKey {
        self.aliases.get(&key).copied().unwrap_or(key)
    }

    /// The latest process that has or had a pid.
    pub(super) fn newest(&self, pid: u32) -> Option<&Entry> {
        self.by_key.get(self.newest.get(&pid)?)
    }

    /// Entries of processes that have not ended.
    pub(super) fn running(&self) -> impl Iterator<Item = &Entry> {
        self.by_key.values().filter(|entry| entry.ended.is_none())
    }

    /// Entries of all processes.
    pub(super) fn all(&self) -> impl Iterator<Item = &Entry> {
        self.by_key.values()
    }

    pub(super) fn live(&self) -> usize {
        self.by_key.len() - self.ended()
    }

    pub(super) fn ended(&self) -> usize {
        self.leaves.len() + self.ancestors.len()
    }

    /// Adds a process that is not there. If its pid has a later owner it has ended; an earlier owner has too.
    pub(super) fn insert(&mut self, mut entry: Entry, counters: &mut ProcessCounters) {
        let key = entry.key();
        match self.newest(key.pid).map(|other| (other.key(), other.ended)) {
            Some((newer, _)) if newer.start > key.start => entry.ended = Some(newer.start),
            Some((older, None)) => {
                counters.exits_missed += 1;
                self.end(older, key.start);
            }
            _ => {}
        }
        if entry.ended.is_none() {
            if self.live() >= self.limits.live {
                self.evict_live(counters);
            }
            self.newest.insert(key.pid, key);
        }
        let parent = entry.parent.as_ref().map(|parent| parent.key);
        let ended = entry.ended;
        self.by_key.insert(key, entry);
        self.hold(key, parent);
        if let Some(at) = ended {
            self.leaves.insert((at, key));
            self.sweep(at, counters);
        }
    }

    /// Marks a process as ended; no change where it has.
    pub(super) fn end(&mut self, key: ProcessKey, at: BootTime) {
        let Some(entry) = self.get_mut(key).filter(|entry| entry.ended.is_none()) else { return };
        entry.ended = Some(at);
        let (key, children) = (entry.key(), entry.children);
        if children == 0 {
            self.leaves.insert((at, key))
        } else {
            self.ancestors.insert((at, key))
        };
    }

    /// Says who made a process, where that was not known or known worse.
    pub(super) fn set_parent(&mut self, key: ProcessKey, parent: Arc<Process>) {
        self.release(key);
        let parent_key = parent.key;
        if let Some(entry) = self.get_mut(key) {
            entry.versions.update(|process| process.parent = Some(parent_key));
            entry.parent = Some(parent);
        }
        self.hold(key, Some(parent_key));
    }

    /// Gives a seeded process its exact key.
    pub(super) fn rekey(&mut self, old: ProcessKey, new: ProcessKey) {
        let Some(mut entry) = self.by_key.remove(&old) else { return };
        entry.versions.update(|process| process.key = new);
        entry.coarse = false;
        if old != new {
            entry.alias = Some(old);
            self.aliases.insert(old, new);
        }
        if let Some(at) = entry.ended {
            let set = if entry.children == 0 { &mut self.leaves } else { &mut self.ancestors };
            set.remove(&(at, old));
            set.insert((at, new));
        }
        if self.newest.get(&old.pid) == Some(&old) {
            self.newest.insert(new.pid, new);
        }
        self.by_key.insert(new, entry);
    }

    /// Drops ended processes whose time is over, and those above the bounds.
    pub(super) fn sweep(&mut self, now: BootTime, counters: &mut ProcessCounters) {
        loop {
            // Without an ancestor, those above it may have no kept children any more: they are looked at again.
            if let Some(&(at, key)) = self.leaves.first() {
                let expired = now.since_ns(at) > self.limits.ended_for_ns;
                if expired || self.leaves.len() > self.limits.ended {
                    counters.evicted_ended += u64::from(!expired);
                    self.remove(key);
                    continue;
                }
            }
            match self.ancestors.first() {
                Some(&(_, key)) if self.ancestors.len() > self.limits.ancestors => {
                    counters.evicted_ancestors += 1;
                    self.remove(key);
                }
                _ => break,
            }
        }
    }

    fn evict_live(&mut self, counters: &mut ProcessCounters) {
        let mut order: Vec<_> = self
            .by_key
            .iter()
            .filter(|(_, entry)| entry.ended.is_none())
            .map(|(key, entry)| (entry.children > 0, entry.last_seen, *key))
            .collect();
        let count = (self.limits.live / 16).max(1).min(order.len());
        if count < order.len() {
            order.select_nth_unstable(count);
        }
        for (_, _, key) in order.into_iter().take(count) {
            counters.evicted_live += 1;
            self.remove(key);
        }
    }

    fn remove(&mut self, key: ProcessKey) {
        self.release(key);
        let Some(entry) = self.by_key.remove(&key) else { return };
        if let Some(at) = entry.ended {
            self.leaves.remove(&(at, key));
            self.ancestors.remove(&(at, key));
        }
        if let Some(alias) = entry.alias {
            self.aliases.remove(&alias);
        }
        if self.newest.get(&key.pid) == Some(&key) {
            self.newest.remove(&key.pid);
        }
    }

    /// Counts `child` among the children of its parent, where that is kept.
    fn hold(&mut self, child: ProcessKey, parent: Option<ProcessKey>) {
        let Some(parent) = parent.map(|parent| self.exact(parent)).filter(|parent| *parent != child) else {
            return;
        };
        let Some(entry) = self.by_key.get_mut(&parent) else { return };
        entry.children += 1;
        if let (Some(at), 1) = (entry.ended, entry.children) {
            self.leaves.remove(&(at, parent));
            self.ancestors.insert((at, parent));
        }
        if let Some(entry) = self.get_mut(child) {
            entry.held_parent = Some(parent);
        }
    }

    fn release(&mut self, child: ProcessKey) {
        let Some(parent) = self.get_mut(child).and_then(|entry| entry.held_parent.take()) else { return };
        let parent = self.exact(parent);
        let Some(entry) = self.by_key.get_mut(&parent) else { return };
        entry.children = entry.children.saturating_sub(1);
        if let (Some(at), 0) = (entry.ended, entry.children) {
            self.ancestors.remove(&(at, parent));
            self.leaves.insert((at, parent));
        }
    }

    /// Panics where what is kept twice does not agree.
    #[cfg(test)]
    pub(super) fn check_invariants(&self) {
        for (key, entry) in &self.by_key {
            assert_eq!(*key, entry.key());
            let children =
                self.by_key.values().filter(|e| e.held_parent.map(|p| self.exact(p)) == Some(*key)).count();
            assert!(entry.children as usize <= children, "{key:?}");
            let in_leaves = entry.ended.is_some_and(|at| self.leaves.contains(&(at, *key)));
            let in_ancestors = entry.ended.is_some_and(|at| self.ancestors.contains(&(at, *key)));
            assert_eq!(in_leaves, entry.ended.is_some() && entry.children == 0, "{key:?}");
            assert_eq!(in_ancestors, entry.ended.is_some() && entry.children > 0, "{key:?}");
        }
        assert!(self.newest.iter().all(|(pid, key)| key.pid == *pid && self.by_key.contains_key(key)));
        assert!(self.aliases.values().all(|key| self.by_key.contains_key(key)));
        let ended = self.by_key.values().filter(|entry| entry.ended.is_some()).count();
        assert_eq!(ended, self.ended());
    }
}
