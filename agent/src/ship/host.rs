//! Which host and which boot speaks.

use std::fs;

use sha2::{Digest as _, Sha256};

use super::wire::Text;
use super::wire::bytes::WireBytes;
use super::wire::v1::Host;
use crate::host::HostRoot;
use crate::model::bytes::RawBytes;

/// Key of the hash of the machine id. machine-id(5): the id is confidential; applications show a keyed hash of it.
const MACHINE_ID_KEY: &[u8] = b"telltale host id 1\0";

/// Why the host could not be told.
#[derive(Debug, thiserror::Error)]
pub enum HostError {
    /// No boot id.
    #[error("reading the boot id from {path}: {source}; is /proc mounted?")]
    BootId {
        /// The file.
        path: &'static str,
        /// What went wrong.
        source: std::io::Error,
    },
    /// A boot id that is not one.
    #[error("{path} does not hold a boot id; is /proc the kernel's own?")]
    NotABootId {
        /// The file.
        path: &'static str,
    },
}

const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";

/// Bytes read of a machine id: it has 33.
const MACHINE_ID_BYTES: u64 = 64;

/// Reads the host's hashed machine id and the boot id. Its name is `node_name`, or what the kernel says here: in a pod
/// that is the pod's; `realm` is what its identities are of. Where there is no machine id, the name stands in for it.
///
/// # Errors
/// Where the kernel's boot id cannot be read.
pub fn read_host(root: &HostRoot, node_name: Option<&str>, realm: Option<&str>) -> Result<Host, HostError> {
    let boot_id =
        fs::read_to_string(BOOT_ID).map_err(|source| HostError::BootId { path: BOOT_ID, source })?;
    let boot_id = boot_id.trim_end();
    if boot_id.is_empty()
        || boot_id.len() > 64
        || !boot_id.bytes().all(|b| b.is_ascii_hexdigit() || b == b'-')
    {
        return Err(HostError::NotABootId { path: BOOT_ID });
    }
    let uname = rustix::system::uname();
    let name = node_name.map_or_else(|| uname.nodename().to_bytes(), str::as_bytes);
    let machine_id = ["/etc/machine-id", "/var/lib/dbus/machine-id"].iter().find_map(|path| {
        let text = root.read(path.as_ref(), MACHINE_ID_BYTES).ok()?;
        machine_id(&text)
    });
    let id = match &machine_id {
        Some(machine_id) => hashed(machine_id.as_bytes()),
        None => hashed(name),
    };
    let realm = realm.map(|realm| Text::Owned(realm.to_owned()));
    Ok(Host { name: WireBytes(RawBytes::from(name)), id, boot_id: boot_id.to_owned(), realm })
}

/// The machine id in a file: 32 hex digits; `None` for anything else (`uninitialized` at first boot).
fn machine_id(text: &[u8]) -> Option<String> {
    let text = std::str::from_utf8(text).ok()?.trim_end();
    (text.len() == 32 && text.bytes().all(|byte| byte.is_ascii_hexdigit())).then(|| text.to_ascii_lowercase())
}

/// The first 128 bits of the keyed hash, in hex.
fn hashed(secret: &[u8]) -> String {
    let digest = Sha256::new().chain_update(MACHINE_ID_KEY).chain_update(secret).finalize();
    digest.iter().take(16).map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_machine_id_is_hashed_and_its_hash_is_stable() {
        let id = hashed(b"0123456789abcdef0123456789abcdef");
        assert_eq!(id, hashed(b"0123456789abcdef0123456789abcdef"));
        assert_ne!(id, hashed(b"0123456789abcdef0123456789abcdee"));
        assert_eq!(id.len(), 32);
        assert!(!id.contains("0123456789abcdef"));
    }

    #[test]
    fn only_a_machine_id_is_taken_for_one() {
        for (content, expected) in [
            ("uninitialized\n", None),
            ("", None),
            ("0123456789ABCDEF0123456789abcdef\n", Some("0123456789abcdef0123456789abcdef")),
        ] {
            assert_eq!(machine_id(content.as_bytes()).as_deref(), expected);
        }
    }

    #[test]
    fn a_host_has_its_own_machine_id_and_the_name_that_it_was_given() {
        let directory = tempfile::tempdir().unwrap();
        let root = HostRoot::at(directory.path()).unwrap();
        let named = read_host(&root, Some("node-7"), None).unwrap();
        assert_eq!((named.name.0.as_bytes(), named.boot_id.len()), (&b"node-7"[..], 36));
        assert_eq!(named.id, hashed(b"node-7"));
        let plain = read_host(&root, None, None).unwrap();
        assert_ne!(plain.id, named.id);

        fs::create_dir(directory.path().join("etc")).unwrap();
        let id = "0123456789abcdef0123456789abcdef";
        fs::write(directory.path().join("etc/machine-id"), format!("{id}\n")).unwrap();
        for name in [None, Some("node-7")] {
            assert_eq!(read_host(&root, name, Some("acme")).unwrap().id, hashed(id.as_bytes()));
        }
    }
}
