//! Hosts made of files, and this one.

use std::fs;
use std::os::unix::fs::symlink;

use caps::Capability;
use tempfile::TempDir;

use super::*;

const HYBRID: &str = "\
31 23 0:28 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755
32 31 0:29 / /sys/fs/cgroup/cpu rw,relatime - cgroup cgroup rw,cpu
41 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw
";
const UNIFIED: &str = "\
28 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw
23 28 0:22 / /sys rw,nosuid shared:2 - sysfs sysfs rw
27 23 0:25 / /sys/fs/cgroup rw,nosuid shared:8 - cgroup2 cgroup2 rw,nsdelegate
29 23 0:27 / /sys/fs/bpf rw,nosuid shared:10 - bpf bpf rw,mode=700
33 23 0:7 / /sys/kernel/security rw,nosuid shared:9 - securityfs securityfs rw
38 23 0:12 / /sys/kernel/tracing rw,nosuid shared:17 - tracefs tracefs rw
";

/// A host in a directory: everything as it should be, until a test changes it.
struct Fixture {
    directory: TempDir,
    sources: Sources,
}

impl Fixture {
    fn new() -> Self {
        let directory = tempfile::tempdir().expect("directory");
        let sources = Sources {
            root: directory.path().to_owned(),
            machine: "x86_64".to_owned(),
            effective: Ok(caps::all()),
            memlock_bytes: None,
            descriptors: Some(524_288),
        };
        let new = Self { directory, sources };
        new.write("proc/self/cgroup", "0::/init.scope\n");
        new.write("proc/sys/kernel/osrelease", "6.12.117\n");
        new.write("proc/sys/kernel/perf_event_paranoid", "2\n");
        new.write("proc/sys/kernel/unprivileged_bpf_disabled", "2\n");
        for process in ["self", "1"] {
            new.write(&format!("proc/{process}/mountinfo"), UNIFIED);
        }
        new.write("sys/kernel/security/lsm", "lockdown,capability,bpf");
        new.write("sys/kernel/security/lockdown", "none [integrity] confidentiality\n");
        fs::create_dir_all(new.directory.path().join("sys/kernel/btf")).expect("directory");
        fs::write(new.directory.path().join("sys/kernel/btf/vmlinux"), 0xeb9f_u16.to_ne_bytes())
            .expect("write");
        for (kind, inode) in [
            ("uts", 4_026_531_838_u32),
            ("user", 4_026_531_837),
            ("pid", 4_026_531_836),
            ("cgroup", 4_026_531_835),
            ("mnt", 4_026_531_841),
        ] {
            new.namespace(kind, &format!("{kind}:[{inode}]"));
        }
        new
    }

    fn write(&self, path: &str, text: &str) {
        let path = self.directory.path().join(path);
        fs::create_dir_all(path.parent().expect("parent")).expect("directory");
        fs::write(path, text).expect("write");
    }

    fn remove(&self, path: &str) {
        fs::remove_file(self.directory.path().join(path)).expect("remove");
    }

    fn namespace(&self, kind: &str, link: &str) {
        let path = self.directory.path().join("proc/self/ns").join(kind);
        fs::create_dir_all(path.parent().expect("parent")).expect("directory");
        drop(fs::remove_file(&path));
        symlink(link, path).expect("link");
    }

    fn probe(&self) -> HostProbe {
        HostProbe::inspect_sources(&self.sources)
    }

    /// State, and detail with remedy, of one finding.
    fn answer(&self, name: &str) -> (State, String) {
        let finding = self.probe().finding(name).expect("a finding of that name").clone();
        (finding.state, format!("{} => {}", finding.detail, finding.remedy.unwrap_or_default()))
    }

    fn check(&self, name: &str, state: State, words: &[&str]) {
        let (answer, text) = self.answer(name);
        assert_eq!(answer, state, "{name}: {text}");
        for word in words {
            assert!(text.contains(word), "{name}: {word:?} is not in {text:?}");
        }
    }
}

#[test]
fn a_good_host_has_nothing_to_mend() {
    let probe = Fixture::new().probe();
    for finding in &probe.findings {
        assert_eq!((finding.state, &finding.remedy), (State::Yes, &None), "{finding:?}");
    }
    assert_eq!(probe.blocking().count(), 0);
    assert_eq!((probe.release.as_str(), probe.machine.as_str()), ("6.12.117", "x86_64"));
    let names: std::collections::BTreeSet<_> = probe.findings.iter().map(|finding| finding.name).collect();
    assert_eq!(names.len(), probe.findings.len(), "names are unique");
}

#[test]
fn an_empty_host_panics_nowhere_and_has_a_remedy_for_each() {
    let directory = tempfile::tempdir().expect("directory");
    let sources = Sources {
        root: directory.path().to_owned(),
        machine: "riscv64".to_owned(),
        effective: Err("refused".to_owned()),
        memlock_bytes: Some(65_536),
        descriptors: Some(3),
    };
    let probe = HostProbe::inspect_sources(&sources);
    for finding in &probe.findings {
        assert_ne!(finding.state, State::Yes, "{finding:?}");
        assert!(finding.remedy.is_some(), "{finding:?}");
    }
    let blocking: Vec<_> = probe.blocking().map(|finding| finding.name).collect();
    assert_eq!(blocking, ["kernel", "kernel_types", "descriptors"]);
    assert_eq!((probe.cgroup, probe.security_modules), (None, None));
}

#[test]
fn missing_capabilities_are_named() {
    let mut fixture = Fixture::new();
    let hold = |fixture: &mut Fixture, held: &[Capability]| {
        fixture.sources.effective = Ok(held.iter().copied().collect());
    };
    use Capability::{
        CAP_BPF, CAP_DAC_READ_SEARCH, CAP_NET_ADMIN, CAP_PERFMON, CAP_SYS_ADMIN, CAP_SYS_PTRACE,
    };
    hold(&mut fixture, &[CAP_BPF, CAP_PERFMON, CAP_NET_ADMIN, CAP_SYS_PTRACE, CAP_DAC_READ_SEARCH]);
    fixture.check("load_capabilities", State::Yes, &["CAP_BPF, CAP_PERFMON, CAP_NET_ADMIN"]);
    fixture.check("read_capabilities", State::Yes, &[]);

    hold(&mut fixture, &[CAP_BPF, CAP_SYS_PTRACE]);
    fixture.check(
        "load_capabilities",
        State::No,
        &["CAP_PERFMON, CAP_NET_ADMIN missing", "AmbientCapabilities"],
    );
    fixture.check("read_capabilities", State::No, &["CAP_DAC_READ_SEARCH missing", "homes"]);
    assert_eq!(fixture.probe().blocking().map(|f| f.name).collect::<Vec<_>>(), ["load_capabilities"]);

    hold(&mut fixture, &[CAP_SYS_ADMIN]);
    fixture.check("load_capabilities", State::Yes, &["CAP_SYS_ADMIN"]);
    fixture.check("read_capabilities", State::No, &["CAP_SYS_PTRACE, CAP_DAC_READ_SEARCH missing"]);
}

#[test]
fn cgroup_v2_is_found_wherever_it_is() {
    let fixture = Fixture::new();
    let mounted = |fixture: &Fixture| fixture.probe().cgroup.map(|m| (m.path, m.hybrid, m.whole));
    assert_eq!(mounted(&fixture), Some(("/sys/fs/cgroup".into(), false, true)));

    fixture.write("proc/self/mountinfo", HYBRID);
    assert_eq!(mounted(&fixture), Some(("/sys/fs/cgroup/unified".into(), true, true)));
    fixture.check("cgroup_v2", State::Yes, &["unified", "hybrid"]);

    fixture.write("proc/self/mountinfo", &HYBRID.replace("/unified", "/a\\040b\\134c"));
    assert_eq!(mounted(&fixture), Some(("/sys/fs/cgroup/a b\\c".into(), true, true)));

    fixture.write("proc/self/mountinfo", &HYBRID.replace("cgroup2", "tmpfs"));
    assert_eq!(mounted(&fixture), None);
    fixture.check("cgroup_v2", State::No, &["mount -t cgroup2 cgroup2 /run/cgroup2"]);

    fixture.write("proc/self/mountinfo", "garbage\n\n1 2 3\n");
    fixture.check("cgroup_v2", State::No, &["mount -t cgroup2 cgroup2 /sys/fs/cgroup"]);
}

/// Ubuntu 20.04: <https://github.com/kubernetes/kubernetes/issues/95488> has such a list of mounts.
const SYSTEMD_HYBRID: &str = "\
33 24 0:28 / /sys/fs/cgroup ro,nosuid,nodev,noexec shared:9 - tmpfs tmpfs ro,size=4096k,nr_inodes=1024,mode=755
34 33 0:29 / /sys/fs/cgroup/unified rw,nosuid,nodev,noexec,relatime shared:10 - cgroup2 cgroup2 rw,nsdelegate
35 33 0:30 / /sys/fs/cgroup/systemd rw,nosuid,nodev,noexec,relatime shared:11 - cgroup cgroup rw,xattr,release_agent=/usr/lib/systemd/systemd-cgroups-agent,name=systemd
40 33 0:35 / /sys/fs/cgroup/pids rw,nosuid,nodev,noexec,relatime shared:17 - cgroup cgroup rw,pids
38 33 0:33 / /sys/fs/cgroup/cpu,cpuacct rw,nosuid,nodev,noexec,relatime shared:15 - cgroup cgroup rw,cpu,cpuacct
";
const IN_HIERARCHIES: &str =
    "11:pids:/user.slice\n3:cpu,cpuacct:/\n1:name=systemd:/init.scope\n0::/init.scope\n";

#[test]
fn the_hierarchy_that_names_workloads_is_the_one_that_the_host_uses() {
    let fixture = Fixture::new();
    let chosen = |fixture: &Fixture| {
        fixture.probe().workloads.map(|found| (found.number, found.root.to_string_lossy().into_owned()))
    };
    assert_eq!(chosen(&fixture), Some((0, "/sys/fs/cgroup".into())));
    fixture.check("workload_cgroups", State::Yes, &["version 2, at /sys/fs/cgroup"]);

    // Both: by what is there, not by what is mounted.
    fixture.write("proc/self/mountinfo", SYSTEMD_HYBRID);
    fixture.write("proc/self/cgroup", IN_HIERARCHIES);
    assert_eq!(chosen(&fixture), Some((0, "/sys/fs/cgroup/unified".into())));
    fs::create_dir_all(fixture.directory.path().join("sys/fs/cgroup/systemd/system.slice")).expect("made");
    assert_eq!(chosen(&fixture), Some((1, "/sys/fs/cgroup/systemd".into())));
    let words = ["version 1", "name=systemd (hierarchy 1)", "/sys/fs/cgroup/systemd"];
    fixture.check("workload_cgroups", State::Yes, &words);

    // Only a part is seen of it: it names nobody.
    fixture.write("proc/self/mountinfo", &SYSTEMD_HYBRID.replace("0:30 /", "0:30 /docker/x"));
    assert_eq!(chosen(&fixture), Some((0, "/sys/fs/cgroup/unified".into())));

    // Version 1 without systemd; version 2 is where the remedy has put it.
    let without: String =
        SYSTEMD_HYBRID.lines().filter(|line| !line.contains("=systemd")).fold(String::new(), |text, line| {
            text + &line.replace("/sys/fs/cgroup/unified", "/run/cgroup2") + "\n"
        });
    fixture.write("proc/self/mountinfo", &without);
    assert_eq!(chosen(&fixture), Some((11, "/sys/fs/cgroup/pids".into())));
    fixture.write("proc/self/cgroup", "3:cpu,cpuacct:/\n0::/\n");
    assert_eq!(chosen(&fixture), Some((3, "/sys/fs/cgroup/cpu,cpuacct".into())));
    fixture.write("proc/self/cgroup", "x:cpu:/\n:::\n0::/\n");
    assert_eq!(chosen(&fixture), Some((0, "/run/cgroup2".into())));
    fixture.write("proc/self/mountinfo", "");
    assert_eq!(chosen(&fixture), None);
    fixture.check("workload_cgroups", State::No, &["no unit, container or pod", "mount -t cgroup2"]);
    fixture.remove("proc/self/cgroup");
    fixture.check("workload_cgroups", State::CouldNotTell, &["/proc/self/cgroup"]);
}

#[test]
fn what_is_mounted_over_is_not_there() {
    let fixture = Fixture::new();
    let with = |line: &str| fixture.write("proc/self/mountinfo", &format!("{UNIFIED}{line}\n"));
    with("90 27 0:50 / /sys/fs/cgroup rw - tmpfs tmpfs rw");
    fixture.check("cgroup_v2", State::No, &["not mounted", "mount -t cgroup2 cgroup2 /sys/fs/cgroup"]);
    // Over a directory above it, and then mounted again on that.
    with("90 23 0:50 / /sys/fs rw - tmpfs tmpfs rw");
    fixture.check("cgroup_v2", State::No, &["not mounted"]);
    fixture.check("bpffs", State::No, &["not mounted"]);
    with("90 23 0:50 / /sys/fs rw - tmpfs tmpfs rw\n91 90 0:25 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw");
    fixture.check("cgroup_v2", State::Yes, &["/sys/fs/cgroup"]);
    // A neighbour whose name begins alike covers nothing.
    with("90 23 0:50 / /sys/fs/cgr rw - tmpfs tmpfs rw");
    fixture.check("cgroup_v2", State::Yes, &["/sys/fs/cgroup"]);
    // Right on the first mount of all, as in an initramfs.
    let first = UNIFIED.replace("28 1 254:0 / / rw,relatime shared:1 - ext4", "28 28 0:2 / / rw - rootfs");
    assert_ne!(first, UNIFIED);
    fixture.write("proc/self/mountinfo", &first);
    fixture.check("cgroup_v2", State::Yes, &["/sys/fs/cgroup"]);
    // What cannot be seen for another reason is not called absent.
    with("90 33 0:50 / /sys/kernel/security rw - tmpfs tmpfs rw");
    fixture.remove("sys/kernel/security/lockdown");
    fixture.check("lockdown", State::CouldNotTell, &["securityfs is not mounted"]);
}

#[test]
fn a_containers_part_of_the_cgroups_is_not_the_host() {
    let fixture = Fixture::new();
    fixture.namespace("cgroup", "cgroup:[4026532500]");
    fixture.check("cgroup_v2", State::No, &["only this container's part", "--cgroupns=host"]);
    let both = format!("{UNIFIED}50 28 0:25 /../.. /host/cgroup ro - cgroup2 cgroup2 rw\n");
    fixture.write("proc/self/mountinfo", &both);
    let cgroup = fixture.probe().cgroup.expect("a mount");
    assert_eq!((cgroup.path, cgroup.whole), ("/host/cgroup".into(), true));
}

#[test]
fn namespaces_of_a_container_forbid_loading() {
    let fixture = Fixture::new();
    fixture.namespace("pid", "pid:[4026532501]");
    fixture.namespace("user", "user:[4026532502]");
    fixture.check("pid_namespace", State::No, &["hostPID"]);
    fixture.check("user_namespace", State::No, &["--userns=host"]);
    assert_eq!(fixture.probe().blocking().count(), 2);
    fixture.namespace("pid", "nonsense");
    fixture.check("pid_namespace", State::CouldNotTell, &["unknown form"]);
}

#[test]
fn a_host_that_is_not_reached_is_said_with_what_opens_it() {
    let mut fixture = Fixture::new();
    fixture.write("proc/self/mountinfo", &UNIFIED.replace("28 1 254:0", "90 80 254:0"));
    fixture.check("host_root", State::No, &["proc/1/root", "the same files", "AppArmor"]);
    fixture.write("proc/self/mountinfo", &UNIFIED.replace("28 1 254:0", "90 80 0:50"));
    fixture.check("host_root", State::No, &["by number", "AppArmor"]);
    fixture.sources.effective = Ok([Capability::CAP_BPF].into_iter().collect());
    fixture.check("host_root", State::No, &["by number", "give the agent CAP_SYS_PTRACE", "hostPID: true"]);
    fixture.sources.effective = Ok(caps::all());
    assert_eq!(fixture.probe().blocking().count(), 0);

    fs::create_dir_all(fixture.directory.path().join("proc/1/ns")).expect("directory");
    symlink("mnt:[7]", fixture.directory.path().join("proc/1/ns/mnt")).expect("link");
    symlink("../..", fixture.directory.path().join("proc/1/root")).expect("link");
    fixture.check("host_root", State::Yes, &["/proc/1/root"]);
    assert_eq!(fixture.probe().host_root.expect("a root").namespaces().mount, 7);

    fixture.namespace("uts", "uts:[4026532503]");
    fixture.check("host_name", State::No, &["container", "--node-name"]);
    fixture.write("proc/self/mountinfo", &UNIFIED.replace("28 1 254:0", "90 80 254:0"));
    fixture.check("host_name", State::Yes, &["a copy"]);
}

#[test]
fn security_modules_and_lockdown_are_told() {
    let fixture = Fixture::new();
    fixture.write("sys/kernel/security/lsm", "lockdown,capability,yama");
    fixture.check("lsm_bpf", State::No, &["boot with lsm=lockdown,capability,yama,bpf"]);
    assert_eq!(fixture.probe().security_modules.expect("a list").len(), 3);

    fixture.write("sys/kernel/security/lockdown", "none integrity [confidentiality]\n");
    fixture.check("lockdown", State::No, &["lockdown=integrity"]);
    assert_eq!(fixture.probe().blocking().map(|f| f.name).collect::<Vec<_>>(), ["lockdown"]);
    fixture.write("sys/kernel/security/lockdown", "new words");
    fixture.check("lockdown", State::CouldNotTell, &["\"new words\""]);

    fixture.remove("sys/kernel/security/lockdown");
    fixture.remove("sys/kernel/security/lsm");
    fixture.check("lockdown", State::Yes, &["not built in"]);
    fixture.check("lsm_bpf", State::No, &["CONFIG_BPF_LSM"]);
    fixture.write("proc/self/mountinfo", HYBRID);
    for name in ["lockdown", "lsm_bpf"] {
        fixture.check(name, State::CouldNotTell, &["not mounted", "mount -t securityfs"]);
    }
}

#[test]
fn settings_and_types_that_differ_say_what_to_do() {
    let mut fixture = Fixture::new();
    fixture.write("proc/self/mountinfo", HYBRID);
    fixture.check("bpffs", State::No, &["not needed", "mount -t bpf bpf /sys/fs/bpf"]);
    fixture.check("tracefs", State::No, &["not needed", "mount -t tracefs"]);
    fixture.write("proc/sys/kernel/perf_event_paranoid", "3");
    fixture.check("perf_event_paranoid", State::Yes, &["3"]);
    fixture.write("proc/sys/kernel/perf_event_paranoid", "x");
    fixture.check("perf_event_paranoid", State::CouldNotTell, &["not a number"]);
    fixture.write("proc/sys/kernel/unprivileged_bpf_disabled", "0");
    fixture.check("unprivileged_bpf_disabled", State::No, &["sysctl"]);
    fixture.sources.memlock_bytes = Some(8 << 20);
    fixture.check("memlock", State::CouldNotTell, &["8192 KiB", "LimitMEMLOCK=infinity"]);
    fixture.write("sys/kernel/btf/vmlinux", "ELF");
    fixture.check("kernel_types", State::No, &["holds no types"]);
    fixture.remove("sys/kernel/btf/vmlinux");
    fixture.check("kernel_types", State::No, &["CONFIG_DEBUG_INFO_BTF"]);
}

#[test]
fn a_limit_that_cannot_be_raised_says_what_to_do() {
    let text = LimitError::Memlock(rustix::io::Errno::PERM).to_string();
    assert!(text.contains("LimitMEMLOCK=infinity") && text.contains("CAP_SYS_RESOURCE"), "{text}");
}

#[test]
fn this_host_answers_everything() {
    let probe = HostProbe::inspect();
    for finding in &probe.findings {
        println!("{finding:?}");
        assert!(!finding.detail.is_empty());
        assert_eq!(finding.remedy.is_none(), finding.state == State::Yes, "{finding:?}");
    }
    assert!(!probe.release.is_empty());
    let kernel = probe.finding("kernel").expect("kernel");
    assert!(kernel.detail.contains(&probe.release));
}
