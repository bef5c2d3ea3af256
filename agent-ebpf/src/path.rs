//! Walks from a file towards the root, over mounts, and writes what it finds as reversed paths.

use agent_common::limits::{COMPONENT_BYTES, EXEC_SCRATCH_BYTES, PATH_BYTES, PATH_COMPONENTS, PATH_MOUNTS};
use aya_ebpf::helpers::generated::bpf_probe_read_kernel_str;

use crate::kernel;
use crate::kstruct::{Access, Dentry, KernfsNode, Mount, Probed, Task, Typed};

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
        Self::root_of(Task::<Typed>::current())
    }

    /// The root directory of a task.
    #[inline(always)]
    pub fn root_of<A: Access>(task: Task<A>) -> Self {
        let (mount, dentry) = task.root_directory().unwrap_or((0, 0));
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

/// Where a walk keeps its state, in the scratch space behind everything that is written there.
const WALK_AT: usize = EXEC_SCRATCH_BYTES - size_of::<Walk>();

/// A walk under way. It lives in map memory, of which the verifier remembers nothing: so its step is verified once, not
/// once for each state that it may have come to.
#[repr(C)]
struct Walk {
    mount: u64,
    dentry: u64,
    root_mount: u64,
    root_dentry: u64,
    start: u64,
    end: u64,
    complete: u64,
}

/// All that a step is handed: `bpf_loop` takes a pointer to the stack alone.
pub struct Scratch(*mut u8);

impl Scratch {
    /// With the walk that is kept in this scratch space.
    #[allow(dead_code, reason = "made anew by kernel_5_10 alone")]
    #[inline(always)]
    pub const fn new(scratch: *mut u8) -> Self {
        Self(scratch)
    }

    /// The walk that is kept in this scratch space.
    #[inline(always)]
    fn walk<T>(&self) -> *mut T {
        // SAFETY: the place is within the scratch space, and aligned.
        unsafe { self.0.add(WALK_AT).cast() }
    }
}

macro_rules! get {
    ($walk:ident . $field:ident) => {
        // SAFETY: the walk lives in map memory.
        unsafe { (&raw const (*$walk).$field).read_volatile() }
    };
}
macro_rules! set {
    ($walk:ident . $field:ident = $value:expr) => {
        // SAFETY: the walk lives in map memory.
        unsafe { (&raw mut (*$walk).$field).write_volatile($value) }
    };
}

/// Writes the reversed path of a place from `start` on, as the running process sees it.
#[inline(always)]
pub fn write(scratch: *mut u8, start: usize, mount: u64, dentry: u64) -> Written {
    write_from(scratch, start, mount, dentry, Place::process_root())
}

/// The same as whoever has this root directory sees it.
#[inline(always)]
pub fn write_from(scratch: *mut u8, start: usize, mount: u64, dentry: u64, root: Place) -> Written {
    let Some((room, at)) = kernel::walk_room(scratch, start) else {
        return Written { end: start, truncated: true };
    };
    let mut context = Scratch(room);
    let walk: *mut Walk = context.walk();
    set!(walk.mount = mount);
    set!(walk.dentry = dentry);
    set!(walk.root_mount = root.mount);
    set!(walk.root_dentry = root.dentry);
    set!(walk.start = at as u64);
    set!(walk.end = at as u64);
    set!(walk.complete = 0);
    kernel::repeat_path(PATH_COMPONENTS + PATH_MOUNTS, step, &raw mut context);
    let end = kernel::walked(scratch, start, room, get!(walk.end) as usize & OFFSET_MASK);
    Written { end, truncated: get!(walk.complete) == 0 }
}

/// One step; 1 ends the loop.
pub extern "C" fn step(_index: u32, context: *mut Scratch) -> i64 {
    // SAFETY: whoever repeats it hands the context on that it was given.
    let context = unsafe { &*context };
    let walk: *mut Walk = context.walk();
    let place = Place { mount: get!(walk.mount), dentry: get!(walk.dentry) };
    let root = Place { mount: get!(walk.root_mount), dentry: get!(walk.root_dentry) };
    match place.step(root) {
        Some(Step::Name(name, parent)) => {
            let end = get!(walk.end);
            if end.wrapping_sub(get!(walk.start)) > (PATH_BYTES - COMPONENT_BYTES) as u64 {
                return 1;
            }
            let Some(next) = write_name(context.0, end as usize, name) else { return 1 };
            set!(walk.end = next as u64);
            set!(walk.dentry = parent.dentry);
            0
        }
        Some(Step::Crossed(above)) => {
            set!(walk.mount = above.mount);
            set!(walk.dentry = above.dentry);
            0
        }
        Some(Step::Root) => {
            set!(walk.complete = 1);
            1
        }
        None => 1,
    }
}

/// Levels of a cgroup's path.
const CGROUP_LEVELS: u32 = 24;
/// Bytes of a cgroup's path.
const CGROUP_BYTES: usize = 1024;

/// Writes the reversed path of the running task's cgroup from `start` on. Of a [`Walk`], the dentry is its node.
#[inline(always)]
pub fn write_cgroup(scratch: *mut u8, start: usize) -> Written {
    let Some(node) = Task::<Typed>::current().cgroup_node() else {
        return Written { end: start, truncated: true };
    };
    let Some((room, at)) = kernel::walk_room(scratch, start) else {
        return Written { end: start, truncated: true };
    };
    let mut context = Scratch(room);
    let walk: *mut Walk = context.walk();
    set!(walk.dentry = node);
    set!(walk.start = at as u64);
    set!(walk.end = at as u64);
    set!(walk.complete = 0);
    kernel::repeat_cgroup(CGROUP_LEVELS, step_cgroup, &raw mut context);
    let end = kernel::walked(scratch, start, room, get!(walk.end) as usize & OFFSET_MASK);
    Written { end, truncated: get!(walk.complete) == 0 }
}

/// One level; 1 ends the loop.
pub extern "C" fn step_cgroup(_index: u32, context: *mut Scratch) -> i64 {
    // SAFETY: whoever repeats it hands the context on that it was given.
    let context = unsafe { &*context };
    let walk: *mut Walk = context.walk();
    let node = KernfsNode::<Probed>::from_raw(get!(walk.dentry));
    let Some(parent) = node.parent() else { return 1 };
    if parent.is_null() {
        set!(walk.complete = 1);
        return 1;
    }
    let end = get!(walk.end);
    if end.wrapping_sub(get!(walk.start)) > (CGROUP_BYTES - COMPONENT_BYTES) as u64 {
        return 1;
    }
    let Some(next) = node.name().and_then(|name| write_name(context.0, end as usize, name)) else {
        return 1;
    };
    set!(walk.end = next as u64);
    set!(walk.dentry = parent.raw());
    0
}
