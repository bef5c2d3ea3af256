//! A boot from its description to what came of it.

use std::{
    fs::{self, File},
    os::fd::AsRawFd,
    path::{Path, PathBuf},
    process,
    sync::atomic::{AtomicU32, Ordering},
    time::{Duration, Instant},
};

use super::{
    VmError,
    cache::Cache,
    initramfs::{self, Layer},
    kernel::{self, KernelImage, Series},
    modules,
    progress::Progress,
    qemu::{Ended, Logs, Machine},
    result::{Console, Report},
    userland,
};

const INIT: &str = include_str!("init.sh");
const INIT_DISKS: &str = include_str!("init-disks.sh");
/// What both go on with.
const REPORT: &str = include_str!("report.sh");
const PERFORM: &str = include_str!("perform.sh");

/// Security modules of an ordinary Debian boot, `bpf` aside.
const LSM: &str = "lockdown,capability,landlock,yama,apparmor";
/// For instruction counts: modules that do work on measured paths are left out.
const LSM_ICOUNT: &str = "lockdown,capability,landlock";

/// Taint bits (Documentation/admin-guide/tainted-kernels.rst).
const TAINT_WARN: u64 = 1 << 9;

/// A boot: which kernel, what machine, what to run.
#[derive(Clone, Debug)]
pub(crate) struct BootSpec {
    /// Which kernel.
    pub(crate) kernel: Series,
    /// Whether `bpf` is among the security modules.
    pub(crate) bpf_lsm: bool,
    /// Virtual CPUs; one with `icount`. A second one doubles the emulator's work for the same guest.
    pub(crate) cpus: u32,
    /// Memory in MiB; a quarter of it or more should stay free beside the files packed.
    pub(crate) memory_mib: u32,
    /// Let virtual time count instructions: one nanosecond is one instruction executed.
    pub(crate) icount: bool,
    /// Ended when it runs longer.
    pub(crate) time_limit: Duration,
    /// More kernel arguments, such as `lockdown=integrity`.
    pub(crate) kernel_arguments: Vec<String>,
    /// Host files to pack.
    pub(crate) files: Vec<GuestFile>,
    /// A system of its own, instead of the programs packed.
    pub(crate) disks: Option<Disks>,
    /// Program and arguments to run, as root, in `/root`.
    pub(crate) command: Vec<String>,
    /// Pass the command's output on to standard output; it is saved in any case.
    pub(crate) echo: bool,
    /// Ask Debian for a newer kernel than the one kept.
    pub(crate) update_kernel: bool,
}

/// Memory of a machine unless told otherwise. Its file system is in it too: the tests, the host's programs, and what the
/// tests keep of the events of a flood.
pub(super) const MEMORY_MIB: u32 = 1536;

impl BootSpec {
    /// An ordinary boot of `kernel` that runs `command`.
    pub(crate) fn new(kernel: Series, command: Vec<String>) -> Self {
        Self {
            kernel,
            bpf_lsm: true,
            cpus: 1,
            memory_mib: MEMORY_MIB,
            icount: false,
            time_limit: Duration::from_secs(300),
            kernel_arguments: Vec::new(),
            files: Vec::new(),
            disks: None,
            command,
            echo: true,
            update_kernel: false,
        }
    }

    /// The machine for instruction counts (one virtual CPU, its own set of security modules).
    #[must_use]
    pub(crate) fn icount(self) -> Self {
        Self { icount: true, cpus: 1, ..self }
    }

    fn kernel_command_line(&self) -> String {
        let lsm = if self.icount { LSM_ICOUNT } else { LSM };
        let bpf = if self.bpf_lsm { ",bpf" } else { "" };
        // `oops=panic`: what comes after an oops proves nothing. `norandmaps`: the emulator keeps its translations
        // by address, so a program that moves at every start is translated anew each time (five times as slow).
        let mut line = format!("console=ttyS0 quiet panic=-1 oops=panic norandmaps lsm={lsm}{bpf}");
        for argument in &self.kernel_arguments {
            line.push(' ');
            line.push_str(argument);
        }
        line
    }

    /// Names the run's files; unique among runs that write at the same time.
    fn run_name(&self) -> String {
        static RUNS: AtomicU32 = AtomicU32::new(0);
        let lsm = if self.bpf_lsm { "" } else { "-nolsm" };
        let icount = if self.icount { "-icount" } else { "" };
        format!("{}{lsm}{icount}-{}-{}", self.kernel, process::id(), RUNS.fetch_add(1, Ordering::Relaxed))
    }
}

/// Disks of a guest: images of ext4. What it writes is kept while it runs, and never reaches them.
#[derive(Clone, Debug)]
pub(crate) struct Disks {
    /// Its root.
    pub(crate) system: PathBuf,
    /// What it finds at `/telltale`.
    pub(crate) files: PathBuf,
}

/// A host file for the guest.
#[derive(Clone, Debug)]
pub(crate) struct GuestFile {
    /// Where it is.
    pub(crate) host: PathBuf,
    /// Absolute path in the guest.
    pub(crate) guest: String,
    /// Permissions.
    pub(crate) mode: u32,
}

impl GuestFile {
    /// A program, on the guest's `PATH`.
    pub(crate) fn program(host: impl Into<PathBuf>, name: &str) -> Self {
        Self { host: host.into(), guest: format!("/usr/bin/{name}"), mode: 0o755 }
    }
}

/// What a guest that ran its command to the end reported.
#[derive(Clone, Debug)]
pub(crate) struct GuestExit {
    /// The command's exit status; 128 + n for signal n.
    pub(crate) status: u8,
    /// The kernel's release.
    pub(crate) release: String,
    /// Debian's version of the kernel package.
    pub(crate) kernel_version: String,
    /// The security modules, in order.
    pub(crate) lsm: String,
    /// The guest's clock when the command started.
    pub(crate) ready_after: Duration,
    /// Wall time from QEMU's start to its end.
    pub(crate) took: Duration,
    /// Whether the kernel gave a warning with a stack trace (taint bit W).
    pub(crate) kernel_warned: bool,
    /// The saved console.
    pub(crate) console: PathBuf,
    /// The command's saved output.
    pub(crate) log: PathBuf,
}

impl GuestExit {
    /// All that the command wrote, as far as that is text.
    pub(crate) fn output(&self) -> String {
        fs::read(&self.log).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default()
    }
}

/// Boots, runs the command, and returns once the machine is off.
///
/// # Errors
/// Everything that kept the command from running to its end. A command that failed is no error here: see
/// [`GuestExit::status`].
pub(crate) fn boot(spec: &BootSpec) -> Result<GuestExit, VmError> {
    let progress = Progress::new();
    let result = boot_with(spec, &progress);
    progress.finish();
    result
}

fn boot_with(spec: &BootSpec, progress: &Progress) -> Result<GuestExit, VmError> {
    let cache = Cache::open()?;
    let (kernel, layers) = {
        let _lock = cache.lock()?;
        cache.prune_logs()?;
        let kernel = kernel::obtain(spec.kernel, spec.update_kernel, &cache, progress)?;
        let modules = modules::layer(&kernel, spec.disks.is_some())?;
        (kernel, [userland::layer(&cache, progress)?, modules])
    };
    // A file without a name: however this process ends, nothing of it stays. QEMU reads it through /proc.
    let dir = cache.path("layers");
    let mut initramfs = tempfile::tempfile_in(&dir).map_err(VmError::io("create a file in", &dir))?;
    for layer in &layers {
        initramfs::append(layer, &mut initramfs)?;
    }
    write_run_layer(spec, &initramfs, &dir)?;
    let initramfs_path = PathBuf::from(format!("/proc/{}/fd/{}", process::id(), initramfs.as_raw_fd()));

    let logs = Logs::new(&cache.path("logs"), &spec.run_name());
    let machine = Machine {
        kernel: &kernel.vmlinuz,
        initramfs: &initramfs_path,
        kernel_arguments: spec.kernel_command_line(),
        cpus: spec.cpus,
        memory_mib: spec.memory_mib,
        icount: spec.icount,
        disks: spec.disks.as_ref(),
        time_limit: spec.time_limit,
        logs: &logs,
    };
    progress.step(format!("kernel {}: running {}", kernel.version, spec.command.join(" ")));
    let started = Instant::now();
    let ended = machine.run(spec.echo.then_some(progress))?;
    conclude(spec, &kernel, &machine, &ended, started.elapsed())
}

/// The layer of this run alone: init, the command and the files asked for.
fn write_run_layer(spec: &BootSpec, initramfs: &File, path: &Path) -> Result<(), VmError> {
    let mut layer = Layer::new(initramfs, path);
    let init = if spec.disks.is_some() { INIT_DISKS } else { INIT };
    layer.file("/init", 0o755, init.as_bytes())?;
    layer.file("/vm/report.sh", 0o644, REPORT.as_bytes())?;
    layer.file("/vm/perform.sh", 0o644, PERFORM.as_bytes())?;
    let words: Vec<String> = spec.command.iter().map(|word| quote(word)).collect();
    layer.file("/vm/command", 0o644, format!("exec {}\n", words.join(" ")).as_bytes())?;
    for file in &spec.files {
        layer.copy(&file.host, &file.guest, file.mode)?;
    }
    layer.finish()
}

/// One word for the shell.
fn quote(word: &str) -> String {
    format!("'{}'", word.replace('\'', r"'\''"))
}

fn conclude(
    spec: &BootSpec,
    kernel: &KernelImage,
    machine: &Machine<'_>,
    ended: &Ended,
    took: Duration,
) -> Result<GuestExit, VmError> {
    let logs = machine.logs;
    let text = fs::read(&logs.result).map_err(VmError::io("read", &logs.result))?;
    let report = Report::parse(&String::from_utf8_lossy(&text));
    let seen = Console::read_tail(&logs.console).map_err(VmError::io("read", &logs.console))?;
    let (console, tail) = (logs.console.clone(), seen.tail());
    if let Some(step) = report.failed {
        return Err(VmError::Init { step, console, tail });
    }
    let status = match (report.exit, ended) {
        (Some(status), Ended::ByItself(_)) => status,
        (_, Ended::AtLimit) => return Err(VmError::TimeLimit { limit: spec.time_limit, console, tail }),
        (None, Ended::ByItself(status)) => {
            return Err(match seen.panic() {
                Some(message) => VmError::Panic { message, console, tail },
                None => VmError::NoResult { qemu: machine.complaint(*status), console, tail },
            });
        }
    };
    if report.lsm.split(',').any(|module| module == "bpf") != spec.bpf_lsm {
        let asked = if spec.bpf_lsm { "for" } else { "against" };
        return Err(VmError::Lsm { found: report.lsm, asked });
    }
    Ok(GuestExit {
        status,
        release: report.release,
        kernel_version: kernel.version.clone(),
        lsm: report.lsm,
        ready_after: Duration::try_from_secs_f64(report.ready_s).unwrap_or_default(),
        took,
        kernel_warned: report.tainted & TAINT_WARN != 0,
        console,
        log: logs.output.clone(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec() -> BootSpec {
        BootSpec::new(Series::V6_1, vec!["true".to_owned()])
    }

    #[test]
    fn the_kernel_is_told_which_security_modules_to_start() {
        let with = spec().kernel_command_line();
        assert!(with.ends_with("lsm=lockdown,capability,landlock,yama,apparmor,bpf"), "{with}");
        let without = BootSpec { bpf_lsm: false, ..spec() }.kernel_command_line();
        assert!(without.ends_with("lsm=lockdown,capability,landlock,yama,apparmor"), "{without}");
        let counted = spec().icount().kernel_command_line();
        assert!(counted.ends_with("lsm=lockdown,capability,landlock,bpf"), "{counted}");
        let more = BootSpec { kernel_arguments: vec!["lockdown=integrity".to_owned()], ..spec() };
        assert!(more.kernel_command_line().ends_with(",bpf lockdown=integrity"));
    }

    #[test]
    fn words_reach_the_guests_shell_whole() {
        for word in ["plain", "two words", "it's", "$HOME `id` \"x\" \\", "", "line\nline"] {
            let script = format!("printf %s {}", quote(word));
            let said = process::Command::new("sh").args(["-c", &script]).output().unwrap();
            assert_eq!(String::from_utf8(said.stdout).unwrap(), word);
        }
    }

    #[test]
    fn runs_at_the_same_time_have_their_own_files() {
        assert_ne!(spec().run_name(), spec().run_name());
        assert!(BootSpec { bpf_lsm: false, ..spec() }.run_name().starts_with("6.1-nolsm-"));
    }
}
