//! How the loop learns of records: woken by each, or coming to look by itself.
//!
//! A wake-up costs whoever writes the record some 2,000 instructions, and the agent a turn of its loop. Where few records
//! come, each may wake: nothing runs in between, and each is told at once. Where many do, the kernel is told to wake nobody,
//! and the agent looks every [`LOOK_EVERY`].

use std::time::{Duration, Instant};

/// Between two looks. What is told is this late at most, and the rings hold far more than comes meanwhile.
pub(super) const LOOK_EVERY: Duration = Duration::from_millis(4);
/// Within this time so many wake-ups are too many: looking costs as much as 250 of them a second.
const WINDOW: Duration = Duration::from_millis(100);
const WAKES_A_WINDOW: u32 = 25;
/// Looks in a row that found nothing, after which the kernel may wake again.
const EMPTY_LOOKS: u32 = 25;

/// What the loop does to learn of records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    /// It sleeps until the kernel wakes it.
    Woken { since: Instant, wakes: u32 },
    /// It looks.
    Looking { empty: u32 },
    /// It looks once more: the kernel was told to wake, but a record that was being written then may not have heard.
    LookingOnceMore,
}

/// What the kernel is to be told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ask {
    /// To wake the agent.
    Wake,
    /// To let it come by itself.
    Quiet,
}

/// Decides between the two by what comes.
#[derive(Debug)]
pub(super) struct Attention {
    mode: Mode,
}

impl Attention {
    /// The kernel wakes, as from its start.
    pub(super) const fn new(now: Instant) -> Self {
        Self { mode: Mode::Woken { since: now, wakes: 0 } }
    }

    /// Whether to wait for the kernel; else to look every [`LOOK_EVERY`].
    pub(super) const fn is_woken(&self) -> bool {
        matches!(self.mode, Mode::Woken { .. })
    }

    /// The kernel woke the agent.
    pub(super) fn woken(&mut self, now: Instant) -> Option<Ask> {
        let Mode::Woken { since, wakes } = &mut self.mode else { return None };
        if now.saturating_duration_since(*since) > WINDOW {
            (*since, *wakes) = (now, 0);
        }
        *wakes += 1;
        if *wakes <= WAKES_A_WINDOW {
            return None;
        }
        self.mode = Mode::Looking { empty: 0 };
        Some(Ask::Quiet)
    }

    /// The agent looked, and found records or none.
    pub(super) fn looked(&mut self, now: Instant, found: bool) -> Option<Ask> {
        match &mut self.mode {
            Mode::Looking { empty } => {
                *empty = if found { 0 } else { *empty + 1 };
                if *empty < EMPTY_LOOKS {
                    return None;
                }
                self.mode = Mode::LookingOnceMore;
                Some(Ask::Wake)
            }
            Mode::LookingOnceMore => {
                self.mode = Mode::Woken { since: now, wakes: 0 };
                None
            }
            Mode::Woken { .. } => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const QUARTER: Duration = Duration::from_millis(25);

    #[test]
    fn few_records_wake_and_many_do_not() {
        let begun = Instant::now();
        let mut attention = Attention::new(begun);
        let few = (0..1_000).filter_map(|number| attention.woken(begun + QUARTER * number));
        assert_eq!(few.count(), 0, "forty a second");
        let later = begun + QUARTER * 2_000;
        let many: Vec<Ask> = (0..=WAKES_A_WINDOW).filter_map(|_| attention.woken(later)).collect();
        assert_eq!(many, [Ask::Quiet]);
        assert!(!attention.is_woken());
    }

    #[test]
    fn after_a_silence_the_agent_looks_once_more_before_it_sleeps() {
        let now = Instant::now();
        let mut attention = Attention { mode: Mode::Looking { empty: 0 } };
        assert_eq!(attention.looked(now, true), None);
        let asked: Vec<Ask> = (0..EMPTY_LOOKS).filter_map(|_| attention.looked(now, false)).collect();
        assert_eq!(asked, [Ask::Wake]);
        assert!(!attention.is_woken(), "one more look");
        assert_eq!(attention.looked(now, true), None);
        assert!(attention.is_woken());
    }

    #[test]
    fn a_trickle_keeps_the_agent_looking() {
        let now = Instant::now();
        let mut attention = Attention { mode: Mode::Looking { empty: 0 } };
        let asked = (0..1_000).filter_map(|look| attention.looked(now, look % EMPTY_LOOKS == 0)).count();
        assert_eq!(asked, 0);
    }
}
