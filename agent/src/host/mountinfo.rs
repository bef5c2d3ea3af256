//! Whether two processes have the same root, by their lists of mounts: `/proc/PID/mountinfo` is readable by all, where
//! `/proc/PID/root` and `/proc/PID/ns` take CAP_SYS_PTRACE.

/// How the root of one process is to that of another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Relation {
    /// One mount: they share the mount namespace and the root in it. (A mount is in one namespace alone, and no two
    /// have the same id.)
    Same,
    /// Two mounts of one directory of one file system, as a service has that systemd gave mounts of its own.
    Alike,
    /// Two directories, as a container has.
    Other,
    /// A list does not show its root.
    Unknown,
}

/// What is mounted at `/`.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Root<'a> {
    id: &'a [u8],
    device: &'a [u8],
    directory: &'a [u8],
}

/// Compares what two lists show at `/`.
pub(super) fn relation(one: &[u8], other: &[u8]) -> Relation {
    match (root(one), root(other)) {
        (Some(one), Some(other)) if one.id == other.id => Relation::Same,
        (Some(one), Some(other)) if (one.device, one.directory) == (other.device, other.directory) => {
            Relation::Alike
        }
        (Some(_), Some(_)) => Relation::Other,
        _ => Relation::Unknown,
    }
}

/// The last mount at `/`: it covers those before it. Lines are `id parent device directory point …`.
fn root(text: &[u8]) -> Option<Root<'_>> {
    let at_root = |line| {
        let mut fields = <[u8]>::split(line, |&byte| byte == b' ');
        let (id, _parent, device) = (fields.next()?, fields.next()?, fields.next()?);
        let (directory, point) = (fields.next()?, fields.next()?);
        (point == b"/").then_some(Root { id, device, directory })
    };
    text.split(|&byte| byte == b'\n').filter_map(at_root).next_back()
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOST: &[u8] = b"1 1 0:2 / / rw - rootfs rootfs rw\n\
        22 27 0:21 / /proc rw,relatime - proc proc rw\n\
        27 1 254:0 / / rw,relatime - ext4 /dev/vda rw\n";

    #[test]
    fn roots_are_compared_by_the_mount_on_top() {
        for (own, expected) in [
            ("27 1 254:0 / / rw - ext4 /dev/vda rw\n31 27 0:5 / /tmp rw - tmpfs tmpfs rw\n", Relation::Same),
            ("140 130 254:0 / / ro - ext4 /dev/vda rw\n", Relation::Alike),
            ("140 130 0:50 / / rw - overlay overlay rw\n", Relation::Other),
            ("140 130 254:0 /var/lib/containers/x / rw - ext4 /dev/vda rw\n", Relation::Other),
            ("140 130 254:0 / /proc rw - ext4 /dev/vda rw\n", Relation::Unknown),
            ("27\n27 1 254:0\ngarbage\n", Relation::Unknown),
            ("", Relation::Unknown),
        ] {
            assert_eq!(relation(own.as_bytes(), HOST), expected, "{own}");
            assert_eq!(relation(HOST, own.as_bytes()), expected, "{own}");
        }
    }
}
