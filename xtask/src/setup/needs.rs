//! What the work on this project takes from the machine: what it is, what for, how to see that it is there.

use std::{env, ffi::OsString, path::Path};

use super::{deny, qemu, toolchain::newest_llvm};
use crate::{
    build_ebpf::toolchain::{find_compiler, find_linker},
    workspace::{Workspace, program},
};

/// For whom.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Level {
    /// `cargo xtask run`, `cargo build`.
    Run,
    /// `cargo xtask test --quick` too.
    Checks,
    /// `cargo xtask test`, `vm` and `bench` too.
    Tests,
}

/// One thing that must be there.
#[derive(Debug)]
pub(super) struct Need {
    /// Its name to a person.
    pub(super) what: &'static str,
    /// What it is needed for.
    pub(super) why: &'static str,
    /// Who needs it.
    pub(super) level: Level,
    /// How to see it.
    pub(super) probe: Probe,
    /// How to get it.
    pub(super) source: Source,
}

/// How to see that something is there.
#[derive(Debug)]
pub(super) enum Probe {
    /// A program of that name.
    Program(&'static str),
    /// A file.
    File(&'static str),
    /// A program of the toolchain in use. rustup puts a proxy of that name on `PATH` whether it is there or not.
    Component(&'static str),
    /// A compiler for `bpfel-unknown-none`.
    Compiler,
    /// `bpf-linker`.
    Linker,
    /// cargo-deny, ours or the user's.
    Deny,
    /// QEMU, the system's or ours.
    Qemu,
    /// What a Python environment of its own is made with.
    Venv,
}

/// How to get something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Source {
    /// A Debian package.
    Package(&'static str),
    /// The compiler: packages of Debian, else rustup.
    Compiler,
    /// cargo, and LLVM to link against.
    Linker,
    /// A component of the toolchain in use.
    Component(&'static str),
    /// A release that is built already, else cargo.
    Deny,
}

impl Need {
    /// Whether it is there.
    pub(super) fn is_met(&self, workspace: &Workspace) -> bool {
        match self.probe {
            Probe::Program(name) => program(name).is_some(),
            Probe::File(path) => Path::new(path).exists(),
            Probe::Component(name) => {
                let beside = |cargo: OsString| Path::new(&cargo).with_file_name(name).is_file();
                env::var_os("CARGO").map_or_else(|| program(name).is_some(), beside)
            }
            Probe::Compiler => find_compiler(newest_llvm()).is_ok(),
            Probe::Linker => find_linker().is_ok(),
            Probe::Deny => deny::find(workspace).is_some(),
            Probe::Qemu => qemu::find(workspace).is_some(),
            Probe::Venv => deny::has_venv(),
        }
    }
}

const fn run(what: &'static str, why: &'static str, probe: Probe, source: Source) -> Need {
    Need { what, why, level: Level::Run, probe, source }
}

const fn check(what: &'static str, why: &'static str, probe: Probe, source: Source) -> Need {
    Need { what, why, level: Level::Checks, probe, source }
}

const fn test(what: &'static str, why: &'static str, probe: Probe, source: Source) -> Need {
    Need { what, why, level: Level::Tests, probe, source }
}

const fn tool(name: &'static str, package: &'static str, why: &'static str) -> Need {
    test(name, why, Probe::Program(name), Source::Package(package))
}

/// Debian's path.
const STATIC_LIBC: &str = if cfg!(target_arch = "aarch64") {
    "/usr/lib/aarch64-linux-gnu/libc.a"
} else {
    "/usr/lib/x86_64-linux-gnu/libc.a"
};

/// All of it, in the order in which it is installed.
pub(super) const NEEDS: &[Need] = &[
    run("eBPF compiler", "compiles the kernel programs", Probe::Compiler, Source::Compiler),
    run(
        "bpf-linker",
        "links the kernel programs and writes their type information",
        Probe::Linker,
        Source::Linker,
    ),
    check("rustfmt", "checks the format", Probe::Component("cargo-fmt"), Source::Component("rustfmt")),
    check("clippy", "checks the code", Probe::Component("cargo-clippy"), Source::Component("clippy")),
    check("cargo-deny", "checks licences and origins of dependencies", Probe::Deny, Source::Deny),
    test(
        "static libc",
        "lets one test binary run on every kernel",
        Probe::File(STATIC_LIBC),
        Source::Package("libc6-dev"),
    ),
    test(
        "Debian's keyring",
        "checks the kernels that are fetched for virtual machines",
        Probe::File("/usr/share/keyrings/debian-archive-keyring.gpg"),
        Source::Package("debian-archive-keyring"),
    ),
    test(qemu::PROGRAM, "boots distribution kernels", Probe::Qemu, Source::Package(qemu::PACKAGE)),
    tool("busybox", "busybox-static", "is the virtual machines' userland"),
    tool("bpftool", "bpftool", "says which programs are loaded"),
    tool("mke2fs", "e2fsprogs", "makes ext4 for the tests of credentials on it"),
    tool("setpriv", "util-linux", "ends a virtual machine with its owner"),
    tool("xz", "xz-utils", "unpacks kernel modules"),
    tool("curl", "curl", "connects, in tests"),
    tool("python3", "python3", "opens and connects, in tests"),
    tool("npm", "npm", "fetches AI agents, for tests"),
    test(
        "sshd",
        "lets somebody log in over loopback, in tests; Debian starts one on port 22, too",
        Probe::File("/usr/sbin/sshd"),
        Source::Package("openssh-server"),
    ),
    tool("ssh", "openssh-client", "logs in, in tests"),
    tool("sudo", "sudo", "makes a login root's, in tests"),
    tool("login", "login", "lets somebody in on a terminal, in tests"),
    tool("tmux", "tmux", "outlives a login, in tests"),
    tool("ip", "iproute2", "makes network namespaces, in tests"),
    test("cron", "runs jobs, in tests", Probe::File("/usr/sbin/cron"), Source::Package("cron")),
    test(
        "anacron",
        "runs jobs that are due, in tests",
        Probe::File("/usr/sbin/anacron"),
        Source::Package("anacron"),
    ),
    test("atd", "runs jobs once, in tests", Probe::File("/usr/sbin/atd"), Source::Package("at")),
    tool("podman", "podman", "starts containers, in tests"),
    tool("runc", "runc", "runs them"),
    tool("dockerd", "docker.io", "starts containers, in tests, with its containerd"),
    tool("systemd-nspawn", "systemd-container", "starts the packaged unit in a container"),
    tool("debootstrap", "debootstrap", "makes the system that the packages are tried in"),
    tool("cpio", "cpio", "packs that system for a virtual machine"),
    test(
        "venv",
        "keeps the Kubernetes schemas apart from the system's Python",
        Probe::Venv,
        Source::Package("python3-venv"),
    ),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn running_needs_no_package_of_the_tests() {
        let packages = NEEDS.iter().filter(|need| need.level == Level::Run).map(|need| need.source);
        assert_eq!(packages.collect::<Vec<_>>(), [Source::Compiler, Source::Linker]);
    }

    #[test]
    fn each_thing_is_named_once() {
        let mut names: Vec<_> = NEEDS.iter().map(|need| need.what).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), NEEDS.len());
    }

    #[test]
    fn a_probe_can_say_no() {
        let workspace = Workspace { root: "/nonexistent".into(), target: "/nonexistent".into() };
        assert!(!tool("telltale-no-such-program", "x", "y").is_met(&workspace));
        assert!(!test("x", "y", Probe::File("/nonexistent"), Source::Deny).is_met(&workspace));
        assert!(tool("sh", "dash", "y").is_met(&workspace));
    }
}
