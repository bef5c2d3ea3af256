//! Process numbers that come again and again: no event names the wrong process.

use std::collections::BTreeMap;
use std::fs;
use std::process::Command;

use super::{Case, own};
use crate::acts::{ReuseReport, Touch};
use crate::harness::agent::Options;
use crate::harness::child::Captured;
use crate::harness::claim;
use crate::harness::event::Event;
use crate::harness::places;
use crate::harness::session::Session;
use crate::harness::setting::{CREDENTIALS, Setting};
use crate::harness::who;
use crate::outcome::{During, Outcome, ensure, failed, skipped};

const PID_MAX: &str = "/proc/sys/kernel/pid_max";
/// Says that this machine's numbers may be made few.
const ALLOWED: &str = "TELLTALE_TESTS_LOWER_PID_MAX";
/// Few numbers: the kernel begins anew at 300, and keeps some for its own.
const FEW: u32 = 700;
const PROCESSES: u64 = 50_000;
/// How often each number is to be used, at least.
const REUSED: u64 = 50;
/// One process in so many acts.
const EVERY: u64 = 25;
/// Generators at the same time.
const GENERATORS: u64 = 2;

/// All of them.
pub(super) fn cases() -> Vec<Case> {
    vec![own("pid-reuse", pid_reuse)]
}

/// The bound on process numbers, put back when dropped.
struct PidMax {
    before: String,
}

impl PidMax {
    fn lower() -> Outcome<Self> {
        let before = fs::read_to_string(PID_MAX).during(PID_MAX)?;
        fs::write(PID_MAX, FEW.to_string()).during(PID_MAX)?;
        Ok(Self { before })
    }
}

impl Drop for PidMax {
    fn drop(&mut self) {
        let _ = fs::write(PID_MAX, &self.before);
    }
}

fn pid_reuse(setting: &Setting) -> Outcome {
    if !setting.is_guest() && std::env::var_os(ALLOWED).is_none() {
        return skipped(format!(
            "it takes this machine's process numbers away; allow it with {ALLOWED}=1, or in a VM"
        ));
    }
    let directory = setting.places.get("tmpfs")?.join("reuse").join(CREDENTIALS);
    for serial in (0..PROCESSES).step_by(usize::try_from(EVERY)?) {
        places::write(&directory.join(serial.to_string()), "")?;
    }
    let session = Session::start(setting, &Options::default())?;
    let lowered = PidMax::lower()?;
    let each = PROCESSES / GENERATORS;
    let generator = |number: u64| {
        let mut command = Command::new(&setting.me);
        command.args(["act", "reuse", "--directory"]).arg(&directory);
        command.args(["--processes", &each.to_string(), "--every", &EVERY.to_string()]);
        command.args(["--first", &(number * each).to_string()]);
        Captured::start(&mut command)
    };
    let running = (0..GENERATORS).map(generator).collect::<Outcome<Vec<_>>>()?;
    // One after the other is waited for; they run at the same time, and print less than a pipe's reader takes.
    let mut truth = Truth::default();
    let patience = setting.patience();
    let waits: Vec<_> =
        running.into_iter().map(|one| std::thread::spawn(move || one.finish(patience))).collect();
    for wait in waits {
        let finished =
            wait.join().map_err(|_| crate::outcome::Verdict::Failed("a wait panicked".to_owned()))??;
        truth.read(&finished.well()?.stdout)?;
    }
    drop(lowered);
    session.settle(setting)?;
    let told = session.stop(setting)?;
    println!("         {}", truth.reuse()?);
    truth.compare(told.collected.iter().filter(|event| event.kind() == "credential_access"))
}

/// What the processes said of themselves.
#[derive(Default)]
struct Truth {
    touches: BTreeMap<u64, Touch>,
    used: BTreeMap<u32, u64>,
}

impl Truth {
    fn read(&mut self, output: &str) -> Outcome {
        for line in output.lines() {
            if let Ok(touch) = serde_json::from_str::<Touch>(line) {
                self.touches.insert(touch.serial, touch);
            } else {
                let report: ReuseReport = serde_json::from_str(line).during(format!("read {line}"))?;
                for (pid, used) in report.used {
                    *self.used.entry(pid).or_default() += used;
                }
            }
        }
        Ok(())
    }

    /// How often numbers were used. A number that a process of another kind had meanwhile was not to be had; such are
    /// few, and are told.
    fn reuse(&self) -> Outcome<String> {
        let mut counts: Vec<u64> = self.used.values().copied().collect();
        counts.sort_unstable();
        let all: u64 = counts.iter().sum();
        let (least, most) = (counts.first().copied().unwrap_or(0), counts.last().copied().unwrap_or(0));
        let short = counts.iter().filter(|count| **count < REUSED).count();
        let said = format!(
            "{all} processes had {} numbers, each {least} to {most} times, {short} of them less than {REUSED}",
            counts.len()
        );
        ensure(all == PROCESSES, || format!("{all} processes instead of {PROCESSES}"))?;
        // Twenty in a thousand: threads and workers of the kernel that ended while numbers were few.
        ensure(short * 50 <= counts.len(), || said.clone())?;
        Ok(said)
    }

    /// Each act is told once, of the process that did it.
    fn compare<'a>(&self, events: impl Iterator<Item = &'a Event>) -> Outcome {
        let mut left = self.touches.clone();
        let mut wrong = Vec::new();
        for event in events {
            let serial = event.text("path").rsplit('/').next().and_then(|name| name.parse().ok());
            let Some(serial) = serial.filter(|_| event.text("path").contains("/reuse/")) else { continue };
            let Some(touch) = left.remove(&serial) else {
                wrong.push(format!("an act that nobody did, or did once: {}", event.brief()));
                continue;
            };
            if let Some(difference) = difference(event, &touch) {
                wrong.push(format!("{difference}: truth {touch:?}, event {}", event.brief()));
            }
        }
        wrong.extend(left.values().take(3).map(|touch| format!("no event: {touch:?}")));
        if wrong.is_empty() {
            return Ok(());
        }
        let number = wrong.len();
        wrong.truncate(4);
        failed(format!(
            "{number} of {} wrong, {} not told:\n{}",
            self.touches.len(),
            left.len(),
            wrong.join("\n")
        ))
    }
}

/// What an event says wrongly of a process.
fn difference(event: &Event, touch: &Touch) -> Option<String> {
    if event.pid() != Some(touch.pid) {
        return Some(format!("pid is {:?}", event.pid()));
    }
    let start = event.number("start_ns").map(who::ticks_of_ns);
    if start != Some(touch.start_ticks) {
        return Some(format!("the process began at {start:?} ticks"));
    }
    let parent = event.lineage().first();
    if parent.and_then(claim::pid) != Some(touch.ppid) {
        return Some(format!("its parent is {parent:?}"));
    }
    // A child that ran an image of its own has its serial number in its arguments; the others have their parent's.
    let argv = event.get("argv").and_then(serde_json::Value::as_array).cloned().unwrap_or_default();
    let is = |at: usize, text: &str| argv.get(at).and_then(serde_json::Value::as_str) == Some(text);
    let right = if touch.exec { is(2, "touch") && is(6, &touch.serial.to_string()) } else { is(2, "reuse") };
    (!right).then(|| format!("argv is {argv:?}"))
}
