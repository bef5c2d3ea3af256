//! A recording told again is what was told before.

use std::collections::BTreeSet;

use serde_json::Value;

use super::{Case, own};
use crate::harness::agent::{self, Options};
use crate::harness::child::Captured;
use crate::harness::event::Event;
use crate::harness::places;
use crate::harness::servers::{Server, V4};
use crate::harness::session::Session;
use crate::harness::setting::{CREDENTIALS, EXPECTED, EXPECTED_ENTRY, Setting};
use crate::outcome::{Outcome, ensure};

/// Keys whose values belong to the telling, not to what is told. The wall time is made of `boot_ns` and of what the
/// clocks showed then, or show now.
const OF_THE_TELLING: [&str; 6] = ["id", "seq", "epoch", "host", "host_id", "time"];

/// All of them.
pub(super) fn cases() -> Vec<Case> {
    vec![own("recording/replay", replay), own("recording/no-recording", no_recording)]
}

fn replay(setting: &Setting) -> Outcome {
    let recording = setting.path("replay.recording");
    let session =
        Session::start(setting, &Options { record: Some(recording.clone()), ..Options::default() })?;
    let server = Server::start(V4)?;
    let file = setting.places.get("ext4")?.join("replay").join(CREDENTIALS).join("key");
    places::write(&file, "secret\n")?;
    let (to, path) = (server.address.to_string(), file.to_string_lossy().into_owned());
    for args in [["connect", "--to", &to], ["open", "--path", &path]] {
        Captured::start(std::process::Command::new(&setting.me).arg("act").args(args))?
            .finish(setting.limit)?
            .well()?;
    }
    let expected = setting.places.get("ext4")?.join("replay").join(EXPECTED).join("key");
    places::write(&expected, "secret\n")?;
    let reader = setting.reader("reader")?;
    for _ in 0..2 {
        let args = ["act", "open", "--times", "3", "--path", &expected.to_string_lossy()];
        Captured::start(std::process::Command::new(&reader).args(args))?.finish(setting.limit)?.well()?;
    }
    session.settle(setting)?;
    let told = session.stop(setting)?;

    let (catalogue, recording) = (setting.catalogue.to_string_lossy(), recording.to_string_lossy());
    let again =
        agent::command(setting, &["replay", "--json", "--catalogue", &catalogue, &recording])?.well()?;
    let again: Vec<Event> = again.stdout.lines().map(|line| Event::read(line.to_owned())).collect();
    let counted = |events: &[Event]| {
        let repeats = events.iter().filter(|event| event.text("credential") == EXPECTED_ENTRY);
        let counts =
            repeats.filter(|event| event.kind() == "repeat").filter_map(|event| event.number("count"));
        counts.sum::<u64>()
    };
    let counts = [counted(&told.collected), counted(&again)];
    let (before, again) = (activities(&told.collected), activities(&again));
    ensure(before.len() >= 4, || format!("only {} events were told", before.len()))?;
    ensure(counts == [5, 5], || format!("{counts:?} expected reads are counted, should be 5 each"))?;
    let list = |set: Vec<&String>| set.into_iter().cloned().collect::<Vec<_>>().join("\n");
    ensure(before == again, || {
        let (lost, new) = (before.difference(&again).collect(), again.difference(&before).collect());
        format!("told but not replayed:\n{}\nreplayed but not told:\n{}", list(lost), list(new))
    })
}

/// What was done, as it was told, in no order: replay has no clock that gives up waiting.
fn activities(events: &[Event]) -> BTreeSet<String> {
    let events = events.iter().filter(|event| event.is_activity());
    let strip = |event: &Event| {
        let mut value: Value = serde_json::from_str(&event.line).unwrap_or(Value::Null);
        if let Value::Object(keys) = &mut value {
            keys.retain(|key, _| !OF_THE_TELLING.contains(&key.as_str()));
        }
        value.to_string()
    };
    events.map(strip).collect()
}

fn no_recording(setting: &Setting) -> Outcome {
    let missing = agent::command(setting, &["replay", "--json", "/nonexistent/recording"])?;
    ensure(missing.code() == Some(1) && missing.stderr.contains("/nonexistent/recording"), || {
        format!("a missing recording gives {:?}: {}", missing.code(), missing.stderr)
    })?;
    let other = setting.path("no.recording");
    places::write(&other, "this is a text\n")?;
    let other = agent::command(setting, &["replay", "--json", &other.to_string_lossy()])?;
    ensure(other.code() == Some(1) && !other.stderr.trim().is_empty(), || {
        format!("a file that is no recording gives {:?}: {}", other.code(), other.stderr)
    })
}
