//! Debian's archives as they hold kernels: the newest build of a series, downloaded and checked.
//!
//! The package lists have their own apt state under the cache, so that neither the host's sources nor its
//! lists change. apt verifies the index by Debian's keyring and the packages by the index.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use super::{
    VmError,
    cache::Cache,
    kernel::Series,
    tools::{self, APT_CACHE, APT_GET, DPKG},
};

const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";
/// What a kernel is in: all in the first up to 7.0; its modules, its image and what is said of both apart after it.
const PARTS: [&str; 4] = ["image", "modules", "binary", "base"];
/// How the names of their packages end, whose kernels are small and made for virtual machines.
const FLAVOUR: &str = "-cloud-amd64";

/// One of the addresses that Debian publishes at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ArchiveKind {
    /// Releases and backports.
    Main,
    /// Security updates, of every supported release.
    Security,
}

/// A suite of an archive.
#[derive(Clone, Copy, Debug)]
pub(super) struct Suite {
    /// Where it is published.
    pub(super) archive: ArchiveKind,
    /// Such as `bookworm-security`.
    pub(super) name: &'static str,
}

/// A build of a kernel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Release {
    /// Debian package version, such as `6.1.192-2`.
    pub(super) version: String,
    /// The packages that it is in.
    pub(super) packages: Vec<String>,
}

/// The address of an archive, of lines `suite address` that tell what this machine's apt has.
fn address_of(archive: ArchiveKind, told: &str) -> Option<&str> {
    let mut known = told.lines().filter_map(|line| line.split_once(' '));
    let plain = |suite: &str| !suite.contains('-');
    known
        .find(|(suite, _)| match archive {
            ArchiveKind::Security => suite.ends_with("-security"),
            ArchiveKind::Main => plain(suite),
        })
        .map(|(_, address)| address)
}

/// The address of an archive, as this machine's apt has it.
pub(super) fn mirror(archive: ArchiveKind) -> Result<String, VmError> {
    let mut ask = APT_GET.command()?;
    ask.args(["indextargets", "--format", "$(RELEASE) $(REPO_URI)", "Created-By: Packages"]);
    let told = tools::output(&mut ask, "ask apt for its archives")?;
    let address = address_of(archive, &String::from_utf8_lossy(&told)).map(str::to_owned);
    address.ok_or(VmError::NoArchive { archive })
}

/// apt with a state of its own.
pub(super) struct Archive {
    series: Series,
    options: Vec<String>,
}

impl Archive {
    /// For the kernels of `series`.
    pub(super) fn open(series: Series, cache: &Cache) -> Result<Self, VmError> {
        if !Path::new(KEYRING).is_file() {
            return Err(VmError::MissingTool { tool: KEYRING, package: "debian-archive-keyring" });
        }
        let home = cache.path("apt").join(series.name());
        for dir in ["lists/partial", "cache/archives/partial"] {
            let dir = home.join(dir);
            fs::create_dir_all(&dir).map_err(VmError::io("create", dir))?;
        }
        let Suite { archive, name: suite } = series.suite();
        let address = mirror(archive)?;
        let sources = home.join("sources.list");
        let line = format!("deb [arch=amd64 signed-by={KEYRING}] {address} {suite} main\n");
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

    /// Reads the index anew.
    pub(super) fn update(&self) -> Result<(), VmError> {
        let mut command = self.with_options(APT_GET.command()?);
        command.args(["--error-on=any", "update"]);
        tools::output(&mut command, "read Debian's package index (is the network there?)").map(drop)
    }

    /// The newest build of the series.
    pub(super) fn newest(&self) -> Result<Release, VmError> {
        let mut command = self.with_options(APT_CACHE.command()?);
        command.args(["pkgnames", "linux-"]);
        let names = tools::output(&mut command, "list Debian's kernels")?;
        let names = String::from_utf8_lossy(&names);
        let none = || VmError::NoKernel { series: self.series.name(), suite: self.series.suite().name };
        let images = images_of(self.series.name(), &names);
        if images.is_empty() {
            return Err(none());
        }
        let mut command = self.with_options(APT_CACHE.command()?);
        command.args(["--no-all-versions", "show"]).args(&images);
        let shown = tools::output(&mut command, "ask for the kernels' versions")?;
        let mut newest: Option<(&str, &str)> = None;
        let shown = String::from_utf8_lossy(&shown);
        for (package, version) in versions(&shown) {
            if newest.is_none_or(|(_, best)| is_later(version, best)) {
                newest = Some((package, version));
            }
        }
        let (image, version) = newest.ok_or_else(none)?;
        Ok(Release { version: version.to_owned(), packages: parts_of(image, &names) })
    }

    /// Downloads packages, each to a file.
    pub(super) fn download(&self, packages: &[String], into: &Path) -> Result<Vec<PathBuf>, VmError> {
        let mut command = self.with_options(APT_GET.command()?);
        command.current_dir(into).arg("download").args(packages);
        tools::output(&mut command, "download the kernel")?;
        let files = fs::read_dir(into).map_err(VmError::io("list", into))?;
        let mut files: Vec<PathBuf> = files.flatten().map(|entry| entry.path()).collect();
        files.retain(|path| path.extension().is_some_and(|extension| extension == "deb"));
        files.sort();
        Ok(files)
    }
}

/// The packages of bootable images of a series, of all package names.
fn images_of<'a>(series: &str, names: &'a str) -> Vec<&'a str> {
    let is_of_series = |name: &&str| {
        let release = name.strip_prefix("linux-image-").and_then(|rest| rest.strip_suffix(FLAVOUR));
        release.and_then(|release| release.strip_prefix(series)).is_some_and(|rest| rest.starts_with('.'))
    };
    names.lines().filter(is_of_series).collect()
}

/// What the kernel of an image's package is in.
fn parts_of(image: &str, names: &str) -> Vec<String> {
    let release = image.strip_prefix("linux-image-").unwrap_or(image);
    let named = PARTS.map(|part| format!("linux-{part}-{release}"));
    named.into_iter().filter(|name| names.lines().any(|known| known == name)).collect()
}

/// Package and version of each paragraph.
fn versions(shown: &str) -> impl Iterator<Item = (&str, &str)> {
    shown.split("\n\n").filter_map(|paragraph| {
        let field = |name: &str| paragraph.lines().find_map(|line| line.strip_prefix(name));
        Some((field("Package: ")?, field("Version: ")?))
    })
}

/// Whether a package version is later than another, as Debian counts.
fn is_later(version: &str, than: &str) -> bool {
    DPKG.command().is_ok_and(|mut dpkg| {
        dpkg.args(["--compare-versions", version, "gt", than]);
        dpkg.status().is_ok_and(|status| status.success())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_archive_is_found_among_those_that_apt_has() {
        let told = "bookworm http://mirror.example/debian/\nbookworm-updates http://mirror.example/debian/\n\
                    bookworm-security http://mirror.example/security/\n";
        assert_eq!(address_of(ArchiveKind::Security, told), Some("http://mirror.example/security/"));
        assert_eq!(address_of(ArchiveKind::Main, told), Some("http://mirror.example/debian/"));
        assert_eq!(address_of(ArchiveKind::Security, "bookworm http://mirror.example/debian/\n"), None);
    }

    #[test]
    fn images_are_of_their_series_and_flavour_alone() {
        let names = "linux-image-6.1.0-56-cloud-amd64\nlinux-image-6.1.0-56-cloud-amd64-dbg\n\
                     linux-image-6.1.0-56-amd64\nlinux-image-6.12.117+deb13-cloud-amd64\n\
                     linux-image-6.1.0-56-cloud-amd64-unsigned\nlinux-image-6.1-cloud-amd64\n";
        assert_eq!(images_of("6.1", names), ["linux-image-6.1.0-56-cloud-amd64"]);
        assert_eq!(images_of("6.12", names), ["linux-image-6.12.117+deb13-cloud-amd64"]);
        assert!(images_of("5.10", names).is_empty());
    }

    #[test]
    fn a_newer_kernel_is_in_several_packages() {
        let names = "linux-modules-7.3.4-cloud-amd64\nlinux-image-7.3.4-cloud-amd64\n\
                     linux-binary-7.3.4-cloud-amd64\nlinux-image-6.1.0-56-cloud-amd64\n";
        let all = ["image", "modules", "binary"].map(|part| format!("linux-{part}-7.3.4-cloud-amd64"));
        assert_eq!(parts_of("linux-image-7.3.4-cloud-amd64", names), all);
        assert_eq!(parts_of("linux-image-6.1.0-56-cloud-amd64", names), ["linux-image-6.1.0-56-cloud-amd64"]);
    }

    #[test]
    fn versions_are_read_and_compared_as_debian_counts() {
        let shown = "Package: a\nSize: 1\nVersion: 6.1.9-1\n\nPackage: b\nVersion: 6.1.10-1~bpo1\n";
        assert_eq!(versions(shown).collect::<Vec<_>>(), [("a", "6.1.9-1"), ("b", "6.1.10-1~bpo1")]);
        assert!(is_later("6.1.10-1", "6.1.9-1"));
        assert!(is_later("6.1.10-1", "6.1.10-1~bpo1"));
        assert!(!is_later("6.1.9-1", "6.1.9-1"));
    }
}
