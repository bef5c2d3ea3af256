//! Which hierarchy of cgroups names workloads: that of version 2, or one of version 1.
//!
//! On a host with version 1, a process is in one cgroup of each hierarchy, and who names them differs:
//!
//! - systemd makes a cgroup for each unit and session in `name=systemd`, and in a controller's hierarchy only where it
//!   accounts for that controller; container engines (runc, crun, LXC) enter every hierarchy that is mounted. So where
//!   systemd has made its cgroups there, `name=systemd` it is, also beside version 2 (hybrid), which runc before 1.0.0
//!   leaves alone.
//! - Else version 2 where the host has mounted it at its place: then engines use it.
//! - Else (a host without systemd, where version 2 was mounted for this agent's programs alone) a controller that engines
//!   always use.

use std::path::Path;

use super::mounts::Mounts;
use super::{CgroupMount, Finding, Sources};
use crate::model::process::Hierarchy;

const NAME: &str = "workload_cgroups";
/// This process's cgroup in each hierarchy that there is.
const HIERARCHIES: &str = "/proc/self/cgroup";
/// The hierarchy of systemd.
const SERVICE_MANAGER: &str = "name=systemd";
/// What systemd makes at its root.
const OF_SERVICE_MANAGER: [&str; 2] = ["system.slice", "init.scope"];
/// Where hosts mount version 2, seen from anywhere.
const PLACES: [&str; 2] = ["sys/fs/cgroup", "sys/fs/cgroup/unified"];
/// Controllers that engines put their containers into, which limit something for each.
const CONTROLLERS: [&str; 5] = ["pids", "memory", "cpu", "devices", "freezer"];

/// The hierarchy that names workloads; none where none is mounted.
pub(super) fn choose(
    sources: &Sources,
    mounts: &Mounts,
    initial_namespace: Option<bool>,
    version_2: Option<&CgroupMount>,
) -> (Option<Hierarchy>, Finding) {
    let known = sources.read(HIERARCHIES);
    let lines = known.as_deref().unwrap_or_default();
    let find = |controller: &str| {
        let number = number_of(lines, controller)?;
        let root = mounts.version_1(controller, initial_namespace)?.to_owned();
        Some(Hierarchy { number, root })
    };
    let is_made = |root: &Path| {
        OF_SERVICE_MANAGER.iter().any(|name| sources.path(&root.join(name).to_string_lossy()).is_dir())
    };
    let unified = version_2.map(|mount| Hierarchy { number: 0, root: mount.path.clone() });
    let is_the_hosts = |mount: &Hierarchy| PLACES.iter().any(|place| mount.root.ends_with(place));
    let (found, name) = if let Some(found) = find(SERVICE_MANAGER).filter(|found| is_made(&found.root)) {
        (Some(found), SERVICE_MANAGER)
    } else if unified.as_ref().is_some_and(is_the_hosts) {
        (unified, "version 2")
    } else if let Some((found, name)) = CONTROLLERS.iter().find_map(|name| Some((find(name)?, *name))) {
        (Some(found), name)
    } else {
        (unified, "version 2")
    };
    let finding = match (&known, &found) {
        (Err(error), _) => Finding::could_not_tell(
            NAME,
            format!("{HIERARCHIES} cannot be read: {error}"),
            "mount -t proc proc /proc",
        ),
        (Ok(_), Some(Hierarchy { number: 0, root })) => {
            Finding::yes(NAME, format!("version 2, at {}", root.display()))
        }
        (Ok(_), Some(Hierarchy { number, root })) => Finding::yes(
            NAME,
            format!(
                "version 1: {name} (hierarchy {number}) at {} names units and containers",
                root.display()
            ),
        ),
        (Ok(_), None) => Finding::no(
            NAME,
            "no hierarchy is mounted: no unit, container or pod is known",
            "mkdir -p /run/cgroup2 && mount -t cgroup2 cgroup2 /run/cgroup2",
        ),
    };
    (found, finding)
}

/// The number of the hierarchy of a controller, or of a name: `5:memory:/`, `1:name=systemd:/`.
fn number_of(lines: &str, controller: &str) -> Option<u32> {
    lines.lines().find_map(|line| {
        let mut fields = line.splitn(3, ':');
        let (number, controllers) = (fields.next()?, fields.next()?);
        controllers.split(',').any(|one| one == controller).then(|| number.parse().ok())?
    })
}
