//! Logins, from records of process life to what is told of them.

use std::sync::Arc;

use super::users::Users;
use super::{Attributor, LoginServers};
use crate::model::act::{Act, Actor, Deed, Exec, Exit, Fork, Namespaces};
use crate::model::bytes::RawBytes;
use crate::model::identity::{Attribution, Confidence};
use crate::model::process::{
    CredentialIds, ExecImage, LoginState, LoginWay, Marker, Origin, Process, ProcessKey, Stdio, StdioKind,
};
use crate::model::time::BootTime;
use crate::process::ProcessTable;
use crate::process::inventory::{Found, HostNamespaces, Inventory};

pub(super) const HOST: HostNamespaces = HostNamespaces { mount: 1, user: 2 };
const SESSION: &str = "/user.slice/user-1000.slice/session-3.scope";
const SSHD: &str = "/usr/sbin/sshd";
const SSHD_SESSION: &str = "/usr/lib/openssh/sshd-session";
const PEER: &str = "203.0.113.7 50022 198.51.100.7 22";
const TOLD: &str = "ssh from 203.0.113.7:50022 to 198.51.100.7:22 on pts/4";
const TICK_NS: u64 = 10_000_000;

pub(super) struct Host {
    table: ProcessTable,
    pub(super) attributor: Attributor,
    now: u64,
    last_pid: u32,
}

#[derive(Clone)]
pub(super) struct Task {
    pub(super) key: ProcessKey,
    pub(super) uid: u32,
    pub(super) login: Option<(u32, u32)>,
    pub(super) mount: u32,
}

pub(super) const INIT: Task =
    Task { key: ProcessKey { pid: 1, start: BootTime::from_ns(1) }, uid: 0, login: None, mount: HOST.mount };

/// What is in the environment of what sshd executes.
fn by_sshd(connection: &str) -> Vec<(&'static str, String)> {
    vec![("SSH_CONNECTION", connection.to_owned()), ("SSH_TTY", "/dev/pts/4".to_owned())]
}

pub(super) fn image(exe: &str, variables: &[(&str, String)]) -> ExecImage {
    let marker =
        |(name, value): &(&str, String)| Marker { name: (*name).into(), value: Some(value.as_str().into()) };
    ExecImage {
        exe: exe.into(),
        filename: exe.into(),
        argv: vec![exe.into()],
        markers: variables.iter().map(marker).collect(),
        // /dev/pts/4
        stdio: [Stdio { kind: StdioKind::CharacterDevice, device: 25, inode: 7 }; 3],
        ..ExecImage::default()
    }
}

impl Host {
    pub(super) fn new() -> Self {
        let table =
            ProcessTable::new(|argv| argv.to_vec(), TICK_NS).with_logins(Box::new(LoginServers::new(HOST)));
        let users = Users::parse(
            b"root:x:0:0::/root:/bin/bash\nalice:x:1000:1000::/home/alice:/bin/bash\nbob:x:1001:1001::/:/bin/sh\n",
        );
        Self { table, attributor: Attributor::new(HOST, users), now: 1_000_000_000, last_pid: 100 }
    }

    fn actor(task: &Task) -> Actor {
        let ids = CredentialIds {
            uid: task.uid,
            euid: task.uid,
            login_uid: task.login.map(|(uid, _)| uid),
            session_id: task.login.map(|(_, session)| session),
            ..CredentialIds::default()
        };
        let namespaces = Namespaces { mount: task.mount, user: HOST.user, ..Namespaces::default() };
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
        self.now += 1_000;
        self.table.observe(Act { time: BootTime::from_ns(self.now), hook: "test", deed });
    }

    pub(super) fn fork(&mut self, maker: &Task) -> Task {
        self.last_pid += 1;
        let child = ProcessKey { pid: self.last_pid, start: BootTime::from_ns(self.now + 1_000) };
        let (actor, namespaced_pid) = (Self::actor(maker), child.pid);
        self.tell(Deed::Fork(Fork { actor, child, parent: maker.key, namespaced_pid, tag: 0 }));
        Task { key: child, ..maker.clone() }
    }

    fn exec(&mut self, task: &Task, image: ExecImage) {
        self.exec_in(task, image, SESSION);
    }

    pub(super) fn exec_in(&mut self, task: &Task, image: ExecImage, cgroup: &str) {
        let (actor, namespaced_pid) = (Self::actor(task), task.key.pid);
        let (parent, cgroup_path) = (INIT.key, cgroup.into());
        self.tell(Deed::Exec(Box::new(Exec { actor, parent, namespaced_pid, image, cgroup_path })));
    }

    pub(super) fn start(&mut self, maker: &Task, exe: &str) -> Task {
        let task = self.fork(maker);
        self.exec(&task, image(exe, &[]));
        task
    }

    pub(super) fn exit(&mut self, task: &Task) {
        self.tell(Deed::Exit(Exit { actor: Self::actor(task), wait_status: 0 }));
    }

    /// A server that root starts, and what it has forked for alice by the time it executes something.
    fn served(&mut self, server: &str) -> Task {
        let listener = self.start(&INIT, server);
        self.serve(&listener)
    }

    fn serve(&mut self, listener: &Task) -> Task {
        let mut monitor = self.fork(listener);
        monitor.login = Some((1000, 3));
        let mut child = self.fork(&monitor);
        child.uid = 1000;
        self.fork(&child)
    }

    /// alice's shell over SSH.
    fn shell(&mut self) -> Task {
        let shell = self.served(SSHD);
        self.exec(&shell, image("/usr/bin/bash", &by_sshd(PEER)));
        shell
    }

    pub(super) fn who(&mut self, task: &Task) -> Arc<Attribution> {
        let actor = Self::actor(task);
        let process = self.table.process_of(&actor, BootTime::from_ns(self.now));
        let cgroup = self.table.cgroup_of(&actor, &process);
        self.attributor.attribute(&process, &actor, &cgroup)
    }

    /// Details of evidence of a kind.
    pub(super) fn told(&mut self, task: &Task, kind: &str) -> Vec<String> {
        let who = self.who(task);
        who.evidence.iter().filter(|one| one.kind == kind).map(|one| one.detail.clone()).collect()
    }

    fn login(&mut self, task: &Task) -> String {
        self.told(task, "login").join("; ")
    }
}

#[test]
fn a_login_is_kept_whatever_becomes_of_it() {
    let mut host = Host::new();
    let shell = host.shell();
    assert_eq!(host.login(&shell), TOLD);
    assert_eq!(host.who(&shell).identity.to_string(), "human/alice");
    // sudo, an environment of its own, and more generations than a lineage tells, each of whose makers has ended.
    let mut at = host.start(&shell, "/usr/bin/sudo");
    at.uid = 0;
    for _ in 0..100 {
        let next = host.fork(&at);
        host.exec(&next, image("/usr/bin/tmux", &by_sshd("192.0.2.66 1 192.0.2.1 22")));
        host.exit(&at);
        at = next;
    }
    assert_eq!(host.login(&at), TOLD);
    assert_eq!(host.told(&at, "session_lost"), [""; 0]);
    let who = host.who(&at);
    assert_eq!(who.human.as_ref().map(ToString::to_string).as_deref(), Some("human/alice"));
    assert_eq!(who.login.as_ref().map(|login| login.way), Some(LoginWay::Ssh));
}

#[test]
fn each_connection_is_a_login_of_its_own() {
    let mut host = Host::new();
    let listener = host.start(&INIT, SSHD);
    // From 9.8 on another program serves each connection; root executes it.
    let connection = host.start(&listener, SSHD_SESSION);
    let first = host.serve(&connection);
    host.exec(&first, image("/bin/sh", &by_sshd(PEER)));
    let second = host.serve(&connection);
    host.exec(&second, image("/bin/sh", &by_sshd("2001:db8::7 9 2001:db8::1 22")));
    assert_eq!(host.login(&first), TOLD);
    assert_eq!(host.login(&second), "ssh from [2001:db8::7]:9 to [2001:db8::1]:22 on pts/4");
    assert_eq!(host.login(&connection), "", "a server is nobody's login");
    // What sshd runs for itself.
    let keys = host.fork(&connection);
    host.exec(&keys, image("/usr/bin/authorized-keys", &[]));
    assert_eq!(host.login(&keys), "");
    // Its environment is longer than what is looked at.
    let long = host.serve(&connection);
    host.exec(&long, ExecImage { markers_truncated: true, ..image("/bin/sh", &[]) });
    assert_eq!(host.login(&long), "ssh");
    // Its address is in a form that is not read.
    let odd = host.serve(&connection);
    host.exec(&odd, image("/bin/sh", &by_sshd("UNKNOWN 65535 UNKNOWN 65535")));
    assert_eq!(host.login(&odd), "ssh on pts/4");
}

#[test]
fn a_terminal_is_what_standard_input_is() {
    let mut host = Host::new();
    let shell = host.served(SSHD);
    let mut without = image("/bin/sh", &by_sshd(PEER));
    without.stdio = [Stdio { kind: StdioKind::Pipe, device: 14, inode: 7 }; 3];
    host.exec(&shell, without);
    assert_eq!(host.login(&shell), "ssh from 203.0.113.7:50022 to 198.51.100.7:22");
}

#[test]
fn who_says_it_himself_is_not_believed() {
    let mut host = Host::new();
    let forged = by_sshd("192.0.2.66 1 192.0.2.1 22");
    let nobodys = host.start(&INIT, "/usr/bin/env");
    host.exec(&nobodys, image("/bin/sh", &forged));
    assert_eq!(host.login(&nobodys), "");
    let shell = host.shell();
    host.exec(&shell, image("/bin/bash", &forged));
    assert_eq!(host.login(&shell), TOLD);
    // alice's own sshd, the same program; one that she lays out elsewhere, even as root; one in a container.
    let own = host.start(&shell, SSHD);
    let mut elsewhere = host.fork(&shell);
    elsewhere.uid = 0;
    host.exec(&elsewhere, image("/tmp/usr/sbin/sshd", &[]));
    let mut contained = host.fork(&INIT);
    contained.mount = 9;
    host.exec(&contained, image(SSHD, &[]));
    for (server, login) in [(own, TOLD), (elsewhere, TOLD), (contained, "")] {
        let served = host.fork(&server);
        host.exec(&served, image("/bin/sh", &forged));
        assert_eq!(host.login(&served), login);
    }
}

#[test]
fn jobs_and_consoles_are_told() {
    let mut host = Host::new();
    for (server, way) in [("/usr/sbin/cron", "cron"), ("/usr/sbin/atd", "at"), ("/usr/bin/login", "console")]
    {
        let job = host.served(server);
        host.exec(&job, image("/bin/sh", &by_sshd(PEER)));
        assert_eq!(host.login(&job), way);
        assert_eq!(host.told(&job, "login_uid").len(), 1);
    }
    let getty = host.start(&INIT, "/usr/sbin/agetty");
    let unit = "/system.slice/system-getty.slice/getty@tty1.service";
    host.exec_in(&getty, image("/usr/bin/login", &[]), unit);
    let shell = host.serve(&getty);
    host.exec(&shell, image("/bin/bash", &[]));
    assert_eq!(host.login(&shell), "console on tty1");
    let telnet = host.fork(&INIT);
    let argv = ["login", "-h", "192.0.2.66"].map(Into::into).to_vec();
    host.exec(&telnet, ExecImage { argv, ..image("/usr/bin/login", &[]) });
    let shell = host.serve(&telnet);
    host.exec(&shell, image("/bin/sh", &[]));
    assert_eq!(host.login(&shell), "");
}

#[test]
fn a_lost_login_is_told_and_names_nobody() {
    let mut host = Host::new();
    let mut shell = host.shell();
    shell.uid = 0;
    let mut away = host.start(&shell, "/bin/sh");
    away.login = None;
    let lost = "was login uid 1000 (alice), audit session 3; is ";
    assert_eq!(host.told(&away, "session_lost"), [format!("{lost}no login uid, no audit session")]);
    assert_eq!(host.login(&away), TOLD);
    let who = host.who(&away);
    assert_eq!((who.identity.to_string().as_str(), who.human.as_ref()), ("exe/bin/sh@uid:0", None));
    away.login = Some((1000, 9));
    assert_eq!(host.told(&away, "session_lost"), [format!("{lost}login uid 1000 (alice), audit session 9")]);
    away.login = Some((1001, 9));
    assert_eq!(host.told(&away, "session_lost"), [format!("{lost}login uid 1001 (bob), audit session 9")]);
    // Another login begins: nothing is lost.
    let other = host.start(&shell, SSHD);
    let served = host.serve(&other);
    host.exec(&served, image("/bin/sh", &by_sshd("192.0.2.9 5 192.0.2.1 22")));
    assert_eq!(host.told(&served, "session_lost"), [""; 0]);
    assert!(host.login(&served).starts_with("ssh from 192.0.2.9:5 "));
}

#[test]
fn a_lost_fork_takes_no_login_away_and_makes_none() {
    let mut host = Host::new();
    let server = host.served(SSHD);
    let shell = host.shell();
    for (maker, image, login) in [
        (&shell, image("/bin/cat", &by_sshd("192.0.2.66 1 192.0.2.1 22")), TOLD),
        // Its exec could be the first that sshd's child made, or any later one of its user's.
        (&server, image("/bin/sh", &by_sshd("192.0.2.66 1 192.0.2.1 22")), ""),
    ] {
        host.last_pid += 1;
        let key = ProcessKey { pid: host.last_pid, start: BootTime::from_ns(host.now) };
        let child = Task { key, ..maker.clone() };
        let (actor, parent, cgroup_path) = (Host::actor(&child), maker.key, SESSION.into());
        let exec = Exec { actor, parent, namespaced_pid: key.pid, image, cgroup_path };
        host.tell(Deed::Exec(Box::new(exec)));
        assert_eq!(host.login(&child), login);
    }
}

#[test]
fn a_fork_that_is_told_late_makes_the_login_after_all() {
    let mut host = Host::new();
    let server = host.served(SSHD);
    host.now += 5_000;
    let shell = Task { key: ProcessKey { pid: 5_000, start: BootTime::from_ns(host.now) }, ..server.clone() };
    let forked = BootTime::from_ns(host.now + 1);
    host.exec(&shell, image("/bin/sh", &by_sshd(PEER)));
    let cat = host.start(&shell, "/bin/cat");
    assert_eq!(host.login(&cat), "");
    let (actor, child, parent) = (Host::actor(&server), shell.key, server.key);
    let fork = Deed::Fork(Fork { actor, child, parent, namespaced_pid: 5_000, tag: 0 });
    host.table.observe(Act { time: forked, hook: "test", deed: fork });
    assert_eq!(host.login(&shell), TOLD);
    assert_eq!(host.login(&cat), TOLD);
}

/// A process as /proc shows it.
fn found(pid: u32, parent_pid: u32, uid: u32, login: Option<(u32, u32)>, image: ExecImage) -> Found {
    let key = ProcessKey { pid, start: BootTime::from_ns(u64::from(pid) * TICK_NS) };
    let process = Process {
        key,
        parent: None,
        namespaced_pid: pid,
        image: Arc::new(image),
        ids: CredentialIds {
            uid,
            euid: uid,
            login_uid: login.map(|(uid, _)| uid),
            session_id: login.map(|(_, session)| session),
            ..CredentialIds::default()
        },
        cgroup: Arc::default(),
        namespaces: Namespaces { mount: HOST.mount, user: HOST.user, ..Namespaces::default() },
        origin: Origin::Inventoried,
        since: key.start,
        exec_count: 0,
        role: None,
        login: LoginState::default(),
    };
    Found { process, parent_pid, read_at: BootTime::from_ns(500 * TICK_NS) }
}

#[test]
fn what_was_found_running_is_in_its_login_and_its_environment_is_a_claim() {
    let mut host = Host::new();
    let alice = Some((1000, 3));
    let processes = vec![
        found(1, 0, 0, None, image("/sbin/init", &[])),
        found(10, 1, 0, None, image(SSHD, &[])),
        found(11, 10, 0, alice, image(SSHD, &[])),
        found(12, 11, 1000, alice, image(SSHD, &[])),
        found(13, 12, 1000, alice, image("/bin/bash", &by_sshd(PEER))),
        found(14, 13, 0, alice, image("/usr/bin/sudo", &[])),
        // Their parents have ended.
        found(15, 1, 1000, alice, image("/usr/bin/tmux", &by_sshd("192.0.2.66 1 192.0.2.1 22"))),
        found(16, 1, 1000, Some((1000, 4)), image("/usr/bin/tmux", &by_sshd(PEER))),
        found(17, 12, 1000, alice, image(SSHD, &[])),
    ];
    host.table.seed(Inventory { processes, ..Inventory::default() });
    host.now = 600 * TICK_NS;
    let task = |pid: u32, uid, login| {
        let key = ProcessKey { pid, start: BootTime::from_ns(u64::from(pid) * TICK_NS) };
        Task { key, uid, login, mount: HOST.mount }
    };
    for (pid, uid) in [(13, 1000), (14, 0), (15, 1000)] {
        let task = task(pid, uid, alice);
        let child = host.start(&task, "/bin/cat");
        for task in [task, child] {
            let who = host.who(&task);
            let of_login = who.evidence.iter().filter(|one| one.kind.starts_with("login"));
            let of_login: Vec<_> =
                of_login.map(|one| (one.kind, one.detail.as_str(), one.confidence)).collect();
            let expected = [
                ("login_uid", "1000 (alice)", Confidence::Observed),
                ("login", "ssh, found running", Confidence::Observed),
                ("login_environment", TOLD, Confidence::Claimed),
            ];
            assert_eq!(of_login, expected, "{pid}");
        }
    }
    assert_eq!(host.login(&task(16, 1000, Some((1000, 4)))), "");
    // A connection that was there makes another session; its server could as well be one that alice's shell has become.
    for server in [12, 17] {
        let served = host.fork(&task(server, 1000, alice));
        host.exec(&served, image("/bin/sh", &by_sshd(PEER)));
        assert_eq!(host.login(&served), "ssh, found running");
        assert_eq!(host.told(&served, "login_environment"), [TOLD]);
    }
    // A new one is root's.
    let served = host.serve(&task(10, 0, None));
    host.exec(&served, image("/bin/sh", &by_sshd(PEER)));
    assert_eq!(host.login(&served), TOLD);
    assert_eq!(host.told(&served, "login_environment"), [""; 0]);
}
