//! Renames, links, removals, and changes of mode, owner and length of a file.

use std::ffi::CString;
use std::fs::{self, File, Permissions};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{PermissionsExt, chown, fchown};
use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use rustix::fs::{AtFlags, CWD, RenameFlags, linkat, renameat_with, stat};
use serde_json::{Value, json};

use super::{deed, print};
use crate::outcome::{During, Outcome, failed};

/// The mode that is set.
const MODE: u32 = 0o640;
/// The group that is set.
const GROUP: u32 = 65_534;

/// What is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum What {
    /// `rename` to another name.
    Rename,
    /// `renameat2` to another name that must be free.
    RenameFree,
    /// Another file is renamed to the credential's name.
    Replace,
    /// `link`.
    Link,
    /// `linkat` by a descriptor.
    LinkDescriptor,
    /// `unlink`.
    Unlink,
    /// `chmod`.
    Chmod,
    /// `fchmod`.
    Fchmod,
    /// `chown`.
    Chown,
    /// `fchown`.
    Fchown,
    /// `truncate`.
    Truncate,
}

impl What {
    const fn how(self) -> &'static str {
        match self {
            Self::Rename | Self::RenameFree => "rename",
            Self::Replace => "replace",
            Self::Link | Self::LinkDescriptor => "link",
            Self::Unlink => "unlink",
            Self::Chmod | Self::Fchmod => "chmod",
            Self::Chown | Self::Fchown => "chown",
            Self::Truncate => "truncate",
        }
    }
}

#[derive(Args)]
pub(crate) struct AlterArgs {
    /// What is done.
    #[arg(long)]
    what: What,
    /// The credential.
    #[arg(long)]
    path: PathBuf,
    /// The other path.
    #[arg(long)]
    other: Option<PathBuf>,
    /// It is no credential, and nothing is told.
    #[arg(long)]
    innocent: bool,
    /// It is expected to be refused with this errno.
    #[arg(long)]
    refused: Option<i32>,
}

pub(super) fn perform(args: &AlterArgs) -> Outcome {
    let other = args.other.as_deref().unwrap_or(Path::new(""));
    // When its name is gone, the file cannot be looked at any more.
    let before = if args.what == What::Replace { stat(other)? } else { stat(&args.path)? };
    let done = alter(args.what, &args.path, other);
    let (told, after) = match (done, args.refused) {
        (Ok(()), None) => {
            let after = match args.what {
                What::Rename | What::RenameFree => stat(other)?,
                What::Unlink => {
                    let mut after = before;
                    after.st_nlink -= 1;
                    after
                }
                _ => stat(&args.path)?,
            };
            ("credential_access", after)
        }
        (Err(error), Some(errno)) if error.raw_os_error() == Some(errno) => ("credential_attempt", before),
        (Ok(()), Some(_)) => return failed(format!("{:?} was not refused", args.what)),
        (Err(error), _) => return Err(error).during(format!("{:?}", args.what)),
    };
    let how = args.what.how();
    let mut facts = json!({
        "device": format!("{}:{}", rustix::fs::major(after.st_dev), rustix::fs::minor(after.st_dev)),
        "inode": after.st_ino,
        "file_links": after.st_nlink,
        "file_mode": format!("{:06o}", after.st_mode),
        "other_path": args.other,
    });
    let more = match args.refused {
        None => {
            let access = if how == "truncate" { "write" } else { "none" };
            json!({ "access": access, "truncate": how == "truncate" })
        }
        Some(errno) => json!({ "path_claimed": false, "errno_number": errno }),
    };
    if let (Value::Object(facts), Value::Object(more)) = (&mut facts, more) {
        facts.extend(more);
    }
    let event = (!args.innocent).then_some(told);
    print(&deed(event, json!({ "path": args.path, "how": how }), facts)?)?;
    Ok(())
}

fn alter(what: What, path: &Path, other: &Path) -> io::Result<()> {
    match what {
        What::Rename => fs::rename(path, other),
        What::RenameFree => Ok(renameat_with(CWD, path, CWD, other, RenameFlags::NOREPLACE)?),
        What::Replace => fs::rename(other, path),
        What::Link => fs::hard_link(path, other),
        What::LinkDescriptor => {
            let held = rustix::fs::open(path, rustix::fs::OFlags::PATH, rustix::fs::Mode::empty())?;
            let spelled = format!("/proc/self/fd/{}", held.as_raw_fd());
            Ok(linkat(CWD, spelled.as_str(), CWD, other, AtFlags::SYMLINK_FOLLOW)?)
        }
        What::Unlink => fs::remove_file(path),
        What::Chmod => fs::set_permissions(path, Permissions::from_mode(MODE)),
        What::Fchmod => told_open(path)?.set_permissions(Permissions::from_mode(MODE)),
        What::Chown => chown(path, None, Some(GROUP)),
        What::Fchown => fchown(told_open(path)?, None, Some(GROUP)),
        What::Truncate => truncate(path),
    }
}

/// The file, opened. That is an event of its own.
fn told_open(path: &Path) -> io::Result<File> {
    let file = File::open(path)?;
    let data = rustix::fs::fstat(&file)?;
    let facts = json!({
        "inode": data.st_ino, "file_links": data.st_nlink, "access": "read", "truncate": false, "other_path": null,
    });
    print(&deed(Some("credential_access"), json!({ "path": path, "how": "open" }), facts)?)?;
    Ok(file)
}

fn truncate(path: &Path) -> io::Result<()> {
    let path = CString::new(path.as_os_str().as_bytes())?;
    // SAFETY: a path that lives through the call.
    if unsafe { libc::truncate(path.as_ptr(), 3) } == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
