//! Tags: what an agent's session has started has one number in the kernel, and the next agent goes on with it.

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::path::Path;
use std::process::Command;

use rustix::fs::{CWD, FileType, Mode, mknodat};
use serde_json::Value;

use super::agents::CLAUDE;
use super::who::{asked, soon, text};
use super::{Case, own};
use crate::harness::agent::Agent;
use crate::harness::child::Captured;
use crate::harness::ledger::equal;
use crate::harness::pin_place::PinPlace;
use crate::harness::setting::Setting;
use crate::outcome::{During, Outcome, ensure};

/// All of them.
pub(super) fn cases() -> Vec<Case> {
    vec![own("tag/session", session)]
}

/// Where processes wait for a line each. Dropped, it gives them theirs.
struct Waiting(File);

impl Waiting {
    fn new(path: &Path) -> Outcome<Self> {
        mknodat(CWD, path, FileType::Fifo, Mode::from_raw_mode(0o600), 0).during(path.display())?;
        // For reading too: so it needs nobody at the other end.
        Ok(Self(OpenOptions::new().read(true).write(true).open(path).during(path.display())?))
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        let _ = self.0.write_all(b"go\ngo\ngo\n");
    }
}

/// What the running agent says of a process, once it has a tag.
fn tagged(setting: &Setting, pid: u32) -> Outcome<Value> {
    soon(setting, &[&pid.to_string(), "--json"], |line| line.get("tag").is_some_and(Value::is_u64))
}

fn tag(line: &Value) -> u64 {
    line.get("tag").and_then(Value::as_u64).unwrap_or_default()
}

/// An agent, its tool, and what that has left behind: one tag, which is not that of who has started the agent. The next
/// agent, which finds them running, says the same of each of them, though nobody has made the last any more.
fn session(setting: &Setting) -> Outcome {
    let directory = setting.places.get("tmpfs")?.join("tags");
    let claude = directory.join(CLAUDE);
    fs::create_dir_all(claude.parent().unwrap_or(&claude)).during(claude.display())?;
    fs::copy(&setting.me, &claude).during(claude.display())?;
    let fifo = directory.join("go");
    let waiting = Waiting::new(&fifo)?;

    let place = PinPlace::new(setting, "tags")?;
    let agent = Agent::start(setting, &place.options())?;
    let script =
        format!("exec 3<>{}; (sh -c 'echo $$; read go <&3; :' &); echo $$; read go <&3; :", fifo.display());
    let started = Captured::start(Command::new(&claude).args(["act", "start", "--", "sh", "-c", &script]))?;
    let mut pids = Vec::new();
    for at in 0..2 {
        let line = |line: &String| Some(line.clone());
        pids.push(started.stdout.wait("who was started", at, setting.limit, line)?.trim().parse::<u32>()?);
    }
    pids.push(started.pid());
    let lines = pids.iter().map(|pid| tagged(setting, *pid)).collect::<Outcome<Vec<_>>>()?;
    let of_session = lines.first().map(tag).unwrap_or_default();
    for line in &lines {
        equal("tag", of_session, tag(line))?;
        ensure(!text(line, "agent_session").is_empty(), || format!("it is no agent's: {line}"))?;
    }
    // It may be of no session at all.
    let own = tag(&asked(setting, &[&std::process::id().to_string(), "--json"])?);
    ensure(own != of_session, || format!("the test itself has {own}"))?;

    agent.kill(setting)?;
    let agent = Agent::start(setting, &place.options())?;
    for (pid, before) in pids.iter().zip(&lines) {
        let line = tagged(setting, *pid)?;
        equal("tag", of_session, tag(&line))?;
        equal("session", text(before, "agent_session"), text(&line, "agent_session"))?;
        equal("role", text(before, "role"), text(&line, "role"))?;
    }
    drop(waiting);
    started.finish(setting.limit)?.well()?;
    agent.stop(setting)?;
    fs::remove_dir_all(&directory).during(directory.display())?;
    Ok(())
}
