//! Lineages as they come from records.

use super::*;
use crate::model::act::{Act, Actor, Deed, Exec, Exit, Fork, Namespaces};
use crate::model::bytes::RawBytes;
use crate::model::process::{CredentialIds, ExecImage, ProcessKey};
use crate::model::time::BootTime;

/// A small host: a clock, and a table that is told what happens.
struct Host {
    table: ProcessTable,
    now: u64,
}

#[derive(Clone, Copy)]
struct Task {
    key: ProcessKey,
    login: Option<(u32, u32)>,
}

impl Host {
    fn new() -> (Self, Task) {
        let host = Self { table: ProcessTable::new(|argv| argv.to_vec(), 10_000_000), now: 100 };
        (host, Task { key: ProcessKey { pid: 1, start: BootTime::from_ns(1) }, login: None })
    }

    fn actor(task: Task) -> Actor {
        let ids = CredentialIds {
            login_uid: task.login.map(|(uid, _)| uid),
            session_id: task.login.map(|(_, session)| session),
            ..CredentialIds::default()
        };
        let namespaces = Namespaces::default();
        Actor {
            process: task.key,
            tid: task.key.pid,
            ids,
            cgroup_id: 1,
            namespaces,
            comm: RawBytes::default(),
        }
    }

    fn tell(&mut self, deed: Deed) {
        self.now += 1;
        self.table.observe(Act { time: BootTime::from_ns(self.now), hook: "test", deed });
    }

    fn fork(&mut self, maker: Task, pid: u32) -> Task {
        let child = ProcessKey { pid, start: BootTime::from_ns(self.now + 1) };
        let actor = Self::actor(maker);
        self.tell(Deed::Fork(Fork { actor, child, parent: maker.key, namespaced_pid: pid, tag: 0 }));
        Task { key: child, login: maker.login }
    }

    fn exec(&mut self, task: Task, exe: &str) {
        let image = ExecImage { exe: exe.into(), ..ExecImage::default() };
        let (actor, parent) = (Self::actor(task), ProcessKey { pid: 1, start: BootTime::from_ns(1) });
        let namespaced_pid = task.key.pid;
        self.tell(Deed::Exec(Box::new(Exec {
            actor,
            parent,
            namespaced_pid,
            image,
            cgroup_path: "/".into(),
        })));
    }

    fn start(&mut self, maker: Task, pid: u32, exe: &str) -> Task {
        let task = self.fork(maker, pid);
        self.exec(task, exe);
        task
    }

    fn exit(&mut self, task: Task) {
        self.tell(Deed::Exit(Exit { actor: Self::actor(task), wait_status: 0 }));
    }

    /// Executables of the lineage, and whether it was cut.
    fn lineage(&mut self, task: Task) -> (Vec<String>, bool) {
        let process = self.table.process_of(&Self::actor(task), BootTime::from_ns(self.now));
        let why = why(&self.table, &process);
        (why.lineage.iter().map(|ancestor| ancestor.image.exe.to_string()).collect(), why.lineage_truncated)
    }
}

#[test]
fn a_service_comes_from_init() {
    let (mut host, init) = Host::new();
    host.exec(init, "/init");
    let nginx = host.start(init, 10, "/nginx");
    let worker = host.fork(nginx, 11);
    assert_eq!(host.lineage(worker), (vec!["/nginx".into(), "/init".into()], false));
    assert_eq!(host.lineage(init), (vec![], false));
}

#[test]
fn a_session_begins_with_what_started_it() {
    let (mut host, init) = Host::new();
    host.exec(init, "/init");
    let sshd = host.start(init, 10, "/sshd");
    let connection = host.start(sshd, 11, "/sshd-session");
    // PAM sets the login in the connection's process before it forks the shell.
    let connection = Task { login: Some((1000, 3)), ..connection };
    let shell = host.start(connection, 12, "/bash");
    let sudo = host.start(shell, 13, "/sudo");
    let cat = host.start(sudo, 14, "/cat");
    let lineage: Vec<String> = ["/sudo", "/bash", "/sshd-session"].map(String::from).to_vec();
    assert_eq!(host.lineage(cat), (lineage, false));
}

#[test]
fn a_lineage_outlives_its_parents_and_their_pids() {
    let (mut host, init) = Host::new();
    host.exec(init, "/init");
    let shell = host.start(init, 10, "/bash");
    let script = host.start(shell, 11, "/make");
    let daemon = host.start(script, 12, "/daemon");
    host.exit(script);
    host.exit(shell);
    for round in 0..500 {
        let other = host.start(init, 10 + round % 2, "/other");
        host.exit(other);
    }
    let lineage: Vec<String> = ["/make", "/bash", "/init"].map(String::from).to_vec();
    assert_eq!(host.lineage(daemon), (lineage, false));
}

#[test]
fn an_ancestor_is_told_as_it_was_when_it_made_the_next() {
    let (mut host, init) = Host::new();
    host.exec(init, "/init");
    let shell = host.start(init, 10, "/bash");
    let child = host.start(shell, 11, "/curl");
    host.exec(shell, "/something-else");
    assert_eq!(host.lineage(child), (vec!["/bash".into(), "/init".into()], false));
}

#[test]
fn a_chain_of_forks_is_cut_at_the_depth() {
    let (mut host, init) = Host::new();
    host.exec(init, "/init");
    let mut task = init;
    for pid in 10..10 + LINEAGE_DEPTH as u32 {
        task = host.start(task, pid, "/x");
    }
    let (lineage, cut) = host.lineage(task);
    assert_eq!((lineage.len(), cut), (LINEAGE_DEPTH, false));
    let deeper = host.start(task, 500, "/x");
    let (lineage, cut) = host.lineage(deeper);
    assert_eq!((lineage.len(), cut), (LINEAGE_DEPTH, true));
}

#[test]
fn what_is_not_known_is_not_made_up() {
    let (mut host, _) = Host::new();
    let stranger = Task { key: ProcessKey { pid: 77, start: BootTime::from_ns(5) }, login: None };
    assert_eq!(host.lineage(stranger), (vec![], true));
}

#[test]
fn a_circle_ends() {
    let (mut host, _) = Host::new();
    let task = |pid| Task { key: ProcessKey { pid, start: BootTime::from_ns(5) }, login: None };
    for (maker, child) in [(10, 11), (11, 10), (20, 20)] {
        let (maker, child) = (task(maker), task(child));
        let actor = Host::actor(maker);
        host.tell(Deed::Fork(Fork { actor, child: child.key, parent: maker.key, namespaced_pid: 1, tag: 0 }));
    }
    for pid in [10, 11, 20] {
        let (lineage, cut) = host.lineage(task(pid));
        assert!(lineage.len() <= 1 && cut, "{pid}: {lineage:?}");
    }
    host.table.check_invariants();
}
