//! Where agents pin, in tests.

use std::fs;
use std::path::PathBuf;

use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};

use super::agent::Options;
use super::setting::Setting;
use crate::outcome::{During, Outcome};

/// A BPF file system of the test's own. Dropped, it is unmounted, and with it goes all that was pinned.
pub(crate) struct PinPlace(PathBuf);

impl PinPlace {
    /// Mounts one.
    pub(crate) fn new(setting: &Setting, name: &str) -> Outcome<Self> {
        let directory = setting.path(name);
        fs::create_dir_all(&directory).during(directory.display())?;
        mount(c"bpf", &directory, c"bpf", MountFlags::empty(), None).during("mount a BPF file system")?;
        Ok(Self(directory))
    }

    /// The directory that agents are given.
    pub(crate) fn pins(&self) -> PathBuf {
        self.0.join("telltale")
    }

    /// Options of an agent that pins there.
    pub(crate) fn options(&self) -> Options {
        Options { pins: Some(self.pins()), ..Options::default() }
    }

    /// Directories that are left.
    pub(crate) fn left(&self) -> Outcome<Vec<PathBuf>> {
        let left = fs::read_dir(&self.0).during("read what is pinned")?.flatten();
        Ok(left.map(|entry| entry.path()).filter(|path| path.is_dir()).collect())
    }
}

impl Drop for PinPlace {
    fn drop(&mut self) {
        let _ = unmount(&self.0, UnmountFlags::DETACH);
    }
}
