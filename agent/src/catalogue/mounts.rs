//! The device of each mount as the kernel holds it.
//!
//! `stat` gives file systems such as btrfs a device of their own making; the kernel's programs see `s_dev` of the
//! superblock. `/proc/PID/mountinfo` shows that one, by the mount id that `statx` gives.

use std::collections::HashMap;
use std::io;

use crate::host::HostRoot;

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

    /// Reads the form of `/proc/PID/mountinfo`: `id parent major:minor …`. Lines of another form are passed over. (The
    /// crate `procfs` reads these lines as UTF-8: one strange mount point would cost all others.)
    pub fn parse(text: &[u8]) -> Self {
        let line = |line: &[u8]| {
            let mut fields = line.split(|&byte| byte == b' ').map(std::str::from_utf8);
            let id = fields.next()?.ok()?.parse().ok()?;
            let (major, minor) = fields.nth(1)?.ok()?.split_once(':')?;
            Some((id, device(major.parse().ok()?, minor.parse().ok()?)))
        };
        Self(text.split(|&byte| byte == b'\n').filter_map(line).collect())
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
