//! The ledger: what became of every act, stage by stage, and whether the figures agree (RELIABILITY §1).
//!
//! ```text
//! kernel, each family:  attempted = submitted + dropped{cause} + throttled + folded
//! ring:                 submitted + inherited = read + in the ring
//! decode:               read      = decoded + undecodable{cause}
//! records:              decoded   = context + not_a_credential + same_act + expected_read + own_act
//!                                 + sequence_duplicate + dns_answer + hello_piece + joined + joined_duplicate + outcome_too_late + outcome_without_attempt
//!                                 + waiting + activity
//! folds:                expected_read = told + waiting
//! events:               activity + connection_name + repeat + gap + agent_status = queued + queue_full + bulk_full + not_shipped
//! queue:                queued    = acknowledged + rejected + abandoned + waiting
//! numbers:              lost      = dropped{cause} + unnumbered
//! ```
//!
//! Figures are atomic: stages on other threads add to them without a lock. While records are on their way the
//! equations of different threads need not hold to the unit, so there are two checks: [`Ledger::check`] at rest, exact;
//! [`Ledger::check_running`] at any time, for what must hold even then.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};

use agent_common::counters::{Counter, Family, SLOTS, slot};

use super::decode::DecodeError;
use super::join::{Join, JoinCounts};
use super::sequence::SequenceTracker;
use super::tally::Tally;
use crate::model::event::Gap;

/// A snapshot of the kernel's counters, all CPUs summed, by [`slot`].
pub type KernelCounters = [u64; SLOTS as usize];

/// Records that may be between two stages while the agent runs: read from the ring before the kernel program came to
/// count them. One for each preempted task at most.
const IN_FLIGHT: u64 = 1_024;

/// Two sides of an equation that must be equal are not.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "the ledger does not balance: {equation}{}: {left} against {right}; records may be missing without trace: \
     keep `telltale status --json` and report a defect",
    family.map(|family| format!(" ({family})")).unwrap_or_default()
)]
pub struct LedgerImbalance {
    /// The equation, as in the module's table.
    pub equation: &'static str,
    /// Hook family, for the kernel's equation.
    pub family: Option<&'static str>,
    /// Its left side.
    pub left: u64,
    /// Its right side.
    pub right: u64,
}

/// All figures. Shared by reference between the stages.
#[derive(Debug)]
pub struct Ledger {
    kernel: [AtomicU64; SLOTS as usize],
    undecodable: [AtomicU64; DecodeError::CAUSES.len()],
    tallies: [AtomicU64; Tally::ALL.len()],
}

impl Default for Ledger {
    fn default() -> Self {
        Self::new()
    }
}

impl Ledger {
    /// A ledger of zeros.
    pub const fn new() -> Self {
        Self {
            kernel: [const { AtomicU64::new(0) }; SLOTS as usize],
            undecodable: [const { AtomicU64::new(0) }; DecodeError::CAUSES.len()],
            tallies: [const { AtomicU64::new(0) }; Tally::ALL.len()],
        }
    }

    /// Adds to a figure.
    pub fn add(&self, tally: Tally, number: u64) {
        if let Some(figure) = self.tallies.get(tally as usize) {
            figure.fetch_add(number, Ordering::Relaxed);
        }
    }

    /// Sets a level, or a figure that its owner counts by itself.
    pub fn set(&self, tally: Tally, number: u64) {
        if let Some(figure) = self.tallies.get(tally as usize) {
            figure.store(number, Ordering::Relaxed);
        }
    }

    /// Reads a figure.
    pub fn get(&self, tally: Tally) -> u64 {
        self.tallies.get(tally as usize).map_or(0, |figure| figure.load(Ordering::Relaxed))
    }

    /// Counts a record that was read from the ring, by what its decoding gave.
    pub fn read<T>(&self, decoded: &Result<T, DecodeError>) {
        self.add(Tally::Read, 1);
        match decoded {
            Ok(_) => self.add(Tally::Decoded, 1),
            Err(error) => {
                let cause = DecodeError::CAUSES.iter().position(|cause| *cause == error.cause());
                if let Some(figure) = cause.and_then(|index| self.undecodable.get(index)) {
                    figure.fetch_add(1, Ordering::Relaxed);
                }
            }
        }
    }

    /// Takes over a snapshot of the kernel's counters. For [`Ledger::check_running`] it must be younger than the last
    /// record read.
    pub fn kernel(&self, counters: &KernelCounters) {
        for (figure, value) in self.kernel.iter().zip(counters) {
            figure.store(*value, Ordering::Relaxed);
        }
    }

    /// Takes over the figures of the sequence tracker.
    pub fn sequence(&self, tracker: &SequenceTracker) {
        self.set(Tally::SequenceLost, tracker.lost());
        self.set(Tally::SequenceOpen, tracker.open());
        self.set(Tally::SequenceRecovered, tracker.recovered());
        self.set(Tally::SequenceRestarts, tracker.restarts());
    }

    /// Takes over the figures of the join.
    pub fn join<T>(&self, join: &Join<T>) {
        let JoinCounts {
            joined,
            joined_duplicate,
            outcome_too_late,
            outcome_without_attempt,
            told_by_outcome,
            attempts_with_outcome: _,
            attempts_timed_out,
            attempts_overflowed,
            attempts_superseded,
            attempts_drained,
        } = join.counts();
        self.set(Tally::Joined, joined);
        self.set(Tally::JoinedDuplicate, joined_duplicate);
        self.set(Tally::OutcomeTooLate, outcome_too_late);
        self.set(Tally::OutcomeWithoutAttempt, outcome_without_attempt);
        self.set(Tally::ToldByOutcome, told_by_outcome);
        self.set(Tally::WaitingAttempts, join.waiting_attempts());
        self.set(Tally::WaitingOutcomes, join.waiting_outcomes());
        self.set(Tally::AttemptsTimedOut, attempts_timed_out);
        self.set(Tally::AttemptsOverflowed, attempts_overflowed);
        self.set(Tally::AttemptsSuperseded, attempts_superseded);
        self.set(Tally::AttemptsDrained, attempts_drained);
    }

    /// Reads a kernel counter of the last snapshot.
    pub fn kernel_counter(&self, family: Family, counter: Counter) -> u64 {
        self.kernel.get(slot(family, counter) as usize).map_or(0, |figure| figure.load(Ordering::Relaxed))
    }

    /// Records that could not be read, over all causes.
    pub fn undecodable(&self) -> u64 {
        self.undecodable.iter().map(|figure| figure.load(Ordering::Relaxed)).sum()
    }

    /// Checks every equation to the unit. Holds at rest: hooks detached or quiet, ring read to its end, the snapshot
    /// of the kernel's counters taken after both, [`SequenceTracker::close`] called with the kernel's next numbers.
    pub fn check(&self) -> Result<(), LedgerImbalance> {
        for family in Family::ALL {
            let of = |counter| self.kernel_counter(family, counter);
            let right =
                of(Counter::Submitted) + self.dropped(family) + of(Counter::Throttled) + of(Counter::Folded);
            equal("attempted = submitted + dropped + throttled + folded", of(Counter::Attempted), right)
                .map_err(|imbalance| LedgerImbalance { family: Some(family.name()), ..imbalance })?;
        }
        equal(
            "submitted + inherited = read + in the ring",
            self.submitted() + self.get(Tally::Inherited),
            self.get(Tally::Read),
        )?;
        self.check_records()?;
        equal(
            "lost = dropped + unnumbered",
            self.get(Tally::SequenceLost) + self.get(Tally::SequenceOpen),
            self.all_dropped() + self.get(Tally::Unnumbered),
        )?;
        self.check_events()?;
        equal(
            "queued = acknowledged + rejected + abandoned + waiting",
            self.get(Tally::Queued),
            self.settled() + self.get(Tally::Waiting),
        )
    }

    /// Checks what must hold while records are on their way; call it between two turns of the loop that reads them.
    pub fn check_running(&self) -> Result<(), LedgerImbalance> {
        let written = self.submitted() + self.get(Tally::Inherited);
        at_most("read ≤ submitted + inherited", self.get(Tally::Read), written + IN_FLIGHT)?;
        self.check_records()?;
        at_most(
            "lost ≤ dropped + unnumbered",
            self.get(Tally::SequenceLost),
            self.all_dropped() + self.get(Tally::Unnumbered) + IN_FLIGHT,
        )?;
        self.check_events()?;
        // Acknowledged first: it may only be behind.
        let settled = self.settled();
        at_most("acknowledged + rejected + abandoned ≤ queued", settled, self.get(Tally::Queued))
    }

    fn check_records(&self) -> Result<(), LedgerImbalance> {
        let decoded = self.get(Tally::Decoded);
        equal("read = decoded + undecodable", self.get(Tally::Read), decoded + self.undecodable())?;
        let fates = [
            Tally::Context,
            Tally::NotACredential,
            Tally::SameAct,
            Tally::ExpectedRead,
            Tally::OwnAct,
            Tally::SequenceDuplicate,
            Tally::DnsAnswer,
            Tally::HelloPiece,
            Tally::Joined,
            Tally::JoinedDuplicate,
            Tally::OutcomeTooLate,
            Tally::OutcomeWithoutAttempt,
            Tally::WaitingAttempts,
            Tally::WaitingOutcomes,
            Tally::Activity,
        ];
        equal("decoded = context + joined + event records", decoded, self.sum(&fates))?;
        equal(
            "expected_read = told + waiting",
            self.get(Tally::ExpectedRead),
            self.sum(&[Tally::FoldTold, Tally::FoldWaiting]),
        )
    }

    fn check_events(&self) -> Result<(), LedgerImbalance> {
        equal(
            "events = queued + queue_full + bulk_full + not_shipped",
            self.sum(&[
                Tally::Activity,
                Tally::ConnectionName,
                Tally::Repeat,
                Tally::Gap,
                Tally::AgentStatus,
            ]),
            self.sum(&[Tally::Queued, Tally::QueueFull, Tally::BulkFull, Tally::NotShipped]),
        )
    }

    fn sum(&self, tallies: &[Tally]) -> u64 {
        tallies.iter().map(|tally| self.get(*tally)).sum()
    }

    fn settled(&self) -> u64 {
        self.sum(&[Tally::Acknowledged, Tally::Rejected, Tally::Abandoned])
    }

    fn submitted(&self) -> u64 {
        Family::ALL.into_iter().map(|family| self.kernel_counter(family, Counter::Submitted)).sum()
    }

    /// What the kernel lost of a family. Each act takes its number before anything can fail, so each is a hole.
    /// Acts of a family that the kernel side has lost.
    pub fn lost_in_kernel(&self, family: Family) -> u64 {
        self.dropped(family)
    }

    fn dropped(&self, family: Family) -> u64 {
        let lost = Counter::ALL.into_iter().filter(|counter| counter.is_drop());
        lost.map(|counter| self.kernel_counter(family, counter)).sum()
    }

    fn all_dropped(&self) -> u64 {
        Family::ALL.into_iter().map(|family| self.dropped(family)).sum()
    }

    /// Every loss so far: stage, cause and family with its number.
    fn losses(&self) -> Vec<Gap> {
        let mut losses = Vec::new();
        for family in Family::ALL {
            for counter in Counter::ALL.into_iter().filter(|counter| counter.is_loss()) {
                let lost = self.kernel_counter(family, counter);
                losses.push(Gap {
                    stage: "kernel",
                    cause: counter.name(),
                    family: Some(family.name()),
                    lost,
                });
            }
        }
        losses.push(Gap {
            stage: "kernel",
            cause: "run_skipped",
            family: None,
            lost: self.get(Tally::RunsSkipped),
        });
        for (cause, figure) in DecodeError::CAUSES.into_iter().zip(&self.undecodable) {
            losses.push(Gap { stage: "decode", cause, family: None, lost: figure.load(Ordering::Relaxed) });
        }
        for (tally, cause) in Tally::OF_THE_QUEUE {
            losses.push(Gap { stage: "queue", cause, family: None, lost: self.get(tally) });
        }
        losses
    }

    /// All figures by stable name: `kernel.<family>.<counter>`, `decode.undecodable.<cause>`, and [`Tally::name`].
    pub fn snapshot(&self) -> BTreeMap<String, u64> {
        let kernel = Family::ALL.into_iter().flat_map(|family| {
            Counter::ALL.into_iter().map(move |counter| {
                let name = format!("kernel.{}.{}", family.name(), counter.name());
                (name, self.kernel_counter(family, counter))
            })
        });
        let undecodable = DecodeError::CAUSES
            .into_iter()
            .zip(&self.undecodable)
            .map(|(cause, figure)| (format!("decode.undecodable.{cause}"), figure.load(Ordering::Relaxed)));
        let tallies = Tally::ALL.iter().map(|tally| (tally.name().to_owned(), self.get(*tally)));
        kernel.chain(undecodable).chain(tallies).collect()
    }
}

/// Turns the ledger's losses into gap events: each loss is told once.
#[derive(Debug, Default)]
pub struct GapReporter {
    told: BTreeMap<(&'static str, &'static str, Option<&'static str>), u64>,
}

impl GapReporter {
    /// What was lost since the last report. The holes of the sequence are the same losses seen from the other side,
    /// and are not told again.
    pub fn report(&mut self, ledger: &Ledger) -> Vec<Gap> {
        let mut gaps = Vec::new();
        for loss in ledger.losses() {
            let told = self.told.entry((loss.stage, loss.cause, loss.family)).or_default();
            let lost = loss.lost.saturating_sub(*told);
            *told = loss.lost;
            if lost > 0 {
                gaps.push(Gap { lost, ..loss });
            }
        }
        gaps
    }
}

fn equal(equation: &'static str, left: u64, right: u64) -> Result<(), LedgerImbalance> {
    if left == right { Ok(()) } else { Err(LedgerImbalance { equation, family: None, left, right }) }
}

fn at_most(equation: &'static str, left: u64, right: u64) -> Result<(), LedgerImbalance> {
    if left <= right { Ok(()) } else { Err(LedgerImbalance { equation, family: None, left, right }) }
}

#[cfg(test)]
#[path = "ledger_tests.rs"]
mod tests;
