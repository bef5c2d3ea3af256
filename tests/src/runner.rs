//! Runs tests, prints one line each, and counts.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

use clap::{Args, ValueEnum};

use crate::cases::{self, Case, Run};
use crate::harness::agent::Options;
use crate::harness::claim::Claim;
use crate::harness::event::Event;
use crate::harness::gaps;
use crate::harness::scene::{Known, Scene};
use crate::harness::session::{Session, no_such_rung};
use crate::harness::setting::{LIMIT, Rung, Setting};
use crate::outcome::{During, Outcome, Verdict, ensure, failed};

#[derive(Args)]
pub(crate) struct RunArgs {
    /// The agent's program; else the one on the PATH.
    #[arg(long, value_name = "PATH")]
    telltale: Option<PathBuf>,
    /// Run on this rung of the ladder alone, instead of on all that this kernel has.
    #[arg(long)]
    rung: Option<Rung>,
    /// On which rungs the tests run that share a session.
    #[arg(long, default_value = "all")]
    sessions: Sessions,
    /// Leave out tests whose name contains this.
    #[arg(long, value_name = "FILTER")]
    except: Vec<String>,
    /// Run tests whose name contains one of these.
    filters: Vec<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Sessions {
    /// On the best rung that this kernel has.
    Best,
    /// On every rung that this kernel has.
    All,
}

/// Prints the names of all tests.
pub(crate) fn list() {
    for case in cases::all() {
        println!("{}", case.name);
    }
}

/// Runs tests; the last line is the count.
pub(crate) fn run(args: &RunArgs) -> ExitCode {
    let mut tally = Tally::default();
    match selected(args).and_then(|cases| Ok((cases, prepare(args)?))) {
        Ok((cases, setting)) => all(&setting, &cases, args.sessions, &mut tally),
        Err(verdict) => tally.count("prepare", Instant::now(), Err(verdict)),
    }
    println!("{} passed, {} failed, {} skipped", tally.passed, tally.failed, tally.skipped);
    if tally.failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn selected(RunArgs { filters, except, .. }: &RunArgs) -> Outcome<Vec<Case>> {
    let is_named = |case: &Case, words: &[String]| words.iter().any(|word| case.name.contains(word));
    let mut cases = cases::all();
    cases.retain(|case| (filters.is_empty() || is_named(case, filters)) && !is_named(case, except));
    ensure(!cases.is_empty(), || {
        format!("no test's name contains one of {filters:?} and none of {except:?}")
    })?;
    Ok(cases)
}

fn prepare(args: &RunArgs) -> Outcome<Setting> {
    ensure(rustix::process::geteuid().is_root(), || "loading kernel programs needs root".to_owned())?;
    Setting::prepare(args.telltale.as_deref(), args.rung)
}

/// So many tests in a row that waited in vain say that all others would.
const IN_VAIN: u32 = 3;

#[derive(Default)]
struct Tally {
    passed: u64,
    failed: u64,
    skipped: u64,
    /// Tests in a row that failed after waiting for as long as any may.
    in_vain: u32,
}

impl Tally {
    fn count(&mut self, name: &str, begun: Instant, outcome: Outcome) {
        let took = begun.elapsed();
        match &outcome {
            Err(Verdict::Failed(_)) if took >= LIMIT => self.in_vain += 1,
            Ok(()) | Err(Verdict::Failed(_)) => self.in_vain = 0,
            Err(Verdict::Skipped(_)) => {}
        }
        let took = took.as_secs_f64();
        match outcome {
            Ok(()) => {
                self.passed += 1;
                println!("ok       {name}  {took:.2} s");
            }
            Err(Verdict::Skipped(reason)) => {
                self.skipped += 1;
                println!("skipped  {name}  {took:.2} s: {reason}");
            }
            Err(Verdict::Failed(text)) => {
                self.failed += 1;
                println!("FAILED   {name}  {took:.2} s\n  {}", text.trim_end().replace('\n', "\n  "));
            }
        }
    }
}

/// Runs tests one after the other. Where what they need no longer works, each would wait for as long as it may, and all
/// together for hours: those that are left are then one failure.
fn each<'a>(
    tally: &mut Tally,
    label: &str,
    cases: &[&'a Case],
    mut run: impl FnMut(&'a Case) -> Option<Outcome>,
) {
    tally.in_vain = 0;
    for (at, case) in cases.iter().enumerate() {
        let begun = Instant::now();
        let Some(outcome) = run(case) else { continue };
        tally.count(&format!("{}{label}", case.name), begun, outcome);
        if tally.in_vain == IN_VAIN {
            let left = cases.len() - at - 1;
            let text = format!("{left} tests were not run: {IN_VAIN} in a row had waited in vain");
            tally.count(&format!("others{label}"), Instant::now(), failed(text));
            return;
        }
    }
}

fn all(setting: &Setting, cases: &[Case], sessions: Sessions, tally: &mut Tally) {
    let shared: Vec<&Case> = cases.iter().filter(|case| matches!(case.run, Run::Shared(_))).collect();
    if !shared.is_empty() {
        let best = on_rung(setting, &shared, None, tally);
        if setting.rung.is_none() && sessions == Sessions::All {
            for rung in [Rung::Lsm, Rung::Fentry, Rung::Tracepoint] {
                if best != Some(rung) {
                    on_rung(setting, &shared, Some(rung), tally);
                }
            }
        }
    }
    let own = cases.iter().filter(|case| matches!(case.run, Run::Own(_)));
    let last = cases.iter().filter(|case| matches!(case.run, Run::Last(_)));
    each(tally, "", &own.chain(last).collect::<Vec<_>>(), |case| match &case.run {
        Run::Own(run) | Run::Last(run) => Some(run(setting)),
        Run::Shared(_) => None,
    });
}

/// Runs the tests that share a session, on a rung or on the best one; which that was.
fn on_rung(setting: &Setting, cases: &[&Case], rung: Option<Rung>, tally: &mut Tally) -> Option<Rung> {
    // Before the session, whose agent would tell of what `doctor` does.
    let gaps = gaps::named(setting, rung.or(setting.rung));
    let begun = Instant::now();
    let session =
        gaps.and_then(|gaps| Ok((gaps, Session::start(setting, &Options { rung, ..Options::default() })?)));
    let label = |rung: Option<Rung>| rung.or(setting.rung).map_or("best", Rung::name);
    let (gaps, session) = match session {
        Ok(pair) => pair,
        Err(verdict) => {
            // Rungs that nobody asked for may be missing.
            let verdict = match rung {
                Some(rung) => no_such_rung(rung, verdict),
                None => verdict,
            };
            tally.count(&format!("session[{}]", label(rung)), begun, Err(verdict));
            return None;
        }
    };
    let found = session.rung();
    let label = found.map_or(label(rung), Rung::name);
    tally.count(&format!("session[{label}]"), begun, rung_is(&session, found, rung.or(setting.rung)));
    let (mut known, mut lost) = (Vec::new(), Vec::new());
    each(tally, &format!("[{label}]"), cases, |case| {
        let Run::Shared(run) = &case.run else { return None };
        let mut tries = 1;
        loop {
            let from = session.collector.events.len();
            let outcome = Scene::new(setting, &session, &gaps, &case.name).map(|mut scene| {
                let outcome = run(&mut scene).and_then(|()| scene.check());
                (scene.known(), outcome)
            });
            let (of_scene, outcome) = match outcome {
                Ok(both) => both,
                Err(verdict) => return Some(Err(verdict)),
            };
            if outcome.is_ok() {
                known.push((case.name.clone(), of_scene));
                return Some(outcome);
            }
            let missing = of_scene.compare(&session.collector.events.all()).missing_alone();
            let skipped = skipped_runs(&session, from);
            match missing {
                Some(missing) if missing <= skipped && tries < TRIES => {
                    let name = &case.name;
                    println!(
                        "again    {name}[{label}]: {missing} events are missing, {skipped} runs were skipped"
                    );
                    lost.push(of_scene);
                    tries += 1;
                }
                _ => {
                    known.push((case.name.clone(), of_scene));
                    return Some(outcome);
                }
            }
        }
    });
    let begun = Instant::now();
    tally.count(&format!("session-end[{label}]"), begun, end(setting, session, &known, &lost));
    found
}

/// How often a test is tried whose events the kernel kept from the agent.
const TRIES: u32 = 3;

/// How many runs of its programs the agent has said that the kernel skipped since then: where one is interrupted by what it is attached to,
/// it is not run a second time (`misses` of a program). No more than as many events may be missing for that, and nothing else be wrong. An emulated
/// processor is slow enough for it to happen once in some thousand tests.
fn skipped_runs(session: &Session, from: usize) -> u64 {
    let is_it = |event: &&Event| event.kind() == "gap" && event.text("cause") == "run_skipped";
    let gaps = session.collector.events.since(from);
    gaps.iter().filter(is_it).filter_map(|event| event.number("lost")).sum()
}

fn rung_is(session: &Session, found: Option<Rung>, asked: Option<Rung>) -> Outcome {
    ensure(found.is_some() && (asked.is_none() || asked == found), || {
        format!("the rung is {found:?}, asked for was {asked:?}: {}", session.start.line)
    })
}

/// Ends a session, and looks at all of it again: nothing came late, and nothing of our processes is unaccounted for.
/// `lost` is of those whose events the kernel kept from it.
fn end(setting: &Setting, session: Session, known: &[(String, Known)], lost: &[Known]) -> Outcome {
    let mut ours = Claim::default();
    ours.process(std::process::id());
    let collector = session.collector.port;
    let told = session.stop(setting)?;
    let mut wrong = String::new();
    for (name, known) in known {
        let late = known.compare(&told.collected).text();
        if !late.is_empty() {
            wrong.push_str(&format!("{name}, at the end:\n{late}"));
        }
    }
    let is_own = |event: &Event| {
        // The harness's own: marks, and questions to the collector.
        event.pid() == Some(std::process::id()) && matches!(event.kind(), "connection" | "connection_end")
            || event.number("remote_port") == Some(collector.into())
    };
    for event in told.collected.iter().filter(|event| ours.holds(event) && !is_own(event)) {
        if !known.iter().map(|(_, known)| known).chain(lost).any(|known| known.holds(event)) {
            wrong.push_str(&format!("an event of nobody's doing: {}\n", event.brief()));
        }
    }
    told.balanced().during("the ledger")?;
    if wrong.is_empty() { Ok(()) } else { failed(wrong) }
}
