//! What others have done to the agent's hooks since they were attached.
//!
//! Who may attach programs may also take others' away, and who may change the host's settings may switch hooks off. The
//! agent does not fight root; it says that it sees less.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::Path;

/// Something that no longer is as the agent made it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Impairment {
    /// Stable name: `detached`, `tracing_off`, `unpinned`.
    pub cause: &'static str,
    /// The hook, or the path.
    pub what: String,
}

impl Impairment {
    /// What follows from it, and what to do.
    pub fn remedy(&self) -> &'static str {
        match self.cause {
            "detached" => "what this hook sees is no longer told; find out who did it, and restart the agent",
            "tracing_off" => {
                "what these hooks see is no longer told; find out who did it, and set kernel.ftrace_enabled=1"
            }
            _ => {
                "what happens while no agent runs will not be told; find out who did it, and restart the agent"
            }
        }
    }
}

/// Ids of this process's links to cgroups that somebody has detached (`bpftool link detach`): such a link is there, and
/// names no cgroup any more. Links to all other hooks cannot be detached while they are held.
///
/// `/proc` is asked: aya's `LinkInfo` does not give the cgroup.
///
/// # Errors
/// Where `/proc` cannot be read.
pub(super) fn detached_links() -> io::Result<BTreeSet<u32>> {
    let mut detached = BTreeSet::new();
    for entry in fs::read_dir("/proc/self/fdinfo")?.flatten() {
        // What was closed meanwhile is no link.
        let Ok(text) = fs::read_to_string(entry.path()) else { continue };
        detached.extend(detached_link(&text));
    }
    Ok(detached)
}

/// The id of the link that a file of `/proc/PID/fdinfo` is of, where that link was detached.
fn detached_link(text: &str) -> Option<u32> {
    let value = |name: &str| {
        let found = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        found.map(str::trim)
    };
    let id = value("link_id")?.parse().ok()?;
    (value("cgroup_id")? == "0").then_some(id)
}

/// Whether functions are traced at all. Trampolines, and with them `fentry`, `fexit` and LSM programs, are called no more
/// where they are not.
pub(super) fn is_tracing_off() -> bool {
    const SWITCH: &str = "/proc/sys/kernel/ftrace_enabled";
    fs::read_to_string(SWITCH).is_ok_and(|text| text.trim() == "0")
}

/// Says what is new, or over.
pub(crate) fn report(before: &[Impairment], now: &[Impairment]) {
    for impairment in now.iter().filter(|one| !before.contains(one)) {
        let Impairment { cause, what } = impairment;
        tracing::error!(%cause, %what, "somebody has impaired the agent: {}", impairment.remedy());
    }
    for Impairment { cause, what } in before.iter().filter(|one| !now.contains(one)) {
        tracing::warn!(%cause, %what, "no longer impaired");
    }
}

/// Of `paths`, those that are gone.
pub(super) fn missing<'a>(paths: impl IntoIterator<Item = &'a Path>) -> impl Iterator<Item = &'a Path> {
    paths
        .into_iter()
        .filter(|path| fs::symlink_metadata(path).is_err_and(|error| error.kind() == io::ErrorKind::NotFound))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_without_its_cgroup_was_detached() {
        // As the kernel writes it (6.12).
        let link = |cgroup: &str| {
            format!(
                "pos:\t0\nflags:\t02000000\nmnt_id:\t16\nino:\t1044\nlink_type:\tcgroup\nlink_id:\t27\n\
                 prog_tag:\t0ab1\nprog_id:\t61\ncgroup_id:\t{cgroup}\nattach_type:\t10\n"
            )
        };
        assert_eq!(detached_link(&link("0")), Some(27));
        assert_eq!(detached_link(&link("1")), None);
        let tracing = "link_type:\ttracing\nlink_id:\t5\nprog_tag:\t0a\nprog_id:\t6\nattach_type:\t24\n";
        assert_eq!(detached_link(tracing), None);
        for text in ["", "link_id:\n", "link_id:\tx\ncgroup_id:\t0\n", "cgroup_id:\t0\n"] {
            assert_eq!(detached_link(text), None, "{text}");
        }
    }
}
