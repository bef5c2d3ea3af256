//! `cargo xtask vm`: a command in a virtual machine with a distribution's kernel.
//!
//! ```text
//! kernel.rs     Debian's cloud kernel, from the cache or else, by archive.rs, from Debian
//! modules.rs    its modules            \
//! userland.rs   the host's programs     > initramfs layers, laid end to end by initramfs.rs
//! boot.rs       init.sh and the command  /; the whole way from a description to an exit status
//! qemu.rs       one run of the machine
//! result.rs     what the guest reported
//! proof.rs      a proof with real programs: its guest's root is a Debian of its own, by system.rs, on a disk, by image.rs
//! ```
//!
//! The guest has `/proc`, `/sys` with cgroup v2, bpffs, tracefs and securityfs, loopback up, `/tmp` and
//! `/mnt/tmpfs` on tmpfs, `/mnt/ext4` on an ext4 image, `/mnt/overlay` on overlayfs over ext4 (`/mnt/layers`), and
//! sh, cat, curl, python3, bpftool and busybox's applets on its `PATH`. It has no network beyond loopback.
//! The guest of a proof has the same file systems of the kernel's, and its own Debian on ext4 as root; there is none either.

mod archive;
mod boot;
mod build;
mod cache;
mod error;
mod image;
mod initramfs;
mod kernel;
mod modules;
mod progress;
mod proof;
mod python;
mod qemu;
mod result;
mod system;
mod tools;
mod userland;

use std::{path::PathBuf, time::Duration};

pub(crate) use self::{
    boot::{BootSpec, Disks, GuestExit, GuestFile, boot},
    build::{Binaries, build_example, build_static},
    error::VmError,
    kernel::Series,
    proof::{ProofSpec, prove},
};
use crate::real::Real;

/// A machine that runs longer is stopped unless told otherwise.
const TIME_LIMIT: Duration = Duration::from_secs(300);

/// `cargo xtask vm`.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct VmArgs {
    /// Kernel series.
    #[arg(long, value_enum, default_value = "6.12")]
    kernel: Series,
    /// Leave `bpf` out of the security modules, as many cloud images do.
    #[arg(long)]
    no_bpf_lsm: bool,
    /// Virtual CPUs.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=64))]
    smp: u32,
    /// Memory in MiB.
    #[arg(long, value_name = "MIB", default_value_t = boot::MEMORY_MIB, value_parser = clap::value_parser!(u32).range(256..=65536))]
    memory: u32,
    /// Let virtual time count instructions (one virtual CPU).
    #[arg(long, conflicts_with = "smp")]
    icount: bool,
    /// Stop the machine after this many seconds [default: 300; 3600 for a proof].
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..=86400))]
    time_limit: Option<u64>,
    /// Add a kernel argument, such as `lockdown=integrity`.
    #[arg(long, value_name = "ARGUMENT", allow_hyphen_values = true)]
    append: Vec<String>,
    /// Ask Debian for a newer kernel first.
    #[arg(long)]
    update_kernel: bool,
    /// Take this static `telltale` and build none.
    #[arg(long, value_name = "PATH", requires = "beside")]
    agent: Option<PathBuf>,
    /// Take this static `telltale-tests` and build none.
    #[arg(long, value_name = "PATH", requires = "agent", group = "beside")]
    tests: Option<PathBuf>,
    /// Run TEST as a program of the guest (such as `telltale doctor`, `sh -c …`), not as a test's name.
    #[arg(long)]
    exec: bool,
    /// As --exec, and without Telltale's binaries: nothing is built.
    #[arg(long, conflicts_with_all = ["agent", "tests"])]
    bare: bool,
    /// Run this proof with real programs (tests/*/*.sh), in a guest that is a Debian of its own; 77: it cannot run there.
    #[arg(long, value_enum, group = "beside",
        conflicts_with_all = ["smp", "memory", "icount", "append", "update_kernel", "exec", "bare", "command"])]
    proof: Option<Real>,
    /// The test's name and its arguments.
    #[arg(last = true, required_unless_present = "proof", value_names = ["TEST", "ARGS"])]
    command: Vec<String>,
}

/// Boots as asked and says how it went; the guest's status is in the error if it is not 0.
///
/// # Errors
/// As [`boot()`], and [`VmError::Guest`] for a command that failed. [`VmError::exit_status`] is the status to end with.
pub(crate) fn run(args: VmArgs) -> Result<(), VmError> {
    let VmArgs {
        kernel,
        no_bpf_lsm,
        smp,
        memory,
        icount,
        time_limit,
        append,
        update_kernel,
        agent,
        tests,
        exec,
        bare,
        proof,
        command,
    } = args;
    if let Some(real) = proof {
        let agent = match agent {
            Some(agent) => agent,
            None => build_static()?.agent,
        };
        let usual = ProofSpec::new(real, kernel, agent);
        let time_limit = time_limit.map_or(usual.time_limit, Duration::from_secs);
        return tell(prove(&ProofSpec { bpf_lsm: !no_bpf_lsm, time_limit, ..usual })?);
    }
    let binaries = match (bare, agent, tests) {
        (true, ..) => None,
        (false, Some(agent), Some(tests)) => Some(Binaries { agent, tests }),
        _ => Some(build_static()?),
    };
    let command = if exec || bare { command } else { [vec![build::TESTS.to_owned()], command].concat() };
    let spec = BootSpec {
        bpf_lsm: !no_bpf_lsm,
        cpus: smp,
        memory_mib: memory,
        time_limit: time_limit.map_or(TIME_LIMIT, Duration::from_secs),
        kernel_arguments: append,
        files: binaries.map_or_else(Vec::new, |binaries| binaries.guest_files()),
        update_kernel,
        ..BootSpec::new(kernel, command)
    };
    tell(boot(&if icount { spec.icount() } else { spec })?)
}

/// Says how a machine's run went; its command's status is in the error if it is not 0.
fn tell(exit: GuestExit) -> Result<(), VmError> {
    eprintln!(
        "vm: {} ({}), {}: ready after {:.1} s, off after {:.1} s{}",
        exit.release,
        exit.kernel_version,
        exit.lsm,
        exit.ready_after.as_secs_f64(),
        exit.took.as_secs_f64(),
        if exit.kernel_warned { "; the kernel warned, see the console" } else { "" },
    );
    match exit.status {
        0 => Ok(()),
        status => Err(VmError::Guest { status, output: exit.log, console: exit.console }),
    }
}
