//! `telltale who`: what a running agent knows of identities, what operators decide, and that it outlives the agent.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use rustix::thread::CapabilitySet;
use serde_json::Value;

use super::{Case, own};
use crate::harness::agent::{Agent, Options};
use crate::harness::child::{Captured, Finished};
use crate::harness::event::Event;
use crate::harness::ledger::equal;
use crate::harness::places;
use crate::harness::privileges;
use crate::harness::setting::{CREDENTIALS, Setting};
use crate::outcome::{During, Outcome, ensure, failed};

/// All of them.
pub(super) fn cases() -> Vec<Case> {
    vec![
        own("who/decided", decided),
        own("who/strangers", strangers),
        own("who/damaged", damaged),
        own("who/ruled", ruled),
    ]
}

/// `telltale who`, with these arguments.
fn who(setting: &Setting, arguments: &[&str]) -> Outcome<Finished> {
    let mut command = Command::new(&setting.telltale);
    command.arg("who").args(arguments);
    Captured::start(&mut command)?.finish(setting.limit)
}

/// `telltale credentials`, with these arguments.
fn inventory(setting: &Setting, arguments: &[&str]) -> Outcome<Vec<Value>> {
    let mut command = Command::new(&setting.telltale);
    command.args(["credentials", "--json"]).args(arguments);
    let finished = Captured::start(&mut command)?.finish(setting.limit)?.well()?;
    let lines = finished.stdout.lines().map(serde_json::from_str);
    lines.collect::<Result<_, _>>().during("read what `telltale credentials` prints")
}

pub(super) fn asked(setting: &Setting, arguments: &[&str]) -> Outcome<Value> {
    let finished = who(setting, arguments)?.well()?;
    serde_json::from_str(&finished.stdout).during("read what `telltale who` prints")
}

/// Asks again until what is said is so: what is seen is added to what is known every few seconds.
pub(super) fn soon(setting: &Setting, arguments: &[&str], is_so: impl Fn(&Value) -> bool) -> Outcome<Value> {
    let deadline = Instant::now() + setting.limit;
    loop {
        let finished = who(setting, arguments)?;
        let line = serde_json::from_str(&finished.stdout).unwrap_or_default();
        if is_so(&line) {
            return Ok(line);
        }
        if Instant::now() >= deadline {
            return failed(format!("it is not so within {:.0?}: {line} {}", setting.limit, finished.stderr));
        }
    }
}

fn number(line: &Value, key: &str) -> u64 {
    line.get(key).and_then(Value::as_u64).unwrap_or_default()
}

pub(super) fn text<'a>(line: &'a Value, key: &str) -> &'a str {
    line.get(key).and_then(Value::as_str).unwrap_or_default()
}

fn credential(setting: &Setting) -> Outcome<PathBuf> {
    let file = setting.places.get("ext4")?.join("who").join(CREDENTIALS).join("key");
    places::write(&file, "secret\n")?;
    Ok(file)
}

/// Opens a credential; the event that tells it.
fn opened(setting: &Setting, agent: &Agent, file: &Path) -> Outcome<Event> {
    let from = agent.events.len();
    drop(fs::File::open(file).during(file.display())?);
    let me = std::process::id();
    let is_it = |event: &Event| {
        let is_it =
            event.kind() == "credential_access" && event.pid() == Some(me) && event.text("how") == "open";
        is_it.then(|| event.clone())
    };
    agent.events.wait("the open", from, setting.limit, is_it)
}

/// A rule of the operator's makes another identity of the test's program, from the next event on; one that is wrong
/// changes nothing. The realm stands on each event.
fn ruled(setting: &Setting) -> Outcome {
    let rules = setting.path("who-identities.toml");
    let config = setting.path("who-ruled.toml");
    places::write(
        &config,
        &format!("realm = \"acme\"\nidentity_rules = {:?}\n", rules.display().to_string()),
    )?;
    let file = credential(setting)?;
    let agent = Agent::start(setting, &Options { config: Some(config), ..Options::default() })?;
    let before = opened(setting, &agent, &file)?;
    let identity = before.text("identity").to_owned();
    equal("realm", "acme", before.text("realm"))?;

    let me = std::env::current_exe()?;
    let rule = |given: &str| {
        format!(
            "version = 1\n[[rule]]\nname = \"ours\"\nwhen.identity = {identity:?}\nwhen.evidence = {{ exe = {me:?} }}\n\
             identity = \"{given}\"\nowner = \"team: tests\"\n"
        )
    };
    let turn_into = |given: &str, wanted: &str| -> Outcome<Event> {
        // Another file of that name: a change is seen by its time.
        let other = setting.path("who-identities.new");
        places::write(&other, &rule(given))?;
        fs::rename(&other, &rules).during("put the rules in place")?;
        let deadline = Instant::now() + setting.limit;
        loop {
            let event = opened(setting, &agent, &file)?;
            if event.text("identity") == wanted {
                return Ok(event);
            }
            ensure(Instant::now() < deadline, || format!("it is still {}", event.text("identity")))?;
        }
    };
    let event = turn_into("svc/ruled", "svc/ruled")?;
    equal("owner", "team: tests", event.text("owner"))?;
    equal("owner_source", "rule", event.text("owner_source"))?;
    equal("kind", "system_unit", event.text("identity_kind"))?;
    let blended = event.get("blended").and_then(Value::as_array).cloned().unwrap_or_default();
    ensure(blended.first() == Some(&Value::from(identity.as_str())), || format!("it was {blended:?}"))?;
    let from = agent.messages.len();
    let refused = turn_into("human/root", "svc/ruled")?;
    equal("rule", "team: tests", refused.text("owner"))?;
    let said = |line: &String| line.contains("login uid").then(|| line.clone());
    agent.messages.wait("why the rules are wrong", from, setting.limit, said)?;
    equal("what holds", "svc/ruled", opened(setting, &agent, &file)?.text("identity"))?;
    fs::remove_file(&rules).during("take the rules away")?;
    let deadline = Instant::now() + setting.limit;
    while opened(setting, &agent, &file)?.text("identity") != identity {
        ensure(Instant::now() < deadline, || "the rules are gone and hold still".to_owned())?;
    }
    agent.stop(setting)?;
    Ok(())
}

/// An owner and an end of life, as an operator decides them: shown, on the events, and there after a SIGKILL.
fn decided(setting: &Setting) -> Outcome {
    let state = setting.path("who-state");
    let options = Options { state: Some(state), ..Options::default() };
    let file = credential(setting)?;
    let agent = Agent::start(setting, &options)?;
    let event = opened(setting, &agent, &file)?;
    let identity = event.text("identity").to_owned();

    let known = soon(setting, &[&identity, "--json"], |line| number(line, "credentials") >= 1)?;
    equal("state", "active", text(&known, "state"))?;
    equal("kind", event.text("identity_kind"), text(&known, "kind"))?;
    let of_process = asked(setting, &[&std::process::id().to_string(), "--json"])?;
    equal("identity of the process", identity.as_str(), text(&of_process, "identity"))?;
    let all = who(setting, &["--json"])?.well()?.stdout;
    let count = all.lines().filter(|line| line.contains(&format!("\"identity\":\"{identity}\""))).count();
    ensure(count == 1, || format!("{identity} stands {count} times in {all}"))?;
    let credentials = inventory(setting, &["--by", &identity])?;
    let ours = credentials.iter().find(|line| text(line, "path") == file.to_string_lossy());
    let Some(ours) = ours else { return failed(format!("no {} among {credentials:?}", file.display())) };
    equal("lifetime", "standing", text(ours, "lifetime"))?;
    equal("rotations", 0, number(ours, "rotations"))?;

    let tree = who(setting, &["--tree"])?.well()?.stdout;
    ensure(tree.contains(&identity), || format!("no {identity} in {tree}"))?;

    let owned = ["own", &identity, "--owner", "team: tests", "--reason", "they made it", "--json"];
    let line = asked(setting, &owned)?;
    equal("owner", "team: tests", text(&line, "owner"))?;
    let deadline = Instant::now() + setting.limit;
    let event = loop {
        let event = opened(setting, &agent, &file)?;
        if event.text("owner_source") == "operator" || Instant::now() >= deadline {
            break event;
        }
    };
    equal("owner on the event", "team: tests", event.text("owner"))?;

    // Another file in its place.
    let other = file.with_extension("new");
    places::write(&other, "another\n")?;
    fs::rename(&other, &file).during(file.display())?;
    opened(setting, &agent, &file)?;
    let deadline = Instant::now() + setting.limit;
    while !inventory(setting, &[])?
        .iter()
        .any(|line| text(line, "path") == file.to_string_lossy() && number(line, "rotations") == 1)
    {
        ensure(Instant::now() < deadline, || format!("{:?}", inventory(setting, &[])))?;
    }

    agent.kill(setting)?;
    let nobody = who(setting, &[])?;
    equal("exit status without an agent", Some(3), nobody.status.code())?;

    let agent = Agent::start(setting, &options)?;
    let line = asked(setting, &[&identity, "--json"])?;
    equal("owner after a kill", "team: tests", text(&line, "owner"))?;
    equal("first seen after a kill", text(&known, "first_seen"), text(&line, "first_seen"))?;
    asked(setting, &["retire", &identity, "--reason", "over", "--json"])?;
    opened(setting, &agent, &file)?;
    soon(setting, &[&identity, "--json"], |line| text(line, "state") == "retired_active")?;
    let filtered = who(setting, &["--state", "retired-active", "--json"])?.well()?.stdout;
    ensure(filtered.lines().count() == 1 && filtered.contains(&identity), || filtered.clone())?;
    asked(setting, &["own", &identity, "--clear", "--json"])?;
    let unknown = who(setting, &["svc/no-such-unit"])?;
    equal("exit status of a name that is not known", Some(1), unknown.status.code())?;
    agent.stop(setting).map(drop)
}

/// Who is neither root nor of the agent's group gets nothing.
fn strangers(setting: &Setting) -> Outcome {
    let agent = Agent::start(setting, &Options::default())?;
    who(setting, &["--json"])?.well()?;
    let mut command = Command::new(&setting.telltale);
    command.args(["who", "--json"]);
    privileges::as_service(&mut command, CapabilitySet::empty());
    let refused = Captured::start(&mut command)?.finish(setting.limit)?;
    equal("exit status of a stranger", Some(4), refused.status.code())?;
    ensure(refused.stdout.is_empty(), || refused.stdout.clone())?;
    agent.stop(setting).map(drop)
}

/// A database that is none any more is put aside, and said to be.
fn damaged(setting: &Setting) -> Outcome {
    let state = setting.path("who-damaged");
    fs::create_dir_all(&state).during(state.display())?;
    let database = state.join("identities.redb");
    fs::write(&database, "no database").during(database.display())?;
    let agent = Agent::start(setting, &Options { state: Some(state.clone()), ..Options::default() })?;
    who(setting, &["--json"])?.well()?;
    ensure(agent.said().contains("is damaged"), || agent.said())?;
    ensure(state.join("identities.redb.damaged").exists(), || "it was not put aside".to_owned())?;
    agent.stop(setting).map(drop)
}
