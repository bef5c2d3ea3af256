//! Disk images: a directory as a file system.

use std::path::{Path, PathBuf};

use walkdir::WalkDir;

use super::{
    VmError,
    tools::{self, MKE2FS},
};

/// Room for what a guest writes. It takes none on the host until then.
const ROOM_BYTES: u64 = 4 << 30;
/// What a file takes beside its contents, at most: the rest of its last block, its inode.
const FILE_BYTES: u64 = 4096 + 256;

/// What the oldest kernel knows, too: the defaults of newer tools have more.
const FEATURES: &str = "none,has_journal,ext_attr,dir_index,filetype,extent,64bit,flex_bg,sparse_super,large_file,\
    huge_file,dir_nlink,extra_isize";

/// Makes an image of ext4 with all below `directory`, owners and permissions included, which only root can read.
pub(super) fn make(directory: &Path, image: &Path) -> Result<(), VmError> {
    let bytes = size(directory)? + ROOM_BYTES;
    let mut mke2fs = MKE2FS.command()?;
    mke2fs.args(["-q", "-F", "-t", "ext4", "-O", FEATURES, "-m", "0", "-i", "8192"]);
    mke2fs.args(["-E", "lazy_itable_init=1,lazy_journal_init=1,root_owner=0:0", "-d"]).arg(directory);
    mke2fs.arg(image).arg(format!("{}k", bytes / 1024));
    tools::output(&mut mke2fs, "make a disk for the guest").map(drop)
}

fn size(directory: &Path) -> Result<u64, VmError> {
    let failed = |error: walkdir::Error| {
        let path = error.path().map_or_else(|| PathBuf::from(directory), Path::to_owned);
        VmError::io("look at", path)(error.into())
    };
    WalkDir::new(directory).into_iter().try_fold(0, |sum, entry| {
        let meta = entry.and_then(|entry| entry.metadata()).map_err(failed)?;
        Ok(sum + meta.len() + FILE_BYTES)
    })
}

#[cfg(test)]
mod tests {
    use std::{fs, process::Command};

    use super::*;

    #[test]
    fn an_image_holds_what_is_below_the_directory() {
        let dir = tempfile::tempdir().unwrap();
        let (tree, image) = (dir.path().join("tree"), dir.path().join("image"));
        fs::create_dir_all(tree.join("etc")).unwrap();
        fs::write(tree.join("etc/hosts"), "127.0.0.1 localhost\n").unwrap();
        make(&tree, &image).unwrap();
        let mut ask = Command::new("debugfs");
        ask.env("PATH", "/usr/sbin:/sbin:/usr/bin:/bin").args(["-R", "cat /etc/hosts"]).arg(&image);
        let said = ask.output().unwrap();
        assert_eq!(String::from_utf8_lossy(&said.stdout), "127.0.0.1 localhost\n");
    }
}
