//! Who acts in a cgroup in which nothing was executed: processes that are moved there, or begin there, and those that enter
//! namespaces of others.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use super::who::soon;
use super::{Case, own};
use crate::acts::Entered;
use crate::harness::agent::{Agent, Options};
use crate::harness::cgroup::Cgroup;
use crate::harness::child::Captured;
use crate::harness::event::Event;
use crate::harness::ledger::equal;
use crate::harness::places;
use crate::harness::session::{is_mark, mark};
use crate::harness::setting::{CREDENTIALS, Setting};
use crate::outcome::{During, Outcome, ensure};

/// How many cgroups live for a moment where machines are quick: as many as there is time for elsewhere.
const TIMES: u32 = 1_000;
/// The time for it.
const TIME: Duration = Duration::from_secs(15);
/// How many one program makes, before the next does: what one makes at once beyond its budget is told late.
const AT_ONCE: usize = 100;
/// Of a thousand, so many may be told under no name: unknown. None may be told under another's.
const UNKNOWN_OF_THOUSAND: usize = 1;
/// Who is no human, and has no cgroups but his own.
const USER: u32 = 1000;
/// 64 hex digits, as engines name their containers.
const CONTAINER: &str = "7e117a1e0123456789abcdef0123456789abcdef0123456789abcdef89abcdef";
/// Below which the user's own service manager names what it likes.
const DELEGATED: &str = "user.slice/user-1000.slice/user@1000.service/app.slice";
const SLICE: &str = "telltale-tests-moves.slice";

/// All of them.
pub(super) fn cases() -> Vec<Case> {
    vec![
        own("identity/moved", |setting| moved(setting, false)),
        own("identity/made-in-cgroup", |setting| moved(setting, true)),
        own("identity/moved-to-what-was-there", was_there),
        own("identity/moved-by-user", forged),
        own("identity/moved-short-lived", short_lived),
        own("identity/entered-namespaces", entered_namespaces),
        own("tag/moved", tag),
    ]
}

fn unit(name: &str) -> String {
    format!("{name}.service")
}

fn container(id: &str) -> String {
    format!("docker-{id}.scope")
}

fn credential(setting: &Setting) -> Outcome<PathBuf> {
    let file = setting.places.get("ext4")?.join("moves").join(CREDENTIALS).join("key");
    places::write(&file, "secret\n")?;
    Ok(file)
}

/// Has children of one program act in these cgroups; who was where.
pub(super) fn enter(
    setting: &Setting,
    args: &[&str],
    file: &Path,
    names: &[String],
) -> Outcome<Vec<Entered>> {
    let mut command = Command::new(&setting.me);
    command.args(["act", "enter", "--path"]).arg(file).args(args).args(names);
    let finished = Captured::start(&mut command)?.finish(setting.limit)?.well()?;
    let entered: Result<Vec<Entered>, _> = finished.stdout.lines().map(serde_json::from_str).collect();
    let entered = entered.during("read who acted where")?;
    ensure(entered.len() == names.len(), || format!("{} of {} acted", entered.len(), names.len()))?;
    Ok(entered)
}

pub(super) fn opened(setting: &Setting, agent: &Agent, pid: u32) -> Outcome<Event> {
    let is_it = |event: &Event| {
        (event.kind() == "credential_access" && event.pid() == Some(pid)).then(|| event.clone())
    };
    agent.events.wait("its open", 0, setting.limit, is_it)
}

fn path_of(below: &str) -> Outcome<String> {
    let Some(root) = crate::harness::who::cgroup_root() else {
        return crate::outcome::skipped("cgroup v2 is not mounted");
    };
    Ok(root.join(below).to_string_lossy().into_owned())
}

/// In a unit, and in a container, that are made for it.
fn moved(setting: &Setting, begins_there: bool) -> Outcome {
    let file = credential(setting)?;
    let agent = Agent::start(setting, &Options::default())?;
    let slice = Cgroup::make(SLICE)?;
    let below = path_of(SLICE)?;
    let mut args = vec!["--below", &below];
    args.extend(begins_there.then_some("--made"));
    let names = [unit("telltale-moved"), container(CONTAINER)];
    let identities = ["svc/telltale-moved".to_owned(), format!("container/docker/{CONTAINER}")];
    let entered = enter(setting, &args, &file, &names)?;
    for (one, identity) in entered.iter().zip(&identities) {
        let event = opened(setting, &agent, one.pid)?;
        equal("identity", identity.as_str(), event.text("identity"))?;
        equal("cgroup", format!("/{SLICE}/{}", one.name).as_str(), event.text("cgroup"))?;
    }
    drop(slice);
    agent.stop(setting)?;
    Ok(())
}

/// In cgroups that were there before the agent, and in which nothing was ever executed.
fn was_there(setting: &Setting) -> Outcome {
    let file = credential(setting)?;
    let slice = Cgroup::make(SLICE)?;
    let names = [unit("telltale-there"), container(CONTAINER)];
    let identities = ["svc/telltale-there".to_owned(), format!("container/docker/{CONTAINER}")];
    let there =
        names.iter().map(|name| Cgroup::make(&format!("{SLICE}/{name}"))).collect::<Outcome<Vec<_>>>()?;
    let agent = Agent::start(setting, &Options::default())?;
    let below = path_of(SLICE)?;
    let entered = enter(setting, &["--there", "--below", &below], &file, &names)?;
    for (one, identity) in entered.iter().zip(&identities) {
        let event = opened(setting, &agent, one.pid)?;
        equal("identity", identity.as_str(), event.text("identity"))?;
    }
    drop(there);
    drop(slice);
    agent.stop(setting)?;
    Ok(())
}

/// What a user calls a cgroup of his own changes nobody's key, where nothing was executed in it as little as where it was.
fn forged(setting: &Setting) -> Outcome {
    let file = credential(setting)?;
    let agent = Agent::start(setting, &Options::default())?;
    let delegated = Cgroup::make(DELEGATED)?;
    let below = path_of(DELEGATED)?;
    let user = USER.to_string();
    for way in [&["--made"][..], &[]] {
        let args = [&["--uid", &user, "--below", &below], way].concat();
        let names = [".".to_owned(), unit("nginx"), container(CONTAINER)];
        let entered = enter(setting, &args, &file, &names)?;
        let events =
            entered.iter().map(|one| opened(setting, &agent, one.pid)).collect::<Outcome<Vec<_>>>()?;
        let Some((stayed, moved)) = events.split_first() else { continue };
        for event in moved {
            equal("identity", stayed.text("identity"), event.text("identity"))?;
            ensure(event.text("cgroup").starts_with(&format!("/{DELEGATED}/")), || event.brief())?;
        }
        let claim = |event: &Event| {
            let evidence = event.get("evidence").and_then(Value::as_array).cloned().unwrap_or_default();
            evidence.iter().any(|one| one.get("kind").and_then(Value::as_str) == Some("container_claim"))
        };
        let claims: Vec<bool> = events.iter().map(claim).collect();
        equal("container_claim", vec![false, false, true], claims)?;
    }
    drop(delegated);
    agent.stop(setting)?;
    Ok(())
}

/// Many cgroups, each there for the moment in which one process is moved into it and acts.
fn short_lived(setting: &Setting) -> Outcome {
    let file = credential(setting)?;
    let agent = Agent::start(setting, &Options::default())?;
    let slice = Cgroup::make(SLICE)?;
    let below = path_of(SLICE)?;
    let mut identities = HashMap::new();
    for number in 0..TIMES {
        let id = format!("{number:08x}{:056x}", u64::from(number).wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let (name, identity) = match number % 2 {
            0 => (container(&id), format!("container/docker/{id}")),
            _ => (unit(&format!("telltale-moved-{number}")), format!("svc/telltale-moved-{number}")),
        };
        identities.insert(name, identity);
    }
    let names: Vec<String> = identities.keys().cloned().collect();
    let mut truth = HashMap::new();
    let begun = Instant::now();
    for names in names.chunks(AT_ONCE) {
        if !truth.is_empty() && begun.elapsed() >= TIME {
            break;
        }
        for one in enter(setting, &["--below", &below], &file, names)? {
            truth.insert(one.pid, identities.get(&one.name).cloned().unwrap_or_default());
        }
    }
    drop(slice);
    let port = mark()?;
    agent.events.wait("the marking connection", 0, setting.limit, |event: &Event| {
        is_mark(event, port).then_some(())
    })?;

    let (mut told, mut unknown, mut wrong) = (0, Vec::new(), Vec::new());
    for event in agent.events.all() {
        ensure(event.kind() != "gap", || format!("records were lost: {}", event.brief()))?;
        let Some(identity) = event.pid().and_then(|pid| truth.get(&pid)) else { continue };
        if event.kind() != "credential_access" {
            continue;
        }
        told += 1;
        if event.text("identity") != identity {
            let somebody_else = truth.values().any(|other| other == event.text("identity"));
            if somebody_else { &mut wrong } else { &mut unknown }.push(event.brief());
        }
    }
    agent.stop(setting)?;
    println!("         {told} told, {} wrong, {} unknown", wrong.len(), unknown.len());
    ensure(told == truth.len(), || format!("{told} of {} were told", truth.len()))?;
    ensure(wrong.is_empty(), || format!("{} of {told} under another's name: {wrong:?}", wrong.len()))?;
    ensure(unknown.len() * 1_000 <= UNKNOWN_OF_THOUSAND * told, || {
        format!("{} of {told} not known: {:?}", unknown.len(), unknown.first())
    })
}

/// As nsenter(1) does, without executing anything: what is told is where it acts.
fn entered_namespaces(setting: &Setting) -> Outcome {
    let file = credential(setting)?;
    let mut unshared = Command::new("unshare");
    unshared.args(["--mount", "--net", "cat"]).stdin(Stdio::piped()).stdout(Stdio::null());
    let (other, held) = Captured::start_held(&mut unshared)?;
    let namespace = |pid: u32, name: &str| -> Outcome<u64> {
        use std::os::unix::fs::MetadataExt as _;
        let path = format!("/proc/{pid}/ns/{name}");
        Ok(std::fs::metadata(&path).during(&path)?.ino())
    };
    let own = namespace(std::process::id(), "mnt")?;
    // It unshares before it executes `cat`.
    let deadline = Instant::now() + setting.limit;
    while namespace(other.pid(), "net")? == namespace(std::process::id(), "net")? {
        ensure(Instant::now() < deadline, || "unshare has not unshared".to_owned())?;
    }
    let agent = Agent::start(setting, &Options::default())?;
    let pid = other.pid().to_string();
    let names = [".".to_owned()];
    let stayed = enter(setting, &[], &file, &names)?;
    let entered = enter(setting, &["--namespaces-of", &pid], &file, &names)?;
    let before = stayed.iter().map(|one| opened(setting, &agent, one.pid)).collect::<Outcome<Vec<_>>>()?;
    let after = entered.iter().map(|one| opened(setting, &agent, one.pid)).collect::<Outcome<Vec<_>>>()?;
    for (stayed, entered) in before.iter().zip(&after) {
        equal("mount namespace", Some(own), stayed.number("mount_namespace"))?;
        let theirs = namespace(other.pid(), "mnt")?;
        equal("mount namespace", Some(theirs), entered.number("mount_namespace"))?;
        let theirs = namespace(other.pid(), "net")?;
        equal("network namespace", Some(theirs), entered.number("network_namespace"))?;
        // A path there is not the host's.
        ensure(entered.text("identity").starts_with("exe-ns/"), || entered.brief())?;
        ensure(!stayed.text("identity").starts_with("exe-ns/"), || stayed.brief())?;
    }
    drop(held);
    other.finish(setting.limit)?;
    agent.stop(setting)?;
    Ok(())
}

/// A process that is moved is of the unit's session from its next act on, as what is executed there.
fn tag(setting: &Setting) -> Outcome {
    let file = credential(setting)?;
    let agent = Agent::start(setting, &Options::default())?;
    let unit = Cgroup::make(&format!("{SLICE}/{}", unit("telltale-tagged")))?;
    let below = path_of(SLICE)?;
    let mut command = Command::new("cat");
    unit.hold(&mut command)?;
    let (executed, executed_held) = Captured::start_held(&mut command)?;
    let has_tag = |line: &Value| line.get("tag").is_some_and(Value::is_u64);
    let wanted = soon(setting, &[&executed.pid().to_string(), "--json"], has_tag)?.get("tag").cloned();

    let mut command = Command::new(&setting.me);
    command.args(["act", "enter", "--there", "--held", "--below", &below, "--path"]).arg(&file);
    command.arg(self::unit("telltale-tagged"));
    let (running, held) = Captured::start_held(&mut command)?;
    let entered: Entered = running
        .stdout
        .wait("who was moved", 0, setting.limit, |line: &String| serde_json::from_str(line).ok())?;
    let event = opened(setting, &agent, entered.pid)?;
    equal("identity", "svc/telltale-tagged", event.text("identity"))?;
    soon(setting, &[&entered.pid.to_string(), "--json"], |line| line.get("tag") == wanted.as_ref())?;
    drop((held, executed_held));
    running.finish(setting.limit)?.well()?;
    executed.finish(setting.limit)?.well()?;
    drop(unit);
    agent.stop(setting)?;
    Ok(())
}
