use std::fs;
use std::os::unix::fs::{MetadataExt, chown, symlink};

use tempfile::TempDir;

use super::super::file::Source;
use super::*;
use crate::model::act::{Deed, FileOpen};

const CATALOGUE: &str = r#"
version = 1
[[credential]]
name = "netrc"
kind = "network"
sensitivity = 3
paths = ["~/.netrc"]
comment = "c"
[[credential]]
name = "ssh"
kind = "ssh"
sensitivity = 5
paths = ["~/.ssh/id_*"]
exclude = ["**/*.pub"]
comment = "c"
[[credential]]
name = "deep"
kind = "cloud"
sensitivity = 2
paths = ["~/.oci/**", "/etc/vault.d/**/*.hcl"]
comment = "c"
[[credential]]
name = "anywhere"
kind = "project"
sensitivity = 1
paths = ["**/.env"]
comment = "c"
"#;

struct Host {
    root: TempDir,
    catalogue: Catalogue,
}

impl Host {
    fn new() -> Self {
        let catalogue =
            Catalogue::from_sources(&[Source { file: "t".into(), text: CATALOGUE.into() }]).unwrap();
        let host = Self { root: tempfile::tempdir().unwrap(), catalogue };
        host.file(
            "etc/passwd",
            "root:x:0:0::/:/bin/sh\nbob:x:7:7::/srv/bob:/bin/sh\nnobody:x:9:9::none\nbad\n",
        );
        host.file("home/alice/note", "");
        host
    }

    fn path(&self, path: &str) -> PathBuf {
        fs::canonicalize(self.root.path()).unwrap().join(path)
    }

    fn file(&self, path: &str, text: &str) -> PathBuf {
        let path = self.path(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap();
        path
    }

    fn root(&self) -> HostRoot {
        HostRoot::at(self.root.path()).unwrap()
    }

    fn walk(&self) -> KnownFiles {
        let root = self.root();
        enumerate(&self.catalogue, &root, &homes(&root), &Mounts::of(&root).unwrap())
    }

    /// The entry that a file is known as, by a stat of its own.
    fn known_as(&self, found: &KnownFiles, path: &Path) -> Option<String> {
        let file = fs::File::open(path).unwrap();
        let key = InodeKey { inode: file.metadata().unwrap().ino(), device: device_of(&file), reserved: 0 };
        found.find(&key).map(|entry| entry.name.to_string())
    }
}

/// `s_dev` by another way than the code takes: the descriptor's mount, as the library reads it.
fn device_of(file: &fs::File) -> u32 {
    use std::os::fd::AsRawFd;
    let info = fs::read_to_string(format!("/proc/self/fdinfo/{}", file.as_raw_fd())).unwrap();
    let id: i32 = info.lines().find_map(|line| line.strip_prefix("mnt_id:")).unwrap().trim().parse().unwrap();
    let mounts = procfs::process::Process::myself().unwrap().mountinfo().unwrap();
    let mount = mounts.into_iter().find(|mount| mount.mnt_id == id).unwrap();
    let (major, minor) = mount.majmin.split_once(':').unwrap();
    device(major.parse().unwrap(), minor.parse().unwrap())
}

#[test]
fn homes_are_those_of_users_and_of_the_home_directory() {
    let host = Host::new();
    let expected: Vec<PathBuf> = ["/home/alice", "/root", "/srv/bob"].map(PathBuf::from).into();
    assert_eq!(homes(&host.root()), expected);
}

#[test]
fn files_are_known_by_inode_under_every_name() {
    let host = Host::new();
    let key = host.file("home/alice/.ssh/id_ed25519", "k");
    let public = host.file("home/alice/.ssh/id_ed25519.pub", "k");
    let netrc = host.file("srv/bob/.netrc", "n");
    let oci = host.file("root/.oci/sessions/DEFAULT/oci_api_key", "o");
    let vault = host.file("etc/vault.d/a/b/server.hcl", "v");
    let env = host.file("home/alice/.env", "e");
    let linked = host.path("home/alice/innocent");
    fs::hard_link(&key, &linked).unwrap();
    fs::create_dir(host.path("home/alice/.netrc")).unwrap();

    let found = host.walk();
    let known_as = |path: &Path| host.known_as(&found, path);
    assert_eq!(known_as(&key).as_deref(), Some("ssh"));
    assert_eq!(known_as(&linked).as_deref(), Some("ssh"));
    assert_eq!(known_as(&netrc).as_deref(), Some("netrc"));
    assert_eq!(known_as(&oci).as_deref(), Some("deep"));
    assert_eq!(known_as(&vault).as_deref(), Some("deep"));
    assert_eq!((known_as(&public), known_as(&env)), (None, None));
    assert_eq!((found.len(), found.incomplete, found.errors.len()), (4, false, 0));
    assert_eq!(found.keys().count(), 4);
}

#[test]
fn an_open_is_recognised_by_path_or_inode() {
    let host = Host::new();
    let key = host.file("home/alice/.ssh/id_rsa", "k");
    let found = host.walk();
    let file = fs::File::open(&key).unwrap();
    let (device, inode) = (device_of(&file), file.metadata().unwrap().ino());
    let recognised = |path: &str, inode, known_inode| {
        let mut stream = crate::capture::testing::Stream::new(0);
        let record = stream.file_open(&crate::capture::testing::actor(1, 1), path, device, inode);
        let Deed::FileOpen(open) = crate::capture::decode::decode(&record).unwrap().deed else { panic!() };
        let open = FileOpen { known_inode, ..open };
        host.catalogue.recognise(&found, &open).map(|(entry, how)| (entry.name.to_string(), how))
    };
    let some = |name: &str, how| Some((name.to_owned(), how));
    assert_eq!(recognised("/x/.ssh/id_rsa", inode, true), some("ssh", "path"));
    assert_eq!(recognised("/tmp/innocent", inode, true), some("ssh", "inode"));
    assert_eq!(recognised("/srv/.env", inode, true), some("ssh", "inode"));
    assert_eq!(recognised("/srv/.env", inode + 1, false), some("anywhere", "path"));
    assert_eq!(recognised("/tmp/innocent", inode + 1, true), None);
}

#[test]
fn one_file_under_two_rules_is_the_worse() {
    let host = Host::new();
    let netrc = host.file("home/alice/.netrc", "n");
    fs::create_dir(host.path("home/alice/.ssh")).unwrap();
    fs::hard_link(&netrc, host.path("home/alice/.ssh/id_rsa")).unwrap();
    let found = host.walk();
    assert_eq!((host.known_as(&found, &netrc).as_deref(), found.len()), (Some("ssh"), 1));
}

#[test]
fn links_lead_to_files_of_their_owner_alone() {
    let host = Host::new();
    let mine = host.file("home/alice/secrets/netrc", "n");
    // As the host sees it: the link's path begins at the host's root.
    symlink("/home/alice/secrets/netrc", host.path("home/alice/.netrc")).unwrap();
    let found = host.walk();
    assert_eq!(host.known_as(&found, &mine).as_deref(), Some("netrc"));
    assert!(may_lead_to(0, 7) && may_lead_to(7, 7) && !may_lead_to(7, 0) && !may_lead_to(7, 8));

    if !rustix::process::geteuid().is_root() {
        return;
    }
    // A home of another user than the owner of what its links lead to.
    let home = host.path("srv/bob");
    fs::create_dir_all(&home).unwrap();
    chown(&home, Some(4242), None).unwrap();
    symlink("/etc/passwd", home.join(".netrc")).unwrap();
    symlink(".netrc2", home.join(".netrc2")).unwrap();
    let key = host.file("etc/keys/id_rsa", "k");
    symlink("/etc/keys", home.join(".ssh")).unwrap();
    let found = host.walk();
    assert_eq!(host.known_as(&found, &host.path("etc/passwd")), None);
    assert_eq!(host.known_as(&found, &key), None);
    assert_eq!((found.foreign_links, found.len()), (2, 1));

    // The same among the paths that rules name whole: whoever made a link on the way counts.
    let policy = host.file("srv/vault/x/server.hcl", "v");
    symlink("/srv/vault", host.path("etc/vault.d")).unwrap();
    assert_eq!(host.known_as(&host.walk(), &policy).as_deref(), Some("deep"));
    let link = std::os::unix::fs::lchown;
    link(host.path("etc/vault.d"), Some(4242), None).unwrap();
    assert_eq!(host.known_as(&host.walk(), &policy), None);
}

#[test]
fn no_link_leads_out_of_the_host() {
    let outside = tempfile::tempdir().unwrap();
    let key = outside.path().join("id_rsa");
    fs::write(&key, "k").unwrap();
    let host = Host::new();
    symlink(outside.path(), host.path("home/alice/.ssh")).unwrap();
    let up = format!("{}{}", "../".repeat(20), key.strip_prefix("/").unwrap().display());
    symlink(up, host.path("home/alice/.netrc")).unwrap();
    symlink(outside.path(), host.path("etc/vault.d")).unwrap();
    symlink(outside.path(), host.path("srv/bob")).unwrap_or_default();
    let found = host.walk();
    assert_eq!(host.known_as(&found, &key), None);
    assert_eq!((found.len(), found.directory_entries), (0, 0));
}

#[test]
fn links_in_a_circle_end() {
    let host = Host::new();
    host.file("home/alice/.oci/config", "o");
    symlink(".", host.path("home/alice/.oci/again")).unwrap();
    symlink(".netrc", host.path("home/alice/.netrc")).unwrap();
    let found = host.walk();
    assert_eq!(found.len(), 1);
    assert_eq!(found.errors.get("link_loop"), Some(&1));
}
