//! Ctrl-C and SIGTERM: the benchmark ends at its next wait, and what it made is taken back on the way out.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::outcome::{During, Outcome, failed};

static INTERRUPTED: AtomicBool = AtomicBool::new(false);

extern "C" fn note(_signal: libc::c_int) {
    INTERRUPTED.store(true, Ordering::Release);
}

/// Takes the signals from now on. A handler and no blocked signals: a mask would be inherited by programs that are
/// started, a handler is not.
pub(super) fn watch() -> Outcome {
    for signal in [libc::SIGINT, libc::SIGTERM, libc::SIGHUP] {
        // SAFETY: the handler does nothing but store to an atomic.
        let before = unsafe { libc::signal(signal, note as *const () as libc::sighandler_t) };
        if before == libc::SIG_ERR {
            return Err(io::Error::last_os_error()).during("take signals");
        }
    }
    Ok(())
}

/// Fails once the user wants no more.
pub(super) fn check() -> Outcome {
    if INTERRUPTED.load(Ordering::Acquire) { failed("interrupted") } else { Ok(()) }
}
