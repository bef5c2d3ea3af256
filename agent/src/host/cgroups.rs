//! Names of cgroups whose making was not told, looked for in the tree beside the event path: it may be large.

use std::io;
use std::path::PathBuf;

use super::lookup::Lookup;
use crate::model::process::Cgroup;
use crate::process::inventory::find_cgroups;

/// Looks for cgroups by their ids; those that are gone are not found.
pub type CgroupLookup = Lookup<Vec<u64>, Vec<Cgroup>>;

/// Starts to, below the root of a hierarchy, with the privileges that the caller has now. By name and not by handle:
/// `open_by_handle_at` takes a privilege by which any file can be opened.
///
/// # Errors
/// Where no thread can be had.
pub fn start(root: PathBuf) -> io::Result<CgroupLookup> {
    Lookup::start("cgroups", move |ids: Vec<u64>| find_cgroups(&root, &ids))
}
