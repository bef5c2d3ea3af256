//! What an operator may get wrong: each has a message that says what to do, and an exit code of its own.

use std::process::Command;

use rustix::net::{AddressFamily, SocketType, bind, getsockname, socket};

use super::{Case, own};
use crate::harness::agent::{self, Agent, Options};
use crate::harness::child::{Finished, Running};
use crate::harness::collector::Collector;
use crate::harness::event::Event;
use crate::harness::places;
use crate::harness::privileges::{self, BPF, NET_ADMIN, PERFMON, SYS_ADMIN};
use crate::harness::programs;
use crate::harness::servers::V4;
use crate::harness::session;
use crate::harness::setting::{Rung, Setting};
use crate::outcome::{Outcome, ensure, skipped};

const USAGE: i32 = 2;
const UNPRIVILEGED: i32 = 4;
const NO_RUNG: i32 = 8;
const SECOND_INSTANCE: i32 = 9;
const CATALOGUE: i32 = 10;
const RECORDING: i32 = 11;

/// All of them.
pub(super) fn cases() -> Vec<Case> {
    let missing = [(BPF, "CAP_BPF"), (PERFMON, "CAP_PERFMON"), (NET_ADMIN, "CAP_NET_ADMIN")];
    let mut cases = vec![own("bad-input/not-root", not_root)];
    for (capability, name) in missing {
        cases.push(own(format!("bad-input/without-{name}"), move |setting| {
            let mut command = Agent::command(setting, &Options::default());
            privileges::without(&mut command, &[capability, SYS_ADMIN]);
            refused(setting, &mut command, UNPRIVILEGED, &[name])
        }));
    }
    cases.extend([
        own("bad-input/enough-capabilities", enough_capabilities),
        own("bad-input/usage", usage),
        own("bad-input/configuration", configuration),
        own("bad-input/catalogue", catalogue),
        own("bad-input/recording", recording),
        own("bad-input/second-instance", second_instance),
        own("bad-input/rung", rung),
        own("bad-input/collector-address", collector_address),
        own("bad-input/collector-down", collector_down),
    ]);
    cases
}

/// Runs a command that must refuse, quickly, with a code and words, and leave no program behind.
fn refused(setting: &Setting, command: &mut Command, code: i32, words: &[&str]) -> Outcome {
    let before = programs::listed(setting)?;
    let finished = Running::start(command)?.finish(setting.limit)?;
    told(&finished, code, words)?;
    programs::wait_gone(setting, &before)
}

fn told(finished: &Finished, code: i32, words: &[&str]) -> Outcome {
    let Finished { stdout, stderr, .. } = finished;
    ensure(finished.code() == Some(code), || {
        format!("exit {:?}, should be {code}: {stderr}", finished.code())
    })?;
    ensure(stdout.is_empty(), || format!("it printed {stdout}"))?;
    ensure(!stderr.contains("panicked"), || format!("it panicked: {stderr}"))?;
    for word in words {
        ensure(stderr.contains(word), || format!("the message does not name {word}: {stderr}"))?;
    }
    Ok(())
}

fn agent_with(setting: &Setting, args: &[&str]) -> Command {
    let mut command = Agent::command(setting, &Options::default());
    command.args(args);
    command
}

fn not_root(setting: &Setting) -> Outcome {
    use std::os::unix::process::CommandExt;
    let mut command = agent_with(setting, &[]);
    command.uid(65_534).gid(65_534);
    refused(setting, &mut command, UNPRIVILEGED, &["CAP_BPF", "CAP_PERFMON", "CAP_NET_ADMIN", "root"])
}

/// What the service unit gives is enough: the narrow capabilities, without the one that stands for all.
fn enough_capabilities(setting: &Setting) -> Outcome {
    let mut command = Agent::command(setting, &Options::default());
    privileges::without(&mut command, &[SYS_ADMIN]);
    let agent = Agent::spawn_command(&mut command)?;
    agent.ready(setting)?;
    agent.stop(setting)?;
    Ok(())
}

fn usage(setting: &Setting) -> Outcome {
    let table: [&[&str]; 4] =
        [&["--no-such-flag"], &["--drop-every", "often"], &["--rung", "kprobe"], &["--quiet"]];
    for args in table {
        refused(setting, &mut agent_with(setting, args), USAGE, args)?;
    }
    told(&agent::command(setting, &["no-such-command"])?, USAGE, &["no-such-command"])
}

fn configuration(setting: &Setting) -> Outcome {
    let file = setting.path("telltale.toml");
    let path = file.to_string_lossy();
    let table: [(&str, &[&str]); 4] = [
        ("colector = \"http://127.0.0.1:1\"\n", &["colector", "collector"]),
        ("collector = 7\n", &["collector"]),
        ("collector = \"http://127.0.0.1:1\"\n[output]\nfile = \"x\"\n", &["output"]),
        ("this is no TOML\n", &["line 1"]),
    ];
    for (text, words) in table {
        places::write(&file, text)?;
        let mut words = words.to_vec();
        words.push(&path);
        refused(setting, &mut agent_with(setting, &["--config", &path]), USAGE, &words)?;
    }
    let missing = "/nonexistent/telltale.toml";
    refused(setting, &mut agent_with(setting, &["--config", missing]), USAGE, &[missing])
}

fn catalogue(setting: &Setting) -> Outcome {
    let file = setting.path("bad-catalogue.toml");
    let path = file.to_string_lossy();
    let entry = |rest: &str| {
        format!("version = 1\n[[credential]]\nname = \"x\"\nkind = \"test\"\ncomment = \"x\"\n{rest}\n")
    };
    let table = [
        ("version = 2\n".to_owned(), "version"),
        (entry("sensitivity = 9\npaths = [\"/x/y\"]"), "sensitivity"),
        (entry("sensitivity = 1\npaths = [\"x\"]"), "`x`"),
        (entry("sensitivity = 1\npaths = [\"/x/y\"]\nowner = \"me\""), "owner"),
        (entry("sensitivity = 1\npaths = [\"**/*\"]"), "**/*"),
        ("not TOML".to_owned(), "line"),
    ];
    for (text, word) in table {
        places::write(&file, &text)?;
        // Some say the line in the file's name's way (`FILE:3`), some in words.
        let word = if word == "line" { ":1" } else { word };
        refused(setting, &mut agent_with(setting, &["--catalogue", &path]), CATALOGUE, &[word, &path])?;
    }
    let missing = "/nonexistent/catalogue.toml";
    refused(setting, &mut agent_with(setting, &["--catalogue", missing]), CATALOGUE, &[missing])
}

/// A recording that cannot be made, or would take the place of another file.
fn recording(setting: &Setting) -> Outcome {
    let missing = "/nonexistent/x.recording";
    refused(setting, &mut agent_with(setting, &["--record", missing]), RECORDING, &[missing])?;
    let file = setting.path("taken.recording");
    places::write(&file, "precious\n")?;
    let path = file.to_string_lossy();
    refused(setting, &mut agent_with(setting, &["--record", &path]), RECORDING, &[&path])?;
    ensure(std::fs::read(&file)? == b"precious\n", || format!("{path} was changed"))
}

fn second_instance(setting: &Setting) -> Outcome {
    let first = Agent::start(setting, &Options::default())?;
    let finished = Running::start(&mut agent_with(setting, &[]))?.finish(setting.limit)?;
    told(&finished, SECOND_INSTANCE, &["another telltale"])?;
    ensure(first.runs(), || "the first one ended".to_owned())?;
    first.stop(setting)?;
    // Even one that was killed does not stand in the way of the next.
    Agent::start(setting, &Options::default())?.kill(setting)?;
    Agent::start(setting, &Options::default())?.stop(setting)?;
    Ok(())
}

fn rung(setting: &Setting) -> Outcome {
    for rung in [Rung::Lsm, Rung::Fentry] {
        let agent = Agent::spawn(setting, &Options { rung: Some(rung), ..Options::default() })?;
        if agent.ready(setting).is_err() {
            drop(agent);
            let mut command = Agent::command(setting, &Options { rung: Some(rung), ..Options::default() });
            return refused(setting, &mut command, NO_RUNG, &[rung.name()]);
        }
    }
    skipped("every rung holds on this kernel")
}

fn collector_address(setting: &Setting) -> Outcome {
    for address in ["ftp://127.0.0.1:1", "127.0.0.1:4319", "http://", "http://127.0.0.1:99999"] {
        refused(setting, &mut agent_with(setting, &["--collector", address]), USAGE, &["collector"])?;
    }
    Ok(())
}

/// A collector that is not there yet is waited for; what happened meanwhile arrives, without a hole.
fn collector_down(setting: &Setting) -> Outcome {
    let port = {
        let socket = socket(AddressFamily::INET, SocketType::STREAM, None)?;
        bind(&socket, &std::net::SocketAddr::new(V4, 0))?;
        std::net::SocketAddr::try_from(getsockname(&socket)?)?.port()
    };
    let agent = Agent::start(setting, &Options { collector: Some(port), ..Options::default() })?;
    let mark = session::mark()?;
    let told = |event: &Event| session::is_mark(event, mark).then_some(());
    agent.events.wait("the marking connection", 0, setting.limit, told)?;
    ensure(agent.runs(), || format!("the agent ended: {}", agent.said()))?;
    let collector = Collector::start(setting, port)?;
    collector.events.wait("what happened before the collector came", 0, setting.limit, told)?;
    agent.stop(setting)?;
    let first = collector.stop(setting)?.first().and_then(|event| event.number("seq"));
    ensure(first == Some(1), || format!("the first event has number {first:?}"))
}
