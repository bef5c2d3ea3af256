//! Processes: what one is, told apart for ever.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use super::act::Namespaces;
use super::bytes::RawBytes;
use super::time::BootTime;

/// A process, told apart from every other that ever has its pid.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ProcessKey {
    /// Process id (thread group id) in the initial pid namespace.
    pub pid: u32,
    /// Start of its first thread.
    pub start: BootTime,
}

/// Users, groups, capabilities and login of a moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Hash)]
pub struct CredentialIds {
    /// Real user id.
    pub uid: u32,
    /// Real group id.
    pub gid: u32,
    /// Effective user id.
    pub euid: u32,
    /// Effective group id.
    pub egid: u32,
    /// Effective capabilities, a bit each.
    pub capabilities: u64,
    /// Login uid, kept across sudo and su; `None` where no login set one.
    pub login_uid: Option<u32>,
    /// Audit session; `None` where there is none.
    pub session_id: Option<u32>,
}

/// A file by its inode.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct FileRef {
    /// Device as the kernel holds it: major in the upper 12 bits, minor in the lower 20.
    pub device: u32,
    /// Inode number.
    pub inode: u64,
    /// Change time: seconds, nanoseconds. With device and inode it tells a replaced file.
    pub changed: (i64, u32),
    /// Hard links; 0 for an unlinked file (deleted, memfd).
    pub links: u32,
    /// `st_mode`.
    pub mode: u32,
}

/// The path of a file that has none: those of memfd_create(2) are roots of their own.
pub const NO_PATH: &[u8] = b"/";

/// Whether a file lies in memory alone, as memfd_create(2) makes them. In /proc it is called `memfd:NAME`, which is what its
/// maker says; root alone can have a file of that name in the host's root directory.
pub fn is_memfd(path: &[u8], links: u32) -> bool {
    links == 0 && (path == NO_PATH || path.starts_with(b"/memfd:"))
}

/// What kind of thing a standard stream is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub enum StdioKind {
    /// Closed.
    #[default]
    Closed,
    /// A pipe: both ends have one inode.
    Pipe,
    /// A socket.
    Socket,
    /// A character device: a terminal, /dev/null.
    CharacterDevice,
    /// A file.
    File,
    /// Something else.
    Other,
}

/// A standard stream at exec.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub struct Stdio {
    /// What it is.
    pub kind: StdioKind,
    /// Its device.
    pub device: u32,
    /// Its inode: joins the two ends of a pipe.
    pub inode: u64,
}

/// An environment marker: a variable whose name tells who started a process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Marker {
    /// Its name.
    pub name: RawBytes,
    /// Its value, for names whose value is kept.
    pub value: Option<RawBytes>,
}

/// What a process runs, as it was at exec.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct ExecImage {
    /// Path of the executable that was mapped (the interpreter of a script), from the root of the process.
    pub exe: RawBytes,
    /// Its inode.
    pub exe_file: FileRef,
    /// The path given to exec: for a script, the script.
    pub filename: RawBytes,
    /// The path of what runs it: differs from `filename` for a script.
    pub interpreter: RawBytes,
    /// Whether `filename` is a script.
    pub script: bool,
    /// Arguments.
    pub argv: Vec<RawBytes>,
    /// Number of arguments, also of those not in `argv`.
    pub argument_count: u32,
    /// Whether `argv` lacks arguments or the end of one.
    pub argv_truncated: bool,
    /// Working directory.
    pub cwd: RawBytes,
    /// Environment markers.
    pub markers: Vec<Marker>,
    /// Whether not all of the environment could be looked at.
    pub markers_truncated: bool,
    /// Whether the loader was told to preload.
    pub preload: bool,
    /// Standard input, output, error.
    pub stdio: [Stdio; 3],
    /// Permitted capabilities.
    pub capabilities_permitted: u64,
}

/// How a process came to be known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Origin {
    /// Its fork or exec was seen.
    Observed,
    /// It was there when the agent started; read from /proc.
    Inventoried,
    /// Its start was lost; made from the record that named it.
    Inferred,
}

/// The hierarchy of cgroups that names workloads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hierarchy {
    /// The kernel's number of it, as in `/proc/PID/cgroup`: 0 is version 2.
    pub number: u32,
    /// Where it is mounted.
    pub root: PathBuf,
}

/// A cgroup, of the hierarchy that names workloads.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Default)]
pub struct Cgroup {
    /// The kernel's id of it in that hierarchy.
    pub id: u64,
    /// Path below that hierarchy's root (`/system.slice/nginx.service`); empty where not known.
    pub path: RawBytes,
}

/// One run of an AI agent, from the process that began it: it ends with the last process that it started.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct AgentSession {
    /// Which agent (`claude-code`).
    pub product: Arc<str>,
    /// The process that began it.
    pub root: ProcessKey,
    /// The executable or the script by which the agent was known.
    pub program: RawBytes,
    /// Whether it was known by the contents of that executable, not by its path.
    pub copied: bool,
    /// Arguments by which it no longer asks before it acts.
    pub bypass: Vec<Arc<str>>,
    /// The agent that started this one.
    pub within: Option<Arc<AgentSession>>,
    /// Users and login of the process that began it, then.
    pub ids: CredentialIds,
    /// Its cgroup, then.
    pub cgroup: Arc<Cgroup>,
}

impl AgentSession {
    /// `PID.START`, the start in hundredths of a second since boot: /proc tells no more, so that the name stays the same
    /// where a session was seen to begin and where it was found running.
    pub fn id(&self) -> String {
        format!("{}.{}", self.root.pid, self.root.start.ns / 10_000_000)
    }
}

/// What a process is in an agent's session.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum AgentPart {
    /// The agent itself.
    Agent,
    /// Something that it runs.
    Tool,
    /// A server that speaks MCP to it.
    McpServer {
        /// Which: a package, or a program's name.
        server: Arc<str>,
    },
    /// Something that such a server runs.
    McpTool {
        /// Which server.
        server: Arc<str>,
    },
}

/// What an agent's session makes of a process. It is inherited over fork and exec, whoever its parent is by then.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct AgentRole {
    /// Whose session.
    pub session: Arc<AgentSession>,
    /// What it is there.
    pub part: AgentPart,
}

/// How somebody came in, or what runs a job for them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum LoginWay {
    /// sshd.
    Ssh,
    /// login(1), on a console or a terminal.
    Console,
    /// cron.
    Cron,
    /// atd.
    At,
    /// anacron.
    Anacron,
}

impl LoginWay {
    /// `ssh`, `console`, `cron`, `at`, `anacron`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Ssh => "ssh",
            Self::Console => "console",
            Self::Cron => "cron",
            Self::At => "at",
            Self::Anacron => "anacron",
        }
    }
}

/// The two ends of an SSH connection, as sshd told the program that it started.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SshConnection {
    /// The client.
    pub peer: SocketAddr,
    /// The host.
    pub local: SocketAddr,
}

/// One login, from the first program that a login server started for it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Login {
    /// How.
    pub way: LoginWay,
    /// From where, for SSH; `None` where it is not known.
    pub connection: Option<SshConnection>,
    /// Its terminal, below /dev (`pts/0`, `tty1`); `None` where it has none, or it is not known.
    pub tty: Option<Arc<str>>,
    /// Whether its first program, or the server that executed it with a user's rights, was found running: `connection` and
    /// `tty` are then what some program's environment says, which is a claim.
    pub found_running: bool,
    /// Login uid of the first program, at its exec.
    pub login_uid: Option<u32>,
    /// Audit session of the first program, at its exec.
    pub session_id: Option<u32>,
    /// The job that its first program begins, where cron, anacron or atd has executed it.
    pub job: Option<Job>,
}

/// A job of cron, anacron or atd.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Job {
    /// Whose: the user of its first program.
    pub uid: u32,
    /// What it is called; `None` for what at was given.
    pub name: Option<Arc<str>>,
    /// The command that it is: a line of a crontab. Redacted, as arguments are.
    pub command: RawBytes,
    /// Whether it runs the programs of a directory, each of which is a job.
    pub runs_parts: bool,
}

/// A job of a build system.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct CiJob {
    /// Which system (`github`).
    pub system: Arc<str>,
    /// Project and job as the system calls them, outermost first; empty where that is not known.
    pub names: Vec<Arc<str>>,
    /// The program of the runner.
    pub program: RawBytes,
    /// Whether the names may be the job's own choice, or those of a program that was found running.
    pub claimed: bool,
    /// Users and login of the first program, then.
    pub ids: CredentialIds,
    /// Its cgroup, then.
    pub cgroup: Arc<Cgroup>,
    /// The login that it was in.
    pub login: Option<Arc<Login>>,
}

/// A runner of a build system, which a process runs.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct CiRunner {
    /// Which system's.
    pub system: Arc<str>,
    /// Its program.
    pub program: RawBytes,
}

/// A login server of the host, which a process runs.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct LoginServer {
    /// Which.
    pub way: LoginWay,
    /// Whether it was found running with a user's rights: a fork of the server that has given up root's, or the same
    /// program, which that user has executed.
    pub doubtful: bool,
    /// The terminal that it serves, where its unit says so.
    pub tty: Option<Arc<str>>,
}

/// What a process is to logins. It is inherited over fork and exec, whoever its parent is by then.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct LoginState {
    /// It runs a login server of the host: what it executes next is somebody's login.
    pub server: Option<LoginServer>,
    /// The login that it is in.
    pub login: Option<Arc<Login>>,
    /// It runs a runner of a build system: what it executes next may be a job.
    pub runner: Option<Arc<CiRunner>>,
    /// The job of a build system that it is in.
    pub ci: Option<Arc<CiJob>>,
}

/// One life of a process between two execs: immutable, shared by the events that name it.
#[derive(Clone, Debug)]
pub struct Process {
    /// Which.
    pub key: ProcessKey,
    /// The process that made it. `CLONE_PARENT` gives a child another parent than its maker; the maker is meant. Where
    /// its fork was not seen: its parent at exec, or in /proc.
    pub parent: Option<ProcessKey>,
    /// Its id in its own pid namespace.
    pub namespaced_pid: u32,
    /// What it runs; redacted.
    pub image: Arc<ExecImage>,
    /// Users, groups, capabilities, login at that time.
    pub ids: CredentialIds,
    /// Its cgroup at that time.
    pub cgroup: Arc<Cgroup>,
    /// Its namespaces at that time.
    pub namespaces: Namespaces,
    /// How it is known.
    pub origin: Origin,
    /// When it ran `image`: its exec, or its fork where it did not exec.
    pub since: BootTime,
    /// How often it has called exec.
    pub exec_count: u32,
    /// What it is to an AI agent.
    pub role: Option<Arc<AgentRole>>,
    /// What it is to logins.
    pub login: LoginState,
}
