//! Names of cgroups by their id.
//!
//! An id of a cgroup is never used again and a cgroup of version 2 cannot be renamed, so a name once learned stays true after the
//! cgroup is gone: a container that lived for a millisecond keeps its name.
//!
//! A name is learned when the cgroup is made, from each exec in it, and from a reading of the tree at the start. Where that
//! was lost, it is asked for when something acts there. What was made and where nothing has acted yet is kept apart from
//! what is in use, and what somebody made beyond his budget apart from both: whoever makes many forgets his own.

use std::sync::Arc;

use crate::generations::Generations;
use crate::model::bytes::RawBytes;
use crate::model::process::Cgroup;
use crate::model::time::BootTime;

/// cgroups in use that are always kept, and twice as many at most; a large node runs a few thousand.
const USED: usize = 8_192;
/// The same of those in which nothing has acted yet: an engine's own processes do so within milliseconds, and those that one
/// user may make in half a second are as many.
const MADE: usize = 4_096;
/// The same of those made beyond a budget.
const FLOODED: usize = 1_024;
/// Ids that were asked for, and are not asked for again.
const ASKED: usize = 4_096;
/// Ids that wait to be asked for: the tree is read once for all of them.
const WAITING: usize = 256;
/// Between two readings of the tree, ns: of a host with many cgroups each takes a tenth of a second.
const BETWEEN_NS: u64 = 1_000_000_000;

/// Names of cgroups.
#[derive(Debug)]
pub struct CgroupNames {
    used: Generations<u64, Arc<Cgroup>>,
    made: Generations<u64, Arc<Cgroup>>,
    flooded: Generations<u64, Arc<Cgroup>>,
    asked: Generations<u64, ()>,
    waiting: Vec<u64>,
    asked_at: Option<BootTime>,
    counters: CgroupCounters,
}

/// What was not known of cgroups; each only grows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CgroupCounters {
    /// Names dropped because there were too many.
    pub evicted: u64,
    /// How often a name was wanted that is not known.
    pub unknown: u64,
    /// cgroups that were not asked for, because too many waited.
    pub not_asked: u64,
}

impl Default for CgroupNames {
    fn default() -> Self {
        Self {
            used: Generations::new(USED),
            made: Generations::new(MADE),
            flooded: Generations::new(FLOODED),
            asked: Generations::new(ASKED),
            waiting: Vec::new(),
            asked_at: None,
            counters: CgroupCounters::default(),
        }
    }
}

impl CgroupNames {
    /// Learns the name of a cgroup that is in use; the shared form of it. A path that does not begin at the root (cut, or
    /// empty) is no name: the known one stays.
    pub fn learn(&mut self, id: u64, path: &RawBytes) -> Arc<Cgroup> {
        let whole = is_whole(path);
        if let Some(known) = self.get(id).filter(|known| !whole || known.path == *path) {
            return known;
        }
        let cgroup = Arc::new(Cgroup { id, path: path.clone() });
        if whole && id != 0 {
            self.used.insert(id, cgroup.clone());
        }
        cgroup
    }

    /// Learns the name of one that was made, and is not in use yet.
    pub fn made(&mut self, cgroup: Cgroup, is_beyond_budget: bool) {
        if !is_whole(&cgroup.path) || cgroup.id == 0 || self.used.get(&cgroup.id).is_some() {
            return;
        }
        let names = if is_beyond_budget { &mut self.flooded } else { &mut self.made };
        names.insert(cgroup.id, Arc::new(cgroup));
    }

    /// A cgroup by its id, where its name is known. It is in use.
    pub fn get(&mut self, id: u64) -> Option<Arc<Cgroup>> {
        if let Some(known) = self.used.touched(&id) {
            return Some(known);
        }
        let cgroup = self.made.remove(&id).or_else(|| self.flooded.remove(&id))?;
        self.used.insert(id, cgroup.clone());
        Some(cgroup)
    }

    /// A cgroup by its id; with an empty path where its name is not known, which is then asked for.
    pub fn named(&mut self, id: u64) -> Arc<Cgroup> {
        let cgroup = self.named_already(id);
        if cgroup.path.is_empty() {
            self.ask(id);
        }
        cgroup
    }

    /// The same, and it is not asked for.
    pub fn named_already(&mut self, id: u64) -> Arc<Cgroup> {
        self.get(id).unwrap_or_else(|| Arc::new(Cgroup { id, path: RawBytes::default() }))
    }

    /// All names that are known, in no order.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Cgroup>> {
        [&self.used, &self.made, &self.flooded]
            .into_iter()
            .flat_map(Generations::iter)
            .map(|(_, cgroup)| cgroup)
    }

    /// The ids whose names are to be looked for in the tree; none where that was done a moment ago.
    pub fn take_wanted(&mut self, now: BootTime) -> Vec<u64> {
        if self.waiting.is_empty() || self.asked_at.is_some_and(|at| now.since_ns(at) < BETWEEN_NS) {
            return Vec::new();
        }
        // Some were told since.
        let used = &self.used;
        self.waiting.retain(|id| used.get(id).is_none());
        self.asked_at = Some(now);
        std::mem::take(&mut self.waiting)
    }

    /// Says that so many will not be looked for.
    pub fn not_asked(&mut self, number: usize) {
        self.counters.not_asked += number as u64;
    }

    /// What was not known.
    pub fn counters(&self) -> CgroupCounters {
        let evicted = self.used.evicted() + self.made.evicted() + self.flooded.evicted();
        CgroupCounters { evicted, ..self.counters }
    }

    fn ask(&mut self, id: u64) {
        self.counters.unknown += 1;
        if id == 0 || self.asked.touched(&id).is_some() {
            return;
        }
        if self.waiting.len() >= WAITING {
            self.counters.not_asked += 1;
            return;
        }
        self.asked.insert(id, ());
        self.waiting.push(id);
    }
}

fn is_whole(path: &RawBytes) -> bool {
    path.as_bytes().starts_with(b"/")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn made(names: &mut CgroupNames, id: u64, is_beyond_budget: bool) {
        names.made(Cgroup { id, path: "/made".into() }, is_beyond_budget);
    }

    #[test]
    fn a_name_in_use_outlives_any_number_of_others() {
        let mut names = CgroupNames::default();
        names.learn(1, &"/kept".into());
        for id in 2..4 * USED as u64 {
            names.learn(id, &"/other".into());
            assert_eq!(names.named(1).path, "/kept".into());
        }
        assert!(names.used.iter().count() <= 2 * USED);
        assert!(names.counters().evicted > 0);
        assert_eq!(names.named(2).path, RawBytes::default());
    }

    #[test]
    fn what_is_no_name_does_not_replace_a_known_one() {
        let mut names = CgroupNames::default();
        names.learn(7, &"/a".into());
        assert_eq!(names.learn(7, &RawBytes::default()).path, "/a".into());
        assert_eq!(names.learn(7, &"cut/a".into()).path, "/a".into());
        assert_eq!(names.learn(9, &"cut/b".into()).path, "cut/b".into());
        assert!(names.get(9).is_none());
        assert_eq!(names.learn(8, &RawBytes::default()).path, RawBytes::default());
        assert!(names.get(8).is_none());
        names.made(Cgroup { id: 7, path: "/b".into() }, false);
        names.made(Cgroup { id: 8, path: RawBytes::default() }, false);
        assert_eq!(names.named(7).path, "/a".into());
        assert!(names.get(8).is_none());
    }

    #[test]
    fn who_makes_many_forgets_neither_what_is_in_use_nor_what_others_make() {
        let mut names = CgroupNames::default();
        names.learn(1, &"/used".into());
        made(&mut names, 2, false);
        for id in 10..100_000 {
            made(&mut names, id, true);
        }
        assert_eq!(
            (names.named(1).path.clone(), names.named(2).path.clone()),
            ("/used".into(), "/made".into())
        );
        for id in 100_000..200_000 {
            made(&mut names, id, false);
        }
        // It was used in between.
        assert_eq!(names.named(2).path, "/made".into());
        assert_eq!(names.named(199_999).path, "/made".into());
        assert!(names.made.iter().count() <= 2 * MADE && names.flooded.iter().count() <= 2 * FLOODED);
    }

    #[test]
    fn what_is_not_known_is_asked_for_once() {
        let at = |ns| BootTime::from_ns(ns);
        let mut names = CgroupNames::default();
        assert_eq!(names.take_wanted(at(1)), Vec::<u64>::new());
        for _ in 0..2 {
            names.named(5);
        }
        names.named(0);
        assert_eq!(names.take_wanted(at(1)), [5]);
        names.named(5);
        names.named(6);
        assert_eq!(names.take_wanted(at(2)), Vec::<u64>::new());
        assert_eq!(names.take_wanted(at(1 + BETWEEN_NS)), [6]);
        names.learn(5, &"/five".into());
        assert_eq!(names.named(5).path, "/five".into());
        assert_eq!(names.counters(), CgroupCounters { evicted: 0, unknown: 5, not_asked: 0 });
        for id in 100..100 + WAITING as u64 + 3 {
            names.named(id);
        }
        assert_eq!(names.counters().not_asked, 3);
        assert_eq!(names.take_wanted(at(3 * BETWEEN_NS)).len(), WAITING);
        // It may be asked for when it is met again.
        names.named(102 + WAITING as u64);
        assert_eq!(names.take_wanted(at(5 * BETWEEN_NS)), [102 + WAITING as u64]);
    }
}
