//! What the path of a cgroup says: which unit, session or container a process is in, and who named it so.
//!
//! systemd and container engines give each unit and container a cgroup of its own. Such a name is worth what the
//! right to make it is worth. From the root down, names are the host's until a *delegation point*; below it, they
//! are written by whoever the cgroup was given to, and are claims:
//!
//! - `user@UID.service`: below are the units of the user's own service manager, named by the user;
//! - a container: below are cgroups that its own processes may make, those of an engine within it too. So the
//!   outermost container is the one that is known, and one nested in it is a claim;
//! - any other service or scope: it may have been delegated to an unprivileged user (`Delegate=`). The units of
//!   engines that run as root are the exception (`shapes::ENGINE_UNITS`): they name containers below themselves.
//!
//! A plain directory that an administrator gave away by hand, outside any unit, does not show in the path: names
//! below it pass for the host's.
//!
//! Shapes are from systemd.unit(5), systemd-nspawn(1), `docs/CGROUP_DELEGATION.md` of systemd, and the cgroup drivers
//! of runc, crun, LXC and the kubelet.

mod shapes;
pub(super) use shapes::is_unit;
#[cfg(test)]
mod tests;

use std::sync::Arc;

/// Components that are looked at; deeper ones say nothing here.
const COMPONENTS: usize = 64;
/// Bytes of one component: `NAME_MAX`.
const COMPONENT_BYTES: usize = 255;

/// A container, as a cgroup's name has it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ContainerName {
    /// The engine (`docker`, `podman`, `containerd`, `crio`, `nspawn`, `lxc`, `machine`; `oci` where it does not say).
    pub engine: &'static str,
    /// Container id or machine name.
    pub id: Arc<[u8]>,
}

/// A session of a login (`session-3.scope`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Session {
    /// The user of its slice.
    pub uid: u32,
    /// logind's id of it.
    pub id: Arc<[u8]>,
}

/// What the path of a cgroup says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Place {
    /// The container, named by an engine of the host.
    pub container: Option<ContainerName>,
    /// The uid of the pod it is in, as Kubernetes writes it.
    pub pod: Option<String>,
    /// The innermost unit of the system's service manager, with its suffix. Not the scope of a session or container.
    pub unit: Option<Arc<[u8]>>,
    /// The session of a login.
    pub session: Option<Session>,
    /// The user whose own service manager this is below of.
    pub user_manager: Option<u32>,
    /// The innermost unit of that one: a claim.
    pub claimed_unit: Option<Arc<[u8]>>,
    /// The innermost container below a delegation point: a claim.
    pub claimed_container: Option<ContainerName>,
}

/// Who names what comes next.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Namer {
    /// The host.
    Host,
    /// An engine of the host, below its own unit.
    Engine,
    /// A user's own service manager.
    User,
    /// Whoever the cgroup was given to.
    Other,
}

impl Place {
    /// Reads a path below the cgroup v2 mount. One that does not begin at its root (cut, or seen from another cgroup
    /// namespace) says nothing: its delegation points are not known.
    pub fn parse(path: &[u8]) -> Self {
        let mut place = Self::default();
        let Some(path) = path.strip_prefix(b"/") else { return place };
        let components: Vec<&[u8]> = path.split(|&byte| byte == b'/').take(COMPONENTS).collect();
        if components.iter().any(|component| *component == b".." || component.len() > COMPONENT_BYTES) {
            return place;
        }
        let mut namer = Namer::Host;
        let mut parent: &[u8] = b"";
        for (depth, &component) in components.iter().enumerate() {
            let below = components.get(depth + 1).copied();
            let component = shapes::unescape_cgroup(component);
            let here = shapes::Here { component, parent, depth, below };
            namer = place.step(namer, here);
            parent = component;
        }
        place
    }

    /// Takes one component; who names those below it.
    fn step(&mut self, namer: Namer, here: shapes::Here<'_>) -> Namer {
        match namer {
            Namer::Host => self.host_step(here),
            Namer::Engine => match shapes::container(here) {
                Some(container) => self.enter(container, here),
                None => {
                    self.pod = shapes::pod(here.component).or(self.pod.take());
                    namer
                }
            },
            Namer::User | Namer::Other => {
                if let Some(container) = shapes::container(here) {
                    self.claimed_container = Some(container);
                    return Namer::Other;
                }
                if namer == Namer::User && shapes::is_unit(here.component) {
                    self.claimed_unit = Some(here.component.into());
                }
                namer
            }
        }
    }

    fn host_step(&mut self, here: shapes::Here<'_>) -> Namer {
        if let Some(container) = shapes::container(here) {
            return self.enter(container, here);
        }
        if shapes::is_monitor(here) {
            return Namer::Other;
        }
        if let Some(uid) = shapes::user_manager(here) {
            self.user_manager = Some(uid);
            return Namer::User;
        }
        if let Some(session) = shapes::session(here) {
            self.session = Some(session);
            return Namer::Other;
        }
        if shapes::is_unit(here.component) {
            self.unit = Some(here.component.into());
            return if shapes::ENGINE_UNITS.contains(&here.component) { Namer::Engine } else { Namer::Other };
        }
        self.pod = shapes::pod(here.component).or(self.pod.take());
        Namer::Host
    }

    fn enter(&mut self, container: ContainerName, here: shapes::Here<'_>) -> Namer {
        self.unit = None;
        self.pod = shapes::pod(here.component).or(self.pod.take());
        self.container = Some(container);
        Namer::Other
    }
}
