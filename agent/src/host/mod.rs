//! The host's files, as reached from where the agent runs.
//!
//! In a pod the agent has the host's process ids, but a root directory and mounts of its own. What it reads of the host
//! (credentials, homes, `/etc/passwd`, the machine id) it reads below [`HostRoot`]; what is its own (configuration,
//! further rules, the lock) below its own root.
//!
//! The kernel resolves each path as if that directory were the root: an absolute link on the host leads to the host's
//! file, and no link leads out. The directory is held open, because the way to it, `/proc/1/root`, takes
//! CAP_SYS_PTRACE, which a running agent has given up. (The crate `pathrs` wraps the same system call with fallbacks
//! for kernels on which the agent cannot run; `cap-std` refuses links that leave where they should be followed within.)

use std::fs::{self, File};
use std::io::{self, Read};
use std::os::fd::{BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, Mode, OFlags, ResolveFlags, openat, openat2};
use rustix::io::Errno;

mod mountinfo;

use crate::process::inventory::HostNamespaces;
use mountinfo::Relation;

/// Largest list of mounts that is read: a host with many containers has megabytes of it.
const MOUNTINFO_BYTES: u64 = 16 << 20;
/// How often a path is tried again that a rename on its way made uncertain (openat2(2), EAGAIN).
const ATTEMPTS: usize = 16;

/// From where the host is seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum View {
    /// The agent's root is the host's.
    Own,
    /// Through the root of process 1: the agent has another mount namespace, or another root in it.
    Init,
    /// The agent's root shows the same file system, and process 1's cannot be reached for this reason.
    Alike(String),
    /// Not at all, for this reason.
    Unreachable(String),
}

/// Whether symbolic links are followed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Links {
    /// All of them, within the host's root.
    Followed,
    /// All but one at the end of the path, which is what is opened then (with `O_PATH`).
    NotLast,
}

/// The host's root directory, and what belongs to it.
#[derive(Debug)]
pub struct HostRoot {
    directory: Option<OwnedFd>,
    view: View,
    mountinfo: PathBuf,
    namespaces: HostNamespaces,
}

impl HostRoot {
    /// Looks for it, from the root directory of the agent (another one in tests), below which is `proc`.
    ///
    /// # Errors
    /// If /proc shows nothing of the agent itself.
    pub fn find(own: &Path) -> io::Result<Self> {
        let proc = own.join("proc");
        let [own_mounts, init_mounts] = ["self", "1"].map(|process| proc.join(process).join("mountinfo"));
        let texts = [&own_mounts, &init_mounts].map(|path| read_mountinfo(path).unwrap_or_default());
        let of_agent = HostNamespaces::of_agent(&proc);
        let found = |directory, view, mountinfo, namespaces| Self { directory, view, mountinfo, namespaces };
        let [own_text, init_text] = &texts;
        let relation = mountinfo::relation(own_text, init_text);
        if relation == Relation::Same {
            // Then their mount namespace is one, and programs load from the host's user namespace alone.
            return Ok(found(Some(directory(own)?), View::Own, own_mounts, of_agent?));
        }
        let root = proc.join("1/root");
        let reached = directory(&root).and_then(|root| Ok((root, HostNamespaces::of_init(&proc)?)));
        Ok(match (reached, relation) {
            (Ok((directory, namespaces)), _) => found(Some(directory), View::Init, init_mounts, namespaces),
            (Err(error), Relation::Alike) => {
                let view = View::Alike(format!("{} cannot be opened: {error}", root.display()));
                found(Some(directory(own)?), view, own_mounts, of_agent?)
            }
            (Err(error), _) => {
                let view = View::Unreachable(format!("{} cannot be opened: {error}", root.display()));
                found(None, view, init_mounts, of_agent?)
            }
        })
    }

    /// A directory that stands for a host's root, with the mounts and namespaces of the agent.
    ///
    /// # Errors
    /// If it cannot be opened, or /proc is not mounted.
    pub fn at(path: &Path) -> io::Result<Self> {
        let proc = Path::new("/proc");
        Ok(Self {
            directory: Some(directory(path)?),
            view: View::Own,
            mountinfo: proc.join("self/mountinfo"),
            namespaces: HostNamespaces::of_agent(proc)?,
        })
    }

    /// From where it is seen.
    pub const fn view(&self) -> &View {
        &self.view
    }

    /// The host's own namespaces; those of the agent where [`View`] is neither `Own` nor `Init`.
    pub const fn namespaces(&self) -> HostNamespaces {
        self.namespaces
    }

    /// The mounts of what is opened here, in the form of `/proc/PID/mountinfo`.
    ///
    /// # Errors
    /// If /proc does not show them.
    pub fn mountinfo(&self) -> io::Result<Vec<u8>> {
        read_mountinfo(&self.mountinfo)
    }

    /// Opens a path of the host.
    ///
    /// # Errors
    /// As openat2(2); `PermissionDenied` where the host is not reached at all.
    pub fn open(&self, path: &Path, flags: OFlags, links: Links) -> io::Result<OwnedFd> {
        let Some(directory) = &self.directory else {
            return Err(io::Error::new(
                io::ErrorKind::PermissionDenied,
                "the root directory of the host is not reached",
            ));
        };
        use std::os::fd::AsFd as _;
        let no_follow = if links == Links::NotLast { OFlags::NOFOLLOW } else { OFlags::empty() };
        open_resolved(directory.as_fd(), path, flags | no_follow, ResolveFlags::IN_ROOT)
    }

    /// Opens a file of the host for reading. What is no file at that path (a device, a pipe) does not block.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub fn file(&self, path: &Path) -> io::Result<File> {
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY;
        self.open(path, flags, Links::Followed).map(File::from)
    }

    /// The beginning of a file of the host, `limit` bytes at most.
    ///
    /// # Errors
    /// As [`Self::open`], and those of reading.
    pub fn read(&self, path: &Path, limit: u64) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        self.file(path)?.take(limit).read_to_end(&mut bytes)?;
        Ok(bytes)
    }
}

/// Opens `path`, from `directory`, as `resolve` says; never anything that a descriptor of /proc leads to.
///
/// # Errors
/// As openat2(2).
pub fn open_resolved(
    directory: BorrowedFd<'_>,
    path: &Path,
    flags: OFlags,
    resolve: ResolveFlags,
) -> io::Result<OwnedFd> {
    let resolve = resolve | ResolveFlags::NO_MAGICLINKS;
    let path = if path.as_os_str().is_empty() { Path::new(".") } else { path };
    for _ in 1..ATTEMPTS {
        match openat2(directory, path, flags | OFlags::CLOEXEC, Mode::empty(), resolve) {
            Err(Errno::AGAIN | Errno::INTR) => {}
            other => return other.map_err(io::Error::from),
        }
    }
    Ok(openat2(directory, path, flags | OFlags::CLOEXEC, Mode::empty(), resolve)?)
}

/// Opens a directory to start from, such as `/proc/1/root`.
fn directory(path: &Path) -> io::Result<OwnedFd> {
    Ok(openat(CWD, path, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?)
}

fn read_mountinfo(path: &Path) -> io::Result<Vec<u8>> {
    let mut text = Vec::new();
    fs::File::open(path)?.take(MOUNTINFO_BYTES).read_to_end(&mut text)?;
    Ok(text)
}

#[cfg(test)]
mod tests;
