//! The kernel itself: release, types, security modules, settings.

use std::fs::File;
use std::io::{self, ErrorKind, Read};

use super::mounts::Mounts;
use super::{Finding, Sources, unreadable};

const SECURITYFS: &str = "/sys/kernel/security";
const MOUNT_SECURITYFS: &str = "mount -t securityfs securityfs /sys/kernel/security";
const BTF: &str = "/sys/kernel/btf/vmlinux";
const BTF_MAGIC: u16 = 0xeb9f;

pub(super) fn kernel(sources: &Sources) -> (String, Finding) {
    const NAME: &str = "kernel";
    let release = sources.read("/proc/sys/kernel/osrelease").unwrap_or_default();
    let machine = &sources.machine;
    let shown = if release.is_empty() { "unknown release" } else { &release };
    let finding = match machine.as_str() {
        "x86_64" | "aarch64" => Finding::yes(NAME, format!("{shown} on {machine}")),
        _ => Finding::no(NAME, format!("{shown} on {machine}"), "use a host with x86-64 or arm64"),
    };
    (release, finding.required())
}

pub(super) fn types(sources: &Sources) -> Finding {
    const NAME: &str = "kernel_types";
    let path = sources.path(BTF);
    let mut magic = [0; 2];
    let finding = match File::open(&path).and_then(|mut file| file.read_exact(&mut magic)) {
        Ok(()) if u16::from_ne_bytes(magic) == BTF_MAGIC => Finding::yes(NAME, BTF),
        Err(error) if !matches!(error.kind(), ErrorKind::NotFound | ErrorKind::UnexpectedEof) => {
            Finding::could_not_tell(NAME, unreadable(&path, &error), "run as root")
        }
        Err(error) if error.kind() == ErrorKind::NotFound => Finding::no(
            NAME,
            format!("{BTF} is missing: no program can read the kernel's structures"),
            "use a kernel built with CONFIG_DEBUG_INFO_BTF=y (Debian 11, Ubuntu 20.10, RHEL 8.2 and later have \
             it); in a container, mount the host's /sys/kernel/btf",
        ),
        _ => Finding::no(NAME, format!("{BTF} holds no types"), "boot a kernel with intact BTF"),
    };
    finding.required()
}

/// Reads a file of securityfs; `Ok(None)`: the file system is there, and the file is not.
fn security(sources: &Sources, mounts: &Mounts, file: &str) -> Result<Option<String>, (String, String)> {
    let directory = mounts.point("securityfs").map(|point| point.display().to_string());
    let path = format!("{}/{file}", directory.as_deref().unwrap_or(SECURITYFS));
    match sources.read(&path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == ErrorKind::NotFound && directory.is_none() => {
            Err(("securityfs is not mounted".to_owned(), MOUNT_SECURITYFS.to_owned()))
        }
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err((unreadable(&sources.path(&path), &error), "run as root".to_owned())),
    }
}

pub(super) fn lockdown(sources: &Sources, mounts: &Mounts) -> Finding {
    const NAME: &str = "lockdown";
    let mode = match security(sources, mounts, "lockdown") {
        Ok(Some(modes)) => modes,
        Ok(None) => return Finding::yes(NAME, "not built in").required(),
        Err((reason, remedy)) => return Finding::could_not_tell(NAME, reason, remedy).required(),
    };
    // The active one is in brackets: `none [integrity] confidentiality`.
    let active = mode.split_whitespace().find_map(|word| word.strip_prefix('[')?.strip_suffix(']'));
    match active {
        Some("confidentiality") => Finding::no(
            NAME,
            "confidentiality: programs may not read the kernel's memory",
            "boot with lockdown=integrity, or without lockdown",
        ),
        Some(mode @ ("none" | "integrity")) => Finding::yes(NAME, mode),
        _ => Finding::could_not_tell(
            NAME,
            format!("the kernel says {mode:?}, which is unknown"),
            "see whether the programs load: run telltale doctor as root",
        ),
    }
    .required()
}

pub(super) fn lsm(sources: &Sources, mounts: &Mounts) -> (Option<Vec<String>>, Finding) {
    const NAME: &str = "lsm_bpf";
    const LOST: &str =
        "opens are seen by a lesser hook; what it costs and misses stands with credential_open";
    let list = match security(sources, mounts, "lsm") {
        Ok(list) => list.unwrap_or_default(),
        Err((reason, remedy)) => return (None, Finding::could_not_tell(NAME, reason, remedy)),
    };
    let modules: Vec<String> = list.split(',').filter(|m| !m.is_empty()).map(str::to_owned).collect();
    let finding = if modules.iter().any(|module| module == "bpf") {
        Finding::yes(NAME, format!("{list}; whether such programs load, only loading tells"))
    } else if modules.is_empty() {
        Finding::no(NAME, format!("no security modules: {LOST}"), "use a kernel built with CONFIG_BPF_LSM=y")
    } else {
        Finding::no(
            NAME,
            format!("{list}: bpf is not among them; {LOST}"),
            format!(
                "boot with lsm={list},bpf (Debian: add it to GRUB_CMDLINE_LINUX in /etc/default/grub, then \
                 update-grub)"
            ),
        )
    };
    (Some(modules), finding)
}

pub(super) fn perf_event_paranoid(sources: &Sources) -> Finding {
    const NAME: &str = "perf_event_paranoid";
    match setting(sources, "/proc/sys/kernel/perf_event_paranoid") {
        // What the level restricts is perf_event_open, which serves kprobes, uprobes and classic tracepoints alone.
        Ok(level) => {
            Finding::yes(NAME, format!("{level}; at any level: no hook is attached by a perf event"))
        }
        Err(error) => unset(NAME, &error),
    }
}

pub(super) fn unprivileged_bpf(sources: &Sources) -> Finding {
    const NAME: &str = "unprivileged_bpf_disabled";
    match setting(sources, "/proc/sys/kernel/unprivileged_bpf_disabled") {
        Ok(0) => Finding::no(
            NAME,
            "0: any user may load programs; nothing is lost here, but the host is open to more",
            "sysctl kernel.unprivileged_bpf_disabled=2",
        ),
        Ok(level) => {
            Finding::yes(NAME, format!("{level}: programs need capabilities, which are looked at above"))
        }
        Err(error) => unset(NAME, &error),
    }
}

fn setting(sources: &Sources, path: &str) -> io::Result<i64> {
    sources.read(path)?.parse().map_err(|_| io::Error::new(ErrorKind::InvalidData, "not a number"))
}

fn unset(name: &'static str, error: &io::Error) -> Finding {
    let detail = format!("kernel.{name} cannot be read: {error}");
    Finding::could_not_tell(name, detail, "mount -t proc proc /proc; some kernels are built without it")
}
