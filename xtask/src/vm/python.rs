//! The host's Python for the guest: its standard library, compiled beforehand.
//!
//! Compiling `asyncio` and what it imports takes seconds under emulation, so the guest gets `.pyc` files in the
//! place of their sources, which Python imports as they are.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use serde::Deserialize;
use walkdir::WalkDir;

use super::{VmError, tools};

const DESCRIBE: &str = "import json, os, sys, sysconfig; print(json.dumps({\
    'executable': os.path.realpath(sys.executable), \
    'stdlib': sysconfig.get_path('stdlib')}))";

/// Parts of the standard library that no test needs: they are big, or need libraries that are.
const LEFT_OUT: [&str; 14] = [
    "__pycache__",
    "config-",
    "dist-packages",
    "distutils",
    "ensurepip",
    "idlelib",
    "lib2to3",
    "pydoc_data",
    "site-packages",
    "sqlite3",
    "test",
    "tkinter",
    "turtledemo",
    "venv",
];

/// Extensions left out for the same reasons.
const EXTENSIONS_LEFT_OUT: [&str; 8] =
    ["_ctypes_test", "_curses", "_dbm", "_gdbm", "_sqlite3", "_test", "_xx", "readline"];

/// Where a Python keeps its things.
#[derive(Debug, Deserialize)]
pub(super) struct Python {
    /// The program, links resolved.
    pub(super) executable: PathBuf,
    stdlib: PathBuf,
}

/// Python's part of the guest.
#[derive(Debug, Default)]
pub(super) struct Library {
    /// Guest path to host file.
    pub(super) files: BTreeMap<String, PathBuf>,
    /// The extensions among them, whose libraries the guest needs too.
    pub(super) extensions: Vec<PathBuf>,
    /// Host files that were compiled.
    pub(super) sources: Vec<PathBuf>,
}

/// Asks the Python at `path` about itself.
pub(super) fn find(path: &Path) -> Result<Python, VmError> {
    let answer =
        tools::output(Command::new(path).args(["-I", "-c", DESCRIBE]), "ask Python where its library is")?;
    serde_json::from_slice(&answer).map_err(|source| VmError::Python { source })
}

/// Compiles the standard library below `scratch`, which must outlive the result's use.
pub(super) fn compile(python: &Python, scratch: &Path) -> Result<Library, VmError> {
    let stage = scratch.join("python");
    let mut library = Library::default();
    for entry in
        WalkDir::new(&python.stdlib).into_iter().filter_entry(|entry| !left_out(entry.path(), python))
    {
        let entry = entry.map_err(|e| VmError::io("list", &python.stdlib)(e.into()))?;
        let path = entry.path();
        let Ok(relative) = path.strip_prefix(&python.stdlib) else { continue };
        match path.extension().and_then(|ext| ext.to_str()) {
            Some("py") => {
                let staged = stage.join(relative);
                let parent = staged.parent().unwrap_or(&stage);
                fs::create_dir_all(parent).map_err(VmError::io("create", parent))?;
                fs::copy(path, &staged).map_err(VmError::io("copy", path))?;
                library
                    .files
                    .insert(guest(python, &relative.with_extension("pyc")), staged.with_extension("pyc"));
                library.sources.push(path.to_owned());
            }
            Some("so") => {
                library.files.insert(guest(python, relative), path.to_owned());
                library.extensions.push(path.to_owned());
            }
            _ => {}
        }
    }
    let mut compile = Command::new(&python.executable);
    compile.args(["-I", "-m", "compileall", "-q", "-b", "--invalidation-mode", "unchecked-hash", "-s"]);
    compile.arg(&stage).arg("-p").arg(&python.stdlib).arg(&stage);
    tools::output(&mut compile, "compile Python's standard library for the guest")?;
    Ok(library)
}

fn guest(python: &Python, relative: &Path) -> String {
    python.stdlib.join(relative).to_string_lossy().into_owned()
}

fn left_out(path: &Path, python: &Python) -> bool {
    let Ok(relative) = path.strip_prefix(&python.stdlib) else { return true };
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    match relative.components().count() {
        0 => false,
        _ if name == "__pycache__" => true,
        1 => LEFT_OUT
            .iter()
            .any(|part| if part.ends_with('-') { name.starts_with(part) } else { name == *part }),
        _ if relative.starts_with("lib-dynload") => {
            EXTENSIONS_LEFT_OUT.iter().any(|part| name.starts_with(part))
        }
        _ => name == "test" || name == "tests",
    }
}
