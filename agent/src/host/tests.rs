use std::os::unix::fs::symlink;

use tempfile::TempDir;

use super::*;

/// A directory with a `proc` of an agent (`self`) and of process 1.
struct Machine(TempDir);

const HOST: &str = "27 1 254:0 / / rw - ext4 /dev/vda rw\n";
const SERVICE: &str = "90 80 254:0 / / ro - ext4 /dev/vda rw\n";
const CONTAINER: &str = "90 80 0:50 / / rw - overlay overlay rw\n";

impl Machine {
    fn new(own_mounts: &str) -> Self {
        let machine = Self(tempfile::tempdir().unwrap());
        for (process, mounts, number) in [("self", own_mounts, 2), ("1", HOST, 1)] {
            machine.write(&format!("proc/{process}/mountinfo"), mounts);
            let namespaces = machine.path(&format!("proc/{process}/ns"));
            fs::create_dir(&namespaces).unwrap();
            symlink(format!("mnt:[{number}]"), namespaces.join("mnt")).unwrap();
            symlink("user:[7]", namespaces.join("user")).unwrap();
        }
        machine.write("etc/passwd", "of the agent's root");
        machine
    }

    /// As with CAP_SYS_PTRACE.
    fn open_init(self) -> Self {
        self.write("host/etc/passwd", "of the host");
        symlink("../../host", self.path("proc/1/root")).unwrap();
        self
    }

    fn path(&self, path: &str) -> PathBuf {
        self.0.path().join(path)
    }

    fn write(&self, path: &str, text: &str) {
        let path = self.path(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    fn find(&self) -> HostRoot {
        HostRoot::find(self.0.path()).unwrap()
    }
}

fn passwd(root: &HostRoot) -> io::Result<String> {
    Ok(String::from_utf8(root.read(Path::new("/etc/passwd"), 100)?).unwrap())
}

#[test]
fn on_the_host_the_root_is_the_agents_own() {
    for machine in [Machine::new(HOST), Machine::new(HOST).open_init()] {
        let root = machine.find();
        assert_eq!((root.view(), root.namespaces().mount), (&View::Own, 2));
        assert!(!root.in_container());
        assert_eq!(passwd(&root).unwrap(), "of the agent's root");
        assert_eq!(root.mountinfo().unwrap(), HOST.as_bytes());
    }
}

#[test]
fn elsewhere_it_is_that_of_process_1() {
    for own in [SERVICE, CONTAINER, "garbage\n", ""] {
        let machine = Machine::new(own).open_init();
        let root = machine.find();
        assert_eq!((root.view(), root.namespaces().mount), (&View::Init, 1), "{own}");
        assert_eq!(root.in_container(), own != SERVICE, "{own}");
        assert_eq!(passwd(&root).unwrap(), "of the host");
    }
}

#[test]
fn a_root_that_is_not_reached_is_not_taken_for_another() {
    let machine = Machine::new(SERVICE);
    let service = machine.find();
    assert!(matches!(service.view(), View::Alike(reason) if reason.contains("proc/1/root")), "{service:?}");
    assert_eq!(passwd(&service).unwrap(), "of the agent's root");
    for own in [CONTAINER, ""] {
        let machine = Machine::new(own);
        let root = machine.find();
        assert!(matches!(root.view(), View::Unreachable(reason) if reason.contains("proc/1/root")));
        assert_eq!(passwd(&root).unwrap_err().kind(), io::ErrorKind::PermissionDenied);
        assert_eq!(root.namespaces().mount, 2);
    }
}

#[test]
fn a_directory_that_is_held_needs_no_way_to_it() {
    let machine = Machine::new(CONTAINER).open_init();
    let root = machine.find();
    fs::remove_file(machine.path("proc/1/root")).unwrap();
    machine.write("host/etc/passwd", "changed");
    assert_eq!(passwd(&root).unwrap(), "changed");
}

#[test]
fn this_process_finds_its_host() {
    let root = HostRoot::find(Path::new("/")).unwrap();
    assert!(!matches!(root.view(), View::Unreachable(_)), "{root:?}");
    assert!(!root.mountinfo().unwrap().is_empty());
    assert_ne!(root.namespaces().mount, 0);
}
