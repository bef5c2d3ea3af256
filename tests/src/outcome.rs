//! How a test ends.

use std::fmt;

/// Why a test did not pass. The texts are for whoever reads the run.
#[derive(Clone, Debug)]
pub(crate) enum Verdict {
    /// It ran, and something was not as it should be.
    Failed(String),
    /// It cannot run here, for this reason.
    Skipped(String),
}

/// What a test gives.
pub(crate) type Outcome<T = ()> = Result<T, Verdict>;

impl Verdict {
    /// Says what was being done.
    pub(crate) fn during(self, what: impl fmt::Display) -> Self {
        match self {
            Self::Failed(text) => Self::Failed(format!("{what}: {text}")),
            skipped @ Self::Skipped(_) => skipped,
        }
    }
}

impl<E: std::error::Error> From<E> for Verdict {
    fn from(error: E) -> Self {
        Self::Failed(error.to_string())
    }
}

/// Adds what was being done to an error.
pub(crate) trait During<T> {
    /// As [`Verdict::during`].
    fn during(self, what: impl fmt::Display) -> Outcome<T>;
}

impl<T, E: Into<Verdict>> During<T> for Result<T, E> {
    fn during(self, what: impl fmt::Display) -> Outcome<T> {
        self.map_err(|error| error.into().during(what))
    }
}

/// A failure with a text.
pub(crate) fn failed<T>(text: impl Into<String>) -> Outcome<T> {
    Err(Verdict::Failed(text.into()))
}

/// A skip with its reason.
pub(crate) fn skipped<T>(reason: impl Into<String>) -> Outcome<T> {
    Err(Verdict::Skipped(reason.into()))
}

/// Fails with a text unless something holds.
pub(crate) fn ensure(holds: bool, text: impl FnOnce() -> String) -> Outcome {
    if holds { Ok(()) } else { Err(Verdict::Failed(text())) }
}
