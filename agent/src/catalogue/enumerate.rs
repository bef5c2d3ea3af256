//! Credential files that exist now, by (device, inode).
//!
//! A file that is known by its inode is found under every name it may get: a hard link, a bind mount, a rename. The
//! walk expands the patterns that begin at the root or in a home; files anywhere (`**/.env`) are known by name alone.
//! It reads directories and attributes, never a file but `/etc/passwd`. A symbolic link is followed within the host's
//! root alone, and only to what belongs to who made it. (The crates `glob`, `globwalk` and `walkdir` were looked at: none
//! bounds what it reads, or matches names that are not UTF-8.)

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ffi::{OsStr, OsString};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use agent_common::keys::InodeKey;
use agent_common::limits::{CREDENTIAL_INODES, RULE_ANCESTORS};
use rustix::fs::{AtFlags, Dir, FileType, OFlags, StatxFlags, fstat, statat, statx};

use super::mounts::{Mounts, device};
use super::pattern::{Anchor, Component};
use super::{Catalogue, Entry};
use crate::host::HostRoot;
use crate::host::directory::{Directory, Opened};

/// Bytes read of a passwd file for homes; a line has about 60.
const PASSWD_BYTES: u64 = 8 << 20;
/// Homes looked through: a host with more users has them on a server that should not be walked at every start.
pub const MAX_HOMES: usize = 4_096;
/// Directory entries read: some seconds of a slow disk.
pub const MAX_DIRECTORY_ENTRIES: u64 = 500_000;

/// What the walk found, and what it could not look at.
#[derive(Clone, Debug, Default)]
pub struct KnownFiles {
    by_inode: HashMap<InodeKey, Arc<Entry>>,
    /// Directory entries read.
    pub directory_entries: u64,
    /// Symbolic links that lead out of their owner's files: not followed, because a user could make any busy file a
    /// credential by them.
    pub foreign_links: u64,
    /// Whether a bound ended the walk early: what is missing is known by name alone.
    pub incomplete: bool,
    /// What could not be read, by cause.
    pub errors: BTreeMap<&'static str, u64>,
}

impl KnownFiles {
    /// The entry of a file.
    pub fn find(&self, key: &InodeKey) -> Option<&Arc<Entry>> {
        self.by_inode.get(key)
    }

    /// A file that got a name which no rule knows stays what it was.
    pub fn learn(&mut self, key: InodeKey, entry: &Arc<Entry>) {
        self.keep(key, entry);
    }

    /// What an earlier walk found, by the names of entries; names that the catalogue does not have are left out.
    pub fn restore(catalogue: &Catalogue, files: impl IntoIterator<Item = (InodeKey, String)>) -> Self {
        let find = |name: &str| {
            catalogue.entries().map(|(entry, _)| entry).find(|entry| &*entry.name == name).cloned()
        };
        let by_inode = files.into_iter().filter_map(|(key, name)| Some((key, find(&name)?))).collect();
        Self { by_inode, ..Self::default() }
    }

    /// All files with their entries.
    pub fn files(&self) -> impl Iterator<Item = (&InodeKey, &Arc<Entry>)> {
        self.by_inode.iter()
    }

    /// All files, for the kernel's map; at most `CREDENTIAL_INODES`.
    pub fn keys(&self) -> impl Iterator<Item = &InodeKey> {
        self.by_inode.keys()
    }

    /// How many files are known.
    pub fn len(&self) -> usize {
        self.by_inode.len()
    }

    /// Whether no file is known.
    pub fn is_empty(&self) -> bool {
        self.by_inode.is_empty()
    }
}

/// Homes of the users of the host's `/etc/passwd`, and the directories of `/home`, without the root directory.
pub fn homes(host: &HostRoot) -> Vec<PathBuf> {
    let passwd = host.read(Path::new("/etc/passwd"), PASSWD_BYTES).unwrap_or_default();
    let of_passwd =
        passwd.split(|&byte| byte == b'\n').filter_map(|line| line.split(|&byte| byte == b':').nth(5));
    let listed = of_passwd.map(|home| Path::new(OsStr::from_bytes(home)).components().collect());
    let of_home = host.open(Path::new("/home"), LISTED).map_err(|_| ()).and_then(|home| {
        let names = Dir::new(home.file).map_err(|_| ())?.flatten().map(|entry| name_of(&entry));
        Ok(names.filter(|name| name != "." && name != "..").take(MAX_HOMES + 1).collect())
    });
    let of_home: Vec<OsString> = of_home.unwrap_or_default();
    let made = of_home.into_iter().map(|name| Path::new("/home").join(name));
    let usable = |home: &PathBuf| home.is_absolute() && home.as_path() != Path::new("/");
    let unique: BTreeSet<PathBuf> =
        listed.chain(made).chain([PathBuf::from("/root")]).filter(usable).collect();
    unique.into_iter().collect()
}

/// Finds the files of the catalogue on the host, in these homes and wherever a rule names a path.
pub fn enumerate(catalogue: &Catalogue, host: &HostRoot, homes: &[PathBuf], mounts: &Mounts) -> KnownFiles {
    let mut walk = Walk { catalogue, mounts, host, found: KnownFiles::default() };
    walk.below(Path::new("/"), Anchor::Root);
    walk.found.incomplete |= homes.len() > MAX_HOMES;
    for home in homes.iter().take(MAX_HOMES) {
        walk.below(home, Anchor::Home);
    }
    walk.found
}

/// How a directory is opened to list it.
const LISTED: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY);

fn name_of(entry: &rustix::fs::DirEntry) -> OsString {
    OsString::from_vec(entry.file_name().to_bytes().to_vec())
}

struct Walk<'a> {
    catalogue: &'a Catalogue,
    mounts: &'a Mounts,
    host: &'a HostRoot,
    found: KnownFiles,
}

/// Where patterns begin: the host's root, or a home.
struct Start<'a> {
    directory: Directory,
    path: &'a Path,
    /// Of a home.
    owner: Option<u32>,
}

impl Walk<'_> {
    /// Expands the patterns of this anchor below a directory. A home itself may be behind any link.
    fn below(&mut self, path: &Path, anchor: Anchor) {
        let entered = self.host.directory().and_then(|root| root.enter(path));
        let (owner, directory) = match entered.and_then(|home| Ok((home.owner()?, home))) {
            Ok(entered) => entered,
            Err(error) => return self.found.error(&error),
        };
        let start = Start { directory, path, owner: (anchor == Anchor::Home).then_some(owner) };
        let patterns = self.catalogue.entries().flat_map(|(_, patterns)| patterns);
        for pattern in patterns.filter(|pattern| pattern.anchor == anchor) {
            self.descend(&start, Path::new(""), &pattern.components, 0);
        }
    }

    /// Expands `components` at the path `at` below the start; `depth` counts the directories that a `**` has gone down.
    fn descend(&mut self, start: &Start<'_>, at: &Path, components: &[Component], depth: u32) {
        let Some((first, rest)) = components.split_first() else { return self.consider(start, at) };
        match first {
            Component::Literal(name) => self.descend(start, &at.join(name), rest, depth),
            Component::Wild { matcher, .. } => {
                for (name, _) in self.list(start, at) {
                    if matcher.is_match(&name) {
                        self.descend(start, &at.join(name), rest, depth);
                    }
                }
            }
            Component::Deep => {
                if !rest.is_empty() {
                    self.descend(start, at, rest, depth);
                }
                for (name, kind) in self.list(start, at) {
                    // Links are not followed here: they may lead in a circle.
                    if kind == FileType::Directory && depth < RULE_ANCESTORS {
                        self.descend(start, &at.join(name), components, depth + 1);
                    } else if rest.is_empty() {
                        self.consider(start, &at.join(name));
                    }
                }
            }
        }
    }

    /// The names in a directory, and what they are.
    fn list(&mut self, start: &Start<'_>, at: &Path) -> Vec<(OsString, FileType)> {
        let mut entries = Vec::new();
        if let Err(error) = self.try_list(start, at, &mut entries) {
            self.found.error(&error);
        }
        entries
    }

    fn try_list(
        &mut self,
        start: &Start<'_>,
        at: &Path,
        entries: &mut Vec<(OsString, FileType)>,
    ) -> io::Result<()> {
        let Some(directory) = self.open(start, at, LISTED)? else { return Ok(()) };
        for entry in Dir::read_from(&directory)? {
            let entry = entry?;
            let name = name_of(&entry);
            if name == "." || name == ".." {
                continue;
            }
            if self.found.directory_entries >= MAX_DIRECTORY_ENTRIES {
                self.found.incomplete = true;
                break;
            }
            self.found.directory_entries += 1;
            let kind = match entry.file_type() {
                // Some file systems leave it to a look of its own.
                FileType::Unknown => match statat(&directory, entry.file_name(), AtFlags::SYMLINK_NOFOLLOW) {
                    Ok(status) => FileType::from_raw_mode(status.st_mode),
                    Err(error) => {
                        self.found.error(&error.into());
                        continue;
                    }
                },
                kind => kind,
            };
            entries.push((name, kind));
        }
        Ok(())
    }

    fn consider(&mut self, start: &Start<'_>, at: &Path) {
        if let Err(error) = self.try_consider(start, at) {
            self.found.error(&error);
        }
    }

    fn try_consider(&mut self, start: &Start<'_>, at: &Path) -> io::Result<()> {
        // First, because most paths lead to nothing.
        let Some(file) = self.open(start, at, OFlags::PATH)? else { return Ok(()) };
        let path = start.path.join(at);
        let Some(entry) = self.catalogue.find(path.as_os_str().as_bytes()) else { return Ok(()) };
        let wanted = StatxFlags::BASIC_STATS | StatxFlags::MNT_ID;
        let file = statx(&file, "", AtFlags::EMPTY_PATH, wanted)?;
        if u32::from(file.stx_mode) & libc::S_IFMT != libc::S_IFREG {
            return Ok(());
        }
        let known = self.mounts.device(file.stx_mnt_id);
        let device = known.unwrap_or_else(|| device(file.stx_dev_major, file.stx_dev_minor));
        let key = InodeKey { inode: file.stx_ino, device, reserved: 0 };
        self.found.keep(key, entry);
        Ok(())
    }

    /// Opens what is at a path below the start; none where a link on the way may not lead to it.
    fn open(&mut self, start: &Start<'_>, at: &Path, flags: OFlags) -> io::Result<Option<OwnedFd>> {
        let Opened { file, link_owners } = start.directory.open(at, flags)?;
        if !link_owners.is_empty() {
            let target = fstat(&file)?.st_uid;
            let may = match start.owner {
                Some(owner) => may_lead_to(owner, target),
                None => link_owners.into_iter().all(|owner| may_lead_to(owner, target)),
            };
            if !may {
                self.found.foreign_links += 1;
                return Ok(None);
            }
        }
        Ok(Some(file))
    }
}

/// Whether a link that `owner` made may make a file of `target` a credential.
const fn may_lead_to(owner: u32, target: u32) -> bool {
    owner == target || owner == 0
}

impl KnownFiles {
    /// One file under two names is the worse of both.
    fn keep(&mut self, key: InodeKey, entry: &Arc<Entry>) {
        if self.by_inode.len() >= CREDENTIAL_INODES as usize && !self.by_inode.contains_key(&key) {
            self.incomplete = true;
            return;
        }
        let kept = self.by_inode.entry(key).or_insert_with(|| Arc::clone(entry));
        if kept.sensitivity < entry.sensitivity {
            *kept = Arc::clone(entry);
        }
    }

    fn error(&mut self, error: &io::Error) {
        let cause = match error.kind() {
            // Most patterns lead nowhere on most hosts.
            io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => return,
            io::ErrorKind::PermissionDenied => "permission",
            _ if error.raw_os_error() == Some(libc::ELOOP) => "link_loop",
            io::ErrorKind::StaleNetworkFileHandle | io::ErrorKind::TimedOut => "network",
            _ => "other",
        };
        *self.errors.entry(cause).or_default() += 1;
    }
}

#[cfg(test)]
#[path = "enumerate_tests.rs"]
mod tests;
