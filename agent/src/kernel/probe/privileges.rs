//! What this process may do: capabilities, namespaces.

use std::fs;

use caps::Capability;

use super::{Finding, Sources, unreadable};

/// Loading and attaching needs exactly these.
const LOAD: [Capability; 3] = [Capability::CAP_BPF, Capability::CAP_PERFMON, Capability::CAP_NET_ADMIN];

/// The inode numbers of the first namespaces, fixed in the kernel's `include/linux/proc_ns.h`.
const INITIAL: [(&str, u64); 4] =
    [("uts", 0xefff_fffe), ("user", 0xefff_fffd), ("pid", 0xefff_fffc), ("cgroup", 0xefff_fffb)];

/// Whether we are in the host's namespace of `kind`.
pub(super) fn in_initial_namespace(sources: &Sources, kind: &str) -> Result<bool, String> {
    let path = sources.path(&format!("/proc/self/ns/{kind}"));
    let link = fs::read_link(&path).map_err(|error| unreadable(&path, &error))?;
    let inode = link
        .to_str()
        .and_then(|link| link.strip_prefix(kind)?.strip_prefix(":[")?.strip_suffix(']')?.parse().ok())
        .ok_or_else(|| format!("{} has an unknown form", path.display()))?;
    Ok(INITIAL.contains(&(kind, inode)))
}

pub(super) fn load(sources: &Sources) -> Finding {
    const NAME: &str = "load_capabilities";
    let held = match &sources.effective {
        Ok(held) => held,
        Err(error) => return no_capabilities(NAME, error).required(),
    };
    let missing: Vec<_> = LOAD.iter().filter(|wanted| !held.contains(wanted)).collect();
    if missing.is_empty() {
        return Finding::yes(NAME, names(&LOAD)).required();
    }
    if held.contains(&Capability::CAP_SYS_ADMIN) {
        return Finding::yes(NAME, "CAP_SYS_ADMIN, which stands in for the narrower ones").required();
    }
    let missing = names(missing);
    let remedy = format!("run as root, or give the service {missing} (systemd: AmbientCapabilities=)");
    Finding::no(NAME, format!("{missing} missing: no program can be loaded"), remedy).required()
}

pub(super) fn read(sources: &Sources) -> Finding {
    const NAME: &str = "read_capabilities";
    let held = match &sources.effective {
        Ok(held) => held,
        Err(error) => return no_capabilities(NAME, error),
    };
    let reads_files =
        held.contains(&Capability::CAP_DAC_READ_SEARCH) || held.contains(&Capability::CAP_DAC_OVERRIDE);
    let reads_processes = held.contains(&Capability::CAP_SYS_PTRACE);
    let (missing, lost) = match (reads_processes, reads_files) {
        (true, true) => return Finding::yes(NAME, "CAP_SYS_PTRACE, CAP_DAC_READ_SEARCH"),
        (true, false) => ("CAP_DAC_READ_SEARCH", "credentials in homes closed to others are not found"),
        (false, true) => ("CAP_SYS_PTRACE", "what already runs under other users is known in part only"),
        (false, false) => (
            "CAP_SYS_PTRACE, CAP_DAC_READ_SEARCH",
            "credentials in homes closed to others are not found, and what already runs under other users is \
             known in part only",
        ),
    };
    let remedy = format!("run as root, or give the service {missing} (systemd: AmbientCapabilities=)");
    Finding::no(NAME, format!("{missing} missing: {lost}"), remedy)
}

pub(super) fn user_namespace(sources: &Sources) -> Finding {
    const NAME: &str = "user_namespace";
    match in_initial_namespace(sources, "user") {
        Ok(true) => Finding::yes(NAME, "the host's").required(),
        Ok(false) => Finding::no(
            NAME,
            "a user namespace of its own: its capabilities do not count for loading programs",
            "run in the host's user namespace (as root; podman: --userns=host; Kubernetes: hostUsers: true)",
        )
        .required(),
        Err(reason) => Finding::could_not_tell(NAME, reason, "mount -t proc proc /proc").required(),
    }
}

pub(super) fn pid_namespace(sources: &Sources) -> Finding {
    const NAME: &str = "pid_namespace";
    match in_initial_namespace(sources, "pid") {
        Ok(true) => Finding::yes(NAME, "the host's").required(),
        Ok(false) => Finding::no(
            NAME,
            "a container's own: the kernel's process ids are not those of this /proc, and processes would be \
             mistaken for others",
            "run in the host's pid namespace (docker, podman: --pid=host; Kubernetes: hostPID: true)",
        )
        .required(),
        Err(reason) => Finding::could_not_tell(NAME, reason, "mount -t proc proc /proc").required(),
    }
}

fn no_capabilities(name: &'static str, error: &str) -> Finding {
    let detail = format!("this process's capabilities cannot be read: {error}");
    Finding::could_not_tell(name, detail, "run as root; a seccomp filter may forbid capget")
}

fn names<'a>(capabilities: impl IntoIterator<Item = &'a Capability>) -> String {
    capabilities.into_iter().map(Capability::to_string).collect::<Vec<_>>().join(", ")
}
