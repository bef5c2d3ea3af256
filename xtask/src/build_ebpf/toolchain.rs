//! Finds a compiler that can build `core` for BPF, and the linker for it, by looking and never by asking for a channel.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Command;

/// What the workspace's `rust-version` asks for.
const OLDEST_RUSTC: (u32, u32) = (1, 88);
/// Reads the bitcode of every LLVM up to the one it is linked against.
const OLDEST_LINKER: (u32, u32) = (0, 13);

/// What is not on this machine.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Missing {
    /// No compiler with the source of `core` beside it.
    #[error("no rustc from {}.{} on with the standard library's source beside it (looked in {looked})", OLDEST_RUSTC.0, OLDEST_RUSTC.1)]
    Compiler {
        /// Installation prefixes that were looked at.
        looked: String,
    },
    /// No linker for BPF.
    #[error("no bpf-linker from {}.{} on ({found})", OLDEST_LINKER.0, OLDEST_LINKER.1)]
    Linker {
        /// What was there instead.
        found: String,
    },
}

/// A compiler and a linker that fit together.
#[derive(Clone, Debug)]
pub(crate) struct Toolchain {
    /// `cargo` of the compiler's own release.
    pub(crate) cargo: PathBuf,
    /// The compiler.
    pub(crate) rustc: PathBuf,
    /// `bpf-linker`.
    pub(crate) linker: PathBuf,
    /// What both say of themselves: part of the object's identity.
    pub(crate) version: String,
}

impl Toolchain {
    /// Looks for both.
    pub(crate) fn find() -> Result<Self, Missing> {
        let (prefix, compiler) = find_compiler()?;
        let (linker, linker_version) = find_linker()?;
        let bin = prefix.join("bin");
        let version = format!("{compiler}{linker_version}");
        Ok(Self { cargo: bin.join("cargo"), rustc: bin.join("rustc"), linker, version })
    }
}

/// The first installation prefix that has what `-Zbuild-std` needs, and its compiler's `-vV`.
pub(crate) fn find_compiler() -> Result<(PathBuf, String), Missing> {
    let prefixes = prefixes();
    for prefix in &prefixes {
        let complete = ["bin/cargo", "bin/rustc", "lib/rustlib/src/rust/library/core/Cargo.toml"];
        if !complete.iter().all(|file| prefix.join(file).is_file()) {
            continue;
        }
        let Some(text) = ask(&prefix.join("bin/rustc"), "-vV") else { continue };
        let release = text.lines().find_map(|line| line.strip_prefix("release: ")).and_then(version);
        if release.is_some_and(|release| release >= OLDEST_RUSTC) {
            return Ok((prefix.clone(), text));
        }
    }
    let looked: Vec<String> = prefixes.iter().map(|prefix| prefix.display().to_string()).collect();
    Err(Missing::Compiler { looked: looked.join(", ") })
}

/// `bpf-linker` from `PATH` or from cargo's bin directory, and its version.
pub(crate) fn find_linker() -> Result<(PathBuf, String), Missing> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let dirs = std::env::split_paths(&path).chain(home("CARGO_HOME", ".cargo").map(|dir| dir.join("bin")));
    let mut found = "none on PATH or in cargo's bin directory".to_owned();
    for file in dirs.map(|dir| dir.join("bpf-linker")).filter(|file| file.is_file()) {
        let Some(text) = ask(&file, "--version") else {
            found = format!("{} does not run", file.display());
            continue;
        };
        if text.split_whitespace().nth(1).and_then(version).is_some_and(|version| version >= OLDEST_LINKER) {
            return Ok((file, text));
        }
        found = format!("{} is {}", file.display(), text.trim());
    }
    Err(Missing::Linker { found })
}

/// A distribution's compiler first: it is updated with the system. Then rustup's, nightly before stable.
fn prefixes() -> Vec<PathBuf> {
    let toolchains = home("RUSTUP_HOME", ".rustup").map(|dir| dir.join("toolchains"));
    let entries = toolchains.and_then(|dir| dir.read_dir().ok()).into_iter().flatten();
    let mut rustup: Vec<PathBuf> = entries.filter_map(|entry| Some(entry.ok()?.path())).collect();
    let is_nightly =
        |dir: &Path| dir.file_name().is_some_and(|name| name.to_string_lossy().starts_with("nightly"));
    rustup.sort_by_key(|dir| (!is_nightly(dir), dir.clone()));
    ["/usr", "/usr/local"].into_iter().map(PathBuf::from).chain(rustup).collect()
}

fn home(variable: &str, default: &str) -> Option<PathBuf> {
    let named = std::env::var_os(variable).filter(|dir| !dir.is_empty()).map(PathBuf::from);
    named.or_else(|| std::env::home_dir().map(|home| home.join(default)))
}

/// What a program says to one flag, if it runs.
fn ask(program: &Path, flag: impl AsRef<OsStr>) -> Option<String> {
    let output = Command::new(program).arg(flag).output().ok().filter(|output| output.status.success())?;
    String::from_utf8(output.stdout).ok()
}

/// Major and minor of `1.96.0+dfsg1` or `0.13.0`.
fn version(text: &str) -> Option<(u32, u32)> {
    let mut parts = text.trim().split('.');
    Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_compare_as_numbers() {
        assert_eq!(version("1.96.0+dfsg1-1~deb12u2"), Some((1, 96)));
        assert_eq!(version("1.97.0-nightly"), Some((1, 97)));
        assert!(version("1.100.0") > version("1.88.0"));
        assert_eq!(version("nightly"), None);
    }

    #[test]
    fn a_program_that_fails_says_nothing() {
        assert_eq!(ask(Path::new("/bin/false"), "-vV"), None);
        assert_eq!(ask(Path::new("/nonexistent/rustc"), "-vV"), None);
    }

    #[test]
    fn the_distribution_comes_before_rustup() {
        assert_eq!(prefixes().first().map(PathBuf::as_path), Some(Path::new("/usr")));
    }
}
