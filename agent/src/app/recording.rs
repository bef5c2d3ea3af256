//! The recording beside the running agent: it may stop, the agent does not.

use std::fs::File;
use std::io::{self, Write};

use crate::app::lookups::Found;
use crate::capture::ledger::{KernelCounters, Ledger};
use crate::capture::record::{RecordCounts, RecordError, Recorder};
use crate::capture::sequence::Series;
use crate::capture::tally::Tally;
use crate::cli::summary::Summary;
use crate::host::installed::Judgement;
use crate::model::process::Cgroup;
use crate::model::time::BootTime;
use crate::session::TagNews;

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

    /// Adds what was found beside the event path.
    pub(super) fn found(&mut self, found: &Found) {
        let written = match found {
            Found::Container(found) => self.recorder.container(found),
            Found::Units(found) => found.iter().try_for_each(|found| self.recorder.unit(found)),
            Found::Program(found) => self.recorder.program(found),
            Found::Script(found) => self.recorder.script(found),
            Found::Cluster(news) => self.recorder.cluster(news),
            Found::Cgroups(found) => found.iter().try_for_each(|cgroup| self.recorder.cgroup(cgroup)),
        };
        self.took(written);
    }

    /// Adds what a cgroup is called.
    pub(super) fn cgroup(&mut self, cgroup: &Cgroup) {
        let written = self.recorder.cgroup(cgroup);
        self.took(written);
    }

    /// Adds a tag that was given or found.
    pub(super) fn tag(&mut self, news: TagNews) {
        let written = self.recorder.tag(news);
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
