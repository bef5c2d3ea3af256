//! Acts that the kernel counts instead of telling each.

use std::collections::HashMap as Known;
use std::hash::Hash;

use agent_common::keys::FlowCount;
use aya::Ebpf;
use aya::maps::{HashMap, MapData, MapError};
use zerocopy::{FromBytes, Immutable, IntoBytes};

use super::maps::{MapFailure, Shared, refused};

/// A map of counts, and how much of each was told. The latter is kept for the next agent, which goes on with both.
pub(super) struct Folds<Key> {
    name: &'static str,
    counts: HashMap<MapData, Shared<Key>, Shared<FlowCount>>,
    kept: HashMap<MapData, Shared<Key>, u64>,
    told: Known<Key, u64>,
    /// What the last sweep gave, and was not kept yet.
    given: Vec<(Key, u64)>,
}

impl<Key> Folds<Key>
where
    Key: FromBytes + IntoBytes + Immutable + Copy + Eq + Hash + 'static,
{
    /// Takes both maps.
    pub(super) fn take(ebpf: &mut Ebpf, name: &'static str, told: &'static str) -> Result<Self, MapFailure> {
        let mut take = |map| ebpf.take_map(map).ok_or(MapFailure::Missing(map));
        let counts = take(name)?.try_into().map_err(refused(name))?;
        let kept: HashMap<MapData, Shared<Key>, u64> = take(told)?.try_into().map_err(refused(told))?;
        let known = kept.iter().map_while(Result::ok).map(|(Shared(key), number)| (key, number)).collect();
        Ok(Self { name, counts, kept, told: known, given: Vec::new() })
    }

    /// Keeps for the next agent what was told: all that was given was handed on.
    pub(super) fn keep(&mut self) {
        for (key, number) in std::mem::take(&mut self.given) {
            // A full map has the next agent tell of it again.
            let _ = self.kept.insert(Shared(key), number, 0);
        }
    }

    /// What is new of each since the last sweep, of which all was handed on. What has been idle since `idle_before_ns` is forgotten.
    pub(super) fn sweep(&mut self, idle_before_ns: u64) -> Result<Vec<(Key, FlowCount)>, MapFailure> {
        self.keep();
        let (mut folded, mut idle) = (Vec::new(), Vec::new());
        let mut still_told = Known::with_capacity(self.told.len());
        for entry in self.counts.iter() {
            // An entry that was deleted during the walk ends it early; the next sweep sees the rest.
            let Ok((Shared(key), Shared(count))) = entry else { break };
            if count.folded > 0 {
                let told = self.told.get(&key).copied().unwrap_or(0);
                // What was forgotten and began anew counts from zero again.
                let new = if count.folded >= told { count.folded - told } else { count.folded };
                still_told.insert(key, count.folded);
                if new > 0 {
                    self.given.push((key, count.folded));
                    folded.push((key, FlowCount { folded: new, ..count }));
                }
            }
            if count.last_boot_ns < idle_before_ns {
                idle.push(key);
            }
        }
        self.told = still_told;
        for key in idle {
            let _ = self.kept.remove(&Shared(key));
            match self.counts.remove(&Shared(key)) {
                Ok(()) | Err(MapError::KeyNotFound) => {}
                Err(source) => return Err(MapFailure::Refused { map: self.name, source }),
            }
        }
        Ok(folded)
    }
}
