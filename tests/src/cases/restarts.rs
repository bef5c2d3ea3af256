//! Agents that are killed, make way for the next, or stop: what happens meanwhile is told by the next one.

use std::collections::BTreeMap;
use std::env;
use std::fs;
use std::net::UdpSocket;
use std::path::{Path, PathBuf};
use std::process::{ChildStdin, Command};
use std::time::Instant;

use rustix::process::Resource;
use rustix::thread::CapabilitySet;

use super::kills::{ENDLESS, after, once_more, random};
use super::{Case, own};
use crate::acts::Counts;
use crate::harness::agent::{Agent, Options};
use crate::harness::child::Captured;
use crate::harness::event::Event;
use crate::harness::ledger::equal;
use crate::harness::leftovers;
use crate::harness::pin_place::PinPlace;
use crate::harness::places;
use crate::harness::privileges::{self, charges_maps};
use crate::harness::programs;
use crate::harness::servers::{Server, V4};
use crate::harness::session;
use crate::harness::setting::{CREDENTIALS, Setting};
use crate::harness::stream::Stream;
use crate::outcome::{During, Outcome, ensure, failed, skipped};

/// How often each is restarted where machines are quick: as often as there is time for.
const TIMES: u32 = 8;
/// Set for so many of them, in whatever time.
const TIMES_VARIABLE: &str = "TELLTALE_RESTARTS";
/// Set to the program of another build: it is the first agent of those that hand over, and every other one of the rest.
const OTHER_BUILD_VARIABLE: &str = "TELLTALE_OTHER_BUILD";
/// Opens and connects a second: what is left of an emulated processor while two agents start on it.
const RATE: &str = "100";
/// Events of the load after which one is restarted, at most.
const WITHIN: u64 = 200;

/// All of them.
pub(super) fn cases() -> Vec<Case> {
    vec![
        own("restart/killed", |setting| restarted(setting, How::Killed)),
        own("restart/handed-over", |setting| restarted(setting, How::HandedOver)),
        own("restart/folded", folded),
        own("restart/stopped", stopped),
        own("restart/strange-pins", strange_pins),
        own("restart/refused", refused),
    ]
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum How {
    Killed,
    HandedOver,
}

/// A process that opens and connects until it is told to end, and says how often it did.
struct Load {
    _server: Server,
    running: Captured,
    held: ChildStdin,
}

impl Load {
    fn start(setting: &Setting) -> Outcome<Self> {
        let server = Server::start(V4)?;
        let file = setting.places.get("ext4")?.join("restart-load").join(CREDENTIALS).join("key");
        places::write(&file, "secret\n")?;
        let mut command = Command::new(&setting.me);
        command.args(["act", "flood", "--path"]).arg(&file).arg("--to").arg(server.address.to_string());
        command.args(["--opens", ENDLESS, "--connects", ENDLESS, "--rate", RATE, "--while-held"]);
        let (running, held) = Captured::start_held(&mut command)?;
        Ok(Self { _server: server, running, held })
    }

    fn end(self, setting: &Setting) -> Outcome<Counts> {
        let Self { _server, running, held } = self;
        drop(held);
        let finished = running.finish(setting.limit)?.well()?;
        serde_json::from_str(&finished.stdout).during("read what the load did")
    }
}

/// Whether an agent that was so often restarted, since then, is once more.
fn is_restarted_again(times: u32, since: Instant) -> bool {
    let wanted = env::var(TIMES_VARIABLE).ok().and_then(|text| text.parse().ok());
    match wanted {
        Some(wanted) => times < wanted,
        None => once_more(times, TIMES, since),
    }
}

fn restarted(setting: &Setting, how: How) -> Outcome {
    let before = leftovers::loaded()?;
    let place = PinPlace::new(setting, "restarts")?;
    let other = env::var_os(OTHER_BUILD_VARIABLE).map(PathBuf::from);
    let start = |times: u32| {
        let build = other.clone().filter(|_| times.is_multiple_of(2));
        Agent::start(setting, &Options { build, ..place.options() })
    };
    let mut agent = start(0)?;
    let load = Load::start(setting)?;
    let pid = load.running.pid();
    let mut told = Vec::new();
    let begun = Instant::now();
    let mut times = 0;
    while is_restarted_again(times, begun) {
        times += 1;
        let number = random(WITHIN)?;
        let next = after(&agent.events, setting, pid, number).and_then(|()| {
            let events = agent.events.clone();
            match how {
                How::Killed => {
                    let killed = agent.kill(setting)?;
                    told.extend(killed_starting(setting, &place)?);
                    killed
                }
                How::HandedOver => agent.hand_over(setting)?,
            };
            told.extend(events.all());
            let next = start(times)?;
            // Another build may serve more, or otherwise.
            if other.is_none() {
                as_well(&events, &next.events)?;
            }
            Ok(next)
        });
        agent = next.map_err(|verdict| verdict.during(format!("restart {times}, after {number} events")))?;
    }
    let counts = load.end(setting)?;
    let port = session::mark()?;
    let is_mark = |event: &Event| session::is_mark(event, port).then_some(());
    agent.events.wait("the marking connection", 0, setting.limit, is_mark)?;
    let events = agent.events.clone();
    agent.stop(setting)?;
    told.extend(events.all());
    let twice = if how == How::Killed { 2 } else { 1 };
    let told = Tallied::of(&told, setting, pid)?;
    told.check("credential_access", counts.opens, twice)?;
    told.check("connection", counts.connects, twice)?;
    told.check("connection_end", counts.connects, twice)?;
    let left = place.left()?;
    ensure(left.is_empty(), || format!("a stopped agent leaves pins: {left:?}"))?;
    leftovers::wait_gone(setting, &before)
}

/// Whether an agent that took over is served by the same hooks as the one before.
fn as_well(before: &Stream<Event>, after: &Stream<Event>) -> Outcome {
    let capabilities = |events: &Stream<Event>| {
        let start = events.all().into_iter().find(|event| event.is_phase("start"))?;
        start.get("serving").cloned()
    };
    let (before, after) = (capabilities(before), capabilities(after));
    ensure(before.is_some() && before == after, || format!("served by {before:?}, then by {after:?}"))
}

/// One that is killed before it serves, with some of its programs loaded.
fn killed_starting(setting: &Setting, place: &PinPlace) -> Outcome<Vec<Event>> {
    let agent = Agent::spawn(setting, &place.options())?;
    let wanted = usize::try_from(random(12)?)?;
    // Whichever comes first: that many programs, or the end of the start.
    while programs::of_process(agent.pid()).len() < wanted && agent.events.len() == 0 && agent.runs() {}
    let events = agent.events.clone();
    agent.kill(setting)?;
    Ok(events.all())
}

/// How often each act of a process was told, by its kind, and by what tells it from all others: its moment.
struct Tallied(BTreeMap<(String, u64), u64>);

impl Tallied {
    fn of(told: &[Event], setting: &Setting, pid: u32) -> Outcome<Self> {
        let mut tallied = BTreeMap::new();
        let program = setting.me.to_string_lossy();
        for event in told {
            let event = event.apart();
            if event.kind() == "gap" {
                return failed(format!("records were lost: {}", event.brief()));
            }
            if event.pid() != Some(pid) || !event.is_activity() {
                continue;
            }
            ensure(event.text("exe") == program, || format!("it is {program}: {}", event.brief()))?;
            let Some(moment) = event.number("boot_ns") else {
                return failed(format!("it has no time: {}", event.brief()));
            };
            *tallied.entry((event.kind().to_owned(), moment)).or_default() += 1;
        }
        Ok(Self(tallied))
    }

    fn check(&self, kind: &str, done: u64, times: u64) -> Outcome {
        let of_kind = self.0.iter().filter(|((of, _), _)| of == kind);
        let (mut told, mut most) = (0, 0);
        for (_, number) in of_kind {
            told += 1;
            most = most.max(*number);
        }
        equal(kind, done, told)?;
        ensure(most <= times, || format!("a {kind} was told {most} times, more than {times}"))
    }
}

/// What is folded is told once in all, whichever agent tells it; and its first is not told again, nor where what is folded
/// was swept between the first and the second.
fn folded(setting: &Setting) -> Outcome {
    const EACH: u64 = 100;
    let place = PinPlace::new(setting, "folded")?;
    let receiver = UdpSocket::bind((V4, 0)).during("receive")?;
    let sender = UdpSocket::bind((V4, 0)).during("send")?;
    let to = receiver.local_addr()?;
    let (mut first, mut repeats) = (0, 0);
    for agents in 1..=3 {
        let agent = Agent::start(setting, &place.options())?;
        sender.send_to(b"again", to).during("send")?;
        swept(setting, &agent)?;
        for _ in 1..EACH {
            sender.send_to(b"again", to).during("send")?;
        }
        let wanted = agents * EACH;
        let events = agent.events.clone();
        let all_told = |event: &Event| {
            if event.number("remote_port") != Some(to.port().into()) {
                return None;
            }
            match event.kind() {
                "datagram_flow" => first += 1,
                "repeat" => repeats += event.number("count").unwrap_or(0),
                _ => {}
            }
            (first + repeats >= wanted).then_some(())
        };
        events.wait("all datagrams", 0, setting.limit, all_told)?;
        if agents < 3 {
            agent.hand_over(setting)?
        } else {
            agent.stop(setting)?
        };
        equal("datagrams", wanted, first + repeats)?;
    }
    equal("first datagrams", 1, first)
}

/// Waits until an agent has swept what is folded: it tells of repeats that were sent after now.
fn swept(setting: &Setting, agent: &Agent) -> Outcome {
    let receiver = UdpSocket::bind((V4, 0)).during("receive")?;
    let sender = UdpSocket::bind((V4, 0)).during("send")?;
    let to = receiver.local_addr()?;
    for _ in 0..2 {
        sender.send_to(b"swept", to).during("send")?;
    }
    let is_told = |event: &Event| {
        let is_it = event.kind() == "repeat" && event.number("remote_port") == Some(to.port().into());
        is_it.then_some(())
    };
    agent.events.wait("a sweep", 0, setting.limit, is_told)
}

/// A stop is an end: no program stays, and a start after it is a first one.
fn stopped(setting: &Setting) -> Outcome {
    let before = leftovers::loaded()?;
    let place = PinPlace::new(setting, "stopped")?;
    let load = Load::start(setting)?;
    for _ in 0..2 {
        let agent = Agent::start(setting, &place.options())?;
        after(&agent.events, setting, load.running.pid(), 10)?;
        let events = agent.events.clone();
        agent.stop(setting)?;
        let stop = events.all().into_iter().find(|event| event.is_phase("stop"));
        let inherited = stop.as_ref().and_then(|event| event.counter("decode.inherited"));
        equal("records of an agent before", 0, inherited.unwrap_or(u64::MAX))?;
        ensure(!place.pins().exists(), || "a stopped agent leaves its directory".to_owned())?;
        leftovers::wait_gone(setting, &before)?;
    }
    load.end(setting).map(|_| ())
}

/// An agent that the kernel refuses leaves what was pinned to one that it does not.
fn refused(setting: &Setting) -> Outcome {
    if !charges_maps()? {
        return skipped("it is refused for locked memory, as before Linux 5.11 alone");
    }
    let before = leftovers::loaded()?;
    let place = PinPlace::new(setting, "refused")?;
    let agent = Agent::start(setting, &place.options())?;
    agent.kill(setting)?;
    let mut command = Agent::command(setting, &place.options());
    privileges::limit(&mut command, Resource::Memlock, 4096, 4096);
    privileges::without(&mut command, CapabilitySet::SYS_RESOURCE);
    let finished = Captured::start(&mut command)?.finish(setting.limit)?;
    let said = || format!("{:?}: {}", finished.status, finished.stderr);
    ensure(finished.stderr.contains("locked memory is limited"), said)?;
    let port = session::mark()?;
    let is_mark = |event: &Event| session::is_mark(event, port).then_some(());
    let agent = Agent::start(setting, &place.options())?;
    agent.events.wait("what was done meanwhile", 0, setting.limit, is_mark)?;
    agent.stop(setting)?;
    leftovers::wait_gone(setting, &before)
}

/// Pins that are not what they should be are told and removed; the agent starts as the first one.
fn strange_pins(setting: &Setting) -> Outcome {
    let before = leftovers::loaded()?;
    let place = PinPlace::new(setting, "strange")?;
    let agent = Agent::start(setting, &place.options())?;
    agent.kill(setting)?;
    let shared = subdirectory(&place.pins(), "shared-")?;
    for (from, to) in [("CUTOVER", "x"), ("FLOWS", "CUTOVER"), ("x", "FLOWS")] {
        fs::rename(shared.join(from), shared.join(to)).during("exchange pins")?;
    }
    for strange in ["9-of-another-version", "0-", "-", "4294967295-0"] {
        fs::create_dir_all(place.pins().join(strange)).during("make a directory")?;
    }
    let agent = Agent::start(setting, &place.options())?;
    ensure(agent.said().contains("is not what it should be"), || agent.said())?;
    let port = session::mark()?;
    let is_mark = |event: &Event| session::is_mark(event, port).then_some(());
    agent.events.wait("the marking connection", 0, setting.limit, is_mark)?;
    agent.stop(setting)?;
    ensure(!place.pins().exists(), || "a stopped agent leaves its directory".to_owned())?;
    elsewhere(setting)?;
    leftovers::wait_gone(setting, &before)
}

/// A directory of another file system cannot hold pins: the agent says so, and works.
fn elsewhere(setting: &Setting) -> Outcome {
    let directory = setting.path("no-bpf-file-system");
    let agent = Agent::start(setting, &Options { pins: Some(directory.clone()), ..Options::default() })?;
    ensure(agent.said().contains("mount one there"), || agent.said())?;
    agent.stop(setting)?;
    ensure(!directory.exists(), || "it was made all the same".to_owned())
}

fn subdirectory(directory: &Path, begins: &str) -> Outcome<PathBuf> {
    let found = fs::read_dir(directory).during(directory.display())?.flatten().map(|entry| entry.path());
    let is_it = |path: &PathBuf| {
        path.file_name().and_then(|name| name.to_str()).is_some_and(|name| name.starts_with(begins))
    };
    let mut found = found.filter(is_it);
    found.next().map_or_else(|| failed(format!("{} has no {begins}", directory.display())), Ok)
}
