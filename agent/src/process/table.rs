//! The process table: records of process life in, the process behind an act out.
//!
//! Records may come late, twice or not at all:
//! - an exec before its fork, or a fork before an older exec: each image is kept with the time it began, and an act
//!   gets the image of its own time (`versions`);
//! - an exit before other records of the process: it stays ended, and they still find it;
//! - a start that was lost: the process is made from the record that names it, with an image that is not known
//!   ([`Origin::Inferred`]), and counted;
//! - an exit that was lost: the next process with that pid tells.
//!
//! One order is taken as given: a process's fork of a child comes after its own exec (the kernel's process ring has
//! them in this order, and a child copies what its maker is known to run).

use std::collections::HashMap;
use std::sync::Arc;

use super::cgroups::CgroupNames;
use super::entries::{Asked, Entries, Entry, Limits};
use super::inventory::Inventory;
use super::program::{Program, program_of};
use super::scripts::{ScriptPath, ScriptTarget, Scripts, WantedScript};
use super::{Logins, NoLogins, NoRoles, ProcessCounters, Redactor, Roles, image};
use crate::model::act::{Act, Actor, Deed, Exec, Exit, Fork};
use crate::model::process::{AgentRole, Cgroup, ExecImage, LoginState, Origin, Process, ProcessKey};
use crate::model::program::{AgentCopy, FileKey};
use crate::model::time::BootTime;
use crate::session::Tag;

/// Processes that wait to be looked at because they were said anew: more than are kept are never said at once.
const RENEWED: usize = 65_536;

/// All processes, told apart by pid and start.
#[derive(Debug)]
pub struct ProcessTable {
    entries: Entries,
    cgroups: CgroupNames,
    redact: Redactor,
    roles: Box<dyn Roles>,
    logins: Box<dyn Logins>,
    scripts: Scripts,
    /// The image of a process whose start was lost.
    unknown: Arc<ExecImage>,
    /// Length of a clock tick: the precision of starts in /proc.
    tick_ns: u64,
    renewed: Vec<ProcessKey>,
    counters: ProcessCounters,
}

impl ProcessTable {
    /// An empty table. `tick_ns` is the length of a clock tick in /proc ([`super::inventory::tick_ns`]).
    pub fn new(redact: Redactor, tick_ns: u64) -> Self {
        Self::with_limits(redact, tick_ns, Limits::default())
    }

    /// An empty table with bounds of its own.
    pub fn with_limits(redact: Redactor, tick_ns: u64, limits: Limits) -> Self {
        Self {
            entries: Entries::new(limits),
            cgroups: CgroupNames::default(),
            redact,
            roles: Box::new(NoRoles),
            logins: Box::new(NoLogins),
            scripts: Scripts::default(),
            unknown: Arc::default(),
            tick_ns: tick_ns.max(1),
            renewed: Vec::new(),
            counters: ProcessCounters::default(),
        }
    }

    /// The same, with AI agents that are known by these.
    #[must_use]
    pub fn with_roles(self, roles: Box<dyn Roles>) -> Self {
        Self { roles, ..self }
    }

    /// The same, with logins that are known by these.
    #[must_use]
    pub fn with_logins(self, logins: Box<dyn Logins>) -> Self {
        Self { logins, ..self }
    }

    /// What it did and could not keep.
    pub fn counters(&self) -> ProcessCounters {
        let cgroups = self.cgroups.counters();
        ProcessCounters {
            evicted_cgroups: cgroups.evicted,
            unknown_cgroups: cgroups.unknown,
            cgroups_not_asked: cgroups.not_asked,
            scripts_not_asked: self.scripts.not_asked(),
            copies_evicted: self.roles.copies_evicted(),
            ..self.counters
        }
    }

    /// Running processes that are known.
    pub fn live(&self) -> usize {
        self.entries.live()
    }

    /// Ended processes that are still known.
    pub fn ended(&self) -> usize {
        self.entries.ended()
    }

    /// Takes a record of process life; hands back any other act.
    pub fn observe(&mut self, act: Act) -> Option<Act> {
        match act.deed {
            Deed::Fork(fork) => drop(self.fork(act.time, &fork)),
            Deed::Exec(exec) => drop(self.exec(act.time, *exec)),
            Deed::Exit(exit) => self.exit(act.time, &exit),
            Deed::CgroupMade { cgroup, is_beyond_budget } => self.cgroups.made(cgroup, is_beyond_budget),
            _ => return Some(act),
        }
        None
    }

    /// The process behind an act, with its image at that time. Never fails: a process that is not known is made from
    /// what the act says of it.
    pub fn process_of(&mut self, actor: &Actor, time: BootTime) -> Arc<Process> {
        self.settle(actor.process);
        if self.entries.get(actor.process).is_none() {
            self.infer(actor);
        }
        match self.entries.get_mut(actor.process) {
            Some(entry) => {
                entry.last_seen = entry.last_seen.max(time);
                let process = entry.versions.at(time).clone();
                entry.versions.forget(entry.last_seen);
                process
            }
            // It had ended before others that are kept and was dropped again at once.
            None => Arc::new(self.inferred(actor)),
        }
    }

    /// The cgroup an actor was in at its act: that of its exec, or another it was moved to since.
    pub fn cgroup_of(&mut self, actor: &Actor, process: &Process) -> Arc<Cgroup> {
        if process.cgroup.id == actor.cgroup_id && !process.cgroup.path.is_empty() {
            return process.cgroup.clone();
        }
        self.cgroups.named(actor.cgroup_id)
    }

    /// The process as it is in a cgroup that it was moved to since it began, or executed its program; `None` where it is there
    /// already, or that cgroup's name is not known. From the latest act on, that is where it is.
    pub fn moved(&mut self, process: &Arc<Process>, cgroup: &Arc<Cgroup>, time: BootTime) -> Option<Moved> {
        let is_known = process.cgroup.id == cgroup.id && !process.cgroup.path.is_empty();
        if is_known || cgroup.path.is_empty() {
            return None;
        }
        let moved = Arc::new(Process { cgroup: cgroup.clone(), ..Process::clone(process) });
        let entry = self.entries.get_mut(process.key);
        let is_latest = entry.is_some_and(|entry| {
            // It may have moved on since, or execute another program there.
            let is_latest = time >= entry.moved_at && entry.versions.replace_current(process, &moved);
            if is_latest {
                entry.moved_at = time;
            }
            is_latest
        });
        Some(Moved { process: moved, is_latest })
    }

    /// All cgroups whose names are known.
    pub fn cgroups(&self) -> impl Iterator<Item = &Arc<Cgroup>> {
        self.cgroups.iter()
    }

    /// Ids of cgroups whose names are to be looked for.
    pub fn take_wanted_cgroups(&mut self, now: BootTime) -> Vec<u64> {
        self.cgroups.take_wanted(now)
    }

    /// Says that so many will not be looked for.
    pub fn cgroups_not_asked(&mut self, number: usize) {
        self.cgroups.not_asked(number);
    }

    /// Takes names of cgroups that were looked for.
    pub fn learn_cgroups<'a>(&mut self, found: impl IntoIterator<Item = &'a Cgroup>) {
        for Cgroup { id, path } in found {
            self.cgroups.learn(*id, path);
        }
    }

    /// The process that made `process`, as it was then; `None` where that is not known, or no longer.
    pub fn parent_of(&self, process: &Process) -> Option<Arc<Process>> {
        let made_by = self.entries.get(process.key).and_then(|entry| entry.parent.clone());
        let Some(parent) = made_by else {
            return self.entries.get(process.parent?).map(|entry| entry.versions.at(process.since).clone());
        };
        if self.entries.exact(parent.key) == parent.key {
            return Some(parent);
        }
        // Its exact start became known since.
        let known = self.entries.get(parent.key).and_then(|entry| {
            entry.versions.iter().find(|version| Arc::ptr_eq(&version.image, &parent.image)).cloned()
        });
        Some(known.unwrap_or_else(|| {
            Arc::new(Process { key: self.entries.exact(parent.key), ..Process::clone(&parent) })
        }))
    }

    /// The process with this pid that is known to run, as it is now.
    pub fn running(&self, pid: u32) -> Option<Arc<Process>> {
        let entry = self.entries.newest(pid)?;
        (entry.ended.is_none()).then(|| entry.versions.current().clone())
    }

    /// A process as it is now, or was last.
    pub fn current(&self, key: ProcessKey) -> Option<Current> {
        let entry = self.entries.get(key).or_else(|| {
            // A seeded one, whose start is known to a tick.
            self.entries.newest(key.pid).filter(|entry| self.same_tick(entry.key(), key))
        })?;
        let process = entry.versions.current().clone();
        let Entry { tag, was_told, ended, .. } = entry;
        Some(Current { process, tag: *tag, was_told: *was_told, runs: ended.is_none() })
    }

    /// Says which tag a process has in the kernel.
    pub fn set_tag(&mut self, key: ProcessKey, tag: u32) {
        let Some(Current { process, .. }) = self.current(key) else { return };
        if let Some(entry) = self.entries.get_mut(process.key) {
            entry.tag = tag;
            if entry.asked == Asked::Waits {
                entry.asked = Asked::Answered;
            }
        }
    }

    /// As [`ProcessTable::set_tag`], of a process that was just made, where that says nothing new: it has the tag that is known of its maker, and
    /// nothing of what a session is known by differs between the two. Whether that is so; else nothing was done.
    pub fn has_its_makers_tag(&mut self, child: ProcessKey, tag: u32) -> bool {
        let Some((entry, maker)) = self.entries.get(child).and_then(|entry| {
            let maker = self.entries.get(entry.parent.as_ref()?.key)?;
            Some((entry, maker))
        }) else {
            return false;
        };
        let (made, by) = (entry.versions.current(), maker.versions.current());
        let is_like = tag != 0
            && maker.tag == tag
            && entry.tag == 0
            && entry.asked == Asked::No
            && entry.ended.is_none()
            && (made.ids.login_uid, made.ids.session_id) == (by.ids.login_uid, by.ids.session_id)
            && same(made.role.as_ref(), by.role.as_ref())
            && same(made.login.login.as_ref(), by.login.login.as_ref())
            && same(made.login.ci.as_ref(), by.login.ci.as_ref())
            && Arc::ptr_eq(&made.cgroup, &by.cgroup);
        if is_like && let Some(entry) = self.entries.get_mut(child) {
            entry.tag = tag;
        }
        is_like
    }

    /// As [`ProcessTable::set_tag`], of a tag that the kernel is told by the agent.
    pub fn tell_tag(&mut self, key: ProcessKey, tag: u32) {
        self.set_tag(key, tag);
        if let Some(entry) = self.entries.get_mut(key) {
            entry.was_told = true;
        }
    }

    /// Whether the kernel is to be asked for a process's tag: once, where its beginning was lost, so that nothing else tells.
    pub fn asks_for_tag(&mut self, key: ProcessKey) -> Asked {
        let Some(entry) = self.entries.get_mut(key) else { return Asked::No };
        let process = entry.versions.current();
        let is_lost = !entry.versions.fork_seen() && entry.read_at.is_none() && process.role.is_none();
        match entry.asked {
            Asked::No if !is_lost => Asked::No,
            Asked::No => {
                entry.asked = Asked::Waits;
                Asked::Now
            }
            asked => asked,
        }
    }

    /// Processes whose part in an agent's session, or in a login, became known, or another, since the last time.
    pub fn take_renewed(&mut self) -> Vec<ProcessKey> {
        std::mem::take(&mut self.renewed)
    }

    /// The tags of all processes that are known to run and have one.
    pub fn tagged(&self) -> impl Iterator<Item = Tag> {
        let tag = |entry: &Entry| Tag { process: entry.key(), number: entry.tag };
        self.entries.running().map(tag).filter(|tag| tag.number != 0)
    }

    /// Gives a process whose beginning was lost what it would have inherited: its tag has told. What it runs, and what it has
    /// started, is said anew.
    pub fn adopt(&mut self, key: ProcessKey, role: Option<Arc<AgentRole>>, login: LoginState) {
        let Some(Current { process, .. }) = self.current(key) else { return };
        let (roles, logins, scripts) = (&self.roles, &self.logins, &self.scripts);
        let Some(entry) = self.entries.get_mut(process.key) else { return };
        let (mut role, mut login) = (role, login);
        entry.versions.update_inherited(|process| {
            if process.exec_count > 0 {
                let program = match program_of(&process.image) {
                    Program::Script(path) => scripts.known(process.namespaces.mount, path),
                    other => other,
                };
                role = roles.at_exec(process, &program, role.as_ref());
                login = logins.at_exec(process, &login);
            }
            (role.clone(), login.clone())
        });
        if self.renewed.len() < RENEWED {
            self.renewed.push(process.key);
        }
        self.renew_children(process.key);
    }

    /// A process that ran at a time, as it was then; `None` where it had ended, or is not known.
    pub fn running_at(&self, key: ProcessKey, time: BootTime) -> Option<Arc<Process>> {
        let entry = self.entries.get(key).filter(|entry| entry.ended.is_none_or(|ended| ended >= time))?;
        Some(entry.versions.at(time).clone())
    }

    /// Whether a process has made others that are known.
    pub fn has_made_others(&self, key: ProcessKey) -> bool {
        self.entries.get(key).is_some_and(Entry::has_children)
    }

    /// What a process has made since a time, and that runs the same program as it still.
    pub fn forked_by(&self, maker: ProcessKey, since: BootTime) -> Vec<Arc<Process>> {
        let Some(entry) = self.entries.get(maker) else { return Vec::new() };
        let (maker, image) = (entry.key(), &entry.versions.current().image);
        let made = |process: &&Arc<Process>| {
            process.parent.is_some_and(|parent| self.entries.exact(parent) == maker)
                && Arc::ptr_eq(&process.image, image)
                && process.since > since
        };
        self.entries.running().map(|entry| entry.versions.current()).filter(made).cloned().collect()
    }

    /// All processes that are known to run, as they are now.
    pub fn snapshot(&self) -> Vec<Arc<Process>> {
        self.entries.running().map(|entry| entry.versions.current().clone()).collect()
    }

    /// Takes what /proc showed. Processes that records have told of already are left as they are.
    pub fn seed(&mut self, inventory: Inventory) {
        for (id, path) in &inventory.cgroups {
            self.cgroups.learn(*id, path);
        }
        let mut seeded = Vec::with_capacity(inventory.processes.len());
        for found in inventory.processes {
            let mut process = found.process;
            // For it to be asked.
            self.program(&process, found.read_at);
            let known = self.entries.newest(process.key.pid).map(|entry| entry.versions.current().key);
            if known.is_some_and(|known| self.same_tick(known, process.key)) {
                continue;
            }
            process.image = self.keep_image(ExecImage::clone(&process.image));
            process.cgroup = self.cgroups.learn(process.cgroup.id, &process.cgroup.path);
            let key = process.key;
            let mut entry = Entry::new(process, None);
            entry.coarse = true;
            entry.read_at = Some(found.read_at);
            entry.last_seen = found.read_at;
            self.entries.insert(entry, &mut self.counters);
            self.counters.seeded += 1;
            seeded.push((key, found.parent_pid));
        }
        // Makers first: what they are to an agent, and to logins, is inherited.
        seeded.sort_unstable_by_key(|(key, _)| key.start);
        for &(key, parent_pid) in &seeded {
            let parent = self.entries.newest(parent_pid).map(|entry| entry.versions.current().clone());
            // A parent that is younger took the pid while /proc was being read.
            let tick = |key: ProcessKey| key.start.ns / self.tick_ns;
            if let Some(parent) = parent.filter(|parent| parent.key != key && tick(parent.key) <= tick(key)) {
                self.entries.set_parent(key, parent);
            }
            self.renew_inherited(key);
        }
        self.find_logins(seeded.iter().map(|(key, _)| *key));
    }

    /// Gives what was found running, and whose parents have ended, the login of its audit session: the kernel gives each
    /// login another number, and keeps it.
    fn find_logins(&mut self, seeded: impl Iterator<Item = ProcessKey> + Clone) {
        let mut logins = HashMap::new();
        for key in seeded.clone() {
            let Some(process) = self.entries.get(key).map(|entry| entry.versions.current()) else { continue };
            if let Some(login) = &process.login.login
                && login.session_id.is_some()
                && (login.login_uid, login.session_id) == (process.ids.login_uid, process.ids.session_id)
            {
                logins.entry((login.login_uid, login.session_id)).or_insert_with(|| login.clone());
            }
        }
        for key in seeded {
            let Some(entry) = self.entries.get_mut(key) else { continue };
            let process = entry.versions.current();
            let login = logins.get(&(process.ids.login_uid, process.ids.session_id));
            if let (None, Some(login)) = (&process.login.login, login) {
                entry.versions.update(|process| process.login.login = Some(login.clone()));
            }
        }
    }

    /// Looks ahead at records that waited while /proc was read, before they are observed: a process that called exec
    /// in that time was seeded with the image that it ran afterwards, so what it ran before is not known.
    pub fn foresee(&mut self, waiting: &[Act]) {
        for act in waiting {
            let Deed::Exec(exec) = &act.deed else { continue };
            self.settle(exec.actor.process);
            let unknown = self.unknown.clone();
            let Some(entry) = self.entries.get_mut(exec.actor.process) else { continue };
            if entry.read_at.is_some_and(|read_at| act.time <= read_at) {
                entry.versions.update(|process| doubt(process, &unknown));
            }
        }
    }

    fn fork(&mut self, time: BootTime, fork: &Fork) -> Arc<Process> {
        let maker = self.process_of(&fork.actor, time);
        self.settle(fork.child);
        let child = Process {
            key: fork.child,
            parent: Some(maker.key),
            namespaced_pid: fork.namespaced_pid,
            image: maker.image.clone(),
            ids: fork.actor.ids,
            cgroup: self.cgroup_of(&fork.actor, &maker),
            namespaces: fork.actor.namespaces,
            origin: Origin::Observed,
            since: time,
            exec_count: 0,
            role: maker.role.clone(),
            login: maker.login.clone(),
        };
        let Some(entry) = self.entries.get_mut(fork.child) else {
            let entry = Entry::new(child.clone(), Some(maker));
            self.entries.insert(entry, &mut self.counters);
            return Arc::new(child);
        };
        if entry.versions.fork_seen() {
            self.counters.duplicates += 1;
            return entry.versions.at(time).clone();
        }
        // It was known before its fork was told: by a later act of its own, or by /proc, which showed it as it was
        // when it was read.
        let child = Arc::new(child);
        if let Some(read_at) = entry.read_at {
            entry.versions.update(|process| {
                if process.origin == Origin::Inventoried && !same_program(&process.image, &child.image) {
                    process.since = read_at;
                }
            });
        }
        entry.versions.insert(child.clone());
        entry.versions.retain(|process| process.origin == Origin::Observed || process.since > time);
        self.entries.set_parent(fork.child, maker);
        // What it called exec for since was taken for a stranger's.
        self.renew_inherited(fork.child);
        child
    }

    fn exec(&mut self, time: BootTime, exec: Exec) -> Arc<Process> {
        let Exec { actor, parent, namespaced_pid, image, cgroup_path } = exec;
        let before = self.process_of(&actor, time);
        if before.origin == Origin::Observed && before.since == time && before.exec_count > 0 {
            self.counters.duplicates += 1;
            return before;
        }
        self.settle(parent);
        let mut process = Process {
            key: actor.process,
            parent: before.parent.or((parent.pid != 0).then_some(parent)),
            namespaced_pid,
            image: self.keep_image(image),
            ids: actor.ids,
            cgroup: self.cgroups.learn(actor.cgroup_id, &cgroup_path),
            namespaces: actor.namespaces,
            origin: Origin::Observed,
            since: time,
            exec_count: before.exec_count + 1,
            role: None,
            login: LoginState::default(),
        };
        let program = self.program(&process, time);
        process.role = self.roles.at_exec(&process, &program, before.role.as_ref());
        process.login = self.logins.at_exec(&process, &before.login);
        let process = Arc::new(process);
        let made_by = self.entries.get(parent).map(|entry| entry.versions.at(time).clone());
        let unknown = self.unknown.clone();
        let Some(entry) = self.entries.get_mut(actor.process) else { return process };
        if entry.read_at.is_some_and(|read_at| time <= read_at) {
            // /proc showed this image, or a later one that its own record will tell.
            entry.versions.retain(|other| other.origin != Origin::Inventoried || other.since < time);
            entry.versions.update(|process| doubt(process, &unknown));
        }
        entry.versions.update(|process| process.exec_count += u32::from(process.since > time));
        entry.versions.insert(process.clone());
        if entry.parent.is_none()
            && let Some(made_by) = made_by
        {
            self.entries.set_parent(actor.process, made_by);
            // Its fork was lost: what it is to an agent, and to logins, comes from who made it all the same.
            self.renew_inherited(actor.process);
        }
        process
    }

    /// What a process runs, with links followed as far as is known.
    fn program(&mut self, process: &Process, now: BootTime) -> Program {
        match program_of(&process.image) {
            Program::Script(path) => self.scripts.target(process, path, now),
            other => other,
        }
    }

    /// Scripts whose paths may lead elsewhere, to be told by [`Self::learn_script`].
    pub fn take_wanted_scripts(&mut self) -> Vec<WantedScript> {
        self.scripts.take_wanted()
    }

    /// Says that a wanted script will not be told.
    pub fn script_not_asked(&mut self, script: &ScriptPath) {
        self.scripts.refused(script);
    }

    /// Takes where a script's path leads. Who has just run it may be an agent after all, and so what it has started since.
    pub fn learn_script(&mut self, found: ScriptTarget) {
        for key in self.scripts.learn(found) {
            self.renew_inherited(key);
        }
    }

    /// Takes that a file is a copy of an agent's program. Who runs it, and what he has started, is said anew.
    pub fn learn_copy(&mut self, copy: &AgentCopy) {
        self.roles.learn_copy(copy);
        let runs_it = |entry: &&Entry| {
            let process = entry.versions.current();
            process.ids.uid == copy.uid && FileKey::from(&process.image.exe_file) == copy.file
        };
        let running: Vec<_> = self.entries.running().filter(runs_it).map(Entry::key).collect();
        for key in running {
            self.renew_inherited(key);
        }
    }

    /// Says anew what a process is to an agent and to logins, and, where that changed, what its descendants are.
    fn renew_inherited(&mut self, key: ProcessKey) {
        if self.renew_one(key) {
            self.renew_children(key);
        }
    }

    fn renew_children(&mut self, key: ProcessKey) {
        if self.entries.get(key).is_none_or(|entry| !entry.has_children()) {
            return;
        }
        let mut children: HashMap<ProcessKey, Vec<ProcessKey>> = HashMap::new();
        for entry in self.entries.all() {
            if let Some(parent) = entry.versions.current().parent {
                children.entry(self.entries.exact(parent)).or_default().push(entry.key());
            }
        }
        let mut to_renew = children.remove(&self.entries.exact(key)).unwrap_or_default();
        // Each is a child of one: none is renewed for ever.
        while let Some(key) = to_renew.pop() {
            if self.renew_one(key) {
                to_renew.extend(children.remove(&key).unwrap_or_default());
            }
        }
    }

    /// Says anew what a process is to an agent and to logins, from what its maker was at its fork; whether that changed. A
    /// role or a login that it has is never taken back.
    fn renew_one(&mut self, key: ProcessKey) -> bool {
        let Some(entry) = self.entries.get(key) else { return false };
        let made_by = entry.parent.as_ref();
        let maker = made_by.and_then(|made_by| {
            let is_it = |version: &&Arc<Process>| {
                version.since == made_by.since && Arc::ptr_eq(&version.image, &made_by.image)
            };
            self.entries.get(made_by.key)?.versions.iter().find(is_it)
        });
        let maker = maker.or(made_by);
        let mut before = maker.and_then(|maker| maker.role.clone());
        let mut login = maker.map(|maker| maker.login.clone()).unwrap_or_default();
        let (roles, logins, scripts) = (&self.roles, &self.logins, &self.scripts);
        let Some(entry) = self.entries.get_mut(key) else { return false };
        let has_changed = entry.versions.update_inherited(|process| {
            let forked = process.exec_count == 0 && process.origin == Origin::Observed;
            if !forked {
                let program = match program_of(&process.image) {
                    Program::Script(path) => scripts.known(process.namespaces.mount, path),
                    other => other,
                };
                before = roles.at_exec(process, &program, before.as_ref());
                login = logins.at_exec(process, &login);
            }
            before = before.take().or_else(|| process.role.clone());
            login.login = login.login.take().or_else(|| process.login.login.clone());
            login.ci = login.ci.take().or_else(|| process.login.ci.clone());
            (before.clone(), login.clone())
        });
        if has_changed && self.renewed.len() < RENEWED {
            self.renewed.push(entry.key());
        }
        has_changed
    }

    fn exit(&mut self, time: BootTime, exit: &Exit) {
        self.process_of(&exit.actor, time);
        match self.entries.get(exit.actor.process).map(|entry| entry.ended) {
            Some(None) => self.entries.end(exit.actor.process, time),
            _ => self.counters.duplicates += 1,
        }
        self.entries.sweep(time, &mut self.counters);
    }

    /// Gives a seeded process its exact start, if `key` is its: same pid, start in the same tick.
    fn settle(&mut self, key: ProcessKey) {
        let Some(newest) = self.entries.newest(key.pid).filter(|entry| entry.coarse) else { return };
        let coarse = newest.versions.current().key;
        if self.same_tick(coarse, key) {
            self.entries.rekey(coarse, key);
            self.counters.upgraded += 1;
        }
    }

    fn same_tick(&self, one: ProcessKey, other: ProcessKey) -> bool {
        one.pid == other.pid && one.start.ns / self.tick_ns == other.start.ns / self.tick_ns
    }

    fn infer(&mut self, actor: &Actor) {
        let process = self.inferred(actor);
        self.entries.insert(Entry::new(process, None), &mut self.counters);
        self.counters.inferred += 1;
    }

    fn inferred(&mut self, actor: &Actor) -> Process {
        Process {
            key: actor.process,
            parent: None,
            namespaced_pid: actor.process.pid,
            image: self.unknown.clone(),
            ids: actor.ids,
            cgroup: self.cgroups.named_already(actor.cgroup_id),
            namespaces: actor.namespaces,
            origin: Origin::Inferred,
            since: actor.process.start,
            exec_count: 0,
            role: None,
            login: LoginState::default(),
        }
    }

    #[cfg(test)]
    pub(crate) fn check_invariants(&self) {
        self.entries.check_invariants();
    }

    fn keep_image(&mut self, image: ExecImage) -> Arc<ExecImage> {
        let (image, cut) = image::keep(image, self.redact);
        self.counters.images_cut += u64::from(cut);
        Arc::new(image)
    }
}

/// A process that was moved to another cgroup.
#[derive(Clone, Debug)]
pub struct Moved {
    /// It, there.
    pub process: Arc<Process>,
    /// Whether that is where it is now, as far as is known.
    pub is_latest: bool,
}

/// A process, and what is known of it beside.
#[derive(Clone, Debug)]
pub struct Current {
    /// As it is now, or was last.
    pub process: Arc<Process>,
    /// Its tag in the kernel, as far as is known; 0: none.
    pub tag: u32,
    /// Whether the kernel was told so by the agent.
    pub was_told: bool,
    /// Whether it is known to run.
    pub runs: bool,
}

/// Takes back what /proc showed of a process that called exec before it was read.
fn doubt(process: &mut Process, unknown: &Arc<ExecImage>) {
    if process.origin == Origin::Inventoried {
        process.image = unknown.clone();
        process.origin = Origin::Inferred;
    }
}

/// Whether both are one and the same.
fn same<T>(one: Option<&Arc<T>>, other: Option<&Arc<T>>) -> bool {
    match (one, other) {
        (Some(one), Some(other)) => Arc::ptr_eq(one, other),
        (one, other) => one.is_none() && other.is_none(),
    }
}

fn same_program(one: &ExecImage, other: &ExecImage) -> bool {
    (one.exe_file, &one.exe, &one.argv) == (other.exe_file, &other.exe, &other.argv)
}
