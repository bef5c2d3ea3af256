//! Who does much must not cost others anything: their acts are told, all of them, however much of his own is lost.

use std::process::Command;

use super::{Case, own};
use crate::acts::Counts;
use crate::harness::agent::Options;
use crate::harness::child::Captured;
use crate::harness::event::Event;
use crate::harness::ledger::{FAMILIES, equal};
use crate::harness::places;
use crate::harness::servers::{Server, V4};
use crate::harness::session::Session;
use crate::harness::setting::{CREDENTIALS, Setting};
use crate::outcome::{During, Outcome, ensure};

/// What each flood does: far beyond its budget.
const FLOOD_OPENS: u64 = 10_000;
const FLOOD_CONNECTS: u64 = 4_000;
/// What somebody else does meanwhile, of each: within anybody's budget.
const OPENS: u64 = 500;
const CONNECTS: u64 = 500;
const ROUNDS_A_SECOND: u32 = 400;

/// All of them.
pub(super) fn cases() -> Vec<Case> {
    vec![own("flood/others-are-told", others_are_told)]
}

fn others_are_told(setting: &Setting) -> Outcome {
    let directory = setting.places.get("ext4")?.join("floods").join(CREDENTIALS);
    let files = ["flooded", "other"].map(|name| directory.join(name));
    for file in &files {
        places::write(file, "secret\n")?;
    }
    let session = Session::start(setting, &Options::default())?;
    let server = Server::start(V4)?;
    let [flooded, other] = &files;
    let act = |file: &std::path::Path, opens: u64, connects: u64, rate: Option<u32>| {
        let mut command = Command::new(&setting.me);
        command.args(["act", "flood", "--path"]).arg(file).arg("--to").arg(server.address.to_string());
        command.args(["--opens", &opens.to_string(), "--connects", &connects.to_string()]);
        command.args(rate.map(|rate| format!("--rate={rate}")));
        Captured::start(&mut command)
    };
    let floods = [act(flooded, FLOOD_OPENS, 0, None)?, act(flooded, 0, FLOOD_CONNECTS, None)?];
    for flood in &floods {
        let pid = flood.pid();
        session.collector.events.wait("an act of the flood", 0, setting.limit, |event| {
            (event.pid() == Some(pid)).then_some(())
        })?;
    }
    let counts = |running: Captured| -> Outcome<Counts> {
        let finished = running.finish(setting.patience())?.well()?;
        serde_json::from_str(&finished.stdout).during("read what was done")
    };
    let victim = counts(act(other, OPENS, CONNECTS, Some(ROUNDS_A_SECOND))?)?;
    let [opening, connecting] = floods.map(counts);
    let (opening, connecting) = (opening?, connecting?);
    let settled = session.settle_by_opens(setting, other)?;
    // They overtook what is left of the floods.
    let from = session.collector.events.len();
    session.collector.events.wait("a heartbeat that finds all read", from, setting.limit, |event| {
        (event.kind() == "agent_status" && nothing_waits(event)).then_some(())
    })?;
    let told = session.stop(setting)?;
    told.balanced()?;

    let of = |counts: &Counts, kind: &str| {
        told.count(|event: &Event| event.kind() == kind && event.pid() == Some(counts.pid))
    };
    equal("opens beside the floods", victim.opens, of(&victim, "credential_access"))?;
    equal("connections beside the floods", victim.connects, of(&victim, "connection"))?;
    equal("their ends", victim.connects, of(&victim, "connection_end"))?;
    // How fast connections are made is the machine's affair; opens are fast everywhere.
    let beyond = told.counter("kernel.file.bulk")?;
    ensure(beyond > 0, || "no open was beyond its budget".to_owned())?;
    // Nobody else is beyond his budget, so what was lost was theirs.
    let mine =
        told.count(|event| event.kind() == "credential_access" && event.pid() == Some(std::process::id()));
    equal("opens that show that all was told", settled, mine)?;
    // The collector is not told of all of the flood: what the queue turned away was printed.
    let printed = told.printed.iter();
    let printed =
        printed.filter(|event| event.kind() == "credential_access" && event.pid() == Some(opening.pid));
    let lost = told.gaps("kernel", Some("file"));
    equal("opens of the flood = events + lost", opening.opens, printed.count() as u64 + lost)?;
    ensure(of(&connecting, "connection") > 0, || "nothing was told of the flood of connections".to_owned())
}

/// Whether the agent had read all that the kernel had told.
fn nothing_waits(status: &Event) -> bool {
    let submitted = FAMILIES.iter().map(|family| status.counter(&format!("kernel.{family}.submitted")));
    submitted.sum::<Option<u64>>().is_some_and(|submitted| status.counter("decode.read") >= Some(submitted))
}
