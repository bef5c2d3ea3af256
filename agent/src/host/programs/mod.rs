//! What executables contain and where they are from, looked up beside the event path: a file may be large, and a file
//! system may answer late, or never.
//!
//! A file is read where it can be shown to be the one that the kernel ran: device, inode and change time are the same, before
//! and after. It is found by its path on the host, and, of what runs in a container, by its path below a mount of the same
//! file system. `/proc/PID/exe` would lead to what has no name any more (deleted, memfd) and to what is mounted nowhere on
//! the host; that takes CAP_SYS_PTRACE, which the running agent has given up.

mod dpkg;
mod elf;
mod packages;
mod rpm;
mod sqlite;

use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Read as _};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use md5::Md5;
use rustix::fs::{AtFlags, FileType, OFlags, Statx, StatxFlags, statx};
use sha2::{Digest as _, Sha256};

use super::HostRoot;
use super::lookup::Lookup;
use super::{mountinfo, read_found, trusted};
use crate::catalogue::mounts::{Mounts, device};
use crate::model::bytes::RawBytes;
use crate::model::program::{FileAnswer, FileFacts, FileKey, Package, ProgramFound, ProgramQuestion};

pub(super) use packages::{console_script, packaged_as};

/// Largest file that is read whole: the largest programs of agents have 300 MB.
const FILE_BYTES: u64 = 512 << 20;
/// Bytes that are read a second, so that looking costs no more than some percent of a CPU.
const BYTES_A_SECOND: u64 = 64 << 20;
/// Bytes that are read at once.
const PIECE: usize = 256 << 10;
/// Mounts of one file system that are tried.
const MOUNTS: usize = 16;

/// Looks programs up.
pub type ProgramLookup = Lookup<ProgramQuestion, ProgramFound>;

/// Starts to, with the privileges that the caller has now.
///
/// # Errors
/// Where no thread can be had.
pub fn start(host: Arc<HostRoot>) -> io::Result<ProgramLookup> {
    let mut looker = Looker { host, mounts: Mounts::default(), buffer: vec![0; PIECE] };
    Lookup::start("programs", move |question| looker.look(question))
}

struct Looker {
    host: Arc<HostRoot>,
    mounts: Mounts,
    buffer: Vec<u8>,
}

/// A file that is the one that was asked for.
struct Opened {
    file: File,
    size: u64,
    /// Whether its path is one of the host.
    is_hosts: bool,
}

impl Looker {
    fn look(&mut self, question: ProgramQuestion) -> ProgramFound {
        match question {
            ProgramQuestion::File { path, file } => {
                let answer = self.facts(&path, &file).map(|facts| FileAnswer::Found(Arc::new(facts)));
                ProgramFound::File { file, answer: answer.unwrap_or_else(|answer| answer) }
            }
            ProgramQuestion::Agent { session, mount, program, exe, exe_file } => {
                // Where the process has other mounts, its paths mean the same where its executable is the host's.
                let is_reached =
                    mount == self.host.namespaces().mount || self.is_hosts(self::path(&exe), &exe_file);
                let version = is_reached.then(|| packages::version(&self.host, &program)).flatten();
                ProgramFound::Agent { session, version: version.map(Into::into) }
            }
        }
    }

    fn is_hosts(&mut self, path: &Path, file: &FileKey) -> bool {
        self.open(path, file).is_ok()
    }

    fn facts(&mut self, path: &RawBytes, file: &FileKey) -> Result<FileFacts, FileAnswer> {
        let Opened { file: opened, size, is_hosts } = self.find(self::path(path), file)?;
        let build_id = elf::build_id(&opened).map(Into::into);
        let owners = if is_hosts && self.is_installed(path, file) {
            owners(&self.host, path.as_bytes())
        } else {
            Vec::new()
        };
        let digests =
            self.digests(&opened, size, owners.iter().any(|owner| matches!(owner.sum, Some(Sum::Md5(_)))))?;
        // What was read is what was asked for, if it is that still.
        if self.status(&opened).is_none_or(|found| !self.is_it(&found, file)) {
            return Err(FileAnswer::Replaced);
        }
        let (sha256, md5) = digests.map_or((None, None), |(sha256, md5)| (Some(sha256), md5));
        let package = package(owners, sha256.as_deref(), md5.as_deref());
        Ok(FileFacts { sha256: sha256.map(Into::into), build_id, package })
    }

    fn find(&mut self, path: &Path, file: &FileKey) -> Result<Opened, FileAnswer> {
        let mut answer = match self.open(path, file) {
            Ok(opened) => return Ok(opened),
            Err(answer) => answer,
        };
        for path in self.below_mounts(path, file.device) {
            match self.open(&path, file) {
                Ok(opened) => return Ok(Opened { is_hosts: false, ..opened }),
                Err(FileAnswer::NotFound) => {}
                Err(other) => answer = other,
            }
        }
        Err(answer)
    }

    /// Where a container's engine has mounted the root directory that `path` is of, as overlay file systems are.
    fn below_mounts(&self, path: &Path, of: u32) -> Vec<PathBuf> {
        let Ok(text) = self.host.mountinfo() else { return Vec::new() };
        let device = format!("{}:{}", of >> 20, of & 0xf_ffff);
        let is_its = |line: &mountinfo::Line<'_>| line.device == device.as_bytes() && line.directory == b"/";
        let Ok(below) = path.strip_prefix("/") else { return Vec::new() };
        mountinfo::lines(&text)
            .filter(is_its)
            .map(|line| PathBuf::from(OsStr::from_bytes(&mountinfo::unescape(line.point))))
            .filter(|point| *point != Path::new("/"))
            .map(|point| point.join(below))
            .take(MOUNTS)
            .collect()
    }

    fn open(&mut self, path: &Path, file: &FileKey) -> Result<Opened, FileAnswer> {
        let found = self.host.open(path, OFlags::PATH).map_err(|error| answer_of(&error))?;
        if self.status(&found.file).is_none_or(|found| !self.is_it(&found, file)) {
            return Err(FileAnswer::Replaced);
        }
        let opened = read_found(&found.file).map_err(|error| answer_of(&error))?;
        let status = self.status(&opened).filter(|found| self.is_it(found, file));
        let size = status.ok_or(FileAnswer::Replaced)?.stx_size;
        Ok(Opened { file: opened, size, is_hosts: true })
    }

    fn status(&mut self, file: &impl std::os::fd::AsFd) -> Option<Statx> {
        let found =
            statx(file, "", AtFlags::EMPTY_PATH, StatxFlags::BASIC_STATS | StatxFlags::MNT_ID).ok()?;
        // A mount that is not known may be younger than the list.
        if self.mounts.device(found.stx_mnt_id).is_none()
            && let Ok(mounts) = Mounts::of(&self.host)
        {
            self.mounts = mounts;
        }
        Some(found)
    }

    fn is_it(&self, found: &Statx, file: &FileKey) -> bool {
        let own = || device(found.stx_dev_major, found.stx_dev_minor);
        let on = self.mounts.device(found.stx_mnt_id).unwrap_or_else(own);
        let changed = (found.stx_ctime.tv_sec, found.stx_ctime.tv_nsec);
        let is_file = FileType::from_raw_mode(u32::from(found.stx_mode)) == FileType::RegularFile;
        is_file && (on, found.stx_ino, changed) == (file.device, file.inode, file.changed)
    }

    /// Whether root alone can have put this file there.
    fn is_installed(&self, path: &RawBytes, file: &FileKey) -> bool {
        let opened = trusted::open(&self.host, self::path(path));
        opened.is_ok_and(|(opened, _)| opened.metadata().is_ok_and(|found| found.ino() == file.inode))
    }

    /// SHA-256 and, where it is wanted, MD5 of what is there; none of a file that is too large.
    fn digests(
        &mut self,
        mut file: &File,
        size: u64,
        with_md5: bool,
    ) -> Result<Option<(String, Option<String>)>, FileAnswer> {
        if size > FILE_BYTES {
            return Ok(None);
        }
        let (mut sha256, mut md5) = (Sha256::new(), Md5::new());
        let begun = Instant::now();
        let mut read = 0_u64;
        loop {
            let length = match file.read(&mut self.buffer) {
                Ok(0) => break,
                Ok(length) => length,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(_) => return Err(FileAnswer::Unreadable),
            };
            read += length as u64;
            // It grows: it is not what was asked for.
            if read > FILE_BYTES {
                return Err(FileAnswer::Replaced);
            }
            let piece = self.buffer.get(..length).unwrap_or_default();
            sha256.update(piece);
            if with_md5 {
                md5.update(piece);
            }
            let due = Duration::from_nanos(read.saturating_mul(1_000_000_000) / BYTES_A_SECOND);
            std::thread::sleep(due.saturating_sub(begun.elapsed()));
        }
        Ok(Some((elf::hex(&sha256.finalize()), with_md5.then(|| elf::hex(&md5.finalize())))))
    }
}

/// A package that has a file.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Owner {
    name: String,
    version: String,
    /// Of the file, as the package brought it.
    sum: Option<Sum>,
}

/// What tells contents apart, in hex.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Sum {
    Md5(String),
    Sha256(String),
}

/// The packages of the host that list a file.
fn owners(host: &HostRoot, path: &[u8]) -> Vec<Owner> {
    // A host of dpkg may have a data base of rpm, of packages that were made for another.
    let owners = dpkg::owners(host, path);
    if owners.is_empty() { rpm::owners(host, path) } else { owners }
}

/// How packages may call a file: where `/bin` is a link to `/usr/bin`, older packages say `/bin/sh`.
fn names_of(path: &[u8]) -> impl Iterator<Item = &[u8]> {
    let merged = [&b"/usr/bin/"[..], b"/usr/sbin/", b"/usr/lib"];
    let without = path.strip_prefix(b"/usr").filter(|_| merged.iter().any(|start| path.starts_with(start)));
    std::iter::once(path).chain(without)
}

/// The package that has a file; of several, where one diverts the other's, the one whose contents it has.
fn package(mut owners: Vec<Owner>, sha256: Option<&str>, md5: Option<&str>) -> Option<Package> {
    let is_as_brought = |owner: &Owner| match owner.sum.as_ref()? {
        Sum::Md5(sum) => md5.map(|md5| md5 == sum),
        Sum::Sha256(sum) => sha256.map(|sha256| sha256 == sum),
    };
    if owners.len() > 1 {
        owners.retain(|owner| is_as_brought(owner) == Some(true));
    }
    let [owner] = &*owners else { return None };
    let modified = is_as_brought(owner).map(|is_it| !is_it);
    Some(Package { name: owner.name.as_str().into(), version: owner.version.as_str().into(), modified })
}

fn answer_of(error: &io::Error) -> FileAnswer {
    match error.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => FileAnswer::NotFound,
        _ => FileAnswer::Unreadable,
    }
}

fn path(bytes: &RawBytes) -> &Path {
    Path::new(OsStr::from_bytes(bytes.as_bytes()))
}

#[cfg(test)]
mod tests;
