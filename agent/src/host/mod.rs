//! The host's files, as reached from where the agent runs.
//!
//! In a pod the agent has the host's process ids, but a root directory and mounts of its own. What it reads of the host
//! (credentials, homes, `/etc/passwd`, the machine id) it reads below [`HostRoot`]; what is its own (configuration,
//! further rules, the lock) below its own root.
//!
//! That directory is held open, because the way to it, `/proc/1/root`, takes CAP_SYS_PTRACE, which a running agent has
//! given up. Paths are resolved below it ([`directory`]): no link leads out.

use std::fs::{self, File};
use std::io::{self, Read};
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, FileType, Mode, OFlags, fstat, openat};

pub mod cgroups;
pub mod containers;
pub mod directory;
pub mod installed;
pub mod lookup;
pub(crate) mod mountinfo;
pub mod programs;
pub mod resolvers;
pub mod scripts;
pub mod tokens;
mod trusted;
pub mod units;

use crate::process::inventory::HostNamespaces;
use directory::{Directory, Opened};
use mountinfo::Relation;

/// Largest list of mounts that is read: a host with many containers has megabytes of it.
const MOUNTINFO_BYTES: u64 = 16 << 20;

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

/// The host's root directory, and what belongs to it.
#[derive(Debug)]
pub struct HostRoot {
    root: Option<Directory>,
    view: View,
    in_container: bool,
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
        let [own_text, init_text] = &texts;
        let relation = mountinfo::relation(own_text, init_text);
        let in_container = !matches!(relation, Relation::Same | Relation::Alike);
        let found =
            |root, view, mountinfo, namespaces| Self { root, view, in_container, mountinfo, namespaces };
        if relation == Relation::Same {
            // Then their mount namespace is one, and programs load from the host's user namespace alone.
            return Ok(found(Some(root_at(own)?), View::Own, own_mounts, of_agent?));
        }
        let link = proc.join("1/root");
        let reached = root_at(&link).and_then(|root| Ok((root, HostNamespaces::of_init(&proc)?)));
        Ok(match (reached, relation) {
            (Ok((root, namespaces)), _) => found(Some(root), View::Init, init_mounts, namespaces),
            (Err(error), Relation::Alike) => {
                let view = View::Alike(format!("{} cannot be opened: {error}", link.display()));
                found(Some(root_at(own)?), view, own_mounts, of_agent?)
            }
            (Err(error), _) => {
                let view = View::Unreachable(format!("{} cannot be opened: {error}", link.display()));
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
            root: Some(root_at(path)?),
            view: View::Own,
            in_container: false,
            mountinfo: proc.join("self/mountinfo"),
            namespaces: HostNamespaces::of_agent(proc)?,
        })
    }

    /// From where it is seen.
    pub const fn view(&self) -> &View {
        &self.view
    }

    /// Whether the agent's own root is another file system than the host's: a container's.
    pub const fn in_container(&self) -> bool {
        self.in_container
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

    /// That list as a file, by which the kernel tells whoever polls it of changes.
    ///
    /// # Errors
    /// If /proc does not show it.
    pub fn mountinfo_file(&self) -> io::Result<File> {
        File::open(&self.mountinfo)
    }

    /// The root directory.
    ///
    /// # Errors
    /// `PermissionDenied` where the host is not reached.
    pub fn directory(&self) -> io::Result<&Directory> {
        self.root.as_ref().ok_or_else(|| {
            io::Error::new(io::ErrorKind::PermissionDenied, "the root directory of the host is not reached")
        })
    }

    /// Opens a path of the host.
    ///
    /// # Errors
    /// As [`Directory::open`], and [`Self::directory`].
    pub fn open(&self, path: &Path, flags: OFlags) -> io::Result<Opened> {
        self.directory()?.open(path, flags)
    }

    /// Opens a file of the host for reading. What is no file at that path (a device, a pipe) is not even opened: that alone
    /// can do something.
    ///
    /// # Errors
    /// As [`Self::open`]; where it is no file.
    pub fn file(&self, path: &Path) -> io::Result<File> {
        read_found(&self.open(path, OFlags::PATH)?.file)
    }

    /// The beginning of a file of the host, `limit` bytes at most.
    ///
    /// # Errors
    /// As [`Self::open`], and those of reading.
    pub fn read(&self, path: &Path, limit: u64) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        let file = self.file(path)?;
        // Files of the kernel's own, of which some give what they hold once, have no size.
        if file.metadata()?.len() > 0 {
            file.take(limit).read_to_end(&mut bytes)?;
        }
        Ok(bytes)
    }
}

/// Opens for reading what was found with `O_PATH`, itself and not what its path leads to by now, if it is a file.
fn read_found(found: &OwnedFd) -> io::Result<File> {
    if FileType::from_raw_mode(fstat(found)?.st_mode) != FileType::RegularFile {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is no file"));
    }
    let itself = format!("/proc/self/fd/{}", found.as_raw_fd());
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    Ok(File::from(openat(CWD, itself, flags, Mode::empty())?))
}

/// Opens a directory to be a root, such as `/proc/1/root`.
fn root_at(path: &Path) -> io::Result<Directory> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    Ok(Directory::root(openat(CWD, path, flags, Mode::empty())?))
}

fn read_mountinfo(path: &Path) -> io::Result<Vec<u8>> {
    let mut text = Vec::new();
    fs::File::open(path)?.take(MOUNTINFO_BYTES).read_to_end(&mut text)?;
    Ok(text)
}

#[cfg(test)]
mod tests;
