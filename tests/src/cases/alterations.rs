//! Renames, links, removals and changes of credentials: each is one event, and the file stays known.

use std::fs;
use std::os::unix::process::CommandExt;
use std::path::Path;

use super::{Case, shared};
use crate::harness::expect::Expected;
use crate::harness::places;
use crate::harness::scene::Scene;
use crate::harness::setting::{self, FIXED_ENTRY, Rung};
use crate::outcome::{During, Outcome};

/// Nobody, who owns nothing.
const USER: u32 = 65_534;

/// As the agent names what it does not see.
const BY_PATH: &str =
    "renames, links and removals of credentials, and what is changed of them by path, are not seen";

/// What, its hook with trampolines, and whether there is another path.
const CHANGES: [(&str, &str, bool); 10] = [
    ("rename", "fexit/vfs_rename", true),
    ("rename-free", "fexit/vfs_rename", true),
    ("link", "fexit/vfs_link", true),
    ("link-descriptor", "fexit/vfs_link", true),
    ("unlink", "fexit/vfs_unlink", false),
    ("chmod", "fexit/chmod_common", false),
    ("fchmod", "fexit/chmod_common", false),
    ("chown", "fexit/chown_common", false),
    ("fchown", "fexit/chown_common", false),
    ("truncate", "fexit/vfs_truncate", false),
];

/// What is refused to somebody else, with what errno.
const REFUSED: [(&str, &str, bool, i32); 5] = [
    ("rename", "fexit/vfs_rename", true, libc::EACCES),
    ("unlink", "fexit/vfs_unlink", false, libc::EACCES),
    ("chmod", "fexit/chmod_common", false, libc::EPERM),
    ("chown", "fexit/chown_common", false, libc::EPERM),
    ("truncate", "fexit/vfs_truncate", false, libc::EACCES),
];

type Body = fn(&mut Scene<'_>, &'static str) -> Outcome;

const STORIES: [(&str, Body); 6] = [
    ("replaced", replaced),
    ("made-by-rename", made_by_rename),
    ("opened-where-it-went", opened_where_it_went),
    ("opened-by-its-link", opened_by_its_link),
    ("fixed", fixed),
    ("forgotten", forgotten),
];

/// All of them, on each file system.
pub(super) fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for place in ["ext4", "overlay", "tmpfs"] {
        for (what, hook, other) in CHANGES {
            cases.push(shared(format!("change/{place}/{what}"), move |scene| {
                changed(scene, place, what, hook, other)
            }));
        }
        for (what, hook, other, errno) in REFUSED {
            cases.push(shared(format!("change/{place}/{what}-refused"), move |scene| {
                refused(scene, place, (what, hook, other), errno)
            }));
        }
        for (name, body) in STORIES {
            cases.push(shared(format!("change/{place}/{name}"), move |scene| {
                scene.unless_named(BY_PATH)?;
                body(scene, place)
            }));
        }
        cases.push(shared(format!("change/{place}/innocent"), move |scene| innocent(scene, place)));
    }
    cases
}

/// Does it; what should be told, with its hook.
fn alter(
    scene: &mut Scene<'_>,
    what: &str,
    hook: &str,
    path: &Path,
    other: Option<&Path>,
) -> Outcome<Vec<Expected>> {
    let (path, other) = (path.to_string_lossy(), other.map(Path::to_string_lossy));
    let mut args = vec!["alter", "--what", what, "--path", &path];
    args.extend(other.iter().flat_map(|other| ["--other", &**other]));
    let all = scene.act(&args)?;
    // Those that take a descriptor open the file first.
    let last = all.len().saturating_sub(1);
    let hook = if scene.session.rung() == Some(Rung::Tracepoint) { "tp_btf/sys_exit" } else { hook };
    let seen = |(at, one): (usize, Expected)| if at == last { one.seen_by(&[hook]) } else { one };
    Ok(all.into_iter().enumerate().map(seen).collect())
}

fn changed(scene: &mut Scene<'_>, place: &str, what: &str, hook: &str, other: bool) -> Outcome {
    if !what.starts_with('f') {
        scene.unless_named(BY_PATH)?;
    }
    let path = scene.credential(place, "key")?;
    let harmless = scene.directory(place)?.join("harmless");
    let expected = alter(scene, what, hook, &path, other.then_some(&*harmless))?;
    scene.expect(expected);
    Ok(())
}

fn refused(scene: &mut Scene<'_>, place: &str, what: (&str, &str, bool), errno: i32) -> Outcome {
    scene.unless_named(BY_PATH)?;
    let (what, hook, other) = what;
    let path = scene.credential(place, "key")?;
    let harmless = scene.directory(place)?.join("harmless");
    let (path, harmless, errno) = (path.to_string_lossy(), harmless.to_string_lossy(), errno.to_string());
    let mut args = vec!["alter", "--what", what, "--path", &path, "--refused", &errno];
    if other {
        args.extend(["--other", &harmless]);
    }
    let mut command = scene.actor(&args);
    let expected = scene.perform(command.uid(USER).gid(USER).current_dir("/"))?;
    scene.expect(expected.into_iter().map(|one| one.seen_by(&[hook])));
    Ok(())
}

/// Another file takes a credential's place.
fn replaced(scene: &mut Scene<'_>, place: &'static str) -> Outcome {
    let path = scene.credential(place, "key")?;
    replace(scene, place, &path)
}

/// Another file gets a name that is a credential's.
fn made_by_rename(scene: &mut Scene<'_>, place: &'static str) -> Outcome {
    let path = scene.credential(place, "key")?.with_file_name("new");
    replace(scene, place, &path)
}

fn replace(scene: &mut Scene<'_>, place: &str, path: &Path) -> Outcome {
    let other = scene.directory(place)?.join("other");
    places::write(&other, "secret\n")?;
    let expected = alter(scene, "replace", "fexit/vfs_rename", path, Some(&other))?;
    scene.expect(expected);
    scene.act_and_expect(&["open", "--path", &path.to_string_lossy()])
}

/// Opens what was a credential under a name that says nothing.
fn open_by_inode(scene: &mut Scene<'_>, path: &Path) -> Outcome {
    let expected = scene.act(&["open", "--path", &path.to_string_lossy()])?;
    scene.expect(expected.into_iter().map(|one| one.key("matched_by", "inode")));
    Ok(())
}

/// A credential that was made since the start is renamed, after somebody has opened it.
fn opened_where_it_went(scene: &mut Scene<'_>, place: &'static str) -> Outcome {
    let path = scene.credential(place, "key")?;
    scene.act_and_expect(&["open", "--path", &path.to_string_lossy()])?;
    let harmless = scene.directory(place)?.join("harmless");
    let expected = alter(scene, "rename", "fexit/vfs_rename", &path, Some(&harmless))?;
    scene.expect(expected);
    open_by_inode(scene, &harmless)?;
    let further = harmless.with_file_name("further");
    let expected = alter(scene, "rename", "fexit/vfs_rename", &harmless, Some(&further))?;
    scene.expect(expected.into_iter().map(|one| one.key("matched_by", "inode")));
    open_by_inode(scene, &further)
}

/// A credential that was made since the start is linked, and its name removed.
fn opened_by_its_link(scene: &mut Scene<'_>, place: &'static str) -> Outcome {
    let path = scene.credential(place, "key")?;
    let harmless = scene.directory(place)?.join("harmless");
    let expected = alter(scene, "link", "fexit/vfs_link", &path, Some(&harmless))?;
    scene.expect(expected);
    open_by_inode(scene, &harmless)?;
    let expected = alter(scene, "unlink", "fexit/vfs_unlink", &path, None)?;
    scene.expect(expected);
    open_by_inode(scene, &harmless)
}

/// A credential that was there at the start is known by its inode under its link too.
fn fixed(scene: &mut Scene<'_>, place: &'static str) -> Outcome {
    let fixed = setting::fixed(scene.setting.places.get(place)?);
    let harmless = scene.directory(place)?.join("harmless");
    let mut all = alter(scene, "link", "fexit/vfs_link", &fixed, Some(&harmless))?;
    let removed = alter(scene, "unlink", "fexit/vfs_unlink", &harmless, None)?;
    all.extend(removed.into_iter().map(|one| one.key("matched_by", "inode")));
    scene.expect(all.into_iter().map(|one| one.key("credential", FIXED_ENTRY)));
    Ok(())
}

/// With its last name the file is gone: its number is another file's soon, which is none.
fn forgotten(scene: &mut Scene<'_>, place: &'static str) -> Outcome {
    let path = scene.credential(place, "key")?;
    let harmless = scene.directory(place)?.join("harmless");
    let expected = alter(scene, "rename", "fexit/vfs_rename", &path, Some(&harmless))?;
    scene.expect(expected);
    let expected = alter(scene, "unlink", "fexit/vfs_unlink", &harmless, None)?;
    scene.expect(expected.into_iter().map(|one| one.key("matched_by", "inode")));
    for number in 0..20 {
        let path = harmless.with_file_name(format!("another-{number}"));
        places::write(&path, "nothing\n")?;
        drop(scene.act(&["open", "--path", &path.to_string_lossy()])?);
    }
    Ok(())
}

/// Files of no rule.
fn innocent(scene: &mut Scene<'_>, place: &'static str) -> Outcome {
    let directory = scene.directory(place)?;
    for (what, _, other) in CHANGES.iter().filter(|(what, ..)| !what.starts_with('f')) {
        let path = directory.join(format!("nothing-{what}"));
        let harmless = directory.join(format!("harmless-{what}"));
        places::write(&path, "nothing\n")?;
        let (path, harmless) = (path.to_string_lossy(), harmless.to_string_lossy());
        let mut args = vec!["alter", "--innocent", "--what", what, "--path", &path];
        if *other {
            args.extend(["--other", &harmless]);
        }
        scene.act_and_expect(&args)?;
    }
    fs::remove_dir_all(&directory).during(directory.display())
}
