//! What a recording must hold beside the ring, so that a replay comes to the same events.

use std::collections::BTreeMap;
use std::net::IpAddr;

use agent_common::keys::InodeKey;

use crate::app::start::Started;
use crate::attribute::users::{self, Users};
use crate::catalogue::Catalogue;
use crate::catalogue::enumerate::KnownFiles;
use crate::model::bytes::RawBytes;
use crate::names::resolvers::Fixed;
use crate::process::inventory::HostNamespaces;
use crate::ship::wire::Text;
use crate::ship::wire::bytes::WireBytes;
use crate::ship::wire::v1::Host;

const HOST_NAME: &str = "host.name";
const HOST_ID: &str = "host.id";
const REALM: &str = "host.realm";
const PASSWD: &str = "passwd";
const MOUNT_NAMESPACE: &str = "namespace.mount";
const USER_NAMESPACE: &str = "namespace.user";
/// Addresses of DNS servers, with blanks between them.
const RESOLVERS: &str = "resolvers";
const OWN_PID: &str = "agent.pid";
const TICK_NS: &str = "tick_ns";
/// Followed by `DEVICE.INODE`; the value is the entry's name.
const KNOWN_FILE: &str = "credential.";
/// Files and bytes of /etc/passwd that are taken along: all facts must fit one frame.
const MAX_FILES: usize = 2_000;
const MAX_PASSWD_BYTES: usize = 64 << 10;

/// The facts of a running agent.
pub(super) fn of(started: &Started, host: &Host) -> BTreeMap<String, String> {
    let namespaces = started.host_root.namespaces();
    let mut facts = BTreeMap::from([
        (HOST_NAME.to_owned(), String::from_utf8_lossy(host.name.0.as_bytes()).into_owned()),
        (HOST_ID.to_owned(), host.id.clone()),
        (MOUNT_NAMESPACE.to_owned(), namespaces.mount.to_string()),
        (USER_NAMESPACE.to_owned(), namespaces.user.to_string()),
        (RESOLVERS.to_owned(), started.servers.iter().map(IpAddr::to_string).collect::<Vec<_>>().join(" ")),
        (OWN_PID.to_owned(), started.sensor.own_pid().to_string()),
        (TICK_NS.to_owned(), crate::process::inventory::tick_ns().to_string()),
    ]);
    facts.extend(host.realm.as_ref().map(|realm| (REALM.to_owned(), realm.to_string())));
    // It is readable by all; where it cannot be had, users are told by number.
    if let Ok(passwd) = started.host_root.read(users::PASSWD.as_ref(), MAX_PASSWD_BYTES as u64 + 1)
        && passwd.len() <= MAX_PASSWD_BYTES
    {
        facts.insert(PASSWD.to_owned(), String::from_utf8_lossy(&passwd).into_owned());
    }
    let files = started.pipeline.known_files().files().take(MAX_FILES);
    facts.extend(
        files.map(|(key, entry)| {
            (format!("{KNOWN_FILE}{}.{}", key.device, key.inode), entry.name.to_string())
        }),
    );
    facts
}

/// The facts of a recording, read back.
#[derive(Debug)]
pub struct RecordedFacts<'a>(pub &'a BTreeMap<String, String>);

impl RecordedFacts<'_> {
    fn number(&self, name: &str) -> Option<u32> {
        self.0.get(name)?.parse().ok()
    }

    /// The host that recorded.
    pub fn host(&self, boot_id: &str) -> Host {
        let fact = |name| self.0.get(name).map_or("unknown", String::as_str);
        let name = WireBytes(RawBytes::from(fact(HOST_NAME)));
        let realm = self.0.get(REALM).map(|realm| Text::Owned(realm.clone()));
        Host { name, id: fact(HOST_ID).to_owned(), boot_id: boot_id.to_owned(), realm }
    }

    /// Names of users at the time.
    pub fn users(&self) -> Users {
        self.0.get(PASSWD).map(|passwd| Users::parse(passwd.as_bytes())).unwrap_or_default()
    }

    /// The host's own namespaces.
    pub fn host_namespaces(&self) -> HostNamespaces {
        HostNamespaces {
            mount: self.number(MOUNT_NAMESPACE).unwrap_or(0),
            user: self.number(USER_NAMESPACE).unwrap_or(0),
        }
    }

    /// DNS servers that the host was configured with at the start; those of other networks are not recorded.
    pub fn resolvers(&self) -> Fixed {
        let text = self.0.get(RESOLVERS).map_or("", String::as_str);
        Fixed(text.split(' ').filter_map(|address| address.parse().ok()).collect())
    }

    /// Pid of the agent that recorded.
    pub fn own_pid(&self) -> Option<u32> {
        self.number(OWN_PID)
    }

    /// Length of a clock tick of the host.
    pub fn tick_ns(&self) -> u64 {
        self.0.get(TICK_NS).and_then(|text| text.parse().ok()).filter(|&ns| ns > 0).unwrap_or(10_000_000)
    }

    /// Credential files known by inode at the time.
    pub fn known_files(&self, catalogue: &Catalogue) -> KnownFiles {
        let files = self.0.iter().filter_map(|(name, entry)| {
            let (device, inode) = name.strip_prefix(KNOWN_FILE)?.split_once('.')?;
            let key = InodeKey { inode: inode.parse().ok()?, device: device.parse().ok()?, reserved: 0 };
            Some((key, entry.clone()))
        });
        KnownFiles::restore(catalogue, files)
    }
}
