//! A bounded memory of the newest entries by key.
//!
//! Own code: the LRU crates (`lru`, `schnellru`, `quick_cache`) were looked at; they renew an entry when it is read,
//! and this must forget in the order of arrival.

use std::collections::{BTreeMap, HashMap};

/// Values by key; the oldest goes when there is no room.
pub(crate) struct Recent<V> {
    values: HashMap<u64, (u64, V)>,
    order: BTreeMap<u64, u64>,
    serial: u64,
    capacity: usize,
}

impl<V> Recent<V> {
    pub(crate) fn new(capacity: usize) -> Self {
        Self { values: HashMap::new(), order: BTreeMap::new(), serial: 0, capacity }
    }

    /// Inserts or replaces; gives the value that had to go for want of room.
    pub(crate) fn insert(&mut self, key: u64, value: V) -> Option<V> {
        self.remove(key);
        let displaced = if self.values.len() >= self.capacity {
            self.order.pop_first().and_then(|(_, oldest)| self.values.remove(&oldest)).map(|(_, value)| value)
        } else {
            None
        };
        self.serial += 1;
        self.order.insert(self.serial, key);
        self.values.insert(key, (self.serial, value));
        displaced
    }

    pub(crate) fn get(&self, key: u64) -> Option<&V> {
        self.values.get(&key).map(|(_, value)| value)
    }

    pub(crate) fn get_mut(&mut self, key: u64) -> Option<&mut V> {
        self.values.get_mut(&key).map(|(_, value)| value)
    }

    pub(crate) fn remove(&mut self, key: u64) -> Option<V> {
        let (serial, value) = self.values.remove(&key)?;
        self.order.remove(&serial);
        Some(value)
    }

    /// Removes entries from the oldest on while `is_old` says so, and gives them.
    pub(super) fn take_older(&mut self, is_old: impl Fn(&V) -> bool) -> Vec<V> {
        let mut taken = Vec::new();
        while let Some((_, &key)) = self.order.first_key_value() {
            if !self.get(key).is_some_and(&is_old) {
                break;
            }
            taken.extend(self.remove(key));
        }
        taken
    }

    pub(crate) fn len(&self) -> usize {
        self.values.len()
    }
}
