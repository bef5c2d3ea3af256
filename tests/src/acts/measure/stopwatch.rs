//! Times of acts.

use std::collections::BTreeMap;
use std::ops::Range;
use std::thread;
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

use super::{Measured, Owed, Path};

/// Acts of each path that are done and not counted: they fill caches and tables.
const WARM_UP: u32 = 20;
/// What the agent gets to take what hundreds of acts told it. An idle machine's clock jumps over the rest.
const PAUSE: Duration = Duration::from_millis(500);
/// The same after one act.
const SHORT_PAUSE: Duration = Duration::from_millis(20);
/// Turns of the two loops of known length: their times differ by twice as many instructions.
const TURNS: [(&str, u64); 2] = [("loop_1000", 1_000), ("loop_51000", 51_000)];

/// Keeps times, and what an agent owes.
pub(super) struct Stopwatch {
    times: u32,
    paths: BTreeMap<&'static str, Vec<u64>>,
    pub(super) owed: Owed,
}

impl Stopwatch {
    pub(super) fn new(times: u32) -> Self {
        Self { times, paths: BTreeMap::new(), owed: Owed::default() }
    }

    /// Numbers for acts of one path or of several, after a pause.
    pub(super) fn rounds(&self) -> Range<u32> {
        thread::sleep(PAUSE);
        0..WARM_UP + self.times
    }

    /// Keeps a time.
    pub(super) fn keep(&mut self, path: &'static str, ns: u64) {
        let room = (WARM_UP + self.times) as usize;
        self.paths.entry(path).or_insert_with(|| Vec::with_capacity(room)).push(ns);
    }

    /// Times nothing, and loops of known length: by these, whoever reads the times knows what the clock counts.
    pub(super) fn calibrate(&mut self) {
        for _ in self.rounds() {
            let ((), ns) = timed(|| ());
            self.keep("nothing", ns);
        }
        for (name, turns) in TURNS {
            for _ in self.rounds() {
                let ((), ns) = timed(|| spin(turns));
                self.keep(name, ns);
            }
        }
    }

    pub(super) fn finish(self) -> Measured {
        let counted = |ns: Vec<u64>| ns.into_iter().skip(WARM_UP as usize).collect();
        let paths = self.paths.into_iter().map(|(name, ns)| Path { name: name.to_owned(), ns: counted(ns) });
        Measured { pid: std::process::id(), paths: paths.collect(), owed: self.owed }
    }
}

/// Leaves the processor to others for a moment.
pub(super) fn pause() {
    thread::sleep(SHORT_PAUSE);
}

/// What an act gave, and its time.
#[inline]
pub(super) fn timed<T>(act: impl FnOnce() -> T) -> (T, u64) {
    let begun = now_ns();
    let done = act();
    (done, now_ns().saturating_sub(begun))
}

#[inline]
fn now_ns() -> u64 {
    // Mapped code of the kernel: no system call.
    let time = clock_gettime(ClockId::Monotonic);
    time.tv_sec.unsigned_abs() * 1_000_000_000 + time.tv_nsec.unsigned_abs()
}

/// Two instructions a turn.
#[cfg(target_arch = "x86_64")]
fn spin(turns: u64) {
    // SAFETY: counts a register of its own down, `turns` is not 0.
    unsafe {
        std::arch::asm!("2:", "dec {0}", "jnz 2b", inout(reg) turns => _, options(nomem, nostack));
    }
}

/// Two instructions a turn.
#[cfg(target_arch = "aarch64")]
fn spin(turns: u64) {
    // SAFETY: counts a register of its own down, `turns` is not 0.
    unsafe {
        std::arch::asm!("2:", "subs {0}, {0}, #1", "b.ne 2b", inout(reg) turns => _, options(nomem, nostack));
    }
}
