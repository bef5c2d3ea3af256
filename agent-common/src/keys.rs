//! Keys and values of the maps that both sides read or write.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::limits::{DATAGRAM_FLOWS, MARKER_NAME_BYTES, RULE_NAME_BYTES, RULE_SUFFIX_BYTES};

/// A file by where it lives: the superblock's device number as the kernel holds it (`s_dev`: major in the upper
/// 12 bits, minor in the lower 20) and the inode number.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, FromBytes, IntoBytes, KnownLayout, Immutable)]
pub struct InodeKey {
    /// Inode number.
    pub inode: u64,
    /// `s_dev`.
    pub device: u32,
    /// Zero.
    pub reserved: u32,
}

/// A literal path component of a rule, NUL padded.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, FromBytes, IntoBytes, KnownLayout, Immutable)]
pub struct RuleName(pub [u8; RULE_NAME_BYTES]);

/// What a path component may be to the rules (flags of [`RuleName`]'s value, a `u32`).
pub mod rule_name {
    /// A file of this name is a candidate wherever it is.
    pub const FILE: u32 = 1;
    /// A file of this name is a candidate if its directory has [`DIRECTORY_OF_FILE`].
    pub const FILE_IN_DIRECTORY: u32 = 2;
    /// The directory's half of [`FILE_IN_DIRECTORY`].
    pub const DIRECTORY_OF_FILE: u32 = 4;
    /// Every file directly in a directory of this name is a candidate.
    pub const DIRECTORY: u32 = 8;
    /// Every file below a directory of this name is a candidate.
    pub const ANCESTOR: u32 = 16;
    /// A socket whose name begins so is a candidate: the key is the first bytes of the name.
    pub const PREFIX: u32 = 32;
}

/// A file name suffix of a rule, dot included, NUL padded at the end.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, FromBytes, IntoBytes, KnownLayout, Immutable)]
pub struct RuleSuffix(pub [u8; RULE_SUFFIX_BYTES]);

/// The name of an environment marker, NUL padded. One that ends in `_` stands for every name that begins so, up to
/// and including the first underscore.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, FromBytes, IntoBytes, KnownLayout, Immutable)]
pub struct MarkerName(pub [u8; MARKER_NAME_BYTES]);

/// Flag of a [`MarkerName`]'s value: only the name is kept.
pub const MARKER_NAME_ONLY: u32 = 1;
/// Flag of a [`MarkerName`]'s value: name and value are kept.
pub const MARKER_WITH_VALUE: u32 = 2;
/// Flag of a [`MarkerName`]'s value: it makes the loader load something (`LD_PRELOAD`).
pub const MARKER_PRELOAD: u32 = 4;

/// A UDP peer of a socket.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, FromBytes, IntoBytes, KnownLayout, Immutable)]
pub struct FlowKey {
    /// Socket cookie.
    pub cookie: u64,
    /// Peer address; IPv4 in the first four bytes, network order.
    pub address_be: [u8; 16],
    /// Peer port, host order.
    pub port: u16,
    /// `AF_INET` or `AF_INET6`.
    pub family: u16,
    /// Zero.
    pub reserved: u32,
}

/// How often a folded UDP peer was sent to.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
pub struct FlowCount {
    /// Datagrams after the first, since the fold began. Added to atomically; userspace only reads.
    pub folded: u64,
    /// Boot time in ns of the last one.
    pub last_boot_ns: u64,
}

/// Switches that userspace may flip at run time (one cell, in an array map).
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
pub struct Control {
    /// Drop every n-th record on purpose, counted as such; 0 is off. For tests and drills.
    pub drop_every: u32,
    /// Generation of the catalogue: a cached verdict of another generation is not believed. Starts at 1.
    pub catalogue_generation: u32,
    /// The agent's own process: its acts are not recorded (it would report on its own reporting). 0 is none.
    pub own_tgid: u32,
    /// Zero.
    pub reserved: u32,
    /// A connection that was told of so long ago, in milliseconds, is told of again, if it has carried something since.
    pub update_interval_ms: u32,
    /// Zero.
    pub reserved_too: u32,
}

const _: () = assert!(DATAGRAM_FLOWS.is_power_of_two());
