//! Where the paths of scripts lead and what is there, looked up beside the event path: a file system may answer late, or never.

use std::ffi::OsStr;
use std::io;
use std::os::fd::AsRawFd as _;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;
use std::sync::Arc;

use rustix::fs::{AtFlags, CWD, OFlags, StatxFlags, readlinkat, statx};

use super::HostRoot;
use super::lookup::Lookup;
use super::programs::{console_script, packaged_as};
use crate::catalogue::mounts::device;
use crate::model::bytes::RawBytes;
use crate::model::process::FileRef;
use crate::process::program::{ScriptEntry, runs_javascript, runs_python};
use crate::process::scripts::{ScriptTarget, WantedScript};

/// Looks scripts up.
pub type ScriptLookup = Lookup<WantedScript, ScriptTarget>;

/// Starts to, with the privileges that the caller has now.
///
/// # Errors
/// Where no thread can be had.
pub fn start(host: Arc<HostRoot>) -> io::Result<ScriptLookup> {
    Lookup::start("scripts", move |wanted: WantedScript| {
        let reached = is_reached(&host, &wanted);
        let script = wanted.script;
        let target = reached.then(|| look(&host, &script.path).ok()).flatten();
        let entry = target.as_ref().and_then(|target| entry(&host, &wanted.exe, target));
        ScriptTarget { script, target, entry }
    })
}

fn entry(host: &HostRoot, exe: &RawBytes, script: &RawBytes) -> Option<ScriptEntry> {
    if runs_python(exe) {
        return console_script(host, script.as_bytes()).map(ScriptEntry::Module);
    }
    let packaged = runs_javascript(exe).then(|| packaged_as(host, script.as_bytes()));
    packaged.flatten().map(ScriptEntry::Packaged)
}

/// Whether the process's paths mean the same from the host's root: it has the host's mounts, or a copy of them, where its
/// interpreter is the same file by the same path.
fn is_reached(host: &HostRoot, wanted: &WantedScript) -> bool {
    if wanted.script.mount == host.namespaces().mount {
        return true;
    }
    let found = host
        .open(path(&wanted.exe), OFlags::PATH)
        .map(|opened| statx(&opened.file, "", AtFlags::EMPTY_PATH, StatxFlags::BASIC_STATS));
    let Ok(Ok(found)) = found else { return false };
    let FileRef { device: of, inode, .. } = wanted.exe_file;
    (device(found.stx_dev_major, found.stx_dev_minor), found.stx_ino) == (of, inode)
}

fn look(host: &HostRoot, path: &RawBytes) -> io::Result<RawBytes> {
    let opened = host.open(self::path(path), OFlags::PATH)?;
    if opened.link_owners.is_empty() {
        return Ok(path.clone());
    }
    let link = readlinkat(CWD, format!("/proc/self/fd/{}", opened.file.as_raw_fd()), Vec::new())?;
    Ok(RawBytes::from(link.as_bytes()))
}

fn path(bytes: &RawBytes) -> &Path {
    Path::new(OsStr::from_bytes(bytes.as_bytes()))
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::{MetadataExt as _, symlink};

    use super::*;
    use crate::process::scripts::ScriptPath;

    fn wanted(mount: u32, path: RawBytes) -> WantedScript {
        WantedScript {
            script: ScriptPath { mount, path },
            exe: RawBytes::default(),
            exe_file: FileRef::default(),
        }
    }

    #[tokio::test]
    async fn a_link_leads_to_its_script() {
        let directory = tempfile::tempdir().unwrap();
        let at = fs::canonicalize(directory.path()).unwrap();
        fs::create_dir_all(at.join("lib/node_modules/x")).unwrap();
        fs::create_dir_all(at.join("bin")).unwrap();
        fs::write(at.join("lib/node_modules/x/x.js"), "").unwrap();
        symlink("../lib/node_modules/x/x.js", at.join("bin/x")).unwrap();
        symlink("x", at.join("bin/y")).unwrap();
        symlink("nowhere", at.join("bin/z")).unwrap();
        let host = Arc::new(HostRoot::at(Path::new("/")).unwrap());
        let mount = host.namespaces().mount;
        let mut lookup = start(host).unwrap();
        let path = |name: &str| RawBytes::from(at.join(name).as_os_str().as_bytes());
        let script = "lib/node_modules/x/x.js";
        for (asked, expected) in [
            ("bin/x", Some(script)),
            ("bin/y", Some(script)),
            (script, Some(script)),
            ("bin/z", None),
            ("no", None),
        ] {
            let asked = wanted(mount, path(asked));
            assert!(lookup.ask(asked.clone()));
            assert_eq!(
                lookup.found().await,
                ScriptTarget { script: asked.script, target: expected.map(path), entry: None }
            );
        }
        // In another mount namespace only where the interpreter is the same file by the same path.
        let other = wanted(mount + 1, path("bin/x"));
        let file = fs::metadata(at.join(script)).unwrap();
        let exe_file = FileRef {
            device: device(rustix::fs::major(file.dev()), rustix::fs::minor(file.dev())),
            inode: file.ino(),
            ..FileRef::default()
        };
        let alike = WantedScript { exe: path(script), exe_file, ..other.clone() };
        let unlike =
            WantedScript { exe_file: FileRef { inode: file.ino() + 1, ..exe_file }, ..alike.clone() };
        for (asked, target) in [(other, None), (unlike, None), (alike, Some(path(script)))] {
            assert!(lookup.ask(asked.clone()));
            assert_eq!(lookup.found().await, ScriptTarget { script: asked.script, target, entry: None });
        }
    }
    #[tokio::test]
    async fn what_a_script_is_depends_on_who_runs_it() {
        let directory = tempfile::tempdir().unwrap();
        let at = fs::canonicalize(directory.path()).unwrap();
        let text =
            "#!/usr/bin/python3\nimport sys\nfrom aider.main import main\nif __name__ == '__main__':\n";
        fs::write(at.join("aider"), text).unwrap();
        fs::write(at.join("package.json"), r#"{"name":"@openai/codex"}"#).unwrap();
        let host = Arc::new(HostRoot::at(Path::new("/")).unwrap());
        let mount = host.namespaces().mount;
        let mut lookup = start(host).unwrap();
        let path = RawBytes::from(at.join("aider").as_os_str().as_bytes());
        for (exe, entry) in [
            ("/usr/bin/python3.13", Some(ScriptEntry::Module("aider.main".into()))),
            ("/usr/bin/node", Some(ScriptEntry::Packaged("/node_modules/@openai/codex/aider".into()))),
            ("/bin/sh", None),
        ] {
            let asked = WantedScript { exe: exe.into(), ..wanted(mount, path.clone()) };
            assert!(lookup.ask(asked));
            assert_eq!(lookup.found().await.entry, entry, "{exe}");
        }
    }
}
