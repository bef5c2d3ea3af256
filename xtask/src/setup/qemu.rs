//! QEMU. Its package conflicts with newer packages of QEMU's other programs, which some machines have (Debian's of
//! backports): then it is unpacked below the target directory, with the libraries that it lacks, and nothing of the
//! machine's is replaced or removed.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::Command,
};

use super::{Error, apt};
use crate::{
    step,
    workspace::{Workspace, program},
};

/// The program.
pub(crate) const PROGRAM: &str = "qemu-system-x86_64";
/// Debian's package of it.
pub(crate) const PACKAGE: &str = "qemu-system-x86";

/// Of a directory with packages, and of one for what is in them.
const UNPACK: &str = r#"for package in "$1"/*.deb; do dpkg-deb --extract "$package" "$2" || exit 1; done"#;

/// The system's own, else ours.
pub(crate) fn find(workspace: &Workspace) -> Option<PathBuf> {
    let ours = directory(workspace).join(PROGRAM);
    program(PROGRAM).or_else(|| ours.is_file().then_some(ours))
}

/// Unpacks it below the target directory, with a program that starts it from there.
pub(super) fn install_beside(workspace: &Workspace) -> Result<(), Error> {
    let directory = directory(workspace);
    let (packages, root) = (directory.join("packages"), directory.join("root"));
    for made in [&packages, &root] {
        // What an earlier try left is not taken for a whole one.
        let _ = fs::remove_dir_all(made);
        fs::create_dir_all(made).map_err(io("make", made))?;
    }
    let log = workspace.log("qemu");
    let wanted = apt::would_install(PACKAGE)?;
    let mut download = Command::new("apt-get");
    download.env("LC_ALL", "C").arg("download").args(&wanted).current_dir(&packages);
    step::run(&format!("apt-get download {PACKAGE} and what it needs"), &mut download, &log)?;
    let mut unpack = Command::new("sh");
    unpack.args(["-c", UNPACK, "sh"]).args([&packages, &root]);
    step::run(&format!("unpack them in {}", root.display()), &mut unpack, &log)?;
    let _ = fs::remove_dir_all(&packages);
    let start = directory.join(PROGRAM);
    fs::write(&start, start_script(&root)).map_err(io("write", &start))?;
    fs::set_permissions(&start, fs::Permissions::from_mode(0o755)).map_err(io("change", &start))?;
    Ok(())
}

/// Its modules, firmware and libraries are where it does not look by itself.
fn start_script(root: &Path) -> String {
    let root = root.display().to_string().replace('\'', r"'\''");
    format!(
        "#!/bin/sh\n\
         root='{root}'\n\
         libraries=$root/usr/lib/x86_64-linux-gnu\n\
         export LD_LIBRARY_PATH=\"$libraries:$root/lib/x86_64-linux-gnu\" QEMU_MODULE_DIR=\"$libraries/qemu\"\n\
         exec \"$root/usr/bin/{PROGRAM}\" -L \"$root/usr/share/qemu\" -L \"$root/usr/share/seabios\" \"$@\"\n"
    )
}

fn directory(workspace: &Workspace) -> PathBuf {
    workspace.target.join("tools/qemu")
}

fn io(doing: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> Error {
    let path = path.to_owned();
    move |source| Error::Io { doing, path, source }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_program_that_starts_it_hands_everything_on() {
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path().join("it's a root");
        let program = root.join("usr/bin").join(PROGRAM);
        fs::create_dir_all(program.parent().unwrap()).unwrap();
        fs::write(&program, "#!/bin/sh\nprintf '%s|' \"$QEMU_MODULE_DIR\" \"$@\"\n").unwrap();
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
        let start = directory.path().join("start");
        fs::write(&start, start_script(&root)).unwrap();
        let told = Command::new("sh").arg(&start).args(["-append", "a b"]).output().unwrap();
        let root = root.display();
        assert_eq!(
            String::from_utf8_lossy(&told.stdout),
            format!(
                "{root}/usr/lib/x86_64-linux-gnu/qemu|-L|{root}/usr/share/qemu|-L|{root}/usr/share/seabios|-append|a b|"
            )
        );
    }
}
