//! The rings: what the kernel side tells is parted by what its loss would cost, and by who may fill it.
//!
//! Life and names of processes are in one of their own, for everything else is understood by it. Credentials and
//! connections cannot push each other out. An act of somebody who acts more often than [`crate::limits`] allows goes to the
//! last, whose space is all that he can fill: nobody else's acts are in it.

use crate::limits::{BULK_RING_BYTES, CONNECTION_RING_BYTES, CREDENTIAL_RING_BYTES, PROCESS_RING_BYTES};

/// A ring.
#[repr(u32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Ring {
    /// fork, exec, exit, and names of cgroups.
    Process = 0,
    /// Acts on credentials.
    Credential = 1,
    /// Connections, datagrams, sockets, and names of destinations.
    Connection = 2,
    /// What is beyond somebody's budget, and what can wait: updates of long connections.
    Bulk = 3,
}

impl Ring {
    /// All, in the order of their numbers.
    pub const ALL: [Self; 4] = [Self::Process, Self::Credential, Self::Connection, Self::Bulk];

    /// Name of its map.
    pub const fn map(self) -> &'static str {
        match self {
            Self::Process => "PROCESS_RING",
            Self::Credential => "CREDENTIAL_RING",
            Self::Connection => "CONNECTION_RING",
            Self::Bulk => "BULK_RING",
        }
    }

    /// Its size in bytes.
    pub const fn bytes(self) -> u32 {
        match self {
            Self::Process => PROCESS_RING_BYTES,
            Self::Credential => CREDENTIAL_RING_BYTES,
            Self::Connection => CONNECTION_RING_BYTES,
            Self::Bulk => BULK_RING_BYTES,
        }
    }

    /// The ring of that number.
    pub fn from_number(number: u32) -> Option<Self> {
        Self::ALL.into_iter().find(|ring| *ring as u32 == number)
    }
}
