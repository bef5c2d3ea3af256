//! Executables: what acts where nothing more is known.
//!
//! What makes `exe/usr/bin/curl@uid:1000` stable: the path in the host's own mount namespace, and the real uid. A
//! package upgrade keeps it; a file at that path could only be put there by who may write there.
//!
//! In another mount namespace a path says nothing of the host's files. `exe-ns/<hash>` is the SHA-256 of real uid and
//! path, so it stays the same over restarts and over mounts whose device numbers change, never equals a name of the
//! host's, and never that of another user: the uid is the initial user namespace's. Device and inode are evidence:
//! they are not stable where file systems are stacked or mounted anew.

use std::fmt::Write as _;

use sha2::{Digest, Sha256};

use crate::model::identity::{Confidence, Evidence, Identity};
use crate::model::process::{NO_PATH, is_memfd};
use crate::model::program::{FileAnswer, FileFacts, FileKey, Package};

use super::{Finding, Resolver, Standing, Subject};

/// Begins what is hashed: another rule gets another.
const HASH_DOMAIN: &[u8] = b"telltale exe-ns 1\0";
/// Bytes kept of the digest: 128 bits.
const HASH_BYTES: usize = 16;

/// Executables by path.
#[derive(Debug)]
pub(super) struct Executable;

impl Resolver for Executable {
    fn resolve(&self, subject: &Subject<'_>) -> Finding {
        let (image, uid) = (&subject.process.image, subject.actor.ids.uid);
        let path = image.exe.as_bytes();
        let mut evidence = Vec::new();
        let mut say = |kind, detail, confidence| evidence.push(Evidence { kind, detail, confidence });
        say("uid", uid.to_string(), Confidence::Observed);
        if path.is_empty() {
            say("exe", "not known: a kernel thread, or its start was not seen".into(), Confidence::Claimed);
            return found(Identity::Executable { path: [].into(), uid }, evidence);
        }
        let foreign_mount = subject.actor.namespaces.mount != subject.host.mount;
        let foreign_user = subject.actor.namespaces.user != subject.host.user;
        // Whoever makes a user namespace decides what is mounted where in it.
        let confidence = if foreign_user { Confidence::Claimed } else { Confidence::Observed };
        say("exe", image.exe.to_string(), confidence);
        let file = &image.exe_file;
        if file.inode != 0 {
            let (major, minor) = (file.device >> 20, file.device & 0xf_ffff);
            say("exe_inode", format!("{major}:{minor} {}", file.inode), Confidence::Observed);
            if is_memfd(path, file.links) {
                say("exe_unlinked", "in memory only (memfd)".into(), Confidence::Observed);
            } else if file.links == 0 {
                say("exe_unlinked", "deleted, or never had a name".into(), Confidence::Observed);
            }
            for (kind, detail, confidence) in contents(subject.programs.file(FileKey::from(file))) {
                say(kind, detail, confidence);
            }
        }
        if foreign_mount {
            say("mount_namespace", subject.actor.namespaces.mount.to_string(), Confidence::Observed);
        }
        if foreign_user {
            say("user_namespace", subject.actor.namespaces.user.to_string(), Confidence::Observed);
        }
        // What its maker calls it is no path, and at its exec it is not known.
        let path = if is_memfd(path, file.links) { NO_PATH } else { path };
        let identity = if foreign_mount || foreign_user {
            Identity::NamespacedExecutable { hash: namespaced_hash(path, uid).into() }
        } else {
            Identity::Executable { path: path.into(), uid }
        };
        found(identity, evidence)
    }
}

/// What was found of the file. It is evidence of what runs, and makes nobody somebody else.
fn contents(answer: Option<&FileAnswer>) -> Vec<(&'static str, String, Confidence)> {
    let unknown = |why: &str| vec![("exe_unknown", why.to_owned(), Confidence::Observed)];
    let facts = match answer {
        None => return Vec::new(),
        Some(FileAnswer::Found(facts)) => facts,
        Some(FileAnswer::NotFound) => return unknown("the host has nothing at its path"),
        Some(FileAnswer::Replaced) => return unknown("another file is at its path, or it was changed since"),
        Some(FileAnswer::Unreadable) => return unknown("it cannot be read"),
    };
    let FileFacts { sha256, build_id, package } = &**facts;
    let mut said = Vec::new();
    match sha256 {
        Some(digest) => said.push(("exe_sha256", digest.to_string(), Confidence::Observed)),
        None => said.push(("exe_unknown", "larger than is read".to_owned(), Confidence::Observed)),
    }
    // Whoever makes a file writes there what he likes.
    said.extend(build_id.iter().map(|id| ("exe_build_id", id.to_string(), Confidence::Claimed)));
    said.extend(package.iter().map(|Package { name, version, modified }| {
        let state = match modified {
            Some(true) => ", and the file is not as it came",
            Some(false) | None => "",
        };
        ("exe_package", format!("{name} {version}{state}"), Confidence::Declared)
    }));
    said
}

fn found(identity: Identity, evidence: Vec<Evidence>) -> Finding {
    Finding { identity: Some((identity, Standing::Key)), evidence }
}

fn namespaced_hash(path: &[u8], uid: u32) -> String {
    let digest =
        Sha256::new().chain_update(HASH_DOMAIN).chain_update(uid.to_be_bytes()).chain_update(path).finalize();
    digest.iter().take(HASH_BYTES).fold(String::new(), |mut hex, byte| {
        let _ = write!(hex, "{byte:02x}");
        hex
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hash_is_fixed() {
        // printf 'telltale exe-ns 1\0\0\0\003\350/usr/bin/curl' | sha256sum
        assert_eq!(namespaced_hash(b"/usr/bin/curl", 1000), EXPECTED);
        assert_ne!(namespaced_hash(b"/usr/bin/curl", 1001), EXPECTED);
    }

    const EXPECTED: &str = "047cead3b2afb6bd5fdb6d53a0395fa9";
}
