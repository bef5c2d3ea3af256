//! What is known of the files that processes run, and of the versions of AI agents.
//!
//! Looking there reads files, so it is done elsewhere: this says what is to be looked up ([`Programs::next_file`], [`Programs::next_version`]), and is told
//! later. An executable is asked for when it acts in an event, not when it starts: a build starts thousands that do nothing
//! that is told. What acts before the answer is told without it.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use crate::generations::Generations;
use crate::model::process::{AgentPart, AgentRole, Process, ProcessKey};
use crate::model::program::{AgentCopy, FileAnswer, FileFacts, FileKey, ProgramFound, ProgramQuestion};
use crate::process::inventory::HostNamespaces;
use crate::process::program::{Program, program_of};

/// Executables of one generation. Two are kept, so that what is in use survives when the first is full.
const FILES: usize = 4_096;
/// Sessions of agents of one generation; two are kept.
const SESSIONS: usize = 1_024;
/// Questions that wait. A host whose every program is new to the agent has a thousand.
const WANTED: usize = 4_096;
/// Files that one user of one mount namespace has wait: so nobody's many take the room of others.
const WANTED_OF_ONE: usize = 1_024;
/// Files that are with whoever looks: few, so that whose turn it is decides what is looked up next.
const UNDER_WAY: usize = 8;

/// Counters of a [`Programs`]; each only grows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ProgramCounters {
    /// Executables and agents asked for.
    pub asked: u64,
    /// Those that were not, because too many were to be.
    pub not_asked: u64,
    /// Executables of which nothing was found: they are gone, replaced, or cannot be reached or read.
    pub unknown: u64,
    /// Answers forgotten because there were too many; they are asked for again when needed.
    pub evicted: u64,
}

impl ProgramCounters {
    /// All counters with their stable names, for heartbeats and metrics.
    pub fn by_name(&self) -> [(&'static str, u64); 4] {
        let Self { asked, not_asked, unknown, evicted } = *self;
        [
            ("program_asked", asked),
            ("program_not_asked", not_asked),
            ("program_unknown", unknown),
            ("program_evicted", evicted),
        ]
    }
}

/// Programs of agents of one generation, by who runs them; two are kept.
const AGENTS: usize = 256;
/// Files that one answer can show to be copies of agents' programs.
const COPIES: usize = 64;

/// What is known of a file.
#[derive(Debug, Default)]
struct KnownFile {
    /// `None`: nothing yet.
    answer: Option<FileAnswer>,
    is_asked: bool,
}

impl KnownFile {
    fn facts(&self) -> Option<&FileFacts> {
        match &self.answer {
            Some(FileAnswer::Found(facts)) => Some(facts),
            _ => None,
        }
    }
}

/// All that is known of programs.
#[derive(Debug)]
pub struct Programs {
    files: Generations<FileKey, KnownFile>,
    versions: Generations<ProcessKey, Option<Arc<str>>>,
    /// The executables by whose paths agents were known, by who ran them.
    agents: Generations<(FileKey, u32), Arc<str>>,
    wanted_versions: VecDeque<ProgramQuestion>,
    wanted_files: Turns,
    under_way: usize,
    counters: ProgramCounters,
}

/// Whose file it is to the agent: a user in a mount namespace.
type Whose = (u32, u32);

/// Files that wait, one of each in turn: who runs many new files of hundreds of MiB makes his own wait.
#[derive(Debug, Default)]
struct Turns {
    of: HashMap<Whose, VecDeque<ProgramQuestion>>,
    /// Those who have some, the next first.
    next: VecDeque<Whose>,
    waiting: usize,
}

impl Turns {
    /// Whether there was room.
    fn push(&mut self, whose: Whose, question: ProgramQuestion) -> bool {
        let own = self.of.entry(whose).or_default();
        if self.waiting >= WANTED || own.len() >= WANTED_OF_ONE {
            return false;
        }
        if own.is_empty() {
            self.next.push_back(whose);
        }
        own.push_back(question);
        self.waiting += 1;
        true
    }

    fn pop(&mut self) -> Option<ProgramQuestion> {
        let whose = self.next.pop_front()?;
        let own = self.of.get_mut(&whose)?;
        let question = own.pop_front()?;
        self.waiting -= 1;
        if own.is_empty() {
            self.of.remove(&whose);
        } else {
            self.next.push_back(whose);
        }
        Some(question)
    }
}

impl Default for Programs {
    fn default() -> Self {
        let (files, versions) = (Generations::new(FILES), Generations::new(SESSIONS));
        let agents = Generations::new(AGENTS);
        let (wanted_versions, wanted_files, under_way, counters) = Default::default();
        Self { files, versions, agents, wanted_versions, wanted_files, under_way, counters }
    }
}

impl Programs {
    /// What is known of an executable; `None`: nothing yet.
    pub fn file(&self, file: FileKey) -> Option<&FileAnswer> {
        self.files.get(&file)?.answer.as_ref()
    }

    /// Version of the agent whose session a process began.
    pub fn version(&self, session: ProcessKey) -> Option<&Arc<str>> {
        self.versions.get(&session)?.as_ref()
    }

    /// What it did, and could not do.
    pub fn counters(&self) -> ProgramCounters {
        ProgramCounters {
            evicted: self.files.evicted() + self.versions.evicted() + self.agents.evicted(),
            ..self.counters
        }
    }

    /// A process acts: what it runs is asked for, if that is not known.
    pub(super) fn see(&mut self, process: &Process, host: HostNamespaces) {
        let image = &process.image;
        let file = FileKey::from(&image.exe_file);
        if let Some(role) = &process.role
            && role.part == AgentPart::Agent
            && self.versions.touch(&role.session.root).is_none()
            && self.ask_version(ProgramQuestion::Agent {
                session: role.session.root,
                mount: process.namespaces.mount,
                program: role.session.program.clone(),
                exe: image.exe.clone(),
                exe_file: file,
            })
        {
            self.versions.insert(role.session.root, None);
        }
        // An interpreter is what it runs, and not the agent that it may run.
        let is_known_by_path = |role: &&Arc<AgentRole>| {
            role.part == AgentPart::Agent && !role.session.copied && program_of(image) == Program::Executable
        };
        if let Some(role) = process.role.as_ref().filter(is_known_by_path)
            && file.inode != 0
            // Of containers one user's are many: one could lay out what another runs as an agent's.
            && process.namespaces.mount == host.mount
            && self.agents.touch(&(file, process.ids.uid)).is_none()
        {
            self.agents.insert((file, process.ids.uid), role.session.product.clone());
        }
        // What has no name cannot be found by one.
        let can_be_found = image.exe_file.links > 0 && image.exe.as_bytes().first() == Some(&b'/');
        if !can_be_found {
            return;
        }
        // What could not be found may be found for another: a container's files come and go with its mounts.
        let known = self.files.touch(&file);
        let is_wanted = known.is_none_or(|known| !known.is_asked && known.facts().is_none());
        let whose = (process.ids.uid, process.namespaces.mount);
        if is_wanted && self.ask_file(whose, ProgramQuestion::File { path: image.exe.clone(), file }) {
            let answer = self.files.touch(&file).and_then(|known| known.answer.take());
            self.files.insert(file, KnownFile { answer, is_asked: true });
        }
    }

    /// What has the contents of an agent's program, now that this file's are known.
    pub(super) fn copies(&self, file: FileKey) -> Vec<AgentCopy> {
        let facts = |file: &FileKey| self.files.get(file).and_then(KnownFile::facts);
        // A package's file is what it is: who laid it out as an agent's has made no agent of it.
        let digest = |facts: &FileFacts| facts.sha256.clone().filter(|_| facts.package.is_none());
        let Some(wanted) = facts(&file).and_then(digest) else { return Vec::new() };
        let is_alike = |other: &FileKey| facts(other).and_then(digest).as_ref() == Some(&wanted);
        let alike: Vec<_> = self.agents.iter().filter(|((original, _), _)| is_alike(original)).collect();
        if alike.is_empty() {
            return Vec::new();
        }
        let others = self.files.iter().map(|(other, _)| *other).filter(is_alike);
        let copies = others.flat_map(|file| {
            let of_others = alike.iter().filter(move |((original, _), _)| *original != file);
            of_others.map(move |((_, uid), product)| AgentCopy {
                file,
                uid: *uid,
                product: Arc::clone(product),
            })
        });
        copies.take(COPIES).collect()
    }

    fn ask_version(&mut self, question: ProgramQuestion) -> bool {
        let has_room = self.wanted_versions.len() < WANTED;
        if has_room {
            self.wanted_versions.push_back(question);
        }
        self.asked(has_room)
    }

    fn ask_file(&mut self, whose: Whose, question: ProgramQuestion) -> bool {
        let has_room = self.wanted_files.push(whose, question);
        self.asked(has_room)
    }

    fn asked(&mut self, has_room: bool) -> bool {
        let count = if has_room { &mut self.counters.asked } else { &mut self.counters.not_asked };
        *count += 1;
        has_room
    }

    /// The next version to be looked up.
    pub fn next_version(&mut self) -> Option<ProgramQuestion> {
        self.wanted_versions.pop_front()
    }

    /// It cannot be looked up now: it is the next again.
    pub fn put_version_back(&mut self, question: ProgramQuestion) {
        self.wanted_versions.push_front(question);
    }

    /// The next file to be looked up; `None`, too, while as many as may be are under way.
    pub fn next_file(&mut self) -> Option<ProgramQuestion> {
        let question = (self.under_way < UNDER_WAY).then(|| self.wanted_files.pop()).flatten()?;
        self.under_way += 1;
        Some(question)
    }

    /// Takes what was found; whether it says something that was not known.
    pub(super) fn learn(&mut self, found: ProgramFound) -> bool {
        match found {
            ProgramFound::File { file, answer } => {
                self.under_way = self.under_way.saturating_sub(1);
                self.counters.unknown += u64::from(!matches!(answer, FileAnswer::Found(_)));
                let is_news = self.file(file) != Some(&answer);
                self.files.insert(file, KnownFile { answer: Some(answer), is_asked: false });
                is_news
            }
            ProgramFound::Agent { session, version } => {
                let is_news = self.version(session) != version.as_ref();
                self.versions.insert(session, version);
                is_news
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::process::{CredentialIds, ExecImage, FileRef};
    use crate::model::program::FileFacts;
    use crate::ship::wire::examples;

    const HOST: HostNamespaces = HostNamespaces { mount: 1, user: 2 };

    fn process(inode: u64, links: u32) -> Process {
        let mut process = examples::process(7, "/usr/bin/x", &["x"]);
        let exe_file = FileRef { inode, links, ..process.image.exe_file };
        process.image = Arc::new(ExecImage { exe_file, ..ExecImage::clone(&process.image) });
        process
    }

    fn key(inode: u64) -> FileKey {
        FileKey::from(&process(inode, 1).image.exe_file)
    }

    #[test]
    fn a_file_is_asked_for_once() {
        let mut programs = Programs::default();
        programs.see(&process(1, 1), HOST);
        programs.see(&process(1, 1), HOST);
        let question = programs.next_file().unwrap();
        assert_eq!(question, ProgramQuestion::File { path: "/usr/bin/x".into(), file: key(1) });
        assert_eq!(programs.next_file(), None);
        let answer =
            FileAnswer::Found(Arc::new(FileFacts { sha256: Some("00".into()), ..FileFacts::default() }));
        let found = ProgramFound::File { file: key(1), answer: answer.clone() };
        assert!(programs.learn(found.clone()));
        assert!(!programs.learn(found));
        assert_eq!(programs.file(key(1)), Some(&answer));
        programs.see(&process(1, 1), HOST);
        // Without a name there is nowhere to look.
        programs.see(&process(2, 0), HOST);
        assert_eq!(programs.next_file(), None);
        assert_eq!(programs.file(key(2)), None);
        assert_eq!(programs.counters(), ProgramCounters { asked: 1, ..ProgramCounters::default() });
    }

    #[test]
    fn what_was_not_found_is_asked_for_again_when_it_is_met_again() {
        let mut programs = Programs::default();
        let found = |answer| ProgramFound::File { file: key(1), answer };
        programs.see(&process(1, 1), HOST);
        assert!(programs.next_file().is_some());
        assert!(programs.learn(found(FileAnswer::NotFound)));
        programs.see(&process(1, 1), HOST);
        programs.see(&process(1, 1), HOST);
        assert_eq!(programs.file(key(1)), Some(&FileAnswer::NotFound));
        assert!(programs.next_file().is_some());
        assert_eq!(programs.next_file(), None);
        // No news: nobody is said anew, so nobody asks again for that.
        assert!(!programs.learn(found(FileAnswer::NotFound)));
    }

    #[test]
    fn nobodys_files_wait_for_all_of_anothers() {
        let mut programs = Programs::default();
        let of = |uid: u32, inode| {
            let found = process(inode, 1);
            Process { ids: CredentialIds { uid, ..found.ids }, ..found }
        };
        (0..2_000).for_each(|inode| programs.see(&of(1000, inode), HOST));
        programs.see(&of(0, 10_000), HOST);
        programs.see(&of(1001, 10_001), HOST);
        let mut next = || match programs.next_file() {
            Some(ProgramQuestion::File { file, .. }) => file,
            other => panic!("{other:?}"),
        };
        assert_eq!([next(), next(), next(), next(), next()], [0, 10_000, 10_001, 1, 2].map(key));
        (0..3).for_each(|_| _ = next());
        assert_eq!(programs.next_file(), None, "enough are under way");
        programs.learn(ProgramFound::File { file: key(0), answer: FileAnswer::NotFound });
        assert!(programs.next_file().is_some());
        assert_eq!(programs.counters().not_asked, 2_000 - WANTED_OF_ONE as u64);
    }

    #[test]
    fn any_number_of_files_is_bounded() {
        let mut programs = Programs::default();
        for inode in 0..20_000 {
            programs.see(&process(inode, 1), HOST);
            programs.learn(ProgramFound::File { file: key(inode), answer: FileAnswer::NotFound });
            programs.files.touch(&key(0));
            assert!(programs.files.iter().count() <= 2 * FILES);
        }
        assert!(programs.file(key(0)).is_some(), "it is in use");
        let counters = programs.counters();
        assert_eq!(counters.asked, WANTED_OF_ONE as u64);
        assert_eq!(counters.asked + counters.not_asked, 20_000);
        assert_eq!(counters.unknown, 20_000);
        assert!(counters.evicted > 8_000);
    }
}
