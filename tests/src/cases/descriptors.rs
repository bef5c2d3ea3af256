//! Descriptors of credentials that a process has not opened itself: each is one event of whoever has it then.

use std::process::Command;

use super::{Case, own, shared};
use crate::harness::agent::Options;
use crate::harness::child::Captured;
use crate::harness::event::Event;
use crate::harness::expect::Deed;
use crate::harness::places;
use crate::harness::scene::Scene;
use crate::harness::session::Session;
use crate::harness::setting::{CREDENTIALS, Rung, Setting};
use crate::outcome::{During, Outcome, ensure};

const PLACES: [&str; 3] = ["ext4", "overlay", "tmpfs"];
const RECEIVED: &str = "fexit/security_file_receive";
const EXEC: &str = "tp_btf/sched_process_exec";

/// Way, and its hook with trampolines.
const WAYS: [(&str, &str); 8] = [
    ("message", RECEIVED),
    ("pair", RECEIVED),
    ("messages", RECEIVED),
    ("name", RECEIVED),
    ("taken", RECEIVED),
    ("exec", EXEC),
    ("exec-high", EXEC),
    ("exec-closed", EXEC),
];

/// All of them.
pub(super) fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for place in PLACES {
        for (way, hook) in WAYS {
            cases.push(shared(format!("descriptor/{place}/{way}"), move |scene| {
                obtained(scene, place, way, hook)
            }));
        }
    }
    cases.push(own("descriptor/held", held));
    cases
}

fn obtained(scene: &mut Scene<'_>, place: &'static str, way: &str, hook: &str) -> Outcome {
    let path = scene.credential(place, "key")?;
    let expected = scene.act(&["obtain", "--way", way, "--path", &path.to_string_lossy()])?;
    let at_exit = scene.session.rung() == Some(Rung::Tracepoint) && hook == RECEIVED;
    let hook = if at_exit { "tp_btf/sys_exit" } else { hook };
    scene.expect(expected.into_iter().map(|one| {
        let is_open = one.fact("how").is_some_and(|how| how == "open");
        if is_open { one } else { one.seen_by(&[hook]) }
    }));
    Ok(())
}

/// What was open before the agent is told once, marked so; what is opened after it is not told again.
fn held(setting: &Setting) -> Outcome {
    let path = setting.path("held").join(CREDENTIALS).join("key");
    places::write(&path, "secret\n")?;
    let start = || -> Outcome<_> {
        let mut command = Command::new(&setting.me);
        command.args(["act", "obtain", "--way", "hold", "--path"]).arg(&path);
        let (holder, held) = Captured::start_held(&mut command)?;
        let read = |line: &String| Some(serde_json::from_str::<Deed>(line));
        let deed = holder.stdout.wait("what is held", 0, setting.limit, read)?.during("read what is held")?;
        Ok((holder, held, deed))
    };
    let (before, held_before, deed) = start()?;
    let session = Session::start(setting, &Options::default())?;
    let (after, held_after, _) = start()?;
    let (first, second) = (before.pid(), after.pid());
    let of = |pid: u32, how: &'static str| {
        move |event: &Event| {
            event.kind() == "credential_access" && event.pid() == Some(pid) && event.text("how") == how
        }
    };
    let found = session.collector.events.wait("credential_access", 0, setting.limit, |event| {
        of(first, "held")(event).then(|| event.apart())
    })?;
    session.settle(setting)?;
    drop((held_before, held_after));
    for holder in [before, after] {
        holder.finish(setting.limit)?.well()?;
    }
    for (key, value) in deed.target.iter().chain(&deed.facts) {
        ensure(found.get(key) == Some(value), || format!("{key} should be {value}: {}", found.brief()))?;
    }
    ensure(found.text("origin") == "inventoried", || {
        format!("the process was there before: {}", found.brief())
    })?;
    let told = session.stop(setting)?;
    told.balanced()?;
    for (pid, how, number) in
        [(first, "held", 1), (first, "open", 0), (second, "held", 0), (second, "open", 1)]
    {
        let found = told.count(of(pid, how));
        ensure(found == number, || format!("{found} of process {pid} were told as {how}, not {number}"))?;
    }
    Ok(())
}
