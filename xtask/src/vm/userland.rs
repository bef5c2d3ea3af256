//! The guest's programs, taken from the host: a shell, `cat`, `unshare`, curl, Python with its standard library, bpftool,
//! mke2fs, and busybox for the rest. Packed once, and again only when one of the files it was made of changes.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    process::Command,
};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::{
    VmError,
    cache::Cache,
    initramfs::Layer,
    progress::Progress,
    python,
    tools::{self, LDD, MKE2FS, Tool},
};

/// The text that decides what is packed: a change to it makes the layer anew.
const RECIPE: [&str; 3] =
    [include_str!("userland.rs"), include_str!("python.rs"), include_str!("initramfs.rs")];

const BUSYBOX: Tool = Tool { name: "busybox", package: "busybox-static" };
const PYTHON: Tool = Tool { name: "python3", package: "python3" };

/// Real programs, because tests name them as the executables they see; busybox's applets are all one file.
const PROGRAMS: [Tool; 7] = [
    BUSYBOX,
    Tool { name: "dash", package: "dash" },
    Tool { name: "cat", package: "coreutils" },
    Tool { name: "unshare", package: "util-linux" },
    Tool { name: "curl", package: "curl" },
    Tool { name: "bpftool", package: "bpftool" },
    MKE2FS,
];

/// The merged-/usr layout of current Debian.
const MERGED: [(&str, &str); 4] =
    [("/bin", "usr/bin"), ("/sbin", "usr/bin"), ("/lib", "usr/lib"), ("/lib64", "usr/lib64")];

const ETC: [(&str, &str); 5] = [
    (
        "/etc/passwd",
        "root:x:0:0:root:/root:/bin/sh\nuser:x:1000:1000:user:/home/user:/bin/sh\nnobody:x:65534:65534::/:/bin/false\n",
    ),
    ("/etc/group", "root:x:0:\nuser:x:1000:\nnogroup:x:65534:\n"),
    ("/etc/hosts", "127.0.0.1 localhost\n::1 localhost\n"),
    ("/etc/nsswitch.conf", "passwd: files\ngroup: files\nhosts: files\n"),
    (
        "/etc/mke2fs.conf",
        "[fs_types]\next4 = {\n features = has_journal,extent,huge_file,flex_bg,64bit,dir_nlink,extra_isize\n}\n",
    ),
];

/// One host file a layer was made of, as it was then.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Input {
    path: PathBuf,
    len_bytes: u64,
    mtime_s: i64,
    mtime_ns: i64,
}

/// Beside a kept layer: what it was made of.
#[derive(Debug, Serialize, Deserialize)]
struct Manifest {
    recipe: String,
    inputs: Vec<Input>,
}

/// The layer's path, made now if it is missing or stale. The caller holds the cache's lock.
pub(super) fn layer(cache: &Cache, progress: &Progress) -> Result<PathBuf, VmError> {
    let path = cache.path("layers/userland.cpio");
    let manifest_path = cache.path("layers/userland.json");
    if path.is_file() && is_current(&manifest_path) {
        return Ok(path);
    }
    progress.step("packing the guest's programs".to_owned());
    let scratch = cache.scratch(&cache.path("layers"))?;
    let fresh = scratch.path().join("userland.cpio");
    let files = collect(scratch.path())?;
    write(&files, &fresh)?;
    let inputs = files.inputs.iter().map(|path| input(path)).collect::<Result<_, _>>()?;
    let manifest = Manifest { recipe: recipe(), inputs };
    fs::rename(&fresh, &path).map_err(VmError::io("move into place", &path))?;
    let json =
        serde_json::to_vec(&manifest).map_err(|e| VmError::io("describe", &manifest_path)(e.into()))?;
    fs::write(&manifest_path, json).map_err(VmError::io("write", &manifest_path))?;
    Ok(path)
}

fn recipe() -> String {
    RECIPE
        .iter()
        .fold(Sha256::new(), |hash, text| hash.chain_update(text))
        .finalize()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

fn is_current(manifest: &Path) -> bool {
    let read = fs::read(manifest).ok().and_then(|json| serde_json::from_slice::<Manifest>(&json).ok());
    read.is_some_and(|manifest| {
        manifest.recipe == recipe()
            && manifest.inputs.iter().all(|then| input(&then.path).is_ok_and(|now| now == *then))
    })
}

fn input(path: &Path) -> Result<Input, VmError> {
    let meta = fs::metadata(path).map_err(VmError::io("look at", path))?;
    Ok(Input {
        path: path.to_owned(),
        len_bytes: meta.len(),
        mtime_s: meta.mtime(),
        mtime_ns: meta.mtime_nsec(),
    })
}

/// What goes into the layer.
struct Files {
    /// Guest path to host file.
    copies: BTreeMap<String, PathBuf>,
    /// Guest path to link target.
    links: BTreeMap<String, String>,
    /// The host's files it all came from.
    inputs: Vec<PathBuf>,
}

fn collect(scratch: &Path) -> Result<Files, VmError> {
    let mut copies = BTreeMap::new();
    let mut links = BTreeMap::from([
        ("/usr/bin/sh".to_owned(), "dash".to_owned()),
        ("/usr/bin/python3".to_owned(), "python".to_owned()),
    ]);
    let mut programs = Vec::new();
    for tool in PROGRAMS {
        let host = tool.find()?;
        copies.insert(format!("/usr/bin/{}", tool.name), host.clone());
        programs.push(host);
    }
    let python = python::find(&PYTHON.find()?)?;
    copies.insert("/usr/bin/python".to_owned(), python.executable.clone());
    programs.push(python.executable.clone());
    let library = python::compile(&python, scratch)?;
    programs.extend(library.extensions.iter().cloned());

    let shared = shared_objects(&programs)?;
    let mut inputs = programs;
    inputs.extend(shared.iter().cloned());
    inputs.extend(library.sources);
    for path in &shared {
        copies.insert(merged(path), path.clone());
    }
    copies.extend(library.files);
    for applet in applets(&BUSYBOX.find()?)? {
        let guest = format!("/usr/bin/{applet}");
        if !copies.contains_key(&guest) {
            links.entry(guest).or_insert_with(|| "busybox".to_owned());
        }
    }
    Ok(Files { copies, links, inputs })
}

fn write(files: &Files, path: &Path) -> Result<(), VmError> {
    let out = File::create(path).map_err(VmError::io("create", path))?;
    let mut layer = Layer::new(&out, path);
    for (link, target) in MERGED {
        layer.symlink(target, link)?;
    }
    // The kernel opens it for init before anything is mounted.
    layer.device("/dev/console", 0o600, (5, 1))?;
    for (guest, content) in ETC {
        layer.file(guest, 0o644, content.as_bytes())?;
    }
    for (guest, host) in &files.copies {
        let mode = if guest.starts_with("/usr/bin/") || guest.contains(".so") { 0o755 } else { 0o644 };
        layer.copy(host, guest, mode)?;
    }
    for (guest, target) in &files.links {
        layer.symlink(target, guest)?;
    }
    layer.finish()
}

/// The guest's path of a host library: whatever the host's own layout, below `/usr`.
fn merged(path: &Path) -> String {
    let path = path.to_string_lossy();
    if path.starts_with("/lib") { format!("/usr{path}") } else { path.into_owned() }
}

fn applets(busybox: &Path) -> Result<Vec<String>, VmError> {
    let list = tools::output(Command::new(busybox).arg("--list"), "list busybox's applets")?;
    Ok(String::from_utf8_lossy(&list).lines().map(str::to_owned).collect())
}

/// Every shared object that `programs` load at start, the dynamic linker among them.
fn shared_objects(programs: &[PathBuf]) -> Result<Vec<PathBuf>, VmError> {
    let mut found = Vec::new();
    for program in programs {
        let mut ldd = LDD.command()?;
        // A static program makes ldd fail; it needs nothing.
        let done = ldd.arg(program).output().map_err(VmError::io("read the libraries of", program))?;
        found.extend(ldd_paths(&String::from_utf8_lossy(&done.stdout)));
    }
    found.sort();
    found.dedup();
    Ok(found)
}

/// Reads `libc.so.6 => /lib/x86_64-linux-gnu/libc.so.6 (0x…)` and `/lib64/ld-linux-x86-64.so.2 (0x…)`.
fn ldd_paths(text: &str) -> impl Iterator<Item = PathBuf> {
    text.lines().filter_map(|line| {
        let line = line.trim();
        let path = line.split_once("=> ").map_or(line, |(_, path)| path);
        let (path, _) = path.split_once(" (0x")?;
        path.starts_with('/').then(|| PathBuf::from(path))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ldd_output_names_the_files() {
        let text = "\tlinux-vdso.so.1 (0x00007ffd)\n\tlibz.so.1 => /lib/x86_64-linux-gnu/libz.so.1 (0x00007f)\n\
                    \t/lib64/ld-linux-x86-64.so.2 (0x00007f)\n";
        let found: Vec<_> = ldd_paths(text).collect();
        assert_eq!(
            found,
            [PathBuf::from("/lib/x86_64-linux-gnu/libz.so.1"), PathBuf::from("/lib64/ld-linux-x86-64.so.2")]
        );
        assert_eq!(ldd_paths("\tnot a dynamic executable\n").count(), 0);
    }

    #[test]
    fn libraries_land_below_usr() {
        assert_eq!(merged(Path::new("/lib64/ld-linux-x86-64.so.2")), "/usr/lib64/ld-linux-x86-64.so.2");
        assert_eq!(
            merged(Path::new("/usr/lib/x86_64-linux-gnu/libz.so.1")),
            "/usr/lib/x86_64-linux-gnu/libz.so.1"
        );
    }

    #[test]
    fn a_changed_input_makes_the_layer_stale() {
        let dir = tempfile::tempdir().unwrap();
        let (file, manifest) = (dir.path().join("file"), dir.path().join("manifest"));
        fs::write(&file, b"one").unwrap();
        let kept = Manifest { recipe: recipe(), inputs: vec![input(&file).unwrap()] };
        fs::write(&manifest, serde_json::to_vec(&kept).unwrap()).unwrap();
        assert!(is_current(&manifest));
        fs::write(&file, b"three").unwrap();
        assert!(!is_current(&manifest));
        fs::remove_file(&file).unwrap();
        assert!(!is_current(&manifest));
    }
}
