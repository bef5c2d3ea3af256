//! Opens of credentials that are refused: each is one attempt, whichever directory or file refuses.

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};

use rustix::fs::Access;
use serde_json::Value;

use super::{Case, shared};
use crate::harness::places;
use crate::harness::scene::Scene;
use crate::harness::setting::{CREDENTIALS, Rung};
use crate::outcome::{During, Outcome};

const PLACES: [&str; 3] = ["ext4", "overlay", "tmpfs"];
/// Nobody, who owns nothing.
const USER: u32 = 65_534;

/// As the agent names what it does not see.
const LINKS: &str = "of a refused open the path is as the caller claims it, links are not followed";
const BY_URING: &str = "refused opens through io_uring or by 32-bit programs are not seen";
const BELOW: &str = "an open refused at a directory above the credential is not seen where it may create the file, or is \
                     made through io_uring or by a 32-bit program";

type Body = fn(&mut Scene<'_>, &'static str) -> Outcome;

const FORMS: [(&str, Body); 13] = [
    ("openat", |scene, place| call(scene, place, "openat", "read")),
    ("open", |scene, place| call(scene, place, "open", "read")),
    ("directory", |scene, place| call(scene, place, "directory", "read")),
    ("openat2", |scene, place| call(scene, place, "openat2", "read")),
    ("write", |scene, place| call(scene, place, "openat", "write")),
    ("read-write", |scene, place| call(scene, place, "openat", "read-write")),
    ("create", |scene, place| call(scene, place, "openat", "create")),
    ("uring", uring),
    ("symlink", symbolic_link),
    ("below", |scene, place| below(scene, place, &[])),
    ("below-openat2", |scene, place| below(scene, place, &["--call", "openat2"])),
    ("below-create", below_create),
    ("below-relative", below_relative),
];

/// All of them, on each file system.
pub(super) fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for place in PLACES {
        for (name, body) in FORMS {
            cases.push(shared(format!("attempt/{place}/{name}"), move |scene| body(scene, place)));
        }
        cases.push(shared(format!("attempt/{place}/innocent"), move |scene| innocent(scene, place)));
    }
    cases
}

/// A credential that only its owner may use.
fn private(scene: &mut Scene<'_>, place: &str) -> Outcome<PathBuf> {
    let path = scene.credential(place, "key")?;
    fs::set_permissions(&path, Permissions::from_mode(0o600)).during(path.display())?;
    Ok(path)
}

/// A credential in a directory that only its owner may enter.
fn enclosed(scene: &mut Scene<'_>, place: &str) -> Outcome<PathBuf> {
    let path = scene.credential(place, "key")?;
    if let Some(directory) = path.parent() {
        fs::set_permissions(directory, Permissions::from_mode(0o700)).during(directory.display())?;
    }
    Ok(path)
}

/// Opens what `spelled` names as somebody else, and expects that it is told as an attempt on `path`.
fn refused(
    scene: &mut Scene<'_>,
    spelled: &Path,
    path: &Path,
    args: &[&str],
    from: Option<&Path>,
) -> Outcome {
    let (spelled, told) = (spelled.to_string_lossy(), path.to_string_lossy());
    let mut all = vec!["open", "--path", &spelled, "--attempt", &told];
    all.extend(args);
    let mut command = scene.actor(&all);
    command.uid(USER).gid(USER).current_dir(from.unwrap_or(Path::new("/")));
    let expected = scene.perform(&mut command)?;
    let claims = scene.session.rung() == Some(Rung::Tracepoint);
    // Where an open through io_uring would wait, the kernel has a thread of its own do it.
    let other_thread = args.contains(&"uring");
    scene.expect(expected.into_iter().map(|one| {
        let one = if other_thread { one.without("tid") } else { one };
        if !claims {
            return one;
        }
        let without = ["device", "inode", "file_links", "file_mode"];
        without.into_iter().fold(one.key("path_claimed", true), |one, key| one.key(key, Value::Null))
    }));
    Ok(())
}

fn call(scene: &mut Scene<'_>, place: &str, call: &str, access: &str) -> Outcome {
    let path = private(scene, place)?;
    refused(scene, &path, &path, &["--call", call, "--access", access], None)
}

fn uring(scene: &mut Scene<'_>, place: &str) -> Outcome {
    scene.unless_named(BY_URING)?;
    call(scene, place, "uring", "read")
}

fn symbolic_link(scene: &mut Scene<'_>, place: &str) -> Outcome {
    scene.unless_named(LINKS)?;
    let path = private(scene, place)?;
    let link = scene.directory(place)?.join("harmless");
    symlink(&path, &link).during("make a link")?;
    refused(scene, &link, &path, &[], None)
}

fn below(scene: &mut Scene<'_>, place: &str, args: &[&str]) -> Outcome {
    let path = enclosed(scene, place)?;
    refused(scene, &path, &path, args, None)
}

fn below_create(scene: &mut Scene<'_>, place: &str) -> Outcome {
    scene.unless_named(BELOW)?;
    below(scene, place, &["--access", "create"])
}

fn below_relative(scene: &mut Scene<'_>, place: &str) -> Outcome {
    let path = enclosed(scene, place)?;
    let directory = scene.directory(place)?;
    let from = directory.join("from");
    fs::create_dir(&from).during(from.display())?;
    let spelled = format!(".././/{CREDENTIALS}/key");
    refused(scene, Path::new(&spelled), &path, &[], Some(&from))
}

/// What is refused of other files, and what is asked of a credential without opening it.
fn innocent(scene: &mut Scene<'_>, place: &str) -> Outcome {
    let path = scene.directory(place)?.join("nothing");
    places::write(&path, "nothing\n")?;
    fs::set_permissions(&path, Permissions::from_mode(0o600)).during(path.display())?;
    let text = path.to_string_lossy();
    let mut command = scene.actor(&["open", "--path", &text, "--refused", "--times", "20"]);
    drop(scene.perform(command.uid(USER).gid(USER))?);
    let credential = private(scene, place)?;
    let data = rustix::fs::access(&credential, Access::READ_OK);
    data.during("look at a credential")?;
    let mut look = std::process::Command::new("/bin/sh");
    look.args(["-c", "test -r \"$1\" || test -f \"$1\"", "sh"]).arg(&credential);
    scene.run(look.uid(USER).gid(USER))?;
    Ok(())
}
