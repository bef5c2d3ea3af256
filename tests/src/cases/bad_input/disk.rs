//! Nowhere to write to: the recording's disk is full, or its file may not grow; standard output cannot be written.

use std::fs;
use std::path::Path;
use std::process::Command;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::inotify;
use rustix::process::{Pid, Resource, Rlimit, prlimit};

use super::{Case, code, names, own, refused, run_with, sees};
use crate::harness::agent::{self, Agent, Options};
use crate::harness::child;
use crate::harness::event::Event;
use crate::harness::ledger::equal;
use crate::harness::leftovers;
use crate::harness::mounts::Disk;
use crate::harness::places;
use crate::harness::session;
use crate::harness::setting::Setting;
use crate::outcome::{During, Outcome, ensure, failed};

/// All of them.
pub(super) fn cases() -> Vec<Case> {
    vec![
        own("bad-input/recording", recording),
        own("bad-input/full-disk/at-start", full_at_start),
        own("bad-input/full-disk/while-recording", |setting| stops(setting, full_while_recording)),
        own("bad-input/full-disk/file-size-limit", |setting| stops(setting, file_size_limit)),
        own("bad-input/full-disk/standard-output", standard_output),
    ]
}

/// A recording that cannot be made, or would take the place of another file.
fn recording(setting: &Setting) -> Outcome {
    let missing = "/nonexistent/x.recording";
    refused(setting, &mut run_with(setting, &["--record", missing]), code::RECORDING, &[missing])?;
    let file = setting.path("taken.recording");
    places::write(&file, "precious\n")?;
    let path = file.to_string_lossy();
    refused(setting, &mut run_with(setting, &["--record", &path]), code::RECORDING, &[&path])?;
    ensure(fs::read(&file)? == b"precious\n", || format!("{path} was changed"))
}

/// No half a recording stays where there is no room for its beginning.
fn full_at_start(setting: &Setting) -> Outcome {
    let disk = Disk::of(setting.path("full"), 64)?;
    disk.fill()?;
    let file = disk.file("x.recording");
    let mut command = run_with(setting, &["--record", &file.to_string_lossy()]);
    refused(setting, &mut command, code::RECORDING, &["no room", "free space"])?;
    let left = disk.names()?;
    ensure(left == ["filler"], || format!("left on the disk: {left:?}"))
}

/// Makes the next write to the recording fail.
type Fail = fn(&Agent, &Disk, &Path) -> Outcome;

fn full_while_recording(_: &Agent, disk: &Disk, _: &Path) -> Outcome {
    disk.fill()
}

fn file_size_limit(agent: &Agent, _: &Disk, file: &Path) -> Outcome {
    let Some(pid) = i32::try_from(agent.pid()).ok().and_then(Pid::from_raw) else {
        return failed("no process id");
    };
    let limit = Some(fs::metadata(file)?.len());
    prlimit(Some(pid), Resource::Fsize, Rlimit { current: limit, maximum: limit })
        .during("limit the size of files")?;
    Ok(())
}

/// A recording that cannot go on stops; the agent does not. What is missing is counted and told, and what was written
/// can be replayed.
fn stops(setting: &Setting, fail: Fail) -> Outcome {
    let before = leftovers::loaded()?;
    // 4 MiB: all that runs, and some seconds.
    let disk = Disk::of(setting.path("disk"), 4096)?;
    let file = disk.file("x.recording");
    let agent = Agent::start(setting, &Options { record: Some(file.clone()), ..Options::default() })?;
    let mark = session::mark()?;
    let told = |event: &Event| session::is_mark(event, mark).then(|| event.clone());
    let first = agent.events.wait("the first connection", 0, setting.limit, told)?;
    written(setting, &file)?;

    fail(&agent, &disk, &file)?;
    let stopped = |line: &String| line.contains("recording stopped").then(|| line.clone());
    let line = agent.messages.wait("word of the recording", 0, setting.limit, stopped)?;
    names(&line, &["ERROR", "no room", "can be replayed", "the agent goes on"])?;
    sees(setting, &agent)?;

    let events = agent.events.clone();
    let ended = agent.end(setting)?;
    ensure(ended.code == Some(code::RECORDING), || format!("it ended with {:?}", ended.code))?;
    names(&ended.messages, &["recording: no_room", "the recording is not whole", "no room"])?;
    let said = ended.messages.matches("recording stopped").count();
    ensure(said <= 2, || format!("said {said} times, when it stopped and at the end: {}", ended.messages))?;
    let stop = events.wait("its last status", 0, setting.limit, |event: &Event| {
        event.is_phase("stop").then(|| event.clone())
    })?;
    let counter = |name: &str| stop.counter(name).unwrap_or(0);
    let (recorded, missing) = (counter("recording.recorded"), counter("recording.not_recorded"));
    ensure(recorded > 0 && missing > 0, || format!("{recorded} recorded, {missing} not"))?;
    equal("recorded + not recorded = read", recorded + missing, counter("decode.read"))?;
    replays(setting, &file, &first, recorded)?;
    leftovers::wait_gone(setting, &before)
}

/// Waits until what was told so far is in the file: it is written each second.
fn written(setting: &Setting, file: &Path) -> Outcome {
    let watch = inotify::init(inotify::CreateFlags::CLOEXEC)?;
    inotify::add_watch(&watch, file, inotify::WatchFlags::MODIFY).during(file.display())?;
    let limit = Timespec::try_from(setting.limit)?;
    let ready = poll(&mut [PollFd::new(&watch, PollFlags::IN)], Some(&limit))?;
    ensure(ready == 1, || format!("{} was not written to", file.display()))
}

fn replays(setting: &Setting, file: &Path, first: &Event, recorded: u64) -> Outcome {
    let (catalogue, file) = (setting.catalogue.to_string_lossy(), file.to_string_lossy());
    let again = agent::command(setting, &["replay", "--json", "--catalogue", &catalogue, &file])?.well()?;
    names(&again.stderr, &[&format!("{recorded} records replayed"), "cut off"])?;
    let port = first.number("remote_port");
    let is_first = |line: &str| {
        let event = Event::read(line.to_owned());
        event.kind() == "connection" && event.number("remote_port") == port && event.pid() == first.pid()
    };
    ensure(again.stdout.lines().any(is_first), || format!("not replayed: {}", first.brief()))
}

/// Without a collector, an agent whose output cannot be written has nothing to do.
fn standard_output(setting: &Setting) -> Outcome {
    let shell = child::find("sh")?;
    let mut command = Command::new(shell);
    command
        .args(["-c", "exec \"$@\" >/dev/full", "sh"])
        .arg(&setting.telltale)
        .args(["run", "--json", "--state", "none"]);
    refused(setting, &mut command, code::OTHER, &["standard output", "--collector"])
}
