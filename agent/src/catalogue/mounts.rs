//! The device of each mount as the kernel holds it.
//!
//! `stat` gives file systems such as btrfs a device of their own making; the kernel's programs see `s_dev` of the
//! superblock. `/proc/PID/mountinfo` shows that one, by the mount id that `statx` gives.

use std::collections::HashMap;
use std::io;

use crate::host::HostRoot;
use crate::host::mountinfo::{self, Line};

/// Mount id → `s_dev` (major in the upper 12 bits, minor in the lower 20).
#[derive(Clone, Debug, Default)]
pub struct Mounts(HashMap<u64, u32>);

impl Mounts {
    /// The mounts of the host.
    ///
    /// # Errors
    /// If /proc does not show them.
    pub fn of(host: &HostRoot) -> io::Result<Self> {
        Ok(Self::parse(&host.mountinfo()?))
    }

    /// Reads a list. A line of another form is passed over.
    pub fn parse(text: &[u8]) -> Self {
        let number = |line: Line<'_>| {
            let (major, minor) = std::str::from_utf8(line.device).ok()?.split_once(':')?;
            Some((line.id, device(major.parse().ok()?, minor.parse().ok()?)))
        };
        Self(mountinfo::lines(text).filter_map(number).collect())
    }

    /// `s_dev` of a mount.
    pub fn device(&self, mount: u64) -> Option<u32> {
        self.0.get(&mount).copied()
    }
}

/// A device number as the kernel holds it (`MKDEV`).
pub const fn device(major: u32, minor: u32) -> u32 {
    major << 20 | (minor & 0xf_ffff)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mountinfo() {
        let text = b"26 1 254:1 / / rw,relatime shared:1 - ext4 /dev/vda1 rw\n\
            garbage\n\
            41 26 0:38 /@home /h\xff rw - btrfs /dev/vdb rw\n";
        let mounts = Mounts::parse(text);
        assert_eq!(mounts.device(26), Some(254 << 20 | 1));
        assert_eq!(mounts.device(41), Some(38));
        assert_eq!(mounts.device(1), None);
    }
}
