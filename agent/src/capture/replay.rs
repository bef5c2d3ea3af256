//! Reads a recording back: facts of the host, processes, ring records, counters, in the order they were written.
//!
//! Damage costs what is damaged and is reported ([`ReplayReport`]); only a file that is no recording, or one that
//! cannot be read at all, is an error.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use super::cluster::decode_cluster;
use super::frame::{self, Damage, Frames, PROLOGUE, PrologueError, kind};
use super::inventory::{
    Host, decode_container, decode_host, decode_judgement, decode_process, decode_program, decode_script,
    decode_unit,
};
use super::ledger::KernelCounters;
use super::peer::decode_peer;
use super::sequence::Series;
use crate::host::installed::Judgement;
use crate::model::bytes::RawBytes;
use crate::model::container::ContainerFound;
use crate::model::kube::ClusterNews;
use crate::model::process::{Cgroup, Process, ProcessKey};
use crate::model::program::ProgramFound;
use crate::model::time::BootTime;
use crate::model::unit::UnitFound;
use crate::process::scripts::ScriptTarget;
use crate::session::{Tag, TagNews};

/// Why a recording cannot be replayed.
#[derive(Debug, thiserror::Error)]
pub enum ReplayError {
    /// The file could not be opened.
    #[error("cannot open the recording {}: {source}", path.display())]
    Open {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The file could not be read.
    #[error("cannot read the recording: {0}")]
    Read(#[from] io::Error),
    /// Not a recording, or one of another version.
    #[error(transparent)]
    Prologue(#[from] PrologueError),
    /// The facts of the host are damaged: without them its records cannot be understood.
    #[error("the recording has lost the facts of its host, it cannot be replayed")]
    Host,
}

/// One thing that a recording holds.
#[derive(Clone, Debug)]
pub enum Item {
    /// A process that ran when the recording began.
    Process(Box<Process>),
    /// A ring record.
    Record(Vec<u8>),
    /// The header of a ring record that could not be read when it was recorded: it counts as undecodable.
    Withheld(Vec<u8>),
    /// What was found of an executable.
    Executable(Judgement),
    /// Where a script's path leads.
    Script(ScriptTarget),
    /// What an engine keeps of a container.
    Container(ContainerFound),
    /// What the files of a unit say.
    Unit(UnitFound),
    /// What was found of a program.
    Program(ProgramFound),
    /// What a cluster tells of pods.
    Cluster(ClusterNews),
    /// The tag of a process.
    Tag(TagNews),
    /// What a cgroup is called.
    Cgroup(Cgroup),
    /// The kernel's counters.
    Counters(Box<CounterSnapshot>),
}

/// The kernel's counters at a moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CounterSnapshot {
    /// When.
    pub time: BootTime,
    /// All CPUs summed.
    pub counters: KernelCounters,
    /// Next sequence number of each series.
    pub next: Vec<(Series, u64)>,
}

/// What was found of a recording.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ReplayReport {
    /// Ring records read.
    pub records: u64,
    /// Headers of withheld ring records read.
    pub withheld: u64,
    /// What could not be read.
    pub damage: Damage,
    /// Frames that are sound, but whose content this agent does not know or cannot read.
    pub not_understood: u64,
    /// Whether the recording was ended in order. Otherwise it ends where the agent, or its disk, did.
    pub ended: bool,
    /// Records that the recording's end says it held, and that were not found.
    pub missing: u64,
}

/// A recording that is being read.
pub struct Replay<R> {
    host: Host,
    frames: Frames<R>,
    report: ReplayReport,
}

impl Replay<File> {
    /// Opens a recording.
    pub fn open(path: &Path) -> Result<Self, ReplayError> {
        let file = File::open(path).map_err(|source| ReplayError::Open { path: path.to_owned(), source })?;
        Self::new(file)
    }
}

impl<R: Read> Replay<R> {
    /// Begins to read a recording.
    pub fn new(mut input: R) -> Result<Self, ReplayError> {
        let mut prologue = [0; PROLOGUE];
        input.read_exact(&mut prologue).map_err(|error| match error.kind() {
            io::ErrorKind::UnexpectedEof => ReplayError::Prologue(PrologueError::NotARecording),
            _ => ReplayError::Read(error),
        })?;
        let mut frames = Frames::new(input, frame::read_prologue(&prologue)?);
        match frames.next()? {
            Some((kind::HOST, payload)) => {
                let host = decode_host(&payload).map_err(|_| ReplayError::Host)?;
                Ok(Self { host, frames, report: ReplayReport::default() })
            }
            _ => Err(ReplayError::Host),
        }
    }

    /// Facts of the host that was recorded.
    pub const fn host(&self) -> &Host {
        &self.host
    }

    /// The next thing; `None` at the end.
    pub fn next_item(&mut self) -> Result<Option<Item>, ReplayError> {
        while let Some((kind, payload)) = self.frames.next()? {
            let item = match kind {
                kind::RECORD => {
                    self.report.records += 1;
                    Some(Item::Record(payload))
                }
                kind::WITHHELD => {
                    self.report.withheld += 1;
                    Some(Item::Withheld(payload))
                }
                kind::PROCESS => {
                    decode_process(&payload).ok().map(|process| Item::Process(Box::new(process)))
                }
                kind::EXECUTABLE => decode_judgement(&payload).ok().map(Item::Executable),
                kind::SCRIPT => decode_script(&payload).ok().map(Item::Script),
                kind::UNIT => decode_unit(&payload).ok().map(Item::Unit),
                kind::CONTAINER => decode_container(&payload).ok().map(Item::Container),
                kind::PROGRAM => decode_program(&payload).ok().map(Item::Program),
                kind::CLUSTER => decode_cluster(&payload).map(Item::Cluster),
                kind::PEER => decode_peer(&payload).map(ClusterNews::Peers).map(Item::Cluster),
                kind::TAG => tag(&payload).map(Item::Tag),
                kind::CGROUP => cgroup(&payload).map(Item::Cgroup),
                kind::COUNTERS => counters(&payload).map(|snapshot| Item::Counters(Box::new(snapshot))),
                kind::END => {
                    let mut said = numbers(&payload);
                    let held = said.next().unwrap_or(0).saturating_add(said.next().unwrap_or(0));
                    self.report.ended = true;
                    self.report.missing = held.saturating_sub(self.report.records + self.report.withheld);
                    continue;
                }
                _ => None,
            };
            if item.is_some() {
                return Ok(item);
            }
            self.report.not_understood += 1;
        }
        Ok(None)
    }

    /// What was found so far.
    pub const fn report(&self) -> ReplayReport {
        ReplayReport { damage: self.frames.damage, ..self.report }
    }
}

fn numbers(payload: &[u8]) -> impl Iterator<Item = u64> {
    payload.as_chunks().0.iter().map(|chunk| u64::from_le_bytes(*chunk))
}

fn cgroup(payload: &[u8]) -> Option<Cgroup> {
    let (id, path) = payload.split_first_chunk()?;
    Some(Cgroup { id: u64::from_le_bytes(*id), path: RawBytes::from(path) })
}

fn tag(payload: &[u8]) -> Option<TagNews> {
    let mut numbers = numbers(payload);
    let mut next_u32 = || u32::try_from(numbers.next()?).ok();
    let (number, pid) = (next_u32()?, next_u32()?);
    let (start, how) = (BootTime::from_ns(numbers.next()?), numbers.next()?);
    let tag = Tag { process: ProcessKey { pid, start }, number };
    match how {
        0 => Some(TagNews::Given(tag)),
        1 => Some(TagNews::Found(tag)),
        _ => None,
    }
}

fn counters(payload: &[u8]) -> Option<CounterSnapshot> {
    let mut numbers = numbers(payload);
    let time = BootTime::from_ns(numbers.next()?);
    let mut counters: KernelCounters = [0; size_of::<KernelCounters>() / 8];
    for counter in &mut counters {
        *counter = numbers.next()?;
    }
    let mut next = Vec::new();
    while let Some(series) = numbers.next() {
        next.push((Series::from_number(series)?, numbers.next()?));
    }
    Some(CounterSnapshot { time, counters, next })
}
