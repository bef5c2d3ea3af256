//! What a host may lack, or have set: the kernel's types, its file systems, its switches.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use super::privileges::as_service;
use super::{Case, code, doctor, names, own, refused, run, works};
use crate::harness::child::Captured;
use crate::harness::mounts::{self, Without};
use crate::harness::privileges::OF_THE_SERVICE;
use crate::harness::setting::Setting;
use crate::outcome::{During, Outcome, Verdict, ensure, failed, skipped};

/// All of them.
pub(super) fn cases() -> Vec<Case> {
    vec![
        own("bad-input/no-kernel-types", no_kernel_types),
        own("bad-input/no-tracefs", no_tracefs),
        own("bad-input/no-securityfs", no_securityfs),
        own("bad-input/no-cgroup-v2/covered", |setting| no_cgroup(setting, Without::Covered)),
        own("bad-input/no-cgroup-v2/unmounted", |setting| no_cgroup(setting, Without::Unmounted)),
        own("bad-input/kernel-settings", kernel_settings),
    ]
}

/// Has a command run without what is in a directory.
fn covered(mut command: Command, directories: &[&str]) -> Outcome<Command> {
    let there: Vec<PathBuf> = directories.iter().map(PathBuf::from).filter(|path| path.is_dir()).collect();
    mounts::without(&mut command, Without::Covered, &there)?;
    Ok(command)
}

/// The report of `doctor`, and its exit code.
pub(super) fn report(setting: &Setting, command: &mut Command) -> Outcome<(Value, Option<i32>)> {
    let finished = Captured::start(command)?.finish(setting.limit)?;
    names(&finished.stderr, &[])?;
    let report =
        serde_json::from_str(&finished.stdout).during(format!("read the report ({})", finished.stderr))?;
    Ok((report, finished.code()))
}

/// What `doctor` found of that name.
pub(super) fn finding(report: &Value, name: &str) -> Outcome<Value> {
    let findings = report.get("host").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let found = findings.iter().find(|one| one.get("name").and_then(Value::as_str) == Some(name));
    found.cloned().map_or_else(|| failed(format!("doctor says nothing of {name}: {report}")), Ok)
}

pub(super) fn is_found(report: &Value, name: &str, state: &str, words: &[&str]) -> Outcome {
    let finding = finding(report, name)?;
    let found = finding.get("state").and_then(Value::as_str);
    ensure(found == Some(state), || format!("{name} should be {state}: {finding}"))?;
    names(&finding.to_string(), words)
}

/// What serves each capability.
fn serving(report: &Value) -> Vec<(&str, &str)> {
    let capabilities = report.get("capabilities").and_then(Value::as_array).map(Vec::as_slice);
    capabilities
        .unwrap_or_default()
        .iter()
        .filter_map(|one| Some((one.get("name")?.as_str()?, one.get("served_by")?.as_str()?)))
        .collect()
}

fn no_kernel_types(setting: &Setting) -> Outcome {
    let without = |command| covered(command, &["/sys/kernel/btf"]);
    let words = ["/sys/kernel/btf/vmlinux", "CONFIG_DEBUG_INFO_BTF", "remedy"];
    refused(setting, &mut without(run(setting))?, code::KERNEL, &words)?;
    let (report, status) = report(setting, &mut without(doctor(setting))?)?;
    ensure(status == Some(code::KERNEL), || format!("doctor ended with {status:?}"))?;
    is_found(&report, "kernel_types", "no", &words[..2])
}

/// No hook needs it: nothing is lost without, and `doctor` says so.
fn no_tracefs(setting: &Setting) -> Outcome {
    let without = |command| covered(command, &["/sys/kernel/tracing", "/sys/kernel/debug"]);
    works(setting, &mut without(run(setting))?, &[])?;
    let (with, _) = report(setting, &mut doctor(setting))?;
    let (report, status) = report(setting, &mut without(doctor(setting))?)?;
    is_found(&report, "tracefs", "no", &["not needed", "mount -t tracefs"])?;
    ensure(serving(&report) == serving(&with) && !serving(&report).is_empty(), || {
        format!("other hooks serve without tracefs, exit {status:?}: {report}")
    })
}

/// What cannot be told is not called absent; it is no reason not to run.
fn no_securityfs(setting: &Setting) -> Outcome {
    let without = |command| covered(command, &["/sys/kernel/security"]);
    works(setting, &mut without(run(setting))?, &[])?;
    let (report, _) = report(setting, &mut without(doctor(setting))?)?;
    is_found(&report, "lockdown", "could_not_tell", &["mount -t securityfs"])?;
    is_found(&report, "lsm_bpf", "could_not_tell", &["mount -t securityfs"])
}

fn no_cgroup(setting: &Setting, how: Without) -> Outcome {
    let point = mounts::point("cgroup2")?;
    let without = |mut command: Command| -> Outcome<Command> {
        mounts::without(&mut command, how, std::slice::from_ref(&point))?;
        Ok(command)
    };
    let words = ["cgroup_v2", "not mounted", "mount -t cgroup2"];
    refused(setting, &mut without(run(setting))?, code::CGROUP, &words)?;
    let (report, status) = report(setting, &mut without(doctor(setting))?)?;
    ensure(status == Some(code::CGROUP), || format!("doctor ended with {status:?}"))?;
    is_found(&report, "cgroup_v2", "no", &words[1..])
}

/// A switch of the kernel, put back when dropped.
struct Switch {
    path: &'static Path,
    before: String,
}

impl Switch {
    fn set(path: &'static str, value: &str) -> Outcome<Self> {
        let path = Path::new(path);
        let before = fs::read_to_string(path).during(path.display())?;
        fs::write(path, value).during(path.display())?;
        let now = fs::read_to_string(path).during(path.display())?;
        let switch = Self { path, before };
        ensure(now.trim() == value, || format!("{} is {now} and not {value}", path.display()))?;
        Ok(switch)
    }
}

impl Drop for Switch {
    fn drop(&mut self) {
        let _ = fs::write(self.path, &self.before);
    }
}

/// The strictest that these have: what a service has is enough, and what root has.
fn kernel_settings(setting: &Setting) -> Outcome {
    if !setting.is_guest() {
        return skipped("it changes settings of the kernel: in a virtual machine alone");
    }
    let _unprivileged = Switch::set("/proc/sys/kernel/unprivileged_bpf_disabled", "2")?;
    for level in ["3", "4"] {
        let _paranoid = Switch::set("/proc/sys/kernel/perf_event_paranoid", level)?;
        let during = |verdict: Verdict| verdict.during(format!("perf_event_paranoid={level}"));
        works(setting, &mut as_service(setting, OF_THE_SERVICE)?, &[]).map_err(during)?;
        let (report, _) = report(setting, &mut doctor(setting))?;
        is_found(&report, "perf_event_paranoid", "yes", &[level])?;
        is_found(&report, "unprivileged_bpf_disabled", "yes", &["2"])?;
    }
    Ok(())
}
