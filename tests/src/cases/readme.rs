//! README.md shows what `telltale run` prints: made again here, and compared with what volatile there is masked.

use std::process::Command;

use rustix::process::Signal;

use super::{Case, own};
use crate::harness::child::{self, Captured, Running};
use crate::harness::gaps;
use crate::harness::places;
use crate::harness::setting::Setting;
use crate::harness::stream::Stream;
use crate::outcome::{During, Outcome, ensure, failed, skipped};

const README: &str = include_str!("../../../README.md");
/// Before the block, in the README.
const MARK: &str = "<!-- made again by the test `readme` -->\n```text\n";
/// The README shows the rung that Debian 12 has.
const SHOWN: &str = "fentry/security_file_open";
/// Of gaps that what is shown does not have.
const OLDER: &str = "on kernels before 5.17";
/// Where the scene's credential stands in the README.
const SHOWN_HOME: &str = "/home/ada";
/// Nobody listens there.
const CLOSED: &str = "127.0.0.1:9";

/// All of them.
pub(super) fn cases() -> Vec<Case> {
    vec![own("readme", readme)]
}

fn readme(setting: &Setting) -> Outcome {
    // Elsewhere others act too, and the summary counts them.
    if !setting.is_guest() {
        return skipped("others act on this machine; it runs in the virtual machines");
    }
    if gaps::named(setting, None)?.iter().any(|gap| gap.contains(OLDER)) {
        return skipped(format!("the README shows what serves newer kernels: here there are gaps {OLDER}"));
    }
    let Some(printed) = printed(setting)? else {
        return skipped(format!("the README shows {SHOWN}, which does not serve here"));
    };
    let shown = README.split_once(MARK).and_then(|(_, rest)| rest.split_once("```"));
    let shown = shown.map_or_else(|| failed("README.md has no block of output"), |(shown, _)| Ok(shown))?;
    let (was, is): (Vec<_>, Vec<_>) = (masked(shown), masked(&printed));
    ensure(was == is, || {
        let differs = was.iter().zip(&is).find(|(was, is)| was != is);
        format!("README.md shows other output; first where it differs: {differs:?}; all of it is\n{printed}")
    })
}

/// What the agent prints while a shell reads a credential and connects, where it is the rung that is shown.
fn printed(setting: &Setting) -> Outcome<Option<String>> {
    let home = setting.path("home");
    let credential = home.join(".aws/credentials");
    places::write(&credential, "secret\n")?;
    let (mut running, stdout, stderr) =
        Running::start(Command::new(&setting.telltale).args(["run", "--state", "none"]))?;
    let events = Stream::reading("the agent", stdout, |line| line);
    let messages = Stream::reading("the agent", stderr, |line| line);
    let started = |line: &String| line.ends_with(": start").then_some(());
    events.wait("its start", 0, setting.limit, started)?;
    let script = format!("cat {} > /dev/null; curl -s http://{CLOSED}/", credential.display());
    let mut shell = Command::new(child::find("sh")?);
    // The shell ends as curl does, which is refused.
    Captured::start(shell.args(["-c", &script]))?.finish(setting.limit)?;
    let refused = |line: &String| line.contains(CLOSED).then_some(());
    events.wait("the refused connection", 0, setting.limit, refused)?;
    running.signal(Signal::INT)?;
    let status = running.reap(setting.limit).during("the agent")?;
    ensure(status.success(), || format!("the agent ended with {status} after Ctrl-C"))?;
    events.wait_end(setting.limit)?;
    messages.wait_end(setting.limit)?;
    let messages = messages.all();
    if !messages.iter().any(|line| line.contains(SHOWN)) {
        return Ok(None);
    }
    let is_summary = |line: &String| line.contains(" events in ");
    let at = messages.iter().position(is_summary).map_or_else(|| failed("no summary"), Ok)?;
    let (begin, end) = messages.split_at(at);
    // Which come by the clock, not by what happens.
    let events: Vec<String> =
        events.all().into_iter().filter(|line| !line.ends_with(": heartbeat")).collect();
    let lines = [begin, &events, end].concat().join("\n") + "\n";
    Ok(Some(lines.replace(&home.display().to_string(), SHOWN_HOME)))
}

/// Lines without what differs from run to run: numbers, white space that aligns them, and who started the scene.
fn masked(text: &str) -> Vec<String> {
    text.lines().map(mask).collect()
}

fn mask(line: &str) -> String {
    let mut words: Vec<String> = line.split_whitespace().map(number_masked).collect();
    // The lineage begins with whatever ran the test; its end is the scene's.
    if let Some(last) = words.iter().rposition(|word| word == "›") {
        let first = words.iter().position(|word| word == "›").unwrap_or(last);
        words.drain(first.saturating_sub(1)..=last);
    }
    // A slow machine's second is a fast one's millisecond.
    words.retain(|word| !matches!(word.trim_end_matches(','), "ms" | "s"));
    words.join(" ")
}

/// A word whose digits are volatile: times, process ids, counts and durations, not names and addresses.
fn number_masked(word: &str) -> String {
    let volatile = |text: &str| {
        text.starts_with(|c: char| c.is_ascii_digit())
            && text.chars().all(|c| c.is_ascii_digit() || ":.,".contains(c))
    };
    // The address that the scene connects to has its meaning, and so has the version.
    if word == CLOSED || word == env!("CARGO_PKG_VERSION") {
        return word.to_owned();
    }
    if volatile(word) {
        return "N".to_owned();
    }
    match word.split_once('[') {
        Some((name, rest)) if rest.strip_suffix(']').is_some_and(volatile) => format!("{name}[N]"),
        _ => word.to_owned(),
    }
}
