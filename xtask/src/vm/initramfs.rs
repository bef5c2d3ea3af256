//! Initramfs archives ("newc" cpio, the only form the kernel reads), written in layers.
//!
//! The kernel unpacks any number of archives laid end to end, later files over earlier ones
//! (Documentation/driver-api/early-userspace/buffer-format.rst). So what seldom changes is packed once and kept,
//! and a run only adds its own binaries and command. Left uncompressed: under emulation reading is cheaper than
//! unpacking.

use std::{
    collections::BTreeSet,
    fs::{self, File},
    io::{self, BufWriter, Write},
    path::{Path, PathBuf},
};

use cpio::newc;

use super::VmError;

const DIRECTORY: u32 = 0o040_000;
const REGULAR: u32 = 0o100_000;
const SYMLINK: u32 = 0o120_000;
const CHARACTER_DEVICE: u32 = 0o020_000;

/// One archive being written. Paths are the guest's, absolute; parents are made as needed.
pub(super) struct Layer<'a> {
    out: BufWriter<&'a File>,
    path: PathBuf,
    dirs: BTreeSet<String>,
}

impl<'a> Layer<'a> {
    /// Starts an archive where `out` stands; errors name it `path`.
    pub(super) fn new(out: &'a File, path: &Path) -> Self {
        Self { out: BufWriter::new(out), path: path.to_owned(), dirs: BTreeSet::new() }
    }

    /// A file holding `content`.
    pub(super) fn file(&mut self, guest: &str, mode: u32, content: &[u8]) -> Result<(), VmError> {
        self.parents(guest)?;
        self.entry(guest, REGULAR | mode, (0, 0), content)
    }

    /// A copy of the host's file.
    pub(super) fn copy(&mut self, host: &Path, guest: &str, mode: u32) -> Result<(), VmError> {
        let content = fs::read(host).map_err(VmError::io("read", host))?;
        self.file(guest, mode, &content)
    }

    /// A symbolic link to `target`.
    pub(super) fn symlink(&mut self, target: &str, guest: &str) -> Result<(), VmError> {
        self.parents(guest)?;
        self.entry(guest, SYMLINK | 0o777, (0, 0), target.as_bytes())
    }

    /// A character device.
    pub(super) fn device(&mut self, guest: &str, mode: u32, number: (u32, u32)) -> Result<(), VmError> {
        self.parents(guest)?;
        self.entry(guest, CHARACTER_DEVICE | mode, number, b"")
    }

    /// Ends the archive.
    pub(super) fn finish(mut self) -> Result<(), VmError> {
        newc::trailer(&mut self.out).map_err(VmError::io("write", &self.path))?;
        self.out.flush().map_err(VmError::io("write", &self.path))
    }

    fn parents(&mut self, guest: &str) -> Result<(), VmError> {
        let parents: Vec<String> = Path::new(guest)
            .ancestors()
            .skip(1)
            .filter(|dir| dir.parent().is_some())
            .map(|dir| dir.to_string_lossy().into_owned())
            .collect();
        for dir in parents.into_iter().rev() {
            if self.dirs.insert(dir.clone()) {
                self.entry(&dir, DIRECTORY | 0o755, (0, 0), b"")?;
            }
        }
        Ok(())
    }

    fn entry(
        &mut self,
        guest: &str,
        mode: u32,
        (major, minor): (u32, u32),
        content: &[u8],
    ) -> Result<(), VmError> {
        let size = u32::try_from(content.len())
            .map_err(|e| VmError::io("pack (4 GiB is this format's limit)", guest)(io::Error::other(e)))?;
        let builder =
            newc::Builder::new(guest.trim_start_matches('/')).mode(mode).rdev_major(major).rdev_minor(minor);
        let mut writer = builder.write(&mut self.out, size);
        let written = writer.write_all(content).and_then(|()| writer.finish().map(drop));
        written.map_err(VmError::io("write", &self.path))
    }
}

/// Lays the archive at `layer` behind what `out` holds. Every archive written here ends on a word of four bytes,
/// where the kernel looks for the next.
pub(super) fn append(layer: &Path, out: &mut File) -> Result<(), VmError> {
    let mut file = File::open(layer).map_err(VmError::io("open", layer))?;
    io::copy(&mut file, out).map(drop).map_err(VmError::io("copy", layer))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entries(mut bytes: &[u8]) -> Vec<(String, u32, Vec<u8>)> {
        let mut found = Vec::new();
        loop {
            let reader = newc::Reader::new(bytes).unwrap();
            if reader.entry().is_trailer() {
                return found;
            }
            let (name, mode) = (reader.entry().name().to_owned(), reader.entry().mode());
            let mut content = Vec::new();
            bytes = reader.to_writer(&mut content).unwrap();
            found.push((name, mode, content));
        }
    }

    #[test]
    fn layers_laid_end_to_end_hold_what_was_put_in_and_parents_once() {
        let dir = tempfile::tempdir().unwrap();
        let (one, all) = (dir.path().join("one"), dir.path().join("all"));
        let file = File::create(&one).unwrap();
        let mut layer = Layer::new(&file, &one);
        layer.file("/etc/deep/hosts", 0o644, b"127.0.0.1 localhost\n").unwrap();
        layer.symlink("usr/bin", "/bin").unwrap();
        layer.file("/etc/other", 0o600, b"").unwrap();
        layer.device("/dev/console", 0o600, (5, 1)).unwrap();
        layer.finish().unwrap();

        let mut file = File::create(&all).unwrap();
        append(&one, &mut file).unwrap();
        let mut layer = Layer::new(&file, &all);
        layer.file("/init", 0o755, b"odd").unwrap();
        layer.finish().unwrap();

        let bytes = fs::read(&all).unwrap();
        let (first, second) = bytes.split_at(fs::metadata(&one).unwrap().len() as usize);
        assert_eq!((first.len() % 4, second.len() % 4), (0, 0));
        let found = entries(first);
        let names: Vec<_> = found.iter().map(|(name, ..)| name.as_str()).collect();
        assert_eq!(names, ["etc", "etc/deep", "etc/deep/hosts", "bin", "etc/other", "dev", "dev/console"]);
        assert_eq!(found[2], ("etc/deep/hosts".into(), REGULAR | 0o644, b"127.0.0.1 localhost\n".to_vec()));
        assert_eq!(found[3], ("bin".into(), SYMLINK | 0o777, b"usr/bin".to_vec()));
        assert_eq!(entries(second), [("init".into(), REGULAR | 0o755, b"odd".to_vec())]);
    }
}
