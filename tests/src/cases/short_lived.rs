//! Containers and units that live for the moment of one act: each has a name of its own, which is the truth.

use std::collections::HashMap;
use std::env;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use super::{Case, own};
use crate::harness::agent::{Agent, Options};
use crate::harness::cgroup::Cgroup;
use crate::harness::child::Captured;
use crate::harness::event::Event;
use crate::harness::places;
use crate::harness::session::{is_mark, mark};
use crate::harness::setting::{CREDENTIALS, Setting};
use crate::outcome::{Outcome, ensure};

/// How many of each kind where machines are quick: as many as there is time for elsewhere.
const TIMES: u32 = 1_000;
/// How many in any case.
const LEAST: u32 = 20;
/// The time for it: an emulated processor makes some five a second.
const TIME: Duration = Duration::from_secs(15);
/// Set for so many, in whatever time.
const TIMES_VARIABLE: &str = "TELLTALE_SHORT_LIVED";
/// Of a thousand, so many may be told under another name than their own: unknown. None may be told under somebody else's.
const UNKNOWN_OF_THOUSAND: usize = 1;
/// Whose name an engine or the service manager would give.
const SLICE: &str = "telltale-tests-short.slice";

/// All of them.
pub(super) fn cases() -> Vec<Case> {
    vec![
        own("short-lived/containers", |setting| short_lived(setting, container)),
        own("short-lived/units", |setting| short_lived(setting, unit)),
    ]
}

/// A cgroup's name, and the identity of what is in it.
type Named = (String, String);

fn container(number: u32) -> Named {
    let id = format!("{number:08x}{:056x}", u64::from(number).wrapping_mul(0x9e37_79b9_7f4a_7c15));
    (format!("docker-{id}.scope"), format!("container/docker/{id}"))
}

fn unit(number: u32) -> Named {
    (format!("telltale-test-{number}.service"), format!("svc/telltale-test-{number}"))
}

fn short_lived(setting: &Setting, name: fn(u32) -> Named) -> Outcome {
    let file = setting.places.get("ext4")?.join("short-lived").join(CREDENTIALS).join("key");
    places::write(&file, "secret\n")?;
    let agent = Agent::start(setting, &Options::default())?;
    let slice = Cgroup::make(SLICE)?;
    let wanted = env::var(TIMES_VARIABLE).ok().and_then(|text| text.parse().ok());
    let begun = Instant::now();
    let (mut truth, mut number) = (HashMap::new(), 0);
    let is_time = |number| number < LEAST || (number < TIMES && begun.elapsed() < TIME);
    while wanted.map_or_else(|| is_time(number), |wanted| number < wanted) {
        let (cgroup, identity) = name(number);
        truth.insert(open_within(setting, &format!("{SLICE}/{cgroup}"), &file)?, identity);
        number += 1;
    }
    drop(slice);
    let port = mark()?;
    let is_the_mark = |event: &Event| is_mark(event, port).then_some(());
    agent.events.wait("the marking connection", 0, setting.limit, is_the_mark)?;

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
    ensure(told == truth.len(), || format!("{told} of {} were told", truth.len()))?;
    ensure(wrong.is_empty(), || format!("{} of {told} under another's name: {wrong:?}", wrong.len()))?;
    ensure(unknown.len() * 1_000 <= UNKNOWN_OF_THOUSAND * told, || {
        format!("{} of {told} not known: {:?}", unknown.len(), unknown.first())
    })
}

/// Opens the credential in a process of a cgroup that is there for that alone; its process id.
fn open_within(setting: &Setting, cgroup: &str, file: &Path) -> Outcome<u32> {
    let cgroup = Cgroup::make(cgroup)?;
    let mut command = Command::new(&setting.me);
    command
        .args(["act", "flood", "--opens", "1", "--connects", "0", "--to", "127.0.0.1:9", "--path"])
        .arg(file);
    cgroup.hold(&mut command)?;
    let finished = Captured::start(&mut command)?.finish(setting.limit)?.well()?;
    Ok(finished.pid)
}
