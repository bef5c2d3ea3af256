//! What outlives the agent: programs and maps, pinned in a BPF file system.
//!
//! An agent that is killed, or makes way for a newer one, leaves its programs attached; they go on writing to its rings.
//! The next one loads its own, proves them, cuts over by one write to a map that both share ([`Cutover`]) and reads what the
//! old rings hold. In the directory are, each mode 0700:
//!
//! ```text
//! shared-LAYOUT/MAP       what acts under way need from one generation to the next
//! N-LAYOUT/MAP            rings, counters and told losses of generation N
//! N-LAYOUT/link-PROGRAM   its attached programs
//! shared-LAYOUT/told-held what was open at the start was told, by one generation or another
//! ```
//!
//! `LAYOUT` stands for the form of all that is shared or read by the next agent. Of a generation of another layout only the
//! number of records is read: they are told as lost.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs::{self, DirBuilder, File};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use agent_common::keys::Cutover;
use agent_common::rings::Ring;
use aya::maps::{Array, Map, MapData};
use aya::programs::links::{FdLink, PinnedLink};
use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;
use sha2::{Digest, Sha256};

use super::maps::{MapFailure, Shared};
use super::ring;

/// Maps of which the next generation goes on with what is in them.
pub(super) const SHARED: [&str; 13] = [
    "CUTOVER",
    "TREE_GENERATION",
    "CREDENTIAL_FILES",
    "TAGS",
    "SOCKETS",
    "SOCKET_STATES",
    "ASKERS",
    "FLOWS",
    "MEMORY",
    "FLOWS_TOLD",
    "MEMORY_TOLD",
    "PENDING",
    "PENDING_KEYS",
];
/// Maps of a generation that the next agent reads to their end, rings left out.
pub(super) const CPU_STATE: &str = "CPU_STATE";
pub(super) const TOLD: &str = "TOLD";
const OF_A_GENERATION: [&str; 2] = [CPU_STATE, TOLD];

/// How a file of an attached program begins.
const LINK: &str = "link-";
/// The mark that what was open at the start was told.
const TOLD_HELD: &str = "told-held";
/// `BPF_FS_MAGIC` of `linux/magic.h`.
const BPF_FS: u64 = 0xcafe_4a11;
/// Entries of a directory that are looked at: there are never so many.
const ENTRIES: usize = 1_024;

/// Nothing can be pinned, or what was cannot be used.
#[derive(Debug, thiserror::Error)]
pub(super) enum PinError {
    /// The directory is in no BPF file system.
    #[error("{0} is in no BPF file system: mount one there with `mount -t bpf bpf /sys/fs/bpf`")]
    NoFileSystem(PathBuf),
    /// It belongs to somebody else.
    #[error(
        "{path} belongs to user {owner}, who could put programs and maps into it: remove it, or give it to the agent"
    )]
    Foreign {
        /// The directory.
        path: PathBuf,
        /// Its owner.
        owner: u32,
    },
    /// Another agent has it.
    #[error("another agent pins in {0}: give each a directory of its own (--pins)")]
    InUse(PathBuf),
    /// A file or directory there cannot be made, read or removed.
    #[error("cannot {doing} {path}: {source}")]
    Io {
        /// What was tried.
        doing: &'static str,
        /// On what.
        path: PathBuf,
        /// Why it failed.
        source: io::Error,
    },
    /// A link or map cannot be pinned.
    #[error("cannot pin {what}: {source}; is the BPF file system writable for the agent?")]
    Pin {
        /// What.
        what: String,
        /// Why.
        source: aya::pin::PinError,
    },
    /// A pinned map is not what it should be.
    #[error("the pinned map {0} is not what it should be: somebody else has put it there")]
    Strange(PathBuf),
}

fn io_error(doing: &'static str, path: &Path) -> impl FnOnce(io::Error) -> PinError {
    let path = path.to_owned();
    move |source| PinError::Io { doing, path, source }
}

/// A generation that an earlier agent left.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Left {
    /// Its number.
    pub(super) number: u32,
    /// Whether it can be read.
    pub(super) is_readable: bool,
    path: PathBuf,
}

/// The directory, and this agent's part of it.
#[derive(Debug)]
pub(super) struct Pins {
    /// Locked for as long as the agent runs.
    _lock: File,
    root: PathBuf,
    shared: PathBuf,
    own: PathBuf,
    /// Number of this agent's generation.
    pub(super) number: u32,
    /// Those before it, oldest first.
    pub(super) left: Vec<Left>,
}

impl Pins {
    /// Looks at what is there, and makes room for a further generation.
    pub(super) fn open(root: &Path, layout: &Layout) -> Result<Self, PinError> {
        // Elsewhere nothing is to be made, not even the directory.
        let existing = if root.exists() { root } else { root.parent().unwrap_or(root) };
        let statfs =
            rustix::fs::statfs(existing).map_err(|errno| io_error("look at", existing)(errno.into()))?;
        if statfs.f_type.cast_unsigned() != BPF_FS {
            return Err(PinError::NoFileSystem(root.to_owned()));
        }
        make(root)?;
        let data = fs::symlink_metadata(root).map_err(io_error("look at", root))?;
        if data.uid() != rustix::process::geteuid().as_raw() {
            return Err(PinError::Foreign { path: root.to_owned(), owner: data.uid() });
        }
        if data.permissions().mode() & 0o077 != 0 {
            fs::set_permissions(root, fs::Permissions::from_mode(0o700)).map_err(io_error("close", root))?;
        }
        let lock = File::open(root).map_err(io_error("open", root))?;
        match flock(&lock, FlockOperation::NonBlockingLockExclusive) {
            Err(Errno::WOULDBLOCK) => return Err(PinError::InUse(root.to_owned())),
            locked => locked.map_err(|errno| io_error("lock", root)(errno.into()))?,
        }
        let left = left(root, layout)?;
        let number = left.iter().map(|left| left.number).max().unwrap_or(0).wrapping_add(1).max(1);
        let shared = root.join(format!("shared-{layout}"));
        let own = root.join(format!("{number}-{layout}"));
        make(&shared)?;
        make(&own)?;
        Ok(Self { _lock: lock, root: root.to_owned(), shared, own, number, left })
    }

    /// Removes what agents left that ended before they served: their programs have told of themselves alone.
    pub(super) fn remove_unserved(&mut self, serving: u32) -> Result<(), PinError> {
        let is_unserved = |left: &Left| left.is_readable && left.number > serving;
        self.left.iter().filter(|left| is_unserved(left)).try_for_each(Left::remove)?;
        self.left.retain(|left| !is_unserved(left));
        Ok(())
    }

    /// Where maps are to be pinned, by name.
    pub(super) fn paths(&self) -> impl Iterator<Item = (&'static str, PathBuf)> {
        let rings = Ring::ALL.map(Ring::map);
        let own = rings.into_iter().chain(OF_A_GENERATION).map(|name| (name, self.own.join(name)));
        SHARED.into_iter().map(|name| (name, self.shared.join(name))).chain(own)
    }

    /// Where an attached program is pinned.
    pub(super) fn link_path(&self, program: &str) -> PathBuf {
        self.own.join(format!("{LINK}{program}"))
    }

    /// Pins an attached program.
    pub(super) fn pin(&self, program: &str, link: FdLink) -> Result<PinnedLink, PinError> {
        let path = self.link_path(program);
        link.pin(&path).map_err(|source| PinError::Pin { what: program.to_owned(), source })
    }

    /// Whether what was open when agents began to look was told.
    pub(super) fn is_held_told(&self) -> bool {
        self.left.iter().any(|left| left.is_readable) && self.shared.join(TOLD_HELD).exists()
    }

    /// It was, now.
    pub(super) fn held_is_told(&self) -> Result<(), PinError> {
        make(&self.shared.join(TOLD_HELD))
    }

    /// Whether what generations share is what this object says.
    pub(super) fn check(&self, layout: &Layout) -> Result<(), PinError> {
        for name in SHARED {
            let path = self.shared.join(name);
            if path.exists() {
                let map = MapData::from_pin(&path).map_err(|_| PinError::Strange(path.clone()))?;
                layout.check(name, &path, &map)?;
            }
        }
        Ok(())
    }

    /// Removes this generation: those before it go on.
    pub(super) fn remove_own(&self) -> Result<(), PinError> {
        remove_tree(&self.own)?;
        if self.left.is_empty() { self.remove_all() } else { Ok(()) }
    }

    /// Removes everything: nothing outlives the agent.
    pub(super) fn remove_all(&self) -> Result<(), PinError> {
        for path in entries(&self.root)? {
            remove_tree(&path)?;
        }
        // Where somebody else has made it, it is his to remove.
        let _ = fs::remove_dir(&self.root);
        Ok(())
    }

    /// Removes the generations before this one, and what they shared with each other alone.
    pub(super) fn remove_left(&mut self) -> Result<(), PinError> {
        for left in std::mem::take(&mut self.left) {
            left.remove()?;
        }
        for path in entries(&self.root)? {
            if path != self.shared && path != self.own {
                remove_tree(&path)?;
            }
        }
        Ok(())
    }
}

impl Left {
    /// Detaches its programs; how many: none where an agent before this one has done so.
    pub(super) fn detach(&self) -> Result<usize, PinError> {
        let mut detached = 0;
        for path in entries(&self.path)? {
            let is_link = path.file_name().and_then(OsStr::to_str).is_some_and(|name| name.starts_with(LINK));
            if is_link {
                fs::remove_file(&path).map_err(io_error("remove", &path))?;
                detached += 1;
            }
        }
        Ok(detached)
    }

    /// One of its maps.
    pub(super) fn map(&self, name: &'static str) -> Result<MapData, MapFailure> {
        MapData::from_pin(self.path.join(name)).map_err(|source| MapFailure::Refused { map: name, source })
    }

    /// Records in its rings that nobody has read.
    pub(super) fn unread(&self) -> u64 {
        let count = |ring: Ring| {
            let map = self.map(ring.map()).ok()?;
            let bytes = map.info().ok()?.max_entries();
            let mut ring = ring::Ring::new(map, bytes).ok()?;
            let mut record = Vec::new();
            Some(std::iter::from_fn(|| ring.next(&mut record).then_some(())).count() as u64)
        };
        Ring::ALL.into_iter().filter_map(count).sum()
    }

    /// Removes what is left of it.
    pub(super) fn remove(&self) -> Result<(), PinError> {
        remove_tree(&self.path)
    }
}

fn make(path: &Path) -> Result<(), PinError> {
    match DirBuilder::new().mode(0o700).create(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        made => made.map_err(io_error("make", path)),
    }
}

fn entries(path: &Path) -> Result<Vec<PathBuf>, PinError> {
    let entries = fs::read_dir(path).map_err(io_error("read", path))?;
    let paths = entries.take(ENTRIES).map(|entry| entry.map(|entry| entry.path()));
    paths.collect::<Result<_, _>>().map_err(io_error("read", path))
}

/// Removes a directory with all that is in it, two levels deep. `std::fs::remove_dir_all` asks for what a BPF file system
/// cannot open.
fn remove_tree(path: &Path) -> Result<(), PinError> {
    let data = match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        data => data.map_err(io_error("look at", path))?,
    };
    if !data.is_dir() {
        return fs::remove_file(path).map_err(io_error("remove", path));
    }
    for entry in entries(path)? {
        remove_tree(&entry)?;
    }
    fs::remove_dir(path).map_err(io_error("remove", path))
}

fn left(root: &Path, layout: &Layout) -> Result<Vec<Left>, PinError> {
    let parse = |path: PathBuf| {
        let name = path.file_name()?.to_str()?;
        let (number, of) = name.split_once('-')?;
        let number = number.parse().ok().filter(|number| *number > 0)?;
        Some(Left { number, is_readable: of == layout.to_string(), path })
    };
    let mut left: Vec<Left> = entries(root)?.into_iter().filter_map(parse).collect();
    left.sort();
    Ok(left)
}

/// The form of everything that one generation leaves to the next.
#[derive(Clone, Debug)]
pub(super) struct Layout {
    /// Key and value sizes, and entries, of each map of an object.
    maps: BTreeMap<String, [u32; 4]>,
    digest: String,
}

impl Layout {
    /// Of an object.
    pub(super) fn of(object: &[u8]) -> Option<Self> {
        let object = aya_obj::Object::parse(object).ok()?;
        let maps: BTreeMap<String, [u32; 4]> = object
            .maps
            .iter()
            .map(|(name, map)| {
                (name.clone(), [map.map_type(), map.key_size(), map.value_size(), map.max_entries()])
            })
            .collect();
        let mut digest = Sha256::new();
        digest.update(agent_common::records::LAYOUT_VERSION.to_le_bytes());
        let inherited = |name: &str| {
            SHARED.contains(&name)
                || OF_A_GENERATION.contains(&name)
                || Ring::ALL.iter().any(|ring| ring.map() == name)
        };
        for (name, sizes) in maps.iter().filter(|(name, _)| inherited(name)) {
            digest.update(format!("{name} {sizes:?}\n"));
        }
        for size in agent_common::records::SIZES {
            digest.update(size.to_le_bytes());
        }
        let digest = digest.finalize().iter().take(6).map(|byte| format!("{byte:02x}")).collect();
        Some(Self { maps, digest })
    }

    /// Whether a map of the kernel's is what the object says.
    pub(super) fn check(&self, name: &str, path: &Path, map: &MapData) -> Result<(), PinError> {
        let strange = || PinError::Strange(path.to_owned());
        let info = map.info().map_err(|_| strange())?;
        let is = [
            info.map_type().map_err(|_| strange())? as u32,
            info.key_size(),
            info.value_size(),
            info.max_entries(),
        ];
        // The kernel knows better than the object how many processors there are, and gives storage no entries.
        let same = self.maps.get(name).is_some_and(|should| should[..3] == is[..3]);
        if same { Ok(()) } else { Err(strange()) }
    }
}

impl std::fmt::Display for Layout {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.digest)
    }
}

/// The cell that says which generation serves.
pub(super) struct Switch(Array<MapData, Shared<Cutover>>);

impl Switch {
    /// Takes the map.
    pub(super) fn take(ebpf: &mut aya::Ebpf) -> Result<Self, MapFailure> {
        const MAP: &str = "CUTOVER";
        let map: Map = ebpf.take_map(MAP).ok_or(MapFailure::Missing(MAP))?;
        let cell = map.try_into().map_err(|source| MapFailure::Refused { map: MAP, source })?;
        Ok(Self(cell))
    }

    /// The generation that serves; 0: none has.
    pub(super) fn serving(&self) -> Result<u32, MapFailure> {
        let Shared(now) = self.0.get(&0, 0).map_err(refused)?;
        Ok(now.current())
    }

    /// Has the acts of a process told by `generation`, and all others as before.
    pub(super) fn try_out(&mut self, generation: u32, tgid: u32) -> Result<(), MapFailure> {
        let serving = Cutover::to(self.serving()?);
        // Nobody is tried while it is said who does.
        self.set(Cutover { candidate_tgid: tgid.into(), ..serving })?;
        self.set(serving.trying(generation, tgid))
    }

    /// Has everything told by `generation`.
    pub(super) fn to(&mut self, generation: u32) -> Result<(), MapFailure> {
        self.set(Cutover::to(generation))
    }

    fn set(&mut self, cutover: Cutover) -> Result<(), MapFailure> {
        self.0.set(0, Shared(cutover), 0).map_err(refused)
    }
}

fn refused(source: aya::maps::MapError) -> MapFailure {
    MapFailure::Refused { map: "CUTOVER", source }
}
