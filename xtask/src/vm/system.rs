//! A Debian of the guest's own, with the real programs that proofs start: fetched once for each state of this file.
//!
//! It is another release than most hosts have, so that proofs meet other versions of sshd, cron, podman, … in guests than on
//! the host. No file of the host is in it.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use sha2::{Digest, Sha256};

use super::{
    VmError,
    archive::{ArchiveKind, mirror},
    cache::Cache,
    image,
    progress::Progress,
    tools::{self, CHROOT, DEBOOTSTRAP},
};

const SUITE: &str = "trixie";
/// What proofs name, by `need` in their scripts, beside what every Debian has.
const PACKAGES: [&str; 23] = [
    "anacron",
    "at",
    "binutils",
    "busybox-static",
    "ca-certificates",
    "containerd",
    "cron",
    "curl",
    "docker.io",
    "iproute2",
    "login",
    "nodejs",
    "openssh-client",
    "openssh-server",
    "openssl",
    "podman",
    "procps",
    "python3-pip",
    "rpm",
    "runc",
    "sudo",
    "systemd",
    "tmux",
];
/// What nobody reads in a guest.
const LEFT_OUT: [&str; 7] = [
    "usr/share/doc",
    "usr/share/info",
    "usr/share/locale",
    "usr/share/man",
    "var/cache/apt",
    "var/lib/apt/lists",
    "var/log",
];
/// Named so by whoever starts services at their packages' installation; 101 forbids it.
const NO_SERVICES: (&str, &str) = ("usr/sbin/policy-rc.d", "#!/bin/sh\nexit 101\n");
const FILES: [(&str, &str); 2] =
    [("etc/hosts", "127.0.0.1 localhost guest\n::1 localhost\n"), ("etc/hostname", "guest\n")];

/// The system's disk, made now if there is none yet. The caller holds the cache's lock.
pub(super) fn disk(cache: &Cache, progress: &Progress) -> Result<PathBuf, VmError> {
    let home = cache.path("systems");
    let path = home.join(format!("{SUITE}-{}.ext4", recipe()));
    if path.is_file() {
        return Ok(path);
    }
    progress.step(format!("fetching a Debian with what proofs start ({SUITE}; some minutes)"));
    let scratch = cache.scratch(&home)?;
    let root = scratch.path().join("root");
    install(&root)?;
    let fresh = scratch.path().join("image");
    image::make(&root, &fresh)?;
    for old in fs::read_dir(&home).map_err(VmError::io("list", &home))?.flatten().map(|entry| entry.path()) {
        if old.extension().is_some_and(|extension| extension == "ext4") {
            fs::remove_file(&old).map_err(VmError::io("delete", &old))?;
        }
    }
    fs::rename(&fresh, &path).map_err(VmError::io("move into place", &path))?;
    Ok(path)
}

fn recipe() -> String {
    let hash = Sha256::digest(include_str!("system.rs"));
    hash.iter().take(6).map(|byte| format!("{byte:02x}")).collect()
}

fn install(root: &Path) -> Result<(), VmError> {
    let mut debootstrap = DEBOOTSTRAP.command()?;
    debootstrap.args(["--variant=minbase", SUITE]).arg(root).arg(mirror(ArchiveKind::Main)?);
    tools::output(&mut debootstrap, "fetch a Debian")?;
    write(root, NO_SERVICES)?;
    let forbids = root.join(NO_SERVICES.0);
    tools::output(Command::new("chmod").arg("755").arg(&forbids), "forbid services to start")?;
    let mut install = CHROOT.command()?;
    install.arg(root).args(["apt-get", "install", "--yes", "--no-install-recommends"]).args(PACKAGES);
    install.env("DEBIAN_FRONTEND", "noninteractive").env("LC_ALL", "C");
    install.env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin");
    tools::output(&mut install, "install what proofs start")?;
    for path in LEFT_OUT.map(|path| root.join(path)) {
        fs::remove_dir_all(&path).map_err(VmError::io("delete", &path))?;
        fs::create_dir(&path).map_err(VmError::io("create", &path))?;
    }
    FILES.into_iter().try_for_each(|file| write(root, file))
}

fn write(root: &Path, (path, content): (&str, &str)) -> Result<(), VmError> {
    let path = root.join(path);
    fs::write(&path, content).map_err(VmError::io("write", path))
}
