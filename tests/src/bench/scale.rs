//! Whether the tenth and the ten thousandth identity, file, rule and process cost the same.
//!
//! Each step makes so many of one thing, and then measures the same: an ordinary open and an open of a credential at full
//! speed, and what the agent spends on an event of a modest load. Sizes of one thing are measured one after the other,
//! and compared within the turn.

use std::ffi::OsString;
use std::fs::{self, File};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use clap::Args;
use serde::Serialize;

use super::account::{Account, account};
use super::generators::{Generator, Load, Opened, credential, program};
use super::rate::{LEAD, mib, offer};
use super::session::Session;
use super::usage::map_bytes;
use super::{Common, NotRun, interrupt, progress, tell};
use crate::acts::{Loaded, boot_ns};
use crate::harness::child::{self, Captured};
use crate::harness::places;
use crate::harness::setting::{CREDENTIALS, Setting};
use crate::outcome::{During, Outcome, Verdict, failed};

/// How long each kind of open is done at full speed.
const MOMENT: Duration = Duration::from_millis(400);
/// Last names that the rules share: the agent's kernel filter holds four thousand.
const NAMES: u32 = 1_000;
/// Names of one file: of fewer than ext4 allows (65,000).
const LINKS: u32 = 50_000;
/// Rules in a file: far below what a catalogue's file may have (1 MiB).
const RULES_A_FILE: u32 = 2_500;
/// Of the modest load: opens in a round, rounds a second, rounds.
const MODEST: (u64, u64, u64) = (10, 500, 1_000);

#[derive(Args)]
pub(crate) struct ScaleArgs {
    #[command(flatten)]
    common: Common,
    /// How many of each thing, ascending; all are compared with the first.
    #[arg(long = "size", value_name = "NUMBER", default_values_t = [10, 10_000])]
    sizes: Vec<u32>,
}

/// What there is many of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Thing {
    Rules,
    Files,
    Processes,
    Identities,
}

const THINGS: [(Thing, &str); 4] = [
    (Thing::Rules, "rules"),
    (Thing::Files, "credential files"),
    (Thing::Processes, "processes"),
    (Thing::Identities, "identities"),
];

/// A line of output: docs/benchmarks.md.
#[derive(Serialize)]
struct Line {
    bench: &'static str,
    step: String,
    run: u32,
    rung: Option<&'static str>,
    ordinary_open_ns: f64,
    credential_open_ns: f64,
    agent_cpu_us_per_event: f64,
    /// Against the smallest size in the same turn.
    against_smallest: Against,
    start_ms: f64,
    resident_mib: f64,
    peak_mib: f64,
    maps_mib: f64,
    account: Account,
}

#[derive(Clone, Copy, Debug, Serialize)]
struct Against {
    ordinary_open: f64,
    credential_open: f64,
    agent_cpu: f64,
}

/// What is made for a step; dropped, its processes end.
#[derive(Debug, Default)]
struct Made {
    arguments: Vec<OsString>,
    files: Option<PathBuf>,
    _crowd: Option<Captured>,
}

pub(super) fn run(args: &ScaleArgs) -> Outcome {
    let setting = args.common.prepare()?;
    let ordinary = setting.path("ordinary");
    places::write(&ordinary, "content\n")?;
    let credential = credential(&setting)?;
    let program = program(&setting, "load")?;
    let measuring = Measuring { setting: &setting, program, ordinary, credential };
    for run in 1..=args.common.runs {
        for (thing, name) in THINGS {
            let mut smallest = None;
            for size in &args.sizes {
                let step = format!("{size} {name}");
                if !args.common.wants(&step) {
                    continue;
                }
                progress(&format!("run {run} of {}: {step}", args.common.runs));
                match measuring.step(thing, *size, (step.clone(), run), &mut smallest) {
                    Ok(line) => tell(&line)?,
                    Err(Verdict::Failed(reason) | Verdict::Skipped(reason)) => {
                        interrupt::check()?;
                        tell(&NotRun::new("scale", &step, run, &reason))?;
                    }
                }
            }
        }
    }
    Ok(())
}

struct Measuring<'a> {
    setting: &'a Setting,
    program: PathBuf,
    ordinary: PathBuf,
    credential: PathBuf,
}

impl Measuring<'_> {
    fn step(
        &self,
        thing: Thing,
        size: u32,
        (step, run): (String, u32),
        smallest: &mut Option<[f64; 3]>,
    ) -> Outcome<Line> {
        let made = self.before(thing, size)?;
        let begun = Instant::now();
        let session = Session::start_with(self.setting, &made.arguments)?;
        let start_ms = begun.elapsed().as_secs_f64() * 1e3;
        if thing == Thing::Identities {
            self.identities(size)?;
        }
        let files = made.files.as_deref().map_or(Opened::File(&self.credential), Opened::Directory);
        // Everything is known after the first round over all files.
        let warm = Load { opens: 1, rounds: u64::from(size.max(100)), limit: MOMENT * 10, ..Load::default() };
        let mut done = vec![self.load(&session, files, &warm)?];
        let full = Load { opens: 16, rounds: u64::MAX, limit: MOMENT, ..Load::default() };
        let ordinary = self.load(&session, Opened::File(&self.ordinary), &full)?;
        let (opens, rate, rounds) = MODEST;
        let modest = Load { opens, rounds, rate: Some(rate), limit: MOMENT * 20, ..Load::default() };
        let offered = offer(self.setting, &session, |at_ns| {
            Ok(vec![Generator::start_on(&self.program, files, &modest, at_ns, None)?])
        })?;
        let told: u64 = offered.done.iter().map(|loaded| loaded.opens).sum();
        let agent_cpu_us_per_event = offered.cpu_us_per_event(told).unwrap_or_default();
        // At the end: what it floods the agent with would be in the way of the other figures.
        let credentials = self.load(&session, files, &full)?;
        session.settle(&[credentials.pid], credentials.opens)?;
        let (memory, maps) = (session.memory()?, map_bytes(session.agent_pid())?);
        let rung = session.rung;
        done.extend(offered.done);
        done.push(credentials);
        let ended = session.stop(self.setting)?;
        let account = account(&ended, &done);
        let figures = [ns_per_open(&ordinary), ns_per_open(&credentials), agent_cpu_us_per_event];
        let first = *smallest.get_or_insert(figures);
        let [ordinary_open_ns, credential_open_ns, _] = figures;
        let [a, b, c] = first;
        Ok(Line {
            bench: "scale",
            step,
            run,
            rung: rung.map(|rung| rung.name()),
            ordinary_open_ns,
            credential_open_ns,
            agent_cpu_us_per_event,
            against_smallest: Against {
                ordinary_open: ordinary_open_ns / a,
                credential_open: credential_open_ns / b,
                agent_cpu: agent_cpu_us_per_event / c,
            },
            start_ms,
            resident_mib: mib(memory.resident_kib),
            peak_mib: mib(memory.peak_kib),
            maps_mib: maps.values().sum::<u64>() as f64 / f64::from(1 << 20),
            account,
        })
    }

    fn load(&self, session: &Session, files: Opened<'_>, load: &Load) -> Outcome<Loaded> {
        let at_ns = boot_ns() + LEAD.as_nanos() as u64;
        let generator = Generator::start_on(&self.program, files, load, at_ns, None)?;
        session.reader.expect(generator.pid());
        generator.finish(self.setting.limit)
    }

    /// What is there before the agent is.
    fn before(&self, thing: Thing, size: u32) -> Outcome<Made> {
        match thing {
            Thing::Rules => {
                let mut arguments = Vec::new();
                for from in (0..size).step_by(RULES_A_FILE as usize) {
                    let path = self.setting.path(&format!("rules-{from}.toml"));
                    let text = rules(from..size.min(from + RULES_A_FILE));
                    fs::write(&path, text).during("write rules")?;
                    arguments.extend(["--catalogue".into(), path.into()]);
                }
                Ok(Made { arguments, ..Made::default() })
            }
            Thing::Files => {
                let directory = self.setting.path(&format!("files-{size}")).join(CREDENTIALS);
                for number in 0..size {
                    let path = directory.join(format!("key-{number:06}"));
                    if !path.exists() {
                        places::write(&path, "secret\n")?;
                    }
                }
                Ok(Made { files: Some(directory), ..Made::default() })
            }
            Thing::Processes => {
                Ok(Made { _crowd: Some(crowd(&self.program, size, self.setting.limit)?), ..Made::default() })
            }
            Thing::Identities => Ok(Made::default()),
        }
    }

    /// So many programs, by their paths; each opens the credential once.
    fn identities(&self, size: u32) -> Outcome {
        let directory = self.setting.path("programs");
        fs::create_dir_all(&directory).during("make a directory for programs")?;
        let program = child::find("cat")?;
        for number in 0..size {
            interrupt::check()?;
            let original = directory.join(format!("cat-of-{:02}", number / LINKS));
            if !original.exists() {
                fs::copy(&program, &original).during("copy cat")?;
            }
            let path = directory.join(format!("cat-{number:06}"));
            if !path.exists() {
                fs::hard_link(&original, &path).during("link a program")?;
            }
            let mut command = Command::new(&path);
            let input = File::open("/dev/null")?;
            command.arg(&self.credential).stdin(input).stdout(Stdio::null()).stderr(Stdio::null());
            let status = command.status().during("run a program")?;
            if !status.success() {
                return failed(format!("{} ended with {status}", path.display()));
            }
        }
        Ok(())
    }
}

/// Processor time: not lengthened by what else the machine does.
fn ns_per_open(loaded: &Loaded) -> f64 {
    loaded.cpu_ns as f64 / loaded.opens.max(1) as f64
}

/// Rules that name files that are not there, each in a directory of its own.
fn rules(numbers: Range<u32>) -> String {
    let rule = |number| {
        format!(
            "[[credential]]\nname = \"bench-{number}\"\nkind = \"test\"\nsensitivity = 1\n\
             paths = [\"/nonexistent-{number:06}/bench/key-{:03}\"]\ncomment = \"A rule among many.\"\n\n",
            number % NAMES
        )
    };
    std::iter::once("version = 1\n\n".to_owned()).chain(numbers.map(rule)).collect()
}

/// So many processes that do nothing, once they are there.
fn crowd(program: &Path, size: u32, limit: Duration) -> Outcome<Captured> {
    let mut command = Command::new(program);
    command.args(["act", "crowd", "--processes"]).arg(size.to_string());
    let crowd = Captured::start(&mut command)?;
    let advice = || format!("{size} processes cannot be had: is a limit reached (ulimit -u, pid_max)?");
    crowd
        .stdout
        .wait("that all are there", 0, limit, |_| Some(()))
        .map_err(|verdict| verdict.during(advice()))?;
    Ok(crowd)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_rule_has_a_name_and_a_path_of_its_own() {
        let text = rules(7..10);
        for number in 7..10 {
            assert_eq!(text.matches(&format!("name = \"bench-{number}\"")).count(), 1);
            assert_eq!(text.matches(&format!("/nonexistent-{number:06}/")).count(), 1);
        }
    }
}
