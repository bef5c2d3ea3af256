//! A process whose parent has gone before it acts.

use std::io;
use std::net::SocketAddr;

use clap::Args;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::process::{Pid, PidfdFlags, WaitOptions, getpid, pidfd_open, waitpid};

use super::connect::{How, attempt};
use super::print;
use crate::harness::who::Who;
use crate::outcome::{During, Outcome};

#[derive(Args)]
pub(crate) struct DaemonArgs {
    /// Address and port.
    #[arg(long)]
    to: SocketAddr,
}

pub(super) fn perform(args: &DaemonArgs) -> Outcome {
    if let Some(middle) = fork()? {
        waitpid(Some(middle), WaitOptions::empty()).during("wait for the one between")?;
        return Ok(());
    }
    // In the one between; it knows who it is, and so does its child.
    let middle = Who::me()?;
    let handle = pidfd_open(getpid(), PidfdFlags::empty()).during("hold the one between")?;
    if fork()?.is_some() {
        return Ok(());
    }
    poll(&mut [PollFd::new(&handle, PollFlags::IN)], None).during("wait for the one between to end")?;
    let mut done = attempt(args.to, How::Blocking)?;
    done.who.ppid = middle.pid;
    done.who.ancestors = std::iter::once(middle.as_ancestor()).chain(middle.ancestors).collect();
    print(&done)?;
    Ok(())
}

/// Forks; the child's number in the parent.
pub(super) fn fork() -> Outcome<Option<Pid>> {
    // SAFETY: there is one thread, so the child may do all that the parent may.
    let pid = unsafe { libc::fork() };
    if pid < 0 {
        return Err(io::Error::last_os_error()).during("fork");
    }
    Ok(Pid::from_raw(pid))
}
