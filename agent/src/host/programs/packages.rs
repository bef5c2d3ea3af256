//! Packages of npm and PyPI, by the files that their installers lay beside the programs.
//!
//! These files are whoever's who installed the package: what they say is as good as the path of the program itself.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use rustix::fs::{Dir, OFlags};
use serde::Deserialize;

use super::super::HostRoot;
use crate::model::bytes::RawBytes;

/// Largest `package.json` that is read; the largest of npm's own packages have 30 KB.
const MANIFEST_BYTES: u64 = 256 << 10;
/// Largest `RECORD` that is read: a package with 20,000 files has 2 MB.
const RECORD_BYTES: u64 = 4 << 20;
/// Bytes of a script that are looked at: what pip writes has 250.
const SCRIPT_BYTES: usize = 1_024;
/// Directories above a script in which its package's manifest is looked for.
const ABOVE: usize = 4;
/// Packages of one Python environment that are looked at, and entries of the directory that are.
const DISTRIBUTIONS: usize = 1_024;
const ENTRIES: usize = 8_192;
/// Python environments beside one script: of several versions of Python.
const ENVIRONMENTS: usize = 8;
/// Bytes of a version that are kept.
const VERSION_BYTES: usize = 64;
/// Bytes of a package's name: npm allows 214.
const NAME_BYTES: usize = 214;

const NODE_MODULES: &[u8] = b"/node_modules/";

/// What npm's `package.json` says.
#[derive(Deserialize)]
struct Manifest {
    name: Option<String>,
    version: Option<String>,
}

/// Version of the package that an agent's program lies in.
pub(super) fn version(host: &HostRoot, program: &RawBytes) -> Option<String> {
    let path = program.as_bytes();
    if path.first() != Some(&b'/') {
        return None;
    }
    of_installer(path).or_else(|| of_python(host, path)).or_else(|| {
        let (_, manifest) = manifest_above(host, path)?;
        manifest.version.filter(|version| is_version(version))
    })
}

/// Installers of Claude Code and of Cursor lay each version out below `versions`.
fn of_installer(path: &[u8]) -> Option<String> {
    const VERSIONS: &[u8] = b"/versions/";
    if find_last(path, NODE_MODULES).is_some() {
        return None;
    }
    let rest = path.get(find_last(path, VERSIONS)? + VERSIONS.len()..)?;
    let name = rest.split(|&byte| byte == b'/').next()?;
    let name = std::str::from_utf8(name).ok()?;
    (is_version(name) && name.starts_with(|first: char| first.is_ascii_digit())).then(|| name.to_owned())
}

/// What lies in `site-packages`, or in `bin` beside the `lib` that has one: the package whose `RECORD` has it
/// (<https://packaging.python.org/en/latest/specifications/recording-installed-packages/>).
fn of_python(host: &HostRoot, path: &[u8]) -> Option<String> {
    for places in [&b"/site-packages/"[..], b"/dist-packages/"] {
        if let Some(at) = find_last(path, places) {
            let (environment, file) = path.split_at_checked(at + places.len())?;
            return recorded(host, environment, file);
        }
    }
    let (prefix, name) = path.split_at_checked(find_last(path, b"/bin/")?)?;
    let name = name.strip_prefix(b"/bin/").filter(|name| !name.contains(&b'/'))?;
    let library = [prefix, b"/lib"].concat();
    let mut environments = Vec::new();
    for entry in entries(host, &library) {
        if entry.starts_with(b"python3") && environments.len() < 2 * ENVIRONMENTS {
            environments.extend(
                [&b"site-packages/"[..], b"dist-packages/"]
                    .map(|packages| [&*library, b"/", &*entry, b"/", packages].concat()),
            );
        }
    }
    let file = [b"../../../bin/", name].concat();
    environments.into_iter().find_map(|environment| recorded(host, &environment, &file))
}

/// Version of the package in an environment that has a file. The environment ends with a `/`.
fn recorded(host: &HostRoot, environment: &[u8], file: &[u8]) -> Option<String> {
    let distributions = entries(host, environment).into_iter().filter_map(|entry| {
        let stem = entry.strip_suffix(b".dist-info")?;
        let (_, version) = std::str::from_utf8(stem).ok()?.rsplit_once('-')?;
        is_version(version).then(|| (version.to_owned(), entry.clone()))
    });
    for (version, entry) in distributions.take(DISTRIBUTIONS) {
        let record = [environment, &entry, b"/RECORD"].concat();
        let Ok(text) = host.read(as_path(&record), RECORD_BYTES) else { continue };
        let lists = |line: &[u8]| line.strip_prefix(file).is_some_and(|rest| rest.first() == Some(&b','));
        if text.split(|&byte| byte == b'\n').any(lists) {
            return Some(version);
        }
    }
    None
}

/// The path that a script would have below `node_modules`, by the manifest of the package that it lies in: a package may have
/// been copied, or be somebody's own copy of the source. None where it lies there already.
pub(in crate::host) fn packaged_as(host: &HostRoot, script: &[u8]) -> Option<RawBytes> {
    if find_last(script, NODE_MODULES).is_some() {
        return None;
    }
    let (directory, manifest) = manifest_above(host, script)?;
    let name = manifest.name.filter(|name| is_package(name))?;
    let below = script.strip_prefix(&*directory)?;
    Some([NODE_MODULES, name.as_bytes(), below].concat().into())
}

/// The nearest manifest with a name, above a file; and its directory.
fn manifest_above(host: &HostRoot, file: &[u8]) -> Option<(Vec<u8>, Manifest)> {
    let mut directory = file;
    for _ in 0..ABOVE {
        (directory, _) = directory.split_at_checked(directory.iter().rposition(|&byte| byte == b'/')?)?;
        // That of no package: whoever installed it is above.
        if directory.is_empty() || directory.ends_with(b"/node_modules") {
            return None;
        }
        let path = [directory, b"/package.json"].concat();
        let Ok(text) = host.read(as_path(&path), MANIFEST_BYTES) else { continue };
        // One without a name says how the files beside it are to be read.
        match serde_json::from_slice::<Manifest>(&text) {
            Ok(manifest) if manifest.name.is_some() => return Some((directory.to_vec(), manifest)),
            _ => {}
        }
    }
    None
}

/// The module that a script runs which pip, uv or pipx wrote: `from aider.main import main` between comments, and nothing else
/// before it is called. `_get_script_text` of distlib, <https://github.com/pypa/distlib>, `get_script_executable` of uv,
/// <https://github.com/astral-sh/uv>.
pub(in crate::host) fn console_script(host: &HostRoot, script: &[u8]) -> Option<RawBytes> {
    let text = host.read(as_path(script), SCRIPT_BYTES as u64).ok()?;
    module_of(&text).map(Into::into)
}

fn module_of(text: &[u8]) -> Option<&[u8]> {
    let mut module = None;
    for line in text.split(|&byte| byte == b'\n') {
        let line = line.trim_ascii();
        match line {
            [] | [b'#', ..] | b"import re" | b"import sys" => {}
            // `''':'`, where the path of the interpreter is too long for a first line.
            _ if line.starts_with(b"'''") || line.starts_with(b"' '''") => {}
            _ if line.starts_with(b"if __name__ ==") => return module,
            _ => {
                let (from, rest) = line
                    .strip_prefix(b"from ")?
                    .split_at_checked(find(line, b" import ")?.checked_sub(5)?)?;
                let imported = rest.strip_prefix(b" import ")?;
                let is_name = |name: &[u8]| {
                    !name.is_empty()
                        && name.iter().all(|byte| byte.is_ascii_alphanumeric() || b"_.".contains(byte))
                };
                if module.is_some() || !is_name(from) || !is_name(imported) {
                    return None;
                }
                module = Some(from);
            }
        }
    }
    None
}

/// Names in a directory.
fn entries(host: &HostRoot, path: &[u8]) -> Vec<Vec<u8>> {
    let opened = host.open(as_path(path), OFlags::RDONLY | OFlags::DIRECTORY);
    let Some(directory) = opened.ok().and_then(|opened| Dir::new(opened.file).ok()) else {
        return Vec::new();
    };
    let names =
        directory.filter_map(Result::ok).take(ENTRIES).map(|entry| entry.file_name().to_bytes().to_vec());
    names.filter(|name| name != b"." && name != b"..").collect()
}

fn is_version(text: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b".-+_!".contains(&byte);
    !text.is_empty() && text.len() <= VERSION_BYTES && text.bytes().all(is_plain)
}

/// `name` or `@scope/name`.
fn is_package(name: &str) -> bool {
    let is_part = |part: &str| {
        !part.is_empty()
            && !part.starts_with('.')
            && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-~".contains(&byte))
    };
    let parts = match name.strip_prefix('@') {
        Some(scoped) => scoped.split_once('/'),
        None => Some((name, "x")),
    };
    name.len() <= NAME_BYTES && parts.is_some_and(|(one, other)| is_part(one) && is_part(other))
}

fn find(text: &[u8], part: &[u8]) -> Option<usize> {
    memchr::memmem::find(text, part)
}

fn find_last(text: &[u8], part: &[u8]) -> Option<usize> {
    memchr::memmem::rfind(text, part)
}

fn as_path(bytes: &[u8]) -> &Path {
    Path::new(OsStr::from_bytes(bytes))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use proptest::prelude::*;
    use tempfile::TempDir;

    use super::*;

    /// As pip 25 wrote it for aider-chat 0.86.1 (`pip install --target`), as uv 0.8 writes it, and as pip writes it where the
    /// path is long.
    const PIP: &[u8] = b"#!/usr/bin/python3\n# -*- coding: utf-8 -*-\nimport re\nimport sys\n\
        from aider.main import main\nif __name__ == '__main__':\n    \
        sys.argv[0] = re.sub(r'(-script\\.pyw|\\.exe)?$', '', sys.argv[0])\n    sys.exit(main())\n";
    const UV: &[u8] = b"#!/home/a/.venv/bin/python3\n# -*- coding: utf-8 -*-\nimport sys\n\
        from interpreter.terminal_interface.start_terminal_interface import main\n\
        if __name__ == \"__main__\":\n    if sys.argv[0].endswith(\"-script.pyw\"):\n        \
        sys.argv[0] = sys.argv[0][:-11]\n    sys.exit(main())\n";
    const LONG: &[u8] = b"#!/bin/sh\n'''exec' \"/very/long\" \"$0\" \"$@\"\n' '''\nimport sys\n\
        from openhands.cli.entry import main\nif __name__ == '__main__':\n    sys.exit(main())\n";

    fn host(files: &[(&str, &str)]) -> (TempDir, HostRoot) {
        let root = tempfile::tempdir().unwrap();
        for (path, text) in files {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        let host = HostRoot::at(root.path()).unwrap();
        (root, host)
    }

    #[test]
    fn a_console_script_runs_its_module() {
        for (text, module) in [
            (PIP, "aider.main"),
            (UV, "interpreter.terminal_interface.start_terminal_interface"),
            (LONG, "openhands.cli.entry"),
        ] {
            assert_eq!(module_of(text), Some(module.as_bytes()));
        }
        for text in [
            "#!/usr/bin/python3\nprint(1)\nfrom aider.main import main\nif __name__ == '__main__':\n",
            "from aider.main import main\nfrom os import path\nif __name__ == '__main__':\n",
            "from aider.main import main\n",
            "from aider.main import main; evil()\nif __name__ == '__main__':\n",
            "from  import main\nif __name__ == '__main__':\n",
            "from x import\nif __name__ == '__main__':\n",
            "import aider\nif __name__ == '__main__':\n",
            "",
        ] {
            assert_eq!(module_of(text.as_bytes()), None, "{text}");
        }
    }

    #[test]
    fn the_version_is_that_of_the_package() {
        let (_root, host) = host(&[
            ("n/node_modules/@openai/codex/package.json", r#"{"name":"@openai/codex","version":"0.58.0"}"#),
            ("n/node_modules/@openai/codex/bin/package.json", r#"{"type":"module"}"#),
            ("n/node_modules/broken/package.json", "{"),
            ("n/node_modules/strange/package.json", r#"{"name":"strange","version":"1\n"}"#),
            ("n/package.json", r#"{"name":"n","version":"9"}"#),
            (
                "v/lib/python3.13/site-packages/aider_chat-0.86.1.dist-info/RECORD",
                "../../../bin/aider,sha256=x,1\naider/main.py,sha256=y,2\n",
            ),
            ("v/lib/python3.13/site-packages/pip-25.dist-info/RECORD", "../../../bin/pip,,\n"),
        ]);
        for (program, version) in [
            ("/n/node_modules/@openai/codex/bin/codex.js", Some("0.58.0")),
            ("/n/node_modules/broken/x.js", None),
            ("/n/node_modules/strange/x.js", None),
            ("/n/node_modules/none/x.js", None),
            ("/n/x.js", Some("9")),
            ("/v/bin/aider", Some("0.86.1")),
            ("/v/lib/python3.13/site-packages/aider/main.py", Some("0.86.1")),
            ("/v/bin/pip", Some("25")),
            ("/v/bin/other", None),
            ("/home/a/.local/share/claude/versions/2.0.14", Some("2.0.14")),
            (
                "/home/a/.local/share/cursor-agent/versions/2025.09.18-7ae6800/index.js",
                Some("2025.09.18-7ae6800"),
            ),
            ("/home/a/.local/share/claude/versions/x y", None),
            ("aider", None),
            ("/", None),
        ] {
            assert_eq!(super::version(&host, &program.into()).as_deref(), version, "{program}");
        }
    }

    #[test]
    fn a_copied_package_is_what_its_manifest_says() {
        let (_root, host) = host(&[
            ("opt/copy/package.json", r#"{"name":"@openai/codex","version":"0.58.0"}"#),
            ("opt/odd/package.json", r#"{"name":"../../x"}"#),
            ("opt/node_modules/a/package.json", r#"{"name":"a"}"#),
        ]);
        for (script, expected) in [
            ("/opt/copy/bin/codex.js", Some("/node_modules/@openai/codex/bin/codex.js")),
            ("/opt/copy/a/b/c/d/codex.js", None),
            ("/opt/odd/x.js", None),
            ("/opt/node_modules/a/x.js", None),
            ("/opt/x.js", None),
            ("x.js", None),
        ] {
            assert_eq!(packaged_as(&host, script.as_bytes()), expected.map(Into::into), "{script}");
        }
    }

    proptest! {
        #[test]
        fn any_script_is_read(text in "(#!x\n|import sys\n|from |a|\\.| import |\n|if __name__ ==|'''){0,12}") {
            if let Some(module) = module_of(text.as_bytes()) {
                prop_assert!(!module.is_empty());
            }
        }

        #[test]
        fn any_name_of_a_package_stays_in_its_place(name in "[@./a]{0,8}") {
            if is_package(&name) {
                prop_assert!(!name.split('/').any(|part| part.is_empty() || part.starts_with('.')));
            }
        }
    }
}
