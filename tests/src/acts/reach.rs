//! Memory of another process: attached to, read, written, or opened.

use std::fs::File;
use std::io::{self, PipeReader, PipeWriter, Read, Write};
use std::path::PathBuf;

use clap::{Args, ValueEnum};
use rustix::process::{Pid, Signal, WaitOptions, kill_process, waitpid};
use serde_json::{Value, json};

use super::daemon::fork;
use super::{compat, deed, print, uring};
use crate::harness::expect::object;
use crate::outcome::{During, Outcome, failed};

/// By which means.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Way {
    /// `ptrace(PTRACE_ATTACH)`.
    Attach,
    /// `ptrace(PTRACE_ATTACH)`, of a thread that is not the first.
    AttachThread,
    /// `ptrace(PTRACE_ATTACH)` with the number of a 32-bit program.
    AttachCompat,
    /// `ptrace(PTRACE_SEIZE)`.
    Seize,
    /// `ptrace(PTRACE_TRACEME)`, by the other.
    Traceme,
    /// `process_vm_readv`.
    VmRead,
    /// `process_vm_writev`.
    VmWrite,
    /// An open of `/proc/PID/mem`.
    Mem,
    /// An open of `/proc/PID/environ`.
    Environ,
    /// The same by io_uring.
    EnvironUring,
    /// Opens of what gives no memory.
    Harmless,
}

/// Whose memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Whose {
    /// A child's.
    Child,
    /// The parent's.
    Parent,
    /// Another child's of the same parent.
    Sibling,
    /// This process's own.
    Own,
}

#[derive(Args)]
pub(crate) struct ReachArgs {
    /// How.
    #[arg(long)]
    way: Way,
    /// Whose.
    #[arg(long, default_value = "child")]
    whose: Whose,
    /// How often.
    #[arg(long, default_value_t = 1)]
    times: u64,
    /// It is expected to be refused with this errno.
    #[arg(long)]
    refused: Option<i32>,
}

/// What is read, and written: it is at one place in a process and in its children.
static BYTE: [u8; 1] = [7];

impl Way {
    const fn how(self) -> &'static str {
        match self {
            Self::Attach | Self::AttachThread | Self::AttachCompat | Self::Seize => "ptrace",
            Self::Traceme => "traceme",
            Self::VmRead => "process_vm_readv",
            Self::VmWrite => "process_vm_writev",
            Self::Mem => "proc_mem",
            Self::Environ | Self::EnvironUring | Self::Harmless => "proc_environ",
        }
    }
}

pub(super) fn perform(args: &ReachArgs) -> Outcome {
    match args.whose {
        Whose::Own => reach(args, std::process::id(), std::process::id(), None),
        Whose::Parent => {
            let parent = std::os::unix::process::parent_id();
            reach(args, parent, parent, Some("ancestor"))
        }
        Whose::Child => {
            let other = Other::start(args.way)?;
            reach(args, other.pid(), other.thread, Some("descendant"))?;
            other.end()
        }
        Whose::Sibling => {
            let other = Other::start(args.way)?;
            match fork()? {
                None => return reach(args, other.pid(), other.thread, Some("other")),
                Some(sibling) => {
                    let ended =
                        waitpid(Some(sibling), WaitOptions::empty()).during("wait for the sibling")?;
                    if ended.is_none_or(|(_, status)| status.exit_status() != Some(0)) {
                        return failed("the sibling failed");
                    }
                }
            }
            other.end()
        }
    }
}

fn reach(args: &ReachArgs, pid: u32, thread: u32, relation: Option<&str>) -> Outcome {
    for _ in 0..args.times {
        match (once(args.way, pid, thread)?, args.refused) {
            (Ok(()), None) => {}
            (Err(error), Some(errno)) if error.raw_os_error() == Some(errno) => {}
            (Ok(()), Some(_)) => return failed(format!("{:?} was not refused", args.way)),
            (Err(error), _) => return Err(error).during(format!("{:?}", args.way)),
        }
    }
    let told = args.way != Way::Harmless && args.whose != Whose::Own;
    let mut facts = object(json!({
        "outcome": if args.refused.is_some() { "refused" } else { "allowed" },
        "errno_number": args.refused,
        "relation": relation,
    }));
    // Whoever is kept out cannot look.
    if args.refused.is_none() {
        let exe = std::fs::read_link(format!("/proc/{pid}/exe"))?;
        facts.insert("target_exe".to_owned(), json!(exe.to_string_lossy()));
    }
    let facts = Value::Object(facts);
    let target = json!({ "how": args.way.how(), "target_pid": pid });
    let mut deed = deed(told.then_some("memory_access"), target, facts)?;
    deed.repeats = told.then_some(args.times - 1);
    print(&deed)?;
    Ok(())
}

/// What the kernel says to one try.
fn once(way: Way, pid: u32, thread: u32) -> Outcome<io::Result<()>> {
    let file = |name: &str| PathBuf::from(format!("/proc/{pid}/{name}"));
    Ok(match way {
        Way::Attach | Way::AttachThread => ptrace(libc::PTRACE_ATTACH, thread).and_then(|()| let_go(thread)),
        Way::AttachCompat => compat::attach(thread)?.and_then(|()| let_go(thread)),
        Way::Seize => ptrace(libc::PTRACE_SEIZE, thread),
        // The other has done it.
        Way::Traceme => Ok(()),
        Way::VmRead | Way::VmWrite => transfer(way, pid),
        Way::Mem => File::open(file("mem")).map(drop),
        Way::Environ => File::open(file("environ")).map(drop),
        Way::EnvironUring => uring::open(&file("environ").to_string_lossy())
            .map(drop)
            .map_err(|verdict| io::Error::other(format!("{verdict:?}"))),
        Way::Harmless => ["stat", "status", "cmdline", "maps", "auxv", "limits"]
            .iter()
            .try_for_each(|name| std::fs::read(file(name)).map(drop))
            .and_then(|()| std::fs::read_dir(file("fd")).map(drop)),
    })
}

fn ptrace(request: libc::c_uint, thread: u32) -> io::Result<()> {
    // SAFETY: these requests touch no memory of this process.
    let done = unsafe { libc::ptrace(request, thread, 0_u64, 0_u64) };
    if done < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Waits until a thread that was attached to has stopped, and lets it go.
fn let_go(thread: u32) -> io::Result<()> {
    let mut status = 0;
    // SAFETY: the status lives through the call.
    if unsafe { libc::waitpid(thread.cast_signed(), &raw mut status, libc::__WALL) } < 0 {
        return Err(io::Error::last_os_error());
    }
    ptrace(libc::PTRACE_DETACH, thread)
}

fn transfer(way: Way, pid: u32) -> io::Result<()> {
    let mut byte = BYTE;
    let (mut here, place) = (byte.as_mut_ptr(), BYTE.as_ptr());
    // A page that may be written to, at the same place in a child: the stack.
    let stack = (&raw mut here).cast::<libc::c_void>();
    let local = libc::iovec { iov_base: here.cast(), iov_len: 1 };
    let (local, pid) = (&raw const local, pid.cast_signed());
    // SAFETY: the lists and what they name here live through the call; the other process's is its own to lose.
    let done = unsafe {
        if way == Way::VmRead {
            let remote = libc::iovec { iov_base: place.cast_mut().cast(), iov_len: 1 };
            libc::process_vm_readv(pid, local, 1, &raw const remote, 1, 0)
        } else {
            let remote = libc::iovec { iov_base: stack, iov_len: 1 };
            libc::process_vm_writev(pid, local, 1, &raw const remote, 1, 0)
        }
    };
    if done == 1 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// A child that waits to be ended.
struct Other {
    child: Pid,
    /// The thread that is to be named.
    thread: u32,
    /// Held, so that it waits.
    _hold: PipeWriter,
}

impl Other {
    fn start(way: Way) -> Outcome<Self> {
        let (waits, hold) = io::pipe()?;
        let (mut says, tells) = io::pipe()?;
        let Some(child) = fork()? else {
            drop((hold, says));
            // A child that fails tells nothing, and its parent fails.
            let _ = wait(way, waits, tells);
            std::process::exit(0);
        };
        drop((waits, tells));
        let mut number = [0; 4];
        says.read_exact(&mut number).during("wait for the other process")?;
        Ok(Self { child, thread: u32::from_ne_bytes(number), _hold: hold })
    }

    fn pid(&self) -> u32 {
        self.child.as_raw_nonzero().get().cast_unsigned()
    }

    fn end(self) -> Outcome {
        kill_process(self.child, Signal::KILL).during("end the other process")?;
        waitpid(Some(self.child), WaitOptions::empty()).during("wait for the other process to end")?;
        Ok(())
    }
}

fn wait(way: Way, mut waits: PipeReader, mut tells: PipeWriter) -> io::Result<()> {
    if way == Way::Traceme {
        ptrace(libc::PTRACE_TRACEME, 0)?;
    }
    let mut tell = move || {
        // SAFETY: no arguments.
        let thread = unsafe { libc::gettid() }.cast_unsigned();
        tells.write_all(&thread.to_ne_bytes())?;
        waits.read(&mut [0]).map(drop)
    };
    if way == Way::AttachThread {
        std::thread::scope(|scope| scope.spawn(tell).join().unwrap_or(Ok(())))
    } else {
        tell()
    }
}
