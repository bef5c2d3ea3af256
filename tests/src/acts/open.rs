//! Opens, in every spelling.

use std::ffi::CString;
use std::fs::File;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use rustix::fs::{CWD, Mode, OFlags, ResolveFlags, openat, openat2};
use serde_json::{Value, json};

use super::{deed, print, uring};
use crate::outcome::{During, Outcome, failed};

/// By which call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Call {
    /// `openat(AT_FDCWD, path)`, as every libc does.
    Openat,
    /// `open(path)`, where the kernel has that call.
    Open,
    /// `openat(directory, name)`.
    Directory,
    /// `openat2`.
    Openat2,
    /// `name_to_handle_at` and `open_by_handle_at`.
    Handle,
    /// io_uring.
    Uring,
}

/// For what.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Access {
    Read,
    Write,
    ReadWrite,
    /// Write, emptied.
    Truncate,
    /// Write, made if it is not there.
    Create,
    /// `O_PATH`: a name, no content.
    Path,
}

#[derive(Args)]
pub(crate) struct OpenArgs {
    /// The file.
    #[arg(long)]
    path: PathBuf,
    /// By which call.
    #[arg(long, default_value = "openat")]
    call: Call,
    /// For what.
    #[arg(long, default_value = "read")]
    access: Access,
    /// How many times.
    #[arg(long, default_value_t = 1)]
    times: u32,
    /// The open is expected to fail.
    #[arg(long)]
    refused: bool,
    /// The open is expected to be refused for want of a permission, and to be told: by the file, or, where a directory
    /// above it refuses, by this path.
    #[arg(long)]
    attempt: Option<PathBuf>,
    /// This program is expected to: the first open is told, and so many others are counted, whoever makes them.
    #[arg(long, value_name = "REPEATS")]
    expected: Option<u64>,
    /// This program is expected to, and has been told: all are counted.
    #[arg(long)]
    counted: bool,
    /// Gives the path of this program to another file first.
    #[arg(long)]
    replaced_by: Option<PathBuf>,
}

impl Access {
    const fn flags(self) -> OFlags {
        match self {
            Self::Read => OFlags::RDONLY,
            Self::Write => OFlags::WRONLY,
            Self::ReadWrite => OFlags::RDWR,
            Self::Truncate => OFlags::WRONLY.union(OFlags::TRUNC),
            Self::Create => OFlags::WRONLY.union(OFlags::CREATE),
            Self::Path => OFlags::PATH,
        }
    }

    const fn name(self) -> &'static str {
        match self {
            Self::Read | Self::Path => "read",
            Self::Write | Self::Truncate | Self::Create => "write",
            Self::ReadWrite => "read_write",
        }
    }
}

pub(super) fn perform(args: &OpenArgs) -> Outcome {
    if let Some(other) = &args.replaced_by {
        std::fs::rename(other, std::env::current_exe()?).during(other.display())?;
    }
    for time in 0..args.times {
        if let Some(path) = &args.attempt {
            attempt(args, path)?;
            continue;
        }
        match (open(args), args.refused) {
            (Ok(file), false) => tell(args, &file, time > 0)?,
            (Err(_), true) => print(&deed(None, json!({ "path": args.path }), json!({}))?)?,
            (Ok(_), true) => return failed(format!("opening {} was not refused", args.path.display())),
            (Err(error), false) => return Err(error).during(format!("open {}", args.path.display())),
        }
    }
    Ok(())
}

fn attempt(args: &OpenArgs, path: &Path) -> Outcome {
    let Err(error) = open(args) else { return failed(format!("opening {} was allowed", path.display())) };
    let text = format!("{error:?}");
    // Where a directory refuses, the file cannot be looked at either.
    let data = rustix::fs::stat(path).ok();
    let facts = json!({
        "path_claimed": data.is_none(),
        "device": data.map(|data| device(&data)),
        "inode": data.map(|data| data.st_ino),
        "file_links": data.map(|data| data.st_nlink),
        "file_mode": data.map(|data| format!("{:06o}", data.st_mode)),
        "errno": "EACCES",
        "errno_number": libc::EACCES,
    });
    if !text.contains("ermission denied") {
        return failed(format!("opening {} failed otherwise: {text}", path.display()));
    }
    print(&deed(Some("credential_attempt"), json!({ "path": path }), facts)?)?;
    Ok(())
}

fn device(data: &rustix::fs::Stat) -> String {
    format!("{}:{}", rustix::fs::major(data.st_dev), rustix::fs::minor(data.st_dev))
}

fn open(args: &OpenArgs) -> Outcome<OwnedFd> {
    let OpenArgs { path, call, access, .. } = args;
    let (flags, mode) = (access.flags() | OFlags::CLOEXEC, Mode::RUSR | Mode::WUSR);
    Ok(match call {
        Call::Openat => openat(CWD, path, flags, mode)?,
        Call::Open => by_number(path, flags)?,
        Call::Directory => {
            let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
                return failed("a path with a directory is needed");
            };
            openat(File::open(parent)?, name, flags, mode)?
        }
        Call::Openat2 => {
            let mode = if *access == Access::Create { mode } else { Mode::empty() };
            openat2(CWD, path, flags, mode, ResolveFlags::NO_MAGICLINKS)?
        }
        Call::Handle => by_handle(path, flags)?,
        Call::Uring => uring::open(&path.to_string_lossy())?,
    })
}

fn c_path(path: &Path) -> Outcome<CString> {
    CString::new(path.as_os_str().as_bytes()).or_else(|_| failed("a path with a NUL"))
}

/// The oldest call, which libc does not make any more.
#[cfg(target_arch = "x86_64")]
fn by_number(path: &Path, flags: OFlags) -> Outcome<OwnedFd> {
    let path = c_path(path)?;
    // SAFETY: a path that lives through the call, and no memory that is written.
    let result = unsafe { libc::syscall(libc::SYS_open, path.as_ptr(), flags.bits(), 0o600) };
    descriptor(i32::try_from(result)?)
}

#[cfg(not(target_arch = "x86_64"))]
fn by_number(_path: &Path, _flags: OFlags) -> Outcome<OwnedFd> {
    crate::outcome::skipped("this processor's kernel has no `open`")
}

/// Room for a `struct file_handle` with the longest handle.
#[repr(C, align(8))]
struct Handle {
    bytes: u32,
    kind: i32,
    handle: [u8; libc::MAX_HANDLE_SZ as usize],
}

fn by_handle(path: &Path, flags: OFlags) -> Outcome<OwnedFd> {
    let mount = File::open(path.parent().unwrap_or(Path::new("/")))?;
    let path = c_path(path)?;
    let bytes = u32::try_from(libc::MAX_HANDLE_SZ)?;
    let mut handle = Handle { bytes, kind: 0, handle: [0; libc::MAX_HANDLE_SZ as usize] };
    let mut mount_id = 0;
    let pointer: *mut libc::file_handle = (&raw mut handle).cast();
    // SAFETY: the handle has the room that it names, and all pointers live through both calls.
    let result = unsafe {
        match libc::name_to_handle_at(libc::AT_FDCWD, path.as_ptr(), pointer, &raw mut mount_id, 0) {
            0 => libc::open_by_handle_at(mount.as_raw_fd(), pointer, flags.bits().cast_signed()),
            failed => failed,
        }
    };
    descriptor(result)
}

fn descriptor(result: i32) -> Outcome<OwnedFd> {
    if result < 0 {
        return Err(std::io::Error::last_os_error().into());
    }
    // SAFETY: the kernel has just given us this descriptor.
    Ok(unsafe { OwnedFd::from_raw_fd(result) })
}

/// What the descriptor itself says.
fn tell(args: &OpenArgs, file: &OwnedFd, is_repeat: bool) -> Outcome {
    let (path, mut facts) = described(file.as_fd())?;
    let is_counted = args.counted || (args.expected.is_some() && is_repeat);
    let event = (args.access != Access::Path && !is_counted).then_some("credential_access");
    let of_open = json!({
        "access": args.access.name(),
        "truncate": args.access == Access::Truncate,
        "how": "open",
        "expected": args.expected.map(|_| true),
    });
    facts.extend(crate::harness::expect::object(of_open));
    let mut deed = deed(event, json!({ "path": path }), Value::Object(facts))?;
    deed.repeats = args.expected.filter(|_| !is_counted);
    print(&deed)?;
    Ok(())
}

/// Path and facts of the file behind a descriptor.
pub(super) fn described(file: BorrowedFd<'_>) -> Outcome<(PathBuf, serde_json::Map<String, Value>)> {
    let path = std::fs::read_link(format!("/proc/self/fd/{}", file.as_raw_fd()))?;
    let data = rustix::fs::fstat(file)?;
    let facts = json!({
        "device": device(&data),
        "inode": data.st_ino,
        "file_links": data.st_nlink,
        "file_mode": format!("{:06o}", data.st_mode),
    });
    Ok((path, crate::harness::expect::object(facts)))
}
