//! A test's view of a session that several tests share: what it did, and which events are its own.

use std::fs;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::child::{self, Captured, Finished};
use super::claim::Claim;
use super::event::Event;
use super::expect::{Deed, Expected, Findings, compare, object};
use super::places;
use super::servers::{Refusing, Server, on_own_port};
use super::session::Session;
use super::setting::{CREDENTIALS, ENTRY, Setting};
use super::stream::Item as _;
use super::who::Who;
use crate::outcome::{During, Outcome, Verdict, ensure, failed, skipped};

/// What a test did, and what should be told of it.
#[derive(Debug)]
pub(crate) struct Scene<'a> {
    /// The run.
    pub(crate) setting: &'a Setting,
    /// The agent and its collector.
    pub(crate) session: &'a Session,
    /// What the agent says that it cannot see.
    gaps: &'a [String],
    name: &'a str,
    me: Who,
    known: Known,
}

/// What a test leaves for the check at the session's end.
#[derive(Debug, Default)]
pub(crate) struct Known {
    claim: Claim,
    expected: Vec<Expected>,
    servers: Vec<Server>,
    refusing: Vec<Refusing>,
    sockets: Vec<UdpSocket>,
}

impl Known {
    /// Compares with all events of the session; what is wrong.
    pub(crate) fn compare(&self, all: &[Event]) -> Findings {
        let mine: Vec<Event> = all.iter().filter(|event| self.claim.holds(event)).cloned().collect();
        compare(&self.expected, &mine, all)
    }

    /// Whether an event is this test's.
    pub(crate) fn holds(&self, event: &Event) -> bool {
        self.claim.holds(event)
    }
}

impl<'a> Scene<'a> {
    /// Nothing done yet.
    pub(crate) fn new(
        setting: &'a Setting,
        session: &'a Session,
        gaps: &'a [String],
        name: &'a str,
    ) -> Outcome<Self> {
        Ok(Self { setting, session, gaps, name, me: Who::me()?, known: Known::default() })
    }

    /// Skips where the agent's own table says, in these words, that this is not seen.
    pub(crate) fn unless_named(&self, gap: &str) -> Outcome {
        if self.is_named(gap) { skipped(format!("the agent says: {gap}")) } else { Ok(()) }
    }

    /// Whether the agent names such a gap.
    pub(crate) fn is_named(&self, gap: &str) -> bool {
        self.gaps.iter().any(|named| named == gap)
    }

    /// What it did so far.
    pub(crate) fn known(self) -> Known {
        self.known
    }

    /// Somebody who answers. Like the next two, the port is the test's own until the session ends: no other test, and
    /// no mark, gets the same.
    pub(crate) fn server(&mut self, ip: IpAddr) -> Outcome<SocketAddr> {
        let server = Server::start(ip)?;
        let address = server.address;
        self.known.claim.end(address);
        self.known.servers.push(server);
        Ok(address)
    }

    /// Nobody who answers.
    pub(crate) fn refusing(&mut self, ip: IpAddr) -> Outcome<SocketAddr> {
        let refusing = Refusing::start(ip)?;
        let address = refusing.address;
        self.known.claim.end(address);
        self.known.refusing.push(refusing);
        Ok(address)
    }

    /// Somebody who takes datagrams.
    pub(crate) fn datagrams(&mut self, ip: IpAddr) -> Outcome<SocketAddr> {
        let (socket, address) = on_own_port(|| {
            let socket = UdpSocket::bind((ip, 0)).during(format!("bind on {ip}"))?;
            let address = socket.local_addr()?;
            Ok((socket, address))
        })?;
        self.known.claim.end(address);
        self.known.sockets.push(socket);
        Ok(address)
    }

    /// A directory of the test's own on a file system.
    pub(crate) fn directory(&mut self, place: &str) -> Outcome<PathBuf> {
        // Several sessions run the same test.
        let name = format!("{}-{}", self.name.replace('/', "-"), self.session.agent.pid());
        let path = self.setting.places.get(place)?.join(name);
        fs::create_dir_all(&path).during(path.display())?;
        self.known.claim.directory(&path.to_string_lossy());
        Ok(path)
    }

    /// A new credential of the test's own on a file system.
    pub(crate) fn credential(&mut self, place: &str, name: &str) -> Outcome<PathBuf> {
        let path = self.directory(place)?.join(CREDENTIALS).join(name);
        places::write(&path, "secret\n")?;
        Ok(path)
    }

    /// The command that has this program do something.
    pub(crate) fn actor(&self, args: &[&str]) -> Command {
        let mut command = Command::new(&self.setting.me);
        command.arg("act").args(args);
        command
    }

    /// Has this program do something; what should be told of it, each once.
    pub(crate) fn act(&mut self, args: &[&str]) -> Outcome<Vec<Expected>> {
        self.perform(&mut self.actor(args)).during(args.join(" "))
    }

    /// Has this program do something, and keeps it alive until an event of its own is told that `is_last` knows: some of
    /// what is told of a process is looked up while it runs.
    pub(crate) fn act_until(
        &mut self,
        args: &[&str],
        is_last: impl Fn(&Event) -> bool,
    ) -> Outcome<Vec<Expected>> {
        let (running, held) = Captured::start_held(&mut self.actor(args))?;
        let pid = running.pid();
        self.known.claim.process(pid);
        let told = |event: &Event| (event.pid() == Some(pid) && is_last(event)).then_some(());
        let waited = self.session.collector.events.wait("its last event", 0, self.setting.limit, told);
        drop(held);
        let finished = running.finish(self.setting.limit)?.well()?;
        waited.map_err(|verdict| {
            let own =
                self.session.collector.events.all().into_iter().filter(|event| event.pid() == Some(pid));
            let own: Vec<String> = own.map(|event| event.brief()).collect();
            verdict.during(format!("{} (told of it: {})", args.join(" "), own.join("\n")))
        })?;
        self.told_by(&finished)
    }

    /// Waits for the first event of that kind of a process.
    pub(crate) fn told(&self, pid: u32, kind: &str) -> Outcome<Event> {
        let is_it = |event: &Event| (event.pid() == Some(pid) && event.kind() == kind).then(|| event.clone());
        self.session.collector.events.wait(kind, 0, self.setting.limit, is_it)
    }

    /// Has this program do something, and expects what it says it did.
    pub(crate) fn act_and_expect(&mut self, args: &[&str]) -> Outcome {
        let expected = self.act(args)?;
        self.expect(expected);
        Ok(())
    }

    /// Runs a command that prints its deeds.
    pub(crate) fn perform(&mut self, command: &mut Command) -> Outcome<Vec<Expected>> {
        let finished = self.run(command)?;
        self.told_by(&finished)
    }

    fn told_by(&mut self, finished: &Finished) -> Outcome<Vec<Expected>> {
        let deeds = finished.stdout.lines().map(serde_json::from_str);
        let deeds = deeds.collect::<Result<Vec<Deed>, _>>().during("read what was done")?;
        ensure(!deeds.is_empty(), || "it says nothing of what it did".to_owned())?;
        let is_end = |deed: &&Deed| deed.event.as_deref() == Some("connection_end");
        let ends: Vec<_> = deeds.iter().filter(is_end).map(|deed| deed.target.clone()).collect();
        let mut expected = Vec::new();
        for deed in deeds {
            let end = end_of(&deed).filter(|end| !ends.contains(&end.target));
            for deed in std::iter::once(deed).chain(end) {
                expected.push(self.expected(deed));
            }
        }
        Ok(expected)
    }

    /// Runs a program to its end; its process and descendants are the test's.
    pub(crate) fn run(&mut self, command: &mut Command) -> Outcome<Finished> {
        let running = Captured::start(command)?;
        self.known.claim.process(running.pid());
        running.finish(self.setting.limit)?.well()
    }

    /// Runs a program that does not tell of itself; who it was, as far as the harness knows.
    pub(crate) fn run_program(&mut self, program: &str, args: &[&str]) -> Outcome<(Who, Finished)> {
        let exe = child::find(program).map_err(|error| Verdict::Skipped(error.to_string()))?;
        let finished = self.run(Command::new(&exe).arg0(program).args(args))?;
        let me = self.me.clone();
        let ancestors = std::iter::once(me.as_ancestor()).chain(me.ancestors.clone()).collect();
        let who = Who {
            pid: finished.pid,
            start_ticks: finished.start_ticks,
            ppid: me.pid,
            exe: exe.to_string_lossy().into_owned(),
            argv: std::iter::once(program).chain(args.iter().copied()).map(str::to_owned).collect(),
            ancestors,
            ..me
        };
        Ok((who, finished))
    }

    /// What should be told of a deed: with the hook that serves it on this rung, and the catalogue's words.
    pub(crate) fn expected(&mut self, mut deed: Deed) -> Expected {
        self.known.claim.process(deed.who.pid);
        // An ordinary user cannot see what the harness and those above it run.
        let above = deed.who.ancestors.iter().position(|ancestor| ancestor.pid == self.me.pid);
        if let Some(at) = above {
            deed.who.ancestors.truncate(at);
            deed.who.ancestors.push(self.me.as_ancestor());
            deed.who.ancestors.extend(self.me.ancestors.clone());
        }
        let credential = deed.event.as_deref() == Some("credential_access");
        let attempt = deed.event.as_deref() == Some("credential_attempt");
        let end = deed.event.as_deref() == Some("connection_end");
        let expected = Expected::of(deed);
        // The other side may have the last word, after the one who is looked at has gone.
        let expected = if end { expected.late() } else { expected };
        if attempt {
            let serving = self.session.start.serving("credential_refused").unwrap_or_default();
            return as_test(expected.seen_by(&[serving]));
        }
        if !credential {
            return expected;
        }
        let serving = self.session.start.serving("credential_open").unwrap_or_default();
        let hooks = ["lsm/file_open", "fentry/security_file_open", "tp_btf/sys_exit"];
        let hooks: Vec<&str> = hooks.into_iter().filter(|hook| serving.contains(hook)).collect();
        as_test(expected.seen_by(&hooks))
    }

    /// Expects these, each once.
    pub(crate) fn expect(&mut self, expected: impl IntoIterator<Item = Expected>) {
        self.known.expected.extend(expected);
    }

    /// What should be told of a credential that a program opened for reading.
    pub(crate) fn opened(&mut self, who: Who, path: &Path) -> Outcome<Expected> {
        let facts = file_facts(path)?;
        let deed = Deed {
            tid: who.pid,
            who,
            event: Some("credential_access".to_owned()),
            target: object(serde_json::json!({ "path": path })),
            facts,
            repeats: None,
        };
        Ok(self.expected(deed))
    }

    /// Waits until all is told, and compares.
    pub(crate) fn check(&self) -> Outcome {
        self.session.settle(self.setting)?;
        let events = &self.session.collector.events;
        let mut seen = events.len();
        loop {
            let findings = self.known.compare(&events.all());
            if findings.may_still_come() {
                // What comes by itself brings nothing that is awaited: with it, this would be waited for without end.
                events
                    .wait("another event", seen, self.setting.limit, |event| (!event.is_idle()).then_some(()))
                    .during(findings.text())?;
                seen = events.len();
                continue;
            }
            let text = findings.text();
            return if text.is_empty() { Ok(()) } else { failed(text) };
        }
    }
}

/// The words of the tests' catalogue.
fn as_test(expected: Expected) -> Expected {
    expected
        .key("credential", ENTRY)
        .key("credential_kind", "test")
        .key("sensitivity", 3)
        .key("matched_by", "path")
}

/// What should be told when an established connection ends, where what it carried does not matter.
pub(crate) fn end_of(connection: &Deed) -> Option<Deed> {
    let established = connection.facts.get("outcome").and_then(serde_json::Value::as_str);
    let kind = connection.event.as_deref();
    (kind == Some("connection") && established == Some("established")).then(|| Deed {
        event: Some("connection_end".to_owned()),
        facts: object(serde_json::json!({
            "v4_mapped": connection.facts.get("v4_mapped"), "hook": "tp_btf/inet_sock_set_state",
        })),
        repeats: None,
        ..connection.clone()
    })
}

/// What an open for reading tells of a file.
pub(crate) fn file_facts(path: &Path) -> Outcome<serde_json::Map<String, serde_json::Value>> {
    let data = rustix::fs::stat(path).during(path.display())?;
    Ok(object(serde_json::json!({
        "device": format!("{}:{}", rustix::fs::major(data.st_dev), rustix::fs::minor(data.st_dev)),
        "inode": data.st_ino,
        "file_links": data.st_nlink,
        "file_mode": format!("{:06o}", data.st_mode),
        "access": "read",
        "truncate": false,
    })))
}
