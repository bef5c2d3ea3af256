//! Reaches into the memory of other processes.

use std::sync::Arc;

use agent_common::keys::{FlowCount, MemoryKey};

use super::Pipeline;
use crate::capture::memory::folded;
use crate::capture::tally::Tally;
use crate::context;
use crate::model::act::{Actor, MemoryUse};
use crate::model::event::{Activity, Event, EventKind, Folded, MemoryAccess, Party, Relation, What, Why};
use crate::model::process::Process;
use crate::model::time::BootTime;

/// Whether `process` is among those that a lineage names.
fn is_in(lineage: &Why, process: &Process) -> bool {
    lineage.lineage.iter().any(|ancestor| ancestor.key == process.key)
}

impl Pipeline {
    pub(super) fn memory(
        &mut self,
        time: BootTime,
        hook: &'static str,
        access: MemoryUse,
        emit: &mut dyn FnMut(Event),
    ) {
        let MemoryUse { actor, target, way, refused } = access;
        if self.is_own(&actor) {
            return;
        }
        let (process, attribution, why) = self.who_and_why(time, &actor);
        let (other, lineage) = self.party(time, &target);
        let relation = if is_in(&lineage, &process) {
            Relation::Descendant
        } else if is_in(&why, &other.process) {
            Relation::Ancestor
        } else {
            Relation::Other
        };
        let what = What::MemoryAccess(MemoryAccess { target: other, way, relation, refused });
        self.ledger.add(Tally::Activity, 1);
        let activity = Activity { attribution, process, actor, hook, what, why };
        emit(Event { time, kind: EventKind::Activity(Box::new(activity)) });
    }

    /// Another process than the one that acts, and its lineage.
    fn party(&mut self, time: BootTime, actor: &Actor) -> (Party, Why) {
        let process = self.table.process_of(actor, time);
        let (process, cgroup) = self.place(time, actor, process);
        let attribution = self.attributor.attribute(&process, actor, &cgroup);
        let lineage = context::why(&self.table, &process);
        (Party { attribution, process: Arc::clone(&process) }, lineage)
    }

    /// Tells how often reaches that were told were repeated since the last sweep.
    pub fn reaches(&self, counts: &[(MemoryKey, FlowCount)], emit: &mut dyn FnMut(Event)) {
        for (key, count) in counts {
            if let Some(pair) = folded(key) {
                self.repeated(Folded::Memory(pair), count, emit);
            }
        }
    }
}
