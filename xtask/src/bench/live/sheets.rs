//! Which figures of a benchmark are shown, and what the design allows them to be.

/// How a figure is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// A whole number, its digits in groups.
    Count,
    /// Three digits that count.
    Measure,
}

/// A column.
#[derive(Debug)]
pub(super) struct Column {
    /// Above it, with the unit.
    pub(super) title: &'static str,
    /// The figure's name.
    pub(super) figure: &'static str,
    pub(super) form: Form,
}

/// What a figure of a step may be.
#[derive(Debug)]
pub(super) struct Budget {
    pub(super) step: &'static str,
    pub(super) figure: &'static str,
    pub(super) most: f64,
    /// For people.
    pub(super) what: &'static str,
}

/// What measures.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum MeasuredBy {
    /// `telltale-tests bench`, as root, with a running agent.
    Tests,
    /// An example of the agent's, which uses its library.
    Example(&'static str),
}

/// A benchmark's table.
#[derive(Debug)]
pub(crate) struct Sheet {
    /// As `telltale-tests bench` calls it.
    pub(super) name: &'static str,
    pub(super) measured_by: MeasuredBy,
    /// Above the table.
    pub(super) title: &'static str,
    pub(super) columns: &'static [Column],
    pub(super) budgets: &'static [Budget],
    /// Below the table: what the columns are.
    pub(super) notes: &'static str,
}

const fn count(title: &'static str, figure: &'static str) -> Column {
    Column { title, figure, form: Form::Count }
}

const fn measure(title: &'static str, figure: &'static str) -> Column {
    Column { title, figure, form: Form::Measure }
}

const fn budget(step: &'static str, figure: &'static str, most: f64, what: &'static str) -> Budget {
    Budget { step, figure, most, what }
}

const CPU: &str = "agent.cpu_percent";
const LOST: &str = "account.lost_total";
const VICTIM_LOST: &str = "victim.lost_events";
const VICTIM_P99: &str = "victim.kernel_to_collector_ms.p99";

/// `bench rate`.
pub(crate) const RATE: Sheet = Sheet {
    name: "rate",
    measured_by: MeasuredBy::Tests,
    title: "Events a second, from the kernel to the collector",
    columns: &[
        count("offered/s", "offered_per_second"),
        count("expected", "account.expected_events"),
        count("delivered", "account.delivered_events"),
        count("lost", LOST),
        measure("agent CPU %", CPU),
        measure("CPU µs/event", "agent.cpu_us_per_event"),
        measure("encoded p50 ms", "kernel_to_encoded_ms.p50"),
        measure("p99 ms", "kernel_to_encoded_ms.p99"),
        measure("collected p50 ms", "kernel_to_collector_ms.p50"),
        measure("p99 ms", "kernel_to_collector_ms.p99"),
        measure("peak MiB", "agent.peak_mib"),
        measure("collector CPU %", "collector_cpu_percent"),
    ],
    budgets: &[
        budget("idle", CPU, 0.2, "CPU of one core, idle"),
        budget("1k/s", CPU, 1.0, "CPU of one core at 1,000 events/s"),
        budget("10k/s", CPU, 5.0, "CPU of one core at 10,000 events/s"),
        budget("10k/s", "agent.cpu_us_per_event", 5.0, "CPU µs an event at 10,000 events/s"),
        budget("10k/s", "kernel_to_encoded_ms.p50", 5.0, "kernel to encoded, p50 ms"),
        budget("10k/s", "kernel_to_encoded_ms.p99", 25.0, "kernel to encoded, p99 ms"),
        budget("100k/s", CPU, 45.0, "CPU of one core at 100,000 events/s"),
        budget("100k/s", LOST, 0.0, "lost at 100,000 events/s"),
        budget("burst 90k in 0.7 s", LOST, 0.0, "lost of a burst of 90,000 in 0.7 s"),
        budget("burst 250k in 1 s", LOST, 0.0, "lost of a burst of 250,000/s for 1 s"),
        budget("100k/s", "agent.peak_mib", 64.0, "peak resident memory, MiB"),
    ],
    notes: "An event is an open of a credential, or the beginning or the end of a connection (8 opens and a connect in \
            ten events; bursts: opens alone). Lost is counted in records where the kernel loses them. Agent and \
            collector CPU are of one core while the load is offered. CPU an event is for each that was told, until \
            the last one was; what was spent on those that were lost is in it.",
};

/// `bench overload`.
pub(crate) const OVERLOAD: Sheet = Sheet {
    name: "overload",
    measured_by: MeasuredBy::Tests,
    title: "A victim beside two processes at full speed",
    columns: &[
        count("flood acts/s", "flood.acts_per_second"),
        count("flood events", "flood.expected_events"),
        count("told", "flood.delivered_events"),
        count("lost", LOST),
        count("folded", "account.folded"),
        count("victim's events", "victim.expected_events"),
        count("lost", VICTIM_LOST),
        measure("victim p50 ms", "victim.kernel_to_collector_ms.p50"),
        measure("p99 ms", VICTIM_P99),
        measure("most ms", "victim.kernel_to_collector_ms.most"),
        measure("agent CPU %", "agent_cpu_percent"),
        measure("peak MiB", "agent_peak_mib"),
    ],
    budgets: &[
        budget("flood of opens", VICTIM_LOST, 0.0, "victim's events lost beside opens"),
        budget("flood of opens", VICTIM_P99, 100.0, "victim's events delivered, p99 ms, beside opens"),
        budget("flood of connects", VICTIM_LOST, 0.0, "victim's events lost beside connects"),
        budget("flood of connects", VICTIM_P99, 100.0, "victim's events delivered, p99 ms, beside connects"),
        budget("flood of forks", VICTIM_LOST, 0.0, "victim's events lost beside forks"),
        budget("flood of forks", VICTIM_P99, 100.0, "victim's events delivered, p99 ms, beside forks"),
    ],
    notes: "The victim opens a credential and connects 500 times each, evenly over some seconds: 1,500 events. \
            `flood of nobody` is the victim alone.",
};

/// `bench start`.
pub(crate) const START: Sheet = Sheet {
    name: "start",
    measured_by: MeasuredBy::Tests,
    title: "Start and end of the agent",
    columns: &[
        measure("ready ms", "ready_ms"),
        measure("first event ms", "first_event_ms"),
        measure("CPU ms", "start_cpu_ms"),
        measure("stop ms", "stop_ms"),
        measure("resident MiB", "resident_mib"),
        measure("peak MiB", "peak_mib"),
        measure("maps MiB", "maps_mib"),
        count("maps", "maps"),
    ],
    budgets: &[
        budget("start and stop", "first_event_ms", 500.0, "start to first event, ms"),
        budget("start and stop", "stop_ms", 100.0, "stop, ms"),
        budget("start and stop", "resident_mib", 48.0, "resident memory, MiB"),
        budget("start and stop", "peak_mib", 64.0, "peak resident memory, MiB"),
        budget("start and stop", "maps_mib", 24.0, "maps, MiB"),
    ],
    notes: "Ready: from exec until the agent says that it sees. First event: until an open of a credential is told; one \
            is opened every two milliseconds all the time. CPU: processor time until then. Maps: what the kernel charges \
            for them (memlock of fdinfo).",
};

/// `bench attribute`.
pub(crate) const ATTRIBUTE: Sheet = Sheet {
    name: "attribute",
    measured_by: MeasuredBy::Example("attribution"),
    title: "What it costs to say who acted",
    columns: &[
        measure("first act ns", "first_ns"),
        measure("next acts ns", "next_ns"),
        measure("ratio", "ratio"),
        count("forgotten", "evicted"),
    ],
    budgets: &[],
    notes: "In one process, by its own time, without a kernel. Each of so many processes runs another program: 4,096, or as many \
            as there are identities. First: the resolvers run. Next: 16 rounds over all of them; more than are remembered are \
            resolved and forgotten each time. The ratio is of the next acts, to an executable's.",
};

/// `bench ab`.
pub(crate) const AB: Sheet = Sheet {
    name: "ab",
    measured_by: MeasuredBy::Tests,
    title: "The same acts beside the agent and its peers",
    columns: &[
        measure("ns an act", "ns_per_act"),
        measure("CPU ns an act", "cpu_ns_per_act"),
        measure("against nobody", "ratio"),
        measure("peer's CPU µs an act", "peer_cpu_us_per_act"),
        measure("told, bytes an act", "peer_bytes_per_act"),
    ],
    budgets: &[],
    notes: "Each act at full speed by one process; the ratio is of its processor time to that of the same act in the same turn with nobody watching. What \
            `nobody again` differs from 1 is noise. Peers tell of different things: where it told nothing, it did not \
            see.",
};

const ORDINARY: &str = "against_smallest.ordinary_open";
const CREDENTIAL: &str = "against_smallest.credential_open";
const EVENT: &str = "against_smallest.agent_cpu";

/// `bench scale`.
pub(crate) const SCALE: Sheet = Sheet {
    name: "scale",
    measured_by: MeasuredBy::Tests,
    title: "What an act costs beside few and many",
    columns: &[
        measure("ordinary open ns", "ordinary_open_ns"),
        measure("ratio", ORDINARY),
        measure("credential open ns", "credential_open_ns"),
        measure("ratio", CREDENTIAL),
        measure("CPU µs/event", "agent_cpu_us_per_event"),
        measure("ratio", EVENT),
        measure("start ms", "start_ms"),
        measure("resident MiB", "resident_mib"),
        measure("peak MiB", "peak_mib"),
        measure("maps MiB", "maps_mib"),
    ],
    budgets: &[
        budget("10000 rules", ORDINARY, 1.05, "ordinary open, 10,000 rules against 10"),
        budget("10000 rules", EVENT, 1.05, "agent's CPU an event, 10,000 rules against 10"),
        budget("10000 credential files", ORDINARY, 1.05, "ordinary open, 10,000 credential files against 10"),
        budget(
            "10000 credential files",
            EVENT,
            1.05,
            "agent's CPU an event, 10,000 credential files against 10",
        ),
        budget("10000 processes", ORDINARY, 1.05, "ordinary open, 10,000 processes against 10"),
        budget("10000 processes", EVENT, 1.05, "agent's CPU an event, 10,000 processes against 10"),
        budget("10000 identities", ORDINARY, 1.05, "ordinary open, 10,000 identities against 10"),
        budget("10000 identities", EVENT, 1.05, "agent's CPU an event, 10,000 identities against 10"),
        budget("10000 identities", "resident_mib", 48.0, "resident memory with 10,000 identities, MiB"),
        budget("10000 identities", "peak_mib", 64.0, "peak resident memory with 10,000 identities, MiB"),
        budget("10000 identities", "maps_mib", 24.0, "maps with 10,000 identities, MiB"),
    ],
    notes: "Processor time of opens at full speed by one process; the agent's CPU at 5,000 opens of credentials a second. Ratios are to the \
            smallest number in the same turn.",
};
