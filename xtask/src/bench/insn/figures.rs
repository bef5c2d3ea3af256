//! The figures: what each path is called, how its instructions are counted, and what they may be.

use serde::Serialize;

use super::{
    InsnError,
    guest::{Guest, Phase, Quantile},
};

/// A kind of host, as `telltale run --rung` names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Rung {
    /// Trampolines, and `bpf` among the security modules.
    Lsm,
    /// Trampolines alone.
    Fentry,
    /// Neither.
    Tracepoint,
}

impl Rung {
    pub(super) const ALL: [Self; 3] = [Self::Lsm, Self::Fentry, Self::Tracepoint];

    /// Its name.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Lsm => "lsm",
            Self::Fentry => "fentry",
            Self::Tracepoint => "tracepoint",
        }
    }

    /// The rung of that name.
    pub(super) fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|rung| rung.name() == name)
    }
}

/// What is counted.
#[derive(Debug)]
pub(super) struct Path {
    /// Key of the baseline.
    pub(super) name: &'static str,
    /// For people.
    pub(super) what: &'static str,
    /// The act that is timed.
    of: &'static str,
    /// An act that is part of it, and not of this path.
    less: Option<&'static str>,
    quantile: Quantile,
    /// Instructions that the agent may add, by rung: the budgets of the design.
    budget: [Option<i64>; 3],
}

const NO_BUDGET: [Option<i64>; 3] = [None; 3];

const fn path(name: &'static str, what: &'static str, budget: [Option<i64>; 3]) -> Path {
    Path { name, what, of: name, less: None, quantile: Quantile::MEDIAN, budget }
}

/// Every path. Starts and ends of processes take pages from the kernel and give them back by the batch, which makes every
/// other one several times as long: there the lower decile repeats, and the median does not.
const PATHS: [Path; 14] = [
    path("open_again", "open of a file opened before", [Some(300), Some(1600), Some(1600)]),
    path("open_first", "open of a file never opened", [None, Some(1600), Some(1600)]),
    path("open_credential", "open of a credential, told", [Some(2200); 3]),
    path("open_credential_waking", "the same, the agent woken", NO_BUDGET),
    path("read", "buffered read of a byte", [Some(0), Some(300), Some(300)]),
    path("getppid", "unrelated call (getppid)", [Some(0), Some(260), Some(260)]),
    Path { of: "connect_unanswered", ..path("connect_attempt", "connect: attempt, told", [Some(1300); 3]) },
    Path {
        of: "connect_established",
        less: Some("connect_unanswered"),
        ..path("connect_outcome", "connect: outcome, told", [Some(1400); 3])
    },
    path("connect_end", "connect: end (close)", [Some(1200); 3]),
    path("send_tcp", "send of a byte, connected TCP", [Some(0), Some(260), Some(260)]),
    path("datagram_again", "datagram to the same peer", NO_BUDGET),
    path("datagram_new", "datagram to a new peer, told", NO_BUDGET),
    Path { quantile: Quantile::LOWER_DECILE, ..path("fork_exit", "fork and exit, told", NO_BUDGET) },
    Path {
        of: "fork_exec_exit",
        less: Some("fork_exit"),
        quantile: Quantile::LOWER_DECILE,
        ..path("exec", "exec of a static program, told", NO_BUDGET)
    },
];

/// What a path costs on a rung.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Figure {
    pub(super) rung: Rung,
    pub(super) path: &'static str,
    pub(super) what: &'static str,
    /// Instructions without the agent.
    pub(super) without: Cost,
    /// And with it.
    pub(super) with: Cost,
    /// The difference.
    pub(super) added: i64,
    /// What the figure's error is: by how much the act differs without the agent after all other phases.
    pub(super) drift: i64,
    /// What it may be.
    pub(super) budget: Option<i64>,
}

/// Instructions of an act; of the rest of one, the differences of both acts' own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Cost {
    /// The one that counts: a median, or the lower decile where that repeats better.
    pub(super) instructions: i64,
    /// A tenth of the acts had no more than this.
    pub(super) p10: i64,
    /// And nine tenths no more than this.
    pub(super) p90: i64,
}

impl Path {
    fn cost(&self, phase: &Phase) -> Result<Cost, InsnError> {
        let at = |quantile| {
            let less = self.less.map_or(Ok(0), |less| phase.quantile(less, quantile))?;
            Ok::<_, InsnError>(phase.quantile(self.of, quantile)? - less)
        };
        let (p10, p90) = (at(Quantile::LOWER_DECILE)?, at(Quantile::UPPER_DECILE)?);
        Ok(Cost { instructions: at(self.quantile)?, p10, p90 })
    }
}

/// Each rung's figures.
pub(super) fn of(guest: &Guest) -> Result<Vec<Figure>, InsnError> {
    let mut figures = Vec::new();
    for (rung, phase) in &guest.rungs {
        for path in &PATHS {
            let (without, with) = (path.cost(&guest.before)?, path.cost(phase)?);
            let after = path.cost(&guest.after)?;
            let [lsm, fentry, tracepoint] = path.budget;
            figures.push(Figure {
                rung: *rung,
                path: path.name,
                what: path.what,
                without,
                with,
                added: with.instructions - without.instructions,
                drift: after.instructions - without.instructions,
                budget: match rung {
                    Rung::Lsm => lsm,
                    Rung::Fentry => fentry,
                    Rung::Tracepoint => tracepoint,
                },
            });
        }
    }
    Ok(figures)
}

/// Names of the acts that are timed in the guest.
#[cfg(test)]
pub(super) fn paths() -> impl Iterator<Item = &'static str> {
    PATHS.iter().map(|path| path.of)
}

#[cfg(test)]
mod tests {
    use super::super::guest::tests::line;
    use super::*;

    fn guest(without: u64, with: u64, after: u64) -> Guest {
        let lines = [line("null", without), line("\"tracepoint\"", with), line("null", after)];
        Guest::parse(&lines.join("\n")).unwrap()
    }

    #[test]
    fn what_is_added_is_the_difference() {
        let figures = of(&guest(1_000, 1_240, 1_000)).unwrap();
        assert_eq!(figures.len(), PATHS.len());
        let read = figures.iter().find(|figure| figure.path == "read").unwrap();
        assert_eq!((read.rung, read.added, read.budget), (Rung::Tracepoint, 240, Some(300)));
        assert_eq!(read.with, Cost { instructions: 1_247, p10: 1_240, p90: 10_240 });
        let fork = figures.iter().find(|figure| figure.path == "fork_exit").unwrap();
        assert_eq!(fork.with.instructions, 1_240, "the lower decile");
        let outcome = figures.iter().find(|figure| figure.path == "connect_outcome").unwrap();
        assert_eq!((outcome.with.instructions, outcome.added), (0, 0), "both acts cost the same here");
    }

    #[test]
    fn drift_is_what_changes_without_the_agent() {
        let figures = of(&guest(1_000, 1_240, 988)).unwrap();
        let read = figures.iter().find(|figure| figure.path == "read").unwrap();
        assert_eq!((read.drift, read.added), (-12, 240));
    }

    #[test]
    fn a_path_that_was_not_measured_is_named() {
        let short = line("\"lsm\"", 5).replace("\"getppid\"", "\"getpid\"");
        let text = [line("null", 5), short, line("null", 5)].join("\n");
        let error = of(&Guest::parse(&text).unwrap()).unwrap_err();
        assert!(matches!(&error, InsnError::Missing { phase, path: "getppid" } if phase == "lsm"), "{error}");
    }

    #[test]
    fn names_are_keys() {
        let mut names: Vec<_> = PATHS.iter().map(|path| path.name).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), PATHS.len());
    }
}
