//! The recording beside the running agent: it may stop, the agent does not.

use std::fs::File;
use std::io::{self, Write};

use crate::capture::ledger::{KernelCounters, Ledger};
use crate::capture::record::{RecordCounts, RecordError, Recorder};
use crate::capture::sequence::Series;
use crate::capture::tally::Tally;
use crate::cli::summary::Summary;
use crate::host::installed::Judgement;
use crate::model::container::ContainerFound;
use crate::model::kube::ClusterNews;
use crate::model::program::ProgramFound;
use crate::model::time::BootTime;
use crate::model::unit::UnitFound;
use crate::process::scripts::ScriptTarget;

/// A recording, and why it stopped.
pub(super) struct Recording {
    recorder: Recorder<File>,
    stopped: Option<RecordError>,
}

/// A write beyond RLIMIT_FSIZE raises SIGXFSZ, which ends a process that does not expect it; ignored, it fails like one
/// on a full disk.
pub(super) fn survive_size_limit() {
    // SAFETY: no handler is installed, so no code runs in a signal's context.
    unsafe { libc::signal(libc::SIGXFSZ, libc::SIG_IGN) };
}

impl Recording {
    pub(super) fn new(recorder: Recorder<File>) -> Self {
        Self { recorder, stopped: None }
    }

    /// Adds a ring record.
    pub(super) fn record(&mut self, record: &[u8]) {
        let written = self.recorder.record(record);
        self.took(written);
    }

    /// Adds what was found of an executable.
    pub(super) fn executable(&mut self, judgement: &Judgement) {
        let written = self.recorder.executable(judgement);
        self.took(written);
    }

    /// Adds where a script's path leads.
    pub(super) fn script(&mut self, found: &ScriptTarget) {
        let written = self.recorder.script(found);
        self.took(written);
    }

    /// Adds what was found of a unit.
    pub(super) fn unit(&mut self, found: &UnitFound) {
        let written = self.recorder.unit(found);
        self.took(written);
    }

    /// Adds what was found of a container.
    pub(super) fn container(&mut self, found: &ContainerFound) {
        let written = self.recorder.container(found);
        self.took(written);
    }

    /// Adds what was found of a program.
    pub(super) fn program(&mut self, found: &ProgramFound) {
        let written = self.recorder.program(found);
        self.took(written);
    }

    /// Adds what a cluster tells.
    pub(super) fn cluster(&mut self, news: &ClusterNews) {
        let written = self.recorder.cluster(news);
        self.took(written);
    }

    /// Adds what the kernel has counted, writes what was gathered, and takes its own figures into the ledger.
    pub(super) fn counters(
        &mut self,
        now: BootTime,
        counters: &KernelCounters,
        next: &[(Series, u64)],
        ledger: &Ledger,
    ) {
        let written = self.recorder.counters(now, counters, next.iter().copied());
        self.took(written);
        let flushed = self.recorder.flush();
        self.took(flushed);
        self.figures(ledger);
    }

    /// Ends it. What it lacks is counted in the ledger and in the summary; the error says so again.
    pub(super) fn finish(mut self, ledger: &Ledger, summary: &mut Summary) -> Result<(), RecordError> {
        let finished = self.recorder.finish().map(drop);
        self.took(finished);
        self.figures(ledger);
        let RecordCounts { recorded, not_recorded, .. } = self.recorder.counts();
        let Some(stopped) = self.stopped else {
            let _ = io::stderr().write_all(format!("recorded {recorded} records\n").as_bytes());
            return Ok(());
        };
        summary.loss("recording", stopped.cause(), not_recorded);
        Err(RecordError::Incomplete { recorded, not_recorded, source: Box::new(stopped) })
    }

    fn took(&mut self, written: Result<(), RecordError>) {
        // It stops once; what comes after is counted.
        if let Err(error) = written {
            tracing::error!("{error}; the agent goes on without it");
            self.stopped.get_or_insert(error);
        }
    }

    fn figures(&self, ledger: &Ledger) {
        let RecordCounts { recorded, not_recorded, .. } = self.recorder.counts();
        ledger.set(Tally::Recorded, recorded);
        ledger.set(Tally::NotRecorded, not_recorded);
    }
}
