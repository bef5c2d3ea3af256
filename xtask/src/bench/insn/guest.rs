//! What `telltale-tests measure` prints: a line of JSON a phase, the first and the last without an agent.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::{InsnError, Rung};

/// Two loops of known length, and by how many instructions they differ.
const LOOPS: (&str, &str, u64) = ("loop_1000", "loop_51000", 100_000);
/// By how much the clock may be off, of a thousand: the kernel finds out its rate by itself.
const CLOCK_PER_MILLE: u64 = 1;

/// A phase as it is printed; other keys are not for us.
#[derive(Deserialize)]
struct Line {
    rung: Option<String>,
    measured: Times,
}

#[derive(Deserialize)]
struct Times {
    paths: Vec<Path>,
}

#[derive(Deserialize)]
struct Path {
    name: String,
    ns: Vec<u64>,
}

/// Sorted times of each path of a phase, in instructions.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Phase {
    /// Named in errors.
    name: String,
    paths: BTreeMap<String, Vec<u64>>,
}

/// All that the guest measured.
#[derive(Debug)]
pub(super) struct Guest {
    /// Without an agent, before all others.
    pub(super) before: Phase,
    /// With the agent.
    pub(super) rungs: Vec<(Rung, Phase)>,
    /// Without an agent, after all others.
    pub(super) after: Phase,
}

impl Guest {
    /// Reads the output; lines that are no JSON object are words for people.
    pub(super) fn parse(text: &str) -> Result<Self, InsnError> {
        let mut alone = Vec::new();
        let mut rungs = Vec::new();
        for line in text.lines().filter(|line| line.starts_with('{')) {
            let Line { rung, measured } =
                serde_json::from_str(line).map_err(|error| InsnError::Form(error.to_string()))?;
            let name = rung.as_deref().unwrap_or("no agent").to_owned();
            let sorted = |mut path: Path| {
                path.ns.sort_unstable();
                (path.name, path.ns)
            };
            let phase = Phase { name, paths: measured.paths.into_iter().map(sorted).collect() };
            match rung {
                None => alone.push(phase),
                Some(rung) => match Rung::from_name(&rung) {
                    Some(rung) => rungs.push((rung, phase)),
                    None => return Err(InsnError::Form(format!("there is no rung {rung}"))),
                },
            }
        }
        let found = alone.len();
        let (Ok([before, after]), false) = (<[Phase; 2]>::try_from(alone), rungs.is_empty()) else {
            return Err(InsnError::Form(format!(
                "{found} phases without an agent instead of 2, {} with one",
                rungs.len()
            )));
        };
        Ok(Self { before, rungs, after })
    }

    /// That a nanosecond is an instruction.
    pub(super) fn check_clock(&self) -> Result<(), InsnError> {
        let (short, long, expected) = LOOPS;
        for phase in [&self.before, &self.after].into_iter().chain(self.rungs.iter().map(|(_, phase)| phase))
        {
            let counted =
                phase.quantile(long, Quantile::MEDIAN)? - phase.quantile(short, Quantile::MEDIAN)?;
            if counted.abs_diff(expected.cast_signed()) > expected * CLOCK_PER_MILLE / 1000 {
                return Err(InsnError::Clock { expected, counted });
            }
        }
        Ok(())
    }
}

/// A share of times, in hundredths, that are not longer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Quantile(usize);

impl Quantile {
    /// Half of them.
    pub(super) const MEDIAN: Self = Self(50);
    /// A tenth.
    pub(super) const LOWER_DECILE: Self = Self(10);
    /// Nine tenths.
    pub(super) const UPPER_DECILE: Self = Self(90);

    /// Nearest rank: a time that was measured, never one between two.
    fn of(self, sorted: &[u64]) -> Option<u64> {
        let rank = (sorted.len() * self.0).div_ceil(100);
        sorted.get(rank.saturating_sub(1)).copied()
    }
}

impl Phase {
    /// A quantile of a path's times.
    pub(super) fn quantile(&self, path: &'static str, quantile: Quantile) -> Result<i64, InsnError> {
        let found = self.paths.get(path).and_then(|sorted| quantile.of(sorted));
        found.map(u64::cast_signed).ok_or_else(|| InsnError::Missing { phase: self.name.clone(), path })
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A line of output in which every path took `ns`, the loops aside.
    pub(in super::super) fn line(rung: &str, ns: u64) -> String {
        let loops = r#"{"name":"loop_1000","ns":[2067]},{"name":"loop_51000","ns":[102067]}"#;
        let path = |name| format!(r#",{{"name":"{name}","ns":[{ns},{},{}]}}"#, ns + 7, ns + 9_000);
        let paths: String = super::super::figures::paths().map(path).collect();
        format!(
            r#"{{"rung":{rung},"measured":{{"pid":7,"paths":[{loops}{paths}],"owed":{{"connection":1}}}}}}"#
        )
    }

    #[test]
    fn output_is_read_around_what_else_is_printed() {
        let text = format!("words\n{}\n{}\nmore\n{}\n", line("null", 5), line("\"lsm\"", 9), line("null", 5));
        let guest = Guest::parse(&text).unwrap();
        assert_eq!(guest.before, guest.after);
        let (rung, phase) = &guest.rungs[0];
        assert_eq!(*rung, Rung::Lsm);
        assert_eq!(phase.quantile("read", Quantile::MEDIAN).unwrap(), 16);
        guest.check_clock().unwrap();
    }

    #[test]
    fn what_is_cut_short_or_strange_is_an_error() {
        let whole = line("null", 5);
        let rung = line("\"lsm\"", 5);
        let no_such = line("\"kprobe\"", 5);
        for lines in [
            vec![&whole[..]],
            vec![&whole, &whole],
            vec![&whole, &rung],
            vec![&whole, &rung, &whole[..whole.len() - 4]],
            vec![&whole, &no_such, &whole],
            vec![&whole, &rung, &whole, &whole],
            vec![],
        ] {
            assert!(matches!(Guest::parse(&lines.join("\n")), Err(InsnError::Form(_))), "{lines:?}");
        }
    }

    #[test]
    fn another_clock_is_refused() {
        let rung = line("\"lsm\"", 5).replace("102067", "102180");
        let text = [line("null", 5), rung, line("null", 5)].join("\n");
        let refused = Guest::parse(&text).unwrap().check_clock();
        assert!(
            matches!(refused, Err(InsnError::Clock { expected: 100_000, counted: 100_113 })),
            "{refused:?}"
        );
    }

    #[test]
    fn quantiles_are_times_that_were_measured() {
        let hundred: Vec<u64> = (1..=100).collect();
        for (times, median, low, high) in
            [(&hundred[..], 50, 10, 90), (&[3], 3, 3, 3), (&[3, 8], 3, 3, 8), (&[1, 2, 900], 2, 1, 900)]
        {
            assert_eq!(Quantile::MEDIAN.of(times), Some(median));
            assert_eq!(Quantile::LOWER_DECILE.of(times), Some(low));
            assert_eq!(Quantile::UPPER_DECILE.of(times), Some(high));
        }
        assert_eq!(Quantile::MEDIAN.of(&[]), None);
    }
}
