//! The identity of the kernel object: a hash of everything that can change it, and of nothing else.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use super::{Error, FLAGS, PROFILE, Request, Toolchain};

/// The crates that are compiled into the object.
const CRATES: [&str; 2] = ["agent-common", "agent-ebpf"];

/// 16 hexadecimal digits over both crates' files, their dependencies as locked, the toolchain and the flags. A change
/// in userspace alone, its dependencies included, gives the same hash.
pub(super) fn hash(request: &Request<'_>, toolchain: &Toolchain) -> Result<String, Error> {
    let mut hasher = Sha256::new();
    let mut feed = |bytes: &[u8]| {
        hasher.update((bytes.len() as u64).to_le_bytes());
        hasher.update(bytes);
    };
    feed(request.arch.as_bytes());
    feed(toolchain.version.as_bytes());
    FLAGS.iter().for_each(|flag| feed(flag.as_bytes()));
    PROFILE.iter().for_each(|(name, value)| feed(format!("{name}={value}").as_bytes()));

    let lock = read(&request.root.join("Cargo.lock"))?;
    let locked = locked(&lock, "agent-ebpf");
    locked.iter().for_each(|package| feed(package.as_bytes()));
    let manifest = read(&request.root.join("Cargo.toml"))?;
    inherited(&manifest, &locked).for_each(|line| feed(line.as_bytes()));

    let mut files = BTreeSet::new();
    for dir in CRATES {
        collect(&request.root.join(dir), &mut files)?;
    }
    for file in files {
        let name = file.strip_prefix(request.root).unwrap_or(&file);
        feed(name.as_os_str().as_encoded_bytes());
        feed(&fs::read(&file).map_err(Error::io("read", &file))?);
    }
    Ok(hasher.finalize().iter().take(8).map(|byte| format!("{byte:02x}")).collect())
}

fn read(path: &Path) -> Result<String, Error> {
    fs::read_to_string(path).map_err(Error::io("read", path))
}

fn collect(dir: &Path, files: &mut BTreeSet<PathBuf>) -> Result<(), Error> {
    for entry in fs::read_dir(dir).map_err(Error::io("list", dir))? {
        let entry = entry.map_err(Error::io("list", dir))?;
        let kind = entry.file_type().map_err(Error::io("look at", &entry.path()))?;
        if kind.is_dir() {
            collect(&entry.path(), files)?;
        } else {
            files.insert(entry.path());
        }
    }
    Ok(())
}

/// The entries of `Cargo.lock` for `root` and everything it depends on, sorted.
///
/// cargo writes that file itself, one field a line, so that lines are enough; a TOML library in a build script would
/// be compiled before anything else can.
fn locked<'a>(lock: &'a str, root: &'a str) -> BTreeSet<&'a str> {
    let packages: Vec<&str> = lock.split("[[package]]\n").skip(1).map(str::trim_end).collect();
    let mut reached = BTreeSet::new();
    let mut wanted = vec![root];
    while let Some(dependency) = wanted.pop() {
        // "name", or "name version", or "name version (source)" where one name is locked at several versions.
        let mut parts = dependency.split(' ');
        let (name, version) = (parts.next(), parts.next());
        let matches = |package: &&&str| {
            field(package, "name") == name && (version.is_none() || field(package, "version") == version)
        };
        for package in packages.iter().filter(matches) {
            if reached.insert(*package) {
                wanted.extend(dependencies(package));
            }
        }
    }
    reached
}

fn field<'a>(package: &'a str, name: &str) -> Option<&'a str> {
    package.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(" = \"")?.strip_suffix('"'))
}

fn dependencies(package: &str) -> impl Iterator<Item = &str> {
    let list = package.split_once("dependencies = [").map_or("", |(_, list)| list);
    list.lines().filter_map(|line| line.trim().strip_prefix('"')?.strip_suffix("\","))
}

/// The lines of the workspace's manifest that both crates inherit: their dependencies' features, edition, oldest
/// compiler. Each stands on one line there.
fn inherited<'a>(manifest: &'a str, locked: &BTreeSet<&'a str>) -> impl Iterator<Item = &'a str> {
    let mut names: BTreeSet<&str> = locked.iter().filter_map(|package| field(package, "name")).collect();
    names.extend(["edition", "rust-version", "resolver"]);
    manifest
        .lines()
        .filter(move |line| line.split_once('=').is_some_and(|(name, _)| names.contains(name.trim())))
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOCK: &str = r#"version = 4

[[package]]
name = "agent-common"
version = "0.1.0"
dependencies = [
 "zerocopy",
]

[[package]]
name = "agent-ebpf"
version = "0.1.0"
dependencies = [
 "agent-common",
 "syn 2.0.1",
]

[[package]]
name = "reqwest"
version = "0.13.0"
dependencies = [
 "syn 1.0.9",
]

[[package]]
name = "syn"
version = "1.0.9"

[[package]]
name = "syn"
version = "2.0.1"

[[package]]
name = "zerocopy"
version = "0.8.0"
"#;

    fn names(lock: &str) -> Vec<String> {
        let name = |package: &&str| {
            format!("{} {}", field(package, "name").unwrap(), field(package, "version").unwrap())
        };
        locked(lock, "agent-ebpf").iter().map(name).collect()
    }

    #[test]
    fn the_lock_is_followed_from_the_kernel_crate_alone() {
        assert_eq!(names(LOCK), ["agent-common 0.1.0", "agent-ebpf 0.1.0", "syn 2.0.1", "zerocopy 0.8.0"]);
    }

    #[test]
    fn a_userspace_dependency_leaves_the_closure_as_it_is() {
        let newer = LOCK.replace("0.13.0", "0.14.0").replace("1.0.9", "1.0.10");
        assert_eq!(locked(LOCK, "agent-ebpf"), locked(&newer, "agent-ebpf"));
        let kernel = LOCK.replace("0.8.0", "0.8.1");
        assert_ne!(locked(LOCK, "agent-ebpf"), locked(&kernel, "agent-ebpf"));
    }

    #[test]
    fn only_inherited_lines_of_the_manifest_count() {
        let manifest = "edition = \"2024\"\nserde = \"1\"\nzerocopy = { version = \"0.8\" }\n";
        let lines: Vec<&str> = inherited(manifest, &locked(LOCK, "agent-ebpf")).collect();
        assert_eq!(lines, ["edition = \"2024\"", "zerocopy = { version = \"0.8\" }"]);
    }

    #[test]
    fn this_workspace_locks_what_the_kernel_crate_needs() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
        let lock = fs::read_to_string(root.join("Cargo.lock")).unwrap();
        let found = names(&lock);
        assert!(found.iter().any(|name| name.starts_with("aya-ebpf 0.2.")), "{found:?}");
        assert!(!found.iter().any(|name| name.starts_with("reqwest ")), "{found:?}");
    }
}
