//! Paths resolved below a directory as if it were the root: an absolute link leads to what the host means by it, and no
//! `..` leads above.
//!
//! It is done here, component by component, on descriptors that nobody can exchange meanwhile. openat2(2) does the same
//! in one call, but `RestrictSUIDSGID=` of systemd and some sandboxes refuse it, because a filter of system calls cannot
//! look into its arguments; and it does not say whose links it followed. (Crates looked at: `pathrs` has a licence that
//! `deny.toml` does not have; `cap-std` refuses links that leave, where they are to be followed within.)

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use rustix::fs::{FileType, Mode, OFlags, fstat, openat, readlinkat};
use rustix::io::Errno;

/// Symbolic links in one path, as many as the kernel follows.
const LINKS: usize = 40;
/// Directories below one another in one path: each is a descriptor while the walk lasts. Source trees have 20.
const DEPTH: usize = 128;
/// Components of one path, those of its links included: what a walk may cost.
const COMPONENTS: usize = 1_024;

/// A directory, with those above it up to the root.
#[derive(Debug)]
pub struct Directory {
    root: OwnedFd,
    /// From below the root to here.
    below: Vec<OwnedFd>,
}

/// What was opened.
#[derive(Debug)]
pub struct Opened {
    /// Its descriptor.
    pub file: OwnedFd,
    /// Owners of the symbolic links that were followed.
    pub link_owners: Vec<u32>,
}

impl Directory {
    /// A root.
    pub(super) fn root(root: OwnedFd) -> Self {
        Self { root, below: Vec::new() }
    }

    /// Opens what is at `path` below (an absolute one: below the root). Never a link itself.
    ///
    /// # Errors
    /// As openat(2); `ELOOP` for more links than the kernel follows, `ENAMETOOLONG` for a path deeper than 128.
    pub fn open(&self, path: &Path, flags: OFlags) -> io::Result<Opened> {
        let mut walk = Walk::new(self);
        let file = match walk.go_to_last(path)? {
            Some((_, file)) if flags == OFlags::PATH => file,
            // Whatever it is by now, no link is followed.
            Some((name, _)) => open_at(walk.here(), &name, flags)?,
            None => open_at(walk.here(), b".", flags)?,
        };
        Ok(Opened { file, link_owners: walk.link_owners })
    }

    /// A directory below.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub fn enter(&self, path: &Path) -> io::Result<Self> {
        let mut walk = Walk::new(self);
        // With this end every component is one that must be a directory.
        if let Some((name, _)) = walk.go_to_last(path)? {
            let last = open_at(walk.here(), &name, OFlags::PATH | OFlags::DIRECTORY)?;
            walk.below.push(last);
        }
        let mut below = walk.start.iter().map(OwnedFd::try_clone).collect::<io::Result<Vec<_>>>()?;
        below.append(&mut walk.below);
        Ok(Self { root: self.root.try_clone()?, below })
    }

    /// User who owns it.
    ///
    /// # Errors
    /// As fstat(2).
    pub fn owner(&self) -> io::Result<u32> {
        Ok(fstat(Walk::new(self).here())?.st_uid)
    }
}

/// On the way.
struct Walk<'a> {
    root: &'a OwnedFd,
    /// How much of where it began leads here.
    start: &'a [OwnedFd],
    /// What leads here from there.
    below: Vec<OwnedFd>,
    link_owners: Vec<u32>,
}

impl<'a> Walk<'a> {
    fn new(directory: &'a Directory) -> Self {
        let Directory { root, below } = directory;
        Self { root, start: below, below: Vec::new(), link_owners: Vec::new() }
    }

    fn here(&self) -> BorrowedFd<'_> {
        self.below.last().or(self.start.last()).unwrap_or(self.root).as_fd()
    }

    fn ascend(&mut self) {
        if self.below.pop().is_none() {
            self.start = self.start.split_last().map_or(&[], |(_, above)| above);
        }
    }

    /// Goes to the directory of the last component; its name, and itself opened with `O_PATH`. None where the path ends
    /// with a directory that is already there (`/`, `..`, nothing).
    fn go_to_last(&mut self, path: &Path) -> io::Result<Option<(Vec<u8>, OwnedFd)>> {
        let mut waiting = Vec::new();
        self.expand(path.as_os_str().as_bytes(), &mut waiting);
        let mut components = 0;
        while let Some(name) = waiting.pop() {
            components += 1;
            if components > COMPONENTS || self.below.len() >= DEPTH {
                return Err(Errno::NAMETOOLONG.into());
            }
            match &*name {
                b"" | b"." => continue,
                b".." => {
                    self.ascend();
                    continue;
                }
                _ => {}
            }
            if !waiting.is_empty() {
                match openat(self.here(), &*name, DIRECTORY, Mode::empty()) {
                    Ok(directory) => {
                        self.below.push(directory);
                        continue;
                    }
                    // A link, if it is not something that has nothing below it.
                    Err(Errno::NOTDIR | Errno::LOOP) => {}
                    Err(error) => return Err(error.into()),
                }
            }
            let file = open_at(self.here(), &name, OFlags::PATH)?;
            let status = fstat(&file)?;
            if FileType::from_raw_mode(status.st_mode) == FileType::Symlink {
                if self.link_owners.len() >= LINKS {
                    return Err(Errno::LOOP.into());
                }
                self.link_owners.push(status.st_uid);
                self.expand(readlinkat(&file, "", Vec::new())?.as_bytes(), &mut waiting);
            } else if waiting.is_empty() {
                return Ok(Some((name, file)));
            } else {
                return Err(Errno::NOTDIR.into());
            }
        }
        Ok(None)
    }

    /// Puts the components of a path before those that wait; they are taken from the end.
    fn expand(&mut self, path: &[u8], waiting: &mut Vec<Vec<u8>>) {
        if path.starts_with(b"/") {
            self.start = &[];
            self.below.clear();
        }
        waiting.extend(path.split(|&byte| byte == b'/').rev().map(<[u8]>::to_vec));
    }
}

const DIRECTORY: OFlags =
    OFlags::PATH.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

fn open_at(directory: BorrowedFd<'_>, name: &[u8], flags: OFlags) -> io::Result<OwnedFd> {
    Ok(openat(directory, name, flags | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty())?)
}

#[cfg(test)]
mod tests {
    use std::fs::{self, File};
    use std::io::Read as _;
    use std::os::unix::fs::{MetadataExt, symlink};
    use std::path::PathBuf;

    use proptest::prelude::*;
    use rustix::fs::{CWD, ResolveFlags, openat2};
    use tempfile::TempDir;

    use super::*;

    #[test]
    fn a_deep_path_costs_so_much_and_no_more() {
        let inside = tempfile::tempdir().unwrap();
        let root = Directory::root(openat(CWD, inside.path(), DIRECTORY, Mode::empty()).unwrap());
        let deep = |depth: usize| PathBuf::from("d/".repeat(depth));
        fs::create_dir_all(inside.path().join(deep(DEPTH + 10))).unwrap();
        assert!(root.open(&deep(DEPTH - 1), OFlags::PATH).is_ok());
        let error = root.open(&deep(DEPTH + 5), OFlags::PATH).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(Errno::NAMETOOLONG.raw_os_error()));
        let long = PathBuf::from("d/../".repeat(COMPONENTS));
        assert_eq!(root.open(&long, OFlags::PATH).unwrap_err().raw_os_error(), error.raw_os_error());
    }

    /// `secret` says whose it is; links of all sorts lead around.
    struct Host {
        inside: TempDir,
        outside: TempDir,
    }

    impl Host {
        fn new() -> Self {
            let host = Self { inside: tempfile::tempdir().unwrap(), outside: tempfile::tempdir().unwrap() };
            fs::write(host.outside.path().join("secret"), "outside").unwrap();
            let path = |name: &str| host.inside.path().join(name);
            fs::create_dir_all(path("a/b")).unwrap();
            fs::write(path("secret"), "inside").unwrap();
            for (target, link) in [
                (PathBuf::from("/secret"), "a/absolute"),
                ("../../../../../../secret".into(), "a/b/relative"),
                ("../b/../absolute".into(), "a/b/twice"),
                ("..".into(), "a/b/up"),
                ("/".into(), "a/top"),
                (".".into(), "a/self"),
                ("around".into(), "a/around"),
                (host.outside.path().join("secret"), "a/out"),
                (host.outside.path().to_owned(), "a/directory"),
                ("/proc/self/fd/0".into(), "a/magic"),
                ("/proc/self/root".into(), "a/root"),
            ] {
                symlink(target, path(link)).unwrap();
            }
            host
        }

        fn root(&self) -> Directory {
            let flags = OFlags::PATH | OFlags::DIRECTORY;
            Directory::root(openat(CWD, self.inside.path(), flags, Mode::empty()).unwrap())
        }
    }

    fn read(opened: io::Result<Opened>) -> io::Result<String> {
        let mut text = String::new();
        File::from(opened?.file).read_to_string(&mut text)?;
        Ok(text)
    }

    #[test]
    fn links_stay_within_the_root() {
        let host = Host::new();
        let root = host.root();
        let open = |path: &str| root.open(Path::new(path), OFlags::RDONLY);
        for (path, links) in [
            ("secret", 0),
            ("/secret", 0),
            ("//./a/../secret", 0),
            ("/../../secret", 0),
            ("/a/absolute", 1),
            ("a/b/relative", 1),
            ("a/b/twice", 2),
            ("a/top/a/self/b/up/absolute", 4),
        ] {
            assert_eq!(open(path).unwrap().link_owners.len(), links, "{path}");
            assert_eq!(read(open(path)).unwrap(), "inside", "{path}");
        }
        for path in ["/a/out", "/a/directory/secret", "/a/magic", "/a/root/secret", "/a/none", "secret/", ""]
        {
            assert!(read(open(path)).is_err(), "{path}");
        }
        assert_eq!(open("a/around").unwrap_err().raw_os_error(), Some(libc::ELOOP));
        assert_eq!(open("secret/x").unwrap_err().kind(), io::ErrorKind::NotADirectory);
    }

    #[test]
    fn whoever_made_a_link_is_told() {
        let host = Host::new();
        let link = fs::symlink_metadata(host.inside.path().join("a/absolute")).unwrap();
        let opened = host.root().open(Path::new("a/absolute"), OFlags::PATH).unwrap();
        assert_eq!(opened.link_owners, [link.uid()]);
        assert!(File::from(opened.file).metadata().unwrap().is_file());
    }

    #[test]
    fn a_directory_below_knows_those_above() {
        let host = Host::new();
        let root = host.root();
        for path in ["a/b", "/a/self/b", "a/b/up/b"] {
            let below = root.enter(Path::new(path)).unwrap();
            for path in ["relative", "../absolute", "../../secret", "../../../secret", "/secret"] {
                assert_eq!(read(below.open(Path::new(path), OFlags::RDONLY)).unwrap(), "inside", "{path}");
            }
            assert_eq!(below.owner().unwrap(), rustix::process::geteuid().as_raw());
        }
        assert!(root.enter(Path::new("secret")).is_err());
        assert!(root.enter(Path::new("a/directory")).is_err());
        assert_eq!(root.enter(Path::new("/")).unwrap().below.len(), 0);
    }

    proptest! {
        /// The kernel's own resolver is asked the same.
        #[test]
        fn it_finds_what_the_kernel_finds(
            names in proptest::collection::vec(
                proptest::sample::select(vec![
                    "a", "b", "..", ".", "secret", "absolute", "relative", "twice", "up", "top", "self", "around",
                    "out", "directory", "none",
                ]),
                0..8,
            ),
            absolute in any::<bool>(),
        ) {
            let host = Host::new();
            let root = host.root();
            let path = PathBuf::from(format!("{}{}", if absolute { "/" } else { "" }, names.join("/")));
            prop_assume!(!path.as_os_str().is_empty());
            let theirs =
                openat2(Walk::new(&root).here(), &path, OFlags::PATH, Mode::empty(), ResolveFlags::IN_ROOT);
            prop_assume!(!matches!(theirs, Err(Errno::NOSYS | Errno::AGAIN)));
            let ours = root.open(&path, OFlags::PATH);
            match (theirs, ours) {
                (Ok(theirs), Ok(ours)) => {
                    let [theirs, ours] = [&theirs, &ours.file].map(|file| fstat(file).unwrap());
                    prop_assert_eq!((theirs.st_dev, theirs.st_ino), (ours.st_dev, ours.st_ino));
                }
                (Err(theirs), Err(ours)) => {
                    prop_assert_eq!(Some(theirs.raw_os_error()), ours.raw_os_error());
                }
                (theirs, ours) => prop_assert!(false, "{theirs:?} {ours:?}"),
            }
        }
    }
}
