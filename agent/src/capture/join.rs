//! Brings a TCP attempt and its outcome together, by socket cookie.
//!
//! Every attempt leaves exactly once, with an outcome or with the reason why it has none. An outcome whose attempt does not
//! come, because it was lost or an earlier agent had read it, leaves alone: it says itself what was attempted, where its
//! hook knows. Time is passed in, in boot time; the table never reads a clock.

use std::collections::btree_map::BTreeMap;
use std::collections::hash_map::{Entry, HashMap};
use std::time::Duration;

use super::recent::Recent;
use crate::model::act::{ConnectOutcome, Endpoint, Outcome, UnknownOutcome};
use crate::model::time::BootTime;

/// Attempts waited for at once. A host that scans (thousands of unanswered SYNs) fills it; ordinary ones have tens.
pub const PENDING_ATTEMPTS: usize = 16_384;
/// How long an outcome is waited for: Linux gives up after `tcp_syn_retries = 6`, about 127 s.
pub const OUTCOME_TIMEOUT: Duration = Duration::from_secs(130);
/// Finished attempts remembered, so that a second hook that reports the same end is known for what it is.
pub const FINISHED_ATTEMPTS: usize = 4_096;
/// How long an abort waits for a hook that knows the errno: the state change comes first, the return of the system
/// call follows within microseconds.
pub const ABORT_GRACE: Duration = Duration::from_millis(20);
/// Outcomes kept that came before their attempt: order in one ring makes them rare.
pub const EARLY_OUTCOMES: usize = 256;
/// How long an early outcome is kept.
pub const EARLY_GRACE: Duration = Duration::from_millis(50);

/// An attempt that has left the table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ended<T> {
    /// What was passed in with the attempt.
    pub payload: T,
    /// When it was asked for.
    pub asked_at: BootTime,
    /// When its outcome was seen; `None` where none was.
    pub ended_at: Option<BootTime>,
    /// The outcome.
    pub outcome: Outcome,
    /// The address connected, where known.
    pub connected: Option<Endpoint>,
    /// The local end, where known.
    pub local: Option<Endpoint>,
}

/// What became of the records that were passed in; each record is in exactly one of these figures.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct JoinCounts {
    /// Outcomes that were told with their attempt.
    pub joined: u64,
    /// Outcomes of an attempt that had been told with another hook's outcome.
    pub joined_duplicate: u64,
    /// Outcomes of an attempt that had been told as unknown: timed out, or no room.
    pub outcome_too_late: u64,
    /// Outcomes whose attempt was not seen, and that do not say what it was.
    pub outcome_without_attempt: u64,
    /// Outcomes whose attempt was not seen: it was lost, or read by an earlier agent. Each is told by itself.
    pub told_by_outcome: u64,
    /// Attempts told with an outcome that a hook saw.
    pub attempts_with_outcome: u64,
    /// Attempts told without: the time-out passed.
    pub attempts_timed_out: u64,
    /// Attempts told without: the table was full.
    pub attempts_overflowed: u64,
    /// Attempts told without: their socket began another.
    pub attempts_superseded: u64,
    /// Attempts told without: the agent stopped.
    pub attempts_drained: u64,
}

struct Pending<T> {
    payload: T,
    asked_at: BootTime,
    deadline: (BootTime, u64),
    abort: Option<(BootTime, ConnectOutcome)>,
}

/// What is remembered of a finished attempt: whether its outcome had been seen.
#[derive(Clone, Copy)]
struct Finished {
    known: bool,
    /// When its outcome was seen, where that told of it alone.
    alone: Option<BootTime>,
}

/// Attempts that wait for their outcome.
pub struct Join<T> {
    pending: HashMap<u64, Pending<T>>,
    deadlines: BTreeMap<(BootTime, u64), u64>,
    finished: Recent<Finished>,
    early: Recent<(BootTime, ConnectOutcome)>,
    alone: Vec<(BootTime, ConnectOutcome)>,
    timeout: Duration,
    capacity: usize,
    serial: u64,
    counts: JoinCounts,
    /// What was attempted before, an earlier agent may have read.
    begun: BootTime,
}

impl<T> Join<T> {
    /// A table that waits for `timeout` ([`OUTCOME_TIMEOUT`] unless configured).
    pub fn new(timeout: Duration) -> Self {
        Self::with_capacity(timeout, PENDING_ATTEMPTS)
    }

    /// A table of another size than [`PENDING_ATTEMPTS`].
    pub fn with_capacity(timeout: Duration, capacity: usize) -> Self {
        Self {
            pending: HashMap::new(),
            deadlines: BTreeMap::new(),
            finished: Recent::new(FINISHED_ATTEMPTS),
            early: Recent::new(EARLY_OUTCOMES),
            alone: Vec::new(),
            timeout,
            capacity,
            serial: 0,
            counts: JoinCounts::default(),
            begun: BootTime::from_ns(0),
        }
    }

    /// Attempts made before `begun` are not waited for by their outcomes: an earlier agent has read them, or they are here.
    pub const fn begin_at(&mut self, begun: BootTime) {
        self.begun = begun;
    }

    /// Whether an attempt was told by its outcome alone: it waited in the bulk ring for longer than its outcome was waited
    /// with. Another attempt of that socket comes after the outcome.
    pub fn was_told_alone(&self, cookie: u64, asked_at: BootTime) -> bool {
        let finished = self.finished.get(cookie);
        finished.and_then(|finished| finished.alone).is_some_and(|seen_at| asked_at <= seen_at)
    }

    /// Takes an attempt. What it gives back has left the table: an older attempt of the same socket, and the attempt
    /// itself where there is no room for it or its outcome was there before it.
    pub fn attempt(&mut self, cookie: u64, asked_at: BootTime, payload: T) -> Vec<Ended<T>> {
        let mut left = Vec::new();
        if let Some(older) = self.take(cookie) {
            left.push(self.superseded(older));
        }
        self.finished.remove(cookie);
        let early = self.early.remove(cookie);
        if early.is_none() && self.pending.len() >= self.capacity {
            self.counts.attempts_overflowed += 1;
            self.finished.insert(cookie, Finished { known: false, alone: None });
            left.push(without_outcome(payload, asked_at, UnknownOutcome::NotWaitedFor));
            return left;
        }
        self.serial += 1;
        let deadline = (later(asked_at, self.timeout), self.serial);
        self.deadlines.insert(deadline, cookie);
        self.pending.insert(cookie, Pending { payload, asked_at, deadline, abort: None });
        if let Some((seen_at, outcome)) = early {
            left.extend(self.outcome(seen_at, outcome));
        }
        left
    }

    /// Takes an outcome. Gives the attempt that ended with it.
    pub fn outcome(&mut self, seen_at: BootTime, outcome: ConnectOutcome) -> Option<Ended<T>> {
        let cookie = outcome.cookie;
        let Entry::Occupied(mut entry) = self.pending.entry(cookie) else {
            self.unmatched(seen_at, outcome);
            return None;
        };
        let is_abort = outcome.outcome == Outcome::Unknown(UnknownOutcome::Aborted);
        let pending = entry.get_mut();
        match (is_abort, &pending.abort) {
            (true, Some(_)) => {
                self.counts.joined_duplicate += 1;
                return None;
            }
            (true, None) => {
                self.deadlines.remove(&pending.deadline);
                pending.deadline.0 = later(seen_at, ABORT_GRACE);
                self.deadlines.insert(pending.deadline, cookie);
                pending.abort = Some((seen_at, outcome));
                return None;
            }
            (false, Some(_)) => self.counts.joined_duplicate += 1,
            (false, None) => {}
        }
        let pending = entry.remove();
        self.deadlines.remove(&pending.deadline);
        Some(self.ended(pending.payload, pending.asked_at, seen_at, outcome))
    }

    /// Lets go of what was waited for long enough at `now`.
    pub fn expire(&mut self, now: BootTime) -> Vec<Ended<T>> {
        let late = self.early.take_older(|(seen_at, _)| later(*seen_at, EARLY_GRACE) < now);
        late.into_iter().for_each(|(seen_at, outcome)| self.leave_alone(seen_at, outcome));
        let mut left = Vec::new();
        while let Some((&(deadline, _), &cookie)) = self.deadlines.first_key_value() {
            if deadline > now {
                break;
            }
            let Some(pending) = self.take(cookie) else { break };
            left.push(match pending.abort {
                Some((seen_at, outcome)) => self.ended(pending.payload, pending.asked_at, seen_at, outcome),
                None => {
                    self.counts.attempts_timed_out += 1;
                    self.finished.insert(cookie, Finished { known: false, alone: None });
                    without_outcome(pending.payload, pending.asked_at, UnknownOutcome::TimedOut(self.timeout))
                }
            });
        }
        left
    }

    /// Lets go of everything, oldest deadline first: the agent stops.
    pub fn drain(&mut self) -> Vec<Ended<T>> {
        let late = self.early.take_older(|_| true);
        late.into_iter().for_each(|(seen_at, outcome)| self.leave_alone(seen_at, outcome));
        let mut left = Vec::with_capacity(self.pending.len());
        while let Some((_, &cookie)) = self.deadlines.first_key_value() {
            let Some(pending) = self.take(cookie) else { break };
            left.push(match pending.abort {
                Some((seen_at, outcome)) => self.ended(pending.payload, pending.asked_at, seen_at, outcome),
                None => {
                    self.counts.attempts_drained += 1;
                    without_outcome(pending.payload, pending.asked_at, UnknownOutcome::NotWaitedFor)
                }
            });
        }
        left
    }

    /// Outcomes that have left the table without their attempt, and say what that was.
    pub fn take_alone(&mut self) -> Vec<(BootTime, ConnectOutcome)> {
        std::mem::take(&mut self.alone)
    }

    /// When [`Join::expire`] has something to do next.
    pub fn next_deadline(&self) -> Option<BootTime> {
        self.deadlines.first_key_value().map(|((deadline, _), _)| *deadline)
    }

    /// Attempts in the table.
    pub fn waiting_attempts(&self) -> u64 {
        self.pending.len() as u64
    }

    /// Outcomes in the table: early ones, and aborts that may yet learn their errno.
    pub fn waiting_outcomes(&self) -> u64 {
        self.early.len() as u64
            + self.pending.values().filter(|pending| pending.abort.is_some()).count() as u64
    }

    /// What became of all that was passed in.
    pub const fn counts(&self) -> JoinCounts {
        self.counts
    }

    fn take(&mut self, cookie: u64) -> Option<Pending<T>> {
        let pending = self.pending.remove(&cookie)?;
        self.deadlines.remove(&pending.deadline);
        Some(pending)
    }

    /// The socket asks again, so the attempt before is over: a hook's abort says so, or nothing did.
    fn superseded(&mut self, older: Pending<T>) -> Ended<T> {
        if let Some((seen_at, outcome)) = older.abort {
            return self.ended(older.payload, older.asked_at, seen_at, outcome);
        }
        self.counts.attempts_superseded += 1;
        without_outcome(older.payload, older.asked_at, UnknownOutcome::Aborted)
    }

    fn ended(
        &mut self,
        payload: T,
        asked_at: BootTime,
        seen_at: BootTime,
        outcome: ConnectOutcome,
    ) -> Ended<T> {
        self.counts.joined += 1;
        self.counts.attempts_with_outcome += 1;
        self.finished.insert(outcome.cookie, Finished { known: true, alone: None });
        let ConnectOutcome { cookie: _, outcome, remote: connected, local, attempt: _ } = outcome;
        Ended { payload, asked_at, ended_at: Some(seen_at), outcome, connected, local }
    }

    fn leave_alone(&mut self, seen_at: BootTime, outcome: ConnectOutcome) {
        if outcome.attempt.is_none() {
            self.counts.outcome_without_attempt += 1;
            return;
        }
        self.counts.told_by_outcome += 1;
        self.finished.insert(outcome.cookie, Finished { known: true, alone: Some(seen_at) });
        self.alone.push((seen_at, outcome));
    }

    fn unmatched(&mut self, seen_at: BootTime, outcome: ConnectOutcome) {
        match self.finished.get(outcome.cookie) {
            Some(Finished { known: true, .. }) => self.counts.joined_duplicate += 1,
            Some(Finished { known: false, .. }) => self.counts.outcome_too_late += 1,
            None if self.early.get(outcome.cookie).is_some() => self.counts.joined_duplicate += 1,
            None if outcome.attempt.as_ref().is_some_and(|begun| begun.asked_at < self.begun) => {
                self.leave_alone(seen_at, outcome);
            }
            None => {
                let cookie = outcome.cookie;
                if let Some((seen_at, outcome)) = self.early.insert(cookie, (seen_at, outcome)) {
                    self.leave_alone(seen_at, outcome);
                }
            }
        }
    }
}

fn without_outcome<T>(payload: T, asked_at: BootTime, why: UnknownOutcome) -> Ended<T> {
    Ended { payload, asked_at, ended_at: None, outcome: Outcome::Unknown(why), connected: None, local: None }
}

fn later(time: BootTime, by: Duration) -> BootTime {
    BootTime::from_ns(time.ns.saturating_add(u64::try_from(by.as_nanos()).unwrap_or(u64::MAX)))
}

#[cfg(test)]
#[path = "join_tests.rs"]
mod tests;
