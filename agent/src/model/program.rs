//! Files that processes run, and AI agents' packages, as they were looked up.

use std::sync::Arc;

use super::bytes::RawBytes;
use super::process::{FileRef, ProcessKey};

/// A file as it is until somebody changes it: a changed one is another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct FileKey {
    /// Device as the kernel holds it.
    pub device: u32,
    /// Inode number.
    pub inode: u64,
    /// Change time: seconds, nanoseconds.
    pub changed: (i64, u32),
}

impl From<&FileRef> for FileKey {
    fn from(file: &FileRef) -> Self {
        Self { device: file.device, inode: file.inode, changed: file.changed }
    }
}

/// What is to be looked up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ProgramQuestion {
    /// An executable.
    File {
        /// Its path, from the root of the process that runs it.
        path: RawBytes,
        /// Which file that was.
        file: FileKey,
    },
    /// Which version of an AI agent runs.
    Agent {
        /// The process with which its session began.
        session: ProcessKey,
        /// The mount namespace that `program` is of.
        mount: u32,
        /// The executable or the script by which the agent was known.
        program: RawBytes,
        /// Path of the executable of that process: where it is the same file for the host, so is `program`.
        exe: RawBytes,
        /// That executable.
        exe_file: FileKey,
    },
}

/// What was found: kept by recordings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ProgramFound {
    /// Of an executable.
    File {
        /// Which.
        file: FileKey,
        /// What it is.
        answer: FileAnswer,
    },
    /// Of an AI agent.
    Agent {
        /// The process with which its session began.
        session: ProcessKey,
        /// Its package's version; `None` where no file says.
        version: Option<Arc<str>>,
    },
}

/// What an executable was found to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FileAnswer {
    /// This.
    Found(Arc<FileFacts>),
    /// Nothing is at its path, as far as the host can be seen.
    NotFound,
    /// Another file is at its path, or it was changed since.
    Replaced,
    /// It cannot be read.
    Unreadable,
}

/// What a file contains and where it is from.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct FileFacts {
    /// SHA-256 of its contents, in hex; `None` where it is larger than is read.
    pub sha256: Option<Arc<str>>,
    /// The linker's build id, in hex.
    pub build_id: Option<Arc<str>>,
    /// The package that it was installed with.
    pub package: Option<Package>,
}

/// A package of the host.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Package {
    /// Its name.
    pub name: Arc<str>,
    /// Its version.
    pub version: Arc<str>,
    /// Whether the file is not what the package brought; `None` where the package does not say what that was.
    pub modified: Option<bool>,
}

/// A file with the contents of an AI agent's program, at another place.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct AgentCopy {
    /// The file.
    pub file: FileKey,
    /// Whose it is: who has run the agent's own program, on the host itself. What others run, and what containers run, is not
    /// said to be the agent: a user could lay out any program as an agent's.
    pub uid: u32,
    /// Which agent.
    pub product: Arc<str>,
}
