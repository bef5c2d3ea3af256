//! What the process table did, and what it could not keep.

/// Counters of a [`super::ProcessTable`]; each only grows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ProcessCounters {
    /// Processes read from /proc at start.
    pub seeded: u64,
    /// Seeded processes whose exact start a record told.
    pub upgraded: u64,
    /// Processes known only from a record that named them: their start was lost.
    pub inferred: u64,
    /// Records that told what was known.
    pub duplicates: u64,
    /// Processes whose exit was not told; a later process with their pid showed it.
    pub exits_missed: u64,
    /// Running processes dropped because there were too many.
    pub evicted_live: u64,
    /// Ended processes dropped before their time because there were too many.
    pub evicted_ended: u64,
    /// Ended ancestors of kept processes dropped because there were too many: a lineage is cut there.
    pub evicted_ancestors: u64,
    /// Images whose arguments or paths were cut to their bound.
    pub images_cut: u64,
    /// cgroup names dropped because there were too many.
    pub evicted_cgroups: u64,
    /// How often the name of a cgroup was wanted that is not known: what acts there is told without its unit or container.
    pub unknown_cgroups: u64,
    /// cgroups whose names were not looked for because too many were to be.
    pub cgroups_not_asked: u64,
    /// Scripts whose links were not followed because too many were to be: who runs one may be an agent that is not known.
    pub scripts_not_asked: u64,
    /// Copies of agents' programs forgotten because there were too many: who starts one later is not known as the agent.
    pub copies_evicted: u64,
}

impl ProcessCounters {
    /// All counters with their stable names, for heartbeats and metrics.
    pub fn by_name(&self) -> [(&'static str, u64); 14] {
        let Self {
            seeded,
            upgraded,
            inferred,
            duplicates,
            exits_missed,
            evicted_live,
            evicted_ended,
            evicted_ancestors,
            images_cut,
            evicted_cgroups,
            unknown_cgroups,
            cgroups_not_asked,
            scripts_not_asked,
            copies_evicted,
        } = *self;
        [
            ("process_seeded", seeded),
            ("process_upgraded", upgraded),
            ("process_inferred", inferred),
            ("process_duplicates", duplicates),
            ("process_exits_missed", exits_missed),
            ("process_evicted_live", evicted_live),
            ("process_evicted_ended", evicted_ended),
            ("process_evicted_ancestors", evicted_ancestors),
            ("process_images_cut", images_cut),
            ("process_evicted_cgroups", evicted_cgroups),
            ("process_unknown_cgroups", unknown_cgroups),
            ("process_cgroups_not_asked", cgroups_not_asked),
            ("process_scripts_not_asked", scripts_not_asked),
            ("process_copies_evicted", copies_evicted),
        ]
    }
}
