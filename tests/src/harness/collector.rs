//! The collector as a program.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::process::Command;
use std::time::Duration;

use rustix::process::Signal;
use serde_json::Value;

use super::child::Running;
use super::event::Event;
use super::setting::Setting;
use super::stream::Stream;
use crate::outcome::{During, Outcome, failed};

/// A collector that listens.
#[derive(Debug)]
pub(crate) struct Collector {
    running: Running,
    /// What it prints.
    pub(crate) events: Stream<Event>,
    /// What it says beside.
    pub(crate) messages: Stream<String>,
    /// Where it listens on loopback.
    pub(crate) port: u16,
}

impl Collector {
    /// Starts one on a port, 0 for a free one, and waits until it listens.
    pub(crate) fn start(setting: &Setting, port: u16) -> Outcome<Self> {
        let mut command = Command::new(&setting.telltale);
        command.args(["collect", "--json", "--listen"]).arg(format!("127.0.0.1:{port}"));
        let (running, stdout, stderr) = Running::start(&mut command)?;
        let events = Stream::reading("the collector", stdout, Event::read);
        let messages = Stream::reading("the collector", stderr, |line| line);
        let port =
            messages.wait("the address it listens on", 0, setting.limit, |line: &String| port_of(line))?;
        Ok(Self { running, events, messages, port })
    }

    /// Its numbers, `GET /status`.
    pub(crate) fn status(&self, setting: &Setting) -> Outcome<Value> {
        status_at(self.port, setting.limit)
    }

    /// Ends it at once; what it had printed is still read.
    pub(crate) fn kill(mut self, setting: &Setting) -> Outcome<Vec<Event>> {
        self.running.signal(Signal::KILL)?;
        self.end(setting)
    }

    /// Ends it as an operator does; all that it printed.
    pub(crate) fn stop(mut self, setting: &Setting) -> Outcome<Vec<Event>> {
        self.running.signal(Signal::TERM)?;
        self.end(setting)
    }

    fn end(&mut self, setting: &Setting) -> Outcome<Vec<Event>> {
        self.running.reap(setting.limit).during("the collector")?;
        self.events.wait_end(setting.limit)?;
        self.messages.wait_end(setting.limit)?;
        let said = self.messages.all().join("\n");
        if said.contains("panicked") {
            return failed(format!("the collector panicked: {said}"));
        }
        Ok(self.events.all())
    }
}

/// The numbers of the collector that listens there, `GET /status`.
pub(crate) fn status_at(port: u16, limit: Duration) -> Outcome<Value> {
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).during("ask the collector")?;
    stream.set_read_timeout(Some(limit))?;
    stream.write_all(b"GET /status HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).during("read the collector's status")?;
    let body = answer.split_once("\r\n\r\n").map(|(_, body)| body).unwrap_or_default();
    let json = body.find('{').zip(body.rfind('}')).and_then(|(from, to)| body.get(from..=to));
    match json.map(serde_json::from_str) {
        Some(Ok(status)) => Ok(status),
        _ => failed(format!("the collector's status is no JSON: {answer}")),
    }
}

/// The port in `collecting on http://127.0.0.1:4319 (…)`.
pub(crate) fn port_of(line: &str) -> Option<u16> {
    let (_, address) = line.split_once("http://127.0.0.1:")?;
    let digits = address.split(|c: char| !c.is_ascii_digit()).next()?;
    digits.parse().ok()
}
