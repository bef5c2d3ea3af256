//! What others on the host do to the agent: it says so, and tells what it still sees.

use std::fs;
use std::io;
use std::net::{Ipv4Addr, TcpStream, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use rustix::process::Signal;
use rustix::time::{ClockId, clock_gettime};

use super::{Case, own};
use crate::acts::Counts;
use crate::harness::agent::{Agent, Options};
use crate::harness::child::Captured;
use crate::harness::event::Event;
use crate::harness::ledger::equal;
use crate::harness::leftovers;
use crate::harness::pin_place::PinPlace;
use crate::harness::places;
use crate::harness::servers::{Server, V4};
use crate::harness::session::{Session, is_mark, mark, rung_of};
use crate::harness::setting::{CREDENTIALS, Rung, Setting};
use crate::harness::stream::Stream;
use crate::outcome::{During, Outcome, ensure, failed, skipped};

/// What is done while an agent is stopped: more than its rings hold, where paths are long.
const OPENS: &str = "5000";
/// Directories above the credential that make its path long.
const LONG: usize = 17;

/// All of them.
pub(super) fn cases() -> Vec<Case> {
    vec![
        own("trouble/detached", detached),
        own("trouble/unpinned", unpinned),
        own("trouble/tracing-off", tracing_off),
        own("trouble/another-tool", another_tool),
        own("trouble/stalled", stalled),
        own("trouble/full-map", full_map),
        own("trouble/suspended", suspended),
    ]
}

/// Waits for a status in which the agent says that something is so.
fn impaired(agent: &Agent, setting: &Setting, cause: &str, what: &str) -> Outcome {
    let says_it = |event: &Event| {
        let impairments = event.get("impairments").and_then(serde_json::Value::as_array);
        let is_it = |one: &serde_json::Value| {
            let is =
                |key: &str, wanted: &str| one.get(key).and_then(serde_json::Value::as_str) == Some(wanted);
            is("cause", cause) && is("what", what)
        };
        (event.is_phase("impaired") && impairments.is_some_and(|all| all.iter().any(is_it))).then_some(())
    };
    agent.events.wait(&format!("word of {what} being {cause}"), 0, setting.limit, says_it)
}

/// Opens a credential, and waits until that is told.
fn open_is_told(events: &Stream<Event>, setting: &Setting, file: &Path) -> Outcome {
    let from = events.len();
    drop(fs::File::open(file).during(file.display())?);
    let me = std::process::id();
    let is_it = |event: &Event| {
        (event.kind() == "credential_access" && event.pid() == Some(me) && event.text("how") == "open")
            .then_some(())
    };
    events.wait("the open", from, setting.limit, is_it)
}

fn credential(setting: &Setting) -> Outcome<PathBuf> {
    let file = setting.places.get("ext4")?.join("trouble").join(CREDENTIALS).join("key");
    places::write(&file, "secret\n")?;
    Ok(file)
}

/// Another root process takes a hook away.
fn detached(setting: &Setting) -> Outcome {
    let before = leftovers::loaded()?;
    let file = credential(setting)?;
    let agent = Agent::start(setting, &Options::default())?;
    detach_a_cgroup_link(agent.pid(), BPF_CGROUP_INET4_CONNECT)?;
    impaired(&agent, setting, "detached", "cgroup/connect4")?;
    let said = agent.said();
    ensure(said.contains("restart the agent"), || format!("it says what to do: {said}"))?;
    open_is_told(&agent.events, setting, &file)?;
    agent.stop(setting)?;
    leftovers::wait_gone(setting, &before)
}

/// Of `linux/bpf.h`.
const BPF_CGROUP_INET4_CONNECT: &str = "10";
const BPF_LINK_GET_FD_BY_ID: libc::c_int = 30;
const BPF_LINK_DETACH: libc::c_int = 34;

/// Detaches a process's link to a cgroup, by the type of its hook.
fn detach_a_cgroup_link(pid: u32, hook: &str) -> Outcome {
    let directory = format!("/proc/{pid}/fdinfo");
    let entries = fs::read_dir(&directory).during(&directory)?.flatten();
    let texts = entries.filter_map(|entry| fs::read_to_string(entry.path()).ok());
    let id = |text: String| {
        let value = |key: &str| Some(text.lines().find_map(|line| line.strip_prefix(key))?.trim().to_owned());
        let id = value("link_id:")?.parse::<u32>().ok()?;
        (value("cgroup_id:").is_some() && value("attach_type:")? == hook).then_some(id)
    };
    let Some(id) = texts.into_iter().find_map(id) else {
        return failed(format!("process {pid} has no link to the hook {hook}"));
    };
    let link = bpf(BPF_LINK_GET_FD_BY_ID, id).during("get the link")?;
    bpf(BPF_LINK_DETACH, u32::try_from(link).unwrap_or_default()).during("detach the link")?;
    // SAFETY: the kernel has just given this process the descriptor, and nobody else knows it.
    drop(unsafe { <std::os::fd::OwnedFd as std::os::fd::FromRawFd>::from_raw_fd(link) });
    Ok(())
}

/// A command of bpf(2) that takes a number.
fn bpf(command: libc::c_int, number: u32) -> io::Result<libc::c_int> {
    let attributes = [number, 0, 0, 0];
    // SAFETY: the kernel reads as many bytes as it is told that there are.
    let done =
        unsafe { libc::syscall(libc::SYS_bpf, command, &raw const attributes, size_of_val(&attributes)) };
    if done < 0 { Err(io::Error::last_os_error()) } else { Ok(done as libc::c_int) }
}

/// Another root process removes pins. Nothing is lost by that while the agent runs.
fn unpinned(setting: &Setting) -> Outcome {
    let before = leftovers::loaded()?;
    let file = credential(setting)?;
    let place = PinPlace::new(setting, "unpinned")?;
    let agent = Agent::start(setting, &place.options())?;
    let own = fs::read_dir(place.pins()).during("read the pins")?.flatten().map(|entry| entry.path());
    let mut own = own.filter(|path| path.join("link-connect4").exists());
    let Some(own) = own.next() else { return failed("nothing is pinned") };
    // By then it has looked.
    let status = agent.events.wait("a heartbeat", 0, setting.limit, |event| {
        (event.is_phase("heartbeat") || event.is_phase("impaired")).then(|| event.apart())
    })?;
    ensure(status.get("impairments").is_none(), || format!("nobody did anything: {}", status.brief()))?;
    for pin in ["link-connect4", "CPU_STATE"] {
        fs::remove_file(own.join(pin)).during(pin)?;
        impaired(&agent, setting, "unpinned", &own.join(pin).to_string_lossy())?;
    }
    open_is_told(&agent.events, setting, &file)?;
    let port = mark()?;
    agent.events.wait("a connection", 0, setting.limit, |event| is_mark(event, port).then_some(()))?;
    agent.stop(setting)?;
    let left = place.left()?;
    ensure(left.is_empty(), || format!("a stopped agent leaves pins: {left:?}"))?;
    leftovers::wait_gone(setting, &before)
}

/// Function tracing, which may be switched off for the whole host: trampolines are called no more.
struct Tracing;

impl Tracing {
    const SWITCH: &str = "/proc/sys/kernel/ftrace_enabled";

    fn off() -> io::Result<Self> {
        fs::write(Self::SWITCH, "0")?;
        Ok(Self)
    }
}

impl Drop for Tracing {
    fn drop(&mut self) {
        let _ = fs::write(Self::SWITCH, "1");
    }
}

fn tracing_off(setting: &Setting) -> Outcome {
    let file = credential(setting)?;
    let agent = Agent::start(setting, &Options::default())?;
    let start = agent.ready(setting)?;
    if rung_of(&start) == Some(Rung::Tracepoint) {
        return skipped("what serves opens here is no trampoline");
    }
    let tracing = match Tracing::off() {
        Ok(tracing) => tracing,
        Err(error) => return skipped(format!("this kernel does not let it be switched off: {error}")),
    };
    impaired(&agent, setting, "tracing_off", "fentry, fexit and lsm")?;
    drop(tracing);
    let recovered = |event: &Event| event.is_phase("recovered").then_some(());
    agent.events.wait("its recovery", 0, setting.limit, recovered)?;
    open_is_told(&agent.events, setting, &file)?;
    agent.stop(setting)?;
    Ok(())
}

/// Another tool with programs at the same hooks, which comes and goes: a second agent with a lock of its own.
fn another_tool(setting: &Setting) -> Outcome {
    let file = credential(setting)?;
    let server = Server::start(V4)?;
    let agent = Agent::start(setting, &Options::default())?;
    let acts = || -> Outcome<Counts> {
        let mut command = Command::new(&setting.me);
        command.args(["act", "flood", "--path"]).arg(&file).arg("--to").arg(server.address.to_string());
        command.args(["--opens", "20", "--connects", "20"]);
        let finished = Captured::start(&mut command)?.finish(setting.limit)?.well()?;
        serde_json::from_str(&finished.stdout).during("read what was done")
    };
    let directory = setting.path("another-tool");
    fs::create_dir_all(&directory).during(directory.display())?;
    let mut command = Agent::command(setting, &Options::default());
    let other = Agent::spawn_command(command.env("RUNTIME_DIRECTORY", &directory))?;
    other.ready(setting)?;
    let beside = acts()?;
    each_is_told_once(&other, setting, beside)?;
    other.stop(setting)?;
    each_is_told_once(&agent, setting, beside)?;
    each_is_told_once(&agent, setting, acts()?)?;
    agent.stop(setting)?;
    Ok(())
}

fn each_is_told_once(agent: &Agent, setting: &Setting, acts: Counts) -> Outcome {
    let port = mark()?;
    agent.events.wait("the mark", 0, setting.limit, |event| is_mark(event, port).then_some(()))?;
    let events = agent.events.all();
    let told = |kind: &str| {
        let is_it = |event: &&Event| event.kind() == kind && event.pid() == Some(acts.pid);
        events.iter().filter(is_it).count() as u64
    };
    equal("opens", acts.opens, told("credential_access"))?;
    equal("connections", acts.connects, told("connection"))?;
    equal("their ends", acts.connects, told("connection_end"))
}

/// Nobody reads the rings for as long as they can hold what comes, and longer: what was lost is told, to the unit.
fn stalled(setting: &Setting) -> Outcome {
    let mut directory = setting.places.get("ext4")?.join("stalled");
    directory.extend((0..LONG).map(|_| "d".repeat(200)));
    let file = directory.join(CREDENTIALS).join("key");
    places::write(&file, "secret\n")?;
    let session = Session::start(setting, &Options::default())?;
    let server = Server::start(V4)?;
    session.agent.signal(Signal::STOP)?;
    let mut command = Command::new(&setting.me);
    command.args(["act", "flood", "--path"]).arg(&file).arg("--to").arg(server.address.to_string());
    command.args(["--opens", OPENS, "--connects", "0"]);
    let flooded = Captured::start(&mut command)?.finish(setting.patience());
    session.agent.signal(Signal::CONT)?;
    let finished = flooded?.well()?;
    let counts: Counts = serde_json::from_str(&finished.stdout).during("read what was done")?;
    session.settle(setting)?;
    let told = session.stop(setting)?;
    told.balanced()?;
    let of_it = |event: &Event| event.kind() == "credential_access" && event.pid() == Some(counts.pid);
    let printed = told.count_printed(of_it);
    let lost = told.gaps("kernel", Some("file"));
    ensure(lost > 0 && printed > 0, || format!("{printed} were told and {lost} lost: the rings held all"))?;
    equal("opens = events + lost", counts.opens, printed + lost)
}

/// More peers than the kernel side can fold datagrams to: those beyond are told each time, and nothing is lost for that.
fn full_map(setting: &Setting) -> Outcome {
    const PEERS: u32 = 16_384 + 300;
    let agent = Agent::start(setting, &Options::default())?;
    let sender = UdpSocket::bind((V4, 0)).during("send")?;
    // Addresses of the loopback network, of which nobody listens at this port.
    let peer = |number: u32| (Ipv4Addr::from_bits(Ipv4Addr::new(127, 9, 0, 1).to_bits() + number), 9);
    for number in (0..PEERS).chain([PEERS - 1]) {
        sender.send_to(b"d", peer(number)).during("send")?;
    }
    let events = agent.events.clone();
    agent.stop(setting)?;
    let (me, events) = (u64::from(std::process::id()), events.all());
    // Read are only those that are looked for: there are many.
    let mine = |event: &&Event| event.mentions("pid", me) && event.mentions("remote_port", 9);
    let told = events.iter().filter(mine).filter(|event| event.apart().kind() == "datagram_flow").count();
    let gaps = events.iter().filter(|event| event.line.contains(r#""event":"gap""#));
    let lost: u64 = gaps.filter_map(|gap| gap.number("lost")).sum();
    equal("first datagrams and one again", u64::from(PEERS) + 1, told as u64 + lost)?;
    let stop = events.iter().rev().find(|event| event.kind() == "agent_status");
    let full = stop.and_then(|stop| stop.counter("kernel.datagram.map_full"));
    ensure(full >= Some(300), || format!("the map was full {full:?} times"))
}

/// The host sleeps for a while: what happens before and after is told with its time, and what lasts is as long as it was.
fn suspended(setting: &Setting) -> Outcome {
    const ALARM: &str = "/sys/class/rtc/rtc0/wakealarm";
    if !setting.is_guest() {
        return skipped("it has the machine sleep: in a virtual machine alone");
    }
    let file = credential(setting)?;
    let server = Server::start(V4)?;
    let session = Session::start(setting, &Options::default())?;
    let held = TcpStream::connect(server.address).during("connect")?;
    open_is_told(&session.collector.events, setting, &file)?;

    let before = asleep();
    if let Err(error) = fs::write(ALARM, "+2") {
        return skipped(format!("nothing would wake this machine: {error}"));
    }
    fs::write("/sys/power/state", "mem").during("sleep")?;
    let slept = asleep().saturating_sub(before);
    ensure(slept > Duration::from_millis(500), || format!("the machine slept for {slept:?} alone"))?;

    let from = session.collector.events.len();
    let (began, began_at) = (clock(ClockId::Boottime), wall(setting)?);
    open_is_told(&session.collector.events, setting, &file)?;
    let (ended, ended_at) = (clock(ClockId::Boottime), wall(setting)?);
    let me = std::process::id();
    let is_mine = |event: &Event| event.kind() == "credential_access" && event.pid() == Some(me);
    let opened = session.collector.events.wait("the open after the sleep", from, setting.limit, |event| {
        is_mine(event).then(|| event.apart())
    })?;
    let boot = Duration::from_nanos(opened.number("boot_ns").unwrap_or_default());
    ensure((began..=ended).contains(&boot), || format!("{boot:?} is not from {began:?} to {ended:?}"))?;
    let second = opened.text("time").get(..began_at.len()).unwrap_or_default();
    ensure(*began_at <= *second && *second <= *ended_at, || {
        format!("{second} is not from {began_at} to {ended_at}")
    })?;

    drop(held);
    let ended = session.collector.events.wait("the end of the connection", from, setting.limit, |event| {
        (event.kind() == "connection_end" && event.pid() == Some(me)).then(|| event.apart())
    })?;
    let lasted = Duration::from_nanos(ended.number("duration_ns").unwrap_or_default());
    ensure(lasted > slept, || format!("it lasted {lasted:?}, and the machine slept for {slept:?}"))?;
    session.stop(setting)?.balanced()
}

fn clock(clock: ClockId) -> Duration {
    let time = clock_gettime(clock);
    Duration::new(time.tv_sec.unsigned_abs(), u32::try_from(time.tv_nsec).unwrap_or_default())
}

/// For how long the machine has slept since it was booted.
fn asleep() -> Duration {
    clock(ClockId::Boottime).saturating_sub(clock(ClockId::Monotonic))
}

/// The second that it is, as events write it.
fn wall(setting: &Setting) -> Outcome<String> {
    let mut date = Command::new("date");
    let finished = Captured::start(date.args(["-u", "+%Y-%m-%dT%H:%M:%S"]))?.finish(setting.limit)?.well()?;
    Ok(finished.stdout.trim().to_owned())
}
