//! The stages, in the order in which they run: what is quick and fails often comes first.

use std::{env, fmt, path::Path, process::Command, time::Duration};

use clap::ValueEnum;

use super::{
    Counts, Extent, Outcome, Reason, TestArgs, docs, failures,
    proof::{self, Proof},
};
use crate::{
    bench::insn,
    real::Real,
    setup::{self, deny},
    step::{self, Ended},
    vm::{self, BootSpec, GuestExit, Series},
    workspace::Workspace,
};

/// A virtual machine that runs longer is stopped: less than half of what the whole run may take where it is limited.
const VM_TIME_LIMIT: Duration = Duration::from_secs(2_400);
/// The crate of tests on a kernel, and its program.
const KERNEL_TESTS: &str = "telltale-tests";
/// Tests that take minutes in an emulator, and whose subject is userspace, or the same on every kernel: one machine is
/// enough for them.
const LONGEST_TESTS: [&str; 5] = ["pid-reuse", "kill/", "bad-input/", "trouble/", "restart/"];
/// Those of them that another machine has time for than the one that runs everything else.
const APART: [&str; 3] = ["restart/", "pid-reuse", "kill/"];
/// What a machine runs whose rungs are tried whole on others: every program is loaded, the plainest acts are seen.
const BRIEF: [&str; 4] = ["rung/", "readme", "connect/", "credential/ext4/"];
/// The machines of the usual run: a kernel, and whether `bpf` is among its security modules. Those that take longest come
/// first, so that what is left for the last processor is short.
const USUAL: [(Series, bool); 4] =
    [(Series::V6_12, true), (Series::V6_1, false), (Series::V6_12, false), (Series::V6_1, true)];

/// The machines in which proofs with real programs run besides, where every test does: each release's default kernel, one with
/// `bpf` among its security modules.
const REAL: [(Series, bool); 3] = [(Series::V6_12, true), (Series::V6_1, false), (Series::V5_10, false)];

/// One thing that is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    /// What the other stages need is there, or gets installed.
    Tools,
    /// rustfmt.
    Format,
    /// clippy on userspace, tests included.
    Lint,
    /// clippy on the kernel programs.
    LintKernel,
    /// cargo-deny.
    Policy,
    /// `cargo test`, documentation examples included.
    Unit,
    /// The documentation builds; what it links to is there.
    Docs,
    /// The kernel tests, here.
    Host,
    /// A script's proof.
    Proof(Proof),
    /// The kernel tests in a virtual machine.
    Vm {
        /// With which kernel.
        series: Series,
        /// With `bpf` among the security modules.
        bpf_lsm: bool,
    },
    /// A proof with real programs in a virtual machine.
    Guest {
        /// Which.
        real: Real,
        /// With which kernel.
        series: Series,
        /// With `bpf` among the security modules.
        bpf_lsm: bool,
    },
    /// What the kernel programs add to paths, against the baseline.
    Instructions,
}

impl Stage {
    /// All of a run.
    pub(super) fn of(extent: Extent) -> Vec<Self> {
        let mut all = vec![Self::Tools, Self::Format, Self::Lint, Self::LintKernel, Self::Policy];
        all.extend([Self::Unit, Self::Docs, Self::Host]);
        let machines = match extent {
            Extent::Usual => USUAL.to_vec(),
            Extent::All => Series::value_variants()
                .iter()
                .flat_map(|series| [(*series, true), (*series, false)])
                .collect(),
        };
        all.extend(machines.into_iter().map(|(series, bpf_lsm)| Self::Vm { series, bpf_lsm }));
        all.extend(Proof::all().map(Self::Proof));
        if extent == Extent::All {
            let guests = |real| REAL.map(|(series, bpf_lsm)| Self::Guest { real, series, bpf_lsm });
            all.extend(Real::ALL.into_iter().flat_map(guests));
        }
        all.push(Self::Instructions);
        all
    }

    /// Whether others of its kind may run at the same time: an emulator keeps one processor busy.
    pub(super) fn is_machine(self) -> bool {
        match self {
            Self::Vm { .. } | Self::Guest { .. } | Self::Instructions => true,
            Self::Proof(proof) => proof.is_machine(),
            _ => false,
        }
    }

    /// Whether it runs tests that have names, or is needed for them.
    pub(super) fn is_for_filters(self) -> bool {
        matches!(self, Self::Tools | Self::Unit | Self::Host | Self::Vm { .. })
    }

    /// Runs it to its end.
    pub(super) fn run(self, workspace: &Workspace, args: &TestArgs) -> Outcome {
        let filters = &args.filters;
        let outcome = match self {
            Self::Tools => tools(workspace, args.quick),
            Self::Format => check(workspace, "format", workspace.cargo().args(["fmt", "--all", "--check"])),
            Self::Lint => lint(workspace),
            Self::LintKernel => lint_kernel(workspace),
            Self::Policy => policy(workspace),
            Self::Unit => unit(workspace, filters),
            Self::Docs => docs::run(workspace),
            Self::Host => host(workspace, filters),
            Self::Vm { series, bpf_lsm } => in_vm(series, bpf_lsm, &machine_runs(series, bpf_lsm, args)),
            Self::Proof(proof) => proof.run(workspace),
            Self::Guest { real, series, bpf_lsm } => Ok(proof::in_guest(real, series, bpf_lsm)),
            Self::Instructions => instructions(workspace),
        };
        outcome.unwrap_or_else(Outcome::from)
    }
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tools => f.write_str("tools"),
            Self::Format => f.write_str("format"),
            Self::Lint => f.write_str("clippy"),
            Self::LintKernel => f.write_str("clippy, kernel programs"),
            Self::Policy => f.write_str("dependency policy"),
            Self::Unit => f.write_str("unit tests"),
            Self::Docs => f.write_str("documentation"),
            Self::Host => f.write_str("this machine's kernel"),
            Self::Proof(proof) => proof.fmt(f),
            Self::Instructions => f.write_str("instruction counts"),
            Self::Vm { series, bpf_lsm } => write!(f, "kernel {series} {}", lsm(*bpf_lsm)),
            Self::Guest { real, series, bpf_lsm } => write!(f, "{series} {}: {real}", lsm(*bpf_lsm)),
        }
    }
}

fn lsm(bpf: bool) -> &'static str {
    if bpf { "with bpf LSM" } else { "without bpf LSM" }
}

/// The outcome, or what became of the command behind it.
pub(super) type Ran = Result<Outcome, step::StepError>;

/// A stage that is one command, and holds when that does.
pub(super) fn check(workspace: &Workspace, name: &str, command: &mut Command) -> Ran {
    step::run(name, command, &workspace.log(name))?;
    Ok(Outcome::Passed(None))
}

/// A tool that cannot be had is one failure, and no reason not to run what can do without it.
fn tools(workspace: &Workspace, quick: bool) -> Ran {
    let level = if quick { setup::Level::Checks } else { setup::Level::Tests };
    Ok(match setup::ensure(workspace, level) {
        Ok(_) => Outcome::Passed(None),
        Err(error) => Outcome::Failed(Counts::ONE_FAILED, error.to_string()),
    })
}

fn lint(workspace: &Workspace) -> Ran {
    check(
        workspace,
        "clippy",
        workspace.cargo().args(["clippy", "--all-targets", "--locked", "--", "-Dwarnings"]),
    )
}

/// By the compiler in use, for this machine: clippy of the eBPF compiler is not packaged everywhere. Release, because
/// without a standard library there is no unwinding.
fn lint_kernel(workspace: &Workspace) -> Ran {
    let mut cargo = workspace.cargo();
    cargo.args(["clippy", "--package", "agent-ebpf", "--release", "--locked", "--", "-Dwarnings"]);
    cargo.env("RUSTFLAGS", format!("--cfg=bpf_target_arch=\"{}\"", env::consts::ARCH));
    // As in the build: the kernel programs use intrinsics that stable does not name.
    cargo.env("RUSTC_BOOTSTRAP", "1");
    cargo.env("CARGO_TARGET_DIR", workspace.target.join("ebpf/lint"));
    check(workspace, "clippy-kernel", &mut cargo)
}

fn policy(workspace: &Workspace) -> Ran {
    let Some(program) = deny::find(workspace) else {
        return Ok(Outcome::Skipped(Reason::Unable(
            "no cargo-deny: run `cargo xtask setup --tests`".to_owned(),
        )));
    };
    let mut command = Command::new(program);
    command.current_dir(&workspace.root).args(["deny", "--locked", "check", "licenses", "bans", "sources"]);
    check(workspace, "cargo-deny", &mut command)
}

fn unit(workspace: &Workspace, filters: &[String]) -> Ran {
    let mut cargo = workspace.cargo();
    cargo.args(["test", "--no-fail-fast", "--locked", "--"]).args(filters);
    let ended = step::attempt("cargo test", &mut cargo, &workspace.log("cargo-test"))?;
    Ok(outcome(&ended, Some(Counts::of_cargo_test(&ended.output()))))
}

fn host(workspace: &Workspace, filters: &[String]) -> Ran {
    if !rustix::process::geteuid().is_root() {
        return Ok(Outcome::Skipped(Reason::Unable("loading kernel programs needs root".to_owned())));
    }
    let mut cargo = workspace.cargo();
    cargo.args(["build", "--locked", "--package", "agent", "--package", KERNEL_TESTS]);
    step::run("build the kernel tests", &mut cargo, &workspace.log("host-build"))?;
    let programs = workspace.target.join("debug");
    let mut tests = Command::new(programs.join(KERNEL_TESTS));
    // As in the virtual machines: the agent is on PATH.
    tests.arg("run").args(filters).env("PATH", path_with(&programs)).current_dir(&workspace.root);
    let ended = step::attempt("telltale-tests run", &mut tests, &workspace.log("host"))?;
    Ok(outcome(&ended, Counts::of_kernel_tests(&ended.output())))
}

/// How many processors a machine of tests has: two where it runs little, so that something runs where processors interrupt
/// each other; an emulated one takes a whole one of the host.
const fn processors(series: Series, bpf_lsm: bool) -> u32 {
    match (series, bpf_lsm) {
        (Series::V6_12, false) | (Series::V6_1, true) => 2,
        _ => 1,
    }
}

fn in_vm(series: Series, bpf_lsm: bool, arguments: &[String]) -> Ran {
    let failed = |detail: String| Ok(Outcome::Failed(Counts::ONE_FAILED, detail));
    // Built once; for the next machine cargo finds nothing to do.
    let binaries = match vm::build_static() {
        Ok(binaries) => binaries,
        Err(error) => return failed(error.to_string()),
    };
    let command = std::iter::once(KERNEL_TESTS.to_owned()).chain(arguments.iter().cloned());
    let spec = BootSpec {
        bpf_lsm,
        cpus: processors(series, bpf_lsm),
        time_limit: VM_TIME_LIMIT,
        files: binaries.guest_files(),
        echo: false,
        ..BootSpec::new(series, command.collect())
    };
    let exit = match vm::boot(&spec) {
        Ok(exit) => exit,
        Err(error) => return failed(error.to_string()),
    };
    Ok(in_machine(&exit, &exit.output()))
}

/// What became of tests in a machine, by its end and their count.
pub(super) fn in_machine(exit: &GuestExit, output: &str) -> Outcome {
    eprintln!("  {} with {}: ready after {}", exit.release, exit.lsm, step::seconds(exit.ready_after));
    if exit.kernel_warned {
        let detail = format!("the kernel gave a warning with a stack trace: see {}", exit.console.display());
        return Outcome::Failed(Counts::ONE_FAILED, detail);
    }
    let counts = Counts::of_kernel_tests(output);
    judge(exit.status == 0, &format!("exit status {}", exit.status), counts, output, &exit.log)
}

fn instructions(workspace: &Workspace) -> Ran {
    Ok(match insn::gate(workspace) {
        Ok(table) => {
            eprintln!("{table}");
            Outcome::Passed(None)
        }
        Err(error) => Outcome::Failed(Counts::ONE_FAILED, error.to_string()),
    })
}

/// What a virtual machine runs. Usually the rung that needs `bpf` among the security modules is tried whole on the newer
/// kernel, the others on the older one, and the last also on this machine's kernel; a brief look is taken at the rest.
/// Each of the longest tests runs in one machine.
fn machine_runs(series: Series, bpf_lsm: bool, args: &TestArgs) -> Vec<String> {
    let mut command = vec!["run".to_owned()];
    if !args.filters.is_empty() {
        command.extend_from_slice(&args.filters);
        return command;
    }
    if args.extent() == Extent::All {
        return command;
    }
    match (series, bpf_lsm) {
        (Series::V6_12, true) => {
            command.extend(["--sessions", "best"].map(str::to_owned));
            command.extend(APART.iter().flat_map(|test| ["--except", test]).map(str::to_owned));
        }
        (Series::V6_12, false) => {
            command.extend(["--sessions", "best"].map(str::to_owned));
            command.extend(BRIEF.iter().chain(&APART).map(|test| (*test).to_owned()));
        }
        (Series::V6_1, false) => {
            command.extend(LONGEST_TESTS.iter().flat_map(|test| ["--except", test]).map(str::to_owned));
        }
        _ => {
            command.extend(["--sessions", "best"].map(str::to_owned));
            command.extend(BRIEF.map(str::to_owned));
        }
    }
    command
}

/// What became of a test program, by its status and its count.
pub(super) fn outcome(ended: &Ended, counts: Option<Counts>) -> Outcome {
    judge(ended.status.success(), &ended.status.to_string(), counts, &ended.output(), &ended.log)
}

/// A test program's result is good only if its status and its count both are.
fn judge(success: bool, status: &str, counts: Option<Counts>, output: &str, log: &Path) -> Outcome {
    let detail = || match failures::named(output) {
        Some(named) => format!("  {status}; what failed, the whole is in {}:\n{named}", log.display()),
        None => format!("  {status}; its end, the whole is in {}:\n{}", log.display(), step::tail(log)),
    };
    match counts {
        Some(counts) if success && counts.failed == 0 => Outcome::Passed(Some(counts)),
        Some(counts) if counts.failed > 0 => Outcome::Failed(counts, detail()),
        Some(counts) => Outcome::Failed(Counts { failed: 1, ..counts }, detail()),
        None => Outcome::Failed(Counts::ONE_FAILED, format!("  it printed no count\n{}", detail())),
    }
}

fn path_with(dir: &Path) -> std::ffi::OsString {
    let mut path = dir.as_os_str().to_owned();
    if let Some(inherited) = env::var_os("PATH") {
        path.push(":");
        path.push(inherited);
    }
    path
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn args(all: bool, filters: &[&str]) -> TestArgs {
        let filters = filters.iter().map(|filter| (*filter).to_owned()).collect();
        TestArgs { quick: false, no_vm: false, all, filters }
    }

    fn machines(args: &TestArgs) -> Vec<Vec<String>> {
        let stages = Stage::of(args.extent()).into_iter();
        let run = |stage| match stage {
            Stage::Vm { series, bpf_lsm } => Some(machine_runs(series, bpf_lsm, args)),
            _ => None,
        };
        stages.filter_map(run).collect()
    }

    #[test]
    fn every_kernel_is_booted_both_ways() {
        assert_eq!(machines(&args(false, &[])).len(), 4);
        assert!(USUAL.iter().all(|(series, bpf_lsm)| USUAL.contains(&(*series, !bpf_lsm))));
        assert_eq!(machines(&args(true, &[])).len(), Series::value_variants().len() * 2);
    }

    #[test]
    fn each_proof_with_real_programs_runs_in_guests_where_all_is_asked_for() {
        let guests = |extent| {
            let is_guest = |stage: &Stage| matches!(stage, Stage::Guest { .. });
            Stage::of(extent).iter().filter(|stage| is_guest(stage)).count()
        };
        assert_eq!((guests(Extent::Usual), guests(Extent::All)), (0, Real::ALL.len() * REAL.len()));
        assert!(REAL.iter().any(|(_, bpf_lsm)| *bpf_lsm) && REAL.iter().any(|(_, bpf_lsm)| !bpf_lsm));
    }

    #[test]
    fn the_longest_tests_run_in_one_machine_unless_all_is_asked_for_or_they_are_named() {
        let with = |args: &TestArgs, test: &str| {
            let runs = |command: &Vec<String>| {
                let is_brief = BRIEF.iter().any(|filter| command.iter().any(|word| word == filter));
                let is_excepted = command.windows(2).any(|pair| pair[0] == "--except" && pair[1] == test);
                let is_named = command.windows(2).any(|pair| pair[0] != "--except" && pair[1] == test);
                !is_excepted && (is_named || !is_brief)
            };
            machines(args).into_iter().filter(runs).count()
        };
        for test in LONGEST_TESTS {
            assert_eq!(with(&args(false, &[]), test), 1, "{test}");
            assert_eq!(with(&args(false, &[test]), test), 4, "{test}");
            assert_eq!(with(&args(true, &[]), test), machines(&args(true, &[])).len(), "{test}");
        }
    }

    #[test]
    fn a_program_that_dies_is_a_failure_whatever_it_counted() {
        let dir = tempfile::tempdir().unwrap();
        let log = dir.path().join("log");
        fs::write(&log, "Segmentation fault\n").unwrap();
        let some = Some(Counts { passed: 4, failed: 0, skipped: 0 });
        for (success, counts, failed) in
            [(true, some, 0), (false, some, 1), (true, None, 1), (true, Some(Counts::ONE_FAILED), 1)]
        {
            match judge(success, "signal: 11", counts, "", &log) {
                Outcome::Passed(_) => assert_eq!(failed, 0),
                Outcome::Failed(counts, detail) => {
                    assert_eq!(counts.failed, failed);
                    assert!(detail.contains("Segmentation fault"), "{detail}");
                }
                Outcome::Skipped(reason) => panic!("{reason}"),
            }
        }
    }
}
