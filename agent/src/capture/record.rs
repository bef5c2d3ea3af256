//! Writes a recording: the raw stream of the ring, for replay and for tests. The format is that of [`super::frame`].
//!
//! The ring's exec records hold arguments as the processes had them, secrets included. So they are redacted before
//! they are written; of a record that claims to be an exec and cannot be read, only the header is kept.
//!
//! A recording that cannot go on (a full disk) stops, says so once, and counts what it no longer holds; whoever feeds
//! it goes on.

use std::fs::{self, File, OpenOptions};
use std::hash::{BuildHasher, Hasher, RandomState};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use agent_common::records::{Header, kind as record_kind};

use super::cluster::encode_cluster;
use super::decode;
use super::exec;
use super::frame::{self, kind};
use super::inventory::{
    Host, encode_container, encode_host, encode_judgement, encode_process, encode_program, encode_script,
    encode_unit,
};
use super::ledger::KernelCounters;
use super::peer::encode_peer;
use super::sequence::Series;
use crate::host::installed::Judgement;
use crate::model::bytes::RawBytes;
use crate::model::container::ContainerFound;
use crate::model::kube::ClusterNews;
use crate::model::process::{Cgroup, Process};
use crate::model::program::ProgramFound;
use crate::model::time::BootTime;
use crate::model::unit::UnitFound;
use crate::process::scripts::ScriptTarget;
use crate::session::TagNews;

/// Takes the secrets out of an argv.
pub type Redactor = Box<dyn Fn(&[RawBytes]) -> Vec<RawBytes> + Send>;

/// Bytes gathered before they are written: 64 KiB is some 400 records a system call.
const BUFFER_BYTES: usize = 64 << 10;

/// Where a recording is written to. A file; in tests, something that fails.
pub trait RecordFile {
    /// Writes at the end; may take fewer bytes than given.
    fn append(&mut self, bytes: &[u8]) -> io::Result<usize>;
    /// Makes what was written survive a crash.
    fn sync(&mut self) -> io::Result<()>;
}

impl RecordFile for File {
    fn append(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.write(bytes)
    }

    fn sync(&mut self) -> io::Result<()> {
        self.sync_data()
    }
}

/// Why a recording could not begin, or stopped.
#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    /// The file is there already: a recording is never overwritten.
    #[error("cannot record to {}: it exists; remove it or choose another name", path.display())]
    Exists {
        /// The file.
        path: PathBuf,
    },
    /// The file could not be made.
    #[error("cannot record to {}: {source}; choose a directory that exists and is writable", path.display())]
    Create {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// No room on the disk, or a quota or size limit was reached.
    #[error(
        "recording stopped, no room ({source}): what was written can be replayed; free space and record to a new file"
    )]
    NoSpace {
        /// As the system said it.
        source: io::Error,
    },
    /// Another failure to write.
    #[error("recording stopped, cannot write ({source}): what was written can be replayed")]
    Write {
        /// As the system said it.
        source: io::Error,
    },
    /// It had stopped before its end.
    #[error("the recording is not whole: {recorded} records are in it, {not_recorded} are not; {source}")]
    Incomplete {
        /// Records in it.
        recorded: u64,
        /// Records that it lacks.
        not_recorded: u64,
        /// Why it stopped.
        source: Box<RecordError>,
    },
    /// The facts of the host cannot be encoded or are too large.
    #[error("cannot record: the facts of this host do not fit a frame of {} bytes", frame::MAX_PAYLOAD)]
    Host,
}

impl RecordError {
    /// Stable name of the cause, for what was lost by it.
    pub const fn cause(&self) -> &'static str {
        match self {
            Self::NoSpace { .. } => "no_room",
            _ => "cannot_write",
        }
    }
}

impl From<io::Error> for RecordError {
    fn from(source: io::Error) -> Self {
        match source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge => {
                Self::NoSpace { source }
            }
            _ => Self::Write { source },
        }
    }
}

/// What a recording holds, and what it does not.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RecordCounts {
    /// Records written whole.
    pub recorded: u64,
    /// Records of which only the header was kept.
    pub withheld: u64,
    /// Records not written, because the recording had stopped.
    pub not_recorded: u64,
    /// Inventoried processes left out: they do not fit a frame, or the recording had stopped.
    pub processes_left_out: u64,
}

/// What a frame in the buffer is, for the count of what was written.
#[derive(Clone, Copy)]
enum Content {
    Record,
    Withheld,
    Process,
    Other,
}

/// A recording that is being written.
pub struct Recorder<W> {
    out: W,
    nonce: u32,
    redact: Redactor,
    buffer: Vec<u8>,
    /// Where each frame in the buffer ends, and what it is.
    frames: Vec<(usize, Content)>,
    stopped: bool,
    counts: RecordCounts,
}

impl Recorder<File> {
    /// Begins a recording in a new file that only its owner may read, with the processes that run. An existing file is
    /// never touched, a symbolic link never followed; where there is no room for the beginning, no file is left.
    pub fn create<'a>(
        path: &Path,
        host: &Host,
        processes: impl IntoIterator<Item = &'a Process>,
        redact: Redactor,
    ) -> Result<Self, RecordError> {
        let file =
            OpenOptions::new().write(true).create_new(true).mode(0o600).open(path).map_err(|source| {
                let path = path.to_owned();
                match source.kind() {
                    io::ErrorKind::AlreadyExists => RecordError::Exists { path },
                    _ => RecordError::Create { path, source },
                }
            })?;
        // The standard library's random state is seeded by the system: enough that nobody can foretell the nonce.
        let nonce = RandomState::new().build_hasher().finish() as u32;
        let begun = Self::begin(file, nonce, host, redact).and_then(|mut recorder| {
            processes.into_iter().try_for_each(|process| recorder.process(process))?;
            recorder.flush()?;
            Ok(recorder)
        });
        begun.inspect_err(|_| {
            // The file is ours: it was made above.
            let _ = fs::remove_file(path);
        })
    }
}

impl<W: RecordFile> Recorder<W> {
    /// Begins a recording.
    pub fn begin(out: W, nonce: u32, host: &Host, redact: Redactor) -> Result<Self, RecordError> {
        let mut recorder = Self {
            out,
            nonce,
            redact,
            buffer: frame::prologue(nonce),
            frames: Vec::new(),
            stopped: false,
            counts: RecordCounts::default(),
        };
        let host = encode_host(host).map_err(|_| RecordError::Host)?;
        if !frame::append(&mut recorder.buffer, nonce, kind::HOST, &host) {
            return Err(RecordError::Host);
        }
        recorder.flush()?;
        Ok(recorder)
    }

    /// Adds a process that ran before the recording began.
    pub fn process(&mut self, process: &Process) -> Result<(), RecordError> {
        match encode_process(process) {
            Ok(payload) => self.add(kind::PROCESS, &payload, Content::Process),
            Err(_) => {
                self.counts.processes_left_out += 1;
                Ok(())
            }
        }
    }

    /// Adds a ring record. The error of a recording that stops is returned once; after it, records are only counted.
    pub fn record(&mut self, bytes: &[u8]) -> Result<(), RecordError> {
        let meta = decode::meta(bytes).ok();
        let record = meta.and_then(|meta| bytes.get(..meta.length));
        let known = meta.is_some_and(|meta| meta.family().is_some());
        match (record, meta) {
            (Some(record), Some(meta)) if meta.kind == record_kind::EXEC => {
                match exec::with_argv(record, &*self.redact) {
                    Ok(redacted) => self.add(kind::RECORD, &redacted, Content::Record),
                    Err(_) => self.withhold(record),
                }
            }
            (Some(record), _) if known => self.add(kind::RECORD, record, Content::Record),
            // A damaged kind may be that of an exec.
            _ => self.withhold(bytes),
        }
    }

    /// Adds what was found of an executable, for the records that follow. What does not fit a frame is left out: a replay
    /// then tells each of its reads.
    pub fn executable(&mut self, judgement: &Judgement) -> Result<(), RecordError> {
        match encode_judgement(judgement) {
            Ok(payload) => self.add(kind::EXECUTABLE, &payload, Content::Other),
            Err(_) => Ok(()),
        }
    }

    /// Adds where a script's path leads, as the agent learnt it now. What does not fit a frame is left out.
    pub fn script(&mut self, found: &ScriptTarget) -> Result<(), RecordError> {
        match encode_script(found) {
            Ok(payload) => self.add(kind::SCRIPT, &payload, Content::Other),
            Err(_) => Ok(()),
        }
    }

    /// Adds what was found of a container, as the agent learnt it now. What does not fit a frame is left out.
    pub fn container(&mut self, found: &ContainerFound) -> Result<(), RecordError> {
        match encode_container(found) {
            Ok(payload) => self.add(kind::CONTAINER, &payload, Content::Other),
            Err(_) => Ok(()),
        }
    }

    /// Adds what was found of a unit, as the agent learnt it now. What does not fit a frame is left out.
    pub fn unit(&mut self, found: &UnitFound) -> Result<(), RecordError> {
        match encode_unit(found) {
            Ok(payload) => self.add(kind::UNIT, &payload, Content::Other),
            Err(_) => Ok(()),
        }
    }

    /// Adds what was found of a program, as the agent learnt it now. What does not fit a frame is left out.
    pub fn program(&mut self, found: &ProgramFound) -> Result<(), RecordError> {
        match encode_program(found) {
            Ok(payload) => self.add(kind::PROGRAM, &payload, Content::Other),
            Err(_) => Ok(()),
        }
    }

    /// Adds what a cluster tells, as the agent learnt it now. What does not fit a frame is left out.
    pub fn cluster(&mut self, news: &ClusterNews) -> Result<(), RecordError> {
        let (kind, encoded) = match news {
            ClusterNews::Peers(news) => (kind::PEER, encode_peer(news)),
            news => (kind::CLUSTER, encode_cluster(news)),
        };
        match encoded {
            Some(Ok(payload)) => self.add(kind, &payload, Content::Other),
            Some(Err(_)) | None => Ok(()),
        }
    }

    /// Adds what a cgroup is called, as the agent learnt it otherwise than from records.
    pub fn cgroup(&mut self, Cgroup { id, path }: &Cgroup) -> Result<(), RecordError> {
        let payload = [&id.to_le_bytes()[..], path.as_bytes()].concat();
        self.add(kind::CGROUP, &payload, Content::Other)
    }

    /// Adds a tag that the agent gave a process, or found it to have.
    pub fn tag(&mut self, news: TagNews) -> Result<(), RecordError> {
        let (tag, found) = match news {
            TagNews::Given(tag) => (tag, 0),
            TagNews::Found(tag) => (tag, 1),
        };
        let numbers = [u64::from(tag.number), u64::from(tag.process.pid), tag.process.start.ns, found];
        let payload: Vec<u8> = numbers.into_iter().flat_map(u64::to_le_bytes).collect();
        self.add(kind::TAG, &payload, Content::Other)
    }

    /// Adds a snapshot of the kernel's counters, and the next sequence number of each series.
    pub fn counters(
        &mut self,
        time: BootTime,
        counters: &KernelCounters,
        next: impl IntoIterator<Item = (Series, u64)>,
    ) -> Result<(), RecordError> {
        let numbers = next.into_iter().flat_map(|(series, next)| [series.to_number(), next]);
        let payload: Vec<u8> =
            std::iter::once(time.ns).chain(*counters).chain(numbers).flat_map(u64::to_le_bytes).collect();
        self.add(kind::COUNTERS, &payload, Content::Other)
    }

    /// Writes what was gathered. Call it now and then, so that a crash costs little.
    pub fn flush(&mut self) -> Result<(), RecordError> {
        let mut written = 0;
        let result = loop {
            let rest = self.buffer.get(written..).unwrap_or_default();
            if rest.is_empty() {
                break Ok(());
            }
            match self.out.append(rest) {
                Ok(0) => break Err(io::ErrorKind::WriteZero.into()),
                Ok(taken) => written += taken,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => break Err(error),
            }
        };
        self.buffer.clear();
        for (end, content) in std::mem::take(&mut self.frames) {
            self.counts.count(content, end <= written);
        }
        result.map_err(|source| {
            self.stopped = true;
            source.into()
        })
    }

    /// Ends the recording in order.
    pub fn finish(&mut self) -> Result<RecordCounts, RecordError> {
        self.flush_unless_stopped()?;
        let payload: Vec<u8> =
            [self.counts.recorded, self.counts.withheld].into_iter().flat_map(u64::to_le_bytes).collect();
        self.add(kind::END, &payload, Content::Other)?;
        self.flush_unless_stopped()?;
        if !self.stopped {
            self.out.sync()?;
        }
        Ok(self.counts)
    }

    /// What was written so far; frames that are gathered are not counted yet.
    pub const fn counts(&self) -> RecordCounts {
        self.counts
    }

    /// Whether the recording has stopped with an error.
    pub const fn is_stopped(&self) -> bool {
        self.stopped
    }

    fn withhold(&mut self, record: &[u8]) -> Result<(), RecordError> {
        let header = record.get(..size_of::<Header>()).unwrap_or(record);
        self.add(kind::WITHHELD, header, Content::Withheld)
    }

    fn add(&mut self, kind: u8, payload: &[u8], content: Content) -> Result<(), RecordError> {
        if self.stopped || !frame::append(&mut self.buffer, self.nonce, kind, payload) {
            self.counts.count(content, false);
            return Ok(());
        }
        self.frames.push((self.buffer.len(), content));
        if self.buffer.len() >= BUFFER_BYTES { self.flush() } else { Ok(()) }
    }

    fn flush_unless_stopped(&mut self) -> Result<(), RecordError> {
        if self.stopped { Ok(()) } else { self.flush() }
    }
}

impl RecordCounts {
    fn count(&mut self, content: Content, written: bool) {
        let figure = match (content, written) {
            (Content::Record, true) => &mut self.recorded,
            (Content::Withheld, true) => &mut self.withheld,
            (Content::Record | Content::Withheld, false) => &mut self.not_recorded,
            (Content::Process, false) => &mut self.processes_left_out,
            (Content::Process, true) | (Content::Other, _) => return,
        };
        *figure += 1;
    }
}

#[cfg(test)]
#[path = "record_tests.rs"]
mod tests;
