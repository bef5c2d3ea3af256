//! Credential files that exist now, by (device, inode).
//!
//! A file that is known by its inode is found under every name it may get: a hard link, a bind mount, a rename. The
//! walk expands the patterns that begin at the root or in a home; files anywhere (`**/.env`) are known by name alone.
//! It reads directories and attributes, never a file. (The crates `glob`, `globwalk` and `walkdir` were looked at: none
//! bounds what it reads, or matches names that are not UTF-8.)

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ffi::OsStr;
use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use agent_common::keys::InodeKey;
use agent_common::limits::{CREDENTIAL_INODES, RULE_ANCESTORS};
use rustix::fs::{AtFlags, CWD, StatxFlags, statx};

use super::mounts::{Mounts, device};
use super::pattern::{Anchor, Component, Pattern};
use super::{Catalogue, Entry};

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

/// Homes of the users of `root`'s `/etc/passwd`, and the directories of `/home`, without the root directory.
pub fn homes(root: &Path) -> Vec<PathBuf> {
    let passwd = fs::read(root.join("etc/passwd")).unwrap_or_default();
    let of_passwd =
        passwd.split(|&byte| byte == b'\n').filter_map(|line| line.split(|&byte| byte == b':').nth(5));
    let listed = of_passwd.map(|home| PathBuf::from(OsStr::from_bytes(home)));
    let of_home = fs::read_dir(root.join("home")).into_iter().flatten().flatten();
    let made = of_home.map(|entry| Path::new("/home").join(entry.file_name()));
    let usable = |home: &PathBuf| home.is_absolute() && home.as_path() != Path::new("/");
    let unique: BTreeSet<PathBuf> =
        listed.chain(made).chain([PathBuf::from("/root")]).filter(usable).collect();
    unique.into_iter().collect()
}

/// Finds the files of the catalogue below `root` (`/`; another one in tests), in these homes.
pub fn enumerate(catalogue: &Catalogue, root: &Path, homes: &[PathBuf], mounts: &Mounts) -> KnownFiles {
    let root = &fs::canonicalize(root).unwrap_or_else(|_| root.to_owned());
    let mut walk =
        Walk { catalogue, mounts, root, start: root.clone(), owner: None, found: KnownFiles::default() };
    for (_, patterns) in catalogue.entries() {
        walk.patterns(patterns, Anchor::Root);
    }
    walk.found.incomplete |= homes.len() > MAX_HOMES;
    for home in homes.iter().take(MAX_HOMES) {
        let path = root.join(home.strip_prefix("/").unwrap_or(home));
        // A home is often itself behind a link; what is below is compared with where it really is.
        let resolved = fs::canonicalize(&path).and_then(|start| Ok((fs::metadata(&start)?.uid(), start)));
        match resolved {
            Ok((owner, start)) => {
                walk.start = start;
                walk.owner = Some(owner);
                for (_, patterns) in catalogue.entries() {
                    walk.patterns(patterns, Anchor::Home);
                }
            }
            Err(error) => walk.found.error(&error),
        }
    }
    walk.found
}

struct Walk<'a> {
    catalogue: &'a Catalogue,
    mounts: &'a Mounts,
    root: &'a Path,
    /// Where the patterns begin.
    start: PathBuf,
    /// Owner of the home.
    owner: Option<u32>,
    found: KnownFiles,
}

impl Walk<'_> {
    fn patterns(&mut self, patterns: &[Pattern], anchor: Anchor) {
        for pattern in patterns.iter().filter(|pattern| pattern.anchor == anchor) {
            self.descend(&self.start.clone(), &pattern.components, 0);
        }
    }

    /// Expands `components` below `at`; `depth` counts the directories that a `**` has gone down.
    fn descend(&mut self, at: &Path, components: &[Component], depth: u32) {
        let Some((first, rest)) = components.split_first() else { return self.consider(at) };
        match first {
            Component::Literal(name) => self.descend(&at.join(name), rest, depth),
            Component::Wild { matcher, .. } => {
                for entry in self.list(at) {
                    if matcher.is_match(entry.file_name()) {
                        self.descend(&entry.path(), rest, depth);
                    }
                }
            }
            Component::Deep => {
                if !rest.is_empty() {
                    self.descend(at, rest, depth);
                }
                for entry in self.list(at) {
                    // Links are not followed here: they may lead in a circle.
                    let is_directory = entry.file_type().is_ok_and(|kind| kind.is_dir());
                    if is_directory && depth < RULE_ANCESTORS {
                        self.descend(&entry.path(), components, depth + 1);
                    } else if rest.is_empty() {
                        self.consider(&entry.path());
                    }
                }
            }
        }
    }

    fn list(&mut self, directory: &Path) -> Vec<fs::DirEntry> {
        let mut entries = Vec::new();
        match fs::read_dir(directory) {
            Ok(listing) => {
                for entry in listing {
                    if self.found.directory_entries >= MAX_DIRECTORY_ENTRIES {
                        self.found.incomplete = true;
                        break;
                    }
                    self.found.directory_entries += 1;
                    match entry {
                        Ok(entry) => entries.push(entry),
                        Err(error) => self.found.error(&error),
                    }
                }
            }
            Err(error) => self.found.error(&error),
        }
        entries
    }

    fn consider(&mut self, path: &Path) {
        if let Err(error) = self.try_consider(path) {
            self.found.error(&error);
        }
    }

    fn try_consider(&mut self, path: &Path) -> io::Result<()> {
        let named = fs::symlink_metadata(path)?;
        let within = Path::new("/").join(path.strip_prefix(self.root).unwrap_or(path));
        let Some(entry) = self.catalogue.find(within.as_os_str().as_bytes()) else { return Ok(()) };
        let resolved = fs::canonicalize(path)?;
        let wanted = StatxFlags::BASIC_STATS | StatxFlags::MNT_ID;
        let file = statx(CWD, &resolved, AtFlags::SYMLINK_NOFOLLOW, wanted)?;
        if u32::from(file.stx_mode) & libc::S_IFMT != libc::S_IFREG {
            return Ok(());
        }
        if resolved != path && !may_lead_to(self.owner.unwrap_or(named.uid()), file.stx_uid) {
            self.found.foreign_links += 1;
            return Ok(());
        }
        let known = self.mounts.device(file.stx_mnt_id);
        let device = known.unwrap_or_else(|| device(file.stx_dev_major, file.stx_dev_minor));
        let key = InodeKey { inode: file.stx_ino, device, reserved: 0 };
        self.found.keep(key, entry);
        Ok(())
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
