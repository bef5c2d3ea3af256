//! Credentials: descriptors of them that were acquired, attempts that were refused, what was done to them.

use std::collections::HashSet;

use agent_common::keys::InodeKey;

use super::Pipeline;
use crate::capture::tally::Tally;
use crate::model::act::{Access, Acquired, Change, ChangeKind, FileOpen, OpenRefused, UnixConnect};
use crate::model::bytes::RawBytes;
use crate::model::event::{CredentialAccess, CredentialAttempt, Event, What};
use crate::model::process::{FileRef, ProcessKey};
use crate::model::time::BootTime;

/// Files that the kernel is to forget at once: as many as a turn of the loop can bring.
const MISTAKEN: usize = 4_096;

/// The word for a change in events.
const fn change_name(kind: ChangeKind) -> &'static str {
    match kind {
        ChangeKind::Rename => "rename",
        ChangeKind::Replace => "replace",
        ChangeKind::Link => "link",
        ChangeKind::Unlink => "unlink",
        ChangeKind::Chmod => "chmod",
        ChangeKind::Chown => "chown",
        ChangeKind::Truncate => "truncate",
    }
}

/// The word for a way to a descriptor in events.
const fn acquired_name(how: Acquired) -> &'static str {
    match how {
        Acquired::Opened => "open",
        Acquired::Received => "received",
        Acquired::Taken => "stolen",
        Acquired::Inherited => "inherited",
        Acquired::Held => "held",
    }
}

/// For how long after the first of them acquisitions are remembered: what is held at the start is told within that time.
const START_NS: u64 = 120_000_000_000;
/// How many are remembered.
const ACQUISITIONS: usize = 65_536;

/// Who acquired what since the start. The hooks see opens before the walk over all descriptors comes to them: what was told
/// as opened is not told as held, nor is what one process holds twice.
#[derive(Default)]
pub(super) struct Acquisitions {
    first: Option<BootTime>,
    seen: HashSet<(ProcessKey, Acquisition)>,
}

/// What a process may acquire twice: once by a hook, and once by the walk.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Acquisition {
    /// A file, or the socket that is bound to it.
    File(InodeKey),
    /// A socket of the abstract namespace.
    Abstract(RawBytes),
}

impl Acquisition {
    fn of(file: &FileRef) -> Self {
        Self::File(InodeKey { inode: file.inode, device: file.device, reserved: 0 })
    }
}

impl Acquisitions {
    /// Whether that is still within the start.
    fn is_start(&mut self, time: BootTime) -> bool {
        time.since_ns(*self.first.get_or_insert(time)) <= START_NS
    }

    /// Whether the process has acquired the file before; from now on it has.
    fn is_known(&mut self, time: BootTime, process: ProcessKey, what: Acquisition) -> bool {
        if !self.is_start(time) {
            self.seen = HashSet::new();
            return false;
        }
        if self.seen.len() >= ACQUISITIONS {
            return self.seen.contains(&(process, what));
        }
        !self.seen.insert((process, what))
    }
}

impl Pipeline {
    pub(super) fn file_open(
        &mut self,
        time: BootTime,
        hook: &'static str,
        open: FileOpen,
        emit: &mut dyn FnMut(Event),
    ) {
        if self.is_own(&open.actor) {
            return;
        }
        let found = self.catalogue.recognise(&self.known, &open).map(|(entry, by)| (entry.clone(), by));
        let Some((entry, matched_by)) = found else {
            let tally = if self.is_of_self_test(time, &open) { Tally::OwnAct } else { Tally::NotACredential };
            self.ledger.add(tally, 1);
            return;
        };
        let acquisition = Acquisition::of(&open.file);
        if self.acquisitions.is_known(time, open.actor.process, acquisition) && open.how == Acquired::Held {
            self.ledger.add(Tally::SameAct, 1);
            return;
        }
        let process = self.table.process_of(&open.actor, time);
        let expected = self.is_expected(&entry, matched_by, &open, &process);
        if expected {
            let (process, cgroup) = self.place(time, &open.actor, process);
            let attribution = self.attributor.attribute(&process, &open.actor, &cgroup);
            if self.fold(time, &entry, &open, &process, &attribution, emit) {
                return;
            }
        }
        let what = What::CredentialAccess(CredentialAccess {
            credential: entry.name.clone(),
            kind: entry.kind.clone(),
            sensitivity: entry.sensitivity,
            path: open.path,
            file: open.file,
            access: open.access,
            matched_by,
            how: acquired_name(open.how),
            other_path: None,
            expected,
            token: None,
        });
        self.activity(time, hook, open.actor, what, emit);
    }

    /// Whether a child of the agent has done it: it has some for its self-test alone, in which the name of its executable is
    /// a rule.
    fn is_of_self_test(&mut self, time: BootTime, open: &FileOpen) -> bool {
        let Some(own) = self.own.filter(|_| self.acquisitions.is_start(time)) else { return false };
        self.table.process_of(&open.actor, time).parent.is_some_and(|parent| parent.pid == own)
    }

    pub(super) fn open_refused(
        &mut self,
        time: BootTime,
        hook: &'static str,
        open: OpenRefused,
        emit: &mut dyn FnMut(Event),
    ) {
        if self.is_own(&open.actor) {
            return;
        }
        let OpenRefused { actor, file, path, path_truncated: _, known_inode, errno } = open;
        let known_file = file.as_ref().filter(|_| known_inode);
        let Some((entry, matched_by)) = self.catalogue.recognise_file(&self.known, known_file, &path) else {
            self.ledger.add(Tally::NotACredential, 1);
            return;
        };
        let what = What::CredentialAttempt(CredentialAttempt {
            credential: entry.name.clone(),
            kind: entry.kind.clone(),
            sensitivity: entry.sensitivity,
            path,
            file,
            matched_by,
            how: "open",
            other_path: None,
            errno,
        });
        self.activity(time, hook, actor, what, emit);
    }

    pub(super) fn change(
        &mut self,
        time: BootTime,
        hook: &'static str,
        change: Change,
        emit: &mut dyn FnMut(Event),
    ) {
        if self.is_own(&change.actor) {
            return;
        }
        let Change { actor, kind, file, path, other, known_inode, refused } = change;
        let key = InodeKey { inode: file.inode, device: file.device, reserved: 0 };
        let known_file = Some(&file).filter(|_| known_inode && kind != ChangeKind::Replace);
        let found = self.catalogue.recognise_file(&self.known, known_file, &path);
        // The kernel knows parts of the rules alone: what it took for a credential may be none, and be renamed to one.
        let becomes = || {
            let other = other.as_ref().filter(|_| kind == ChangeKind::Rename)?;
            self.catalogue.find(other.as_bytes()).map(|entry| (entry, "path"))
        };
        let (entry, matched_by, kind, path, other_path) = match (found, becomes()) {
            (Some((entry, by)), _) => (entry.clone(), by, kind, path, other),
            (None, Some((entry, by))) => {
                let old = Some(path);
                (entry.clone(), by, ChangeKind::Replace, other.unwrap_or_default(), old)
            }
            (None, None) => {
                self.ledger.add(Tally::NotACredential, 1);
                let remembered = matches!(kind, ChangeKind::Rename | ChangeKind::Link);
                if remembered && refused.is_none() && self.mistaken.len() < MISTAKEN {
                    self.mistaken.push(key);
                }
                return;
            }
        };
        if refused.is_none() && matches!(kind, ChangeKind::Rename | ChangeKind::Link) {
            self.known.learn(key, &entry);
        }
        let (credential, how) = (entry.name.clone(), change_name(kind));
        let (kind, sensitivity) = (entry.kind.clone(), entry.sensitivity);
        let what = match refused {
            Some(errno) => What::CredentialAttempt(CredentialAttempt {
                credential,
                kind,
                sensitivity,
                path,
                file: Some(file),
                matched_by,
                how,
                other_path,
                errno,
            }),
            None => What::CredentialAccess(CredentialAccess {
                credential,
                kind,
                sensitivity,
                path,
                file,
                access: Access { read: false, write: how == "truncate", truncate: how == "truncate" },
                matched_by,
                how,
                other_path,
                expected: false,
                token: None,
            }),
        };
        self.activity(time, hook, actor, what, emit);
    }

    /// Files that the kernel has taken for credentials when they were renamed or linked, and that are none: it need not
    /// tell of them again.
    pub fn take_mistaken(&mut self) -> Vec<InodeKey> {
        std::mem::take(&mut self.mistaken)
    }

    pub(super) fn unix_connect(
        &mut self,
        time: BootTime,
        hook: &'static str,
        socket: UnixConnect,
        emit: &mut dyn FnMut(Event),
    ) {
        if self.is_own(&socket.actor) {
            return;
        }
        let Some(entry) = self.catalogue.find_socket(&socket) else {
            self.ledger.add(Tally::NotACredential, 1);
            return;
        };
        let (entry, kind, sensitivity) = (entry.name.clone(), entry.kind.clone(), entry.sensitivity);
        let UnixConnect { actor, file, name, is_abstract, held } = socket;
        let acquisition =
            if is_abstract { Acquisition::Abstract(name.clone()) } else { Acquisition::of(&file) };
        if self.acquisitions.is_known(time, actor.process, acquisition) && held {
            self.ledger.add(Tally::SameAct, 1);
            return;
        }
        let path = if is_abstract { RawBytes::from([b"@", name.as_bytes()].concat()) } else { name };
        let what = What::CredentialAccess(CredentialAccess {
            credential: entry,
            kind,
            sensitivity,
            path,
            file,
            access: Access { read: true, write: true, truncate: false },
            matched_by: "path",
            how: if held { "held" } else { "connect" },
            other_path: None,
            expected: false,
            token: None,
        });
        self.activity(time, hook, actor, what, emit);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIRST: u64 = 5_000_000_000;

    fn process(pid: u32) -> ProcessKey {
        ProcessKey { pid, start: BootTime::from_ns(1) }
    }

    fn file(inode: u64) -> Acquisition {
        Acquisition::File(InodeKey { inode, device: 1, reserved: 0 })
    }

    #[test]
    fn what_one_process_acquired_is_known_of_it_alone() {
        let mut acquisitions = Acquisitions::default();
        let time = BootTime::from_ns(FIRST);
        let known: Vec<bool> = [(1, 1), (1, 1), (2, 1), (1, 2), (2, 1)]
            .into_iter()
            .map(|(pid, inode)| acquisitions.is_known(time, process(pid), file(inode)))
            .collect();
        assert_eq!(known, [false, true, false, false, true]);
    }

    #[test]
    fn after_the_start_nothing_is_kept() {
        let mut acquisitions = Acquisitions::default();
        let later = BootTime::from_ns(FIRST + START_NS + 1);
        assert!(!acquisitions.is_known(BootTime::from_ns(FIRST), process(1), file(1)));
        assert!(!acquisitions.is_known(later, process(1), file(1)));
        assert!(!acquisitions.is_known(later, process(1), file(1)));
        assert!(acquisitions.seen.is_empty());
    }

    #[test]
    fn there_is_a_bound() {
        let mut acquisitions = Acquisitions::default();
        let time = BootTime::from_ns(FIRST);
        for inode in 0..ACQUISITIONS as u64 + 10 {
            assert!(!acquisitions.is_known(time, process(1), file(inode)));
        }
        assert_eq!(acquisitions.seen.len(), ACQUISITIONS);
        assert!(acquisitions.is_known(time, process(1), file(0)));
    }
}
