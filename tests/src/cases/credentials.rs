//! Opens of credentials: every spelling is one event, and everything else is none.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use super::{Case, shared};
use crate::harness::places;
use crate::harness::scene::Scene;
use crate::harness::setting::{self, CREDENTIALS, FIXED_ENTRY};
use crate::outcome::{During, Outcome, skipped};

const PLACES: [&str; 3] = ["ext4", "overlay", "tmpfs"];

type Body = fn(&mut Scene<'_>, &'static str) -> Outcome;

const SPELLINGS: [(&str, Body); 18] = [
    ("openat", |scene, place| call(scene, place, "openat", "read")),
    ("open", |scene, place| call(scene, place, "open", "read")),
    ("directory", |scene, place| call(scene, place, "directory", "read")),
    ("openat2", |scene, place| call(scene, place, "openat2", "read")),
    ("handle", handle),
    ("uring", uring),
    ("write", |scene, place| call(scene, place, "openat", "write")),
    ("read-write", |scene, place| call(scene, place, "openat2", "read-write")),
    ("truncate", truncate),
    ("create", create),
    ("relative", relative),
    ("symlink", symbolic_link),
    ("linked-directory", linked_directory),
    ("hard-link", hard_link),
    ("renamed-into", renamed_into),
    ("twice", twice),
    ("path-only", |scene, place| call(scene, place, "openat", "path")),
    ("refused", refused),
];

/// All of them, on each file system.
pub(super) fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for place in PLACES {
        for (name, body) in SPELLINGS {
            cases.push(shared(format!("credential/{place}/{name}"), move |scene| body(scene, place)));
        }
        cases.push(shared(format!("credential/{place}/innocent"), move |scene| innocent(scene, place)));
    }
    cases
}

fn open(scene: &mut Scene<'_>, path: &Path, args: &[&str]) -> Outcome {
    let path = path.to_string_lossy();
    let mut all = vec!["open", "--path", &path];
    all.extend(args);
    scene.act_and_expect(&all)
}

fn call(scene: &mut Scene<'_>, place: &'static str, call: &str, access: &str) -> Outcome {
    let path = scene.credential(place, "key")?;
    open(scene, &path, &["--call", call, "--access", access])
}

fn handle(scene: &mut Scene<'_>, place: &'static str) -> Outcome {
    if place == "overlay" {
        return skipped("an overlay gives no handles without nfs_export");
    }
    call(scene, place, "handle", "read")
}

fn uring(scene: &mut Scene<'_>, place: &'static str) -> Outcome {
    scene.unless_named("opens through io_uring are not seen")?;
    call(scene, place, "uring", "read")
}

fn truncate(scene: &mut Scene<'_>, place: &'static str) -> Outcome {
    scene.unless_named("that an open truncated the file is not seen")?;
    call(scene, place, "open", "truncate")
}

fn create(scene: &mut Scene<'_>, place: &'static str) -> Outcome {
    let directory = scene.directory(place)?.join(CREDENTIALS);
    fs::create_dir_all(&directory).during(directory.display())?;
    open(scene, &directory.join("new"), &["--access", "create"])
}

fn relative(scene: &mut Scene<'_>, place: &'static str) -> Outcome {
    let directory = scene.credential(place, "key")?;
    let Some(directory) = directory.parent() else { return Ok(()) };
    let path = format!("../{CREDENTIALS}/./key");
    let mut command = scene.actor(&["open", "--path", &path]);
    let expected = scene.perform(command.current_dir(directory))?;
    scene.expect(expected);
    Ok(())
}

fn symbolic_link(scene: &mut Scene<'_>, place: &'static str) -> Outcome {
    let path = scene.credential(place, "key")?;
    let link = scene.directory(place)?.join("harmless");
    symlink(&path, &link).during("make a link")?;
    open(scene, &link, &[])
}

fn linked_directory(scene: &mut Scene<'_>, place: &'static str) -> Outcome {
    let path = scene.credential(place, "key")?;
    let link = scene.directory(place)?.join("harmless");
    if let Some(directory) = path.parent() {
        symlink(directory, &link).during("make a link")?;
    }
    open(scene, &link.join("key"), &["--call", "openat2"])
}

/// A credential that was there at the start is known by its inode, whatever it is called.
fn hard_link(scene: &mut Scene<'_>, place: &'static str) -> Outcome {
    let fixed = setting::fixed(scene.setting.places.get(place)?);
    let link = scene.directory(place)?.join("harmless");
    fs::hard_link(&fixed, &link).during("make a link")?;
    let expected = scene.act(&["open", "--path", &link.to_string_lossy()])?;
    // The next run of this test finds it as it was.
    fs::remove_file(&link).during("remove a link")?;
    scene.expect(
        expected.into_iter().map(|one| one.key("credential", FIXED_ENTRY).key("matched_by", "inode")),
    );
    Ok(())
}

/// A file gets a credential's name after it was opened, and judged, under another.
fn renamed_into(scene: &mut Scene<'_>, place: &'static str) -> Outcome {
    let path = scene.credential(place, "key")?;
    let before = scene.directory(place)?.join("before");
    places::write(&before, "secret\n")?;
    let harmless = scene.act(&["open", "--path", &before.to_string_lossy()])?;
    drop(harmless);
    fs::rename(&before, &path).during("rename")?;
    open(scene, &path, &[])
}

/// Each acquisition of a descriptor is an event, also by one process.
fn twice(scene: &mut Scene<'_>, place: &'static str) -> Outcome {
    let path = scene.credential(place, "key")?;
    open(scene, &path, &["--times", "3"])
}

/// What was refused gave no descriptor.
fn refused(scene: &mut Scene<'_>, place: &'static str) -> Outcome {
    let path = scene.credential(place, "key")?;
    let missing = path.with_file_name("missing");
    open(scene, &missing, &["--refused"])?;
    let data = path.with_file_name("not-a-directory/key");
    places::write(&path.with_file_name("not-a-directory"), "")?;
    open(scene, &data, &["--refused", "--access", "write"])
}

/// Files of no rule: beside a credential, named like one, many of them.
fn innocent(scene: &mut Scene<'_>, place: &'static str) -> Outcome {
    let directory = scene.directory(place)?;
    let names = ["credentials", "telltale-test-credentials.txt", "key", "telltale-test-credential/key"];
    for name in names {
        let path = directory.join(name);
        places::write(&path, "nothing\n")?;
        let times = scene.act(&["open", "--times", "50", "--path", &path.to_string_lossy()])?;
        drop(times);
    }
    Ok(())
}
