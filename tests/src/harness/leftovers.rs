//! What a program leaves in the kernel: programs, maps, links, pins.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Instant;

use super::setting::Setting;
use crate::outcome::{Outcome, failed};

/// Where things are pinned.
const BPFFS: &str = "/sys/fs/bpf";
/// Directories below it that are looked into.
const DEPTH: u32 = 4;

/// A kind of kernel object: its name, the command of bpf(2) that gives the next id (linux/bpf.h), and the key in the
/// fdinfo of who holds one.
const KINDS: [(&str, libc::c_int, &str); 3] =
    [("program", 11, "prog_id:"), ("map", 12, "map_id:"), ("link", 31, "link_id:")];

/// All objects of this kernel, by kind and id, and all pins.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Loaded {
    ids: BTreeMap<&'static str, BTreeSet<u32>>,
    pins: BTreeSet<PathBuf>,
}

/// What is loaded now. Asked of the kernel itself: bpftool loads programs of its own to answer, and takes long to start
/// on an emulated machine.
pub(crate) fn loaded() -> Outcome<Loaded> {
    let mut loaded = Loaded::default();
    for (kind, command, _) in KINDS {
        let mut ids = BTreeSet::new();
        let mut last = 0;
        while let Some(id) = next_id(command, last)? {
            ids.insert(id);
            last = id;
        }
        loaded.ids.insert(kind, ids);
    }
    pins(Path::new(BPFFS), DEPTH, &mut loaded.pins);
    Ok(loaded)
}

fn next_id(command: libc::c_int, after: u32) -> io::Result<Option<u32>> {
    /// The part of `union bpf_attr` that these commands use.
    #[repr(C)]
    struct Attributes {
        start_id: u32,
        next_id: u32,
        open_flags: u32,
    }
    let mut attributes = Attributes { start_id: after, next_id: 0, open_flags: 0 };
    // SAFETY: the kernel reads and writes as many bytes as it is told that there are.
    let done = unsafe { libc::syscall(libc::SYS_bpf, command, &raw mut attributes, size_of::<Attributes>()) };
    if done == 0 {
        return Ok(Some(attributes.next_id));
    }
    match io::Error::last_os_error() {
        error if error.kind() == io::ErrorKind::NotFound => Ok(None),
        error => Err(error),
    }
}

fn pins(directory: &Path, depth: u32, found: &mut BTreeSet<PathBuf>) {
    // Where there is no such file system there are no pins.
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        if depth > 0 && entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            pins(&entry.path(), depth - 1, found);
        }
        found.insert(entry.path());
    }
}

/// What living processes hold by descriptors: others may use this kernel too.
fn held() -> BTreeMap<&'static str, BTreeSet<u32>> {
    let mut held: BTreeMap<_, BTreeSet<u32>> = BTreeMap::new();
    let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
    let descriptors = processes.flat_map(|process| fs::read_dir(process.path().join("fdinfo"))).flatten();
    for text in descriptors.flatten().filter_map(|entry| fs::read_to_string(entry.path()).ok()) {
        for (kind, _, key) in KINDS {
            let id = |line: &str| line.strip_prefix(key)?.trim().parse::<u32>().ok();
            let ids = text.lines().filter_map(id);
            held.entry(kind).or_default().extend(ids);
        }
    }
    held
}

/// Waits until all that was not there `before` has gone, but for what other living processes hold. The kernel frees
/// things some time after their last holder has gone, and tells nobody.
pub(crate) fn wait_gone(setting: &Setting, before: &Loaded) -> Outcome {
    let deadline = Instant::now() + setting.limit;
    loop {
        let mut now = loaded()?;
        let held = held();
        for (kind, ids) in &mut now.ids {
            ids.retain(|id| {
                let is_in =
                    |all: &BTreeMap<_, BTreeSet<u32>>| all.get(kind).is_some_and(|ids| ids.contains(id));
                !is_in(&before.ids) && !is_in(&held)
            });
        }
        now.ids.retain(|_, ids| !ids.is_empty());
        now.pins.retain(|pin| !before.pins.contains(pin));
        if now == Loaded::default() {
            return Ok(());
        }
        if Instant::now() > deadline {
            return failed(format!("left over in the kernel: {now:?}"));
        }
    }
}
