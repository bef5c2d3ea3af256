//! A proof with real programs in a guest: what it needs of the host, and how it is started.
//!
//! The guest's root is a Debian of its own (system.rs); at `/telltale` it has the proof's script as the checkout has it, the
//! agent, and what the script has fetched from a registry, on the host, since a guest has no network.

use std::{
    fs::{self, File},
    io,
    os::{fd::AsRawFd, unix::fs::symlink},
    path::{Path, PathBuf},
    process,
    time::Duration,
};

use walkdir::WalkDir;

use super::{
    BootSpec, Disks, GuestExit, Series, VmError, boot,
    cache::Cache,
    image,
    progress::Progress,
    system,
    tools::{self, BASH},
};
use crate::{real::Real, workspace::Workspace};

/// Where the guest has the checkout's files.
const GUEST: &str = "/telltale";
/// Memory of its machine: an AI agent has hundreds of MiB in it, its program's file as many more.
const MEMORY_MIB: u32 = 3072;
/// How much longer than on a host anything may take in an emulator: a program's start takes 10 to 30 times as long.
const SLOWNESS: &str = "20";
/// Unless told otherwise, a proof that runs longer is ended.
pub(super) const TIME_LIMIT: Duration = Duration::from_secs(3_600);

/// A proof in a machine of its own.
#[derive(Clone, Debug)]
pub(crate) struct ProofSpec {
    /// Which.
    pub(crate) real: Real,
    /// With which kernel.
    pub(crate) kernel: Series,
    /// Whether `bpf` is among the security modules.
    pub(crate) bpf_lsm: bool,
    /// The agent, static.
    pub(crate) agent: PathBuf,
    /// Ended when it runs longer.
    pub(crate) time_limit: Duration,
    /// Pass its output on to standard output; it is saved in any case.
    pub(crate) echo: bool,
}

impl ProofSpec {
    /// An ordinary one.
    pub(crate) fn new(real: Real, kernel: Series, agent: PathBuf) -> Self {
        Self { real, kernel, bpf_lsm: true, agent, time_limit: TIME_LIMIT, echo: true }
    }
}

/// Runs it to its end.
///
/// # Errors
/// As [`boot()`]; and where what it needs cannot be fetched or laid out. A proof that does not hold, or cannot run, is no error:
/// see [`GuestExit::status`].
pub(crate) fn prove(spec: &ProofSpec) -> Result<GuestExit, VmError> {
    let workspace = Workspace::find();
    let packages = if spec.real.fetches() { Some(fetch(spec.real, &workspace)?) } else { None };
    let progress = Progress::new();
    let disks = disks(spec, &workspace, packages.as_deref(), &progress);
    progress.finish();
    let (system, files) = disks?;
    let path = PathBuf::from(format!("/proc/{}/fd/{}", process::id(), files.as_raw_fd()));
    let script = format!("{GUEST}/{}", spec.real.script());
    let variables = [
        format!("TELLTALE={GUEST}/telltale"),
        format!("CARGO_TARGET_DIR={GUEST}/target"),
        format!("TELLTALE_PROOF_SLOWNESS={SLOWNESS}"),
    ];
    let command = ["env".to_owned()].into_iter().chain(variables).chain(["bash".to_owned(), script]);
    boot(&BootSpec {
        bpf_lsm: spec.bpf_lsm,
        memory_mib: MEMORY_MIB,
        time_limit: spec.time_limit,
        disks: Some(Disks { system, files: path }),
        echo: spec.echo,
        ..BootSpec::new(spec.kernel, command.collect())
    })
}

/// What its script takes from a registry; the directory.
fn fetch(real: Real, workspace: &Workspace) -> Result<PathBuf, VmError> {
    let mut script = BASH.command()?;
    script.arg(workspace.root.join(real.script())).arg("fetch");
    script.current_dir(&workspace.root).env("CARGO_TARGET_DIR", &workspace.target);
    let said = tools::output(&mut script, "fetch what a proof starts")?;
    let said = String::from_utf8_lossy(&said);
    Ok(PathBuf::from(said.lines().last().unwrap_or_default()))
}

/// The system's disk, and that of [`GUEST`]: a file without a name, of which nothing stays, however this process ends.
fn disks(
    spec: &ProofSpec,
    workspace: &Workspace,
    packages: Option<&Path>,
    progress: &Progress,
) -> Result<(PathBuf, File), VmError> {
    let cache = Cache::open()?;
    let _lock = cache.lock()?;
    let system = system::disk(&cache, progress)?;
    progress.step(format!("laying out {}", spec.real));
    let scratch = cache.scratch(&cache.path("layers"))?;
    let tree = scratch.path().join("tree");
    for file in spec.real.files(workspace) {
        // All of them are the checkout's.
        let below = file.strip_prefix(&workspace.root).unwrap_or(&file);
        copy(&file, &tree.join(below))?;
    }
    copy(&spec.agent, &tree.join("telltale"))?;
    if let Some(packages) = packages {
        let name = packages.file_name().unwrap_or_default();
        copy(packages, &tree.join("target/packaging").join(name))?;
    }
    let image = scratch.path().join("files");
    image::make(&tree, &image)?;
    let files = File::open(&image).map_err(VmError::io("open", &image))?;
    Ok((system, files))
}

/// A file, or a directory with all below it; links stay links. One of regular files is a link of the file system where it can
/// be: nobody changes it.
fn copy(from: &Path, to: &Path) -> Result<(), VmError> {
    if let Some(parent) = to.parent() {
        fs::create_dir_all(parent).map_err(VmError::io("create", parent))?;
    }
    for entry in WalkDir::new(from) {
        let entry = entry.map_err(|error| VmError::io("look at", from)(error.into()))?;
        let kind = entry.file_type();
        let below = entry.path().strip_prefix(from).unwrap_or(entry.path());
        let target = if below.as_os_str().is_empty() { to.to_owned() } else { to.join(below) };
        let made = if kind.is_dir() {
            fs::create_dir(&target)
        } else if kind.is_symlink() {
            fs::read_link(entry.path()).and_then(|link| symlink(link, &target))
        } else {
            fs::hard_link(entry.path(), &target).or_else(|_| fs::copy(entry.path(), &target).map(drop))
        };
        match made {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists || !kind.is_dir() => {
                return Err(VmError::io("lay out", target)(error));
            }
            _ => {}
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_has_directories_files_and_links() {
        let dir = tempfile::tempdir().unwrap();
        let from = dir.path().join("from");
        fs::create_dir_all(from.join("lib")).unwrap();
        fs::write(from.join("lib/cli.js"), "x").unwrap();
        symlink("lib/cli.js", from.join("cli")).unwrap();
        let to = dir.path().join("deep/to");
        copy(&from, &to).unwrap();
        assert_eq!(fs::read_link(to.join("cli")).unwrap(), Path::new("lib/cli.js"));
        assert_eq!(fs::read_to_string(to.join("cli")).unwrap(), "x");
        copy(&from.join("lib/cli.js"), &dir.path().join("one")).unwrap();
        assert_eq!(fs::read_to_string(dir.path().join("one")).unwrap(), "x");
    }
}
