//! Pieces of ClientHellos, put together by connection.

use std::sync::Arc;

use agent_common::limits::PAYLOAD_BYTES;

use super::tls::{self, Hello};
use crate::capture::recent::Recent;
use crate::model::act::HelloPiece;

/// Connections whose ClientHello has begun and is not whole: with [`PAYLOAD_BYTES`] each, 4 MiB at most.
pub(super) const UNFINISHED: usize = 1_024;

/// ClientHellos that are not whole yet.
pub(super) struct Hellos {
    begun: Recent<Vec<u8>>,
    evicted: u64,
}

impl Default for Hellos {
    fn default() -> Self {
        Self { begun: Recent::new(UNFINISHED), evicted: 0 }
    }
}

impl Hellos {
    /// Takes a piece; the server name, once it can be read.
    pub(super) fn take(&mut self, piece: &HelloPiece) -> Option<Arc<str>> {
        let HelloPiece { cookie, offset, bytes } = piece;
        let mut begun = self.begun.remove(*cookie).unwrap_or_default();
        if *offset == 0 {
            begun.clear();
        }
        // The kernel tells pieces in order; where one was lost, the rest says nothing.
        if usize::try_from(*offset).ok()? != begun.len() {
            return None;
        }
        begun.extend_from_slice(bytes.as_bytes());
        match tls::read(&begun) {
            Hello::Name(name) => Some(name),
            Hello::Nameless => None,
            Hello::Unfinished if begun.len() >= PAYLOAD_BYTES => None,
            Hello::Unfinished => {
                self.evicted += u64::from(self.begun.insert(*cookie, begun).is_some());
                None
            }
        }
    }

    /// How many had to go unfinished for want of room.
    pub(super) const fn evicted(&self) -> u64 {
        self.evicted
    }
}
