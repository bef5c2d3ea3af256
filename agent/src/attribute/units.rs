//! What files say of the system's units, by name.
//!
//! Looking there is done elsewhere, as for containers: this says which units are to be looked up ([`Units::take_wanted`]),
//! and is told later. A unit is asked for when a process is first met in it, which is systemd's own, before the service's
//! program is executed; and what timers run is asked for at the start.

use std::sync::Arc;

use crate::generations::Generations;
use crate::model::container::Answer;
use crate::model::time::BootTime;
use crate::model::unit::{UnitFacts, UnitFound, is_unit_name};

/// Units of one generation. Two are kept, so that what is in use survives when the first is full; a host has 100 that run.
const GENERATION: usize = 1_024;
/// Units that are asked for at once.
const WANTED: usize = 256;
/// An answer so old is asked for again: files change, and transient units end.
const FRESH_NS: u64 = 120_000_000_000;
/// Units that one sweep asks for again.
const SWEEP: usize = 16;

/// Counters of [`Units`]; each only grows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct UnitCounters {
    /// Units asked for, each time anew.
    pub asked: u64,
    /// Units not asked for because too many were to be: their files say nothing until they are met again.
    pub not_asked: u64,
    /// Units forgotten because there were too many.
    pub evicted: u64,
}

impl UnitCounters {
    /// All counters with their stable names, for heartbeats and metrics.
    pub fn by_name(&self) -> [(&'static str, u64); 3] {
        let Self { asked, not_asked, evicted } = *self;
        [("unit_asked", asked), ("unit_not_asked", not_asked), ("unit_evicted", evicted)]
    }
}

#[derive(Clone, Debug)]
struct Known {
    /// `None`: not yet.
    answer: Option<Answer<UnitFacts>>,
    /// When it is asked for again.
    again_at: BootTime,
}

/// All that is known of units.
#[derive(Debug)]
pub struct Units {
    known: Generations<Arc<str>, Known>,
    wanted: Vec<Arc<str>>,
    now: BootTime,
    counters: UnitCounters,
}

impl Default for Units {
    fn default() -> Self {
        let (wanted, now, counters) = Default::default();
        Self { known: Generations::new(GENERATION), wanted, now, counters }
    }
}

impl Units {
    /// What is known of a unit; `None`: nothing yet.
    pub fn answer(&self, unit: &str) -> Option<&Answer<UnitFacts>> {
        self.known.get(unit)?.answer.as_ref()
    }

    /// What its files say, where that is known.
    pub fn facts(&self, unit: &str) -> Option<&Arc<UnitFacts>> {
        match self.answer(unit)? {
            Answer::Found(facts) => Some(facts),
            _ => None,
        }
    }

    /// What it did, and could not do.
    pub fn counters(&self) -> UnitCounters {
        UnitCounters { evicted: self.known.evicted(), ..self.counters }
    }

    /// A process is in this unit.
    pub fn see(&mut self, unit: &str) {
        if self.known.touch(unit).is_none() && is_unit_name(unit) {
            self.ask(unit.into(), None);
        }
    }

    fn ask(&mut self, unit: Arc<str>, answer: Option<Answer<UnitFacts>>) {
        if self.wanted.len() >= WANTED {
            self.counters.not_asked += 1;
            return;
        }
        let again_at = BootTime::from_ns(self.now.ns.saturating_add(FRESH_NS));
        self.counters.asked += 1;
        self.wanted.push(unit.clone());
        self.known.insert(unit, Known { answer, again_at });
    }

    /// Units that are to be looked up.
    pub fn take_wanted(&mut self) -> Vec<Arc<str>> {
        std::mem::take(&mut self.wanted)
    }

    /// Says that a unit will not be looked up now.
    pub fn refused(&mut self, unit: &str) {
        self.counters.not_asked += 1;
        // Met again, it is asked for again.
        let unanswered = |known: &Known| known.answer.is_none();
        if self.known.get(unit).is_some_and(unanswered) {
            self.known.remove(unit);
        }
    }

    /// Whether a unit is not answered for yet.
    pub fn is_waiting(&self) -> bool {
        self.known.iter().any(|(_, known)| known.answer.is_none())
    }

    /// Takes the time: by it answers grow old.
    pub fn at(&mut self, now: BootTime) {
        self.now = self.now.max(now);
    }

    /// Asks anew where it is time to.
    pub fn sweep(&mut self, now: BootTime) {
        self.at(now);
        let due = self.known.iter().filter(|(_, known)| known.again_at <= self.now);
        let due: Vec<_> = due.map(|(unit, known)| (unit.clone(), known.answer.clone())).take(SWEEP).collect();
        for (unit, answer) in due {
            self.ask(unit, answer);
        }
    }

    /// Takes an answer; whether what was said of the unit's processes is to be said anew.
    pub fn learn(&mut self, found: UnitFound) -> bool {
        let UnitFound { unit, answer } = found;
        let before = self.known.remove(&unit);
        let before = before.and_then(|known| known.answer);
        match (&before, &answer) {
            // It has ended, and its files with it.
            (Some(Answer::Found(_)), Answer::NotFound) => return false,
            // Its files could not be read this once: they are asked for again.
            (Some(Answer::Found(_)), Answer::TooLarge | Answer::Unreadable) => {
                self.learnt(unit, before);
                return false;
            }
            _ => {}
        }
        // That there is no file is told of nobody: of most scopes there is none.
        let says = before.is_some() || answer != Answer::NotFound;
        let changes = says && before.as_ref() != Some(&answer);
        self.learnt(unit, Some(answer));
        changes
    }

    fn learnt(&mut self, unit: Arc<str>, answer: Option<Answer<UnitFacts>>) {
        let again_at = BootTime::from_ns(self.now.ns.saturating_add(FRESH_NS));
        self.known.insert(unit, Known { answer, again_at });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> BootTime {
        BootTime::from_ns(seconds * 1_000_000_000)
    }

    fn found(unit: &str, fragment: &str) -> UnitFound {
        let facts = UnitFacts { fragment: fragment.into(), ..UnitFacts::default() };
        UnitFound { unit: unit.into(), answer: Answer::Found(Arc::new(facts)) }
    }

    fn no(unit: &str, answer: Answer<UnitFacts>) -> UnitFound {
        UnitFound { unit: unit.into(), answer }
    }

    #[test]
    fn a_unit_is_asked_for_once_and_again_after_a_while() {
        let mut units = Units::default();
        units.at(at(10));
        units.see("a.service");
        units.see("a.service");
        units.see("../a.service");
        assert_eq!(units.take_wanted(), ["a.service".into()]);
        assert!(units.is_waiting());
        assert!(units.learn(found("a.service", "/a")));
        assert!(!units.is_waiting());
        units.sweep(at(100));
        assert!(units.take_wanted().is_empty());
        units.sweep(at(131));
        assert_eq!(units.take_wanted(), ["a.service".into()]);
        assert!(units.facts("a.service").is_some(), "what was known stays until then");
        assert!(!units.learn(found("a.service", "/a")), "nothing has changed");
        assert!(units.learn(found("a.service", "/b")));
        assert!(!units.learn(no("a.service", Answer::Unreadable)));
        assert_eq!(units.facts("a.service").map(|facts| &*facts.fragment), Some("/b"));
        assert!(units.learn(no("a.service", Answer::Refused)), "it is another's by now");
        assert!(units.facts("a.service").is_none());
        assert!(units.learn(found("a.service", "/b")));
        assert!(!units.learn(no("a.service", Answer::NotFound)), "it has ended");
        assert!(units.answer("a.service").is_none());
        assert!(units.learn(found("timed.service", "/t")), "nobody has asked");
        assert!(!units.learn(no("session.scope", Answer::NotFound)));
    }

    #[test]
    fn any_number_of_units_is_bounded() {
        let mut units = Units::default();
        units.see("kept.service");
        units.learn(found("kept.service", "/k"));
        for number in 0..5 * GENERATION {
            units.see(&format!("run-u{number}.service"));
            units.see("kept.service");
            assert!(units.take_wanted().len() <= WANTED);
            assert!(units.known.iter().count() <= 2 * GENERATION);
        }
        assert!(units.facts("kept.service").is_some());
        assert!(units.counters().evicted > 0);
        for number in 0..2 * WANTED {
            units.see(&format!("x{number}.service"));
        }
        let wanted = units.take_wanted();
        assert_eq!(wanted.len(), WANTED);
        assert!(units.counters().not_asked > 0);
        units.refused(&wanted[0]);
        units.see(&wanted[0]);
        assert_eq!(units.take_wanted(), [wanted[0].clone()]);
        units.sweep(at(1_000_000));
        assert!(units.take_wanted().len() <= SWEEP);
    }
}
