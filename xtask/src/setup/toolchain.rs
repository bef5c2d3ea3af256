//! The eBPF compiler and its linker: Debian's compiler where it is new enough, rustup's nightly of a day elsewhere.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use super::{Error, apt};
use crate::{
    build_ebpf::toolchain::{find_compiler, find_linker},
    step,
    workspace::{Workspace, program},
};

/// Of Debian's security suite: the compiler that browsers are built with, its cargo, and the source of `core`.
const COMPILER_PACKAGES: [&str; 3] = ["rustc-web", "cargo-web", "rust-web-src"];
/// The oldest of them that fits: edition 2024 and aya-ebpf need 1.88, and 1.85 is still in some suites.
const OLDEST_PACKAGED: &str = "1.88";
/// What those packages' rustc is built with; the linker must read what it writes.
const PACKAGED_LLVM: u32 = 22;
/// rustup's, by the day: it has the same LLVM as the packages. What nightly is today may have a newer one than any
/// distribution's development files.
const NIGHTLY: &str = "nightly-2026-05-20";
/// The release that this project is built with.
const LINKER_VERSION: &str = "0.13.0";
/// The LLVM releases that it can be built against.
const LINKER_LLVM: [u32; 3] = [23, 22, 21];

/// An LLVM to link `bpf-linker` against.
struct Llvm {
    major: u32,
    prefix: PathBuf,
}

/// The packages that bring what is missing; empty where the system's do not fit and rustup is to be asked.
pub(super) fn packages(workspace: &Workspace, compiler: bool, linker: bool) -> Result<Vec<String>, Error> {
    let mut packages = Vec::new();
    if !apt::is_here() {
        return Ok(packages);
    }
    let is_new = || apt::candidate("rustc-web").is_some_and(|version| is_at_least(&version, OLDEST_PACKAGED));
    if compiler {
        if !is_new() && rustix::process::geteuid().is_root() {
            apt::update(workspace)?;
        }
        if is_new() && apt::fits(&COMPILER_PACKAGES) {
            packages.extend(COMPILER_PACKAGES.map(str::to_owned));
        }
    }
    if linker {
        let major = compiler_llvm().unwrap_or(PACKAGED_LLVM);
        let package = format!("llvm-{major}-dev");
        if find_llvm(major).is_none() && (!packages.is_empty() || apt::candidate(&package).is_some()) {
            packages.push(package);
        }
    }
    Ok(packages)
}

/// Has rustup fetch a compiler. Where the packages brought one already there is nothing to do.
pub(super) fn install_compiler(workspace: &Workspace) -> Result<(), Error> {
    if find_compiler(newest_llvm()).is_ok() {
        return Ok(());
    }
    let rustup = program("rustup").ok_or(Error::NoCompiler)?;
    let mut rustup = Command::new(rustup);
    rustup.args(["toolchain", "install", NIGHTLY, "--profile", "minimal", "--component", "rust-src"]);
    let label = format!("rustup toolchain install {NIGHTLY} with rust-src");
    step::run(&label, &mut rustup, &workspace.log("rustup"))?;
    Ok(())
}

/// Builds `bpf-linker` from cargo's registry into cargo's bin directory.
pub(super) fn install_linker(workspace: &Workspace) -> Result<(), Error> {
    let wanted = compiler_llvm().unwrap_or(PACKAGED_LLVM);
    let llvm = find_llvm(wanted).ok_or(Error::NoLlvm { major: wanted })?;
    let mut cargo = workspace.cargo();
    // Without LLVM_PREFIX it finds the headers of one LLVM and the library of another, and the link fails.
    cargo.env("LLVM_PREFIX", &llvm.prefix).env_remove("CARGO_TARGET_DIR");
    cargo.args(["install", "bpf-linker", "--version", LINKER_VERSION, "--locked", "--force"]);
    cargo.args(["--no-default-features", "--features", &format!("llvm-{}", llvm.major)]);
    let label =
        format!("cargo install bpf-linker {LINKER_VERSION} against LLVM {} (2 to 4 minutes)", llvm.major);
    step::run(&label, &mut cargo, &workspace.log("bpf-linker"))?;
    Ok(())
}

/// The newest LLVM that a linker here reads, or could if it were built now.
pub(super) fn newest_llvm() -> Option<u32> {
    match find_linker() {
        Ok(linker) => linker.llvm,
        Err(_) => Some(find_llvm(PACKAGED_LLVM).map_or(PACKAGED_LLVM, |llvm| llvm.major)),
    }
}

/// The LLVM that the compiler writes bitcode with.
fn compiler_llvm() -> Option<u32> {
    find_compiler(newest_llvm()).ok().map(|compiler| compiler.llvm)
}

/// The development files of an LLVM that reads what `oldest` writes.
fn find_llvm(oldest: u32) -> Option<Llvm> {
    let fits = |major: &u32| *major >= oldest;
    let debian =
        LINKER_LLVM.into_iter().filter(fits).map(|major| PathBuf::from(format!("/usr/lib/llvm-{major}")));
    let config = debian.map(|prefix| prefix.join("bin/llvm-config")).chain(program("llvm-config"));
    config.filter(|config| config.is_file()).find_map(|config| {
        let major = ask(&config, "--version")?.split('.').next()?.parse().ok()?;
        let prefix = PathBuf::from(ask(&config, "--prefix")?.trim());
        (fits(&major) && LINKER_LLVM.contains(&major)).then_some(Llvm { major, prefix })
    })
}

fn ask(config: &Path, flag: &str) -> Option<String> {
    let output = Command::new(config).arg(flag).output().ok().filter(|output| output.status.success())?;
    String::from_utf8(output.stdout).ok()
}

fn is_at_least(version: &str, oldest: &str) -> bool {
    let numbers = |text: &str| -> Vec<u32> {
        text.split(['.', '+', '-']).map_while(|part| part.parse().ok()).collect()
    };
    numbers(version) >= numbers(oldest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_old_package_does_not_fit() {
        for (version, fits) in [
            ("1.96.0+dfsg1-1~deb12u2", true),
            ("1.88.0", true),
            ("1.85.0+dfsg3-1~deb12u3", false),
            ("", false),
        ] {
            assert_eq!(is_at_least(version, OLDEST_PACKAGED), fits, "{version}");
        }
    }

    #[test]
    fn no_llvm_is_found_where_none_is_new_enough() {
        assert!(find_llvm(1000).is_none());
    }
}
