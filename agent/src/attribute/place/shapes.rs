//! Shapes of single components of a cgroup path.

use super::{ContainerName, Session};

/// Units of engines that run as root and name containers below themselves (the cgroupfs driver, k3s).
pub(super) const ENGINE_UNITS: &[&[u8]] = &[
    b"containerd.service",
    b"crio.service",
    b"docker.service",
    b"k3s-agent.service",
    b"k3s.service",
    b"kubelet.service",
    b"rke2-agent.service",
    b"rke2-server.service",
];

/// `PREFIX-<id>.scope`, `PREFIX-<id>` and `SLICE:PREFIX:<id>`: which engine writes this prefix.
const PREFIXES: &[(&[u8], &str)] = &[
    (b"docker", "docker"),
    (b"libpod", "podman"),
    (b"cri-containerd", "containerd"),
    (b"nerdctl", "containerd"),
    (b"crio", "crio"),
];

/// `PARENT/<id>`: which engine puts its containers there.
const PARENTS: &[(&[u8], &str)] = &[
    (b"docker", "docker"),
    (b"actions_job", "docker"),
    (b"k8s.io", "containerd"),
    (b"moby", "containerd"),
    (b"default", "containerd"),
    (b"libpod_parent", "podman"),
];

/// Types of units that have a cgroup with processes in it.
const UNIT_SUFFIXES: &[&[u8]] = &[b".service", b".scope", b".socket", b".mount", b".swap"];

/// A component and what is around it.
#[derive(Clone, Copy)]
pub(super) struct Here<'a> {
    pub(super) component: &'a [u8],
    /// The one above; empty at the root.
    pub(super) parent: &'a [u8],
    /// Components above it.
    pub(super) depth: usize,
    /// The one below, where there is one.
    pub(super) below: Option<&'a [u8]>,
}

/// systemd puts a `_` before names that the kernel or itself keeps (`_cpu.service`).
pub(super) fn unescape_cgroup(component: &[u8]) -> &[u8] {
    component.strip_prefix(b"_").unwrap_or(component)
}

/// The container that a component names.
pub(super) fn container(here: Here<'_>) -> Option<ContainerName> {
    let Here { component, parent, depth, below } = here;
    if let Some(name) = component.strip_prefix(b"lxc.payload.").filter(|name| !name.is_empty()) {
        return named("lxc", name.to_vec());
    }
    // `lxc/NAME` before LXC 3.1, `lxc.payload/NAME` from then to 3.2.
    if matches!(parent, b"lxc" | b"lxc.payload") && depth == 1 && !component.is_empty() {
        return named("lxc", component.to_vec());
    }
    if parent == b"machine.slice" {
        let service =
            component.strip_prefix(b"systemd-nspawn@").and_then(|rest| rest.strip_suffix(b".service"));
        // Beside `payload`, in `supervisor`, is nspawn itself.
        if let Some(machine) = service.filter(|_| below == Some(b"payload")) {
            return named("nspawn", unescape_unit(machine));
        }
        let scope = component.strip_prefix(b"machine-").and_then(|rest| rest.strip_suffix(b".scope"));
        if let Some(machine) = scope.filter(|machine| !machine.is_empty()) {
            return named("machine", unescape_unit(machine));
        }
    }
    let name = component.strip_suffix(b".scope").unwrap_or(component);
    for (prefix, engine) in PREFIXES {
        if let Some(id) =
            name.strip_prefix(*prefix).and_then(|rest| rest.strip_prefix(b"-")).filter(|id| is_id(id))
        {
            return named(engine, id.to_vec());
        }
    }
    if let Some((_slice, prefix, id)) = notation(component)
        && let Some((_, engine)) = PREFIXES.iter().find(|(known, _)| *known == prefix)
        && is_id(id)
    {
        return named(engine, id.to_vec());
    }
    if is_id(component) {
        let engine = PARENTS.iter().find(|(known, _)| *known == parent).map_or("oci", |(_, engine)| engine);
        return named(engine, component.to_vec());
    }
    None
}

/// `SLICE:PREFIX:ID`: systemd's notation of a container's cgroup, handed to the cgroupfs driver.
fn notation(component: &[u8]) -> Option<(&[u8], &[u8], &[u8])> {
    let mut parts = component.rsplitn(3, |&byte| byte == b':');
    let (id, prefix, slice) = (parts.next()?, parts.next()?, parts.next()?);
    Some((slice, prefix, id))
}

fn named(engine: &'static str, id: Vec<u8>) -> Option<ContainerName> {
    Some(ContainerName { engine, id: id.into() })
}

/// 64 hex digits: what every OCI engine makes.
fn is_id(text: &[u8]) -> bool {
    text.len() == 64 && text.iter().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

/// A host process that looks after one container, in a cgroup named after it.
pub(super) fn is_monitor(here: Here<'_>) -> bool {
    let Here { component, parent, depth, .. } = here;
    if parent == b"lxc.monitor" && depth == 1 {
        return true;
    }
    let name = component.strip_suffix(b".scope").unwrap_or(component);
    let conmon =
        [&b"libpod-conmon-"[..], b"crio-conmon-"].iter().find_map(|prefix| name.strip_prefix(*prefix));
    conmon.is_some_and(is_id) || component.starts_with(b"lxc.monitor.")
}

/// The uid of a pod: `pod<uid>` of the cgroupfs driver, `…-pod<uid with _>.slice` of the systemd driver, also where that is a
/// part of the container's own name. A static pod has 32 hex digits instead.
pub(super) fn pod(component: &[u8]) -> Option<String> {
    let component = notation(component).map_or(component, |(slice, _prefix, _id)| slice);
    let name = component.strip_suffix(b".slice").unwrap_or(component);
    let start = if name.starts_with(b"pod") { 0 } else { name.windows(4).rposition(|w| w == b"-pod")? + 1 };
    let uid = name.get(start + 3..)?;
    let plain: Vec<u8> = uid.iter().map(|&byte| if byte == b'_' { b'-' } else { byte }).collect();
    let dashes: Vec<usize> =
        plain.iter().enumerate().filter(|(_, byte)| **byte == b'-').map(|(at, _)| at).collect();
    let uuid = plain.len() == 36 && dashes == [8, 13, 18, 23];
    let digits = plain.iter().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f' | b'-'));
    let hash = plain.len() == 32 && dashes.is_empty();
    (digits && (uuid || hash)).then(|| String::from_utf8_lossy(&plain).into_owned())
}

/// The user of `user@UID.service` in `user-UID.slice`.
pub(super) fn user_manager(here: Here<'_>) -> Option<u32> {
    let uid = number(here.component.strip_prefix(b"user@")?.strip_suffix(b".service")?)?;
    (user_slice(here.parent) == Some(uid)).then_some(uid)
}

/// The session of `session-ID.scope` in `user-UID.slice`.
pub(super) fn session(here: Here<'_>) -> Option<Session> {
    let id = here.component.strip_prefix(b"session-")?.strip_suffix(b".scope")?;
    Some(Session { uid: user_slice(here.parent)?, id: id.into() })
}

fn user_slice(component: &[u8]) -> Option<u32> {
    number(component.strip_prefix(b"user-")?.strip_suffix(b".slice")?)
}

/// Whether a component is a unit with processes of its own.
pub(in crate::attribute) fn is_unit(component: &[u8]) -> bool {
    UNIT_SUFFIXES.iter().any(|suffix| component.strip_suffix(*suffix).is_some_and(|name| !name.is_empty()))
}

fn number(digits: &[u8]) -> Option<u32> {
    let digits = std::str::from_utf8(digits).ok()?;
    digits.bytes().all(|byte| byte.is_ascii_digit()).then(|| digits.parse().ok())?
}

/// Undoes systemd's escape of a name in a unit's name: `\x2d` is a `-`; `-` would be a `/`, which a machine's name
/// cannot hold.
fn unescape_unit(name: &[u8]) -> Vec<u8> {
    let mut plain = Vec::with_capacity(name.len());
    let mut rest = name;
    while let Some((&byte, tail)) = rest.split_first() {
        let escaped = tail.strip_prefix(b"x").and_then(|hex| hex.get(..2)).filter(|_| byte == b'\\');
        let value = escaped.and_then(|hex| u8::from_str_radix(std::str::from_utf8(hex).ok()?, 16).ok());
        match value {
            Some(value) => {
                plain.push(value);
                rest = tail.get(3..).unwrap_or_default();
            }
            None => {
                plain.push(byte);
                rest = tail;
            }
        }
    }
    plain
}
