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
/// Archives are read in words of this many bytes.
const ARCHIVE_ALIGN_BYTES: usize = 4;

/// One archive being written. Paths are the guest's, absolute; parents are made as needed.
pub(super) struct Layer {
    out: BufWriter<File>,
    path: PathBuf,
    dirs: BTreeSet<String>,
}

impl Layer {
    /// Starts an archive at `path`, replacing what was there.
    pub(super) fn create(path: &Path) -> Result<Self, VmError> {
        let file = File::create(path).map_err(VmError::io("create", path))?;
        Ok(Self { out: BufWriter::new(file), path: path.to_owned(), dirs: BTreeSet::new() })
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

/// Lays `layers` end to end into a new file at `out_path`.
pub(super) fn concatenate(layers: &[&Path], out_path: &Path) -> Result<(), VmError> {
    let mut out = File::create(out_path).map_err(VmError::io("create", out_path))?;
    for layer in layers {
        let mut file = File::open(layer).map_err(VmError::io("open", *layer))?;
        let copied = io::copy(&mut file, &mut out).map_err(VmError::io("write", out_path))?;
        let over = usize::try_from(copied % ARCHIVE_ALIGN_BYTES as u64).unwrap_or_default();
        let padding = [0_u8; ARCHIVE_ALIGN_BYTES];
        let padding = if over == 0 { &[] } else { padding.get(over..).unwrap_or_default() };
        out.write_all(padding).map_err(VmError::io("write", out_path))?;
    }
    Ok(())
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
    fn a_layer_holds_what_was_put_in_and_its_parents_once() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("layer");
        let mut layer = Layer::create(&path).unwrap();
        layer.file("/etc/deep/hosts", 0o644, b"127.0.0.1 localhost\n").unwrap();
        layer.symlink("usr/bin", "/bin").unwrap();
        layer.file("/etc/other", 0o600, b"").unwrap();
        layer.device("/dev/console", 0o600, (5, 1)).unwrap();
        layer.finish().unwrap();

        let found = entries(&fs::read(&path).unwrap());
        let names: Vec<_> = found.iter().map(|(name, ..)| name.as_str()).collect();
        assert_eq!(names, ["etc", "etc/deep", "etc/deep/hosts", "bin", "etc/other", "dev", "dev/console"]);
        assert_eq!(found[2], ("etc/deep/hosts".into(), REGULAR | 0o644, b"127.0.0.1 localhost\n".to_vec()));
        assert_eq!(found[3], ("bin".into(), SYMLINK | 0o777, b"usr/bin".to_vec()));
    }

    #[test]
    fn layers_start_on_a_word() {
        let dir = tempfile::tempdir().unwrap();
        let (one, two, all) = (dir.path().join("1"), dir.path().join("2"), dir.path().join("all"));
        fs::write(&one, b"abcde").unwrap();
        fs::write(&two, b"wxyz").unwrap();
        concatenate(&[&one, &two], &all).unwrap();
        assert_eq!(fs::read(&all).unwrap(), b"abcde\0\0\0wxyz");
    }
}
