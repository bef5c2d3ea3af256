//! This checkout: where it is, where its build output goes, and its cargo.

use std::{
    env,
    ffi::OsString,
    path::{Path, PathBuf},
    process::Command,
};

/// Variables that `cargo run` sets for xtask. A build script that watches one of them (ring's does) would run again
/// whenever `cargo build` and `cargo xtask` take turns, and all of the agent with it.
const SET_BY_CARGO_RUN: [&str; 7] = [
    "CARGO_BIN_",
    "CARGO_CRATE_NAME",
    "CARGO_MANIFEST_",
    "CARGO_PKG_",
    "CARGO_PRIMARY_PACKAGE",
    "CARGO_TARGET_TMPDIR",
    "OUT_DIR",
];

/// A checkout and its build output.
#[derive(Clone, Debug)]
pub(crate) struct Workspace {
    /// Root of the checkout.
    pub(crate) root: PathBuf,
    /// cargo's target directory.
    pub(crate) target: PathBuf,
}

impl Workspace {
    /// The checkout that this program was built from, and the target directory that it was built into.
    pub(crate) fn find() -> Self {
        let manifest = env::var_os("CARGO_MANIFEST_DIR").unwrap_or_else(|| env!("CARGO_MANIFEST_DIR").into());
        let root = Path::new(&manifest).parent().unwrap_or(Path::new("/")).to_owned();
        let program = env::current_exe().unwrap_or_default();
        let marked = program.ancestors().find(|dir| dir.join("CACHEDIR.TAG").is_file());
        let target = marked.map_or_else(|| root.join("target"), Path::to_owned);
        Self { root, target }
    }

    /// The cargo that started xtask, in the root, with the environment that a user's own call would have.
    pub(crate) fn cargo(&self) -> Command {
        let mut cargo = Command::new(env::var_os("CARGO").unwrap_or_else(|| OsString::from("cargo")));
        for (name, _) in env::vars_os() {
            let text = name.to_string_lossy();
            if text == "CARGO" || SET_BY_CARGO_RUN.iter().any(|prefix| text.starts_with(prefix)) {
                cargo.env_remove(&name);
            }
        }
        cargo.current_dir(&self.root).env("CARGO_TARGET_DIR", &self.target);
        cargo
    }

    /// Where the words of a long command are kept.
    pub(crate) fn log(&self, name: &str) -> PathBuf {
        self.target.join("xtask-logs").join(format!("{name}.log"))
    }
}

/// Where a program is, in `PATH` or where the system keeps those for root.
pub(crate) fn program(name: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    let system = ["/usr/sbin", "/sbin"].into_iter().map(PathBuf::from);
    env::split_paths(&path).chain(system).map(|dir| dir.join(name)).find(|file| file.is_file())
}
