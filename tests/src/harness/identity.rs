//! The identity that a process should get, from what `/proc` says of it (the table in docs/events.md).
//!
//! Written anew and narrow: it knows the shapes of cgroups that tests make, and those of hosts that tests run on.

use std::fs;

use super::who::Who;

/// Canonical string and `identity_kind`.
pub(crate) fn of(who: &Who) -> (String, &'static str) {
    let components: Vec<&str> = who.cgroup.split('/').filter(|name| !name.is_empty()).collect();
    if let Some((engine, id)) = components.iter().enumerate().find_map(|(at, name)| {
        container(name, at.checked_sub(1).and_then(|parent| components.get(parent)).copied())
    }) {
        return (format!("container/{engine}/{id}"), "container");
    }
    let in_user_manager = components.iter().any(|name| name.starts_with("user@"));
    let in_session = components.iter().any(|name| name.starts_with("session-"));
    let unit = components.iter().find_map(|name| name.strip_suffix(".service")).filter(|_| !in_user_manager);
    if let Some(unit) = unit {
        return (format!("svc/{}", encode(unit)), "system_unit");
    }
    let human = human(who).filter(|_| in_session || !in_user_manager);
    if let Some(human) = human {
        return (human, "human");
    }
    (format!("exe{}@uid:{}", encode_path(&who.exe), who.uid), "executable")
}

/// `human/NAME` of the login uid, where that is a person's.
pub(crate) fn human(who: &Who) -> Option<String> {
    let login = who.login_uid.filter(|uid| *uid == 0 || (1000..60_000).contains(uid))?;
    Some(format!("human/{}", encode(&user_name(login).unwrap_or_else(|| format!("uid:{login}")))))
}

/// The name of a user in `/etc/passwd`.
pub(crate) fn user_name(uid: u32) -> Option<String> {
    let passwd = fs::read_to_string("/etc/passwd").ok()?;
    let mut users = passwd.lines().map(|line| line.split(':').collect::<Vec<_>>());
    let found = users.find(|fields| fields.get(2).and_then(|field| field.parse().ok()) == Some(uid))?;
    found.first().map(|name| (*name).to_owned())
}

fn container<'a>(name: &'a str, parent: Option<&str>) -> Option<(&'static str, &'a str)> {
    const PREFIXES: [(&str, &str); 4] =
        [("docker-", "docker"), ("libpod-", "podman"), ("cri-containerd-", "containerd"), ("crio-", "crio")];
    let name = name.strip_suffix(".scope").unwrap_or(name);
    let is_id = |id: &str| id.len() == 64 && id.bytes().all(|byte| byte.is_ascii_hexdigit());
    let named = PREFIXES.iter().find_map(|(prefix, engine)| Some((*engine, name.strip_prefix(prefix)?)));
    named
        .or_else(|| Some((if parent == Some("docker") { "docker" } else { "oci" }, name)))
        .filter(|(_, id)| is_id(id))
}

/// Percent-encodes a segment.
pub(crate) fn encode(segment: &str) -> String {
    let byte = |byte: u8| match byte {
        b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'.' | b'_' | b'-' => char::from(byte).to_string(),
        other => format!("%{other:02X}"),
    };
    segment.bytes().map(byte).collect()
}

fn encode_path(path: &str) -> String {
    path.split('/').map(encode).collect::<Vec<_>>().join("/")
}
