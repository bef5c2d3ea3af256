//! Things that a process can do, each of which prints what it did (a [`Deed`] a line). Small and blunt: what is printed
//! must be what happened, as the process itself could see it.

mod alter;
mod compat;
mod connect;
mod crowd;
mod daemon;
mod datagram;
mod enter;
mod flood;
mod inherited;
mod interrupted;
mod keys;
pub(crate) mod load;
mod local;
mod make;
mod measure;
mod names;
mod network;
mod obtain;
mod open;
mod peer;
mod race;
mod reach;
mod reuse;
mod start;
mod talk;
mod uring;

use std::io::{self, Write};
use std::net::SocketAddr;

use clap::Subcommand;
use serde_json::{Map, Value, json};

use crate::harness::expect::{Deed, object};
use crate::harness::who::Who;
use crate::outcome::Verdict;

pub(crate) use enter::Entered;
pub(crate) use flood::Counts;
pub(crate) use load::{Loaded, boot_ns};
pub(crate) use measure::Measured;
pub(crate) use measure::processes::program as tiny_program;
pub(crate) use race::Reached;
pub(crate) use reuse::{Report as ReuseReport, Touch};

/// What to do.
#[derive(Subcommand)]
pub(crate) enum Act {
    /// Connect with TCP.
    Connect(connect::ConnectArgs),
    /// Send datagrams.
    Datagram(datagram::DatagramArgs),
    /// Open a file.
    Open(open::OpenArgs),
    /// Act while another thread changes on what.
    Race(race::RaceArgs),
    /// Get a file that another process has opened.
    Obtain(obtain::ObtainArgs),
    /// Rename, link, remove or change a file.
    Alter(alter::AlterArgs),
    /// Fork twice, let the one between end, then connect.
    Daemon(daemon::DaemonArgs),
    /// Connect with TCP, and send and receive so much.
    Talk(talk::TalkArgs),
    /// Connect with TCP to other processes of this program.
    Peer(peer::PeerArgs),
    /// Make a socket and leave it at that.
    Make(make::MakeArgs),
    /// Reach a unix socket.
    Local(local::LocalArgs),
    /// Ask for names, and connect to what they are of.
    Names(names::NamesArgs),
    /// Read a key.
    Key(keys::KeyArgs),
    /// Reach into the memory of another process.
    Reach(reach::ReachArgs),
    /// Use sockets of a parent.
    Inherited(inherited::InheritedArgs),
    /// Connect with TCP where packets come by interrupt.
    Interrupted(interrupted::InterruptedArgs),
    /// Act in other cgroups or namespaces, and execute nothing there.
    Enter(enter::EnterArgs),
    /// Do much, and count it.
    Flood(flood::FloodArgs),
    /// Do so much a second, and count it.
    Load(load::LoadArgs),
    /// Start many processes that do nothing.
    Crowd(crowd::CrowdArgs),
    /// Do what the agent could make dearer, and time it.
    Measure(measure::MeasureArgs),
    /// Start a program that does something.
    Start(start::StartArgs),
    /// Start very many processes, and print what became of their numbers.
    Reuse(reuse::ReuseArgs),
    /// Open one file whose name is a number, as one of many.
    Touch(reuse::TouchArgs),
}

/// Does it.
pub(crate) fn perform(act: &Act) -> Result<(), String> {
    let done = match act {
        Act::Connect(args) => connect::perform(args),
        Act::Datagram(args) => datagram::perform(args),
        Act::Open(args) => open::perform(args),
        Act::Race(args) => race::perform(args),
        Act::Obtain(args) => obtain::perform(args),
        Act::Alter(args) => alter::perform(args),
        Act::Daemon(args) => daemon::perform(args),
        Act::Talk(args) => talk::perform(args),
        Act::Peer(args) => peer::perform(args),
        Act::Make(args) => make::perform(args),
        Act::Local(args) => local::perform(args),
        Act::Names(args) => names::perform(args),
        Act::Key(args) => keys::perform(args),
        Act::Reach(args) => reach::perform(args),
        Act::Inherited(args) => inherited::perform(args),
        Act::Interrupted(args) => interrupted::perform(args),
        Act::Enter(args) => enter::perform(args),
        Act::Flood(args) => flood::perform(args),
        Act::Load(args) => load::perform(args),
        Act::Crowd(args) => crowd::perform(args),
        Act::Measure(args) => measure::perform(args),
        Act::Start(args) => start::perform(args),
        Act::Reuse(args) => reuse::perform(args),
        Act::Touch(args) => reuse::touch(args),
    };
    done.map_err(|verdict| match verdict {
        Verdict::Failed(text) | Verdict::Skipped(text) => text,
    })
}

/// What an act says where this kernel lacks what it would do.
pub(crate) const UNSUPPORTED: &str = "this kernel has no such socket";

/// The deed of this thread, now.
fn deed(event: Option<&str>, target: Value, facts: Value) -> io::Result<Deed> {
    let (target, facts) = (object(target), object(facts));
    let event = event.map(str::to_owned);
    Ok(Deed { who: Who::me()?, tid: thread_id()?, event, target, facts, repeats: None })
}

/// Prints a line in one write, so that processes may share the output.
fn print(line: &impl serde::Serialize) -> io::Result<()> {
    let mut text = serde_json::to_vec(line)?;
    text.push(b'\n');
    let mut out = io::stdout().lock();
    out.write_all(&text)?;
    out.flush()
}

fn thread_id() -> io::Result<u32> {
    let link = std::fs::read_link("/proc/thread-self")?;
    let number = link.file_name().and_then(|name| name.to_str()?.parse().ok());
    number.ok_or_else(|| io::Error::other(format!("/proc/thread-self is {}", link.display())))
}

/// The keys of the address that was asked for.
fn target(protocol: &str, to: SocketAddr) -> Map<String, Value> {
    let ip = to.ip().to_canonical();
    let family = if ip.is_ipv4() { "ipv4" } else { "ipv6" };
    object(json!({
        "protocol": protocol, "family": family, "remote_address": ip.to_string(), "remote_port": to.port(),
    }))
}

/// The value of `v4_mapped`.
fn v4_mapped(to: SocketAddr) -> Value {
    if to.ip() == to.ip().to_canonical() { Value::Null } else { Value::Bool(true) }
}
