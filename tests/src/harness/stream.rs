//! Lines that a program prints, read by a thread as they come.

use std::io::{BufRead, BufReader, Read};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use crate::outcome::{Outcome, failed};

/// Lines kept, at most: ten times what the largest test makes. What is beyond fails the test that reads it.
const KEPT: usize = 400_000;

/// What a stream is made of.
pub(crate) trait Item: Clone + Send + 'static {
    /// Whether it comes by itself, also from a program that does nothing of what it is asked.
    fn is_idle(&self) -> bool;
}

impl Item for String {
    fn is_idle(&self) -> bool {
        false
    }
}

/// Lines of a program, each as `T`.
#[derive(Debug)]
pub(crate) struct Stream<T> {
    shared: Arc<Shared<T>>,
    /// Whose they are.
    name: String,
}

#[derive(Debug)]
struct Shared<T> {
    state: Mutex<State<T>>,
    changed: Condvar,
}

#[derive(Debug)]
struct State<T> {
    items: Vec<T>,
    ended: bool,
}

impl<T> Shared<T> {
    fn lock(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T> Clone for Stream<T> {
    fn clone(&self) -> Self {
        Self { shared: self.shared.clone(), name: self.name.clone() }
    }
}

impl<T: Item> Stream<T> {
    /// Reads `source` to its end.
    pub(crate) fn reading(
        name: impl Into<String>,
        source: impl Read + Send + 'static,
        read: impl Fn(String) -> T + Send + 'static,
    ) -> Self {
        let state = Mutex::new(State { items: Vec::new(), ended: false });
        let shared = Arc::new(Shared { state, changed: Condvar::new() });
        let writer = shared.clone();
        thread::spawn(move || {
            let mut source = BufReader::new(source);
            let mut line = Vec::new();
            // Bytes: a program that prints no UTF-8 is a finding, not the end of the stream.
            while source.read_until(b'\n', &mut line).is_ok_and(|read| read > 0) {
                let item = read(String::from_utf8_lossy(&line).trim_end().to_owned());
                line.clear();
                let mut state = writer.lock();
                if state.items.len() < KEPT {
                    state.items.push(item);
                }
                drop(state);
                writer.changed.notify_all();
            }
            writer.lock().ended = true;
            writer.changed.notify_all();
        });
        Self { shared, name: name.into() }
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.shared.lock().items.len()
    }

    /// All so far.
    pub(crate) fn all(&self) -> Vec<T> {
        self.since(0)
    }

    /// Those from a position on.
    pub(crate) fn since(&self, from: usize) -> Vec<T> {
        self.shared.lock().items.get(from..).unwrap_or_default().to_vec()
    }

    /// Shows each item from a position on to `look`, as they come, until it finds something.
    ///
    /// # Errors
    /// Where the program ends before that, or prints nothing but what comes by itself for so long, or prints other things
    /// for many times as long.
    pub(crate) fn wait<R>(
        &self,
        what: &str,
        from: usize,
        limit: Duration,
        mut look: impl FnMut(&T) -> Option<R>,
    ) -> Outcome<R> {
        let patience = Instant::now() + limit * 8;
        let mut deadline = Instant::now() + limit;
        let mut at = from;
        let mut state = self.shared.lock();
        loop {
            for item in state.items.get(at..).unwrap_or_default() {
                if !item.is_idle() {
                    deadline = patience.min(Instant::now() + limit);
                }
                at += 1;
                if let Some(found) = look(item) {
                    return Ok(found);
                }
            }
            if state.ended {
                return failed(format!("{} ended before {what} came", self.name));
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return failed(format!("{what} did not come from {} ({at} lines did)", self.name));
            }
            state = self.shared.changed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Waits until the program has closed its end.
    pub(crate) fn wait_end(&self, limit: Duration) -> Outcome {
        let state = self.shared.lock();
        let waiting = self.shared.changed.wait_timeout_while(state, limit, |state| !state.ended);
        let (state, _) = waiting.unwrap_or_else(PoisonError::into_inner);
        if state.ended {
            Ok(())
        } else {
            failed(format!("{} did not close its output within {limit:.0?}", self.name))
        }
    }
}
