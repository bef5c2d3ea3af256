//! What an operator may get wrong, and what a host may lack: each has a message that says what to do, an exit code of
//! its own (the README's table), and nothing of it stays in the kernel.

mod collector;
mod disk;
mod host;
mod input;
mod instance;
mod limits;
mod lockdown;
mod privileges;

use std::process::Command;

use super::{Case, last, own};
use crate::harness::agent::{Agent, Options};
use crate::harness::child::{Captured, Finished};
use crate::harness::event::Event;
use crate::harness::leftovers;
use crate::harness::session;
use crate::harness::setting::Setting;
use crate::outcome::{Outcome, ensure};

/// Exit codes, as the README has them.
mod code {
    pub(super) const OTHER: i32 = 1;
    pub(super) const USAGE: i32 = 2;
    pub(super) const UNPRIVILEGED: i32 = 4;
    pub(super) const KERNEL: i32 = 5;
    pub(super) const CGROUP: i32 = 6;
    pub(super) const LOCKDOWN: i32 = 7;
    pub(super) const NO_RUNG: i32 = 8;
    pub(super) const SECOND_INSTANCE: i32 = 9;
    pub(super) const CATALOGUE: i32 = 10;
    pub(super) const RECORDING: i32 = 11;
    pub(super) const LIMIT: i32 = 12;
}

/// All of them.
pub(super) fn cases() -> Vec<Case> {
    let mut cases = privileges::cases();
    cases.extend(input::cases());
    cases.extend(instance::cases());
    cases.extend(host::cases());
    cases.extend(limits::cases());
    cases.extend(disk::cases());
    cases.extend(collector::cases());
    cases.push(last("bad-input/lockdown", lockdown::lockdown));
    cases
}

/// Runs a command that must refuse, quickly, with a code and words, and leave nothing behind.
fn refused(setting: &Setting, command: &mut Command, code: i32, words: &[&str]) -> Outcome {
    let before = leftovers::loaded()?;
    let finished = Captured::start(command)?.finish(setting.limit)?;
    told(&finished, code, words)?;
    leftovers::wait_gone(setting, &before)
}

fn told(finished: &Finished, code: i32, words: &[&str]) -> Outcome {
    let Finished { stdout, stderr, .. } = finished;
    ensure(finished.code() == Some(code), || {
        format!("exit {:?}, should be {code}: {stderr}", finished.code())
    })?;
    ensure(stdout.is_empty(), || format!("it printed {stdout}"))?;
    names(stderr, words)
}

fn names(said: &str, words: &[&str]) -> Outcome {
    ensure(!said.contains("panicked"), || format!("it panicked: {said}"))?;
    words.iter().try_for_each(|word| {
        ensure(said.contains(word), || format!("the message does not name {word:?}: {said}"))
    })
}

/// Runs an agent that must do its work: it is ready, it tells of a connection, it ends when asked, it leaves nothing
/// behind; and it has said these words, if any.
fn works(setting: &Setting, command: &mut Command, words: &[&str]) -> Outcome {
    let before = leftovers::loaded()?;
    let agent = Agent::spawn_command(command)?;
    agent.ready(setting)?;
    sees(setting, &agent)?;
    let ended = agent.stop(setting)?;
    names(&ended.messages, words)?;
    leftovers::wait_gone(setting, &before)
}

/// Does a connection, and waits until the agent tells of it.
fn sees(setting: &Setting, agent: &Agent) -> Outcome {
    let from = agent.events.len();
    let mark = session::mark()?;
    let told = |event: &Event| session::is_mark(event, mark).then_some(());
    agent
        .events
        .wait("the marking connection", from, setting.limit, told)
        .map_err(|verdict| verdict.during(format!("the agent said {:?}", agent.said())))
}

/// `telltale run` as tests run it.
fn run(setting: &Setting) -> Command {
    Agent::command(setting, &Options::default())
}

fn run_with(setting: &Setting, args: &[&str]) -> Command {
    let mut command = run(setting);
    command.args(args);
    command
}

/// `telltale doctor --json`.
fn doctor(setting: &Setting) -> Command {
    let mut command = Command::new(&setting.telltale);
    command.args(["doctor", "--json"]);
    command
}
