//! Which process has which tag.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use agent_common::limits::TAGS;

use super::{AGENT, KIND_BITS, Session, kind_of};
use crate::attribute::place::Place;
use crate::generations::Generations;
use crate::model::bytes::RawBytes;
use crate::model::process::{AgentPart, AgentRole, LoginState, Process, ProcessKey};
use crate::process::{Asked, ProcessTable};

/// Sessions that have a tag at once. Those that no running process is of make room.
const SESSIONS: usize = 16_384;
/// Paths of cgroups whose place is remembered.
const PLACES: usize = 2_048;
/// Tags that wait to be set, or to be asked for: more come only while nobody takes them.
const WAITING: usize = TAGS as usize;

/// A process and its tag.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tag {
    /// Which process.
    pub process: ProcessKey,
    /// The number of its session; 0: none.
    pub number: u32,
}

/// What is learnt of a process's tag.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TagNews {
    /// The agent gave it.
    Given(Tag),
    /// The kernel had it, of a process whose beginning was lost.
    Found(Tag),
}

/// What became of tags; each only grows, but for `sessions`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TagCounters {
    /// Sessions that have a tag.
    pub sessions: u64,
    /// Tags that the kernel was told: those of processes that did not have theirs from their maker.
    pub given: u64,
    /// Processes that had theirs from their maker, and of which nothing else was to be found out.
    pub inherited: u64,
    /// Tags that it could not be told: its map is full.
    pub not_given: u64,
    /// How often its map could not be read, or changed, for another reason.
    pub failed: u64,
    /// Processes whose session only their tag has told.
    pub recovered: u64,
    /// Sessions that have none, because there are too many.
    pub without: u64,
}

impl TagCounters {
    /// All counters with their stable names, for heartbeats and metrics.
    pub fn by_name(&self) -> [(&'static str, u64); 7] {
        let Self { sessions, given, inherited, not_given, failed, recovered, without } = *self;
        [
            ("tag_sessions", sessions),
            ("tags_given", given),
            ("tags_inherited", inherited),
            ("tags_not_given", not_given),
            ("tags_failed", failed),
            ("tags_recovered", recovered),
            ("tag_sessions_without", without),
        ]
    }
}

/// What a process of a session is, of which no more is known.
#[derive(Clone, Debug)]
struct Member {
    role: Option<Arc<AgentRole>>,
    login: LoginState,
}

/// Numbers of sessions. No call blocks: what the kernel is to be told, or to be asked, waits until it is taken.
#[derive(Debug)]
pub struct Tags {
    /// The next number, its kind left out.
    next: u32,
    numbers: HashMap<Session, u32>,
    members: HashMap<u32, Member>,
    /// Sessions at the last time that room was made: with as many more it is made again.
    kept: usize,
    places: Generations<RawBytes, Arc<Place>>,
    wanted: Vec<Tag>,
    unknown: Vec<ProcessKey>,
    /// Whether it gives numbers: those of a recording are what they were.
    gives: bool,
    /// Whether somebody could not be given the tag of his session, for want of room.
    is_behind: bool,
    counters: TagCounters,
}

impl Default for Tags {
    fn default() -> Self {
        Self {
            next: 1,
            numbers: HashMap::new(),
            members: HashMap::new(),
            kept: 0,
            places: Generations::new(PLACES),
            wanted: Vec::new(),
            unknown: Vec::new(),
            gives: true,
            is_behind: false,
            counters: TagCounters::default(),
        }
    }
}

impl Tags {
    /// Those of a recording.
    pub fn of_recording() -> Self {
        Self { gives: false, ..Self::default() }
    }

    /// Takes a recording's.
    pub fn heard(&mut self, table: &mut ProcessTable, news: TagNews) {
        match news {
            TagNews::Found(tag) => {
                self.carries(table, tag);
                self.settle(table, tag.process);
            }
            TagNews::Given(tag) => {
                table.set_tag(tag.process, tag.number);
                let Some(found) = table.current(tag.process) else { return };
                if let Some(session) = self.session_of(&found.process)
                    && (self.numbers.len() < SESSIONS || self.numbers.contains_key(&session))
                {
                    self.keep(session, tag.number, &found.process);
                }
            }
        }
    }

    /// Begins with the processes that are known to run, and with the tags that an earlier agent's programs gave: these stay,
    /// and what they say of processes whose makers have ended is taken.
    pub fn begin(&mut self, table: &mut ProcessTable, given: &[Tag]) {
        self.next = given.iter().map(|tag| tag.number >> KIND_BITS).max().map_or(1, after);
        let running = |table: &ProcessTable, key: ProcessKey| table.current(key).filter(|found| found.runs);
        // Who is known to be of an agent says what the tag means for the rest.
        for agents in [true, false] {
            for tag in given {
                let Some(found) = running(table, tag.process) else { continue };
                if found.process.role.is_some() != agents {
                    continue;
                }
                if let Some(session) = self.session_of(&found.process)
                    && session.kind() == kind_of(tag.number)
                    && !self.members.contains_key(&tag.number)
                    && !self.numbers.contains_key(&session)
                {
                    self.keep(session, tag.number, &found.process);
                }
            }
        }
        for tag in given {
            if running(table, tag.process).is_some() {
                self.carries(table, *tag);
            }
        }
        for process in table.snapshot() {
            self.settle(table, process.key);
        }
    }

    /// A process was made, and has this tag in the kernel (0: none).
    pub fn forked(&mut self, table: &mut ProcessTable, child: Tag) {
        // What is made most is like its maker, of whom all of this was done. One that could not be may have the wrong tag.
        if self.gives && !self.is_behind && table.has_its_makers_tag(child.process, child.number) {
            self.counters.inherited += 1;
            return;
        }
        self.carries(table, child);
        self.settle(table, child.process);
    }

    /// A process may be of another session than before, or acts and its beginning was lost.
    pub fn changed(&mut self, table: &mut ProcessTable, key: ProcessKey) {
        self.settle(table, key);
    }

    /// A process has ended. It may have ended before its tag was set, which nothing else would remove.
    pub fn ended(&mut self, table: &ProcessTable, key: ProcessKey) {
        if self.gives && self.wanted.len() < WAITING && table.current(key).is_some_and(|found| found.was_told)
        {
            self.wanted.push(Tag { process: key, number: 0 });
        }
    }

    /// A process has this tag in the kernel, which may tell more of it than is known.
    fn carries(&mut self, table: &mut ProcessTable, tag: Tag) {
        table.set_tag(tag.process, tag.number);
        let Some(member) = self.members.get(&tag.number) else { return };
        let Some(found) = table.current(tag.process) else { return };
        let process = &found.process;
        let says_nothing = member.role.is_none() && member.login == LoginState::default();
        let is_known =
            process.role.is_some() || (member.role.is_none() && process.login != LoginState::default());
        if says_nothing || is_known {
            return;
        }
        let (role, login) = (member.role.clone(), member.login.clone());
        self.counters.recovered += 1;
        table.adopt(tag.process, role, login);
    }

    /// The kernel has taken a tag, or has no room for it.
    pub fn told(&mut self, was_taken: bool) {
        let count = if was_taken { &mut self.counters.given } else { &mut self.counters.not_given };
        *count += 1;
    }

    /// The map could not be read or changed, though there was room; whether that is the first time.
    pub fn failed(&mut self) -> bool {
        self.counters.failed += 1;
        self.counters.failed == 1
    }

    /// What the kernel is to be told.
    pub fn take_wanted(&mut self) -> Vec<Tag> {
        std::mem::take(&mut self.wanted)
    }

    /// Of whom it is to be asked.
    pub fn take_unknown(&mut self) -> Vec<ProcessKey> {
        std::mem::take(&mut self.unknown)
    }

    /// What became of tags.
    pub fn counters(&self) -> TagCounters {
        TagCounters { sessions: self.numbers.len() as u64, ..self.counters }
    }

    /// Lets a process have the tag of its session.
    fn settle(&mut self, table: &mut ProcessTable, key: ProcessKey) {
        let Some(found) = table.current(key).filter(|found| found.runs && self.gives) else { return };
        // The tag that it has may tell what it is of, and is not to be replaced before.
        match table.asks_for_tag(key) {
            Asked::Now if self.unknown.len() < WAITING => return self.unknown.push(key),
            Asked::Now => table.set_tag(key, 0),
            Asked::Waits => return,
            Asked::No | Asked::Answered => {}
        }
        // Who is of none keeps what it has from its maker.
        let Some(session) = self.session_of(&found.process) else { return };
        // It is of an agent's session all the same, of which no more is known.
        if kind_of(found.tag) == AGENT && session.kind() != AGENT {
            return;
        }
        let number = self.number(table, session, &found.process);
        let Some(number) = number.filter(|number| found.tag == *number || self.wanted.len() < WAITING) else {
            self.is_behind = true;
            return;
        };
        if found.tag == number {
            return;
        }
        table.tell_tag(key, number);
        self.wanted.push(Tag { process: found.process.key, number });
    }

    fn session_of(&mut self, process: &Process) -> Option<Session> {
        let path = &process.cgroup.path;
        let place = self.places.touched(path).unwrap_or_else(|| {
            let place = Arc::new(Place::parse(path.as_bytes()));
            self.places.insert(path.clone(), place.clone());
            place
        });
        Session::of(process, &place)
    }

    /// The number of a session, of which `process` is.
    fn number(&mut self, table: &ProcessTable, session: Session, process: &Process) -> Option<u32> {
        if let Some(number) = self.numbers.get(&session) {
            return Some(*number);
        }
        if self.numbers.len() >= SESSIONS.min(2 * self.kept.max(SESSIONS / 8)) {
            let used: HashSet<u32> = table.tagged().map(|tag| tag.number).collect();
            self.numbers.retain(|_, number| used.contains(number));
            self.members.retain(|number, _| used.contains(number));
            self.kept = self.numbers.len();
            if self.numbers.len() >= SESSIONS {
                self.counters.without += 1;
                return None;
            }
        }
        let number_of = |counter: u32| counter << KIND_BITS | session.kind();
        // After five hundred million, those are skipped that last.
        while self.members.contains_key(&number_of(self.next)) {
            self.next = after(self.next);
        }
        let number = number_of(self.next);
        self.next = after(self.next);
        self.keep(session, number, process);
        Some(number)
    }

    /// Keeps what a number means.
    fn keep(&mut self, session: Session, number: u32, process: &Process) {
        let role = process.role.as_ref().map(|role| {
            let part = match &role.part {
                AgentPart::Agent | AgentPart::Tool => AgentPart::Tool,
                AgentPart::McpServer { server } | AgentPart::McpTool { server } => {
                    AgentPart::McpTool { server: server.clone() }
                }
            };
            Arc::new(AgentRole { session: role.session.clone(), part })
        });
        // Who serves logins is no login.
        let LoginState { login, ci, .. } = process.login.clone();
        let login = match session {
            // All of a unit or a container are in one login at most by chance.
            Session::Unit(_) | Session::Container(_) => LoginState::default(),
            _ => LoginState { login, ci, ..LoginState::default() },
        };
        self.members.insert(number, Member { role, login });
        self.numbers.insert(session, number);
    }
}

/// The number after one, kinds left out; never 0.
const fn after(number: u32) -> u32 {
    if number >= u32::MAX >> KIND_BITS { 1 } else { number + 1 }
}
