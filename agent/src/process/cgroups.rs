//! Names of cgroups by their id.
//!
//! A cgroup v2 id is never used again and a cgroup cannot be renamed, so a name once learned stays true after the
//! cgroup is gone: a container that lived for a millisecond keeps its name.

use std::collections::HashMap;
use std::sync::Arc;

use crate::model::bytes::RawBytes;
use crate::model::process::Cgroup;

/// cgroups of one generation. Two are kept, so that a name in use survives when the first is full; a large node runs
/// a few thousand.
const GENERATION: usize = 8_192;

/// Names of cgroups: those used in this generation, and those of the one before.
#[derive(Debug, Default)]
pub struct CgroupNames {
    young: HashMap<u64, Arc<Cgroup>>,
    old: HashMap<u64, Arc<Cgroup>>,
    evicted: u64,
}

impl CgroupNames {
    /// Learns the name of a cgroup; the shared form of it. A path that does not begin at the root (cut, or empty) is
    /// no name: the known one stays.
    pub fn learn(&mut self, id: u64, path: &RawBytes) -> Arc<Cgroup> {
        let whole = path.as_bytes().starts_with(b"/");
        if let Some(known) = self.get(id).filter(|known| !whole || known.path == *path) {
            return known;
        }
        let cgroup = Arc::new(Cgroup { id, path: path.clone() });
        if whole && id != 0 {
            self.insert(cgroup.clone());
        }
        cgroup
    }

    /// A cgroup by its id, where its name is known.
    pub fn get(&mut self, id: u64) -> Option<Arc<Cgroup>> {
        if let Some(cgroup) = self.young.get(&id) {
            return Some(cgroup.clone());
        }
        let cgroup = self.old.remove(&id)?;
        self.insert(cgroup.clone());
        Some(cgroup)
    }

    /// A cgroup by its id; with an empty path where its name is not known.
    pub fn named(&mut self, id: u64) -> Arc<Cgroup> {
        self.get(id).unwrap_or_else(|| Arc::new(Cgroup { id, path: RawBytes::default() }))
    }

    /// How many names were dropped because there were too many.
    pub fn evicted(&self) -> u64 {
        self.evicted
    }

    fn insert(&mut self, cgroup: Arc<Cgroup>) {
        if self.young.len() >= GENERATION {
            self.evicted += self.old.len() as u64;
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(cgroup.id, cgroup);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_in_use_outlives_any_number_of_others() {
        let mut names = CgroupNames::default();
        names.learn(1, &"/kept".into());
        for id in 2..4 * GENERATION as u64 {
            names.learn(id, &"/other".into());
            assert_eq!(names.named(1).path, "/kept".into());
        }
        assert!(names.young.len() + names.old.len() <= 2 * GENERATION);
        assert!(names.evicted() > 0);
        assert_eq!(names.named(2).path, RawBytes::default());
    }

    #[test]
    fn what_is_no_name_does_not_replace_a_known_one() {
        let mut names = CgroupNames::default();
        names.learn(7, &"/a".into());
        assert_eq!(names.learn(7, &RawBytes::default()).path, "/a".into());
        assert_eq!(names.learn(7, &"cut/a".into()).path, "/a".into());
        assert_eq!(names.learn(9, &"cut/b".into()).path, "cut/b".into());
        assert!(names.get(9).is_none());
        assert_eq!(names.learn(8, &RawBytes::default()).path, RawBytes::default());
        assert!(names.get(8).is_none());
    }
}
