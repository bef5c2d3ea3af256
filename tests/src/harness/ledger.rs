//! The agent's account of its work, as its last status gives it, checked against itself and against the stream.

use super::event::Event;
use super::session::Told;
use crate::outcome::{Outcome, ensure, failed};

/// Hook families.
pub(crate) const FAMILIES: [&str; 9] =
    ["process", "connection", "datagram", "file", "name", "memory", "key", "listener", "cgroup"];
/// Causes of loss in the kernel.
pub(crate) const DROPS: [&str; 4] =
    ["dropped_ring_full", "dropped_simulated", "dropped_read", "dropped_scratch"];

impl Told {
    /// A counter of the last status.
    pub(crate) fn counter(&self, name: &str) -> Outcome<u64> {
        match self.stop.counter(name) {
            Some(value) => Ok(value),
            None => failed(format!("the last status has no counter {name}: {}", self.stop.line)),
        }
    }

    /// Events that the agent's queue had no room for.
    pub(crate) fn turned_away(&self) -> Outcome<u64> {
        ["queue.queue_full", "queue.bulk_full"].into_iter().map(|name| self.counter(name)).sum()
    }

    /// What the kernel lost of a family.
    pub(crate) fn dropped(&self, family: &str) -> Outcome<u64> {
        DROPS.iter().map(|cause| self.counter(&format!("kernel.{family}.{cause}"))).sum()
    }

    /// How many events of a kind were collected.
    pub(crate) fn count(&self, kind: impl Fn(&Event) -> bool) -> u64 {
        self.collected.iter().filter(|event| kind(event)).count() as u64
    }

    /// How many events of a kind the agent printed: also those that its queue had no room for.
    pub(crate) fn count_printed(&self, kind: impl Fn(&Event) -> bool) -> u64 {
        self.printed.iter().filter(|event| kind(event)).count() as u64
    }

    /// What gap events tell as lost, of a stage and family.
    pub(crate) fn gaps(&self, stage: &str, family: Option<&str>) -> u64 {
        let gaps =
            self.collected.iter().filter(|event| event.kind() == "gap" && event.text("stage") == stage);
        let gaps = gaps.filter(|event| family.is_none_or(|family| event.text("hook_family") == family));
        gaps.filter_map(|event| event.number("lost")).sum()
    }

    /// RELIABILITY §1: what was attempted is what was told, lost or folded, to the unit; and what the account says was
    /// told is what arrived.
    pub(crate) fn balanced(&self) -> Outcome {
        let mut submitted = 0;
        for family in FAMILIES {
            let of = |name: &str| self.counter(&format!("kernel.{family}.{name}"));
            let dropped = self.dropped(family)?;
            submitted += of("submitted")?;
            equal(
                &format!("attempted ({family}) = submitted + dropped + throttled + folded"),
                of("attempted")?,
                of("submitted")? + dropped + of("throttled")? + of("folded")?,
            )?;
            equal(
                &format!("dropped and throttled ({family}) = told by gap events"),
                dropped + of("throttled")?,
                self.gaps("kernel", Some(family)),
            )?;
        }
        equal("submitted = read", submitted, self.counter("decode.read")?)?;
        let undecodable = self.stop.counters().filter(|(name, _)| name.starts_with("decode.undecodable."));
        let undecodable: u64 = undecodable.map(|(_, value)| value).sum();
        equal("read = decoded", self.counter("decode.read")?, self.counter("decode.decoded")?)?;
        equal("nothing is undecodable", undecodable, 0)?;
        let activity = self.counter("event.activity")? + self.counter("event.connection_name")?;
        // What the queue turned away was printed all the same.
        let printed =
            |is: &dyn Fn(&Event) -> bool| self.printed.iter().filter(|event| is(event)).count() as u64;
        equal("activity", activity, printed(&Event::is_activity))?;
        equal("repeats", self.counter("event.repeat")?, printed(&|event| event.kind() == "repeat"))?;
        equal("gaps", self.counter("event.gap")?, self.count(|event| event.kind() == "gap"))
    }
}

/// Fails unless two sides are equal.
pub(crate) fn equal<T: PartialEq + std::fmt::Debug>(what: &str, left: T, right: T) -> Outcome {
    ensure(left == right, || format!("{what}: {left:?} against {right:?}"))
}
