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

impl Relation {
    /// Whether both have one directory of one file system for a root.
    pub(super) const fn is_one_root(self) -> bool {
        matches!(self, Self::Same | Self::Alike)
    }
}

/// A file or directory by its file system (`major:minor`) and its path in that.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Mounted {
    device: Vec<u8>,
    path: Vec<u8>,
}

/// What is mounted at one of these places: of several, what was mounted last.
pub(super) fn mounted_at(text: &[u8], places: &[&str]) -> Option<Mounted> {
    let found = lines(text).filter(|line| places.iter().any(|place| place.as_bytes() == line.point));
    found.last().map(|line| Mounted { device: line.device.to_vec(), path: unescape(line.directory) })
}

/// Where that is by another list.
pub(super) fn path_of(text: &[u8], file: &Mounted) -> Option<Vec<u8>> {
    let below = |line: Line<'_>| {
        let directory = unescape(line.directory);
        let rest = match &*directory {
            b"/" => &file.path,
            directory => file.path.strip_prefix(directory).filter(|rest| rest.first() == Some(&b'/'))?,
        };
        Some((directory.len(), [unescape(line.point), rest.to_vec()].concat()))
    };
    let of_device = lines(text).filter(|line| line.device == file.device);
    // The last mount that shows most of it: what is mounted over others hides them.
    of_device.filter_map(below).max_by_key(|(length, _)| *length).map(|(_, path)| path)
}

/// The fields of a line that count here: `id parent device directory point …`.
struct Line<'a> {
    device: &'a [u8],
    directory: &'a [u8],
    point: &'a [u8],
}

fn lines(text: &[u8]) -> impl Iterator<Item = Line<'_>> {
    text.split(|&byte| byte == b'\n').filter_map(|line| {
        let mut fields = line.split(|&byte| byte == b' ').skip(2);
        Some(Line { device: fields.next()?, directory: fields.next()?, point: fields.next()? })
    })
}

/// Blanks, tabs, line ends and backslashes stand in octal.
fn unescape(field: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(field.len());
    let mut rest = field;
    while let Some((&byte, behind)) = rest.split_first() {
        let octal = behind
            .first_chunk::<3>()
            .filter(|digits| byte == b'\\' && digits.iter().all(|digit| (b'0'..=b'7').contains(digit)));
        match octal {
            Some(digits) => {
                out.push(
                    digits.iter().fold(0_u8, |value, digit| value.wrapping_mul(8).wrapping_add(digit - b'0')),
                );
                rest = behind.get(3..).unwrap_or_default();
            }
            None => {
                out.push(byte);
                rest = behind;
            }
        }
    }
    out
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
    fn a_mounted_file_is_found_on_the_host() {
        let container = b"140 130 0:50 / / rw - overlay overlay rw\n\
            150 140 254:0 /var/lib/a\\040b/resolv.conf /etc/resolv.conf rw - ext4 /dev/vda rw\n\
            151 140 0:99 /x /etc/hosts rw - tmpfs tmpfs rw\n";
        let file = mounted_at(container, &["/etc/resolv.conf", "/run/x"]).unwrap();
        assert_eq!(path_of(HOST, &file).unwrap(), b"//var/lib/a b/resolv.conf");
        let host =
            b"27 1 254:0 /sub / rw - ext4 /dev/vda rw\n30 27 254:0 /var/lib /srv rw - ext4 /dev/vda rw\n";
        assert_eq!(path_of(host, &file).unwrap(), b"/srv/a b/resolv.conf");
        assert_eq!(path_of(b"27 1 254:0 /var/li / rw - ext4 /dev/vda rw\n", &file), None);
        let hosts = mounted_at(container, &["/etc/hosts"]).unwrap();
        assert_eq!(path_of(HOST, &hosts), None);
        assert_eq!(mounted_at(HOST, &["/etc/resolv.conf"]), None);
    }

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
