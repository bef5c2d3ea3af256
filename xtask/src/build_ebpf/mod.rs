//! Builds the kernel object, once for each state of its sources.
//!
//! Shared: `cargo xtask build-ebpf` calls it, and `agent/build.rs` includes this directory by path, so that
//! `cargo build` and `xtask` can never disagree. Hence std, `sha2` and `thiserror` alone. aya-build was looked at: it
//! knows rustup's nightly only and builds into each `OUT_DIR`, compiling `core` again for each profile.
//!
//! Below the target directory:
//!
//! | path | what |
//! |---|---|
//! | `ebpf/<hash>/agent-ebpf` | the object of one state of the sources; renamed into place, so whole or absent |
//! | `ebpf/<hash>/agent-ebpf-without-lsm` | the same without LSM programs and their maps |
//! | `ebpf/<hash>/agent-ebpf-for-5-10` | the latter for kernels from 5.10 on that lack something of 5.17 |
//! | `ebpf/work/` | the inner cargo's own target directory, where `core` is compiled once |

mod sources;
pub(crate) mod toolchain;

use std::ffi::OsString;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::SystemTime;

use toolchain::{Missing, Toolchain};

/// What to build, and where to keep it.
pub(crate) struct Request<'a> {
    /// Workspace root.
    pub(crate) root: &'a Path,
    /// The workspace's target directory.
    pub(crate) target_dir: &'a Path,
    /// Architecture of the kernel that will run the object, as Rust names it (`x86_64`): register layouts differ.
    pub(crate) arch: &'a str,
    /// Let the compiler write to this process's stderr; otherwise it is kept for [`Error::Compile`].
    pub(crate) show: bool,
}

/// A built object.
pub(crate) struct Object {
    /// Absolute path of the ELF file.
    pub(crate) path: PathBuf,
    /// The toolchain that was asked for its version; the object is stale when it changes.
    pub(crate) toolchain: Toolchain,
}

/// Why there is no object.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// No toolchain; the remedy is one command.
    #[error("{0}. Run `cargo xtask setup`: it installs what is missing")]
    Missing(#[from] Missing),
    /// A source could not be read or the object not be kept.
    #[error("building the kernel programs: cannot {doing} {}: {source}", path.display())]
    Io {
        /// What was tried.
        doing: &'static str,
        /// On what.
        path: PathBuf,
        /// Why it failed.
        source: std::io::Error,
    },
    /// The compiler or the linker refused.
    #[error("the kernel programs do not build ({status}){}", tail(output))]
    Compile {
        /// How the inner cargo ended.
        status: std::process::ExitStatus,
        /// What it wrote, when it was not shown.
        output: String,
    },
    /// Somebody is typing.
    #[error(
        "the sources of the kernel programs changed during each of {ATTEMPTS} builds: build again once they rest"
    )]
    Restless,
}

impl Error {
    fn io(doing: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io { doing, path, source }
    }
}

/// How often a build is repeated because a source changed under it.
const ATTEMPTS: usize = 3;
/// How many lines of the compiler an error carries: its first error is near the end of what it writes.
const TAIL_LINES: usize = 60;
/// Flags of the inner rustc.
///
/// `--btf` and debug information give the kernel type information, without which no ring of programs loads. `v3` has
/// the atomic instructions that per-CPU counters need: tracing programs can be preempted.
/// The linker's default is to keep copies recognisable to drivers that look for them (`-bpf-expand-memcpy-in-order`):
/// LLVM then expands no memset and no memmove, and each is a call that loops over bytes.
const FLAGS: [&str; 4] =
    ["-Cdebuginfo=2", "-Clink-arg=--btf", "-Clink-arg=--disable-expand-memcpy-in-order", "-Ctarget-cpu=v3"];
/// The profile is stated here and not taken from the workspace, whose release profile serves userspace.
const PROFILE: [(&str, &str); 6] = [
    ("CARGO_PROFILE_RELEASE_OPT_LEVEL", "3"),
    ("CARGO_PROFILE_RELEASE_CODEGEN_UNITS", "1"),
    ("CARGO_PROFILE_RELEASE_DEBUG", "2"),
    ("CARGO_PROFILE_RELEASE_LTO", "false"),
    ("CARGO_PROFILE_RELEASE_OVERFLOW_CHECKS", "false"),
    ("CARGO_PROFILE_RELEASE_PANIC", "abort"),
];

/// The object for kernels that refuse the maps of LSM programs, beside the whole one.
pub(crate) fn without_lsm(object: &Path) -> PathBuf {
    object.with_file_name("agent-ebpf-without-lsm")
}

/// The object for kernels from 5.10 on that lack something of 5.17, beside the whole one.
pub(crate) fn for_5_10(object: &Path) -> PathBuf {
    object.with_file_name("agent-ebpf-for-5-10")
}

/// Returns the object for the sources as they are now, building it if this state was never built.
pub(crate) fn ensure(request: &Request<'_>) -> Result<Object, Error> {
    let toolchain = Toolchain::find()?;
    for _ in 0..ATTEMPTS {
        let hash = sources::hash(request, &toolchain)?;
        let path = request.target_dir.join("ebpf").join(&hash).join("agent-ebpf");
        if path.is_file() {
            return Ok(Object { path, toolchain });
        }
        let built = compile(request, &toolchain)?;
        if sources::hash(request, &toolchain)? == hash {
            // The one whose presence says that all are there comes last.
            keep(&without_lsm(&built), &without_lsm(&path))?;
            keep(&for_5_10(&built), &for_5_10(&path))?;
            keep(&built, &path)?;
            return Ok(Object { path, toolchain });
        }
    }
    Err(Error::Restless)
}

fn compile(request: &Request<'_>, toolchain: &Toolchain) -> Result<PathBuf, Error> {
    let work = request.target_dir.join("ebpf").join("work");
    let mut cargo = Command::new(&toolchain.cargo);
    for (name, _) in std::env::vars_os().filter(|(name, _)| belongs_to_outer_cargo(&name.to_string_lossy())) {
        cargo.env_remove(name);
    }
    cargo
        .args(["build", "--release", "--locked", "-Zbuild-std=core", "--target", "bpfel-unknown-none"])
        .arg("--manifest-path")
        .arg(request.root.join("agent-ebpf/Cargo.toml"))
        .arg("--target-dir")
        .arg(&work)
        .current_dir(request.root)
        .env("RUSTC", &toolchain.rustc)
        // A distribution's compiler is a stable one; `-Zbuild-std` is not. On nightly this changes nothing.
        .env("RUSTC_BOOTSTRAP", "1")
        .env("CARGO_ENCODED_RUSTFLAGS", flags(request))
        .env("PATH", path_with(&toolchain.linker))
        .envs(PROFILE)
        .stdin(Stdio::null());
    if request.show {
        eprintln!("Building the kernel programs (the first time with `core`: about 2 minutes) …");
        cargo.stdout(Stdio::inherit()).stderr(Stdio::inherit());
    }
    let output = cargo.output().map_err(Error::io("start", &toolchain.cargo))?;
    if !output.status.success() {
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        return Err(Error::Compile { status: output.status, output: text });
    }
    Ok(work.join("bpfel-unknown-none/release/agent-ebpf"))
}

/// Variables that speak to the cargo which runs us, not to the one which we run. Where its home is, how it reaches
/// the registries and the job server (so that both together keep to `--jobs`) hold for both.
fn belongs_to_outer_cargo(name: &str) -> bool {
    const SHARED: [&str; 7] = [
        "CARGO_HOME",
        "CARGO_HTTP_",
        "CARGO_MAKEFLAGS",
        "CARGO_NET_",
        "CARGO_REGISTR",
        "CARGO_SOURCE_",
        "CARGO_TERM_",
    ];
    let cargo =
        name == "CARGO" || name.starts_with("CARGO_") || name.starts_with("RUSTC") || name == "RUSTFLAGS";
    cargo && !SHARED.iter().any(|shared| name.starts_with(shared))
}

fn flags(request: &Request<'_>) -> OsString {
    let mut flags = OsString::from(FLAGS.join("\u{1f}"));
    // aya-ebpf picks register layouts by this name; `remap` keeps this machine's paths out of the object.
    flags.push(format!("\u{1f}--cfg=bpf_target_arch=\"{}\"", request.arch));
    flags.push("\u{1f}--remap-path-prefix=");
    flags.push(request.root);
    flags.push("=.");
    flags
}

/// rustc calls `bpf-linker` by name, and cargo's bin directory need not be on root's `PATH`.
fn path_with(linker: &Path) -> OsString {
    let mut path = linker.parent().unwrap_or(Path::new("/")).as_os_str().to_owned();
    if let Some(inherited) = std::env::var_os("PATH") {
        path.push(":");
        path.push(inherited);
    }
    path
}

fn keep(built: &Path, path: &Path) -> Result<(), Error> {
    let dir = path.parent().unwrap_or(path);
    fs::create_dir_all(dir).map_err(Error::io("create", dir))?;
    let draft = dir.join(format!(".agent-ebpf.{}", std::process::id()));
    fs::copy(built, &draft).map_err(Error::io("copy", built))?;
    // The path says which state this is. A date of today would make cargo run `agent/build.rs` once more for nothing.
    let mark = |file: File| file.set_modified(SystemTime::UNIX_EPOCH);
    File::options().write(true).open(&draft).and_then(mark).map_err(Error::io("date", &draft))?;
    fs::rename(&draft, path).map_err(Error::io("rename", &draft))
}

fn tail(output: &str) -> String {
    let lines: Vec<&str> = output.lines().collect();
    let from = lines.len().saturating_sub(TAIL_LINES);
    lines.iter().skip(from).map(|line| format!("\n{line}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_inner_cargo_hears_nothing_of_the_outer_one() {
        for name in
            ["CARGO", "CARGO_TARGET_DIR", "CARGO_ENCODED_RUSTFLAGS", "RUSTFLAGS", "RUSTC_WORKSPACE_WRAPPER"]
        {
            assert!(belongs_to_outer_cargo(name), "{name}");
        }
        for name in
            ["CARGO_HOME", "CARGO_HTTP_PROXY", "CARGO_MAKEFLAGS", "PATH", "RUST_BACKTRACE", "RUSTUP_HOME"]
        {
            assert!(!belongs_to_outer_cargo(name), "{name}");
        }
    }

    #[test]
    fn an_error_carries_the_end_of_a_long_output() {
        let output: String = (0..500).map(|n| format!("line {n}\n")).collect();
        let tail = tail(&output);
        assert_eq!(tail.lines().count(), TAIL_LINES + 1);
        assert!(tail.ends_with("line 499"), "{tail}");
        assert!(!tail.contains("line 0\n"), "{tail}");
    }
}
