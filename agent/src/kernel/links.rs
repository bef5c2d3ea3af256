//! Programs' ties to their hooks. A program is detached when its tie is dropped, unless that was pinned.

use std::collections::HashMap;
use std::io;

use aya::programs::links::{FdLink, PinnedLink};

use super::impaired::detached_links;
use super::pins::{PinError, Pins};

enum Link {
    Free(FdLink),
    Pinned(PinnedLink),
}

struct Tie {
    link: Link,
    /// The kernel's number of it; `None` where it has not said.
    id: Option<u32>,
}

/// The ties of all programs that are attached, by program.
#[derive(Default)]
pub(super) struct Links(HashMap<&'static str, Tie>);

impl Links {
    /// Keeps one.
    pub(super) fn keep(&mut self, program: &'static str, link: FdLink) {
        let id = link.info().ok().map(|info| info.id());
        self.0.insert(program, Tie { link: Link::Free(link), id });
    }

    /// The programs that somebody else has detached.
    ///
    /// # Errors
    /// Where that cannot be found out.
    pub(super) fn detached_by_others(&self) -> io::Result<impl Iterator<Item = &'static str>> {
        let detached = detached_links()?;
        let is_detached = move |tie: &Tie| tie.id.is_some_and(|id| detached.contains(&id));
        Ok(self.0.iter().filter(move |(_, tie)| is_detached(tie)).map(|(program, _)| *program))
    }

    /// Those that are pinned.
    pub(super) fn pinned(&self) -> impl Iterator<Item = &'static str> {
        self.0.iter().filter(|(_, tie)| matches!(tie.link, Link::Pinned(_))).map(|(program, _)| *program)
    }

    /// Detaches a program, where it is attached.
    pub(super) fn detach(&mut self, program: &str) {
        if let Some(Tie { link: Link::Pinned(link), .. }) = self.0.remove(program)
            && let Err(error) = link.unpin()
        {
            tracing::warn!(program, %error, "a pinned program could not be detached");
        }
    }

    /// Has all that are attached outlive this process.
    pub(super) fn pin(&mut self, pins: &Pins) -> Result<(), PinError> {
        for (program, Tie { link, id }) in std::mem::take(&mut self.0) {
            let link = match link {
                Link::Free(link) => Link::Pinned(pins.pin(program, link)?),
                pinned => pinned,
            };
            self.0.insert(program, Tie { link, id });
        }
        Ok(())
    }
}
