//! Opens and reads.

use std::ffi::CString;
use std::fs;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStringExt;
use std::path::Path;

use rustix::fs::{CWD, Mode, OFlags, openat};
use rustix::io::{Result, pread};
use rustix::process::getppid;

use super::stopwatch::{Stopwatch, pause, timed};
use crate::harness::places;
use crate::harness::setting::CREDENTIALS;
use crate::outcome::{During, Outcome, ensure};

/// Opens, then calls that no hook should make dearer.
pub(super) fn measure(watch: &mut Stopwatch, directory: &Path) -> Outcome {
    let ordinary = watch.rounds().map(|round| file(directory, &format!("ordinary-{round:05}.txt")));
    let ordinary = ordinary.collect::<Outcome<Vec<CString>>>()?;
    let again = file(directory, "ordinary-again.txt")?;
    let credential = file(&directory.join(CREDENTIALS), "key")?;

    for (path, _) in ordinary.iter().zip(watch.rounds()) {
        let (opened, ns) = timed(|| open(path));
        drop(opened.during("open a file for the first time")?);
        watch.keep("open_first", ns);
    }
    for _ in watch.rounds() {
        let (opened, ns) = timed(|| open(&again));
        drop(opened.during("open a file again")?);
        watch.keep("open_again", ns);
    }
    for _ in watch.rounds() {
        let (opened, ns) = timed(|| open(&credential));
        drop(opened.during("open a credential")?);
        watch.keep("open_credential", ns);
        watch.owed.credential_access += 1;
    }
    // The agent has read all before and sleeps: the act includes waking it.
    for _ in watch.rounds() {
        pause();
        let (opened, ns) = timed(|| open(&credential));
        drop(opened.during("open a credential")?);
        watch.keep("open_credential_waking", ns);
        watch.owed.credential_access += 1;
    }
    calls(watch, &again)
}

fn calls(watch: &mut Stopwatch, path: &CString) -> Outcome {
    let file = open(path).during("open a file to read")?;
    let mut byte = [0];
    for _ in watch.rounds() {
        let (read, ns) = timed(|| pread(&file, &mut byte, 0));
        ensure(read == Ok(1), || format!("a file of bytes gave none: {read:?}"))?;
        watch.keep("read", ns);
    }
    for _ in watch.rounds() {
        let (_, ns) = timed(getppid);
        watch.keep("getppid", ns);
    }
    Ok(())
}

fn open(path: &CString) -> Result<OwnedFd> {
    openat(CWD, path.as_c_str(), OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())
}

/// A file that is there already is not opened: the first open is one that is timed.
fn file(directory: &Path, name: &str) -> Outcome<CString> {
    let path = directory.join(name);
    if fs::metadata(&path).is_err() {
        places::write(&path, "content\n")?;
    }
    Ok(CString::new(path.into_os_string().into_vec())?)
}
