//! Programs that tell of what others do, ours and those to compare it with.

use std::ffi::CStr;
use std::fs;
use std::io;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use rustix::mount::{MountFlags, MountPropagationFlags, mount, mount_change};
use rustix::process::Signal;
use rustix::thread::{UnshareFlags, unshare_unsafe};

use super::rate::pause;
use super::usage::Usage;
use crate::harness::agent::{Agent, Options};
use crate::harness::child::{self, Captured, Running};
use crate::harness::setting::{LIMIT, Setting};
use crate::harness::stream::Stream;
use crate::outcome::{During, Outcome, failed};

/// What a peer gets to attach its hooks: none but ours says when it has.
const ATTACH: Duration = Duration::from_secs(4);
/// What bpftrace is told to print.
const BPFTRACE: &str = "tracepoint:syscalls:sys_enter_openat { printf(\"%d %s %s\\n\", pid, comm, str(args->filename)); } \
                        tracepoint:syscalls:sys_enter_connect { printf(\"%d %s connect\\n\", pid, comm); } \
                        tracepoint:syscalls:sys_enter_execve { printf(\"%d %s %s\\n\", pid, comm, str(args->filename)); }";
/// Written for the daemon: everything to a file of ours, nothing ever stops the host.
const AUDITD: &str = "local_events = yes\nwrite_logs = yes\nlog_format = RAW\nlog_group = root\nflush = NONE\n\
                      max_log_file = 1024\nmax_log_file_action = IGNORE\nspace_left = 2\nspace_left_action = IGNORE\n\
                      admin_space_left = 1\nadmin_space_left_action = IGNORE\ndisk_full_action = IGNORE\n\
                      disk_error_action = IGNORE\nname_format = NONE\n";

/// A peer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Peer {
    /// None: the null peer.
    Nobody,
    /// Ours.
    Telltale,
    /// The audit daemon, with rules for the same acts.
    Auditd,
    /// A program that needs nothing but to run.
    Program { name: String, command: Vec<String> },
}

/// What peers there could be, beside those that the user names.
pub(super) fn known() -> Vec<Peer> {
    let program = |name: &str, command: &[&str]| Peer::Program {
        name: name.to_owned(),
        command: command.iter().map(|word| (*word).to_owned()).collect(),
    };
    vec![
        Peer::Telltale,
        Peer::Auditd,
        program("bpftrace", &["bpftrace", "-e", BPFTRACE]),
        program("opensnoop (libbpf-tools)", &["opensnoop"]),
        program("tcpconnect (libbpf-tools)", &["tcpconnect"]),
        program("execsnoop (libbpf-tools)", &["execsnoop"]),
    ]
}

impl Peer {
    /// What it is called.
    pub(super) fn name(&self) -> &str {
        match self {
            Self::Nobody => "nobody",
            Self::Telltale => "telltale",
            Self::Auditd => "auditd",
            Self::Program { name, .. } => name,
        }
    }

    /// Starts it.
    ///
    /// # Errors
    /// Why it does not run here.
    pub(super) fn start(&self, setting: &Setting, credential: &Path) -> Outcome<Watcher> {
        match self {
            Self::Nobody => Ok(Watcher::default()),
            Self::Telltale => {
                let mut command = Agent::command(setting, &Options::default());
                command.env("RUNTIME_DIRECTORY", setting.scratch.path());
                Watcher::start(command, Some("\"agent_status\""))
            }
            Self::Auditd => auditd(setting, credential),
            Self::Program { command, .. } => {
                let Some((program, arguments)) = command.split_first() else { return failed("no command") };
                let program = child::find(program).during("not installed")?;
                let mut command = Command::new(program);
                command.args(arguments);
                with_tracing(&mut command);
                Watcher::start(command, None)
            }
        }
    }
}

/// A peer that runs. Dropped, it is asked to end, and what it changed is put back.
#[derive(Debug, Default)]
pub(super) struct Watcher {
    process: Option<Running>,
    told: Arc<AtomicU64>,
    audit: Option<Audit>,
    messages: Option<Stream<String>>,
}

impl Watcher {
    fn start(mut command: Command, ready: Option<&str>) -> Outcome<Self> {
        let (process, stdout, stderr) = Running::start(&mut command)?;
        let messages = Stream::reading("a peer", stderr, |line| line);
        let told = Arc::new(AtomicU64::new(0));
        let counted = told.clone();
        let ready = ready.map(str::to_owned);
        let (said, is_ready) = std::sync::mpsc::sync_channel(1);
        std::thread::spawn(move || count(stdout, &counted, ready.as_deref(), &said));
        let running = Self { process: Some(process), told, audit: None, messages: Some(messages) };
        // One that says when it sees is believed, the others get time.
        if is_ready.recv_timeout(ATTACH).is_err() {
            pause(Duration::ZERO)?;
        }
        match running.end() {
            Some(reason) => failed(reason),
            None => Ok(running),
        }
    }

    /// Why it has ended by itself, if it has.
    pub(super) fn end(&self) -> Option<String> {
        let (process, messages) = (self.process.as_ref()?, self.messages.as_ref()?);
        process.wait_exit(Duration::ZERO).ok()?;
        // Its last words; where it closes nothing they are few.
        let _ = messages.wait_end(LIMIT / 30);
        Some(format!("it ended: {}", messages.all().join(" ").trim()))
    }

    /// Bytes that it printed so far.
    pub(super) fn told(&self) -> u64 {
        let logged =
            self.audit.as_ref().map_or(0, |audit| fs::metadata(&audit.log).map_or(0, |log| log.len()));
        self.told.load(Ordering::Relaxed) + logged
    }

    /// Its processor time so far.
    pub(super) fn used(&self) -> Outcome<Usage> {
        self.process.as_ref().map_or(Ok(Usage::default()), |process| Usage::of(process.pid()))
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        // The rules first: without them the daemon has nothing more to do.
        let audit = self.audit.take();
        if let Some(audit) = &audit {
            audit.remove_rules();
        }
        if let Some(mut process) = self.process.take()
            && process.signal(Signal::INT).is_ok()
        {
            // What does not end is killed by the next drop.
            let _ = process.reap(ATTACH);
        }
        drop(audit);
    }
}

/// Reads to the end; says when the first line holds what is looked for.
fn count(
    mut source: impl io::Read,
    told: &AtomicU64,
    ready: Option<&str>,
    said: &std::sync::mpsc::SyncSender<()>,
) {
    let mut buffer = vec![0; 1 << 16];
    while let Ok(read @ 1..) = source.read(&mut buffer) {
        told.fetch_add(read as u64, Ordering::Relaxed);
        let read = buffer.get(..read).unwrap_or_default();
        if ready.is_some_and(|ready| memchr::memmem::find(read, ready.as_bytes()).is_some()) {
            // Nobody waits any more after the first.
            let _ = said.try_send(());
        }
    }
}

/// Where the kernel's tracing file system is not mounted, the command sees it mounted, and nobody else does.
fn with_tracing(command: &mut Command) {
    const TRACING: &CStr = c"/sys/kernel/tracing";
    if Path::new("/sys/kernel/tracing/events").exists() {
        return;
    }
    let mount_it = || -> io::Result<()> {
        // SAFETY: the child has one thread, and shares no descriptors or signals by it.
        unsafe { unshare_unsafe(UnshareFlags::NEWNS)? };
        mount_change(c"/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC)?;
        // Without it the program says itself what it lacks.
        let _ = mount(c"none", TRACING, c"tracefs", MountFlags::empty(), c"");
        Ok(())
    };
    // SAFETY: system calls alone, which allocate nothing and take no lock.
    unsafe { command.pre_exec(mount_it) };
}

/// The kernel's audit, switched on for a while.
#[derive(Debug)]
struct Audit {
    auditctl: PathBuf,
    log: PathBuf,
    backlog: String,
}

/// The daemon, with rules for opens of credentials, connects and execs.
fn auditd(setting: &Setting, credential: &Path) -> Outcome<Watcher> {
    let daemon = child::find("auditd").during("not installed")?;
    let auditctl = child::find("auditctl").during("not installed")?;
    let ask = |arguments: &[&str]| -> Outcome<String> {
        let finished = Captured::start(Command::new(&auditctl).args(arguments))?.finish(LIMIT)?;
        let text = format!("{}{}", finished.stdout, finished.stderr);
        if finished.status.success() {
            Ok(text)
        } else {
            failed(format!("auditctl {}: {text}", arguments.join(" ")))
        }
    };
    let status = ask(&["-s"])?;
    let key = |name: &str| status.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
    if key("enabled ") != Some("0") || key("pid ") != Some("0") || !ask(&["-l"])?.contains("No rules") {
        return failed("this host's audit is in use, and is left alone");
    }
    let directory = setting.path("audit");
    let log = directory.join("audit.log");
    fs::create_dir_all(&directory).during("make a directory for the audit's log")?;
    let configuration = format!("{AUDITD}log_file = {}\n", log.display());
    fs::write(directory.join("auditd.conf"), configuration).during("configure auditd")?;
    let backlog = key("backlog_limit ").unwrap_or("64").to_owned();
    let audit = Audit { auditctl: auditctl.clone(), log, backlog };
    let mut command = Command::new(daemon);
    command.args(["-n", "-c"]).arg(&directory);
    let mut running = Watcher::start(command, None)?;
    running.audit = Some(audit);
    let directory = credential.parent().unwrap_or(credential).display().to_string();
    ask(&["-b", "8192"])?;
    for rule in [
        &["-F", &format!("dir={directory}"), "-F", "perm=r"][..],
        &["-F", "arch=b64", "-S", "connect"],
        &["-F", "arch=b64", "-S", "execve"],
    ] {
        ask(&[&["-a", "always,exit"], rule, &["-k", "telltale-bench"]].concat())?;
    }
    Ok(running)
}

impl Audit {
    fn ask(&self, arguments: &[&str]) {
        // On the way out: what cannot be put back cannot be mended here either.
        let asked = Captured::start(Command::new(&self.auditctl).args(arguments));
        let _ = asked.and_then(|running| running.finish(LIMIT));
    }

    fn remove_rules(&self) {
        self.ask(&["-D", "-k", "telltale-bench"]);
    }
}

impl Drop for Audit {
    fn drop(&mut self) {
        self.ask(&["-e", "0"]);
        self.ask(&["-b", &self.backlog]);
    }
}
