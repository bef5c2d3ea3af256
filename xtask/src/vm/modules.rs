//! Kernel modules the guest loads, with what they depend on.
//!
//! A kernel package carries no `modules.dep` (depmod writes it at installation), so dependencies are read from
//! where depmod reads them: the `depends=` line of each module's `.modinfo` section.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::{self, File},
    path::{Path, PathBuf},
};

use object::{Object, ObjectSection};
use walkdir::WalkDir;

use super::{
    VmError,
    initramfs::Layer,
    kernel::KernelImage,
    tools::{self, XZ},
};

/// What the guest needs beyond what is built into the kernel; `init.sh` and the tests use these.
const WANTED: [&str; 5] = ["ext4", "loop", "overlay", "tun", "veth"];
/// What a guest with disks needs besides.
const FOR_DISKS: [&str; 2] = ["virtio_pci", "virtio_blk"];

/// Guest file that lists the modules in the order to load them.
const LOAD_ORDER: &str = "/vm/modules";

/// The layer of `kernel`'s modules, made now if there is none yet. The caller holds the cache's lock.
pub(super) fn layer(kernel: &KernelImage, has_disks: bool) -> Result<PathBuf, VmError> {
    let disks: &[&str] = if has_disks { &FOR_DISKS } else { &[] };
    let wanted = [disks, &WANTED].concat();
    // Kept beside what it is made of, and named by what it holds.
    let path = kernel.dir.join(format!("modules-{}.cpio", wanted.join("-")));
    if !path.is_file() {
        let fresh = path.with_extension("new");
        write_layer(kernel, &wanted, &fresh)?;
        fs::rename(&fresh, &path).map_err(VmError::io("move into place", &path))?;
    }
    Ok(path)
}

fn write_layer(kernel: &KernelImage, wanted: &[&str], path: &Path) -> Result<(), VmError> {
    let index = Index::read(&kernel.modules)?;
    let mut plan = Plan::default();
    for name in wanted {
        plan.add(name, &index)?;
    }
    let out = File::create(path).map_err(VmError::io("create", path))?;
    let mut layer = Layer::new(&out, path);
    let mut order = String::new();
    for (name, content) in &plan.loaded {
        let guest = format!("/vm/{name}.ko");
        layer.file(&guest, 0o644, content)?;
        order.push_str(&guest);
        order.push('\n');
    }
    layer.file(LOAD_ORDER, 0o644, order.as_bytes())?;
    layer.finish()
}

/// Where each module is, and which are part of the kernel itself.
struct Index {
    dir: PathBuf,
    files: BTreeMap<String, PathBuf>,
    builtin: BTreeSet<String>,
}

impl Index {
    fn read(dir: &Path) -> Result<Self, VmError> {
        let list = dir.join("modules.builtin");
        let builtin = fs::read_to_string(&list).map_err(VmError::io("read", &list))?;
        let builtin = builtin.lines().filter_map(|line| module_name(Path::new(line))).collect();
        let files = WalkDir::new(dir.join("kernel"))
            .into_iter()
            .flatten()
            .filter_map(|entry| Some((module_name(entry.path())?, entry.into_path())))
            .collect();
        Ok(Self { dir: dir.to_owned(), files, builtin })
    }
}

/// `kernel/fs/overlayfs/overlay.ko.xz` is `overlay`; `-` and `_` are one letter to the kernel.
fn module_name(path: &Path) -> Option<String> {
    let (name, _) = path.file_name()?.to_str()?.split_once(".ko")?;
    Some(name.replace('-', "_"))
}

/// Modules in load order: whatever one depends on stands before it.
#[derive(Default)]
struct Plan {
    seen: BTreeSet<String>,
    loaded: Vec<(String, Vec<u8>)>,
}

impl Plan {
    fn add(&mut self, name: &str, index: &Index) -> Result<(), VmError> {
        let name = name.replace('-', "_");
        if index.builtin.contains(&name) || !self.seen.insert(name.clone()) {
            return Ok(());
        }
        let file = index.files.get(&name).ok_or_else(|| VmError::Module {
            path: index.dir.join(&name),
            reason: "the kernel package does not hold it".to_owned(),
        })?;
        let content = read_module(file)?;
        for dependency in dependencies(&content, file)? {
            self.add(&dependency, index)?;
        }
        self.loaded.push((name, content));
        Ok(())
    }
}

fn read_module(path: &Path) -> Result<Vec<u8>, VmError> {
    match path.extension().and_then(|ext| ext.to_str()) {
        Some("ko") => fs::read(path).map_err(VmError::io("read", path)),
        Some("xz") => tools::output(XZ.command()?.arg("-dc").arg(path), "unpack a kernel module"),
        _ => Err(VmError::Module { path: path.to_owned(), reason: "unknown compression".to_owned() }),
    }
}

fn dependencies(module: &[u8], path: &Path) -> Result<Vec<String>, VmError> {
    let wrong = |reason: String| VmError::Module { path: path.to_owned(), reason };
    let elf = object::File::parse(module).map_err(|e| wrong(e.to_string()))?;
    let info = elf.section_by_name(".modinfo").ok_or_else(|| wrong("no .modinfo section".to_owned()))?;
    let info = info.data().map_err(|e| wrong(e.to_string()))?;
    Ok(depends_of(info))
}

/// `.modinfo` is a row of NUL-ended `key=value`; `depends` holds names between commas.
fn depends_of(modinfo: &[u8]) -> Vec<String> {
    modinfo
        .split(|byte| *byte == 0)
        .filter_map(|pair| pair.strip_prefix(b"depends="))
        .flat_map(|names| names.split(|byte| *byte == b','))
        .filter(|name| !name.is_empty())
        .map(|name| String::from_utf8_lossy(name).into_owned())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_as_the_kernel_spells_them() {
        for (path, name) in [
            ("kernel/fs/overlayfs/overlay.ko", Some("overlay")),
            ("kernel/drivers/block/virtio-blk.ko.xz", Some("virtio_blk")),
            ("modules.order", None),
        ] {
            assert_eq!(module_name(Path::new(path)).as_deref(), name, "{path}");
        }
    }

    #[test]
    fn dependencies_come_from_modinfo() {
        assert_eq!(
            depends_of(b"license=GPL\0depends=virtio_ring,virtio\0name=x\0"),
            ["virtio_ring", "virtio"]
        );
        assert!(depends_of(b"license=GPL\0depends=\0").is_empty());
        assert!(depends_of(b"").is_empty());
    }
}
