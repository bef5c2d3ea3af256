//! Builds the kernel object and says where it is, in `TELLTALE_EBPF_OBJECT`.

#[path = "../xtask/src/build_ebpf/mod.rs"]
mod build_ebpf;

use std::env;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use build_ebpf::{Error, Object, Request};

fn main() -> ExitCode {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap_or(Path::new("/"));
    let watched = ["Cargo.lock", "Cargo.toml", "agent-common", "agent-ebpf", "xtask/src/build_ebpf"];
    for source in watched {
        println!("cargo::rerun-if-changed={}", root.join(source).display());
    }
    let target_dir = target_dir(root);
    let arch = env::var("CARGO_CFG_TARGET_ARCH").unwrap_or_else(|_| env::consts::ARCH.to_owned());
    match build_ebpf::ensure(&Request { root, target_dir: &target_dir, arch: &arch, show: false }) {
        Ok(Object { path, toolchain }) => {
            // The toolchain by its files: a new version of it is a new object. The object: it can be deleted.
            for file in [&path, &toolchain.rustc, &toolchain.linker] {
                println!("cargo::rerun-if-changed={}", file.display());
            }
            println!("cargo::rustc-env=TELLTALE_EBPF_OBJECT={}", path.display());
            let without_lsm = build_ebpf::without_lsm(&path);
            println!("cargo::rustc-env=TELLTALE_EBPF_OBJECT_WITHOUT_LSM={}", without_lsm.display());
            let for_5_10 = build_ebpf::for_5_10(&path);
            println!("cargo::rustc-env=TELLTALE_EBPF_OBJECT_FOR_5_10={}", for_5_10.display());
            ExitCode::SUCCESS
        }
        // cargo prints such a line as its own error and shows nothing else, so that the remedy is what is read.
        Err(error @ Error::Missing(_)) => {
            println!("cargo::error={error}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

/// The workspace's target directory. cargo does not tell it to build scripts, but marks it with `CACHEDIR.TAG`, as it
/// does the directory of a `--target` within.
fn target_dir(root: &Path) -> PathBuf {
    let out_dir = env::var_os("OUT_DIR").map(PathBuf::from).unwrap_or_default();
    let triple = env::var("TARGET").unwrap_or_default();
    let marked = |dir: &&Path| dir.join("CACHEDIR.TAG").is_file() && !dir.ends_with(&triple);
    out_dir.ancestors().find(marked).map_or_else(|| root.join("target"), Path::to_owned)
}
