//! Programs that see other mounts than we do, and small file systems.

use std::ffi::CString;
use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use rustix::mount::{MountFlags, MountPropagationFlags, UnmountFlags, mount, mount_change, unmount};
use rustix::thread::{UnshareFlags, unshare_unsafe};

use crate::outcome::{During, Outcome, skipped};

/// What a program in a mount namespace of its own does not see.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Without {
    /// The directory is there, and empty.
    Covered,
    /// The file system is not mounted.
    Unmounted,
}

/// Has the command run in a mount namespace of its own, without what is in these directories.
pub(crate) fn without(command: &mut Command, how: Without, directories: &[PathBuf]) -> Outcome {
    let directories: Vec<CString> = directories
        .iter()
        .map(|directory| CString::new(directory.as_os_str().as_bytes()))
        .collect::<Result<_, _>>()?;
    let hide = move || -> io::Result<()> {
        // SAFETY: the child has one thread, and shares no descriptors or signals by it.
        unsafe { unshare_unsafe(UnshareFlags::NEWNS)? };
        mount_change(c"/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC)?;
        for directory in &directories {
            match how {
                Without::Covered => mount(c"none", directory, c"tmpfs", MountFlags::RDONLY, c"size=4k")?,
                Without::Unmounted => unmount(directory, UnmountFlags::DETACH)?,
            }
        }
        Ok(())
    };
    // SAFETY: system calls on strings made before; nothing is allocated.
    unsafe { command.pre_exec(hide) };
    Ok(())
}

/// Where a file system of a kind is mounted.
pub(crate) fn point(kind: &str) -> Outcome<PathBuf> {
    let mounts = fs::read_to_string("/proc/self/mounts").during("read the mounts")?;
    // The newest is the one that can be reached.
    let mut found = mounts.lines().rev().filter_map(|line| {
        let mut fields = line.split(' ').skip(1);
        let point = fields.next()?;
        (fields.next() == Some(kind)).then(|| PathBuf::from(point))
    });
    found.next().map_or_else(|| skipped(format!("{kind} is not mounted here")), Ok)
}

/// A small file system in memory, gone when dropped.
#[derive(Debug)]
pub(crate) struct Disk {
    directory: PathBuf,
}

impl Disk {
    /// Of so many KiB, on a new directory.
    pub(crate) fn of(directory: PathBuf, kib: u32) -> Outcome<Self> {
        fs::create_dir(&directory).during(directory.display())?;
        let options = CString::new(format!("size={kib}k,mode=755"))?;
        mount("tmpfs", &directory, "tmpfs", MountFlags::empty(), options.as_c_str())
            .during(format!("mount {}", directory.display()))?;
        Ok(Self { directory })
    }

    /// A file on it.
    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }

    /// Takes all room that is left.
    pub(crate) fn fill(&self) -> Outcome {
        let filler = fs::File::create(self.file("filler")).during("make a file")?;
        let block = [0_u8; 4096];
        loop {
            match io::Write::write(&mut &filler, &block) {
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::StorageFull => return Ok(()),
                Err(error) => return Err(error).during(format!("fill {}", self.directory.display())),
            }
        }
    }

    /// Names of what is on it.
    pub(crate) fn names(&self) -> Outcome<Vec<String>> {
        names(&self.directory)
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = unmount(&self.directory, UnmountFlags::DETACH);
        let _ = fs::remove_dir(&self.directory);
    }
}

fn names(directory: &Path) -> Outcome<Vec<String>> {
    let entries = fs::read_dir(directory).during(directory.display())?;
    Ok(entries.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned()).collect())
}

/// A hierarchy of cgroups of version 1 that has a name alone; unmounted when dropped.
pub(crate) struct Named {
    directory: tempfile::TempDir,
}

impl Named {
    /// Mounts the one of systemd's (`name=systemd`), which is made where there is none.
    ///
    /// # Errors
    /// Where this kernel has no version 1 (skipped).
    pub(crate) fn of_service_manager() -> Outcome<Self> {
        let directory = tempfile::tempdir().during("make a directory")?;
        match mount(c"cgroup", directory.path(), c"cgroup", MountFlags::empty(), c"none,name=systemd") {
            Ok(()) => Ok(Self { directory }),
            Err(error) => skipped(format!("this kernel mounts no cgroups of version 1: {error}")),
        }
    }

    /// Where it is mounted.
    pub(crate) fn path(&self) -> &Path {
        self.directory.path()
    }
}

impl Drop for Named {
    fn drop(&mut self) {
        // What holds it ends with the test.
        let _ = unmount(self.directory.path(), UnmountFlags::DETACH);
    }
}
