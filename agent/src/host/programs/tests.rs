use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use tempfile::TempDir;

use super::*;

/// A host of its own with one program.
struct Host {
    root: TempDir,
    looker: Looker,
}

const PROGRAM: &str = "usr/bin/x";
/// `printf program | sha256sum`, `printf program | md5sum`.
const SHA256: &str = "1310ca2c8932dbd118668bd97442558a3e1f546b5e15c69699dfbd6024f548d8";
const MD5: &str = "a9c449d4fa44e9e5a41c574ae55ce4d9";

fn host() -> Host {
    let root = tempfile::tempdir().unwrap();
    fs::set_permissions(root.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let host = Arc::new(HostRoot::at(root.path()).unwrap());
    let host = Host { root, looker: Looker { host, mounts: Mounts::default(), buffer: vec![0; PIECE] } };
    host.write(PROGRAM, "program");
    host
}

impl Host {
    fn write(&self, path: &str, text: &str) {
        let path = self.root.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    /// As the kernel would tell it.
    fn key(&mut self, path: &str) -> FileKey {
        let opened = fs::File::open(self.root.path().join(path)).unwrap();
        let found = self.looker.status(&opened).unwrap();
        let on = self.looker.mounts.device(found.stx_mnt_id).unwrap();
        let changed = (found.stx_ctime.tv_sec, found.stx_ctime.tv_nsec);
        FileKey { device: on, inode: found.stx_ino, changed }
    }

    fn facts(&mut self, path: &str, file: FileKey) -> Result<FileFacts, FileAnswer> {
        self.looker.facts(&path.into(), &file)
    }

    /// With a data base of dpkg that has the program, with that sum.
    fn package(&self, name: &str, md5: Option<&str>) {
        self.write(&format!("var/lib/dpkg/info/{name}.list"), "/.\n/usr\n/usr/bin\n/usr/bin/x\n");
        if let Some(md5) = md5 {
            self.write(&format!("var/lib/dpkg/info/{name}.md5sums"), &format!("{md5}  usr/bin/x\n"));
        }
        let path = self.root.path().join("var/lib/dpkg/status");
        let before = fs::read_to_string(&path).unwrap_or_default();
        let stanza = format!("Package: {name}\nStatus: install ok installed\nVersion: 1-{name}\n\n");
        fs::write(path, before + &stanza).unwrap();
    }
}

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

#[test]
fn a_file_is_read_where_it_is_the_one_that_ran() {
    let mut host = host();
    let file = host.key(PROGRAM);
    let facts = host.facts("/usr/bin/x", file).unwrap();
    assert_eq!(facts.sha256.as_deref(), Some(SHA256));
    assert_eq!((facts.build_id, facts.package), (None, None));
    assert_eq!(host.facts("/usr/bin/y", file), Err(FileAnswer::NotFound));
    assert_eq!(host.facts("/usr/bin", file), Err(FileAnswer::Replaced));
    for other in [
        FileKey { inode: file.inode + 1, ..file },
        FileKey { device: file.device + 1, ..file },
        FileKey { changed: (file.changed.0, file.changed.1 ^ 1), ..file },
    ] {
        assert_eq!(host.facts("/usr/bin/x", other), Err(FileAnswer::Replaced), "{other:?}");
    }
    host.write("usr/bin/new", "other");
    fs::rename(host.root.path().join("usr/bin/new"), host.root.path().join(PROGRAM)).unwrap();
    assert_eq!(host.facts("/usr/bin/x", file), Err(FileAnswer::Replaced));
}

#[test]
fn a_package_is_told_of_what_root_alone_can_have_put_there() {
    let mut host = host();
    let file = host.key(PROGRAM);
    host.package("one", Some(MD5));
    let package = |name: &str, modified| {
        Some(Package { name: name.into(), version: format!("1-{name}").into(), modified })
    };
    let expected = |package: Option<Package>| package.filter(|_| is_root());
    assert_eq!(host.facts("/usr/bin/x", file).unwrap().package, expected(package("one", Some(false))));
    // Two have it, where one diverts the other's: the contents tell.
    host.package("two", Some(&"0".repeat(32)));
    assert_eq!(host.facts("/usr/bin/x", file).unwrap().package, expected(package("one", Some(false))));
    host.write(PROGRAM, "changed");
    let file = host.key(PROGRAM);
    assert_eq!(host.facts("/usr/bin/x", file).unwrap().package, None);
    fs::remove_file(host.root.path().join("var/lib/dpkg/info/two.list")).unwrap();
    assert_eq!(host.facts("/usr/bin/x", file).unwrap().package, expected(package("one", Some(true))));
    fs::remove_file(host.root.path().join("var/lib/dpkg/info/one.md5sums")).unwrap();
    assert_eq!(host.facts("/usr/bin/x", file).unwrap().package, expected(package("one", None)));
    fs::set_permissions(host.root.path().join("usr/bin"), fs::Permissions::from_mode(0o777)).unwrap();
    assert_eq!(host.facts("/usr/bin/x", file).unwrap().package, None);
}

#[test]
fn a_file_that_is_too_large_has_no_digest() {
    let mut host = host();
    let large = fs::File::create(host.root.path().join("usr/bin/large")).unwrap();
    large.set_len(FILE_BYTES + 1).unwrap();
    let file = host.key("usr/bin/large");
    assert_eq!(host.facts("/usr/bin/large", file), Ok(FileFacts::default()));
    assert_eq!(large.metadata().unwrap().len(), FILE_BYTES + 1);
}

#[tokio::test]
async fn an_agents_version_is_asked_for_where_its_path_means_the_same() {
    let mut host = host();
    host.write("n/node_modules/a/package.json", r#"{"name":"a","version":"1.2"}"#);
    host.write("n/node_modules/a/a.js", "");
    let (file, mount) = (host.key(PROGRAM), host.looker.host.namespaces().mount);
    let session = crate::ship::wire::examples::process(7, "/usr/bin/x", &["x"]).key;
    let question = |mount, exe: &str| ProgramQuestion::Agent {
        session,
        mount,
        program: "/n/node_modules/a/a.js".into(),
        exe: exe.into(),
        exe_file: file,
    };
    let mut lookup = start(host.looker.host.clone()).unwrap();
    for (question, version) in [
        (question(mount, ""), Some("1.2")),
        (question(mount + 1, "/usr/bin/x"), Some("1.2")),
        (question(mount + 1, "/usr/bin/y"), None),
    ] {
        assert!(lookup.ask(question));
        assert_eq!(lookup.found().await, ProgramFound::Agent { session, version: version.map(Into::into) });
    }
}

#[test]
fn a_package_of_rpm_is_told_where_dpkg_has_none() {
    let mut host = host();
    for place in ["var/lib/rpm", "usr/lib/sysimage/rpm"] {
        host.write(PROGRAM, "program");
        let path = host.root.path().join(place).join("rpmdb.sqlite");
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, sqlite::tests::DATABASE).unwrap();
        let package = |modified| {
            let package = Package { name: "telltale-test".into(), version: "2:1.5-3".into(), modified };
            Some(package).filter(|_| is_root())
        };
        let file = host.key(PROGRAM);
        assert_eq!(host.facts("/usr/bin/x", file).unwrap().package, package(Some(false)));
        host.write(PROGRAM, "changed");
        let file = host.key(PROGRAM);
        assert_eq!(host.facts("/usr/bin/x", file).unwrap().package, package(Some(true)));
        // What others may write says nothing.
        fs::set_permissions(&path, fs::Permissions::from_mode(0o666)).unwrap();
        assert_eq!(host.facts("/usr/bin/x", file).unwrap().package, None);
        fs::remove_file(&path).unwrap();
    }
    host.package("one", Some(MD5));
    host.write("var/lib/rpm/rpmdb.sqlite", "SQLite format 3");
    let file = host.key(PROGRAM);
    let expected = Package { name: "one".into(), version: "1-one".into(), modified: Some(true) };
    assert_eq!(host.facts("/usr/bin/x", file).unwrap().package, Some(expected).filter(|_| is_root()));
}
