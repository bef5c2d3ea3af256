//! Reads by programs that the catalogue expects: the first is told, the rest are counted; whoever only looks like one is
//! told each time.

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::Command;

use super::{Case, shared};
use crate::harness::child;
use crate::harness::expect::Expected;
use crate::harness::places;
use crate::harness::scene::Scene;
use crate::harness::setting::{EXPECTED, EXPECTED_ENTRY};
use crate::outcome::{During, Outcome, Verdict};

const PLACES: [&str; 3] = ["ext4", "overlay", "tmpfs"];
/// An ordinary user.
const USER: u32 = 1000;

/// All of them.
pub(super) fn cases() -> Vec<Case> {
    let mut cases: Vec<Case> = PLACES
        .map(|place| shared(format!("expected/{place}/reader"), move |scene| reader(scene, place)))
        .into();
    cases.extend([
        shared("expected/processes", processes),
        shared("expected/files", files),
        shared("expected/writes", writes),
        shared("expected/copy", copy),
        shared("expected/group-writable", |scene| changed(scene, "group-writable", group_writable)),
        shared("expected/of-a-user", |scene| changed(scene, "of-a-user", of_a_user)),
        shared("expected/replaced", replaced),
        shared("expected/preload", preload),
        shared("expected/mount-namespace", |scene| apart(scene, "--mount")),
        shared("expected/user-namespace", |scene| apart(scene, "--user")),
    ]);
    cases
}

/// A credential of the test's own that has expected readers.
fn credential(scene: &mut Scene<'_>, place: &str, name: &str) -> Outcome<PathBuf> {
    let path = scene.directory(place)?.join(EXPECTED).join(name);
    places::write(&path, "secret\n")?;
    Ok(path)
}

/// Has a program open it, and expects what it says.
fn open(scene: &mut Scene<'_>, program: &Path, path: &Path, args: &[&str]) -> Outcome {
    let mut command = Command::new(program);
    command.args(["act", "open", "--path"]).arg(path).args(args);
    perform(scene, &mut command)
}

fn perform(scene: &mut Scene<'_>, command: &mut Command) -> Outcome {
    let expected = scene.perform(command)?;
    scene.expect(expected.into_iter().map(of_entry));
    Ok(())
}

fn of_entry(expected: Expected) -> Expected {
    expected.key("credential", EXPECTED_ENTRY)
}

fn reader(scene: &mut Scene<'_>, place: &str) -> Outcome {
    let (reader, key) = (scene.setting.reader("reader")?, credential(scene, place, "key")?);
    open(scene, &reader, &key, &["--times", "5", "--expected", "4"])
}

/// A count is of the program, not of a process.
fn processes(scene: &mut Scene<'_>) -> Outcome {
    let (reader, key) = (scene.setting.reader("reader")?, credential(scene, "ext4", "key")?);
    open(scene, &reader, &key, &["--expected", "5"])?;
    for _ in 0..5 {
        open(scene, &reader, &key, &["--counted"])?;
    }
    Ok(())
}

/// Each path, each user and each program is told.
fn files(scene: &mut Scene<'_>) -> Outcome {
    let (reader, other) = (scene.setting.reader("reader")?, scene.setting.reader("other")?);
    let keys = [credential(scene, "ext4", "one")?, credential(scene, "ext4", "two")?];
    for key in &keys {
        open(scene, &reader, key, &["--times", "2", "--expected", "1"])?;
        open(scene, &other, key, &["--times", "3", "--expected", "2"])?;
    }
    Ok(())
}

/// Whatever is more than a read is told each time, also after reads were counted.
fn writes(scene: &mut Scene<'_>) -> Outcome {
    let (reader, key) = (scene.setting.reader("reader")?, credential(scene, "ext4", "key")?);
    open(scene, &reader, &key, &["--times", "3", "--expected", "2"])?;
    for access in ["write", "read-write"] {
        open(scene, &reader, &key, &["--times", "2", "--access", access])?;
    }
    Ok(())
}

/// Elsewhere it is another program.
fn copy(scene: &mut Scene<'_>) -> Outcome {
    let key = credential(scene, "ext4", "key")?;
    // Kept for the sessions that follow: it is large for a guest's disk.
    let copy = scene.setting.path("reader-elsewhere");
    if !copy.exists() {
        scene.setting.copy_of_me(&copy)?;
    }
    open(scene, &copy, &key, &["--times", "2"])
}

/// What others than root may have written is nobody's.
fn changed(scene: &mut Scene<'_>, name: &str, change: fn(&Path) -> std::io::Result<()>) -> Outcome {
    let (reader, key) = (scene.setting.reader(name)?, credential(scene, "ext4", "key")?);
    change(&reader).during(reader.display())?;
    open(scene, &reader, &key, &["--times", "2"])
}

fn group_writable(path: &Path) -> std::io::Result<()> {
    fs::set_permissions(path, Permissions::from_mode(0o775))
}

fn of_a_user(path: &Path) -> std::io::Result<()> {
    chown(path, Some(USER), None)
}

/// What runs is not what is there now, as after an upgrade.
fn replaced(scene: &mut Scene<'_>) -> Outcome {
    let (reader, key) = (scene.setting.reader("replaced")?, credential(scene, "ext4", "key")?);
    let by = reader.with_file_name("replacement");
    scene.setting.copy_of_me(&by)?;
    let mut command = Command::new(&reader);
    command.args(["act", "open", "--times", "2", "--path"]).arg(&key).arg("--replaced-by").arg(&by);
    let expected = scene.perform(&mut command)?;
    // It can no longer say itself what it runs, and its identity goes by that.
    scene.expect(expected.into_iter().map(|one| {
        of_entry(one).key("exe", reader.to_string_lossy()).without("identity").without("identity_kind")
    }));
    open(scene, &reader, &key, &["--times", "2", "--expected", "1"])
}

fn preload(scene: &mut Scene<'_>) -> Outcome {
    let (reader, key) = (scene.setting.reader("reader")?, credential(scene, "ext4", "key")?);
    let mut command = Command::new(&reader);
    command.args(["act", "open", "--times", "2", "--path"]).arg(&key);
    command.env("LD_LIBRARY_PATH", "/nonexistent");
    perform(scene, &mut command)
}

/// In namespaces of its own, whoever makes them decides what else the program finds.
fn apart(scene: &mut Scene<'_>, namespace: &str) -> Outcome {
    let (reader, key) = (scene.setting.reader("reader")?, credential(scene, "ext4", "key")?);
    let unshare = child::find("unshare").map_err(|error| Verdict::Skipped(error.to_string()))?;
    let mut command = Command::new(unshare);
    command.arg(namespace);
    if namespace == "--user" {
        command.arg("--map-root-user");
    }
    command.arg(&reader).args(["act", "open", "--times", "2", "--path"]).arg(&key);
    let expected = scene.perform(&mut command)?;
    let apart = |one: Expected| of_entry(one).identity_begins("exe-ns/", "namespaced_executable");
    scene.expect(expected.into_iter().map(apart));
    Ok(())
}
