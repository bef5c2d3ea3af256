//! Descriptors of credentials that a process has not opened itself: each is one event of whoever has it then.

use std::fs;
use std::process::{ChildStdin, Command};

use serde_json::Value;

use super::{Case, own, shared};
use crate::harness::agent::Options;
use crate::harness::child::Captured;
use crate::harness::event::Event;
use crate::harness::expect::Deed;
use crate::harness::places;
use crate::harness::scene::Scene;
use crate::harness::session::Session;
use crate::harness::setting::{CREDENTIALS, Rung, SOCKETS, Setting};
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

/// How the same is told once the agent watches, and what a process holds of it.
struct Holding {
    told_as: &'static str,
    args: Vec<String>,
    /// To which each process adds its own end.
    name: Option<String>,
}

/// A process that holds something until it is let go, and what it says of it.
struct Holder {
    running: Captured,
    held: ChildStdin,
    deed: Deed,
}

impl Holder {
    fn start(setting: &Setting, holding: &Holding, when: &str) -> Outcome<Self> {
        let mut command = Command::new(&setting.me);
        command.arg("act").args(&holding.args);
        if let Some(name) = &holding.name {
            command.arg("--name").arg(format!("{name}-{when}"));
        }
        let (running, held) = Captured::start_held(&mut command)?;
        let read = |line: &String| Some(serde_json::from_str::<Deed>(line));
        let deed =
            running.stdout.wait("what is held", 0, setting.limit, read)?.during("read what is held")?;
        Ok(Self { running, held, deed })
    }

    fn end(self, setting: &Setting) -> Outcome {
        drop(self.held);
        self.running.finish(setting.limit)?.well().map(drop)
    }
}

/// What was open before the agent is told once, marked so; what is opened after it is not told again.
fn held(setting: &Setting) -> Outcome {
    let path = setting.path("held").join(CREDENTIALS).join("key");
    places::write(&path, "secret\n")?;
    let file = ["obtain", "--way", "hold", "--path", &path.to_string_lossy()].map(str::to_owned).to_vec();
    let mut holdings = vec![Holding { told_as: "open", args: file, name: None }];
    let sockets = setting.path("held").join(SOCKETS);
    fs::create_dir_all(&sockets).during(sockets.display())?;
    for kind in ["stream", "packets", "datagram"] {
        let args = ["local", "--hold", "--kind", kind].map(str::to_owned).to_vec();
        let name = format!("{SOCKETS}/{}/{kind}", std::process::id());
        holdings.push(Holding { told_as: "connect", args: args.clone(), name: Some(name) });
        let bound = ["--directory".to_owned(), sockets.to_string_lossy().into_owned()];
        let args = [args, bound.to_vec()].concat();
        holdings.push(Holding { told_as: "connect", args, name: Some(kind.to_owned()) });
    }
    let start = |when: &str| {
        let start = |holding| Holder::start(setting, holding, when);
        holdings.iter().map(start).collect::<Outcome<Vec<_>>>()
    };
    let before = start("before")?;
    let session = Session::start(setting, &Options::default())?;
    let after = start("after")?;
    let of = |pid: u32, how: &'static str| {
        move |event: &Event| {
            event.kind() == "credential_access" && event.pid() == Some(pid) && event.text("how") == how
        }
    };
    for Holder { running, deed, .. } in &before {
        let found = session.collector.events.wait("credential_access", 0, setting.limit, |event| {
            of(running.pid(), "held")(event).then(|| event.apart())
        })?;
        for (key, value) in deed.target.iter().chain(&deed.facts) {
            let told = found.get(key);
            ensure(told.unwrap_or(&Value::Null) == value, || {
                format!("{key} should be {value}: {}", found.brief())
            })?;
        }
        ensure(found.text("origin") == "inventoried", || {
            format!("the process was there before: {}", found.brief())
        })?;
    }
    session.settle(setting)?;
    let mut expected = Vec::new();
    for (holding, (first, second)) in holdings.iter().zip(before.iter().zip(&after)) {
        let (first, second) = (first.running.pid(), second.running.pid());
        for (pid, how, number) in [
            (first, "held", 1),
            (first, holding.told_as, 0),
            (second, "held", 0),
            (second, holding.told_as, 1),
        ] {
            expected.push((pid, how, number, holding));
        }
    }
    before.into_iter().chain(after).try_for_each(|holder| holder.end(setting))?;
    let told = session.stop(setting)?;
    told.balanced()?;
    for (pid, how, number, Holding { args, .. }) in expected {
        let found = told.count(of(pid, how));
        ensure(found == number, || {
            format!("{found} of process {pid} ({args:?}) were told as {how}, not {number}")
        })?;
    }
    Ok(())
}
