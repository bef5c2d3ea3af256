//! What an earlier agent's programs wrote and nobody has read.

use std::time::{Duration, Instant};

use agent_common::counters::{Counter, CpuState, Family, SLOTS, slot};
use aya::maps::{Array, Map, MapData, PerCpuArray};

use super::maps::{MapFailure, Shared};
use super::pins::{CPU_STATE, Left, PinError, TOLD};
use super::rings::{Mark, Rings};
use crate::capture::merge::Turn;
use crate::model::event::Gap;

/// For how long after the cut programs that were running then may still write: a preempted task runs again long before.
const STRAGGLERS: Duration = Duration::from_secs(3);

/// One generation's rings and figures.
pub(super) struct Heritage {
    left: Left,
    rings: Rings,
    state: PerCpuArray<MapData, Shared<CpuState>>,
    told: Array<MapData, u64>,
    /// When its programs were detached; `None`: an earlier agent has done so, and began and ended since.
    cut: Option<Instant>,
}

impl Heritage {
    /// Opens what a generation left, that was detached just now, or long before.
    pub(super) fn open(left: Left, just_now: bool) -> Result<Self, MapFailure> {
        let refused = |map| move |source| MapFailure::Refused { map, source };
        let state = Map::PerCpuArray(left.map(CPU_STATE)?).try_into().map_err(refused(CPU_STATE))?;
        let told = Map::Array(left.map(TOLD)?).try_into().map_err(refused(TOLD))?;
        let rings = Rings::of(|ring| left.map(ring.map()))?;
        Ok(Self { left, rings, state, told, cut: just_now.then(Instant::now) })
    }

    /// Copies the next record into `into`.
    pub(super) fn next_record(&mut self, turn: &mut Turn, into: &mut Vec<u8>) -> Option<Mark> {
        self.rings.next(turn, into)
    }

    /// A record was handed on.
    pub(super) fn done(&mut self, mark: Mark) {
        self.rings.done(mark);
    }

    /// Gives back the room of what is done with.
    pub(super) fn give_back(&self) -> bool {
        self.rings.give_back()
    }

    /// Whether nothing can come any more.
    pub(super) fn is_over(&self) -> bool {
        self.cut.is_none_or(|cut| cut.elapsed() > STRAGGLERS) && !self.rings.give_back()
    }

    /// What it lost and the earlier agent had not told.
    pub(super) fn losses(&self) -> Result<Vec<Gap>, MapFailure> {
        let refused = |map| move |source| MapFailure::Refused { map, source };
        let states = self.state.get(&0, 0).map_err(refused(CPU_STATE))?;
        let mut losses = Vec::new();
        for family in Family::ALL {
            for counter in Counter::ALL.into_iter().filter(|counter| counter.is_loss()) {
                let slot = slot(family, counter);
                let of = |Shared(state): &Shared<CpuState>| {
                    state.counters.get(slot as usize).copied().unwrap_or(0)
                };
                let lost = states.iter().map(of).fold(0, u64::wrapping_add);
                let told = self.told.get(&slot, 0).map_err(refused(TOLD))?;
                let lost = lost.saturating_sub(told);
                if lost > 0 {
                    losses.push(Gap {
                        stage: "kernel",
                        cause: counter.name(),
                        family: Some(family.name()),
                        lost,
                    });
                }
            }
        }
        Ok(losses)
    }

    /// Forgets it.
    pub(super) fn remove(self) -> Result<(), PinError> {
        self.left.remove()
    }
}

/// Keeps for the next agent what was told of this one's losses.
pub(super) struct Told {
    map: Array<MapData, u64>,
    kept: [u64; SLOTS as usize],
}

impl Told {
    /// Takes the map.
    pub(super) fn take(ebpf: &mut aya::Ebpf) -> Result<Self, MapFailure> {
        let map = ebpf.take_map(TOLD).ok_or(MapFailure::Missing(TOLD))?;
        let map = map.try_into().map_err(|source| MapFailure::Refused { map: TOLD, source })?;
        Ok(Self { map, kept: [0; SLOTS as usize] })
    }

    /// Everything that these counters say was lost was told.
    pub(super) fn keep(&mut self, counters: &[u64; SLOTS as usize]) -> Result<(), MapFailure> {
        for family in Family::ALL {
            for counter in Counter::ALL.into_iter().filter(|counter| counter.is_loss()) {
                let slot = slot(family, counter);
                let (Some(kept), Some(told)) =
                    (self.kept.get_mut(slot as usize), counters.get(slot as usize).copied())
                else {
                    continue;
                };
                if *kept != told {
                    self.map
                        .set(slot, told, 0)
                        .map_err(|source| MapFailure::Refused { map: TOLD, source })?;
                    *kept = told;
                }
            }
        }
        Ok(())
    }
}
