//! The tree of cgroups by id and path, in the hierarchy that names workloads.

use std::collections::{HashMap, HashSet};
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirEntryExt, MetadataExt};
use std::path::{Path, PathBuf};

use super::parse;
use crate::model::bytes::RawBytes;
use crate::model::process::Cgroup;

/// cgroups read at most: as many names as the table keeps.
const CGROUPS: usize = 16_384;
/// Depth of the tree that is read; `cgroup.max.depth` is seldom set, nested engines reach 10.
const DEPTH: usize = 32;

/// Adds every cgroup below `root`, itself included; how many were beyond what is read. The id of a cgroup is the
/// inode number of its directory.
pub(super) fn walk(root: &Path, out: &mut Vec<(u64, RawBytes)>) -> u64 {
    let Ok(metadata) = fs::metadata(root) else { return 0 };
    out.push((metadata.ino(), "/".into()));
    let mut skipped = 0;
    let mut waiting: Vec<(PathBuf, Vec<u8>, usize)> = vec![(root.to_path_buf(), Vec::new(), 0)];
    while let Some((directory, path, depth)) = waiting.pop() {
        let Ok(entries) = fs::read_dir(&directory) else { continue };
        for entry in entries.flatten().filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir())) {
            if out.len() >= CGROUPS || depth >= DEPTH {
                skipped += 1;
                continue;
            }
            let mut path = path.clone();
            path.push(b'/');
            path.extend_from_slice(entry.file_name().as_bytes());
            out.push((entry.ino(), path.as_slice().into()));
            waiting.push((entry.path(), path, depth + 1));
        }
    }
    skipped
}

/// Those of the cgroups below `root`, itself included, that have one of these ids: as many are looked at as [`walk`] does.
pub(crate) fn find(root: &Path, ids: &[u64]) -> Vec<Cgroup> {
    let mut all = Vec::new();
    walk(root, &mut all);
    let wanted: HashSet<u64> = ids.iter().copied().collect();
    all.into_iter().filter(|(id, _)| wanted.contains(id)).map(|(id, path)| Cgroup { id, path }).collect()
}

/// Finds the cgroup of a process by the path that /proc shows.
pub(super) struct Index {
    by_path: HashMap<RawBytes, u64>,
    /// Whether /proc shows paths from another root than the mount's: then they say nothing here. An act's cgroup
    /// id still does.
    foreign: bool,
    /// The number of the hierarchy.
    hierarchy: u32,
}

impl Index {
    pub(super) fn new(cgroups: &[(u64, RawBytes)], proc: &Path, hierarchy: u32) -> Self {
        let by_path = cgroups.iter().map(|(id, path)| (path.clone(), *id)).collect();
        let init = super::one::read_limited(&proc.join("1/cgroup"), parse::LINES_BYTES).unwrap_or_default();
        let foreign =
            parse::cgroup_path(&init, hierarchy).is_some_and(|path| path.as_bytes().starts_with(b"/.."));
        Self { by_path, foreign, hierarchy }
    }

    /// From the contents of `/proc/PID/cgroup`.
    pub(super) fn find(&self, lines: &[u8]) -> Cgroup {
        match parse::cgroup_path(lines, self.hierarchy) {
            Some(path) if !self.foreign && !path.as_bytes().starts_with(b"/..") => {
                Cgroup { id: self.by_path.get(&path).copied().unwrap_or_default(), path }
            }
            _ => Cgroup::default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tree_is_read_with_paths_and_inode_numbers() {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir_all(root.path().join("system.slice/nginx.service")).unwrap();
        fs::create_dir(root.path().join("init.scope")).unwrap();
        fs::write(root.path().join("cgroup.procs"), "1\n").unwrap();
        let mut found = Vec::new();
        assert_eq!(walk(root.path(), &mut found), 0);
        let inode = |path: &str| fs::metadata(root.path().join(path)).unwrap().ino();
        let mut expected = vec![
            (inode(""), RawBytes::from("/")),
            (inode("init.scope"), "/init.scope".into()),
            (inode("system.slice"), "/system.slice".into()),
            (inode("system.slice/nginx.service"), "/system.slice/nginx.service".into()),
        ];
        expected.sort();
        found.sort();
        assert_eq!(found, expected);

        let scope = Cgroup { id: inode("init.scope"), path: "/init.scope".into() };
        assert_eq!(find(root.path(), &[scope.id, u64::MAX]), [scope]);
        assert_eq!(find(Path::new("/nonexistent"), &[1]), []);

        let index = Index::new(&found, Path::new("/nonexistent"), 0);
        let cgroup = index.find(b"4:memory:/x\n0::/system.slice/nginx.service\n");
        assert_eq!(
            cgroup,
            Cgroup { id: inode("system.slice/nginx.service"), path: "/system.slice/nginx.service".into() }
        );
        assert_eq!(index.find(b"0::/../other\n"), Cgroup::default());
        assert_eq!(index.find(b"0::/gone\n"), Cgroup { id: 0, path: "/gone".into() });
    }

    #[test]
    fn paths_from_another_root_are_not_believed() {
        let proc = tempfile::tempdir().unwrap();
        fs::create_dir(proc.path().join("1")).unwrap();
        fs::write(proc.path().join("1/cgroup"), "0::/../../init.scope\n").unwrap();
        let index = Index::new(&[(1, "/".into())], proc.path(), 0);
        assert_eq!(index.find(b"0::/\n"), Cgroup::default());
    }
}
