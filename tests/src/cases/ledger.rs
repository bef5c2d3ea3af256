//! What is counted by whoever acts is what is told, and what is lost on purpose is accounted for: to the unit.

use std::process::Command;

use super::{Case, own};
use crate::acts::Counts;
use crate::harness::agent::Options;
use crate::harness::child::Captured;
use crate::harness::event::Event;
use crate::harness::ledger::equal;
use crate::harness::places;
use crate::harness::servers::{Server, V4};
use crate::harness::session::{Session, Told};
use crate::harness::setting::{CREDENTIALS, Setting};
use crate::outcome::{During, Outcome, ensure, failed};

const OPENS: u64 = 5_000;
const CONNECTS: u64 = 5_000;
/// One record in so many is dropped: a prime, so that attempts and outcomes are hit alike.
const DROP_EVERY: u32 = 7;
/// On a host where others act too, what was dropped of them cannot be told from what was dropped of us: try again.
const TRIES: u32 = 5;

/// All of them.
pub(super) fn cases() -> Vec<Case> {
    vec![own("ledger/all-told", all_told), own("ledger/forced-drops", forced_drops)]
}

/// What a generator counted, and what was told of it.
struct Flood {
    counted: Counts,
    told: Told,
}

impl Flood {
    fn run(setting: &Setting, options: &Options) -> Outcome<Self> {
        // Before the session: that the file comes into place is told as well, where it is seen.
        let file = setting.places.get("ext4")?.join("flood").join(CREDENTIALS).join("key");
        places::write(&file, "secret\n")?;
        let session = Session::start(setting, options)?;
        let server = Server::start(V4)?;
        let mut command = Command::new(&setting.me);
        command.args(["act", "flood", "--path"]).arg(&file).arg("--to").arg(server.address.to_string());
        command.args(["--opens", &OPENS.to_string(), "--connects", &CONNECTS.to_string()]);
        let finished = Captured::start(&mut command)?.finish(setting.patience())?.well()?;
        let mut counted: Counts =
            serde_json::from_str(&finished.stdout).during("read the generator's count")?;
        counted.opens += session.settle_by_opens(setting, &file)?;
        Ok(Self { counted, told: session.stop(setting)? })
    }

    /// Done by the generator, or by the harness to know that all was told.
    fn is_ours(&self, event: &Event) -> bool {
        let ours = [self.counted.pid, std::process::id()];
        event.pid().is_some_and(|pid| ours.contains(&pid))
    }

    fn events(&self, kind: &str) -> u64 {
        self.told.count_printed(|event| event.kind() == kind && self.is_ours(event))
    }

    /// What others did in the families that are counted.
    fn noise(&self) -> Outcome<Noise> {
        let others = |kind| self.told.count_printed(|event| event.kind() == kind && !self.is_ours(event));
        Ok(Noise {
            opens: others("credential_access") + self.told.counter("record.not_a_credential")?,
            connects: others("connection") + others("connection_end"),
        })
    }
}

#[derive(Debug)]
struct Noise {
    opens: u64,
    connects: u64,
}

fn all_told(setting: &Setting) -> Outcome {
    let flood = Flood::run(setting, &Options::default())?;
    flood.told.balanced()?;
    equal("opens", flood.counted.opens, flood.events("credential_access"))?;
    equal("connections", flood.counted.connects, flood.events("connection"))?;
    let known = |event: &Event| event.kind() == "connection" && event.text("outcome") == "established";
    let established = flood.told.count_printed(|event| known(event) && flood.is_ours(event));
    equal("established connections", flood.counted.connects, established)?;
    equal("ends", flood.counted.connects, flood.events("connection_end"))
}

fn forced_drops(setting: &Setting) -> Outcome {
    let options = Options { drop_every: Some(DROP_EVERY), ..Options::default() };
    let (mut opens, mut connects, mut noises) = (false, false, Vec::new());
    for _ in 0..TRIES {
        let flood = Flood::run(setting, &options)?;
        flood.told.balanced()?;
        let noise = flood.noise()?;
        if noise.opens == 0 {
            opens_accounted(&flood)?;
            opens = true;
        }
        if noise.connects == 0 {
            connects_accounted(&flood)?;
            connects = true;
        }
        if opens && connects {
            return Ok(());
        }
        noises.push(noise);
    }
    failed(format!("others on this host opened credentials or connected during each try: {noises:?}"))
}

/// The generator's count against the events that came and the losses that were told.
fn opens_accounted(flood: &Flood) -> Outcome {
    let lost = flood.told.gaps("kernel", Some("file"));
    ensure(lost > 0, || "no open was dropped".to_owned())?;
    equal("opens = events + lost", flood.counted.opens, flood.events("credential_access") + lost)
}

/// A connection is three records. One whose outcome was dropped is an event without an outcome; one whose attempt was
/// dropped is told by its outcome; one of which both were leaves nothing but its end, if that came.
fn connects_accounted(flood: &Flood) -> Outcome {
    let told = &flood.told;
    let lost = told.gaps("kernel", Some("connection"));
    ensure(lost > 0, || "no connection was dropped".to_owned())?;
    let unknown = |event: &Event| event.kind() == "connection" && event.text("outcome") == "unknown";
    let without_outcome = told.count_printed(unknown);
    let without_attempt = told.counter("join.told_by_outcome")?;
    equal("outcomes that say nothing of their attempt", 0, told.counter("join.outcome_without_attempt")?)?;
    let (events, ends) = (flood.events("connection"), flood.events("connection_end"));
    let connects = flood.counted.connects;
    let without_both = connects.saturating_sub(events);
    equal(
        &format!(
            "lost records = ends that did not come ({ends} of {connects} did) + {without_outcome} outcomes + \
             {without_attempt} attempts + {without_both} pairs of both"
        ),
        lost,
        connects.saturating_sub(ends) + without_outcome + without_attempt + 2 * without_both,
    )
}
