//! A target that is changed while the act is under way: what is told is what was reached, each time.

use std::process::Command;

use super::{Case, own};
use crate::acts::Reached;
use crate::harness::agent::Options;
use crate::harness::child::Captured;
use crate::harness::event::Event;
use crate::harness::ledger::equal;
use crate::harness::session::Session;
use crate::harness::setting::{CREDENTIALS, Setting};
use crate::outcome::{During, Outcome};

/// Acts of each race: within what one process may do at once.
const TRIES: &str = "1000";

/// All of them.
pub(super) fn cases() -> Vec<Case> {
    vec![
        own("race/link", |setting| opens(setting, "link")),
        own("race/path", |setting| opens(setting, "path")),
        own("race/connect", |setting| addresses(setting, "connect", "connection")),
        own("race/send", |setting| addresses(setting, "send", "datagram_flow")),
    ]
}

fn race(setting: &Setting, of: &str) -> Outcome<Reached> {
    let directory = setting.path("races").join(of);
    let mut command = Command::new(&setting.me);
    command.args(["act", "race", "--of", of, "--credentials", CREDENTIALS, "--tries", TRIES]);
    let finished =
        Captured::start(command.arg("--directory").arg(directory))?.finish(setting.patience())?.well()?;
    serde_json::from_str(&finished.stdout).during("read what was reached")
}

fn opens(setting: &Setting, of: &str) -> Outcome {
    let session = Session::start(setting, &Options::default())?;
    let reached = race(setting, of)?;
    session.settle(setting)?;
    let told = session.stop(setting)?;
    told.balanced()?;
    let mine = |event: &Event| event.pid() == Some(reached.pid) && event.kind() == "credential_access";
    let of_it = |event: &Event| {
        mine(event)
            && event.text("how") == "open"
            && event.text("access") == "read"
            && event.text("path").ends_with(&format!("{CREDENTIALS}/key"))
    };
    equal("opens of the credential", reached.first, told.count(of_it))?;
    // The act makes the file that it then reads.
    equal("all that is told of the process", reached.first + 1, told.count(mine))
}

fn addresses(setting: &Setting, of: &str, kind: &str) -> Outcome {
    let session = Session::start(setting, &Options::default())?;
    let reached = race(setting, of)?;
    session.settle(setting)?;
    let told = session.stop(setting)?;
    told.balanced()?;
    let mine = |event: &Event| event.pid() == Some(reached.pid) && event.kind() == kind;
    for (address, number) in [("127.0.0.1", reached.first), ("127.0.0.2", reached.second)] {
        let to = |event: &Event| {
            let connected = event.get("connected_address").and_then(serde_json::Value::as_str);
            mine(event)
                && event.text("remote_address") == address
                && event.number("remote_port") == Some(reached.port.into())
                && connected.is_none_or(|connected| connected == address)
        };
        equal(address, number, told.count(to))?;
    }
    equal("all that is told of the process", reached.first + reached.second, told.count(mine))
}
