//! A bounded memory in two generations: what is used stays, and of the rest the oldest goes, all at once.
//!
//! A cache that evicts one at a time (`lru`, `quick_cache`, `moka`) keeps links or a clock for each entry; here the event path
//! pays one look-up, and nothing else, for what is in the young generation.

use std::borrow::Borrow;
use std::collections::HashMap;
use std::hash::Hash;

/// See the module.
#[derive(Debug)]
pub(crate) struct Generations<K, V> {
    young: HashMap<K, V>,
    old: HashMap<K, V>,
    size: usize,
    evicted: u64,
}

impl<K: Eq + Hash, V> Generations<K, V> {
    /// So many are always kept, and at most twice as many.
    pub(crate) fn new(size: usize) -> Self {
        Self { young: HashMap::new(), old: HashMap::new(), size, evicted: 0 }
    }

    /// What is known of it. It does not count as used.
    pub(crate) fn get<Q: Eq + Hash + ?Sized>(&self, key: &Q) -> Option<&V>
    where
        K: Borrow<Q>,
    {
        self.young.get(key).or_else(|| self.old.get(key))
    }

    /// What is known of it, which is used and stays.
    pub(crate) fn touch<Q: Eq + Hash + ?Sized>(&mut self, key: &Q) -> Option<&mut V>
    where
        K: Borrow<Q>,
    {
        if !self.young.contains_key(key) {
            let (key, value) = self.old.remove_entry(key)?;
            self.insert(key, value);
        }
        self.young.get_mut(key)
    }

    /// As [`Generations::touch`], of what is cheap to copy: one look-up for what is young.
    pub(crate) fn touched(&mut self, key: &K) -> Option<V>
    where
        V: Clone,
    {
        if let Some(value) = self.young.get(key) {
            return Some(value.clone());
        }
        self.touch(key).cloned()
    }

    /// Takes it, in the place of what was known.
    pub(crate) fn insert(&mut self, key: K, value: V) {
        if self.young.len() >= self.size && !self.young.contains_key(&key) {
            self.evicted += self.old.len() as u64;
            self.old = std::mem::take(&mut self.young);
        }
        self.old.remove(&key);
        self.young.insert(key, value);
    }

    /// Forgets it.
    pub(crate) fn remove<Q: Eq + Hash + ?Sized>(&mut self, key: &Q) -> Option<V>
    where
        K: Borrow<Q>,
    {
        self.young.remove(key).or_else(|| self.old.remove(key))
    }

    /// Forgets what is not to be kept.
    pub(crate) fn retain(&mut self, mut keep: impl FnMut(&K, &V) -> bool) {
        self.young.retain(|key, value| keep(key, value));
        self.old.retain(|key, value| keep(key, value));
    }

    /// Forgets all.
    pub(crate) fn clear(&mut self) {
        self.young.clear();
        self.old.clear();
    }

    /// All, in no order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&K, &V)> {
        self.young.iter().chain(&self.old)
    }

    /// How many were forgotten because there were too many.
    pub(crate) fn evicted(&self) -> u64 {
        self.evicted
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_is_used_stays() {
        let mut memory = Generations::new(10);
        memory.insert(0, "kept");
        for number in 1..1_000 {
            memory.insert(number, "other");
            assert_eq!(memory.touch(&0).copied(), Some("kept"));
        }
        assert_eq!((memory.get(&999).copied(), memory.get(&1)), (Some("other"), None));
        assert_eq!(memory.evicted() + memory.iter().count() as u64, 1_000);
        memory.retain(|number, _| *number == 0);
        assert_eq!((memory.remove(&0), memory.iter().count()), (Some("kept"), 0));
    }

    proptest! {
        #[test]
        fn it_is_bounded_and_what_it_holds_is_what_was_put_there_last(
            acts in prop::collection::vec((any::<bool>(), 0_u8..40, any::<u8>()), 0..300)
        ) {
            let (mut memory, mut model) = (Generations::new(8), HashMap::new());
            for (inserts, key, value) in acts {
                if inserts {
                    memory.insert(key, value);
                    model.insert(key, value);
                } else {
                    memory.touch(&key);
                }
                prop_assert!(memory.iter().count() <= 16);
                prop_assert!(memory.iter().all(|(key, value)| model.get(key) == Some(value)));
                let mut keys: Vec<_> = memory.iter().map(|(key, _)| key).collect();
                keys.sort_unstable();
                prop_assert!(keys.windows(2).all(|pair| pair[0] != pair[1]), "none twice");
            }
        }
    }
}
