//! Which tests failed and what they said, from what test programs print: a log's end shows only what came last.

/// How many lines of one test are shown: what it was about stands first, its events follow.
const LINES_EACH: usize = 12;
/// How many tests are shown; a kernel on which nothing works fails hundreds.
const TESTS: usize = 10;

/// The failed tests of `output` with what they said, ready to print; none if no test says so by its name.
///
/// Two forms are known: `FAILED   name` or `FAILED: what` with indented lines below, as our own programs and scripts
/// print it, and libtest's `---- name stdout ----` with lines up to the next of them or its list of names.
pub(super) fn named(output: &str) -> Option<String> {
    let mut blocks: Vec<Vec<&str>> = Vec::new();
    let mut within = Within::Nothing;
    for line in output.lines() {
        let line = line.trim_end();
        if line.starts_with("FAILED ") || line.starts_with("FAILED: ") {
            blocks.push(vec![line]);
            within = Within::Ours;
        } else if line.starts_with("---- ") && line.ends_with(" stdout ----") {
            blocks.push(vec![line]);
            within = Within::Libtest;
        } else if !within.holds(line) {
            within = Within::Nothing;
        } else if let Some(block) = blocks.last_mut()
            && !line.is_empty()
        {
            block.push(line);
        }
    }
    if blocks.is_empty() {
        return None;
    }
    let mut text = String::new();
    for block in blocks.iter().take(TESTS) {
        for line in block.iter().take(LINES_EACH) {
            text.push_str(&format!("    {line}\n"));
        }
        if block.len() > LINES_EACH {
            text.push_str(&format!("      … {} more lines\n", block.len() - LINES_EACH));
        }
    }
    if blocks.len() > TESTS {
        text.push_str(&format!("    … {} more tests\n", blocks.len() - TESTS));
    }
    Some(text)
}

/// Whose words a line may belong to.
#[derive(Clone, Copy)]
enum Within {
    Nothing,
    Ours,
    Libtest,
}

impl Within {
    fn holds(self, line: &str) -> bool {
        match self {
            Self::Nothing => false,
            Self::Ours => line.starts_with("  "),
            Self::Libtest => line != "failures:",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failed_kernel_test_is_shown_with_its_words_alone() {
        let output = "ok       a  0.10 s\nFAILED   b/c  1.00 s\n  no event\n  of 3\nok       d  0.10 s\n  not ours\n\
            2 passed, 1 failed\n";
        assert_eq!(named(output).as_deref(), Some("    FAILED   b/c  1.00 s\n      no event\n      of 3\n"));
    }

    #[test]
    fn a_failed_unit_test_is_shown_with_its_panic() {
        let output = "test x::y ... FAILED\n\nfailures:\n\n---- x::y stdout ----\n\nthread 'x::y' panicked\n\n\
            failures:\n    x::y\n";
        let shown = named(output).unwrap();
        assert_eq!(shown, "    ---- x::y stdout ----\n    thread 'x::y' panicked\n");
    }

    #[test]
    fn what_names_no_test_is_left_to_the_logs_end() {
        assert_eq!(named("error: linking failed\n3 passed, 1 failed\n"), None);
    }

    #[test]
    fn many_failures_and_long_words_are_cut() {
        let output: String = (0..50).map(|n| format!("FAILED   {n}\n{}", "  word\n".repeat(40))).collect();
        let shown = named(&output).unwrap();
        assert!(shown.lines().count() <= TESTS * (LINES_EACH + 1) + 1, "{shown}");
        assert!(shown.ends_with("… 40 more tests\n"), "{shown}");
    }
}
