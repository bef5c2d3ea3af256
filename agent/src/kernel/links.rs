//! Programs' ties to their hooks. A program is detached when its tie is dropped, unless that was pinned.

use std::collections::HashMap;

use aya::programs::links::{FdLink, PinnedLink};

use super::pins::{PinError, Pins};

enum Link {
    Free(FdLink),
    Pinned(PinnedLink),
}

/// The ties of all programs that are attached, by program.
#[derive(Default)]
pub(super) struct Links(HashMap<&'static str, Link>);

impl Links {
    /// Keeps one.
    pub(super) fn keep(&mut self, program: &'static str, link: FdLink) {
        self.0.insert(program, Link::Free(link));
    }

    /// Detaches a program, where it is attached.
    pub(super) fn detach(&mut self, program: &str) {
        if let Some(Link::Pinned(link)) = self.0.remove(program)
            && let Err(error) = link.unpin()
        {
            tracing::warn!(program, %error, "a pinned program could not be detached");
        }
    }

    /// Has all that are attached outlive this process.
    pub(super) fn pin(&mut self, pins: &Pins) -> Result<(), PinError> {
        for (program, link) in std::mem::take(&mut self.0) {
            let link = match link {
                Link::Free(link) => Link::Pinned(pins.pin(program, link)?),
                pinned => pinned,
            };
            self.0.insert(program, link);
        }
        Ok(())
    }
}
