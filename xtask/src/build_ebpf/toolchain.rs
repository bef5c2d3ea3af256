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
    /// No compiler that will do.
    #[error(
        "no rustc from {}.{} on that has the standard library's source beside it{} (looked in {looked})",
        OLDEST_RUSTC.0, OLDEST_RUSTC.1, newest_llvm.map(|llvm| format!(" and LLVM {llvm} at most")).unwrap_or_default()
    )]
    Compiler {
        /// What the linker can read.
        newest_llvm: Option<u32>,
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

/// A compiler that can build `core`.
#[derive(Clone, Debug)]
pub(crate) struct Compiler {
    /// Its installation prefix.
    prefix: PathBuf,
    /// What it says of itself.
    version: String,
    /// Major release of its LLVM.
    pub(crate) llvm: u32,
}

/// A `bpf-linker`.
#[derive(Clone, Debug)]
pub(crate) struct Linker {
    path: PathBuf,
    version: String,
    /// Major release of its LLVM, unless that is linked in statically.
    pub(crate) llvm: Option<u32>,
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
        let linker = find_linker()?;
        let compiler = find_compiler(linker.llvm)?;
        let bin = compiler.prefix.join("bin");
        let llvm = linker.llvm.map(|llvm| format!("LLVM {llvm}\n")).unwrap_or_default();
        let version = format!("{}{}{llvm}", compiler.version, linker.version);
        Ok(Self { cargo: bin.join("cargo"), rustc: bin.join("rustc"), linker: linker.path, version })
    }
}

/// The first installation prefix that has what `-Zbuild-std` needs, and a compiler whose bitcode LLVM `newest_llvm`
/// reads: an LLVM reads what older ones write, and calls what newer ones write an invalid record.
pub(crate) fn find_compiler(newest_llvm: Option<u32>) -> Result<Compiler, Missing> {
    let prefixes = prefixes();
    let fits = |compiler: &Compiler| newest_llvm.is_none_or(|newest| compiler.llvm <= newest);
    let found = prefixes.iter().filter_map(|prefix| compiler_in(prefix)).find(fits);
    let looked = || prefixes.iter().map(|prefix| prefix.display().to_string()).collect::<Vec<_>>().join(", ");
    found.ok_or_else(|| Missing::Compiler { newest_llvm, looked: looked() })
}

fn compiler_in(prefix: &Path) -> Option<Compiler> {
    let complete = ["bin/cargo", "bin/rustc", "lib/rustlib/src/rust/library/core/Cargo.toml"];
    if !complete.iter().all(|file| prefix.join(file).is_file()) {
        return None;
    }
    let text = ask(&prefix.join("bin/rustc"), "-vV")?;
    let field = |name| text.lines().find_map(|line| line.strip_prefix(name)).and_then(version);
    let (llvm, _) = field("LLVM version: ")?;
    let is_new = field("release: ")? >= OLDEST_RUSTC;
    is_new.then(|| Compiler { prefix: prefix.to_owned(), version: text, llvm })
}

/// `bpf-linker` from `PATH` or from cargo's bin directory.
pub(crate) fn find_linker() -> Result<Linker, Missing> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let dirs = std::env::split_paths(&path).chain(home("CARGO_HOME", ".cargo").map(|dir| dir.join("bin")));
    let mut found = "none on PATH or in cargo's bin directory".to_owned();
    for path in dirs.map(|dir| dir.join("bpf-linker")).filter(|file| file.is_file()) {
        let Some(text) = ask(&path, "--version") else {
            found = format!("{} does not run", path.display());
            continue;
        };
        if text.split_whitespace().nth(1).and_then(version).is_some_and(|version| version >= OLDEST_LINKER) {
            // It does not say which LLVM it has; the dynamic linker does.
            let llvm = ask(Path::new("ldd"), &path).and_then(|libraries| linked_llvm(&libraries));
            return Ok(Linker { path, version: text, llvm });
        }
        found = format!("{} is {}", path.display(), text.trim());
    }
    Err(Missing::Linker { found })
}

/// 22, of `libLLVM.so.22.1 => …` or `libLLVM-22.so => …`.
fn linked_llvm(libraries: &str) -> Option<u32> {
    let (_, name) = libraries.split_once("libLLVM")?;
    let digits = name.trim_start_matches(|c: char| !c.is_ascii_digit());
    digits.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
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

/// What a program says to one argument, if it runs.
fn ask(program: &Path, argument: impl AsRef<OsStr>) -> Option<String> {
    let output =
        Command::new(program).arg(argument).output().ok().filter(|output| output.status.success())?;
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
    fn the_linkers_llvm_is_read_from_its_libraries() {
        for (libraries, llvm) in [
            ("\tlibLLVM.so.22.1 => /usr/lib/llvm-22/lib/libLLVM.so.22.1 (0x00007f)\n", Some(22)),
            (
                "\tlibc.so.6 => /lib/libc.so.6\n\tlibLLVM-23.so => /usr/lib/libLLVM-23.so (0x00007f)\n",
                Some(23),
            ),
            ("\tstatically linked\n", None),
        ] {
            assert_eq!(linked_llvm(libraries), llvm, "{libraries}");
        }
    }

    #[test]
    fn a_compiler_that_is_too_new_for_the_linker_is_passed_over() {
        let error = find_compiler(Some(1)).unwrap_err().to_string();
        assert!(error.contains("LLVM 1 at most"), "{error}");
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
