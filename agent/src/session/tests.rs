//! Tags, with a kernel of the test's own that inherits them, and records that come late or never.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use super::{AGENT, Tag, TagNews, Tags, kind_of};
use crate::attribute::AgentRoles;
use crate::catalogue::agents::AgentCatalogue;
use crate::model::act::{Act, Actor, Deed, Exec, Exit, Fork, Namespaces};
use crate::model::bytes::RawBytes;
use crate::model::process::{AgentPart, CredentialIds, ExecImage, Origin, Process, ProcessKey};
use crate::model::time::BootTime;
use crate::process::ProcessTable;
use crate::process::inventory::{Found, HostNamespaces, Inventory};

const HOST: HostNamespaces = HostNamespaces { mount: 1, user: 2 };
const CLAUDE: &str = "/usr/lib/node_modules/@anthropic-ai/claude-code/bin/claude.exe";
const SHELL: &str = "/usr/bin/bash";

/// A host: what its kernel has, and what the agent knows of it.
struct Host {
    table: ProcessTable,
    tags: Tags,
    /// The map of tags.
    kernel: HashMap<u32, Tag>,
    waiting: Vec<Act>,
    now: u64,
    pid: u32,
}

fn table() -> ProcessTable {
    let roles = AgentRoles::new(Arc::new(AgentCatalogue::shipped().unwrap()), HOST);
    ProcessTable::new(|argv| argv.to_vec(), 10_000_000).with_roles(Box::new(roles))
}

impl Host {
    fn new() -> Self {
        let (table, tags, kernel, waiting) = (table(), Tags::default(), HashMap::new(), Vec::new());
        Self { table, tags, kernel, waiting, now: 1_000_000_000, pid: 100 }
    }

    fn actor(process: ProcessKey) -> Actor {
        let ids = CredentialIds {
            login_uid: Some(1000),
            session_id: Some(3),
            uid: 1000,
            ..CredentialIds::default()
        };
        let namespaces = Namespaces { mount: HOST.mount, user: HOST.user, ..Namespaces::default() };
        Actor { process, tid: process.pid, ids, cgroup_id: 1, namespaces, comm: RawBytes::default() }
    }

    fn happens(&mut self, deed: Deed) {
        self.now += 20_000_000;
        self.waiting.push(Act { time: BootTime::from_ns(self.now), hook: "test", deed });
    }

    fn fork(&mut self, maker: ProcessKey) -> ProcessKey {
        self.pid += 1;
        let child = ProcessKey { pid: self.pid, start: BootTime::from_ns(self.now + 20_000_000) };
        let inherited = self.kernel.get(&maker.pid).filter(|tag| tag.process == maker).map(|tag| tag.number);
        if let Some(number) = inherited {
            self.kernel.insert(child.pid, Tag { process: child, number });
        }
        let tag = inherited.unwrap_or(0);
        let actor = Self::actor(maker);
        self.happens(Deed::Fork(Fork { actor, child, parent: maker, namespaced_pid: child.pid, tag }));
        child
    }

    fn exec(&mut self, process: ProcessKey, exe: &str) {
        let image = ExecImage {
            exe: exe.into(),
            filename: exe.into(),
            argv: vec![exe.into()],
            ..ExecImage::default()
        };
        let parent = ProcessKey { pid: 1, start: BootTime::from_ns(1) };
        let (actor, cgroup_path) =
            (Self::actor(process), "/user.slice/user-1000.slice/session-3.scope".into());
        let namespaced_pid = process.pid;
        self.happens(Deed::Exec(Box::new(Exec { actor, parent, namespaced_pid, image, cgroup_path })));
    }

    fn exit(&mut self, process: ProcessKey) {
        self.kernel.remove(&process.pid);
        self.happens(Deed::Exit(Exit { actor: Self::actor(process), wait_status: 0 }));
    }

    /// The agent reads what waits; what it wants is not yet done.
    fn read(&mut self) {
        for act in std::mem::take(&mut self.waiting) {
            let made = match &act.deed {
                Deed::Fork(fork) => Some(Tag { process: fork.child, number: fork.tag }),
                _ => None,
            };
            let (changed, ended) = match &act.deed {
                Deed::Exec(exec) => (Some(exec.actor.process), None),
                Deed::Exit(exit) => (None, Some(exit.actor.process)),
                _ => (None, None),
            };
            self.table.observe(act);
            if let Some(child) = made {
                self.tags.forked(&mut self.table, child);
            }
            if let Some(key) = changed {
                self.tags.changed(&mut self.table, key);
            }
            if let Some(key) = ended {
                self.tags.ended(&self.table, key);
            }
            self.renew();
        }
    }

    fn renew(&mut self) {
        for key in self.table.take_renewed() {
            self.tags.changed(&mut self.table, key);
        }
    }

    /// The kernel is told, and asked.
    fn tell(&mut self) {
        for tag in self.tags.take_wanted() {
            if tag.number == 0 {
                self.kernel.retain(|_, found| found.process != tag.process);
            } else {
                self.kernel.insert(tag.process.pid, tag);
            }
            self.tags.told(true);
        }
        for key in self.tags.take_unknown() {
            let found = self.kernel.get(&key.pid).filter(|tag| tag.process == key);
            let tag = found.copied().unwrap_or(Tag { process: key, number: 0 });
            self.tags.heard(&mut self.table, TagNews::Found(tag));
        }
        self.renew();
    }

    fn settle(&mut self) {
        self.read();
        self.tell();
        // What was learnt of the unknown may be told once more.
        self.tell();
    }

    fn tag(&self, process: ProcessKey) -> u32 {
        self.kernel.get(&process.pid).map_or(0, |tag| tag.number)
    }

    fn shell(&mut self) -> ProcessKey {
        let shell = self.fork(ProcessKey { pid: 7, start: BootTime::from_ns(7) });
        self.exec(shell, SHELL);
        shell
    }

    fn start(&mut self, maker: ProcessKey, exe: &str) -> ProcessKey {
        let process = self.fork(maker);
        self.exec(process, exe);
        process
    }

    /// Another agent takes over: it knows what runs, but not who has made those whose makers have ended.
    fn restart(&mut self) {
        let found = self.table.snapshot().into_iter().map(|process| {
            let parent_pid = process.parent.map_or(1, |parent| parent.pid);
            let process = Process {
                role: None,
                login: Default::default(),
                parent: None,
                origin: Origin::Inventoried,
                exec_count: 0,
                key: ProcessKey {
                    start: BootTime::from_ns(process.key.start.ns / 10_000_000 * 10_000_000),
                    ..process.key
                },
                ..Process::clone(&process)
            };
            Found { process, parent_pid, read_at: BootTime::from_ns(self.now) }
        });
        let inventory = Inventory { processes: found.collect(), ..Inventory::default() };
        (self.table, self.tags) = (table(), Tags::default());
        self.table.seed(inventory);
        let given: Vec<_> = self.kernel.values().copied().collect();
        self.tags.begin(&mut self.table, &given);
        self.tell();
    }
}

#[test]
fn a_session_has_one_tag_and_what_it_starts_has_the_same() {
    let mut host = Host::new();
    let shell = host.shell();
    host.settle();
    let agent = host.start(shell, CLAUDE);
    host.settle();
    let tool = host.start(agent, SHELL);
    // A double fork: its maker ends.
    let middle = host.fork(tool);
    let daemon = host.start(middle, "/usr/bin/sleep");
    host.exit(middle);
    // Before the agent has read a word of it.
    assert_eq!([tool, daemon].map(|process| host.tag(process)), [host.tag(agent); 2]);
    host.settle();
    assert_eq!([tool, daemon].map(|process| host.tag(process)), [host.tag(agent); 2]);
    assert_eq!(kind_of(host.tag(agent)), AGENT);
    assert_ne!(host.tag(shell), 0);
    assert_ne!(host.tag(shell), host.tag(agent));
    let given = host.tags.counters().given;
    assert_eq!(given, 2, "of those that inherit, the kernel is told nothing");
    // The agent, before it was one, and the three that it has made.
    assert_eq!(host.tags.counters().inherited, 4, "and nothing else is looked up");
    assert_eq!(host.tag(middle), 0);
}

#[test]
fn who_was_made_before_its_makers_tag_was_set_is_given_it() {
    let mut host = Host::new();
    let shell = host.shell();
    host.settle();
    let agent = host.start(shell, CLAUDE);
    let early = host.fork(agent);
    host.read();
    let late = host.fork(early);
    assert_eq!(host.tag(late), host.tag(shell), "the kernel knows no better yet");
    host.tell();
    host.settle();
    assert_eq!([early, late].map(|process| host.tag(process)), [host.tag(agent); 2]);
    assert_ne!(host.tag(agent), host.tag(shell));
    assert_eq!(host.tags.counters().inherited, 1, "the agent alone, before it was one");
}

#[test]
fn who_ended_before_its_tag_was_set_leaves_none() {
    let mut host = Host::new();
    let shell = host.shell();
    host.settle();
    let agent = host.start(shell, CLAUDE);
    host.read();
    host.exit(agent);
    host.tell();
    assert_ne!(host.tag(agent), 0);
    host.settle();
    assert_eq!(host.tag(agent), 0);
    assert_eq!(host.kernel.len(), 1);
}

#[test]
fn of_whom_the_beginning_was_lost_the_tag_tells() {
    let mut host = Host::new();
    let shell = host.shell();
    let agent = host.start(shell, CLAUDE);
    host.settle();
    let tool = host.fork(agent);
    host.waiting.clear();
    host.exec(tool, SHELL);
    host.settle();
    let role = host.table.current(tool).unwrap().process.role.clone().expect("a tool of the agent");
    assert_eq!((role.session.root, &role.part), (agent, &AgentPart::Tool));
    assert_eq!(host.tags.counters().recovered, 1);
    // And who has made it is not known: another is inferred as before.
    let stranger = host.fork(ProcessKey { pid: 9, start: BootTime::from_ns(9) });
    host.waiting.clear();
    host.exec(stranger, SHELL);
    host.settle();
    assert_eq!(host.table.current(stranger).unwrap().process.role, None);
}

#[test]
fn what_no_record_told_of_and_only_acts_is_found_too() {
    let mut host = Host::new();
    let shell = host.shell();
    let agent = host.start(shell, CLAUDE);
    host.settle();
    let tool = host.start(agent, SHELL);
    host.waiting.clear();
    // As the pipeline does when it acts.
    host.table.process_of(&Host::actor(tool), BootTime::from_ns(host.now));
    host.tags.changed(&mut host.table, tool);
    host.tags.changed(&mut host.table, tool);
    host.tell();
    assert!(host.table.current(tool).unwrap().process.role.is_some());
}

#[test]
fn the_next_agent_knows_orphans_by_their_tags() {
    let mut host = Host::new();
    let shell = host.shell();
    let agent = host.start(shell, CLAUDE);
    host.settle();
    let tool = host.start(agent, SHELL);
    let orphan = host.start(tool, "/usr/bin/sleep");
    host.exit(tool);
    let other = host.start(shell, CLAUDE);
    host.settle();
    let before: HashMap<_, _> = host.kernel.clone();
    host.restart();
    assert_eq!(host.kernel.values().map(|tag| tag.number).collect::<HashSet<_>>().len(), 3);
    for process in [shell, agent, orphan, other] {
        assert_eq!(host.tag(process), before[&process.pid].number, "numbers stay");
    }
    let role = host.table.current(orphan).unwrap().process.role.clone().expect("it is the agent's still");
    assert_eq!(role.session.root.pid, agent.pid);
    let next = host.start(shell, CLAUDE);
    host.settle();
    assert!(before.values().all(|tag| tag.number != host.tag(next)), "no number is used twice");
}

#[test]
fn an_orphan_of_an_agent_that_has_ended_keeps_its_tag() {
    let mut host = Host::new();
    let shell = host.shell();
    let agent = host.start(shell, CLAUDE);
    host.settle();
    let orphan = host.start(agent, SHELL);
    host.exit(agent);
    host.settle();
    let number = host.tag(orphan);
    assert_eq!(kind_of(number), AGENT);
    host.restart();
    assert_eq!(host.table.current(orphan).unwrap().process.role, None, "nobody says whose it was");
    assert_eq!(host.tag(orphan), number);
    let child = host.start(orphan, SHELL);
    host.settle();
    assert_eq!(host.tag(child), number);
    assert_ne!(host.tag(shell), number);
}

#[test]
fn a_recording_gives_no_numbers_and_understands_those_it_has() {
    let mut host = Host::new();
    host.tags = Tags::of_recording();
    let shell = host.shell();
    let agent = host.start(shell, CLAUDE);
    host.settle();
    assert!(host.kernel.is_empty());
    host.tags.heard(&mut host.table, TagNews::Given(Tag { process: agent, number: 9 }));
    host.kernel.insert(agent.pid, Tag { process: agent, number: 9 });
    let tool = host.fork(agent);
    host.waiting.clear();
    host.exec(tool, SHELL);
    host.read();
    host.tags.heard(&mut host.table, TagNews::Found(Tag { process: tool, number: 9 }));
    assert_eq!(host.table.current(tool).unwrap().process.role.as_ref().unwrap().session.root, agent);
    assert_eq!(host.tags.take_wanted(), []);
}

/// However late the agent reads and tells, and whichever records of forks are lost: in the end each process has the tag of
/// its session, and each session one.
#[test]
fn tags_come_right_whatever_was_late_or_lost() {
    for seed in 0..300_u64 {
        let mut random = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
        let mut draw = |most: usize| {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            (random % most as u64) as usize
        };
        let mut host = Host::new();
        let shell = host.shell();
        host.settle();
        // Each process with the root of its session.
        let mut running = vec![(shell, shell)];
        for _ in 0..60 {
            let at = draw(running.len());
            let (process, session) = running[at];
            match draw(10) {
                0..=4 => {
                    let child = host.fork(process);
                    running.push((child, session));
                    // Lost, but then it executes something: or nothing would ever be told of it.
                    // Of a session whose tag was not yet set, nothing could tell.
                    let is_set = session == shell || kind_of(host.tag(process)) == AGENT;
                    if draw(8) == 0 && is_set && host.waiting.len() == 1 {
                        host.waiting.clear();
                        host.exec(child, SHELL);
                    }
                }
                5 => {
                    // Nested ones begin a session of their own, up to a depth: a helper of the same product does not.
                    if session == shell && process != shell {
                        host.exec(process, CLAUDE);
                        running[at].1 = process;
                    }
                }
                6 => host.exec(process, SHELL),
                7 => host.read(),
                8 => host.settle(),
                _ => {
                    if process != session && process != shell {
                        host.exit(process);
                        running.remove(at);
                    }
                }
            }
        }
        for _ in 0..4 {
            host.settle();
        }
        let mut numbers = HashMap::new();
        for (process, session) in &running {
            let number = host.tag(*process);
            assert_ne!(number, 0, "seed {seed}");
            assert_eq!(*numbers.entry(*session).or_insert(number), number, "seed {seed}: {process:?}");
        }
        let distinct: HashSet<_> = numbers.values().collect();
        assert_eq!(distinct.len(), numbers.len(), "seed {seed}");
        let alive: HashSet<_> = running.iter().map(|(process, _)| process.pid).collect();
        assert!(host.kernel.keys().all(|pid| alive.contains(pid)), "seed {seed}: nothing is left");
    }
}
