//! File systems to act on: ext4, overlay and tmpfs, as they are or made for the run.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use rustix::fs::statfs;
use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};

use super::child::{self, Captured};
use super::setting::LIMIT;
use crate::outcome::{During, Outcome, failed, skipped};

/// Magic numbers of linux/magic.h.
const EXT4: u64 = 0xef53;
const OVERLAY: u64 = 0x794c_7630;
const TMPFS: u64 = 0x0102_1994;

/// A file system of a kind.
#[derive(Debug)]
pub(crate) struct Place {
    /// `ext4`, `overlay` or `tmpfs`.
    pub(crate) name: &'static str,
    /// A directory of our own on it, or why there is none.
    pub(crate) directory: Result<PathBuf, String>,
}

/// All of them. Dropped, what was mounted is unmounted and what was made is removed.
#[derive(Debug, Default)]
pub(crate) struct Places {
    places: Vec<Place>,
    mounted: Vec<PathBuf>,
    made: Vec<PathBuf>,
}

impl Places {
    /// Finds or makes them; `scratch` is a directory of the run.
    pub(crate) fn prepare(scratch: &Path) -> Self {
        let mut places = Self::default();
        let ext4 = places.ext4(scratch);
        let overlay = places.overlay(scratch, ext4.as_deref().ok());
        let tmpfs = places.tmpfs(scratch);
        for (name, directory) in [("ext4", ext4), ("overlay", overlay), ("tmpfs", tmpfs)] {
            places.places.push(Place { name, directory });
        }
        places
    }

    /// All that there could be.
    pub(crate) fn all(&self) -> &[Place] {
        &self.places
    }

    /// A directory on the file system of that name.
    ///
    /// # Errors
    /// Skips where there is none.
    pub(crate) fn get(&self, name: &str) -> Outcome<&Path> {
        match self.places.iter().find(|place| place.name == name).map(|place| &place.directory) {
            Some(Ok(directory)) => Ok(directory),
            Some(Err(reason)) => skipped(format!("no {name}: {reason}")),
            None => skipped(format!("no {name}")),
        }
    }

    fn ext4(&mut self, scratch: &Path) -> Result<PathBuf, String> {
        for candidate in [Path::new("/mnt/ext4"), scratch, Path::new("/var/tmp"), Path::new("/")] {
            if is(candidate, EXT4) {
                return self.own(candidate, "ext4", scratch);
            }
        }
        let (image, target) = (scratch.join("ext4.img"), scratch.join("loop"));
        let made = (|| -> Outcome {
            fs::File::create(&image)?.set_len(64 << 20)?;
            fs::create_dir(&target)?;
            let made = Captured::start(
                Command::new(child::find("mke2fs")?).args(["-q", "-F", "-t", "ext4"]).arg(&image),
            );
            made?.finish(LIMIT)?.well()?;
            Captured::start(
                Command::new(child::find("mount")?).args(["-o", "loop"]).args([&image, &target]),
            )?
            .finish(LIMIT)?
            .well()?;
            Ok(())
        })();
        made.map_err(|verdict| format!("{verdict:?}"))?;
        self.mounted.push(target.clone());
        self.own(&target, "ext4", scratch)
    }

    fn overlay(&mut self, scratch: &Path, ext4: Option<&Path>) -> Result<PathBuf, String> {
        if is(Path::new("/mnt/overlay"), OVERLAY) {
            return self.own(Path::new("/mnt/overlay"), "overlay", scratch);
        }
        let layers = ext4.ok_or("it would need ext4 below")?.join("layers");
        let target = scratch.join("overlay");
        let [lower, upper, work] = ["lower", "upper", "work"].map(|name| layers.join(name));
        for directory in [&layers, &lower, &upper, &work, &target] {
            fs::create_dir(directory).map_err(|error| format!("{}: {error}", directory.display()))?;
        }
        let options =
            format!("lowerdir={},upperdir={},workdir={}", lower.display(), upper.display(), work.display());
        self.mount("overlay", &target, &options)?;
        self.own(&target, "overlay", scratch)
    }

    fn tmpfs(&mut self, scratch: &Path) -> Result<PathBuf, String> {
        if is(Path::new("/mnt/tmpfs"), TMPFS) {
            return self.own(Path::new("/mnt/tmpfs"), "tmpfs", scratch);
        }
        let target = scratch.join("tmpfs");
        fs::create_dir(&target).map_err(|error| error.to_string())?;
        self.mount("tmpfs", &target, "mode=755")?;
        self.own(&target, "tmpfs", scratch)
    }

    fn mount(&mut self, kind: &str, target: &Path, options: &str) -> Result<(), String> {
        let options = std::ffi::CString::new(options).map_err(|error| error.to_string())?;
        mount(kind, target, kind, MountFlags::empty(), options.as_c_str())
            .map_err(|error| format!("mount {kind} on {}: {error}", target.display()))?;
        self.mounted.push(target.to_owned());
        Ok(())
    }

    /// A directory of our own below `parent`, which may be shared.
    fn own(&mut self, parent: &Path, name: &str, scratch: &Path) -> Result<PathBuf, String> {
        let run = scratch.file_name().unwrap_or_default().to_string_lossy();
        let path = parent.join(format!("{run}-{name}"));
        fs::create_dir(&path)
            .and_then(|()| fs::set_permissions(&path, Permissions::from_mode(0o755)))
            .and_then(|()| fs::canonicalize(&path))
            .inspect(|path| self.made.push(path.clone()))
            .map_err(|error| format!("{}: {error}", path.display()))
    }
}

impl Drop for Places {
    fn drop(&mut self) {
        // Overlays first: they hold what is below.
        for path in self.made.iter().rev() {
            let _ = fs::remove_dir_all(path);
        }
        for path in self.mounted.iter().rev() {
            let _ = unmount(path, UnmountFlags::DETACH);
        }
    }
}

fn is(path: &Path, magic: u64) -> bool {
    statfs(path).is_ok_and(|found| u64::try_from(found.f_type).ok() == Some(magic))
}

/// Makes a file, and the directories above it. It is written under a harmless name and then moved: whoever opens a
/// credential to write it is told of too.
pub(crate) fn write(path: &Path, content: &str) -> Outcome {
    let what = || format!("make {}", path.display());
    let Some(parent) = path.parent() else { return failed(what()) };
    fs::create_dir_all(parent).during(what())?;
    let aside = parent.parent().unwrap_or(parent).join("written-aside");
    fs::write(&aside, content).during(what())?;
    fs::rename(&aside, path).during(what())
}
