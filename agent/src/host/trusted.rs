//! Files of the host that root alone can write: what they say is root's word.
//!
//! A file counts where it and every directory on the way are root's, and nobody else may write there; links are followed
//! where they are root's, within the host.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, Read as _};
use std::os::unix::ffi::OsStringExt as _;
use std::path::{Component, Path, PathBuf};

use rustix::fs::{Dir, FileType, OFlags, Stat, fstat};

use super::HostRoot;

/// Who may not write: the group and all others.
const OTHERS_WRITE: u32 = 0o022;

/// Why a file says nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Silent {
    /// It is not there.
    Absent,
    /// It is larger than is read.
    TooLarge,
    /// Others than root could have written it, or it is no file.
    Refused,
    /// It cannot be read, or not understood.
    Unreadable,
}

/// The whole of a file that is root's alone.
pub(super) fn read(host: &HostRoot, path: &str, limit: u64) -> Result<Vec<u8>, Silent> {
    let (file, size) = open(host, Path::new(path))?;
    if size > limit {
        return Err(Silent::TooLarge);
    }
    let mut bytes = Vec::new();
    // It may grow meanwhile.
    match file.take(limit + 1).read_to_end(&mut bytes) {
        Ok(_) if bytes.len() as u64 <= limit => Ok(bytes),
        Ok(_) => Err(Silent::TooLarge),
        Err(_) => Err(Silent::Unreadable),
    }
}

/// Opens a file, if all that leads to it is root's, links included.
pub(super) fn open(host: &HostRoot, path: &Path) -> Result<(File, u64), Silent> {
    check_way(host, path)?;
    // What is no file at that path (a pipe) does not block.
    let (file, status) = status(host, path, OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY)?;
    if FileType::from_raw_mode(status.st_mode) != FileType::RegularFile || !is_roots(&status) {
        return Err(Silent::Refused);
    }
    Ok((file, u64::try_from(status.st_size).unwrap_or(u64::MAX)))
}

fn status(host: &HostRoot, path: &Path, flags: OFlags) -> Result<(File, Stat), Silent> {
    let opened = host.open(path, flags).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => Silent::Absent,
        _ => Silent::Unreadable,
    })?;
    if opened.link_owners.iter().any(|owner| *owner != 0) {
        return Err(Silent::Refused);
    }
    let status = fstat(&opened.file).map_err(|_| Silent::Unreadable)?;
    Ok((File::from(opened.file), status))
}

fn is_roots(status: &Stat) -> bool {
    status.st_uid == 0 && status.st_mode & OTHERS_WRITE == 0
}

/// The names in a directory whose whole way is root's, in no order; none where there are more than `limit`.
pub(super) fn list(host: &HostRoot, path: &str, limit: usize) -> Result<Vec<OsString>, Silent> {
    let path = Path::new(path);
    check_way(host, path)?;
    let (directory, status) = status(host, path, OFlags::RDONLY | OFlags::DIRECTORY)?;
    if !is_roots(&status) {
        return Err(Silent::Refused);
    }
    let entries = Dir::read_from(&directory).map_err(|_| Silent::Unreadable)?;
    let names =
        entries.filter_map(|entry| Some(OsString::from_vec(entry.ok()?.file_name().to_bytes().into())));
    let names: Vec<OsString> = names.take(limit + 1).collect();
    if names.len() > limit { Err(Silent::TooLarge) } else { Ok(names) }
}

/// Whether all that leads to the last component is root's, links included.
fn check_way(host: &HostRoot, path: &Path) -> Result<(), Silent> {
    let parts: Vec<&OsStr> = path
        .components()
        .filter_map(|part| if let Component::Normal(name) = part { Some(name) } else { None })
        .collect();
    let Some((_, above)) = parts.split_last() else { return Err(Silent::Absent) };
    let mut at = PathBuf::from("/");
    for directory in std::iter::once(None).chain(above.iter().map(Some)) {
        at.extend(directory);
        let (_, status) = status(host, &at, OFlags::PATH | OFlags::DIRECTORY)?;
        if !is_roots(&status) {
            return Err(Silent::Refused);
        }
    }
    Ok(())
}
