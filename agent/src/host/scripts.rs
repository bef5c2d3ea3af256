//! Where the paths of scripts lead, looked up beside the event path: a file system may answer late, or never.

use std::ffi::OsStr;
use std::io;
use std::os::fd::AsRawFd as _;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use rustix::fs::{CWD, OFlags, readlinkat};
use tokio::sync::mpsc;

use super::HostRoot;
use crate::model::bytes::RawBytes;
use crate::process::scripts::{ScriptPath, ScriptTarget};

/// Scripts that wait to be looked up; what comes while as many wait is not.
const WAITING: usize = 1_024;

/// Looks scripts up, in a thread of its own.
#[derive(Debug)]
pub struct ScriptLookup {
    ask: SyncSender<ScriptPath>,
    found: mpsc::Receiver<ScriptTarget>,
    mount: u32,
}

impl ScriptLookup {
    /// Starts the thread, which has the privileges that the caller has now. It ends with this value.
    ///
    /// # Errors
    /// Where no thread can be had.
    pub fn start(host: Arc<HostRoot>) -> io::Result<Self> {
        let (ask, asked) = sync_channel(WAITING);
        let (tell, found) = mpsc::channel(WAITING);
        let mount = host.namespaces().mount;
        std::thread::Builder::new().name("scripts".to_owned()).spawn(move || serve(&host, &asked, &tell))?;
        Ok(Self { ask, found, mount })
    }

    /// Asks for a script; `false` where too many wait. Paths of other mount namespaces than the host's say nothing here
    /// and are not looked up.
    pub fn ask(&self, script: ScriptPath) -> bool {
        script.mount != self.mount || self.ask.try_send(script).is_ok()
    }

    /// The next that was looked up. Nothing is lost where this is dropped half-way.
    pub async fn found(&mut self) -> ScriptTarget {
        match self.found.recv().await {
            Some(found) => found,
            // The thread has ended: it has nothing more to say.
            None => std::future::pending().await,
        }
    }
}

fn serve(host: &HostRoot, asked: &Receiver<ScriptPath>, tell: &mpsc::Sender<ScriptTarget>) {
    while let Ok(script) = asked.recv() {
        let target = look(host, &script.path).ok();
        if tell.blocking_send(ScriptTarget { script, target }).is_err() {
            return;
        }
    }
}

fn look(host: &HostRoot, path: &RawBytes) -> io::Result<RawBytes> {
    let opened = host.open(Path::new(OsStr::from_bytes(path.as_bytes())), OFlags::PATH)?;
    if opened.link_owners.is_empty() {
        return Ok(path.clone());
    }
    let link = readlinkat(CWD, format!("/proc/self/fd/{}", opened.file.as_raw_fd()), Vec::new())?;
    Ok(RawBytes::from(link.as_bytes()))
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;

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
        let mut lookup = ScriptLookup::start(host).unwrap();
        let path = |name: &str| RawBytes::from(at.join(name).as_os_str().as_bytes());
        let script = "lib/node_modules/x/x.js";
        for (asked, expected) in [
            ("bin/x", Some(script)),
            ("bin/y", Some(script)),
            (script, Some(script)),
            ("bin/z", None),
            ("no", None),
        ] {
            let asked = ScriptPath { mount, path: path(asked) };
            assert!(lookup.ask(asked.clone()));
            assert_eq!(lookup.found().await, ScriptTarget { script: asked, target: expected.map(path) });
        }
        assert!(lookup.ask(ScriptPath { mount: mount + 1, path: path("bin/x") }));
        assert!(lookup.found.try_recv().is_err());
    }

    #[test]
    fn too_many_at_once_are_refused() {
        let (ask, _asked) = sync_channel(1);
        let lookup = ScriptLookup { ask, found: mpsc::channel(1).1, mount: 1 };
        let script = ScriptPath { mount: 1, path: "/x".into() };
        assert!(lookup.ask(script.clone()));
        assert!(!lookup.ask(script));
    }
}
