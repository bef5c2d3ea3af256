//! A long command: its words go to a log, a line says what it is doing and for how long, and its end is shown when it
//! fails.

use std::{
    cell::Cell,
    fs::{self, File},
    io::{self, IsTerminal, Read, Seek, SeekFrom},
    path::{Path, PathBuf},
    process::{Command, ExitStatus, Stdio},
    sync::mpsc::{self, RecvTimeoutError},
    thread,
    time::{Duration, Instant},
};

use indicatif::{ProgressBar, ProgressStyle};

/// How often the line is drawn again.
const TICK: Duration = Duration::from_millis(120);
/// Where there is no terminal: how often a long command is said to be alive, since CI ends what is silent for long.
const ALIVE_EVERY: Duration = Duration::from_secs(60);
/// How much of a log's end is read for the line and for an error.
const TAIL_BYTES: u64 = 8 * 1024;
/// How many lines of a log an error shows.
const TAIL_LINES: usize = 40;
/// How much of a log is looked through at once for failures, and how much of one is shown.
const FAILURES_BYTES: u64 = 1 << 20;
const FAILURE_CHARS: usize = 400;

/// A command that has ended.
#[derive(Debug)]
pub(crate) struct Ended {
    /// How.
    pub(crate) status: ExitStatus,
    /// After how long.
    pub(crate) took: Duration,
    /// All that it wrote, to either stream.
    pub(crate) log: PathBuf,
}

impl Ended {
    /// Everything it wrote, as far as that is text.
    pub(crate) fn output(&self) -> String {
        fs::read(&self.log).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default()
    }
}

/// What went wrong with a command.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StepError {
    /// It ran and failed.
    #[error("{label}: failed ({status}); its end, the whole is in {}:\n{}", log.display(), tail(log))]
    Failed {
        /// What it was for.
        label: String,
        /// How it ended.
        status: ExitStatus,
        /// What it wrote.
        log: PathBuf,
    },
    /// It could not be run, or its log not be written.
    #[error("{label}: cannot {doing} {}: {source}", path.display())]
    Io {
        /// What it was for.
        label: String,
        /// What was tried.
        doing: &'static str,
        /// On what.
        path: PathBuf,
        /// Why it failed.
        source: io::Error,
    },
}

/// Runs `command` to its end, whatever that is; `label` says what for.
///
/// # Errors
/// [`StepError::Io`].
pub(crate) fn attempt(label: &str, command: &mut Command, log: &Path) -> Result<Ended, StepError> {
    let io = |doing, path: &Path| {
        let (label, path) = (label.to_owned(), path.to_owned());
        move |source| StepError::Io { label, doing, path, source }
    };
    let started = Instant::now();
    let dir = log.parent().unwrap_or(log);
    fs::create_dir_all(dir).map_err(io("create", dir))?;
    let file = File::create(log).map_err(io("create", log))?;
    let second = file.try_clone().map_err(io("share", log))?;
    let program = PathBuf::from(command.get_program());
    let mut child =
        command.stdin(Stdio::null()).stdout(file).stderr(second).spawn().map_err(io("start", &program))?;
    let line = Line::new(label);
    // std's wait has no time-out, so a thread waits and this one draws.
    let (sender, receiver) = mpsc::sync_channel(1);
    let waiter = thread::spawn(move || sender.send(child.wait()));
    let status = loop {
        match receiver.recv_timeout(TICK) {
            Ok(status) => break status.map_err(io("wait for", &program))?,
            Err(RecvTimeoutError::Timeout) => line.draw(started.elapsed(), log),
            Err(RecvTimeoutError::Disconnected) => {
                return Err(io("wait for", &program)(io::ErrorKind::BrokenPipe.into()));
            }
        }
    };
    drop(waiter);
    line.clear();
    Ok(Ended { status, took: started.elapsed(), log: log.to_owned() })
}

/// As [`attempt`], and a failure is an error.
///
/// # Errors
/// As [`attempt`], and [`StepError::Failed`].
pub(crate) fn run(label: &str, command: &mut Command, log: &Path) -> Result<Ended, StepError> {
    let ended = attempt(label, command, log)?;
    if ended.status.success() {
        eprintln!("  {label}: done in {}", seconds(ended.took));
        return Ok(ended);
    }
    Err(StepError::Failed { label: label.to_owned(), status: ended.status, log: ended.log })
}

/// The end of a log, for a person who looks for the reason of a failure.
pub(crate) fn tail(log: &Path) -> String {
    let text = read_tail(log);
    let lines: Vec<&str> = text.lines().collect();
    let from = lines.len().saturating_sub(TAIL_LINES);
    lines.iter().skip(from).map(|line| format!("    {line}\n")).collect()
}

/// `12.3 s`, `2 min 5 s`.
pub(crate) fn seconds(time: Duration) -> String {
    match time.as_secs() {
        0..60 => format!("{:.1} s", time.as_secs_f64()),
        seconds => format!("{} min {} s", seconds / 60, seconds % 60),
    }
}

fn read_tail(log: &Path) -> String {
    let mut bytes = Vec::new();
    let read = File::open(log).and_then(|mut file| {
        let from = file.metadata()?.len().saturating_sub(TAIL_BYTES);
        file.seek(SeekFrom::Start(from))?;
        file.take(TAIL_BYTES).read_to_end(&mut bytes)
    });
    // A log that cannot be read any more says nothing; its path is shown beside.
    read.map(|_| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default()
}

/// The one line about a running command.
enum Line {
    Terminal { bar: ProgressBar, label: String },
    Plain { label: String, said: Cell<Duration>, failures_to: Cell<u64> },
}

impl Line {
    fn new(label: &str) -> Self {
        let label = label.to_owned();
        if !io::stderr().is_terminal() {
            eprintln!("  {label} …");
            return Self::Plain { label, said: Duration::ZERO.into(), failures_to: Cell::new(0) };
        }
        let style = ProgressStyle::with_template("  {spinner} {wide_msg} {elapsed}");
        let bar = ProgressBar::new_spinner();
        bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_spinner()));
        bar.set_message(label.clone());
        bar.enable_steady_tick(TICK);
        Self::Terminal { bar, label }
    }

    fn draw(&self, elapsed: Duration, log: &Path) {
        match self {
            Self::Terminal { bar, label } => match last_line(&read_tail(log)) {
                Some(last) => bar.set_message(format!("{label}: {last}")),
                None => bar.set_message(label.clone()),
            },
            Self::Plain { label, said, failures_to } => {
                if elapsed.saturating_sub(said.get()) >= ALIVE_EVERY {
                    said.set(elapsed);
                    // Whoever ends a run that takes too long should know by then what went wrong.
                    let (failures, to) = failures(log, failures_to.get());
                    failures_to.set(to);
                    failures.iter().for_each(|line| eprintln!("  {label}: {line}"));
                    let last = last_line(&read_tail(log)).unwrap_or_default();
                    eprintln!("  {label}: {} so far: {last}", seconds(elapsed));
                }
            }
        }
    }

    fn clear(&self) {
        if let Self::Terminal { bar, .. } = self {
            bar.finish_and_clear();
        }
    }
}

/// The lines of a log from a position on by which a test program says that a test failed, each with the line below it;
/// and the position to go on from.
fn failures(log: &Path, from: u64) -> (Vec<String>, u64) {
    let mut bytes = Vec::new();
    let read = File::open(log).and_then(|mut file| {
        file.seek(SeekFrom::Start(from))?;
        file.take(FAILURES_BYTES).read_to_end(&mut bytes)
    });
    // What is not a whole line yet is for the next time.
    let whole = bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
    let whole = if whole == 0 && bytes.len() as u64 == FAILURES_BYTES { bytes.len() } else { whole };
    bytes.truncate(if read.is_ok() { whole } else { 0 });
    let text = String::from_utf8_lossy(&bytes);
    let lines: Vec<&str> = text.lines().collect();
    let failed = lines.iter().enumerate().filter(|(_, line)| line.starts_with("FAILED "));
    let shown = failed.map(|(at, line)| {
        let why = lines.get(at + 1).filter(|line| line.starts_with("  ")).copied().unwrap_or_default();
        format!("{line}{why}").chars().filter(|c| !c.is_control()).take(FAILURE_CHARS).collect()
    });
    (shown.collect(), from + bytes.len() as u64)
}

fn last_line(text: &str) -> Option<String> {
    let line = text.lines().rev().map(str::trim).find(|line| !line.is_empty())?;
    Some(line.chars().filter(|c| !c.is_control()).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str, log: &Path) -> Result<Ended, StepError> {
        run("a step", Command::new("sh").args(["-c", script]), log)
    }

    #[test]
    fn both_streams_reach_the_log() {
        let dir = tempfile::tempdir().unwrap();
        let ended = shell("echo out; echo err >&2", &dir.path().join("logs/step.log")).unwrap();
        assert_eq!(ended.output(), "out\nerr\n");
    }

    #[test]
    fn a_failure_shows_the_end_of_the_log_and_where_it_is() {
        let dir = tempfile::tempdir().unwrap();
        let log = dir.path().join("step.log");
        let error = shell("seq 1 1000; exit 7", &log).unwrap_err().to_string();
        assert!(error.contains("exit status: 7"), "{error}");
        assert!(error.contains(&log.display().to_string()), "{error}");
        assert!(error.contains("    1000\n") && !error.contains("    1\n"), "{error}");
    }

    #[test]
    fn a_program_that_is_not_there_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let error = run("a step", &mut Command::new("/nonexistent/tool"), &dir.path().join("log"));
        assert!(error.unwrap_err().to_string().contains("cannot start /nonexistent/tool"));
    }

    #[test]
    fn failures_are_found_once_and_whole() {
        let dir = tempfile::tempdir().unwrap();
        let log = dir.path().join("log");
        fs::write(&log, "ok       a  0.1 s\nFAILED   b  1 s\n  no event\n  of 3\nFAILED   c").unwrap();
        let (found, to) = failures(&log, 0);
        assert_eq!(found, ["FAILED   b  1 s  no event"]);
        assert_eq!(failures(&log, to), (Vec::new(), to));
        fs::write(&log, fs::read_to_string(&log).unwrap() + "  2 s\nok       d  0.1 s\n").unwrap();
        assert_eq!(failures(&log, to).0, ["FAILED   c  2 s"]);
        assert_eq!(failures(Path::new("/nonexistent/log"), 7), (Vec::new(), 7));
    }

    #[test]
    fn the_last_line_is_safe_to_draw() {
        assert_eq!(last_line("first\n  Compiling \u{1b}[1mx\u{7} \n\n").as_deref(), Some("Compiling [1mx"));
        assert_eq!(last_line(" \n"), None);
    }

    #[test]
    fn times_read_well() {
        assert_eq!(seconds(Duration::from_millis(12_340)), "12.3 s");
        assert_eq!(seconds(Duration::from_secs(125)), "2 min 5 s");
    }
}
