//! `cargo xtask build-ebpf`.

use std::env;

use crate::{
    build_ebpf::{Error, Object, Request, ensure},
    workspace::Workspace,
};

/// The object for this machine's architecture, built now unless this state of its sources was built before.
///
/// # Errors
/// As [`ensure`].
pub(crate) fn build(workspace: &Workspace) -> Result<Object, Error> {
    let Workspace { root, target } = workspace;
    ensure(&Request { root, target_dir: target, arch: env::consts::ARCH, show: true })
}

/// As [`build`]; prints the object's path, and on standard error what built it.
///
/// # Errors
/// As [`ensure`].
pub(crate) fn run(workspace: &Workspace) -> Result<(), Error> {
    let Object { path, toolchain } = build(workspace)?;
    let named = |line: &&str| line.starts_with("rustc ") || line.starts_with("bpf-linker ");
    eprintln!("{}", toolchain.version.lines().filter(named).collect::<Vec<_>>().join(", "));
    println!("{}", path.display());
    Ok(())
}
