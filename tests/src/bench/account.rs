//! What was done, by the doers' own count, against what was told and what was told as lost: to the unit (RELIABILITY of
//! the design: `attempted = submitted + dropped + throttled + folded`, and so on to the collector).
//!
//! Others act on the host too. What they did is what the kernel counted beyond what the loads did; it is shown, and taken
//! off where a check would else compare two different things.

use std::collections::BTreeSet;

use serde::Serialize;

use super::reader::Told;
use super::session::Ended;
use crate::acts::Loaded;

/// Records of a connection that was established and closed: attempt, outcome, end.
const RECORDS_OF_A_CONNECT: u64 = 3;
/// Stages of an event after the pipeline.
const QUEUE: [&str; 4] = ["queue.queue_full", "queue.bulk_full", "queue.rejected", "queue.abandoned"];
/// Of these, what turns an event away before it has a number.
const FULL: [&str; 2] = ["queue.queue_full", "queue.bulk_full"];

/// A cause of loss.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Lost {
    /// The counter's name.
    cause: String,
    /// Records, or behind the pipeline events.
    count: u64,
}

/// Records that the kernel counted of others than the loads.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub(super) struct Others {
    file: u64,
    connection: u64,
}

/// What became of a load.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Account {
    /// Events that the loads are owed.
    pub(super) expected_events: u64,
    /// Events that were collected of them.
    pub(super) delivered_events: u64,
    /// Losses by cause.
    pub(super) lost: Vec<Lost>,
    /// Their sum.
    pub(super) lost_total: u64,
    /// Acts told by count alone.
    pub(super) folded: u64,
    /// Records of others.
    pub(super) records_of_others: Others,
    /// What does not agree; empty where all does.
    pub(super) disagreements: Vec<String>,
}

/// Events that acts are owed: one for an open, two for a connect.
pub(super) fn expected(done: &[Loaded]) -> u64 {
    done.iter().map(|loaded| loaded.opens + 2 * loaded.connects).sum()
}

struct Check<'a> {
    ended: &'a Ended,
    wrong: Vec<String>,
}

impl Check<'_> {
    fn counter(&mut self, name: &str) -> u64 {
        let value = self.ended.stop.counter(name);
        if value.is_none() {
            self.wrong.push(format!("the last status has no counter {name}"));
        }
        value.unwrap_or_default()
    }

    /// The sum of counters whose names the test accepts.
    fn sum(&self, wanted: impl Fn(&str) -> bool) -> u64 {
        self.ended.stop.counters().filter(|(name, _)| wanted(name)).map(|(_, value)| value).sum()
    }

    fn equal(&mut self, what: &str, left: u64, right: u64) {
        self.ensure(left == right, || format!("{what}: {left} against {right}"));
    }

    fn ensure(&mut self, holds: bool, what: impl FnOnce() -> String) {
        if !holds {
            self.wrong.push(what());
        }
    }
}

/// Whether a counter of a family, without the family's name, counts records that were not submitted.
fn is_lost(name: &str) -> bool {
    name.starts_with("dropped_") || name.starts_with("throttled")
}

fn is_folded(name: &str) -> bool {
    name.starts_with("folded")
}

fn of_family<'a>(name: &'a str, family: &str) -> Option<&'a str> {
    name.strip_prefix("kernel.")?.strip_prefix(family)?.strip_prefix('.')
}

/// The account of what the loads did.
pub(super) fn account(ended: &Ended, done: &[Loaded]) -> Account {
    let pids: Vec<u32> = done.iter().map(|loaded| loaded.pid).collect();
    let (ours, theirs) = (ended.seen.of(&pids), ended.seen.of_others(&pids));
    let mut check = Check { ended, wrong: Vec::new() };
    let mut folded = kernel(&mut check);
    queue(&mut check);
    let opens: u64 = done.iter().map(|loaded| loaded.opens).sum();
    let connects: u64 = done.iter().map(|loaded| loaded.connects).sum();
    let others = Others {
        file: beyond(&mut check, "file", opens),
        connection: beyond(&mut check, "connection", connects * RECORDS_OF_A_CONNECT),
    };
    acts(&mut check, &ours, &theirs, (opens, connects));
    folded += ended.seen.folded;
    let mut lost: Vec<Lost> = ended
        .stop
        .counters()
        .filter(|(name, count)| {
            let in_kernel = name.strip_prefix("kernel.").and_then(|name| name.split_once('.'));
            *count > 0 && (in_kernel.is_some_and(|(_, name)| is_lost(name)) || QUEUE.contains(name))
        })
        .map(|(cause, count)| Lost { cause: cause.to_owned(), count })
        .collect();
    lost.sort_by(|a, b| b.count.cmp(&a.count).then_with(|| a.cause.cmp(&b.cause)));
    Account {
        expected_events: expected(done),
        delivered_events: ours.events(),
        lost_total: lost.iter().map(|lost| lost.count).sum(),
        lost,
        folded,
        records_of_others: others,
        disagreements: check.wrong,
    }
}

/// Every record that was attempted was read and decoded, or was lost for a reason that was told; what was folded.
fn kernel(check: &mut Check<'_>) -> u64 {
    let families: BTreeSet<String> = check
        .ended
        .stop
        .counters()
        .filter_map(|(name, _)| Some(name.strip_prefix("kernel.")?.strip_suffix(".attempted")?.to_owned()))
        .collect();
    check.ensure(!families.is_empty(), || "the last status has no counter of what was attempted".to_owned());
    let (mut submitted, mut lost, mut folded) = (0, 0, 0);
    for family in &families {
        let of = |check: &Check<'_>, wanted: fn(&str) -> bool| {
            check.sum(|name| of_family(name, family).is_some_and(wanted))
        };
        let sent = of(check, |name| name == "submitted");
        let gone = of(check, is_lost);
        let fold = of(check, is_folded);
        let attempted = of(check, |name| name == "attempted");
        check.equal(
            &format!("{family}: attempted = submitted + dropped + throttled + folded"),
            attempted,
            sent + gone + fold,
        );
        (submitted, lost, folded) = (submitted + sent, lost + gone, folded + fold);
    }
    let read = check.counter("decode.read");
    check.equal("submitted = read", submitted, read);
    let decoded = check.counter("decode.decoded");
    let undecodable = check.sum(|name| name.starts_with("decode.undecodable."));
    check.equal("read = decoded + undecodable", read, decoded + undecodable);
    let told = check.ended.seen.gaps.iter();
    let told = told.filter(|((stage, cause), _)| stage == "kernel" && cause != "run_skipped");
    let told = told.map(|(_, lost)| lost).sum();
    // A gap event itself may have been turned away; the queue tells so.
    if check.sum(|name| FULL.contains(&name)) == 0 {
        check.equal("dropped and throttled = told by gap events", lost, told);
    }
    folded
}

/// Every event that was made was collected, or was lost for a reason that was told.
fn queue(check: &mut Check<'_>) {
    let made = check.sum(|name| name.starts_with("event."));
    let (queued, full) = (check.counter("queue.queued"), check.sum(|name| FULL.contains(&name)));
    // The status that tells this is itself still on its way to the queue.
    check.equal("events = queued + turned away + this status", made, queued + full + 1);
    let lines = check.ended.seen.lines;
    check.equal("queued + this status = collected", queued + 1, lines);
    check.equal("lines that could not be understood", check.ended.seen.unreadable, 0);
    for key in ["missing", "duplicates", "refused", "failed_writes"] {
        let value = check.ended.status.get(key).and_then(serde_json::Value::as_u64);
        check.ensure(value == Some(0), || format!("the collector's {key} is {value:?}"));
    }
}

/// What the kernel attempted beyond what the loads did: never less than nothing.
fn beyond(check: &mut Check<'_>, family: &str, done: u64) -> u64 {
    let attempted = check.counter(&format!("kernel.{family}.attempted"));
    check.ensure(attempted >= done, || {
        format!("{family}: {done} records are owed for what was done, the kernel counted {attempted}")
    });
    attempted.saturating_sub(done)
}

/// No act is neither told nor lost; and where nothing was lost, each is told once.
fn acts(check: &mut Check<'_>, ours: &Told, theirs: &Told, (opens, connects): (u64, u64)) {
    let lost = |check: &Check<'_>, family: &str| {
        check.sum(|name| of_family(name, family).is_some_and(|name| is_lost(name) || is_folded(name)))
    };
    let behind = check.sum(|name| QUEUE.contains(&name));
    for (what, done, told, family) in [
        ("opens", opens, ours.opens, "file"),
        ("connections", connects, ours.connections, "connection"),
        ("ends of connections", connects, ours.ends, "connection"),
    ] {
        let lost = lost(check, family) + behind;
        check.ensure(told <= done, || format!("{what}: {done} were done, {told} told"));
        check.ensure(told + lost >= done, || {
            format!("{what}: {done} were done, {told} told, {lost} told as lost: some are unaccounted for")
        });
        if lost == 0 {
            check.equal(what, done, told);
        }
    }
    check.equal("other events of the loads", ours.others, 0);
    // Opens are a record each: with the others' told and lost they are what the kernel counted.
    let attempted = check.counter("kernel.file.attempted");
    let records = ours.opens + theirs.opens + lost(check, "file") + behind;
    let unseen = check.sum(|name| name.starts_with("record."));
    check.ensure(attempted <= records + theirs.others + unseen, || {
        format!("file: {attempted} records were attempted, {records} are told or lost")
    });
}
