//! What was accepted before: instructions added, by kernel version, rung and path.
//!
//! One version of each kernel series is kept. A newer build of the same series is compared with it, because the kernel's
//! own changes to these paths within a series are few, and a gate that stops at each of them would be switched off.

use std::{collections::BTreeMap, fs, io, path::Path};

use serde::{Deserialize, Serialize};

use super::{Figure, InsnError};

/// By how much a figure may differ, of a hundred.
const TOLERANCE_PERCENT: i64 = 5;
/// What it may differ by at least: how a small figure repeats (docs/benchmarks.md).
const TOLERANCE_INSTRUCTIONS: i64 = 8;

/// Instructions added, by rung and path.
type Rungs = BTreeMap<String, BTreeMap<String, i64>>;

/// The file.
#[derive(Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub(super) struct Baselines(BTreeMap<String, Rungs>);

/// How a figure compares with its baseline.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Change {
    /// Within the tolerance.
    Same,
    /// Dearer.
    Worse,
    /// Cheaper.
    Better,
    /// There is nothing to compare with.
    New,
}

impl Change {
    pub(super) fn of(was: Option<i64>, is: i64) -> Self {
        let Some(was) = was else { return Self::New };
        match is - was {
            by if by > tolerance(was) => Self::Worse,
            by if by < -tolerance(was) => Self::Better,
            _ => Self::Same,
        }
    }
}

/// By how much a figure may differ.
pub(super) fn tolerance(figure: i64) -> i64 {
    (figure.abs() * TOLERANCE_PERCENT / 100).max(TOLERANCE_INSTRUCTIONS)
}

impl Baselines {
    /// Reads the file; one that is not there holds nothing.
    pub(super) fn load(path: &Path) -> Result<Self, InsnError> {
        let fail = |reason: String| InsnError::Baseline { path: path.to_owned(), reason };
        match fs::read(path) {
            Ok(bytes) => serde_json::from_slice(&bytes).map_err(|error| fail(error.to_string())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Self::default()),
            Err(error) => Err(fail(error.to_string())),
        }
    }

    /// Writes it.
    pub(super) fn store(&self, path: &Path) -> Result<(), InsnError> {
        let fail = |source| InsnError::Store { path: path.to_owned(), source };
        if let Some(directory) = path.parent() {
            fs::create_dir_all(directory).map_err(fail)?;
        }
        let mut text = serde_json::to_string_pretty(self).map_err(|error| fail(error.into()))?;
        text.push('\n');
        fs::write(path, text).map_err(fail)
    }

    /// What to compare with, and the kernel that it was measured on: this one, or another build of its series.
    pub(super) fn of(&self, kernel: &str) -> Option<(&str, &Rungs)> {
        let exact = self.0.get_key_value(kernel);
        let found = exact.or_else(|| self.0.iter().find(|(other, _)| series(other) == series(kernel)));
        found.map(|(kernel, rungs)| (kernel.as_str(), rungs))
    }

    /// Replaces what is kept of this kernel's series.
    pub(super) fn accept(&mut self, kernel: &str, figures: &[Figure]) {
        self.0.retain(|other, _| series(other) != series(kernel));
        let rungs = self.0.entry(kernel.to_owned()).or_default();
        for figure in figures {
            let paths = rungs.entry(figure.rung.name().to_owned()).or_default();
            paths.insert(figure.path.to_owned(), figure.added);
        }
    }
}

/// What was accepted for a figure.
pub(super) fn added(rungs: &Rungs, figure: &Figure) -> Option<i64> {
    rungs.get(figure.rung.name())?.get(figure.path).copied()
}

/// `6.12` of `6.12.117-1`.
fn series(version: &str) -> Option<&str> {
    let (end, _) = version.match_indices('.').nth(1)?;
    version.get(..end)
}

#[cfg(test)]
mod tests {
    use super::super::figures::{Cost, Rung};
    use super::*;

    fn figure(path: &'static str, added: i64) -> Figure {
        let cost = Cost { instructions: 0, p10: 0, p90: 0 };
        Figure { rung: Rung::Lsm, path, what: path, without: cost, with: cost, added, drift: 0, budget: None }
    }

    #[test]
    fn the_tolerance_is_five_percent_and_a_few_instructions() {
        for (was, is, change) in [
            (Some(1_000), 1_050, Change::Same),
            (Some(1_000), 1_051, Change::Worse),
            (Some(1_000), 950, Change::Same),
            (Some(1_000), 949, Change::Better),
            (Some(0), 8, Change::Same),
            (Some(0), 9, Change::Worse),
            (Some(-4), 4, Change::Same),
            (Some(0), -9, Change::Better),
            (None, 0, Change::New),
        ] {
            assert_eq!(Change::of(was, is), change, "{was:?} {is}");
        }
    }

    #[test]
    fn what_is_accepted_is_found_again() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("baseline/insn.json");
        let mut baselines = Baselines::load(&path).unwrap();
        assert_eq!(baselines.of("6.12.117-1"), None);
        baselines.accept("6.12.117-1", &[figure("read", 0), figure("open_again", 322)]);
        baselines.store(&path).unwrap();
        let read = Baselines::load(&path).unwrap();
        assert_eq!(read, baselines);
        let (kernel, rungs) = read.of("6.12.117-1").unwrap();
        assert_eq!(kernel, "6.12.117-1");
        assert_eq!(added(rungs, &figure("open_again", 0)), Some(322));
        assert_eq!(added(rungs, &figure("getppid", 0)), None);
    }

    #[test]
    fn another_build_of_the_series_is_compared_with_and_replaced() {
        let mut baselines = Baselines::default();
        baselines.accept("6.12.117-1", &[figure("read", 1)]);
        baselines.accept("6.1.192-2", &[figure("read", 2)]);
        assert_eq!(baselines.of("6.12.120-1").map(|(kernel, _)| kernel), Some("6.12.117-1"));
        assert_eq!(baselines.of("6.18.1-1"), None);
        baselines.accept("6.12.120-1", &[figure("read", 3)]);
        assert_eq!(baselines.0.keys().collect::<Vec<_>>(), ["6.1.192-2", "6.12.120-1"]);
    }

    #[test]
    fn a_broken_file_is_no_empty_one() {
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), "{\"6.12.117-1\": {\"lsm\": {\"read\": \"few\"}}}").unwrap();
        assert!(matches!(Baselines::load(file.path()), Err(InsnError::Baseline { .. })));
    }
}
