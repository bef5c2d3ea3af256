//! Names by network namespace and address, for as long as they live.

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use crate::model::process::ProcessKey;
use crate::model::time::BootTime;

/// Names of one address: a content network has very many, of which the latest are asked for.
pub const NAMES_AN_ADDRESS: usize = 16;
/// An answer holds at least so long: with a time to live of 0, it is for whoever asked, who needs a moment to connect.
pub const SHORTEST: Duration = Duration::from_secs(5);
/// And at most so long, whatever it says.
pub const LONGEST: Duration = Duration::from_secs(86_400);

/// A network namespace, by its cookie, and an address in it.
pub type Key = (u64, IpAddr);

/// A name of an address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The name.
    pub name: Arc<str>,
    /// Who said it.
    pub server: IpAddr,
    /// Who asked.
    pub asker: ProcessKey,
    /// When it was said.
    answered: BootTime,
    /// Until when it holds.
    until: BootTime,
}

impl Entry {
    /// A name that was said at `answered`.
    pub fn new(
        name: Arc<str>,
        server: IpAddr,
        asker: ProcessKey,
        answered: BootTime,
        time_to_live: Duration,
    ) -> Self {
        let lives = u64::try_from(time_to_live.clamp(SHORTEST, LONGEST).as_nanos()).unwrap_or(u64::MAX);
        let until = BootTime::from_ns(answered.ns.saturating_add(lives));
        Self { name, server, asker, answered, until }
    }
}

/// Names of the addresses that were answered last.
#[derive(Debug)]
pub struct Cache {
    names: HashMap<Key, (u64, Vec<Entry>)>,
    /// Keys by when they were learnt of last.
    order: BTreeMap<u64, Key>,
    serial: u64,
    capacity: usize,
    evicted: u64,
}

impl Cache {
    /// Room for so many addresses.
    pub fn new(capacity: usize) -> Self {
        Self {
            names: HashMap::new(),
            order: BTreeMap::new(),
            serial: 0,
            capacity: capacity.max(1),
            evicted: 0,
        }
    }

    /// Takes a name of an address. What holds no longer goes; so does the oldest, where there is no room.
    pub fn learn(&mut self, key: Key, now: BootTime, entry: Entry) {
        self.serial += 1;
        let mut kept = match self.names.remove(&key) {
            Some((serial, kept)) => {
                self.order.remove(&serial);
                kept
            }
            None => Vec::new(),
        };
        kept.retain(|other| other.until >= now && other.name != entry.name);
        if kept.len() >= NAMES_AN_ADDRESS {
            kept.remove(0);
            self.evicted += 1;
        }
        kept.push(entry);
        if self.names.len() >= self.capacity
            && let Some((_, oldest)) = self.order.pop_first()
            && let Some((_, gone)) = self.names.remove(&oldest)
        {
            self.evicted += u64::from(gone.iter().any(|entry| entry.until >= now));
        }
        self.order.insert(self.serial, key);
        self.names.insert(key, (self.serial, kept));
    }

    /// The names that hold at `time`: those that `asker` asked for first, of each the latest first.
    pub fn find(&self, key: Key, time: BootTime, asker: ProcessKey) -> Vec<&Entry> {
        let kept = self.names.get(&key).map_or(&[][..], |(_, kept)| kept);
        let mut found: Vec<_> =
            kept.iter().rev().filter(|entry| entry.answered <= time && time <= entry.until).collect();
        found.sort_by_key(|entry| entry.asker != asker);
        found
    }

    /// Addresses.
    pub fn len(&self) -> usize {
        self.names.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.names.is_empty()
    }

    /// Names that still held and had to go for want of room.
    pub const fn evicted(&self) -> u64 {
        self.evicted
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;

    fn key(last: u8) -> Key {
        (7, IpAddr::from([192, 0, 2, last]))
    }

    fn process(pid: u32) -> ProcessKey {
        ProcessKey { pid, start: BootTime::from_ns(1) }
    }

    fn entry(name: &str, asker: u32, at: u64, lives: u64) -> Entry {
        let server = IpAddr::from([192, 0, 2, 53]);
        let at = BootTime::from_ns(at * SECOND);
        Entry::new(name.into(), server, process(asker), at, Duration::from_secs(lives))
    }

    fn learn(cache: &mut Cache, last: u8, at: u64, entry: Entry) {
        cache.learn(key(last), BootTime::from_ns(at * SECOND), entry);
    }

    fn names(cache: &Cache, last: u8, at: u64, asker: u32) -> Vec<String> {
        let found = cache.find(key(last), BootTime::from_ns(at * SECOND), process(asker));
        found.into_iter().map(|entry| entry.name.to_string()).collect()
    }

    #[test]
    fn a_name_holds_for_its_time() {
        let mut cache = Cache::new(8);
        learn(&mut cache, 1, 10, entry("a", 1, 10, 30));
        learn(&mut cache, 2, 10, entry("zero", 1, 10, 0));
        learn(&mut cache, 3, 10, entry("years", 1, 10, 1 << 31));
        assert_eq!(names(&cache, 1, 9, 1), [""; 0]);
        assert_eq!(names(&cache, 1, 40, 1), ["a"]);
        assert_eq!(names(&cache, 1, 41, 1), [""; 0]);
        assert_eq!(names(&cache, 2, 15, 1), ["zero"]);
        assert_eq!(names(&cache, 2, 16, 1), [""; 0]);
        assert_eq!(names(&cache, 3, 10 + 86_400, 1), ["years"]);
        assert_eq!(names(&cache, 3, 11 + 86_400, 1), [""; 0]);
    }

    #[test]
    fn ones_own_question_comes_before_what_others_asked_later() {
        let mut cache = Cache::new(8);
        for (at, (name, asker)) in [("mine", 1), ("theirs", 2), ("also-theirs", 2)].into_iter().enumerate() {
            learn(&mut cache, 1, at as u64, entry(name, asker, at as u64, 60));
        }
        assert_eq!(names(&cache, 1, 5, 1), ["mine", "also-theirs", "theirs"]);
        assert_eq!(names(&cache, 1, 5, 3), ["also-theirs", "theirs", "mine"]);
        assert!(cache.find((8, key(1).1), BootTime::from_ns(5 * SECOND), process(1)).is_empty());
    }

    #[test]
    fn what_goes_for_want_of_room_is_counted() {
        let mut cache = Cache::new(2);
        for last in 1..=3 {
            learn(&mut cache, last, 1, entry("a", 1, 1, 60));
        }
        assert_eq!((cache.len(), cache.evicted(), names(&cache, 1, 2, 1).len()), (2, 1, 0));
        for number in 0..40 {
            learn(&mut cache, 2, 1, entry(&number.to_string(), 1, 1, 60));
        }
        assert_eq!(names(&cache, 2, 2, 1).len(), NAMES_AN_ADDRESS);
        assert_eq!(cache.evicted(), 1 + 41 - NAMES_AN_ADDRESS as u64);
    }
}
