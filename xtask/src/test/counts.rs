//! How many tests passed, from what test programs print.

use std::ops::AddAssign;

/// Results of real tests.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Counts {
    /// Ran and held.
    pub(super) passed: u64,
    /// Ran and did not.
    pub(super) failed: u64,
    /// Did not run.
    pub(super) skipped: u64,
}

impl Counts {
    /// One failure: of a stage that has no tests of its own, or broke before it could count them.
    pub(super) const ONE_FAILED: Self = Self { passed: 0, failed: 1, skipped: 0 };

    /// Sums libtest's `test result: ok. 9 passed; 0 failed; 1 ignored; …`, one line a test program.
    pub(super) fn of_cargo_test(output: &str) -> Self {
        let mut sum = Self::default();
        for line in output.lines() {
            let Some((_, counts)) = line.strip_prefix("test result: ").and_then(|rest| rest.split_once(". "))
            else {
                continue;
            };
            let count = |name: &str| {
                let part = counts.split("; ").find_map(|part| part.strip_suffix(name));
                part.and_then(|number| number.trim().parse().ok()).unwrap_or(0)
            };
            sum += Self { passed: count("passed"), failed: count("failed"), skipped: count("ignored") };
        }
        sum
    }

    /// The last line that is a summary as this program's own: `3 passed, 0 failed, 1 skipped`.
    pub(super) fn of_kernel_tests(output: &str) -> Option<Self> {
        output.lines().rev().find_map(|line| Self::parse(line.trim()))
    }

    fn parse(line: &str) -> Option<Self> {
        let mut parts = line.split(", ");
        let mut count = |name: &str| Some(parts.next()?.strip_suffix(name)?.trim_end().parse::<u64>());
        let passed = count("passed")?.ok()?;
        let failed = count("failed")?.ok()?;
        let skipped = match count("skipped") {
            Some(number) => number.ok()?,
            None => 0,
        };
        parts.next().is_none().then_some(Self { passed, failed, skipped })
    }
}

impl AddAssign for Counts {
    fn add_assign(&mut self, other: Self) {
        self.passed += other.passed;
        self.failed += other.failed;
        self.skipped += other.skipped;
    }
}

impl std::fmt::Display for Counts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} passed, {} failed", self.passed, self.failed)?;
        if self.skipped > 0 {
            write!(f, ", {} skipped", self.skipped)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_of_all_test_programs_are_added_up() {
        let output = "running 9 tests\n\
            test result: ok. 9 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.02s\n\
            test result: FAILED. 2 passed; 3 failed; 1 ignored; 0 measured; 4 filtered out; finished in 1.00s\n";
        assert_eq!(Counts::of_cargo_test(output), Counts { passed: 11, failed: 3, skipped: 1 });
    }

    #[test]
    fn the_kernel_tests_own_last_summary_counts() {
        for (output, counts) in [
            ("1 passed, 0 failed\nnoise\n7 passed, 2 failed\n", Some((7, 2, 0))),
            ("7 passed, 0 failed, 3 skipped\r\n", Some((7, 0, 3))),
            ("all 7 passed, 0 failed\n", None),
            ("7 passed, 0 failed, 3 skipped, 1 lost\n", None),
            ("7 passed\n", None),
            ("", None),
        ] {
            let counts = counts.map(|(passed, failed, skipped)| Counts { passed, failed, skipped });
            assert_eq!(Counts::of_kernel_tests(output), counts, "{output:?}");
        }
    }

    #[test]
    fn a_summary_reads_as_it_is_written() {
        for counts in [Counts::ONE_FAILED, Counts { passed: 5, failed: 0, skipped: 2 }] {
            assert_eq!(Counts::of_kernel_tests(&counts.to_string()), Some(counts));
        }
    }
}
