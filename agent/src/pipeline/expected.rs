//! Reads by the programs that a credential is made for: told once, then counted.
//!
//! What is folded is decided by the executable that root of the host installed, never by a name that a process has, and
//! only for plain reads. A fold is of one identity, executable, credential, path and user: whatever differs in one of
//! them is told.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;

use super::Pipeline;
use crate::capture::tally::Tally;
use crate::catalogue::Entry;
use crate::host::installed::{Installed, Judgement};
use crate::model::act::{Acquired, Deed, FileOpen, MemoryUse, MemoryWay, Namespaces};
use crate::model::bytes::RawBytes;
use crate::model::event::{Event, EventKind, ExpectedRead, Folded, Repeat};
use crate::model::identity::{Attribution, Identity};
use crate::model::process::{ExecImage, FileRef, Origin, Process, ProcessKey};
use crate::model::time::BootTime;
use crate::process::inventory::HostNamespaces;

/// Folds that are kept: of a desktop some tens, of a host of many users some hundreds. One is about 300 bytes.
pub(super) const FOLDS: usize = 8_192;
/// A fold ends so long after it was told: the next read is told whole again, with who and why as they are then.
const FOLD_NS: u64 = 3_600_000_000_000;
/// Between the beginning of a fold and its first count; each next one takes twice as long.
const TOLD_AFTER_NS: u64 = 1_000_000_000;
/// Between two counts of one fold, at most.
const TOLD_WITHIN_NS: u64 = 10_000_000_000;
/// Executables whose judgement is kept until the next sweep.
const JUDGED: usize = 4_096;
/// Processes that others have reached into and that still run.
const REACHED: usize = 4_096;
/// Forks without an exec between a process and the one that called it.
const FORKS: usize = 32;

/// A file as it was when a process began to run it: device, inode, seconds and nanoseconds of its change.
type Executable = (u32, u64, i64, u32);

/// What makes two reads the same.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Key {
    identity: Identity,
    executable: Executable,
    credential: Arc<str>,
    path: RawBytes,
    euid: u32,
}

struct Fold {
    read: Arc<ExpectedRead>,
    /// Reads since `told_at`.
    count: u64,
    last: BootTime,
    told_at: BootTime,
    /// When the next count is due, after `told_at`.
    due_ns: u64,
}

impl Fold {
    /// What is to be told of it; nothing where nothing happened since.
    fn tell(&mut self, now: BootTime) -> Option<Event> {
        if self.count == 0 {
            return None;
        }
        self.told_at = now;
        self.due_ns = (2 * self.due_ns).min(TOLD_WITHIN_NS);
        let count = std::mem::take(&mut self.count);
        let repeat = Repeat { of: Folded::Read(self.read.clone()), count, last: self.last };
        Some(Event { time: self.last, kind: EventKind::Repeat(repeat) })
    }
}

/// All folds, the oldest first.
#[derive(Default)]
struct Folds {
    by_key: HashMap<Arc<Key>, Fold>,
    order: VecDeque<(BootTime, Arc<Key>)>,
    evicted: u64,
}

impl Folds {
    /// Counts a read, where the same one was told. Otherwise it is to be told, and the next ones are counted; what was
    /// counted of a fold that had to go is told now.
    fn take(&mut self, time: BootTime, key: Key, read: impl FnOnce() -> ExpectedRead) -> Taken {
        if let Some(fold) = self.by_key.get_mut(&key) {
            fold.count += 1;
            fold.last = fold.last.max(time);
            return Taken::Counted;
        }
        let evicted = if self.by_key.len() >= FOLDS { self.evict(time) } else { None };
        let key = Arc::new(key);
        let fold =
            Fold { read: Arc::new(read()), count: 0, last: time, told_at: time, due_ns: TOLD_AFTER_NS };
        self.by_key.insert(key.clone(), fold);
        self.order.push_back((time, key));
        Taken::First(evicted)
    }

    fn evict(&mut self, now: BootTime) -> Option<Event> {
        let (_, oldest) = self.order.pop_front()?;
        self.evicted += 1;
        self.by_key.remove(&oldest)?.tell(now)
    }

    /// What is due; folds that have lasted long enough end.
    fn sweep(&mut self, now: BootTime, all: bool, told: &mut dyn FnMut(Event)) {
        while self.order.front().is_some_and(|(first, _)| now.since_ns(*first) >= FOLD_NS) {
            let Some((_, key)) = self.order.pop_front() else { break };
            if let Some(event) = self.by_key.remove(&key).and_then(|mut fold| fold.tell(now)) {
                told(event);
            }
        }
        // In their order, so that a replay tells the same.
        for (_, key) in &self.order {
            let Some(fold) = self.by_key.get_mut(key) else { continue };
            if (all || now.since_ns(fold.told_at) >= fold.due_ns)
                && let Some(event) = fold.tell(now)
            {
                told(event);
            }
        }
    }
}

enum Taken {
    /// It is counted.
    Counted,
    /// It is to be told, and so is what was counted of a fold that made room.
    First(Option<Event>),
}

/// Processes whose memory others have reached: what they do may be the doing of others.
#[derive(Default)]
struct Reached {
    running: HashSet<ProcessKey>,
    /// There was no room: of nothing that is as old as this is it known.
    unknown_until: Option<BootTime>,
}

impl Reached {
    fn add(&mut self, time: BootTime, process: ProcessKey) {
        if self.running.len() < REACHED || self.running.contains(&process) {
            self.running.insert(process);
        } else {
            self.unknown_until = Some(time);
        }
    }

    fn holds(&self, process: ProcessKey) -> bool {
        self.running.contains(&process) || self.unknown_until.is_some_and(|until| process.start <= until)
    }
}

/// What is known of expected reads.
pub(super) struct ExpectedReads {
    installed: Box<dyn Installed>,
    host: HostNamespaces,
    judged: HashMap<(RawBytes, Executable), bool>,
    /// For the recording.
    judgements: Vec<Judgement>,
    reached: Reached,
    folds: Folds,
}

const fn identity_of(file: &FileRef) -> Executable {
    (file.device, file.inode, file.changed.0, file.changed.1)
}

impl ExpectedReads {
    pub(super) fn new(installed: Box<dyn Installed>, host: HostNamespaces) -> Self {
        Self {
            installed,
            host,
            judged: HashMap::new(),
            judgements: Vec::new(),
            reached: Reached::default(),
            folds: Folds::default(),
        }
    }

    /// Looks at an act before it is used: who reaches into whom, who is whose child, who ends.
    pub(super) fn watch(&mut self, time: BootTime, deed: &Deed) {
        match deed {
            Deed::Memory(access) => {
                let MemoryUse { target, way, refused, .. } = &**access;
                if refused.is_none() && writes(*way) {
                    self.reached.add(time, target.process);
                }
            }
            // Whoever is traced may have its children traced without a further look of the kernel.
            Deed::Fork(fork) if self.reached.holds(fork.actor.process) => {
                self.reached.add(time, fork.child);
            }
            Deed::Exit(exit) => {
                self.reached.running.remove(&exit.actor.process);
            }
            _ => {}
        }
    }

    /// Whether this image is root's, as it is now; within a sweep as it was first.
    fn is_installed(&mut self, image: &ExecImage) -> bool {
        let key = (image.exe.clone(), identity_of(&image.exe_file));
        if let Some(installed) = self.judged.get(&key) {
            return *installed;
        }
        let installed = self.installed.is_installed(&image.exe, &image.exe_file);
        if self.judged.len() < JUDGED {
            self.judged.insert(key, installed);
            let (path, file) = (image.exe.clone(), image.exe_file);
            self.judgements.push(Judgement { path, file, installed });
        }
        installed
    }

    fn is_host(&self, namespaces: &Namespaces) -> bool {
        self.host.mount != 0 && namespaces.mount == self.host.mount && namespaces.user == self.host.user
    }
}

/// Whether it gives power over what the other does.
const fn writes(way: MemoryWay) -> bool {
    match way {
        MemoryWay::Ptrace
        | MemoryWay::Traceme
        | MemoryWay::VmWrite
        | MemoryWay::ProcMem
        | MemoryWay::Other => true,
        MemoryWay::VmRead | MemoryWay::ProcEnviron => false,
    }
}

/// Whether the descriptor is for reading alone, and was opened by who has it, by a path that is whole.
fn is_plain_read(open: &FileOpen, matched_by: &str) -> bool {
    open.how == Acquired::Opened
        && open.access.read
        && !open.access.write
        && !open.access.truncate
        && !open.path_truncated
        && matched_by == "path"
}

impl Pipeline {
    /// Whether an entry's expected reader reads it.
    pub(super) fn is_expected(
        &mut self,
        entry: &Entry,
        matched_by: &str,
        open: &FileOpen,
        process: &Process,
    ) -> bool {
        let image = &*process.image;
        entry.readers.holds(image.exe.as_bytes())
            && is_plain_read(open, matched_by)
            && !image.script
            && !image.preload
            && !image.markers_truncated
            && image.exe_file.links > 0
            && self.expected.is_host(&process.namespaces)
            && self.expected.is_host(&open.actor.namespaces)
            && !self.expected.reached.holds(open.actor.process)
            && self.is_seen_since_exec(process, open.actor.ids.uid)
            && self.expected.is_installed(image)
    }

    /// Whether the image is that of an exec that was seen. What ran before the agent may have hidden with what it was
    /// begun; of root's own processes that is root's affair.
    fn is_seen_since_exec(&self, process: &Process, uid: u32) -> bool {
        let is_known = |process: &Process| match process.origin {
            Origin::Observed => true,
            Origin::Inventoried => uid == 0 && process.ids.uid == 0,
            Origin::Inferred => false,
        };
        if !is_known(process) {
            return false;
        }
        let mut at = Arc::new(process.clone());
        for _ in 0..FORKS {
            if at.exec_count > 0 || at.origin == Origin::Inventoried {
                return is_known(&at);
            }
            match self.table.parent_of(&at) {
                Some(parent) if Arc::ptr_eq(&parent.image, &at.image) => at = parent,
                _ => return false,
            }
        }
        false
    }

    /// Counts an expected read; whether it is counted, and so not to be told.
    pub(super) fn fold(
        &mut self,
        time: BootTime,
        entry: &Entry,
        open: &FileOpen,
        process: &Process,
        attribution: &Arc<Attribution>,
        emit: &mut dyn FnMut(Event),
    ) -> bool {
        let key = Key {
            identity: attribution.identity.clone(),
            executable: identity_of(&process.image.exe_file),
            credential: entry.name.clone(),
            path: open.path.clone(),
            euid: open.actor.ids.euid,
        };
        let read = || ExpectedRead {
            attribution: attribution.clone(),
            image: process.image.clone(),
            credential: entry.name.clone(),
            path: open.path.clone(),
            euid: open.actor.ids.euid,
        };
        match self.expected.folds.take(time, key, read) {
            Taken::Counted => {
                self.ledger.add(Tally::ExpectedRead, 1);
                self.ledger.add(Tally::FoldWaiting, 1);
                true
            }
            Taken::First(evicted) => {
                if let Some(event) = evicted {
                    self.repeat(event, emit);
                }
                false
            }
        }
    }

    /// Tells what was counted, where it is due or `all`.
    pub(super) fn sweep_expected(&mut self, now: BootTime, all: bool, emit: &mut dyn FnMut(Event)) {
        self.expected.judged.clear();
        let mut due = Vec::new();
        self.expected.folds.sweep(now, all, &mut |event| due.push(event));
        due.into_iter().for_each(|event| self.repeat(event, emit));
        self.ledger.set(Tally::Folds, self.expected.folds.by_key.len() as u64);
        self.ledger.set(Tally::FoldsEvicted, self.expected.folds.evicted);
    }

    fn repeat(&self, event: Event, emit: &mut dyn FnMut(Event)) {
        if let EventKind::Repeat(repeat) = &event.kind {
            self.ledger.add(Tally::FoldTold, repeat.count);
            self.ledger
                .set(Tally::FoldWaiting, self.ledger.get(Tally::FoldWaiting).saturating_sub(repeat.count));
        }
        self.ledger.add(Tally::Repeat, 1);
        emit(event);
    }

    /// What was found of executables since the last call, for the recording.
    pub fn take_judgements(&mut self) -> Vec<Judgement> {
        std::mem::take(&mut self.expected.judgements)
    }

    /// Takes what a recording says of an executable.
    pub fn learn(&mut self, judgement: Judgement) {
        self.expected.installed.learn(judgement);
    }
}

#[cfg(test)]
#[path = "expected_tests.rs"]
mod tests;
