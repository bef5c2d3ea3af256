//! Where the paths of scripts lead, and what is found there: an agent is often started by a symbolic link to its script, or by a
//! script of a few lines that runs its module.
//!
//! Looking there may block, so it is done elsewhere: the table says what it wants to know
//! ([`super::ProcessTable::take_wanted_scripts`]), and is told later. Until then a script is taken for what its path says.

use std::collections::HashMap;

use super::program::{Program, ScriptEntry};
use crate::model::bytes::RawBytes;
use crate::model::process::{FileRef, Process, ProcessKey};
use crate::model::time::BootTime;

/// A script, as an interpreter was told of it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ScriptPath {
    /// The mount namespace that the path is of.
    pub mount: u32,
    /// The path; absolute.
    pub path: RawBytes,
}

/// A script that is to be looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WantedScript {
    /// Which.
    pub script: ScriptPath,
    /// Path of the interpreter, from the root of the process.
    pub exe: RawBytes,
    /// The interpreter's file: where it is at that path in another mount namespace too, paths mean the same there.
    pub exe_file: FileRef,
}

/// Where a script's path leads: kept by recordings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScriptTarget {
    /// The script.
    pub script: ScriptPath,
    /// The path without symbolic links; `None` where nothing is there.
    pub target: Option<RawBytes>,
    /// What was found there.
    pub entry: Option<ScriptEntry>,
}

/// Scripts of one generation; two are kept. A build runs hundreds, under many names.
const GENERATION: usize = 2_048;
/// Scripts that are asked for at once; those beyond it are asked for when they run again.
const WANTED: usize = 512;
/// After this, a script that runs again is asked for again: an upgrade has links lead elsewhere.
const FRESH_NS: u64 = 10_000_000_000;

/// Processes that wait for one answer, at most: a link that hundreds run at once is no agent's.
const WAITING: usize = 64;

#[derive(Debug)]
struct Known {
    /// `None`: to the path itself, as far as is known.
    target: Option<RawBytes>,
    entry: Option<ScriptEntry>,
    asked_at: BootTime,
    /// Who has run it since it was asked for, for the first time: what they are is open.
    waiting: Vec<ProcessKey>,
    is_answered: bool,
}

/// All that is known of scripts.
#[derive(Debug, Default)]
pub(super) struct Scripts {
    young: HashMap<ScriptPath, Known>,
    old: HashMap<ScriptPath, Known>,
    wanted: Vec<WantedScript>,
    not_asked: u64,
}

impl Scripts {
    /// Where a script leads, as far as is known. It is wanted where that was not asked lately.
    pub(super) fn target(&mut self, process: &Process, path: RawBytes, now: BootTime) -> Program {
        let script = ScriptPath { mount: process.namespaces.mount, path };
        if let Some(known) = self.old.remove(&script) {
            self.keep(script.clone(), known);
        }
        let known = self.young.get(&script);
        let program = program(known, &script.path);
        let is_stale = known.is_none_or(|known| now.since_ns(known.asked_at) > FRESH_NS);
        if is_stale {
            self.ask(process, &script, now);
        }
        if let Some(known) = self.young.get_mut(&script)
            && !known.is_answered
            && known.waiting.len() < WAITING
        {
            known.waiting.push(process.key);
        }
        program
    }

    /// As [`Scripts::target`], and nothing is asked.
    pub(super) fn known(&self, mount: u32, path: RawBytes) -> Program {
        let script = ScriptPath { mount, path };
        program(self.young.get(&script).or_else(|| self.old.get(&script)), &script.path)
    }

    fn ask(&mut self, process: &Process, script: &ScriptPath, now: BootTime) {
        if self.wanted.len() >= WANTED {
            self.not_asked += 1;
            return;
        }
        match self.young.get_mut(script) {
            Some(known) => known.asked_at = now,
            None => {
                let known = Known {
                    target: None,
                    entry: None,
                    asked_at: now,
                    waiting: Vec::new(),
                    is_answered: false,
                };
                self.keep(script.clone(), known);
            }
        }
        let (exe, exe_file) = (process.image.exe.clone(), process.image.exe_file);
        self.wanted.push(WantedScript { script: script.clone(), exe, exe_file });
    }

    fn keep(&mut self, script: ScriptPath, known: Known) {
        if self.young.len() >= GENERATION {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(script, known);
    }

    /// Takes where a script leads; who waits to hear it, where that is elsewhere than was thought. Who has run it before is
    /// what he was: an answer speaks of now.
    pub(super) fn learn(&mut self, found: ScriptTarget) -> Vec<ProcessKey> {
        let ScriptTarget { script, target, entry } = found;
        let is_there = target.is_some();
        let target = target.filter(|target| *target != script.path);
        if let Some(known) = self.old.remove(&script) {
            self.keep(script.clone(), known);
        }
        let Some(known) = self.young.get_mut(&script) else { return Vec::new() };
        let waiting = std::mem::take(&mut known.waiting);
        let is_first = !std::mem::replace(&mut known.is_answered, true);
        // A link that is gone for a moment, while it is replaced, leads where it did.
        let changes = is_there && ((target.is_some() && known.target != target) || known.entry != entry);
        if changes {
            known.target = target.or(known.target.take());
            known.entry = entry;
        }
        if is_first && changes { waiting } else { Vec::new() }
    }

    /// Says that what was wanted will not be looked at: it is wanted again when it next runs.
    pub(super) fn refused(&mut self, script: &ScriptPath) {
        self.not_asked += 1;
        if let Some(known) = self.young.get_mut(script) {
            known.asked_at = BootTime::default();
        }
    }

    /// What is to be looked at.
    pub(super) fn take_wanted(&mut self) -> Vec<WantedScript> {
        std::mem::take(&mut self.wanted)
    }

    /// How many scripts were not asked for, because too many were.
    pub(super) fn not_asked(&self) -> u64 {
        self.not_asked
    }
}

fn program(known: Option<&Known>, path: &RawBytes) -> Program {
    let target = known.and_then(|known| known.target.as_ref()).unwrap_or(path);
    Program::script(target.clone(), known.and_then(|known| known.entry.clone()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> BootTime {
        BootTime::from_ns(seconds * 1_000_000_000)
    }

    fn script(path: &str) -> ScriptPath {
        ScriptPath { mount: 1, path: path.into() }
    }

    fn process(mount: u32) -> Process {
        let mut process = crate::ship::wire::examples::process(7, "/usr/bin/node", &["node"]);
        process.namespaces.mount = mount;
        process
    }

    fn wanted(scripts: &mut Scripts) -> Vec<ScriptPath> {
        scripts.take_wanted().into_iter().map(|wanted| wanted.script).collect()
    }

    #[test]
    fn a_script_is_asked_for_once_and_again_when_it_is_old() {
        let mut scripts = Scripts::default();
        let (one, other) = (process(1), process(2));
        assert_eq!(scripts.target(&one, "/bin/a".into(), at(1)), Program::Script("/bin/a".into()));
        assert_eq!(wanted(&mut scripts), [script("/bin/a")]);
        let found = |target: Option<&str>| ScriptTarget {
            script: script("/bin/a"),
            target: target.map(Into::into),
            entry: None,
        };
        assert_eq!(scripts.learn(found(Some("/lib/a.js"))), [one.key]);
        assert_eq!(scripts.target(&one, "/bin/a".into(), at(2)), Program::Script("/lib/a.js".into()));
        assert_eq!(
            scripts.target(&other, "/bin/a".into(), at(2)),
            Program::Script("/bin/a".into()),
            "another mount namespace"
        );
        assert_eq!(scripts.take_wanted().len(), 1);
        assert_eq!(scripts.target(&one, "/bin/a".into(), at(20)), Program::Script("/lib/a.js".into()));
        assert_eq!(wanted(&mut scripts), [script("/bin/a")]);
        // Where it leads now says nothing of who ran it before.
        assert_eq!(scripts.learn(found(Some("/lib/b.js"))), []);
        assert_eq!(scripts.known(1, "/bin/a".into()), Program::Script("/lib/b.js".into()));
        assert_eq!(scripts.learn(found(None)), []);
        assert_eq!(
            scripts.known(1, "/bin/a".into()),
            Program::Script("/lib/b.js".into()),
            "gone for a moment"
        );
        scripts.refused(&script("/bin/a"));
        scripts.target(&one, "/bin/a".into(), at(21));
        assert_eq!(wanted(&mut scripts), [script("/bin/a")]);
    }

    #[test]
    fn what_stands_in_a_script_is_news_too() {
        let mut scripts = Scripts::default();
        let one = process(1);
        scripts.target(&one, "/bin/a".into(), at(1));
        let entry = Some(ScriptEntry::Module("aider.main".into()));
        let found =
            ScriptTarget { script: script("/bin/a"), target: Some("/bin/a".into()), entry: entry.clone() };
        assert_eq!(scripts.learn(found.clone()), [one.key]);
        assert_eq!(scripts.known(1, "/bin/a".into()), Program::script("/bin/a".into(), entry.clone()));
        assert_eq!(scripts.learn(ScriptTarget { target: None, entry: None, ..found.clone() }), []);
        assert_eq!(scripts.known(1, "/bin/a".into()), Program::script("/bin/a".into(), entry));
        assert_eq!(scripts.learn(ScriptTarget { entry: None, ..found }), []);
        assert_eq!(scripts.known(1, "/bin/a".into()), Program::Script("/bin/a".into()));
    }

    #[test]
    fn any_number_of_scripts_is_bounded() {
        let mut scripts = Scripts::default();
        let one = process(1);
        for number in 0..10 * GENERATION {
            scripts.target(&one, format!("/x/{number}").as_str().into(), at(1));
            scripts.target(&one, "/in/use".into(), at(1));
            assert!(scripts.young.len() + scripts.old.len() <= 2 * GENERATION);
        }
        assert_eq!(scripts.take_wanted().len(), WANTED);
        assert_eq!(scripts.not_asked() as usize, 10 * GENERATION + 1 - WANTED);
    }
}
