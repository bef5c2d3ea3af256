//! Who, where an AI agent acts: itself, its MCP servers, its tools; and what only looks like one.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use rustix::fs::{Mode, chmod};
use serde_json::Value;

use super::{Case, shared};
use crate::harness::expect::Expected;
use crate::harness::identity;
use crate::harness::scene::Scene;
use crate::harness::servers::V4;
use crate::harness::who::{Ancestor, Who};
use crate::outcome::{During, Outcome, ensure, failed};

/// Where npm puts the program of Claude Code.
pub(super) const CLAUDE: &str = "node_modules/@anthropic-ai/claude-code/bin/claude.exe";
/// An MCP server in a package.
const SERVER: &str = "node_modules/@modelcontextprotocol/server-filesystem/dist/server";
/// Where npm puts the script of Gemini CLI.
const GEMINI: &str = "node_modules/@google/gemini-cli/bundle/gemini.js";

/// All of them.
pub(super) fn cases() -> Vec<Case> {
    vec![
        shared("agent/itself", itself),
        shared("agent/tool", tool),
        shared("agent/daemon", daemon),
        shared("agent/mcp-server", mcp_server),
        shared("agent/link", link),
        shared("agent/forged", forged),
    ]
}

/// This program at another place, removed with it.
struct Copies {
    directory: PathBuf,
    first: Option<PathBuf>,
    made: Vec<PathBuf>,
}

impl Copies {
    fn new(scene: &mut Scene<'_>) -> Outcome<Self> {
        Ok(Self { directory: scene.directory("tmpfs")?, first: None, made: Vec::new() })
    }

    fn at(&mut self, me: &Path, place: &str) -> Outcome<String> {
        let path = self.directory.join(place);
        fs::create_dir_all(path.parent().unwrap_or(&path)).during(path.display())?;
        match &self.first {
            Some(first) => fs::hard_link(first, &path).during(path.display())?,
            None => {
                fs::copy(me, &path).during(path.display())?;
                self.first = Some(path.clone());
            }
        }
        self.made.push(path.clone());
        Ok(path.to_string_lossy().into_owned())
    }
}

impl Drop for Copies {
    fn drop(&mut self) {
        for path in &self.made {
            let _ = fs::remove_file(path);
        }
    }
}

/// Who runs an agent that a test starts.
fn runner(who: &Who) -> String {
    let (identity, kind) = identity::of(who);
    if kind != "executable" {
        return identity;
    }
    identity::human(who).unwrap_or_else(|| format!("uid:{}", who.uid))
}

fn session(began: &Ancestor) -> String {
    format!("{}.{}", began.pid, began.start_ticks)
}

/// What is told of somebody in a session that `began`, here or in an ancestor.
fn in_session(expected: Expected, began: &str, role: &str, identity: &str, kind: &str) -> Outcome<Expected> {
    let who = expected.who().clone();
    let mut line = std::iter::once(who.as_ancestor()).chain(who.ancestors.clone());
    let Some(found) = line.find(|process| process.exe == began) else {
        return failed(format!("no {began} above {who:?}"));
    };
    let identity = format!("{identity}@{}", runner(&who));
    Ok(expected
        .key("identity", identity)
        .key("identity_kind", kind)
        .key("role", role)
        .key("agent_session", session(&found)))
}

fn expect_all(
    scene: &mut Scene<'_>,
    done: Vec<Expected>,
    began: &str,
    (role, identity, kind): (&str, &str, &str),
) -> Outcome {
    for one in done {
        let one = in_session(one, began, role, identity, kind)?;
        scene.expect([one]);
    }
    Ok(())
}

const AGENT: (&str, &str, &str) = ("agent", "agent/claude-code", "ai_agent");
const TOOL: (&str, &str, &str) = ("tool", "agent/claude-code", "ai_agent");

fn itself(scene: &mut Scene<'_>) -> Outcome {
    let mut copies = Copies::new(scene)?;
    let claude = copies.at(&scene.setting.me.clone(), CLAUDE)?;
    let to = scene.server(V4)?.to_string();
    let done = scene.perform(Command::new(&claude).args(["act", "connect", "--to", &to]))?;
    expect_all(scene, done, &claude, AGENT)
}

/// `agent → sh-like wrapper → tool`, which connects and reads a credential.
fn tool(scene: &mut Scene<'_>) -> Outcome {
    let mut copies = Copies::new(scene)?;
    let me = scene.setting.me.clone();
    let claude = copies.at(&me, CLAUDE)?;
    let to = scene.server(V4)?.to_string();
    let path = scene.credential("ext4", "key")?.to_string_lossy().into_owned();
    let me = me.to_string_lossy();
    for act in [["connect", "--to", &to], ["open", "--path", &path]] {
        let wrapped = ["act", "start", "--", &*me, "act", "start", "--", &*me, "act"];
        let done = scene.perform(Command::new(&claude).args(wrapped).args(act))?;
        expect_all(scene, done, &claude, TOOL)?;
    }
    Ok(())
}

/// A tool that forks twice and outlives who started it is its agent's still.
fn daemon(scene: &mut Scene<'_>) -> Outcome {
    let mut copies = Copies::new(scene)?;
    let me = scene.setting.me.clone();
    let claude = copies.at(&me, CLAUDE)?;
    let to = scene.server(V4)?.to_string();
    let me = me.to_string_lossy();
    let args = ["act", "start", "--", &*me, "act", "daemon", "--to", &to];
    let done = scene.perform(Command::new(&claude).args(args))?;
    expect_all(scene, done, &claude, TOOL)
}

fn mcp_server(scene: &mut Scene<'_>) -> Outcome {
    let mut copies = Copies::new(scene)?;
    let me = scene.setting.me.clone();
    let claude = copies.at(&me, CLAUDE)?;
    let server = copies.at(&me, SERVER)?;
    let to = scene.server(V4)?.to_string();
    let me = me.to_string_lossy();
    let identity = "mcp/%40modelcontextprotocol%2Fserver-filesystem/of/agent/claude-code";
    let args = ["act", "start", "--piped", "--", &server, "act", "connect", "--to", &to];
    let done = scene.perform(Command::new(&claude).args(args))?;
    expect_all(scene, done, &claude, ("mcp_server", identity, "mcp_server"))?;
    let args =
        ["act", "start", "--piped", "--", &server, "act", "start", "--", &*me, "act", "connect", "--to", &to];
    let done = scene.perform(Command::new(&claude).args(args))?;
    expect_all(scene, done, &claude, ("tool", identity, "mcp_server"))?;
    // Where nobody speaks to it by a pipe it is a tool.
    let args = ["act", "start", "--", &server, "act", "connect", "--to", &to];
    let done = scene.perform(Command::new(&claude).stdin(Stdio::null()).args(args))?;
    expect_all(scene, done, &claude, TOOL)?;
    // The same server without an agent is a program.
    let done = scene.perform(Command::new(&server).args(["act", "connect", "--to", &to]))?;
    scene.expect(done.into_iter().map(nobodys));
    Ok(())
}

/// Of no agent.
fn nobodys(expected: Expected) -> Expected {
    expected.key("role", Value::Null).key("agent_session", Value::Null)
}

/// A script that is started by a link to it, as npm makes one: where it leads is found out beside the event path, so the
/// first events may come before.
fn link(scene: &mut Scene<'_>) -> Outcome {
    let mut copies = Copies::new(scene)?;
    let node = copies.at(&scene.setting.me.clone(), "bin/node")?;
    let script = copies.directory.join(GEMINI);
    fs::create_dir_all(script.parent().unwrap_or(&script)).during(script.display())?;
    let to = scene.server(V4)?.to_string();
    fs::write(&script, format!("#!{node}\nconnect --to {to}\n")).during(script.display())?;
    chmod(&script, Mode::from_raw_mode(0o755)).during(script.display())?;
    let gemini = copies.directory.join("bin/gemini");
    let _ = fs::remove_file(&gemini);
    symlink(Path::new("..").join(GEMINI), &gemini).during(gemini.display())?;
    let gemini = gemini.to_string_lossy().into_owned();
    let until = Instant::now() + scene.setting.limit;
    let known = loop {
        let done = scene.perform(&mut Command::new(&gemini))?;
        let pid = done.first().map(|one| one.who().pid).unwrap_or_default();
        let told = scene.told(pid, "connection")?;
        if told.text("identity_kind") == "ai_agent" {
            break done;
        }
        ensure(Instant::now() < until, || format!("it stays who it seems to be: {}", told.brief()))?;
        scene.expect(done.into_iter().map(|one| one.without("identity").without("identity_kind")));
    };
    expect_all(scene, known, &node, ("agent", "agent/gemini-cli", "ai_agent"))
}

/// A name, an environment and a directory of one's own make no agent.
fn forged(scene: &mut Scene<'_>) -> Outcome {
    let mut copies = Copies::new(scene)?;
    let me = scene.setting.me.clone();
    let to = scene.server(V4)?.to_string();
    for place in ["bin/claude", "claude-code/bin/claude.exe", "node_modules/claude-code/bin/claude.exe"] {
        let program = copies.at(&me, place)?;
        let mut command = Command::new(&program);
        command.env("CLAUDECODE", "1").env("CLAUDE_CODE_ENTRYPOINT", "cli");
        let done = scene.perform(command.args(["act", "connect", "--to", &to]))?;
        scene.expect(done.into_iter().map(nobodys));
    }
    Ok(())
}
