//! What the guest reported, and what its console says when it did not.

use std::{
    fs::File,
    io::{self, Read, Seek, SeekFrom},
    path::Path,
};

/// How much of a console's end is searched for a panic.
const SEARCHED_BYTES: u64 = 64 * 1024;
/// How many of its last lines an error shows.
const SHOWN_LINES: usize = 30;
/// The kernel's words at a panic (kernel/panic.c).
const PANIC: &str = "Kernel panic - not syncing: ";

/// The lines that `init.sh` writes to the result port. Empty where the guest did not come so far.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Report {
    /// `uname -r`.
    pub(super) release: String,
    /// `/sys/kernel/security/lsm`.
    pub(super) lsm: String,
    /// The guest's uptime when the command started, in seconds.
    pub(super) ready_s: f64,
    /// `/proc/sys/kernel/tainted` at the end.
    pub(super) tainted: u64,
    /// A preparing step that failed.
    pub(super) failed: Option<String>,
    /// The command's exit status: the last line, so its absence means an unfinished run.
    pub(super) exit: Option<u8>,
}

impl Report {
    /// Reads a result file. Unknown lines are passed over: a crash may have cut one short.
    pub(super) fn parse(text: &str) -> Self {
        let mut report = Self::default();
        for (key, value) in text.lines().filter_map(|line| line.trim_end().split_once('=')) {
            match key {
                "release" => value.clone_into(&mut report.release),
                "lsm" => value.clone_into(&mut report.lsm),
                "ready_s" => report.ready_s = value.parse().unwrap_or_default(),
                "tainted" => report.tainted = value.parse().unwrap_or_default(),
                "failed" => report.failed = Some(value.to_owned()),
                "exit" => report.exit = value.parse().ok(),
                _ => {}
            }
        }
        report
    }
}

/// The end of a saved console.
#[derive(Debug)]
pub(super) struct Console {
    text: String,
}

impl Console {
    pub(super) fn read_tail(path: &Path) -> io::Result<Self> {
        let mut file = File::open(path)?;
        let len = file.metadata()?.len();
        file.seek(SeekFrom::Start(len.saturating_sub(SEARCHED_BYTES)))?;
        let mut bytes = Vec::new();
        file.take(SEARCHED_BYTES).read_to_end(&mut bytes)?;
        Ok(Self { text: String::from_utf8_lossy(&bytes).into_owned() })
    }

    /// What the kernel said it panicked about.
    pub(super) fn panic(&self) -> Option<String> {
        let line = self.text.lines().find_map(|line| line.split_once(PANIC))?;
        Some(line.1.trim().to_owned())
    }

    /// The last lines, indented, without control characters.
    pub(super) fn tail(&self) -> String {
        let lines: Vec<&str> = self.text.lines().collect();
        let from = lines.len().saturating_sub(SHOWN_LINES);
        let shown = lines.get(from..).unwrap_or_default();
        let clean = |line: &&str| line.chars().filter(|c| !c.is_control()).collect::<String>();
        shown.iter().map(clean).map(|line| format!("    {line}")).collect::<Vec<_>>().join("\n")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_whole_report_is_read() {
        let text = "release=6.1.0-56-cloud-amd64\r\nlsm=lockdown,capability,bpf\nready_s=5.31\ntainted=512\nexit=3\n";
        let report = Report::parse(text);
        assert_eq!(
            report,
            Report {
                release: "6.1.0-56-cloud-amd64".into(),
                lsm: "lockdown,capability,bpf".into(),
                ready_s: 5.31,
                tainted: 512,
                failed: None,
                exit: Some(3),
            }
        );
    }

    #[test]
    fn an_unfinished_report_has_no_exit_status() {
        for text in ["", "release=6.1\nlsm=", "exit=", "exit=many", "no line at all", "failed=mount -t bpf"] {
            assert_eq!(Report::parse(text).exit, None, "{text:?}");
        }
        assert_eq!(Report::parse("failed=mount -t bpf").failed.as_deref(), Some("mount -t bpf"));
    }

    #[test]
    fn a_panic_is_found_and_the_tail_is_bounded() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let mut text = "line\n".repeat(100_000);
        text.push_str(
            "[    3.1] Kernel panic - not syncing: Attempted to kill init! exitcode=0x100\n\u{1b}[31mred\n",
        );
        std::fs::write(file.path(), text).unwrap();
        let console = Console::read_tail(file.path()).unwrap();
        assert_eq!(console.panic().as_deref(), Some("Attempted to kill init! exitcode=0x100"));
        assert_eq!(console.tail().lines().count(), SHOWN_LINES);
        assert!(console.tail().ends_with("    [31mred"));
    }
}
