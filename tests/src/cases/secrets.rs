//! A secret in a command line leaves the host nowhere: not in an event, not at the collector, not in a recording.

use std::fs;
use std::path::Path;

use super::{Case, own};
use crate::harness::agent::Options;
use crate::harness::child::{self, Captured};
use crate::harness::event::Event;
use crate::harness::servers::{Server, V4};
use crate::harness::session::{Session, Told};
use crate::harness::setting::Setting;
use crate::outcome::{Outcome, Verdict, ensure};

/// A value that stands nowhere else, and how it is given to curl, which does with it what it is made for.
const PLANTED: [(&str, &[&str]); 6] = [
    ("ghp_q7Rk2LxV9sTzW4nB8mYc1DfH6jKp3GtXaE5u", &["-H", "Authorization: token {}"]),
    (
        "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJ0ZWxsdGFsZSJ9.k3JvQz8yTn5wXr2bLm7cVd9fHs4gPq6a",
        &["-H", "Authorization: Bearer {}"],
    ),
    ("Zk81-hunter-Pq27", &["--user", "alice:{}"]),
    ("9f3b7c1e5a2d4860b1c9e7f3a5d2b864", &["--url-query", "api_key={}"]),
    ("wJk7rXUtnFEMIqK7MDENGabPxRfiCYTESTLKEYzz", &["--data", "aws_secret_access_key={}"]),
    ("Vb93-cookie-value-Xx41", &["--cookie", "session={}"]),
];

/// All of them.
pub(super) fn cases() -> Vec<Case> {
    vec![own("secrets/argv", argv)]
}

fn argv(setting: &Setting) -> Outcome {
    let recording = setting.path("secrets.recording");
    let session =
        Session::start(setting, &Options { record: Some(recording.clone()), ..Options::default() })?;
    let server = Server::start(V4)?;
    let mut pids = Vec::new();
    for (value, form) in PLANTED {
        pids.push(curl(setting, &server, value, form)?);
    }
    session.settle(setting)?;
    let told = session.stop(setting)?;
    for (pid, (value, form)) in pids.into_iter().zip(PLANTED) {
        // What was redacted was there: the process was seen with its command line.
        for kind in ["connection", "connection_end"] {
            let seen = told.count(|event: &Event| {
                event.kind() == kind && event.pid() == Some(pid) && event.get("argv").is_some()
            });
            ensure(seen == 1, || format!("curl {form:?} is {seen} events {kind}"))?;
        }
        nowhere(&told, &recording, value)?;
    }
    Ok(())
}

/// Runs curl with a planted value; its process.
fn curl(setting: &Setting, server: &Server, value: &str, form: &[&str]) -> Outcome<u32> {
    let program = child::find("curl").map_err(|error| Verdict::Skipped(error.to_string()))?;
    let form = form.iter().map(|argument| argument.replace("{}", value));
    let mut command = std::process::Command::new(program);
    command.args(["-q", "--silent", "--noproxy", "*"]).args(form).arg(format!("http://{}/", server.address));
    Ok(Captured::start(&mut command)?.finish(setting.limit)?.well()?.pid)
}

fn nowhere(told: &Told, recording: &Path, value: &str) -> Outcome {
    let lines = told.collected.iter().chain(&told.printed);
    for event in lines {
        ensure(!event.line.contains(value), || format!("{value} is in an event: {}", event.line))?;
    }
    ensure(!told.ended.messages.contains(value), || format!("{value} is in what the agent said"))?;
    let bytes = fs::read(recording)?;
    let found = bytes.windows(value.len()).any(|window| window == value.as_bytes());
    ensure(!found, || format!("{value} is in the recording"))
}
