//! The collector's output, read as fast as it comes: of an activity, whose it is, of which kind, and how late.
//!
//! At 100,000 lines a second a JSON reader would be the busiest program of the benchmark. Here the line is looked
//! through for the keys that docs/events.md promises, in the order in which they stand there; an event of the agent about
//! itself is kept whole.

use std::collections::{BTreeMap, HashMap};
use std::io::Read;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use memchr::{memchr, memmem};

use super::interrupt;
use crate::acts::boot_ns;
use crate::harness::event::Event;
use crate::outcome::{Outcome, failed};

/// Bytes read at once.
const CHUNK: usize = 1 << 20;
/// Longest line that is waited for; what is longer is counted as unreadable.
const LONGEST_LINE: usize = 16 << 20;
/// Processes told apart that nobody has asked for, at most; the rest is counted together.
const PROCESSES: usize = 1024;
/// Events of the agent about itself that are kept, at most.
const STATUSES: usize = 1024;
/// Longest delay told apart: ten minutes.
const LONGEST_NS: u64 = 600_000_000_000;
/// How often a wait looks for an interruption.
const LOOK: Duration = Duration::from_millis(20);

/// What was told of a process, or of several.
#[derive(Clone, Debug, Default)]
pub(super) struct Told {
    /// `credential_access`.
    pub(super) opens: u64,
    /// `connection`.
    pub(super) connections: u64,
    /// `connection_end`.
    pub(super) ends: u64,
    /// Any other activity.
    pub(super) others: u64,
    /// From the act to its line, in nanoseconds.
    pub(super) delay_ns: Option<Histogram<u64>>,
}

impl Told {
    /// All events.
    pub(super) fn events(&self) -> u64 {
        self.opens + self.connections + self.ends + self.others
    }

    /// Whether nothing was told.
    pub(super) fn is_empty(&self) -> bool {
        self.events() == 0
    }

    fn take(&mut self, kind: &[u8], delay_ns: u64) {
        match kind {
            b"credential_access" => self.opens += 1,
            b"connection" => self.connections += 1,
            b"connection_end" => self.ends += 1,
            _ => self.others += 1,
        }
        if self.delay_ns.is_none() {
            // Two digits within these bounds make a histogram.
            self.delay_ns = Histogram::new_with_bounds(1, LONGEST_NS, 2).ok();
        }
        if let Some(delays) = &mut self.delay_ns {
            delays.saturating_record(delay_ns.max(1));
        }
    }

    /// Adds what was told of another.
    pub(super) fn add(&mut self, other: &Self) {
        self.opens += other.opens;
        self.connections += other.connections;
        self.ends += other.ends;
        self.others += other.others;
        match (&mut self.delay_ns, &other.delay_ns) {
            (Some(mine), Some(theirs)) => {
                // Both have the same bounds.
                let _ = mine.add(theirs);
            }
            (mine @ None, theirs) => mine.clone_from(theirs),
            (Some(_), None) => {}
        }
    }

    /// The delay that so much of all were not above, in milliseconds.
    pub(super) fn delay_ms(&self, quantile: f64) -> Option<f64> {
        let delays = self.delay_ns.as_ref().filter(|delays| !delays.is_empty())?;
        Some(delays.value_at_quantile(quantile) as f64 / 1e6)
    }
}

/// All that was read so far.
#[derive(Clone, Debug, Default)]
pub(super) struct Seen {
    /// Lines.
    pub(super) lines: u64,
    /// Lines that could not be understood.
    pub(super) unreadable: u64,
    /// Activities by process.
    pub(super) processes: HashMap<u32, Told>,
    /// Activities of processes beyond the bound.
    pub(super) rest: Told,
    /// What `repeat` events tell as folded.
    pub(super) folded: u64,
    /// What `gap` events tell as lost, by stage and cause.
    pub(super) gaps: BTreeMap<(String, String), u64>,
    /// `agent_status`, in their order.
    pub(super) statuses: Vec<Event>,
    ended: bool,
}

impl Seen {
    /// What was told of these processes.
    pub(super) fn of(&self, pids: &[u32]) -> Told {
        let mut told = Told::default();
        pids.iter().filter_map(|pid| self.processes.get(pid)).for_each(|one| told.add(one));
        told
    }

    /// And of all others.
    pub(super) fn of_others(&self, pids: &[u32]) -> Told {
        let mut told = self.rest.clone();
        self.processes.iter().filter(|(pid, _)| !pids.contains(pid)).for_each(|(_, one)| told.add(one));
        told
    }

    fn line(&mut self, line: &[u8], now_ns: u64) {
        self.lines += 1;
        let Some((kind, boot_ns, rest)) = head(line) else {
            self.unreadable += 1;
            return;
        };
        match kind {
            b"agent_status" | b"gap" | b"repeat" | b"unknown" => self.about_itself(kind, line),
            _ => {
                let Some(pid) = number(rest, b"\"pid\":").and_then(|pid| u32::try_from(pid).ok()) else {
                    self.unreadable += 1;
                    return;
                };
                let known = self.processes.len() < PROCESSES || self.processes.contains_key(&pid);
                let told = if known { self.processes.entry(pid).or_default() } else { &mut self.rest };
                told.take(kind, now_ns.saturating_sub(boot_ns));
            }
        }
    }

    fn about_itself(&mut self, kind: &[u8], line: &[u8]) {
        let event = Event::read(String::from_utf8_lossy(line).into_owned());
        match kind {
            b"gap" => {
                let key = (event.text("stage").to_owned(), event.text("cause").to_owned());
                *self.gaps.entry(key).or_default() += event.number("lost").unwrap_or_default();
            }
            b"repeat" => self.folded += event.number("count").unwrap_or_default(),
            _ if self.statuses.len() < STATUSES => self.statuses.push(event),
            _ => {}
        }
    }
}

/// Kind and time of an event, and what follows them.
fn head(line: &[u8]) -> Option<(&[u8], u64, &[u8])> {
    let at = memmem::find(line, b"\"boot_ns\":")?;
    let rest = line.get(at..)?;
    let boot_ns = number(rest, b"\"boot_ns\":")?;
    let kind = rest.get(memmem::find(rest, b"\"event\":\"")? + b"\"event\":\"".len()..)?;
    let end = memchr(b'"', kind)?;
    Some((kind.get(..end)?, boot_ns, kind.get(end..)?))
}

/// The first number of that key.
fn number(text: &[u8], key: &[u8]) -> Option<u64> {
    let digits = text.get(memmem::find(text, key)? + key.len()..)?;
    let end = digits.iter().position(|byte| !byte.is_ascii_digit()).unwrap_or(digits.len());
    std::str::from_utf8(digits.get(..end)?).ok()?.parse().ok()
}

/// A thread that reads, and what it has read.
#[derive(Clone, Debug)]
pub(super) struct Reader {
    shared: Arc<(Mutex<Seen>, Condvar)>,
}

impl Reader {
    /// Reads `source` to its end.
    pub(super) fn reading(mut source: impl Read + Send + 'static) -> Self {
        let shared: Arc<(Mutex<Seen>, Condvar)> = Arc::default();
        let reader = Self { shared: shared.clone() };
        thread::spawn(move || {
            let writer = Self { shared };
            let mut buffer = vec![0; CHUNK];
            let mut half: Vec<u8> = Vec::new();
            while let Ok(read @ 1..) = source.read(&mut buffer) {
                let now_ns = boot_ns();
                let mut rest = buffer.get(..read).unwrap_or_default();
                let mut seen = writer.lock();
                while let Some(end) = memchr(b'\n', rest) {
                    let (line, after) = rest.split_at(end);
                    if half.is_empty() {
                        seen.line(line, now_ns);
                    } else {
                        half.extend_from_slice(line);
                        seen.line(&half, now_ns);
                        half.clear();
                    }
                    rest = after.get(1..).unwrap_or_default();
                }
                if half.len() + rest.len() > LONGEST_LINE {
                    seen.unreadable += 1;
                    half.clear();
                } else {
                    half.extend_from_slice(rest);
                }
                drop(seen);
                writer.shared.1.notify_all();
            }
            writer.lock().ended = true;
            writer.shared.1.notify_all();
        });
        reader
    }

    fn lock(&self) -> MutexGuard<'_, Seen> {
        self.shared.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells this process apart, however many others there are.
    pub(super) fn expect(&self, pid: u32) {
        self.lock().processes.entry(pid).or_default();
    }

    /// Looks at what was read so far.
    pub(super) fn look<T>(&self, look: impl FnOnce(&Seen) -> T) -> T {
        look(&self.lock())
    }

    /// Waits until `look` finds something in what was read.
    ///
    /// # Errors
    /// Where the output ends before that, or it takes longer than `limit`, or the user wants no more.
    pub(super) fn wait<T>(
        &self,
        what: &str,
        limit: Duration,
        look: impl Fn(&Seen) -> Option<T>,
    ) -> Outcome<T> {
        let deadline = Instant::now() + limit;
        let mut seen = self.lock();
        loop {
            if let Some(found) = look(&seen) {
                return Ok(found);
            }
            interrupt::check()?;
            if seen.ended {
                return failed(format!("the collector's output ended before {what} came"));
            }
            if Instant::now() >= deadline {
                return failed(format!("{what} did not come within {limit:.0?} ({} lines did)", seen.lines));
            }
            seen = self.shared.1.wait_timeout(seen, LOOK).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Waits until the output has ended.
    pub(super) fn wait_end(&self, limit: Duration) -> Outcome<Seen> {
        let deadline = Instant::now() + limit;
        let mut seen = self.lock();
        while !seen.ended {
            interrupt::check()?;
            if Instant::now() >= deadline {
                return failed(format!("the collector did not close its output within {limit:.0?}"));
            }
            seen = self.shared.1.wait_timeout(seen, LOOK).unwrap_or_else(PoisonError::into_inner).0;
        }
        Ok(seen.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(text: &str) -> Seen {
        Reader::reading(std::io::Cursor::new(text.to_owned())).wait_end(Duration::from_secs(60)).unwrap()
    }

    fn line(kind: &str, pid: u32) -> String {
        format!(
            "{{\"id\":\"a/b/1/2\",\"seq\":2,\"boot_ns\":5,\"event\":\"{kind}\",\"identity\":\"x\",\"pid\":{pid},\
             \"lineage\":[{{\"pid\":99}}]}}\n"
        )
    }

    #[test]
    fn activities_are_counted_by_process_and_kind() {
        let kinds = ["credential_access", "connection", "connection_end", "connection", "datagram_flow"];
        let seen = seen(&kinds.map(|kind| line(kind, 7)).concat());
        let told = seen.of(&[7, 8]);
        assert_eq!((told.opens, told.connections, told.ends, told.others), (1, 2, 1, 1));
        assert_eq!((seen.of_others(&[7]).events(), seen.of_others(&[8]).events()), (0, 5));
        assert!(told.delay_ms(0.5) > Some(0.0));
        assert_eq!((seen.lines, seen.unreadable), (5, 0));
    }

    #[test]
    fn what_the_agent_says_of_itself_is_read_whole() {
        let gap = |lost| {
            format!(
                "{{\"boot_ns\":5,\"event\":\"gap\",\"stage\":\"kernel\",\"cause\":\"full\",\"lost\":{lost}}}\n"
            )
        };
        let repeat = "{\"boot_ns\":5,\"event\":\"repeat\",\"count\":12}\n";
        let status = "{\"boot_ns\":5,\"event\":\"agent_status\",\"phase\":\"stop\"}\n";
        let seen = seen(&[&gap(3), &gap(4), repeat, status].concat());
        assert_eq!(seen.gaps.get(&("kernel".to_owned(), "full".to_owned())), Some(&7));
        assert_eq!(seen.folded, 12);
        assert!(seen.statuses.iter().all(|event| event.is_phase("stop")) && seen.statuses.len() == 1);
    }

    #[test]
    fn what_is_no_event_is_counted_as_such() {
        assert_eq!(seen("{}\nhalf a line").unreadable, 1);
        assert_eq!(seen("{\"boot_ns\":5,\"event\":\"connection\"}\n").unreadable, 1);
    }

    #[test]
    fn told_of_several_is_the_sum() {
        let seen = seen(&[line("connection", 1), line("connection_end", 2)].concat());
        let told = seen.of(&[1, 2]);
        assert_eq!((told.events(), told.delay_ns.map(|delays| delays.len())), (2, Some(2)));
    }
}
