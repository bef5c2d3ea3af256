//! A program whose children act in other cgroups, or other namespaces, and execute nothing there.

use std::fs;
use std::io::Read;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};

use clap::Args;
use rustix::fs::{CWD, Mode, OFlags, openat};
use rustix::process::{Gid, Pid, PidfdFlags, Uid, WaitOptions, pidfd_open, waitpid};
use rustix::thread::{ThreadNameSpaceType, move_into_thread_name_spaces};
use serde::{Deserialize, Serialize};

use super::daemon::fork;
use super::print;
use crate::outcome::{During, Outcome, ensure};

/// `CLONE_INTO_CGROUP` of `linux/sched.h`.
const CLONE_INTO_CGROUP: u64 = 0x2_0000_0000;

#[derive(Args)]
pub(crate) struct EnterArgs {
    /// A file to open.
    #[arg(long)]
    path: PathBuf,
    /// The cgroup in which the others are.
    #[arg(long)]
    below: Option<PathBuf>,
    /// The others are there already, and stay.
    #[arg(long)]
    there: bool,
    /// Each child begins in its cgroup; else it is moved there.
    #[arg(long)]
    made: bool,
    /// Who acts, once it is there.
    #[arg(long)]
    uid: Option<u32>,
    /// Whose mount and network namespaces are entered.
    #[arg(long)]
    namespaces_of: Option<u32>,
    /// The child stays there until there is no more input.
    #[arg(long)]
    held: bool,
    /// Names of cgroups, in each of which one child acts; `.` is the one it is in.
    names: Vec<String>,
}

/// Who acted where.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Entered {
    /// The child.
    pub(crate) pid: u32,
    /// Name of its cgroup.
    pub(crate) name: String,
}

pub(super) fn perform(args: &EnterArgs) -> Outcome {
    let stays = |name: &str| name == ".";
    for name in &args.names {
        let cgroup = args.below.as_ref().filter(|_| !stays(name)).map(|below| below.join(name));
        if let Some(cgroup) = cgroup.as_ref().filter(|_| !args.there) {
            fs::create_dir(cgroup).during(cgroup.display())?;
        }
        let Some(child) = begin(args, cgroup.as_deref())? else {
            act(args, name, cgroup.as_deref())?;
            return Ok(());
        };
        let ended = waitpid(Some(child), WaitOptions::empty()).during("wait for the child")?;
        let code = ended.and_then(|(_, status)| status.exit_status());
        ensure(code == Some(0), || format!("the child in {name} ended with {code:?}"))?;
        if let Some(cgroup) = cgroup.filter(|_| !args.there) {
            fs::remove_dir(&cgroup).during(cgroup.display())?;
        }
    }
    Ok(())
}

/// Makes a child; `None` in it.
fn begin(args: &EnterArgs, cgroup: Option<&Path>) -> Outcome<Option<Pid>> {
    match cgroup.filter(|_| args.made) {
        Some(cgroup) => {
            let directory = openat(CWD, cgroup, OFlags::PATH | OFlags::DIRECTORY, Mode::empty());
            clone_into(&directory.during(cgroup.display())?)
        }
        None => fork(),
    }
}

/// A child that begins in a cgroup.
fn clone_into(cgroup: &OwnedFd) -> Outcome<Option<Pid>> {
    let arguments = libc::clone_args {
        flags: CLONE_INTO_CGROUP,
        pidfd: 0,
        child_tid: 0,
        parent_tid: 0,
        exit_signal: libc::SIGCHLD as u64,
        stack: 0,
        stack_size: 0,
        tls: 0,
        set_tid: 0,
        set_tid_size: 0,
        cgroup: cgroup.as_raw_fd() as u64,
    };
    // SAFETY: the arguments live through the call; the child has a copy of all memory, as after fork(2), and there is one
    // thread.
    let pid = unsafe { libc::syscall(libc::SYS_clone3, &raw const arguments, size_of_val(&arguments)) };
    if pid < 0 {
        return Err(std::io::Error::last_os_error()).during("clone3 into a cgroup");
    }
    Ok(Pid::from_raw(pid as i32))
}

/// In the child.
fn act(args: &EnterArgs, name: &str, cgroup: Option<&Path>) -> Outcome {
    if let Some(cgroup) = cgroup.filter(|_| !args.made) {
        fs::write(cgroup.join("cgroup.procs"), "0").during(cgroup.display())?;
    }
    if let Some(pid) = args.namespaces_of.and_then(|pid| Pid::from_raw(pid as i32)) {
        let of = pidfd_open(pid, PidfdFlags::empty()).during("hold whose namespaces are entered")?;
        let both = ThreadNameSpaceType::MOUNT | ThreadNameSpaceType::NETWORK;
        move_into_thread_name_spaces(of.as_fd(), both).during("enter namespaces")?;
    }
    if let Some(uid) = args.uid {
        let (user, group) = (Uid::from_raw(uid), Gid::from_raw(uid));
        rustix::thread::set_thread_res_gid(group, group, group).during("become another group")?;
        rustix::thread::set_thread_res_uid(user, user, user).during("become another user")?;
    }
    drop(openat(CWD, &args.path, OFlags::RDONLY, Mode::empty()).during("open")?);
    print(&Entered { pid: std::process::id(), name: name.to_owned() })?;
    if args.held {
        std::io::stdin().read_to_end(&mut Vec::new()).during("wait for the end of the input")?;
    }
    Ok(())
}
