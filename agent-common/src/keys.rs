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

/// Which session a process is of: the value of the map of tags, by process id. A child has its maker's from its fork on.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
pub struct ProcessTag {
    /// When the process began, boot time in ns. Exact, or as /proc tells it.
    pub start_boot_ns: u64,
    /// The session's number; never 0.
    pub tag: u32,
    /// Zero.
    pub reserved: u32,
}

/// Length of the ticks in which /proc tells when a process began (`USER_HZ` is 100 on all of our machines), in ns.
pub const START_TICK_NS: u64 = 10_000_000;

impl ProcessTag {
    /// Whether it is meant for the process that began then, and not for one that had its id before. No id comes back within
    /// a tick.
    #[inline(always)]
    pub const fn is_of(&self, start_boot_ns: u64) -> bool {
        self.start_boot_ns / START_TICK_NS == start_boot_ns / START_TICK_NS
    }
}

/// A literal path component of a rule, NUL padded.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, FromBytes, IntoBytes, KnownLayout, Immutable)]
pub struct RuleName(pub [u8; RULE_NAME_BYTES]);

impl RuleName {
    /// Its bit in a [`NameFilter`].
    pub fn filter_bit(&self) -> u32 {
        let mut head = [0; 8];
        head.copy_from_slice(&self.0[..8]);
        name_filter_bit(u64::from_le_bytes(head))
    }
}

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

/// Words of the filter of names: a bit for each literal of the rules, found by a hash of its beginning. With a thousand
/// literals one component in sixty passes it without being one, and is then looked up.
pub const NAME_FILTER_WORDS: usize = 1024;

/// The filter of names: the value of the one entry of its map.
pub type NameFilter = [u64; NAME_FILTER_WORDS];

/// Which bit of a [`NameFilter`] a name has, by its first eight bytes: the first lowest, zero beyond its end. Not by its
/// length too, which would be another read: a name may change between the two.
#[inline(always)]
pub const fn name_filter_bit(head: u64) -> u32 {
    // Fibonacci hashing: the highest bits of the product depend on all bits of the factor.
    (head.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 48) as u32
}

/// Which bit a [`RuleSuffix`] has.
#[inline(always)]
pub const fn suffix_filter_bit(suffix: u64) -> u32 {
    name_filter_bit(!suffix)
}

/// The bytes of a string before its first NUL, the others zero.
#[inline(always)]
pub const fn until_nul(head: u64) -> u64 {
    // The lowest NUL byte has its highest bit here (higher ones may be wrong, and do not matter).
    let nul = head.wrapping_sub(0x0101_0101_0101_0101) & !head & 0x8080_8080_8080_8080;
    head & (nul & nul.wrapping_neg()).wrapping_sub(1)
}

/// The end of a name from its last dot on, the first byte lowest; 0 where there is no dot. `tail` is the last `kept` bytes
/// of the name: 1 to 8.
///
/// Without a branch for each place of the dot: a verifier follows each apart, through all that comes after.
#[inline(always)]
pub const fn from_last_dot(tail: u64, kept: u32) -> u64 {
    const LOW: u64 = 0x7f7f_7f7f_7f7f_7f7f;
    let tail = tail & u64::MAX >> (64_u32.wrapping_sub(8 * kept) & 63);
    let differs = tail ^ u64::from_le_bytes([b'.'; 8]);
    // The highest bit of each byte that is a dot, and then of each one below as well.
    let mut dots = !((differs & LOW).wrapping_add(LOW) | differs | LOW);
    if dots == 0 {
        return 0;
    }
    dots |= dots >> 8;
    dots |= dots >> 16;
    dots |= dots >> 32;
    // So many bytes come before the last dot: their sum is in the highest byte of the product, here times eight.
    let before = (dots >> 15).wrapping_mul(0x0101_0101_0101_0101) >> 53 & 56;
    tail >> before
}

/// A file name suffix of a rule, dot included, NUL padded at the end.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, FromBytes, IntoBytes, KnownLayout, Immutable)]
pub struct RuleSuffix(pub [u8; RULE_SUFFIX_BYTES]);

impl RuleSuffix {
    /// Its bit in a [`NameFilter`].
    pub const fn filter_bit(&self) -> u32 {
        suffix_filter_bit(u64::from_le_bytes(self.0))
    }
}

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

/// A process and another whose memory it reached in one way, with one answer. Of environments the other is all zero: who
/// looks at those of many is one.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, FromBytes, IntoBytes, KnownLayout, Immutable)]
pub struct MemoryKey {
    /// Start of who reached, boot time in ns.
    pub actor_start_boot_ns: u64,
    /// Start of the other one.
    pub target_start_boot_ns: u64,
    /// The addresses of the memory maps of both, in one number: another after each exec.
    pub memories: u64,
    /// Pid of who reached.
    pub actor_tgid: u32,
    /// Pid of the other one.
    pub target_tgid: u32,
    /// One of `records::memory`.
    pub way: u32,
    /// Positive errno of a refusal.
    pub errno: u32,
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
    /// Whether a record that finds the agent waiting wakes it; else the agent comes by itself, soon. 0 is no.
    pub wake: u32,
    /// A connection that was told of so long ago, in milliseconds, is told of again, if it has carried something since.
    pub update_interval_ms: u32,
    /// Zero.
    pub reserved: u32,
    /// Chooses the cells of each actor's budgets: not to be foretold.
    pub seed: u64,
}

/// Which generation of programs serves (one cell, in an array map that all generations share).
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
pub struct Cutover {
    /// The generation that serves; above 32 bits, the one that is being tried, 0 for none.
    pub serving: u64,
    /// The process whose acts the one that is tried tells, and those of its children.
    pub candidate_tgid: u64,
}

impl Cutover {
    /// The generation that serves: no other is tried.
    pub const fn to(generation: u32) -> Self {
        Self { serving: generation as u64, candidate_tgid: 0 }
    }

    /// The generation that serves all but those who try another.
    pub const fn current(self) -> u32 {
        self.serving as u32
    }

    /// The same, while `candidate` is tried by the process of that number.
    pub const fn trying(self, candidate: u32, tgid: u32) -> Self {
        Self { serving: (candidate as u64) << 32 | self.serving as u32 as u64, candidate_tgid: tgid as u64 }
    }

    /// Whether a process tries another generation.
    pub fn is_candidate(self, tgid: u32) -> bool {
        self.candidate_tgid == u64::from(tgid)
    }

    /// The generation that serves a process, by whether it is one that tries another.
    pub fn serving_of(self, is_candidate: impl FnOnce() -> bool) -> u64 {
        let candidate = self.serving >> 32;
        if candidate != 0 && is_candidate() { candidate } else { self.serving & u64::from(u32::MAX) }
    }
}

const _: () = assert!(DATAGRAM_FLOWS.is_power_of_two());

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_suffix_begins_at_the_last_dot() {
        for name in [
            ".",
            "a",
            "key",
            ".env",
            "a.pem",
            "a.b.key",
            "x.kdbx",
            "..",
            "a.",
            ".a.b.c.d",
            "eightbyt",
            "seven.x",
            "\u{fe}.\u{ae}",
        ] {
            for garbage in [0x00, b'.', 0x80, 0xff] {
                let mut stored = [garbage; 8];
                stored[..name.len()].copy_from_slice(name.as_bytes());
                let mut padded = [0; 8];
                if let Some(dot) = name.rfind('.') {
                    padded[..name.len() - dot].copy_from_slice(&name.as_bytes()[dot..]);
                }
                let found = from_last_dot(u64::from_le_bytes(stored), name.len() as u32);
                assert_eq!(found.to_le_bytes(), padded, "{name}");
            }
        }
    }

    #[test]
    fn a_name_ends_at_its_first_nul() {
        for name in ["", "a", ".ssh", "sevenby", "eightbyt"] {
            for garbage in [0x00, 0x01, 0x80, 0xff] {
                let mut stored = [garbage; 8];
                stored[..name.len()].copy_from_slice(name.as_bytes());
                if let Some(end) = stored.get_mut(name.len()) {
                    *end = 0;
                }
                let mut padded = [0; 8];
                padded[..name.len()].copy_from_slice(name.as_bytes());
                assert_eq!(until_nul(u64::from_le_bytes(stored)), u64::from_le_bytes(padded), "{name}");
            }
        }
    }
}
