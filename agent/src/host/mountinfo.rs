//! `/proc/PID/mountinfo`, which is readable by all, where `/proc/PID/root` and `/proc/PID/ns` take CAP_SYS_PTRACE: what is
//! mounted where, and whether two processes have the same root.
//!
//! The crate `procfs` was looked at: it reads these lines as UTF-8, gives up on all of them for one that it cannot read, and
//! leaves escapes as they are.

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

/// The fields of a line that count: `id parent device directory point options [tags…] - kind source options`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Line<'a> {
    /// Number of the mount.
    pub(crate) id: u64,
    /// The mount that it stands on.
    pub(crate) parent: u64,
    /// `major:minor`.
    pub(crate) device: &'a [u8],
    /// Directory of the file system that is mounted, escaped; `/..` where that is above the namespace's root.
    pub(crate) directory: &'a [u8],
    /// Where, escaped.
    pub(crate) point: &'a [u8],
    /// Kind of file system.
    pub(crate) kind: &'a [u8],
    /// Its own options (`rw,name=systemd`); empty where the line ends before.
    pub(crate) options: &'a [u8],
}

/// The lines of a list; one of another form is passed over.
pub(crate) fn lines(text: &[u8]) -> impl Iterator<Item = Line<'_>> {
    text.split(|&byte| byte == b'\n').filter_map(|line| {
        let mut fields = line.split(|&byte| byte == b' ');
        let number = |field: &[u8]| std::str::from_utf8(field).ok()?.parse().ok();
        let (id, parent) = (number(fields.next()?)?, number(fields.next()?)?);
        let (device, directory, point) = (fields.next()?, fields.next()?, fields.next()?);
        let kind = fields.by_ref().skip_while(|field| *field != b"-").nth(1)?;
        let options = fields.nth(1).unwrap_or_default();
        Some(Line { id, parent, device, directory, point, kind, options })
    })
}

/// Blanks, tabs, line ends and backslashes stand in octal.
pub(crate) fn unescape(field: &[u8]) -> Vec<u8> {
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

/// The last mount at `/`: it covers those before it.
fn root(text: &[u8]) -> Option<Line<'_>> {
    lines(text).filter(|line| line.point == b"/").last()
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
