use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt as _, chown, symlink};

use tempfile::TempDir;

use super::*;

/// A host with these files.
struct Host(TempDir);

impl Host {
    fn new(files: &[(&str, &str)]) -> Self {
        let host = Self(tempfile::tempdir().unwrap());
        fs::set_permissions(host.0.path(), Permissions::from_mode(0o755)).unwrap();
        for (path, text) in files {
            host.write(path, text);
        }
        host
    }

    fn write(&self, path: &str, text: &str) {
        let path = self.0.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, Permissions::from_mode(0o644)).unwrap();
        for directory in path.ancestors().skip(1).take_while(|above| *above != self.0.path()) {
            fs::set_permissions(directory, Permissions::from_mode(0o755)).unwrap();
        }
    }

    fn look(&self, unit: &str) -> Answer<UnitFacts> {
        look(&HostRoot::at(self.0.path()).unwrap(), unit)
    }

    fn facts(&self, unit: &str) -> UnitFacts {
        match self.look(unit) {
            Answer::Found(facts) => facts.as_ref().clone(),
            other => panic!("{unit}: {other:?}"),
        }
    }

    fn timer(&self, unit: &str) -> Option<String> {
        self.facts(unit).timer.map(|timer| timer.unit.to_string())
    }
}

/// What is not root's is not used: who is not root makes no such file.
fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

#[test]
fn the_first_file_counts_with_all_drop_ins() {
    let host = Host::new(&[
        (
            "usr/lib/systemd/system/web.service",
            "[Unit]\nDescription=shipped\n[Install]\nWantedBy=multi-user.target",
        ),
        ("etc/systemd/system/web.service", "[Unit]\nDescription=ours\n[X-Telltale]\nOwner=team: web"),
        ("etc/systemd/system/web.service.d/20.conf", "[Unit]\nDescription=%p, ours"),
        ("usr/lib/systemd/system/web.service.d/20.conf", "[Unit]\nDescription=hidden by the same name"),
        ("run/systemd/system/service.d/10.conf", "[X-Telltale]\nOwner=team: all"),
        ("run/systemd/system/service.d/10.txt", "[X-Telltale]\nOwner=no drop-in"),
        ("etc/systemd/system/pg@.service", "[Unit]\nDescription=Cluster %i"),
        ("etc/systemd/system/pg@.service.d/a.conf", "[X-Telltale]\nOwner=dba"),
        ("etc/systemd/system/pg@special.service", "[Unit]\nDescription=special"),
        ("etc/systemd/system/a-.service.d/a.conf", "[Unit]\nDescription=of a-"),
        ("etc/systemd/system/a-b.service", "[Service]"),
    ]);
    if !is_root() {
        assert_eq!(host.look("web.service"), Answer::Refused);
        return;
    }
    let web = host.facts("web.service");
    assert_eq!(&*web.fragment, "/etc/systemd/system/web.service");
    assert_eq!((web.description.as_deref(), web.owner.as_deref()), (Some("web, ours"), Some("team: all")));
    let instance = host.facts("pg@15-main.service");
    assert_eq!(&*instance.fragment, "/etc/systemd/system/pg@.service");
    assert_eq!(
        (instance.description.as_deref(), instance.owner.as_deref()),
        (Some("Cluster 15-main"), Some("dba"))
    );
    assert_eq!(host.facts("pg@special.service").description.as_deref(), Some("special"));
    assert_eq!(host.facts("a-b.service").description.as_deref(), Some("of a-"));
    for absent in ["none.service", "../etc/passwd", "x/y.service", "", "service", &"a".repeat(300)] {
        assert_eq!(host.look(absent), Answer::NotFound, "{absent}");
    }
}

#[test]
fn a_service_is_its_timers_where_nothing_else_starts_it() {
    let host = Host::new(&[
        ("usr/lib/systemd/system/certbot.service", "[Unit]\nDescription=Certbot"),
        (
            "usr/lib/systemd/system/certbot.timer",
            "[Timer]\nOnCalendar=daily\n[Install]\nWantedBy=timers.target",
        ),
        ("usr/lib/systemd/system/web.service", "[Install]\nWantedBy=multi-user.target"),
        ("usr/lib/systemd/system/web.timer", "[Timer]"),
        ("etc/systemd/system/dump.service", ""),
        ("etc/systemd/system/nightly.timer", "[Timer]\nUnit=dump.service"),
        ("etc/systemd/system/weekly.timer", "[Timer]\nUnit=dump.service"),
        ("etc/systemd/system/asked.service", ""),
        ("etc/systemd/system/asked.socket", ""),
        ("etc/systemd/system/asked.timer", "[Timer]"),
        ("etc/systemd/system/copy@.service", ""),
        ("etc/systemd/system/copy@.timer", "[Timer]"),
        ("etc/systemd/system/sync@.timer", "[Timer]\nUnit=pull@%i.service"),
        ("etc/systemd/system/pull@.service", ""),
        ("etc/systemd/system/sync@home.timer", "[Timer]\nUnit=pull@%i.service"),
        ("etc/systemd/system/other.service", ""),
        ("etc/systemd/system/other.timer", "[Timer]\nUnit=certbot.service"),
        ("run/systemd/transient/now.service", ""),
        ("run/systemd/transient/now.timer", "# This is a transient unit file\n[Timer]\nOnActiveSec=1s"),
    ]);
    if !is_root() {
        return;
    }
    assert_eq!(host.timer("certbot.service").as_deref(), Some("certbot.timer"));
    assert_eq!(host.timer("dump.service").as_deref(), Some("nightly.timer"));
    assert_eq!(host.timer("copy@db.service").as_deref(), Some("copy@db.timer"));
    assert_eq!(host.timer("pull@home.service").as_deref(), Some("sync@home.timer"));
    assert_eq!(host.timer("now.service").as_deref(), Some("now.timer"));
    for unit in ["web.service", "asked.service", "other.service", "certbot.timer"] {
        assert_eq!(host.timer(unit), None, "{unit}");
    }
    let all = all_timed(&HostRoot::at(host.0.path()).unwrap());
    let mut all: Vec<&str> = all.iter().map(|found| &*found.unit).collect();
    all.sort_unstable();
    all.dedup();
    assert_eq!(
        all,
        [
            "asked.service",
            "certbot.service",
            "dump.service",
            "now.service",
            "pull@home.service",
            "web.service"
        ]
    );
    // Masked: systemd starts it no more.
    fs::create_dir_all(host.0.path().join("dev")).unwrap();
    symlink("/dev/null", host.0.path().join("etc/systemd/system/certbot.timer")).unwrap();
    assert_eq!(host.timer("certbot.service").as_deref(), Some("other.timer"));
}

#[test]
fn what_others_can_write_says_nothing() {
    let path = "etc/systemd/system/web.service";
    let host = Host::new(&[(path, "[Unit]\nDescription=x"), ("usr/lib/systemd/system/web.service", "")]);
    if !is_root() {
        return;
    }
    let full = host.0.path().join(path);
    fs::set_permissions(&full, Permissions::from_mode(0o666)).unwrap();
    assert_eq!(host.look("web.service"), Answer::Refused, "nor what lies behind it");
    fs::set_permissions(&full, Permissions::from_mode(0o644)).unwrap();
    chown(&full, Some(1000), None).unwrap();
    assert_eq!(host.look("web.service"), Answer::Refused);
    chown(&full, Some(0), None).unwrap();
    host.facts("web.service");
    host.write("etc/systemd/system/web.service.d/a.conf", "[X-Telltale]\nOwner=mallory");
    chown(host.0.path().join("etc/systemd/system/web.service.d/a.conf"), Some(1000), None).unwrap();
    assert_eq!(host.look("web.service"), Answer::Refused);
    fs::remove_dir_all(host.0.path().join("etc/systemd/system/web.service.d")).unwrap();
    fs::write(&full, " ".repeat(300 << 10)).unwrap();
    assert_eq!(host.look("web.service"), Answer::TooLarge);
    fs::set_permissions(host.0.path().join("etc/systemd/system"), Permissions::from_mode(0o777)).unwrap();
    assert_eq!(host.look("web.service"), Answer::Refused);
}

#[test]
fn an_owner_is_short_and_plain() {
    let long = format!("[X-Telltale]\nOwner={}", "a".repeat(OWNER_BYTES + 1));
    let host = Host::new(&[
        ("etc/systemd/system/a.service", long.as_str()),
        ("etc/systemd/system/b.service", "[X-Telltale]\nOwner=a\u{7}b"),
    ]);
    if is_root() {
        assert_eq!((host.facts("a.service").owner, host.facts("b.service").owner), (None, None));
    }
}
