//! Walks from a file towards the root, over mounts, and writes what it finds as reversed paths.

use agent_common::limits::{COMPONENT_BYTES, PATH_BYTES, PATH_COMPONENTS, PATH_MOUNTS};
use aya_ebpf::helpers::generated::bpf_probe_read_kernel_str;

use crate::kstruct::{Dentry, KernfsNode, Mount, Probed, Task, Typed};

/// Bits of an offset into the scratch space where a section may begin; what is written there ends before
/// `EXEC_SCRATCH_BYTES`.
pub const OFFSET_MASK: usize = 0x3fff;

/// A place in the tree of mounts.
#[derive(Clone, Copy)]
pub struct Place {
    /// The mount.
    pub mount: u64,
    /// The dentry in it.
    pub dentry: u64,
}

/// One step towards the root.
pub enum Step {
    /// There is a name here; the place is its directory.
    Name(u64, Place),
    /// The place is the root of a mount; go on where that is mounted.
    Crossed(Place),
    /// The root of all, or of the process.
    Root,
}

impl Place {
    /// The root directory of the running process.
    #[inline(always)]
    pub fn process_root() -> Self {
        let (mount, dentry) = Task::<Typed>::current().root_directory().unwrap_or((0, 0));
        Self { mount, dentry }
    }

    /// One step up.
    #[inline(always)]
    pub fn step(self, root: Self) -> Option<Step> {
        if self.dentry == root.dentry && self.mount == root.mount {
            return Some(Step::Root);
        }
        let mount = Mount::<Probed>::from_raw(self.mount);
        let dentry = Dentry::<Probed>::from_raw(self.dentry);
        if mount.root()?.raw() == self.dentry {
            return Some(match mount.mountpoint() {
                Some((above, at)) => Step::Crossed(Self { mount: above.raw(), dentry: at.raw() }),
                None => Step::Root,
            });
        }
        let parent = dentry.parent()?;
        if parent.raw() == self.dentry {
            return Some(Step::Root);
        }
        Some(Step::Name(dentry.name()?, Self { mount: self.mount, dentry: parent.raw() }))
    }
}

/// What a walk wrote.
#[derive(Clone, Copy)]
pub struct Written {
    /// Offset behind the last byte written.
    pub end: usize,
    /// Whether the walk ended before the root.
    pub truncated: bool,
}

/// Writes one kernel string at `scratch + at`, NUL included. `None` where it cannot be read.
#[inline(always)]
fn write_name(scratch: *mut u8, at: usize, name: u64) -> Option<usize> {
    let at = at & OFFSET_MASK;
    // SAFETY: `at` and the length stay below the size of the scratch space.
    let written = unsafe {
        bpf_probe_read_kernel_str(scratch.add(at).cast(), COMPONENT_BYTES as u32, name as *const _)
    };
    if written <= 0 || written as usize > COMPONENT_BYTES { None } else { Some(at + written as usize) }
}

/// Writes the reversed path of `place` from `start` on.
#[inline(never)]
pub fn write(scratch: *mut u8, start: usize, mount: u64, dentry: u64) -> u64 {
    let root = Place::process_root();
    let mut place = Place { mount, dentry };
    let mut end = start;
    let mut complete = 0;
    for _ in 0..PATH_COMPONENTS + PATH_MOUNTS {
        match place.step(root) {
            Some(Step::Name(name, parent)) => {
                if end.wrapping_sub(start) > PATH_BYTES - COMPONENT_BYTES {
                    break;
                }
                match write_name(scratch, end, name) {
                    Some(next) => end = next,
                    None => break,
                }
                place = parent;
            }
            Some(Step::Crossed(above)) => place = above,
            Some(Step::Root) => {
                complete = 1;
                break;
            }
            None => break,
        }
    }
    (end as u64) << 1 | complete
}

/// Unpacks what [`write`] and [`write_cgroup`] return: outlined functions give one register back.
#[inline(always)]
pub fn unpack(packed: u64) -> Written {
    Written { end: (packed >> 1) as usize, truncated: packed & 1 == 0 }
}

/// Levels of a cgroup's path.
const CGROUP_LEVELS: u32 = 24;

/// Writes the reversed path of the task's cgroup from `start` on.
#[inline(never)]
pub fn write_cgroup(scratch: *mut u8, start: usize) -> u64 {
    let mut end = start;
    let mut complete = 0;
    let Some(node) = Task::<Typed>::current().cgroup_node() else {
        return (end as u64) << 1;
    };
    let mut node = KernfsNode::<Probed>::from_raw(node.raw());
    for _ in 0..CGROUP_LEVELS {
        let Some(parent) = node.parent() else { break };
        if parent.is_null() {
            complete = 1;
            break;
        }
        let Some(name) = node.name() else { break };
        if end.wrapping_sub(start) > 1024 - COMPONENT_BYTES {
            break;
        }
        match write_name(scratch, end, name) {
            Some(next) => end = next,
            None => break,
        }
        node = parent;
    }
    (end as u64) << 1 | complete
}
