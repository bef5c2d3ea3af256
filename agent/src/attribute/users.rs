//! Names of users, from a snapshot of a passwd file.
//!
//! The event path only looks into the snapshot: the system's own look-up (NSS) may ask a network and block. Users of
//! such sources have no name here, and are told by uid. [`PasswdFile`] makes a new snapshot when the file was
//! replaced or changed; it is asked from elsewhere, on a timer.

use std::collections::HashMap;
use std::fs;
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Arc;

use crate::host::HostRoot;

/// The host's users.
pub const PASSWD: &str = "/etc/passwd";

/// Bytes read of a passwd file; a line has about 60.
const FILE_BYTES: u64 = 8 << 20;
/// Users kept.
const USERS: usize = 65_536;

/// First uid of people: `UID_MIN` of login.defs as every large distribution sets it. Below are root and system
/// accounts.
const FIRST_PERSON: u32 = 1_000;
/// `nobody`, and the range that systemd gives to services with `DynamicUser=` (systemd.exec(5)).
const NOT_PEOPLE: [std::ops::RangeInclusive<u32>; 2] = [65_534..=65_534, 61_184..=65_519];
/// Shells that end a login at once.
const NO_SHELLS: [&[u8]; 2] = [b"nologin", b"false"];

/// A user of the passwd file.
#[derive(Clone, Debug, PartialEq, Eq)]
struct User {
    name: Arc<[u8]>,
    can_log_in: bool,
}

/// Users by uid.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Users {
    by_uid: HashMap<u32, User>,
}

impl Users {
    /// Reads lines of passwd(5). Of two users with one uid the first counts, as in `getpwuid`; what is no such line
    /// is skipped.
    pub fn parse(passwd: &[u8]) -> Self {
        let mut by_uid = HashMap::new();
        for line in passwd.split(|&byte| byte == b'\n') {
            let fields: Vec<&[u8]> = line.split(|&byte| byte == b':').collect();
            let [name, _, uid, _, _, _, shell] = fields.as_slice() else { continue };
            let uid = std::str::from_utf8(uid).ok().and_then(|uid| uid.parse().ok());
            let (Some(uid), false) = (uid, name.is_empty()) else { continue };
            if by_uid.len() >= USERS {
                break;
            }
            let shell = shell.rsplit(|&byte| byte == b'/').next().unwrap_or_default();
            let user = User { name: (*name).into(), can_log_in: !NO_SHELLS.contains(&shell) };
            by_uid.entry(uid).or_insert(user);
        }
        Self { by_uid }
    }

    /// The user's name; `uid:N` where none is known.
    pub fn name(&self, uid: u32) -> Arc<[u8]> {
        self.by_uid
            .get(&uid)
            .map_or_else(|| format!("uid:{uid}").into_bytes().into(), |user| user.name.clone())
    }

    /// Whether a name is known of a uid.
    pub fn is_known(&self, uid: u32) -> bool {
        self.by_uid.contains_key(&uid)
    }

    /// Whether there is a user of this name, as [`Users::name`] gives it.
    pub fn has(&self, name: &[u8]) -> bool {
        self.by_uid.values().any(|user| *user.name == *name)
    }

    /// Whether a login uid stands for a person: root, or a uid of people whose shell lets them in. A user without a
    /// name here may come from a directory service and counts as a person by uid alone.
    ///
    /// pam_loginuid sets a login uid for jobs of system accounts too (`www-data` in a crontab): these are no humans.
    pub fn is_person(&self, uid: u32) -> bool {
        let in_range =
            uid == 0 || (uid >= FIRST_PERSON && !NOT_PEOPLE.iter().any(|range| range.contains(&uid)));
        in_range && self.by_uid.get(&uid).is_none_or(|user| user.can_log_in)
    }
}

/// The host's passwd file, which may change.
#[derive(Debug)]
pub struct PasswdFile {
    host: Arc<HostRoot>,
    seen: Option<Stamp>,
}

/// What tells that a file is still the one that was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stamp {
    device: u64,
    inode: u64,
    size: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl PasswdFile {
    /// Of this host.
    pub const fn new(host: Arc<HostRoot>) -> Self {
        Self { host, seen: None }
    }

    /// A new snapshot, if the file is not the one that was read last; the first time always. Blocks on the file
    /// system: not for the event path.
    ///
    /// # Errors
    /// If the file cannot be read; the last snapshot stays good.
    pub fn poll(&mut self) -> io::Result<Option<Users>> {
        let file = self.host.file(Path::new(PASSWD))?;
        let stamp = Stamp::of(&file.metadata()?);
        if self.seen == Some(stamp) {
            return Ok(None);
        }
        let mut bytes = Vec::new();
        file.take(FILE_BYTES).read_to_end(&mut bytes)?;
        self.seen = Some(stamp);
        Ok(Some(Users::parse(&bytes)))
    }
}

impl Stamp {
    fn of(metadata: &fs::Metadata) -> Self {
        Self {
            device: metadata.dev(),
            inode: metadata.ino(),
            size: metadata.size(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const LINES: &[u8] = b"root:x:0:0:root:/root:/bin/bash
toor:x:0:0::/root:/bin/sh
daemon:x:1:1:daemon:/usr/sbin:/usr/sbin/nologin
www-data:x:33:33::/var/www:/bin/sh
alice:x:1000:1000:Alice,,,:/home/alice:/bin/zsh
robot:x:1001:1001::/:/bin/false
empty:x:1002:1002::/:
nobody:x:65534:65534::/:/bin/sh
+nis
short:x:1003
:x:1004:1004::/:/bin/sh
bad:x:-5:0::/:/bin/sh
";

    #[test]
    fn users_have_names_and_some_are_people() {
        let users = Users::parse(LINES);
        let table: [(u32, &[u8], bool); 11] = [
            (0, b"root", true),
            (1, b"daemon", false),
            (33, b"www-data", false),
            (999, b"uid:999", false),
            (1000, b"alice", true),
            (1001, b"robot", false),
            (1002, b"empty", true),
            (1003, b"uid:1003", true),
            (1004, b"uid:1004", true),
            (61_500, b"uid:61500", false),
            (65_534, b"nobody", false),
        ];
        for (uid, name, person) in table {
            assert_eq!(&*users.name(uid), name, "{uid}");
            assert_eq!(users.is_person(uid), person, "{uid}");
        }
    }

    #[test]
    fn a_changed_or_replaced_file_is_read_again() {
        let directory = tempfile::tempdir().unwrap();
        fs::create_dir(directory.path().join("etc")).unwrap();
        let path = directory.path().join("etc/passwd");
        fs::write(&path, LINES).unwrap();
        let mut file = PasswdFile::new(Arc::new(HostRoot::at(directory.path()).unwrap()));
        assert_eq!(file.poll().unwrap(), Some(Users::parse(LINES)));
        assert_eq!(file.poll().unwrap(), None);
        let other = directory.path().join("passwd+");
        fs::write(&other, b"eve:x:1000:1000::/:/bin/sh\n").unwrap();
        fs::rename(&other, &path).unwrap();
        assert_eq!(&*file.poll().unwrap().unwrap().name(1000), b"eve");
        fs::write(&path, b"mallory:x:1000:1000::/:/bin/sh\n").unwrap();
        assert_eq!(&*file.poll().unwrap().unwrap().name(1000), b"mallory");
        fs::remove_file(&path).unwrap();
        assert!(file.poll().is_err());
    }

    proptest! {
        #[test]
        fn any_bytes_are_a_passwd_file(bytes in proptest::collection::vec(any::<u8>(), 0..512)) {
            let users = Users::parse(&bytes);
            prop_assert!(!users.name(7).is_empty());
        }
    }
}
