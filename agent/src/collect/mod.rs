//! The receiving side of `telltale collect`: a reference collector for try-outs and tests.
//!
//! It takes batches over HTTP, drops duplicates by event id, checks sequence numbers, hands events on, and
//! acknowledges a batch only once all its events were written. What it could not write stays with the agent, which
//! tries again. It keeps no state: what arrived before it started is unknown to it, and is said to be.

pub mod ledger;
mod notice;
pub mod output;
pub mod server;
mod status;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::io;

pub use self::notice::Notice;
pub use self::status::{Hole, Loss, Status, StreamStatus};

use self::ledger::{Change, Ledger, Range, StreamId};
use self::output::Output;
use crate::model::bytes::RawBytes;
use crate::ship::wire::v1::Batch;
use crate::ship::wire::{Body, View};

/// What is done with events.
pub trait Handler: Send {
    /// Appends an event as whole lines.
    fn encode(&mut self, out: &mut Vec<u8>, view: View<'_>);
    /// The event was written, for the first time.
    fn written(&mut self, view: View<'_>);
    /// Something that the operator should know.
    fn notice(&mut self, notice: &Notice);
    /// Whether enough was collected.
    fn enough(&self) -> bool;
}

/// Bytes of lines that are gathered before they are written.
const WRITE_BYTES: usize = 256 << 10;
/// Notices of one kind for one batch; further ones are in the status.
const NOTICES: usize = 8;
/// Kinds of loss told apart, at most; others are counted together.
const LOSSES: usize = 256;

/// Stage, cause, hook family of a loss that an agent reported.
type LossKey = (String, String, Option<String>);

/// The state of a collection.
pub struct Collector {
    ledger: Ledger,
    output: Box<dyn Output>,
    handler: Box<dyn Handler>,
    batches: u64,
    refused: u64,
    events: u64,
    duplicates: u64,
    losses: BTreeMap<LossKey, u64>,
    other_losses: u64,
    failed_writes: u64,
    failing: bool,
}

impl Collector {
    /// Nothing has arrived yet.
    pub fn new(output: Box<dyn Output>, handler: Box<dyn Handler>) -> Self {
        Self {
            ledger: Ledger::default(),
            output,
            handler,
            batches: 0,
            refused: 0,
            events: 0,
            duplicates: 0,
            losses: BTreeMap::new(),
            other_losses: 0,
            failed_writes: 0,
            failing: false,
        }
    }

    /// Takes a batch. On success all its events are written, now or before.
    ///
    /// # Errors
    /// Where events could not be written. Those that were are known, so the batch may be offered again.
    pub fn accept(&mut self, batch: &Batch) -> io::Result<()> {
        let stream = StreamId::from(batch);
        let host = host_name(batch);
        let new_stream = !self.ledger.streams().any(|(id, _)| *id == stream);
        let mut changes = Vec::new();
        let mut lines = Vec::new();
        let mut unwritten = Vec::new();
        for view in batch.views() {
            if self.ledger.has(&stream, view.seq()) {
                self.duplicates += 1;
                continue;
            }
            self.handler.encode(&mut lines, view);
            unwritten.push(view);
            if lines.len() >= WRITE_BYTES {
                self.write(&mut lines, &mut unwritten, (&stream, &host), &mut changes)?;
            }
        }
        self.write(&mut lines, &mut unwritten, (&stream, &host), &mut changes)?;
        self.batches += 1;
        if new_stream && batch.first_seq > 1 {
            self.handler.notice(&Notice::BeganAt { host: host.clone(), seq: batch.first_seq });
        }
        self.tell(&host, &changes);
        Ok(())
    }

    fn write(
        &mut self,
        lines: &mut Vec<u8>,
        unwritten: &mut Vec<View<'_>>,
        (stream, host): (&StreamId, &str),
        changes: &mut Vec<Change>,
    ) -> io::Result<()> {
        if unwritten.is_empty() {
            return Ok(());
        }
        if let Err(error) = self.output.append(lines) {
            self.failed_writes += 1;
            if !std::mem::replace(&mut self.failing, true) {
                let (output, why) = (self.output.name(), error.to_string());
                self.handler.notice(&Notice::WriteFailed { output, why });
            }
            return Err(error);
        }
        if std::mem::take(&mut self.failing) {
            self.handler.notice(&Notice::WritesAgain { output: self.output.name() });
        }
        for view in unwritten.drain(..) {
            changes.extend(self.ledger.insert(stream, host, view.seq()));
            self.events += 1;
            if let Body::Gap(gap) = view.body() {
                let family = gap.family.as_deref().map(str::to_owned);
                self.loss((gap.stage.to_string(), gap.cause.to_string(), family), gap.lost);
            }
            self.handler.written(view);
        }
        lines.clear();
        Ok(())
    }

    fn loss(&mut self, key: LossKey, lost: u64) {
        if let Some(count) = self.losses.get_mut(&key) {
            *count = count.saturating_add(lost);
        } else if self.losses.len() < LOSSES {
            self.losses.insert(key, lost);
        } else {
            self.other_losses = self.other_losses.saturating_add(lost);
        }
    }

    /// Says which holes the batch opened, and which events of known holes it brought.
    fn tell(&mut self, host: &str, changes: &[Change]) {
        let opened = changes.iter().filter_map(|change| match change {
            Change::Opened(range) => Some(*range),
            Change::Filled { .. } => None,
        });
        let opened: Vec<Range> = opened.collect();
        for missing in opened.iter().take(NOTICES) {
            self.handler.notice(&Notice::Missing { host: host.to_owned(), missing: *missing });
        }
        if opened.len() > NOTICES {
            let more = opened.len() - NOTICES;
            self.handler.notice(&Notice::MoreMissing { host: host.to_owned(), more });
        }
        let mut late = changes.iter().filter_map(|change| match change {
            Change::Filled { seq, .. } => Some(*seq),
            Change::Opened(_) => None,
        });
        if let Some(first) = late.next() {
            let (mut count, mut range) = (1, Range { first, last: first });
            for seq in late {
                count += 1;
                range = Range { first: range.first.min(seq), last: range.last.max(seq) };
            }
            self.handler.notice(&Notice::Late { host: host.to_owned(), count, range });
        }
    }

    /// Counts a request that was no batch.
    pub fn refuse(&mut self, why: &str) {
        self.refused += 1;
        if self.refused <= NOTICES as u64 {
            let why = RawBytes::from(why).to_string();
            self.handler.notice(&Notice::Refused { why });
        }
    }

    /// Whether enough was collected.
    pub fn enough(&self) -> bool {
        self.handler.enough()
    }

    /// What has arrived so far.
    pub fn status(&self) -> Status {
        status::of(self)
    }
}

/// The host's name, escaped, for messages.
fn host_name(batch: &Batch) -> String {
    RawBytes::to_string(&batch.host.name.0)
}
