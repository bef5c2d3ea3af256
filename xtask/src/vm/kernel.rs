//! Debian's cloud kernels: fetched, checked against the archive's key, unpacked and kept.
//!
//! The package lists have their own apt state under the cache, so that neither the host's sources nor its
//! lists change. apt verifies the index by Debian's keyring and the package by the index.

use std::{
    fmt, fs, io,
    path::{Path, PathBuf},
    process::Command,
};

use sha2::{Digest, Sha256};

use super::{
    VmError,
    cache::Cache,
    progress::Progress,
    tools::{self, APT_CACHE, APT_GET, DPKG_DEB},
};

const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";
/// In every suite this package depends on exactly one kernel, the suite's current one.
const META_PACKAGE: &str = "linux-image-cloud-amd64";

/// A kernel series of the test matrix, oldest first (`clap::ValueEnum::value_variants` lists them).
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Series {
    /// Debian 12.
    #[value(name = "6.1")]
    V6_1,
    /// Debian 13.
    #[value(name = "6.12")]
    V6_12,
}

impl Series {
    /// Its name, as `--kernel` takes it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::V6_1 => "6.1",
            Self::V6_12 => "6.12",
        }
    }

    /// The security suites always hold the newest build, and their index is small.
    fn suite(self) -> &'static str {
        match self {
            Self::V6_1 => "bookworm-security",
            Self::V6_12 => "trixie-security",
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

    let apt = Apt::prepare(series, cache)?;
    progress.step(format!("kernel {series}: reading Debian's package index"));
    apt.update()?;
    let (package, version) = apt.candidate()?;
    progress.step(format!("kernel {series}: downloading {package} {version}"));
    let scratch = cache.scratch(&home)?;
    let deb = apt.download(&package, &version, scratch.path())?;
    let name = format!("{version}-{}", content_tag(&deb)?);
    let dir = home.join(&name);
    if !dir.exists() {
        progress.step(format!("kernel {series}: unpacking"));
        let tree = scratch.path().join("tree");
        tools::output(DPKG_DEB.command()?.arg("-x").arg(&deb).arg(&tree), "unpack the kernel")?;
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

/// The first twelve digits of the package's SHA-256.
fn content_tag(deb: &Path) -> Result<String, VmError> {
    let mut file = fs::File::open(deb).map_err(VmError::io("open", deb))?;
    let mut hash = Sha256::new();
    io::copy(&mut file, &mut hash).map_err(VmError::io("read", deb))?;
    Ok(hash.finalize().iter().take(6).map(|byte| format!("{byte:02x}")).collect())
}

/// Finds the parts of an unpacked package. Modules are under `/lib` up to Debian 12, `/usr/lib` from 13.
fn describe(dir: PathBuf) -> Result<KernelImage, VmError> {
    let vmlinuz = only_entry(&dir.join("boot"), "vmlinuz-")?;
    let modules = match only_entry(&dir.join("usr/lib/modules"), "") {
        Ok(found) => found,
        Err(_) => only_entry(&dir.join("lib/modules"), "")?,
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

/// Where this machine's apt gets Debian's security updates: that archive has every supported suite's.
fn security_archive() -> Result<String, VmError> {
    let mut ask = APT_GET.command()?;
    ask.args(["indextargets", "--format", "$(RELEASE) $(REPO_URI)", "Created-By: Packages"]);
    let told = tools::output(&mut ask, "ask apt for its archives")?;
    security_archive_of(&String::from_utf8_lossy(&told)).ok_or(VmError::NoArchive)
}

/// Of lines `suite address`, the first address of a security suite.
fn security_archive_of(told: &str) -> Option<String> {
    let mut archives = told.lines().filter_map(|line| line.split_once(' '));
    archives.find(|(suite, _)| suite.ends_with("-security")).map(|(_, address)| address.to_owned())
}

/// apt with a state of its own.
struct Apt {
    series: Series,
    options: Vec<String>,
}

impl Apt {
    fn prepare(series: Series, cache: &Cache) -> Result<Self, VmError> {
        if !Path::new(KEYRING).is_file() {
            return Err(VmError::MissingTool { tool: KEYRING, package: "debian-archive-keyring" });
        }
        let home = cache.path("apt").join(series.name());
        for dir in ["lists/partial", "cache/archives/partial"] {
            let dir = home.join(dir);
            fs::create_dir_all(&dir).map_err(VmError::io("create", dir))?;
        }
        let sources = home.join("sources.list");
        let archive = security_archive()?;
        let line = format!("deb [arch=amd64 signed-by={KEYRING}] {archive} {} main\n", series.suite());
        fs::write(&sources, line).map_err(VmError::io("write", &sources))?;
        let status = home.join("status");
        fs::write(&status, "").map_err(VmError::io("write", &status))?;
        let home = home.display();
        let options = vec![
            format!("Dir::Etc::sourcelist={home}/sources.list"),
            "Dir::Etc::sourceparts=/dev/null".to_owned(),
            "Dir::Etc::preferences=/dev/null".to_owned(),
            "Dir::Etc::preferencesparts=/dev/null".to_owned(),
            format!("Dir::State::lists={home}/lists"),
            format!("Dir::State::status={home}/status"),
            format!("Dir::Cache={home}/cache"),
            "Acquire::Languages=none".to_owned(),
            "Acquire::Retries=3".to_owned(),
            "APT::Architecture=amd64".to_owned(),
            "APT::Architectures=amd64".to_owned(),
            // The unprivileged user that apt downloads as cannot write below a private target directory.
            "APT::Sandbox::User=root".to_owned(),
        ];
        Ok(Self { series, options })
    }

    fn with_options(&self, mut command: Command) -> Command {
        command.env("LC_ALL", "C");
        for option in &self.options {
            command.args(["-o", option]);
        }
        command
    }

    fn update(&self) -> Result<(), VmError> {
        let mut command = self.with_options(APT_GET.command()?);
        command.args(["--error-on=any", "update"]);
        tools::output(&mut command, "read Debian's package index (is the network there?)").map(drop)
    }

    /// Name and version of the suite's current kernel.
    fn candidate(&self) -> Result<(String, String), VmError> {
        let mut command = self.with_options(APT_CACHE.command()?);
        command.args(["--no-all-versions", "show", META_PACKAGE]);
        let shown = tools::output(&mut command, "ask for the current kernel")?;
        parse_candidate(&String::from_utf8_lossy(&shown), self.series).map_err(|found| VmError::NoKernel {
            series: self.series.name(),
            suite: self.series.suite(),
            found,
        })
    }

    fn download(&self, package: &str, version: &str, into: &Path) -> Result<PathBuf, VmError> {
        let mut command = self.with_options(APT_GET.command()?);
        command.current_dir(into).arg("download").arg(format!("{package}={version}"));
        tools::output(&mut command, "download the kernel")?;
        only_entry(into, "linux-image-")
    }
}

/// Reads `Depends: linux-image-6.1.0-56-cloud-amd64 (= 6.1.192-2)`; the error is what stood there instead.
fn parse_candidate(shown: &str, series: Series) -> Result<(String, String), String> {
    let depends = shown.lines().find_map(|line| line.strip_prefix("Depends: ")).unwrap_or("no dependency");
    let (package, rest) = depends.split_once(" (= ").ok_or(depends)?;
    let (version, _) = rest.split_once(')').ok_or(depends)?;
    if version.strip_prefix(series.name()).is_some_and(|rest| rest.starts_with('.')) {
        Ok((package.to_owned(), version.to_owned()))
    } else {
        Err(depends.to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_archive_is_the_one_of_security_updates() {
        let told =
            "bookworm http://mirror.example/debian/\nbookworm-security http://mirror.example/security/\n";
        assert_eq!(security_archive_of(told).as_deref(), Some("http://mirror.example/security/"));
        assert_eq!(security_archive_of("bookworm http://mirror.example/debian/\n"), None);
    }

    #[test]
    fn the_candidate_is_the_meta_packages_only_dependency() {
        let shown = "Package: linux-image-cloud-amd64\nVersion: 6.12.117-1\n\
                     Depends: linux-image-6.12.117+deb13-cloud-amd64 (= 6.12.117-1)\nSize: 1\n";
        assert_eq!(
            parse_candidate(shown, Series::V6_12),
            Ok(("linux-image-6.12.117+deb13-cloud-amd64".to_owned(), "6.12.117-1".to_owned()))
        );
        assert!(parse_candidate(shown, Series::V6_1).is_err(), "6.12 does not count as 6.1");
        assert_eq!(parse_candidate("", Series::V6_1), Err("no dependency".to_owned()));
        assert!(parse_candidate("Depends: a, b", Series::V6_1).is_err());
    }
}
