//! Debian's cloud kernels: fetched, unpacked and kept.

use std::{
    fmt, fs, io,
    path::{Path, PathBuf},
};

use sha2::{Digest, Sha256};

use super::{
    VmError,
    archive::{Archive, ArchiveKind, Release, Suite},
    cache::Cache,
    progress::Progress,
    tools::{self, DPKG_DEB},
};

/// A kernel series of the test matrix, oldest first (`clap::ValueEnum::value_variants` lists them).
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Series {
    /// Debian 11: the oldest that the agent is for.
    #[value(name = "5.10")]
    V5_10,
    /// Debian 12.
    #[value(name = "6.1")]
    V6_1,
    /// Debian 13.
    #[value(name = "6.12")]
    V6_12,
    /// The long-term series after it, from Debian's backports.
    #[value(name = "6.18")]
    V6_18,
    /// The newest of the backports.
    #[value(name = "7.3")]
    V7_3,
}

impl Series {
    /// Its name, as `--kernel` takes it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::V5_10 => "5.10",
            Self::V6_1 => "6.1",
            Self::V6_12 => "6.12",
            Self::V6_18 => "6.18",
            Self::V7_3 => "7.3",
        }
    }

    /// Where it is kept. The security suites always hold the newest build, and their index is small.
    pub(super) fn suite(self) -> Suite {
        match self {
            Self::V5_10 => Suite { archive: ArchiveKind::Security, name: "bullseye-security" },
            Self::V6_1 => Suite { archive: ArchiveKind::Security, name: "bookworm-security" },
            Self::V6_12 => Suite { archive: ArchiveKind::Security, name: "trixie-security" },
            Self::V6_18 | Self::V7_3 => Suite { archive: ArchiveKind::Main, name: "trixie-backports" },
        }
    }
}

impl fmt::Display for Series {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// An unpacked kernel package.
#[derive(Clone, Debug)]
pub(super) struct KernelImage {
    /// Debian package version, such as `6.1.192-2`.
    pub(super) version: String,
    /// Directory of the unpacked package, named by version and content.
    pub(super) dir: PathBuf,
    /// The bootable image.
    pub(super) vmlinuz: PathBuf,
    /// `…/lib/modules/RELEASE`.
    pub(super) modules: PathBuf,
}

/// The kernel of `series` from the cache, or from Debian when there is none or `update` asks for the newest.
/// The caller holds the cache's lock.
pub(super) fn obtain(
    series: Series,
    update: bool,
    cache: &Cache,
    progress: &Progress,
) -> Result<KernelImage, VmError> {
    let home = cache.path("kernels").join(series.name());
    let current = home.join("current");
    match fs::read_to_string(&current) {
        Ok(name) if !update => {
            if let Ok(image) = describe(home.join(name.trim())) {
                return Ok(image);
            }
        }
        Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(VmError::io("read", current)(e)),
        _ => {}
    }
    fs::create_dir_all(&home).map_err(VmError::io("create", &home))?;

    let apt = Archive::open(series, cache)?;
    progress.step(format!("kernel {series}: reading Debian's package index"));
    apt.update()?;
    let Release { version, packages } = apt.newest()?;
    progress.step(format!("kernel {series}: downloading {} {version}", packages.join(" and ")));
    let scratch = cache.scratch(&home)?;
    let debs = apt.download(&packages, scratch.path())?;
    let name = format!("{version}-{}", content_tag(&debs)?);
    let dir = home.join(&name);
    if !dir.exists() {
        progress.step(format!("kernel {series}: unpacking"));
        let tree = scratch.path().join("tree");
        for deb in &debs {
            tools::output(DPKG_DEB.command()?.arg("-x").arg(deb).arg(&tree), "unpack the kernel")?;
        }
        fs::rename(&tree, &dir).map_err(VmError::io("move into place", &dir))?;
    }
    let image = describe(dir)?;
    prune(&home, &name)?;
    fs::write(&current, &name).map_err(VmError::io("write", current))?;
    Ok(image)
}

/// Deletes all but the newest and the one before it, which a boot that started earlier may be about to read.
fn prune(home: &Path, newest: &str) -> Result<(), VmError> {
    let previous = fs::read_to_string(home.join("current")).unwrap_or_default();
    let entries = fs::read_dir(home).map_err(VmError::io("list", home))?;
    for entry in entries.flatten().filter(|entry| entry.path().join("boot").is_dir()) {
        let name = entry.file_name();
        if name != newest && name != previous.trim() {
            fs::remove_dir_all(entry.path()).map_err(VmError::io("delete", entry.path()))?;
        }
    }
    Ok(())
}

/// The first twelve digits of the packages' SHA-256.
fn content_tag(debs: &[PathBuf]) -> Result<String, VmError> {
    let mut hash = Sha256::new();
    for deb in debs {
        let mut file = fs::File::open(deb).map_err(VmError::io("open", deb))?;
        io::copy(&mut file, &mut hash).map_err(VmError::io("read", deb))?;
    }
    Ok(hash.finalize().iter().take(6).map(|byte| format!("{byte:02x}")).collect())
}

/// Finds the parts of an unpacked package. Modules are under `/lib` up to Debian 12, `/usr/lib` from 13.
fn describe(dir: PathBuf) -> Result<KernelImage, VmError> {
    let modules = match only_entry(&dir.join("usr/lib/modules"), "") {
        Ok(found) => found,
        Err(_) => only_entry(&dir.join("lib/modules"), "")?,
    };
    // From 7.1 the image lies beside the modules.
    let vmlinuz = match only_entry(&dir.join("boot"), "vmlinuz-") {
        Ok(found) => found,
        Err(_) => only_entry(&modules, "vmlinuz")?,
    };
    let name = dir.file_name().unwrap_or_default().to_string_lossy();
    let version = name.rsplit_once('-').map_or_else(|| name.to_string(), |(version, _)| version.to_owned());
    Ok(KernelImage { version, dir, vmlinuz, modules })
}

fn only_entry(dir: &Path, prefix: &str) -> Result<PathBuf, VmError> {
    let missing = || VmError::KernelLayout { what: format!("{prefix}*"), path: dir.to_owned() };
    fs::read_dir(dir)
        .map_err(|_| missing())?
        .flatten()
        .find(|entry| entry.file_name().to_string_lossy().starts_with(prefix))
        .map(|entry| entry.path())
        .ok_or_else(missing)
}
