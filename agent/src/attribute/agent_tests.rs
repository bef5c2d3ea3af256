//! Agents, their servers and their tools, from records of process life to the identity.

use std::sync::Arc;

use super::users::Users;
use super::{AgentRoles, Attributor};
use crate::catalogue::agents::AgentCatalogue;
use crate::model::act::{Act, Actor, Deed, Exec, Exit, Fork, Namespaces};
use crate::model::bytes::RawBytes;
use crate::model::container::{Answer, ContainerFound, EngineFacts};
use crate::model::identity::{Attribution, Identity};
use crate::model::image::ImageReference;
use crate::model::process::{AgentPart, CredentialIds, ExecImage, FileRef, ProcessKey, Stdio, StdioKind};
use crate::model::program::{FileAnswer, FileFacts, Package, ProgramFound};
use crate::model::time::BootTime;
use crate::process::ProcessTable;
use crate::process::inventory::HostNamespaces;
use crate::process::program::ScriptEntry;
use crate::process::scripts::{ScriptPath, ScriptTarget};

const HOST: HostNamespaces = HostNamespaces { mount: 1, user: 2 };
const SESSION: &str = "/user.slice/user-1000.slice/session-3.scope";
const CLAUDE: &str = "/usr/lib/node_modules/@anthropic-ai/claude-code/bin/claude.exe";
const CODEX: &str = "/usr/lib/node_modules/@openai/codex/bin/codex.js";
const CODEX_BINARY: &str = "/usr/lib/node_modules/@openai/codex/node_modules/@openai/codex-linux-x64/vendor/\
    x86_64-unknown-linux-musl/codex/codex";
const SERVER: &str =
    "/home/alice/.npm/_npx/1/node_modules/@modelcontextprotocol/server-filesystem/dist/index.js";

struct Host {
    table: ProcessTable,
    attributor: Attributor,
    now: u64,
    last_pid: u32,
    /// Of what is executed.
    stdin: StdioKind,
    /// The same.
    file: FileRef,
}

#[derive(Clone)]
struct Task {
    key: ProcessKey,
    uid: u32,
    login: Option<u32>,
    cgroup: &'static str,
    user_namespace: u32,
    mount_namespace: u32,
}

impl Host {
    fn new() -> Self {
        let roles = AgentRoles::new(Arc::new(AgentCatalogue::shipped().unwrap()), HOST);
        let table = ProcessTable::new(|argv| argv.to_vec(), 10_000_000).with_roles(Box::new(roles));
        let users = Users::parse(b"root:x:0:0::/root:/bin/bash\nalice:x:1000:1000::/home/alice:/bin/bash\n");
        Self {
            table,
            attributor: Attributor::new(HOST, users),
            now: 1_000_000_000,
            last_pid: 100,
            stdin: StdioKind::CharacterDevice,
            file: FileRef::default(),
        }
    }

    /// alice's shell over SSH.
    fn shell(&mut self) -> Task {
        let shell = self.login(Some(1000), SESSION);
        self.exec(&shell, "/usr/bin/bash", &["-bash"]);
        shell
    }

    fn login(&mut self, login: Option<u32>, cgroup: &'static str) -> Task {
        let key = ProcessKey { pid: 7, start: BootTime::from_ns(7) };
        let init =
            Task { key, uid: 1000, login, cgroup, user_namespace: HOST.user, mount_namespace: HOST.mount };
        self.fork(&init)
    }

    fn actor(task: &Task) -> Actor {
        let ids = CredentialIds { uid: task.uid, login_uid: task.login, ..CredentialIds::default() };
        let namespaces =
            Namespaces { mount: task.mount_namespace, user: task.user_namespace, ..Namespaces::default() };
        let cgroup_id = task.cgroup.len() as u64;
        Actor { process: task.key, tid: task.key.pid, ids, cgroup_id, namespaces, comm: RawBytes::default() }
    }

    fn tell(&mut self, deed: Deed) {
        self.now += 1_000;
        self.table.observe(Act { time: BootTime::from_ns(self.now), hook: "test", deed });
    }

    fn fork(&mut self, maker: &Task) -> Task {
        self.last_pid += 1;
        let child = ProcessKey { pid: self.last_pid, start: BootTime::from_ns(self.now + 1_000) };
        let (actor, namespaced_pid) = (Self::actor(maker), child.pid);
        self.tell(Deed::Fork(Fork { actor, child, parent: maker.key, namespaced_pid, tag: 0 }));
        Task { key: child, ..maker.clone() }
    }

    fn exec(&mut self, task: &Task, exe: &str, argv: &[&str]) {
        self.exec_by(task, ProcessKey { pid: 1, start: BootTime::from_ns(1) }, exe, argv);
    }

    fn exec_by(&mut self, task: &Task, parent: ProcessKey, exe: &str, argv: &[&str]) {
        let image = ExecImage {
            exe: exe.into(),
            exe_file: self.file,
            filename: exe.into(),
            cwd: "/home/alice/project".into(),
            argv: argv.iter().map(|argument| (*argument).into()).collect(),
            stdio: [self.stdin, StdioKind::Pipe, StdioKind::CharacterDevice].map(|kind| Stdio {
                kind,
                device: 0,
                inode: 0,
            }),
            ..ExecImage::default()
        };
        let exec = Exec {
            actor: Self::actor(task),
            parent,
            namespaced_pid: task.key.pid,
            image,
            cgroup_path: task.cgroup.into(),
        };
        self.tell(Deed::Exec(Box::new(exec)));
    }

    fn start(&mut self, maker: &Task, exe: &str, argv: &[&str]) -> Task {
        let task = self.fork(maker);
        self.exec(&task, exe, argv);
        task
    }

    fn exit(&mut self, task: &Task) {
        self.tell(Deed::Exit(Exit { actor: Self::actor(task), wait_status: 0 }));
    }

    fn who(&mut self, task: &Task) -> Arc<Attribution> {
        let actor = Self::actor(task);
        let process = self.table.process_of(&actor, BootTime::from_ns(self.now));
        let cgroup = self.table.cgroup_of(&actor, &process);
        self.attributor.attribute(&process, &actor, &cgroup)
    }

    fn identity(&mut self, task: &Task) -> String {
        self.who(task).identity.to_string()
    }

    fn session(&mut self, task: &Task) -> Option<String> {
        self.who(task).role.as_ref().map(|role| role.session.id())
    }

    fn part(&mut self, task: &Task) -> Option<AgentPart> {
        self.who(task).role.as_ref().map(|role| role.part.clone())
    }
}

#[test]
fn an_agent_its_server_and_its_tools_are_three_things() {
    let mut host = Host::new();
    let shell = host.shell();
    assert_eq!(host.identity(&shell), "human/alice");
    let claude = host.start(&shell, CLAUDE, &["claude", "--dangerously-skip-permissions"]);
    let agent = host.who(&claude);
    assert_eq!(agent.identity.to_string(), "agent/claude-code@human/alice");
    assert_eq!(agent.blended.first().map(ToString::to_string).as_deref(), Some("human/alice"));
    assert_eq!(agent.human.as_ref().map(ToString::to_string).as_deref(), Some("human/alice"));
    let kinds: Vec<_> = agent.evidence.iter().map(|evidence| evidence.kind).collect();
    assert!(kinds.starts_with(&["agent_program", "agent_session", "agent_bypass"]), "{kinds:?}");

    let sh = host.start(&claude, "/bin/sh", &["sh", "-c", "cat ~/.aws/credentials"]);
    let cat = host.start(&sh, "/usr/bin/cat", &["cat", "/home/alice/.aws/credentials"]);
    assert_eq!(host.identity(&cat), "agent/claude-code@human/alice");
    assert_eq!(host.part(&cat), Some(AgentPart::Tool));

    let npx = host.start(
        &claude,
        "/usr/bin/node",
        &["node", "/usr/bin/npx", "-y", "@modelcontextprotocol/server-filesystem"],
    );
    assert_eq!(host.part(&npx), Some(AgentPart::Tool), "it fetches the server, and is none");
    let by_hand = host.start(&npx, "/usr/bin/node", &["node", SERVER, "/"]);
    assert_eq!(host.part(&by_hand), Some(AgentPart::Tool), "nobody speaks to it");
    host.stdin = StdioKind::Pipe;
    let server = host.start(&npx, "/usr/bin/node", &["node", SERVER, "/"]);
    host.stdin = StdioKind::CharacterDevice;
    let mcp = "mcp/%40modelcontextprotocol%2Fserver-filesystem/of/agent/claude-code@human/alice";
    assert_eq!(host.identity(&server), mcp);
    let blended: Vec<_> = host.who(&server).blended.iter().map(ToString::to_string).collect();
    assert_eq!(blended, ["agent/claude-code@human/alice", "human/alice", "exe/usr/bin/node@uid:1000"]);
    let git = host.start(&server, "/usr/bin/git", &["git", "log"]);
    assert_eq!(host.identity(&git), mcp);
    assert!(matches!(host.part(&git), Some(AgentPart::McpTool { .. })));
    for task in [&cat, &npx, &server, &git] {
        assert_eq!(host.session(task), host.session(&claude));
    }
}

#[test]
fn a_tool_cannot_leave_its_session() {
    let mut host = Host::new();
    let shell = host.shell();
    let claude = host.start(&shell, CLAUDE, &["claude"]);
    // sudo, a change of user, and more generations than a lineage tells, each of whose makers has ended.
    let mut at = host.start(&claude, "/usr/bin/sudo", &["sudo", "-u", "bob", "sh"]);
    at.uid = 1001;
    for _ in 0..100 {
        let next = host.start(&at, "/bin/sh", &["sh", "-c", "x"]);
        host.exit(&at);
        at = next;
    }
    host.exit(&claude);
    assert_eq!(host.identity(&at), "agent/claude-code@human/alice");
    // What runs nothing new is the tool that it was.
    let forked = host.fork(&at);
    assert_eq!(host.part(&forked), Some(AgentPart::Tool));
    // Nor does a namespace help in which it decides what is where.
    let hidden = Task { user_namespace: 99, ..host.fork(&at) };
    host.exec(&hidden, "/usr/bin/vim", &["vim"]);
    assert_eq!(host.identity(&hidden), "agent/claude-code@human/alice");
}

#[test]
fn sessions_are_told_apart_and_nest() {
    let mut host = Host::new();
    let shell = host.shell();
    let one = host.start(&shell, CLAUDE, &["claude"]);
    let other = host.start(&shell, CLAUDE, &["claude"]);
    assert_eq!(host.identity(&one), host.identity(&other));
    assert_ne!(host.session(&one), host.session(&other));
    // A helper that it forks from itself, with or without exec, is the agent in the same session.
    let helper = host.start(&one, CLAUDE, &["claude", "--helper"]);
    assert_eq!((host.session(&helper), host.part(&helper)), (host.session(&one), Some(AgentPart::Agent)));
    // Another agent that its tool starts is another, and says where it comes from.
    let sh = host.start(&one, "/bin/sh", &["sh", "-c", "codex"]);
    let codex = host.start(&sh, "/usr/bin/node", &["node", CODEX, "exec"]);
    assert_eq!(host.identity(&codex), "agent/codex@agent/claude-code@human/alice");
    assert_ne!(host.session(&codex), host.session(&one));
    let within =
        host.who(&codex).evidence.iter().find(|it| it.kind == "agent_within").map(|it| it.detail.clone());
    assert_eq!(within, host.session(&one).map(|session| format!("claude-code {session}")));
    // Its wrapper starts its binary: one session, begun by the wrapper.
    let binary = host.start(&codex, CODEX_BINARY, &["codex", "exec", "--yolo"]);
    assert_eq!((host.session(&binary), host.part(&binary)), (host.session(&codex), Some(AgentPart::Agent)));
    let bypass = |attribution: &Attribution| attribution.evidence.iter().any(|it| it.kind == "agent_bypass");
    assert!(bypass(&host.who(&binary)) && !bypass(&host.who(&codex)));
    // The same agent by way of a tool is a new session.
    let again = host.start(&sh, CLAUDE, &["claude", "-p", "x"]);
    assert_eq!(host.part(&again), Some(AgentPart::Agent));
    assert_ne!(host.session(&again), host.session(&one));
    assert_eq!(host.identity(&again), "agent/claude-code@agent/claude-code@human/alice");
}

/// Else a tool would lay out another agent's files, and go on as what its human runs.
#[test]
fn no_number_of_sessions_leads_back_to_the_human() {
    let mut host = Host::new();
    let shell = host.shell();
    let mut at = host.start(&shell, CLAUDE, &["claude"]);
    for _ in 0..20 {
        let sh = host.start(&at, "/bin/sh", &["sh", "-c", "codex"]);
        at = host.start(&sh, "/usr/bin/node", &["node", CODEX]);
        assert!(host.identity(&at).ends_with("@agent/claude-code@human/alice"), "{}", host.identity(&at));
        let parsed: Identity = host.identity(&at).parse().unwrap();
        assert_eq!(parsed, host.who(&at).identity);
    }
    assert_eq!(host.part(&at), Some(AgentPart::Tool), "of the innermost that was let begin");
}

#[test]
fn who_runs_it_is_a_unit_a_container_a_human_or_a_uid() {
    let id = "4fa6e0f0c6786287e131c3852c58a2e01cc697a68231826813597e4994f1d6e2";
    let docker: &'static str = format!("/system.slice/docker-{id}.scope").leak();
    for (login, cgroup, runner) in [
        (None, "/system.slice/ci.service", "svc/ci".to_owned()),
        (None, docker, format!("container/docker/{id}")),
        (None, "/", "uid:1000".to_owned()),
        (
            Some(1000),
            "/user.slice/user-1000.slice/user@1000.service/app.slice/term.scope",
            "human/alice".to_owned(),
        ),
    ] {
        let mut host = Host::new();
        let shell = host.login(login, cgroup);
        let claude = host.start(&shell, CLAUDE, &["claude"]);
        let cat = host.start(&claude, "/usr/bin/cat", &["cat"]);
        assert_eq!(host.identity(&claude), format!("agent/claude-code@{runner}"));
        assert_eq!(host.identity(&cat), format!("agent/claude-code@{runner}"));
    }
}

/// A tool that becomes another user, or goes to another cgroup, is still run by who ran its agent.
#[test]
fn who_runs_it_is_as_it_was_when_the_session_began() {
    let mut host = Host::new();
    let shell = host.login(None, "/");
    let claude = host.start(&shell, CLAUDE, &["claude"]);
    let mut sudo = host.fork(&claude);
    sudo.uid = 0;
    sudo.cgroup = "/system.slice/other.service";
    host.exec(&sudo, "/usr/bin/cat", &["cat", "/etc/shadow"]);
    assert_eq!(host.identity(&sudo), "agent/claude-code@uid:1000");
}

/// The record of a tool's fork was lost: its exec says who made it.
#[test]
fn a_tool_whose_fork_was_not_told_is_one() {
    let mut host = Host::new();
    let shell = host.shell();
    let claude = host.start(&shell, CLAUDE, &["claude"]);
    let key = ProcessKey { pid: 4_000, start: BootTime::from_ns(host.now + 1) };
    let tool = Task { key, ..claude.clone() };
    host.exec_by(&tool, claude.key, "/usr/bin/cat", &["cat"]);
    assert_eq!(host.part(&tool), Some(AgentPart::Tool));
}

/// Names, arguments, an environment and a namespace of one's own change nothing.
#[test]
fn what_only_looks_like_an_agent_is_none() {
    let mut host = Host::new();
    let shell = host.shell();
    for (exe, argv) in [
        ("/home/alice/claude", &["claude"][..]),
        ("/usr/bin/node", &["claude", "/home/alice/claude"]),
        ("/usr/bin/cat", &["cat", CODEX]),
        ("/usr/bin/node", &["node", "-e", "1", CODEX]),
        ("/usr/bin/python3", &["python3", "/home/alice/aider"]),
    ] {
        let task = host.start(&shell, exe, argv);
        assert_eq!(host.identity(&task), "human/alice", "{exe} {argv:?}");
        assert_eq!(host.part(&task), None);
    }
    let hidden = Task { user_namespace: 99, ..host.fork(&shell) };
    host.exec(&hidden, CLAUDE, &["claude"]);
    assert_eq!(host.part(&hidden), None);
    // A server of nobody's is a program.
    let server = host.start(&shell, "/usr/bin/node", &["node", SERVER]);
    assert_eq!(host.identity(&server), "human/alice");
}

/// npm, pip and installers start scripts by a link; where that leads is told a little later.
#[test]
fn an_agent_behind_a_link_is_known_once_the_link_is() {
    const LINK: &str = "/usr/local/bin/gemini";
    const GEMINI: &str = "/usr/local/lib/node_modules/@google/gemini-cli/bundle/gemini.js";
    let mut host = Host::new();
    let shell = host.shell();
    let gemini = host.start(&shell, "/usr/bin/node", &["node", LINK]);
    // Before it is told it has started a tool, which has another, and ended.
    let sh = host.start(&gemini, "/bin/sh", &["sh", "-c", "cat x"]);
    let cat = host.start(&sh, "/usr/bin/cat", &["cat", "x"]);
    host.exit(&sh);
    assert_eq!(host.identity(&cat), "human/alice");
    let wanted: Vec<_> = host.table.take_wanted_scripts().into_iter().map(|wanted| wanted.script).collect();
    let script = ScriptPath { mount: HOST.mount, path: LINK.into() };
    assert_eq!(wanted, std::slice::from_ref(&script));
    host.table.learn_script(ScriptTarget { script, target: Some(GEMINI.into()), entry: None });
    for (task, part) in [(&gemini, AgentPart::Agent), (&sh, AgentPart::Tool), (&cat, AgentPart::Tool)] {
        assert_eq!(host.identity(task), "agent/gemini-cli@human/alice");
        assert_eq!(host.part(task), Some(part));
        assert_eq!(host.session(task), host.session(&gemini));
    }
    assert_eq!(host.identity(&shell), "human/alice");
    // The next one is known at once, and so is its server.
    let next = host.start(&shell, "/usr/bin/node", &["node", LINK]);
    assert_eq!(host.part(&next), Some(AgentPart::Agent));
    assert_eq!(host.table.take_wanted_scripts(), []);
}

#[test]
fn an_agent_is_known_by_what_its_script_is_found_to_be() {
    let module = |name: &str| ScriptEntry::Module(name.into());
    let packaged = |path: &str| ScriptEntry::Packaged(path.into());
    for (exe, script, entry, product) in [
        ("/usr/bin/python3.13", "/home/alice/v/bin/aider", module("aider.main"), Some("aider")),
        ("/usr/bin/python3.13", "/home/alice/v/bin/renamed", module("aider.main"), Some("aider")),
        ("/usr/bin/python3.13", "/home/alice/v/bin/aider", module("raider.main"), None),
        (
            "/usr/bin/node",
            "/opt/c/bin/codex.js",
            packaged("/node_modules/@openai/codex/bin/codex.js"),
            Some("codex"),
        ),
        ("/usr/bin/node", "/opt/c/bin/x.js", packaged("/node_modules/@openai/codex/bin/x.js"), None),
    ] {
        let mut host = Host::new();
        let shell = host.shell();
        let task = host.start(&shell, exe, &["x", script]);
        let tool = host.start(&task, "/bin/sh", &["sh", "-c", "x"]);
        let wanted = host.table.take_wanted_scripts().remove(0);
        let target = Some(script.into());
        host.table.learn_script(ScriptTarget { script: wanted.script, target, entry: Some(entry) });
        let expected = product.map(|product| format!("agent/{product}@human/alice"));
        for task in [&task, &tool] {
            assert_eq!(host.identity(task), expected.as_deref().unwrap_or("human/alice"), "{script}");
        }
        assert_eq!(host.part(&tool), product.map(|_| AgentPart::Tool));
    }
}

/// A copy of an agent's program is that agent, for who runs both on the host; other files, other users, containers and what a
/// package brought are not.
#[test]
fn a_copy_of_an_agents_program_is_the_agent() {
    let file = |inode| FileRef { device: 8, inode, changed: (1, 1), links: 1, mode: 0o100_755 };
    let found = |host: &mut Host, inode, sha256: &str, package: bool| {
        let package =
            package.then(|| Package { name: "x".into(), version: "1".into(), modified: Some(false) });
        let facts = FileFacts { sha256: Some(sha256.into()), build_id: None, package };
        let answer = FileAnswer::Found(Arc::new(facts));
        let copies =
            host.attributor.learn_program(ProgramFound::File { file: (&file(inode)).into(), answer });
        copies.iter().for_each(|copy| host.table.learn_copy(copy));
    };
    for (sha256, uid, package, mounts, original_first) in [
        ("00", 1000, false, [HOST.mount; 2], true),
        ("00", 1000, false, [HOST.mount; 2], false),
        ("01", 1000, false, [HOST.mount; 2], true),
        ("00", 1001, false, [HOST.mount; 2], true),
        ("00", 1000, true, [HOST.mount; 2], true),
        ("00", 1000, false, [9, HOST.mount], true),
        ("00", 1000, false, [HOST.mount, 9], true),
        ("00", 1000, false, [9, 9], true),
    ] {
        let mut host = Host::new();
        let shell = host.shell();
        host.file = file(1);
        let [first, second] = mounts.map(|mount_namespace| Task { mount_namespace, ..shell.clone() });
        let original = host.start(&first, CLAUDE, &["claude"]);
        host.file = file(2);
        let other = Task { uid, ..second };
        let copy = host.start(&other, "/tmp/assistant", &["assistant"]);
        let tool = host.start(&copy, "/bin/sh", &["sh"]);
        for task in [&original, &copy] {
            host.who(task);
        }
        let mut answers = [(1, "00", false), (2, sha256, package)];
        if !original_first {
            answers.reverse();
        }
        for (inode, sha256, package) in answers {
            found(&mut host, inode, sha256, package);
        }
        let is_agent = sha256 == "00" && uid == 1000 && !package && mounts == [HOST.mount; 2];
        let expected = if is_agent { "agent/claude-code@human/alice" } else { "human/alice" };
        assert_eq!(host.identity(&copy), expected, "{sha256} {uid} {package} {mounts:?}");
        assert_eq!(host.part(&tool), is_agent.then_some(AgentPart::Tool));
        assert!(!is_agent || host.session(&copy) != host.session(&original));
        // The next one is known at once.
        let next = host.start(&other, "/tmp/assistant", &["assistant"]);
        assert_eq!(host.part(&next), is_agent.then_some(AgentPart::Agent));
        // What a copy shows makes no more copies of others.
        host.file = file(3);
        let interpreter = host.start(&shell, "/usr/bin/python3", &["python3"]);
        found(&mut host, 3, "02", false);
        assert_eq!(host.identity(&interpreter), "human/alice");
    }
}

/// What a process was to an agent is kept where what it ran then is forgotten.
#[test]
fn a_tool_that_became_one_long_ago_stays_one() {
    let mut host = Host::new();
    let shell = host.shell();
    let task = host.start(&shell, CLAUDE, &["claude"]);
    // Not a child: the agent's own process becomes its tool.
    host.exec(&task, "/usr/bin/node", &["node", "/tmp/link.js"]);
    host.now += 60_000_000_000;
    assert_eq!(host.part(&task), Some(AgentPart::Tool));
    for wanted in host.table.take_wanted_scripts() {
        let target = Some("/tmp/real.js".into());
        host.table.learn_script(ScriptTarget { script: wanted.script, target, entry: None });
    }
    assert_eq!(host.part(&task), Some(AgentPart::Tool));
}

/// A link that leads elsewhere later says nothing of who was started by it before.
#[test]
fn a_link_that_is_moved_takes_nobody_along() {
    const LINK: &str = "/home/alice/.npm-global/bin/gemini";
    const GEMINI: &str = "/home/alice/.npm-global/lib/node_modules/@google/gemini-cli/bundle/gemini.js";
    let mut host = Host::new();
    let shell = host.shell();
    let gemini = host.start(&shell, "/usr/bin/node", &["node", LINK]);
    let learn = |host: &mut Host, target: Option<&str>| {
        for wanted in host.table.take_wanted_scripts() {
            let target = target.map(Into::into);
            host.table.learn_script(ScriptTarget { script: wanted.script, target, entry: None });
        }
    };
    learn(&mut host, Some(GEMINI));
    let tool = host.start(&gemini, "/bin/sh", &["sh", "-c", "ln -sf x LINK"]);
    for target in [Some("/tmp/node_modules/@openai/codex/bin/codex.js"), Some("/tmp/x.js"), None] {
        host.now += 20_000_000_000;
        let again = host.start(&tool, "/usr/bin/node", &["node", LINK]);
        learn(&mut host, target);
        for task in [&gemini, &tool] {
            assert_eq!(host.identity(task), "agent/gemini-cli@human/alice");
        }
        assert!(host.identity(&again).ends_with("agent/gemini-cli@human/alice"));
    }
}

/// A session keeps the cgroup that it began in, and what that container is may become known later.
#[test]
fn an_agent_in_a_container_is_run_by_its_image() {
    const ID: &str = "4fa6e0f0c6786287e131c3852c58a2e01cc697a68231826813597e4994f1d6e2";
    const CGROUP: &str = "/docker/4fa6e0f0c6786287e131c3852c58a2e01cc697a68231826813597e4994f1d6e2";
    let mut host = Host::new();
    let shell = host.login(None, CGROUP);
    let agent = host.start(&shell, CLAUDE, &["claude"]);
    let tool = host.start(&agent, "/usr/bin/cat", &["cat"]);
    let elsewhere = Task { cgroup: "/system.slice/other.service", ..tool.clone() };
    assert_eq!(host.identity(&tool), format!("agent/claude-code@container/docker/{ID}"));
    assert_eq!(host.attributor.containers().take_wanted(), [ID.into()]);
    let facts = EngineFacts { image: ImageReference::parse("node:22"), ..EngineFacts::default() };
    let answer = Answer::Found(Arc::new(facts));
    host.attributor.learn_container(ContainerFound { id: ID.into(), answer });
    for task in [&agent, &tool, &elsewhere] {
        assert_eq!(host.identity(task), "agent/claude-code@container/docker.io/library/node");
    }
}

/// Only what root of the host runs hints at a container, and a process in its cgroup asks.
#[test]
fn a_users_arguments_are_no_hint() {
    const ID: &str = "4fa6e0f0c6786287e131c3852c58a2e01cc697a68231826813597e4994f1d6e2";
    let mut host = Host::new();
    let mut task = host.login(None, "/");
    let wanted = |host: &mut Host, task: &Task, euid: u32, path: &str| {
        let mut actor = Host::actor(task);
        actor.ids.euid = euid;
        let image = ExecImage { argv: vec!["runc".into(), ID.into()], ..ExecImage::default() };
        let parent = task.key;
        let exec = Exec { actor, parent, namespaced_pid: 1, image, cgroup_path: path.into() };
        host.attributor.foresee(&exec, BootTime::from_ns(1));
        host.attributor.containers().take_wanted().len()
    };
    assert_eq!(wanted(&mut host, &task, 1000, "/system.slice/x.service"), 0);
    task.user_namespace = HOST.user + 1;
    assert_eq!(wanted(&mut host, &task, 0, "/"), 0, "root of a user namespace");
    task.user_namespace = HOST.user;
    assert_eq!(wanted(&mut host, &task, 0, "/"), 1);
    let within = format!("/docker/{}", ID.replace('4', "6"));
    assert_eq!(wanted(&mut host, &task, 0, &within), 1, "its cgroup alone: an engine is in no container");
    let other = format!("/docker/{}", ID.replace('4', "5"));
    assert_eq!(wanted(&mut host, &task, 1000, &other), 1, "its cgroup");
}
