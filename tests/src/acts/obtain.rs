//! Descriptors of a file that a process has not opened itself.

use std::fs::File;
use std::io::{self, IoSlice, IoSliceMut, Read, Write};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::net::UnixDatagram;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use clap::{Args, ValueEnum};
use rustix::fs::{CWD, Mode, OFlags, openat};
use rustix::io::FdFlags;
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage,
    SendFlags, recvmsg, sendmsg,
};
use rustix::process::{
    Pid, PidfdFlags, PidfdGetfdFlags, Resource, Rlimit, WaitOptions, getrlimit, pidfd_getfd, pidfd_open,
    setrlimit, waitpid,
};
use serde_json::{Value, json};

use super::daemon::fork;
use super::open::described;
use super::{deed, print};
use crate::outcome::{During, Outcome, failed};

/// By which means.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Way {
    /// A child sends it in a message.
    Message,
    /// A child sends it twice in one message.
    Pair,
    /// A child sends it in the second of two messages, which are received by one call.
    Messages,
    /// A child sends one that is good for its name alone.
    Name,
    /// It is taken from a child.
    Taken,
    /// It stays open in an exec.
    Exec,
    /// The same, far behind the others.
    ExecHigh,
    /// It is closed by an exec.
    ExecClosed,
    /// It is open until standard input ends.
    Hold,
    /// It was open already: a step of the others.
    Has,
}

#[derive(Args)]
pub(crate) struct ObtainArgs {
    /// How.
    #[arg(long)]
    way: Way,
    /// The file.
    #[arg(long)]
    path: PathBuf,
    /// Where it is open.
    #[arg(long)]
    descriptor: Option<RawFd>,
}

pub(super) fn perform(args: &ObtainArgs) -> Outcome {
    match args.way {
        Way::Message => message(&args.path, OFlags::RDONLY, 1),
        Way::Pair => message(&args.path, OFlags::RDWR, 2),
        Way::Name => message(&args.path, OFlags::PATH, 1),
        Way::Messages => messages(&args.path),
        Way::Taken => taken(&args.path),
        Way::Exec => exec(&args.path, None, true),
        Way::ExecHigh => exec(&args.path, Some(1_000), true),
        Way::ExecClosed => exec(&args.path, None, false),
        Way::Hold => hold(&args.path),
        Way::Has => has(args),
    }
}

fn open(path: &Path, flags: OFlags) -> Outcome<OwnedFd> {
    openat(CWD, path, flags | OFlags::CLOEXEC, Mode::empty()).during(format!("open {}", path.display()))
}

/// What a descriptor is told as; none where it must not be.
fn tell(file: BorrowedFd<'_>, how: Option<&str>) -> Outcome {
    let (path, mut facts) = described(file)?;
    let flags = rustix::fs::fcntl_getfl(file).during("ask for the flags")?;
    let access = if flags.contains(OFlags::RDWR) { "read_write" } else { "read" };
    facts.extend(crate::harness::expect::object(json!({ "access": access, "truncate": false, "how": how })));
    let event = how.filter(|_| !flags.contains(OFlags::PATH)).map(|_| "credential_access");
    Ok(print(&deed(event, json!({ "path": path }), Value::Object(facts))?)?)
}

/// A child that opens the file, gives `give` a chance with it, and lives until `end`.
fn child(path: &Path, flags: OFlags, give: impl FnOnce(&OwnedFd) -> Outcome) -> Outcome {
    let file = open(path, flags)?;
    tell(file.as_fd(), Some("open"))?;
    give(&file)
}

fn await_child(child: Pid) -> Outcome {
    let ended = waitpid(Some(child), WaitOptions::empty()).during("wait for the child")?;
    if ended.is_none_or(|(_, status)| status.exit_status() != Some(0)) {
        return failed("the child failed");
    }
    Ok(())
}

fn message(path: &Path, flags: OFlags, times: usize) -> Outcome {
    let (sender, receiver) = UnixDatagram::pair()?;
    let Some(pid) = fork()? else {
        return child(path, flags, |file| send(&sender, &vec![file.as_fd(); times]));
    };
    let received = receive(&receiver)?;
    if received.len() != times {
        return failed(format!("{} descriptors came", received.len()));
    }
    for file in &received {
        tell(file.as_fd(), Some("received"))?;
    }
    await_child(pid)
}

fn send(sender: &UnixDatagram, files: &[BorrowedFd<'_>]) -> Outcome {
    let mut room = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(2))];
    let mut control = SendAncillaryBuffer::new(&mut room);
    control.push(SendAncillaryMessage::ScmRights(files));
    sendmsg(sender, &[IoSlice::new(b"f")], &mut control, SendFlags::empty()).during("send a descriptor")?;
    Ok(())
}

fn receive(receiver: &UnixDatagram) -> Outcome<Vec<OwnedFd>> {
    let mut room = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(2))];
    let mut control = RecvAncillaryBuffer::new(&mut room);
    let (mut text, flags) = ([0; 1], RecvFlags::CMSG_CLOEXEC);
    recvmsg(receiver, &mut [IoSliceMut::new(&mut text)], &mut control, flags)
        .during("receive a descriptor")?;
    let messages = control.drain().filter_map(|message| match message {
        RecvAncillaryMessage::ScmRights(files) => Some(files),
        _ => None,
    });
    Ok(messages.flatten().collect())
}

/// `recvmmsg`, which rustix does not have.
fn messages(path: &Path) -> Outcome {
    #[repr(C, align(8))]
    struct Control([u8; 64]);
    let (sender, receiver) = UnixDatagram::pair()?;
    let Some(pid) = fork()? else {
        return child(path, OFlags::RDONLY, |file| {
            send(&sender, &[])?;
            send(&sender, &[file.as_fd()])
        });
    };
    await_child(pid)?;
    let (mut first, mut second) = ([0_u8; 8], [0_u8; 8]);
    let mut texts = [&mut first, &mut second]
        .map(|text| libc::iovec { iov_base: text.as_mut_ptr().cast(), iov_len: text.len() });
    let mut controls = [Control([0; 64]), Control([0; 64])];
    // SAFETY: plain numbers and pointers, for which zero is a value.
    let mut headers: [libc::mmsghdr; 2] = unsafe { std::mem::zeroed() };
    for ((header, text), control) in headers.iter_mut().zip(&mut texts).zip(&mut controls) {
        header.msg_hdr.msg_iov = text;
        header.msg_hdr.msg_iovlen = 1;
        header.msg_hdr.msg_control = control.0.as_mut_ptr().cast();
        header.msg_hdr.msg_controllen = control.0.len();
    }
    // SAFETY: the headers name memory that lives through the call.
    let received = unsafe {
        libc::recvmmsg(
            receiver.as_raw_fd(),
            headers.as_mut_ptr(),
            2,
            libc::MSG_CMSG_CLOEXEC,
            std::ptr::null_mut(),
        )
    };
    if received != 2 {
        return Err(io::Error::last_os_error()).during("receive two messages");
    }
    let [_, Control(bytes)] = &controls;
    let descriptor = bytes.get(16..20).and_then(|bytes| bytes.try_into().ok()).map(RawFd::from_ne_bytes);
    let Some(descriptor) = descriptor else { return failed("no descriptor came") };
    // SAFETY: the kernel has just given us this descriptor.
    let file = unsafe { OwnedFd::from_raw_fd(descriptor) };
    tell(file.as_fd(), Some("received"))
}

fn taken(path: &Path) -> Outcome {
    let (mut told, mut telling) = io::pipe()?;
    let (mut lived, living) = io::pipe()?;
    let Some(pid) = fork()? else {
        drop(living);
        return child(path, OFlags::RDONLY, |file| {
            telling.write_all(&file.as_raw_fd().to_ne_bytes())?;
            lived.read_to_end(&mut Vec::new())?;
            Ok(())
        });
    };
    drop(telling);
    let mut number = [0; 4];
    told.read_exact(&mut number)?;
    let child = pidfd_open(pid, PidfdFlags::empty()).during("open the child")?;
    let file = pidfd_getfd(&child, RawFd::from_ne_bytes(number), PidfdGetfdFlags::empty())
        .during("take a descriptor")?;
    tell(file.as_fd(), Some("stolen"))?;
    drop(living);
    await_child(pid)
}

/// Becomes another program, with the file open or not.
fn exec(path: &Path, at: Option<RawFd>, stays: bool) -> Outcome {
    let file = open(path, OFlags::RDONLY)?;
    tell(file.as_fd(), Some("open"))?;
    let file = match at {
        None => file,
        Some(lowest) => {
            let maximum = getrlimit(Resource::Nofile).maximum;
            let current = Some(u64::from(lowest.unsigned_abs()) + 1);
            setrlimit(Resource::Nofile, Rlimit { current, maximum }).during("allow more descriptors")?;
            rustix::io::fcntl_dupfd_cloexec(&file, lowest).during("move the descriptor")?
        }
    };
    if !stays {
        let failed = Command::new(std::env::current_exe()?).arg("--help").stdout(Stdio::null()).exec();
        return Err(failed).during("exec");
    }
    rustix::io::fcntl_setfd(&file, FdFlags::empty()).during("keep the descriptor")?;
    let descriptor = file.as_raw_fd().to_string();
    let failed = Command::new(std::env::current_exe()?)
        .args(["act", "obtain", "--way", "has", "--descriptor", &descriptor, "--path"])
        .arg(path)
        .exec();
    Err(failed).during("exec")
}

fn has(args: &ObtainArgs) -> Outcome {
    let Some(descriptor) = args.descriptor else { return failed("--descriptor is missing") };
    // SAFETY: whoever has started this program left it open, and it stays so.
    tell(unsafe { BorrowedFd::borrow_raw(descriptor) }, Some("inherited"))
}

fn hold(path: &Path) -> Outcome {
    let file = File::from(open(path, OFlags::RDONLY)?);
    // Twice: one process holds one credential.
    let _again = file.try_clone()?;
    tell(file.as_fd(), Some("held"))?;
    io::stdin().read_to_end(&mut Vec::new())?;
    Ok(())
}
