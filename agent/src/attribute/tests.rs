//! Whole attributions: from a process and its act to the key and what is blended in.

use std::sync::Arc;

use super::users::Users;
use super::{Attributor, Finding, Resolver, Standing, Subject};
use crate::life::owners::Owners;
use crate::model::act::{Actor, Namespaces};
use crate::model::bytes::RawBytes;
use crate::model::container::{Answer, ComposeService, ContainerFound, EngineFacts, Pod};
use crate::model::identity::{Attribution, Confidence, Evidence, Identity, OwnerSource};
use crate::model::image::ImageReference;
use crate::model::kube::{ClusterNews, ClusterState, PodContainer, PodFacts, Workload};
use crate::model::process::{Cgroup, CredentialIds, ExecImage, FileRef, Origin, Process, ProcessKey};
use crate::model::program::{FileAnswer, FileFacts, Package, ProgramFound};
use crate::model::time::BootTime;
use crate::model::unit::{UnitFacts, UnitFound};
use crate::operator::entries::Entries;
use crate::operator::rules::Rules;
use crate::process::inventory::{HostNamespaces, cgroup_path};

const HOST: HostNamespaces = HostNamespaces { mount: 1, user: 2 };
const ID: &str = "4fa6e0f0c6786287e131c3852c58a2e01cc697a68231826813597e4994f1d6e2";
const PASSWD: &[u8] = b"root:x:0:0::/root:/bin/bash\nwww-data:x:33:33::/:/usr/sbin/nologin\n\
    alice:x:1000:1000::/home/alice:/bin/bash\n";

/// Who acts: on the host, in its namespaces, unless said otherwise.
#[derive(Clone)]
struct Who {
    exe: &'static str,
    cgroup: String,
    uid: u32,
    login: Option<(u32, u32)>,
    namespaces: Namespaces,
}

fn who(exe: &'static str, cgroup: &str) -> Who {
    let namespaces = Namespaces { mount: HOST.mount, user: HOST.user, ..Namespaces::default() };
    Who { exe, cgroup: cgroup.replace("{64}", ID), uid: 0, login: None, namespaces }
}

impl Who {
    fn uid(self, uid: u32) -> Self {
        Self { uid, ..self }
    }

    fn login(self, uid: u32, session: u32) -> Self {
        Self { login: Some((uid, session)), ..self }
    }

    fn in_namespaces(self, mount: u32, user: u32) -> Self {
        Self { namespaces: Namespaces { mount, user, ..self.namespaces }, ..self }
    }

    fn attribute(&self, attributor: &mut Attributor) -> Arc<Attribution> {
        let key = ProcessKey { pid: 42, start: BootTime::from_ns(1) };
        let ids = CredentialIds {
            uid: self.uid,
            euid: self.uid,
            login_uid: self.login.map(|(uid, _)| uid),
            session_id: self.login.map(|(_, session)| session),
            ..CredentialIds::default()
        };
        let cgroup = Arc::new(Cgroup { id: 7, path: self.cgroup.as_str().into() });
        let exe_file = FileRef { device: 8 << 20 | 1, inode: 99, links: 1, ..FileRef::default() };
        let process = Process {
            key,
            parent: None,
            namespaced_pid: 42,
            image: Arc::new(ExecImage { exe: self.exe.into(), exe_file, ..ExecImage::default() }),
            ids,
            cgroup: cgroup.clone(),
            namespaces: self.namespaces,
            origin: Origin::Observed,
            since: key.start,
            exec_count: 1,
            role: None,
            login: Default::default(),
        };
        let namespaces = self.namespaces;
        let actor = Actor { process: key, tid: 42, ids, cgroup_id: 7, namespaces, comm: RawBytes::default() };
        attributor.attribute(&process, &actor, &cgroup)
    }
}

fn attributor() -> Attributor {
    Attributor::new(HOST, Users::parse(PASSWD))
}

/// Key first, then what is blended in.
fn names(who: &Who) -> String {
    let attribution = who.attribute(&mut attributor());
    let all: Vec<_> =
        std::iter::once(&attribution.identity).chain(&attribution.blended).map(|i| i.to_string()).collect();
    all.join(" ")
}

#[test]
fn each_situation_has_its_key_and_its_blend() {
    let docker = format!("container/docker/{ID}");
    let session = "/user.slice/user-1000.slice/session-1.scope";
    let manager = "/user.slice/user-1000.slice/user@1000.service";
    let table: Vec<(Who, String)> = vec![
        (who("/usr/sbin/sshd", "/system.slice/ssh.service"), "svc/ssh exe/usr/sbin/sshd@uid:0".into()),
        (who("/bin/bash", session).uid(1000).login(1000, 1), "human/alice exe/bin/bash@uid:1000".into()),
        // sudo: another uid, the same login
        (who("/bin/cat", session).login(1000, 1), "human/alice exe/bin/cat@uid:0".into()),
        (
            who("/bin/bash", "/user.slice/user-0.slice/session-2.scope").login(0, 2),
            "human/root exe/bin/bash@uid:0".into(),
        ),
        // cron sets a login uid for its jobs
        (
            who("/bin/sh", "/system.slice/cron.service").uid(1000).login(1000, 5),
            "svc/cron human/alice exe/bin/sh@uid:1000".into(),
        ),
        (
            who("/bin/sh", "/system.slice/cron.service").uid(33).login(33, 6),
            "svc/cron exe/bin/sh@uid:33".into(),
        ),
        // no systemd
        (who("/bin/ls", "/").uid(1000).login(1000, 1), "human/alice exe/bin/ls@uid:1000".into()),
        (who("/bin/ls", "/").uid(1234).login(1234, 1), "human/uid%3A1234 exe/bin/ls@uid:1234".into()),
        (who("/bin/ls", "/").uid(33).login(33, 1), "exe/bin/ls@uid:33".into()),
        (who("/bin/ls", "/"), "exe/bin/ls@uid:0".into()),
        (who("/bin/ls", ""), "exe/bin/ls@uid:0".into()),
        (who("", "/"), "exe@uid:0".into()),
        // a user's own manager names units; they are no keys
        (
            who("/usr/bin/syncthing", &format!("{manager}/app.slice/syncthing.service"))
                .uid(1000)
                .login(1000, 3),
            "exe/usr/bin/syncthing@uid:1000 user-svc/alice/syncthing human/alice".into(),
        ),
        (who("/bin/x", &format!("{manager}/docker-{{64}}.scope")).uid(1000), "exe/bin/x@uid:1000".into()),
        (
            who("/bin/x", &format!("{manager}/app.slice/run-u7.service")).uid(1000),
            "exe/bin/x@uid:1000".into(),
        ),
        // transient units have no name
        (who("/bin/x", "/system.slice/run-u7.service"), "exe/bin/x@uid:0".into()),
        (who("/bin/x", "/system.slice/run-u7.service").login(1000, 1), "exe/bin/x@uid:0 human/alice".into()),
        (who("/bin/x", "/system.slice/wg-quick@wg0.service"), "svc/wg-quick%40wg0 exe/bin/x@uid:0".into()),
        // containers, by whose engine named them
        (
            who("/bin/x", "/system.slice/docker-{64}.scope").in_namespaces(9, 2),
            // printf 'telltale exe-ns 1\0\0\0\0\0/bin/x' | sha256sum
            format!("{docker} exe-ns/5dd3f1a1d7d609e559d7ee211c51c124"),
        ),
        (
            who("/bin/x", "/machine.slice/libpod-{64}.scope/container").login(1000, 4),
            format!("container/podman/{ID} human/alice exe/bin/x@uid:0"),
        ),
        (
            who("/bin/x", &format!("/docker/{{64}}/docker/{}", "0".repeat(64))),
            format!("{docker} exe/bin/x@uid:0"),
        ),
        (
            who("/bin/x", "/machine.slice/systemd-nspawn@deb.service/payload/system.slice/nginx.service"),
            "container/nspawn/deb exe/bin/x@uid:0".into(),
        ),
    ];
    for (who, expected) in table {
        assert_eq!(names(&who), expected, "{} in {}", who.exe, who.cgroup);
    }
}

#[test]
fn a_users_own_world_never_has_a_name_of_the_host() {
    let host = names(&who("/usr/bin/curl", "/").uid(1000));
    for (mount, user) in [(9, 2), (9, 8), (HOST.mount, 8)] {
        let forged = names(&who("/usr/bin/curl", "/").uid(1000).in_namespaces(mount, user));
        assert!(forged.starts_with("exe-ns/"), "{forged}");
        assert_ne!(forged, host);
        let other = names(&who("/usr/bin/curl", "/").uid(1001).in_namespaces(mount, user));
        assert_ne!(forged, other, "another user's");
    }
}

#[test]
fn evidence_is_sorted_best_first_and_says_what_is_claimed() {
    let cgroup = "/user.slice/user-1000.slice/user@1000.service/docker-{64}.scope";
    let attribution = who("/bin/x", cgroup).uid(1000).login(1000, 3).attribute(&mut attributor());
    let kinds: Vec<_> = attribution.evidence.iter().map(|e| (e.kind, e.confidence)).collect();
    let (observed, claimed) = (Confidence::Observed, Confidence::Claimed);
    assert_eq!(
        kinds,
        [
            ("uid", observed),
            ("exe", observed),
            ("exe_inode", observed),
            ("user_manager", observed),
            ("login_uid", observed),
            ("audit_session", observed),
            ("container_claim", claimed),
        ]
    );
    assert_eq!(attribution.confidence, observed);
    assert_eq!(attribution.human, Some(Identity::Human { user: b"alice"[..].into() }));
}

#[test]
fn a_job_that_systemd_was_asked_to_run_says_so() {
    for (unit, said) in [("run-u7.service", true), ("run-u7.scope", false), ("nginx.service", false)] {
        let attribution = who("/bin/x", &format!("/system.slice/{unit}")).attribute(&mut attributor());
        let kinds: Vec<_> = attribution.evidence.iter().map(|evidence| evidence.kind).collect();
        assert_eq!(kinds.contains(&"transient_unit"), said, "{unit}: {kinds:?}");
        assert!(kinds.contains(&"unit"), "{unit}: {kinds:?}");
    }
}

#[test]
fn a_pods_uid_is_evidence_for_its_container() {
    let cgroup = "/kubepods/burstable/pod95cb0a5b-9bc6-4b4c-9a36-1d7e0c2a2c62/{64}";
    let attribution = who("/bin/x", cgroup).attribute(&mut attributor());
    let pod = attribution.evidence.iter().find(|evidence| evidence.kind == "pod_uid").unwrap();
    assert_eq!(pod.detail, "95cb0a5b-9bc6-4b4c-9a36-1d7e0c2a2c62");
}

/// What a host of another's shows, and who that is.
#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct HostCase {
    of: String,
    source: String,
    text: String,
    path: Option<String>,
    #[serde(default)]
    hierarchy: u32,
    identity: String,
    pod: Option<String>,
    claim: Option<String>,
    session: Option<String>,
}

#[derive(serde::Deserialize)]
struct HostCases {
    case: Vec<HostCase>,
}

#[test]
fn hosts_of_others_are_understood() {
    let file = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/cgroups/hosts.toml");
    let cases: HostCases = toml::from_str(&std::fs::read_to_string(file).unwrap()).unwrap();
    for HostCase { of, source, text, path, hierarchy, identity, pod, claim, session } in cases.case {
        assert!(source.starts_with("https://"), "{of}: where from?");
        let path = path.unwrap_or_else(|| cgroup_path(text.as_bytes(), hierarchy).unwrap().to_string());
        let shown = text.replace('\\', "");
        let is_shown = path.split('/').all(|component| shown.contains(component));
        assert!(is_shown, "{of}: the source does not say {path}");
        let attribution = who("/bin/x", &path).attribute(&mut attributor());
        assert_eq!(attribution.identity.to_string(), identity, "{of}");
        assert_eq!(detail(&attribution, "pod_uid"), pod.as_deref(), "{of}");
        let place = super::place::Place::parse(path.as_bytes());
        assert_eq!(place.session.map(|found| found.id), session.map(|id| id.as_bytes().into()), "{of}");
        let claimed = claim.map(|claim| format!("{claim}, below a delegation point"));
        assert_eq!(detail(&attribution, "container_claim"), claimed.as_deref(), "{of}");
    }
}

/// A resolver that would have its identity be the key on a claim.
struct Pushy;

impl Resolver for Pushy {
    fn resolve(&self, _: &Subject<'_>) -> Finding {
        let evidence =
            Evidence { kind: "marker", detail: "CLAUDECODE".into(), confidence: Confidence::Claimed };
        let identity = Identity::SystemUnit { unit: b"trusted"[..].into() };
        Finding { identity: Some((identity, Standing::Key)), evidence: vec![evidence] }
    }
}

#[test]
fn what_rests_on_claims_is_never_the_key() {
    let mut resolvers = super::precedence();
    resolvers.insert(0, Arc::new(Pushy));
    let mut attributor = Attributor::with_resolvers(HOST, Users::default(), resolvers);
    let attribution = who("/bin/x", "/").attribute(&mut attributor);
    assert_eq!(attribution.identity.to_string(), "exe/bin/x@uid:0");
    assert_eq!(attribution.blended.len(), 1);

    let mut attributor = Attributor::with_resolvers(HOST, Users::default(), vec![Arc::new(Pushy)]);
    let attribution = who("/bin/x", "/").attribute(&mut attributor);
    assert_eq!(
        (attribution.identity.to_string().as_str(), attribution.confidence),
        ("exe@uid:0", Confidence::Claimed)
    );
}

#[test]
fn acts_of_one_kind_share_an_attribution_until_users_change() {
    let mut attributor = attributor();
    let shell = who("/bin/bash", "/").uid(1000).login(1000, 1);
    let first = shell.attribute(&mut attributor);
    assert!(Arc::ptr_eq(&first, &shell.attribute(&mut attributor)));
    for other in [
        Who { exe: "/bin/sh", ..shell.clone() },
        shell.clone().uid(0),
        shell.clone().login(1000, 2),
        shell.clone().in_namespaces(9, 2),
        Who { cgroup: "/init.scope".into(), ..shell.clone() },
    ] {
        assert_ne!(*other.attribute(&mut attributor), *first);
    }
    assert_eq!((attributor.counters().remembered, attributor.counters().resolved), (1, 6));
    attributor.set_users(Users::parse(b"bob:x:1000:1000::/:/bin/sh\n"));
    assert_eq!(shell.attribute(&mut attributor).identity.to_string(), "human/bob");
}

#[test]
fn any_number_of_kinds_is_bounded_and_right() {
    let mut attributor = attributor();
    let busy = who("/bin/busy", "/");
    let first = busy.attribute(&mut attributor);
    for uid in 0..40_000 {
        let attribution = who("/bin/x", "/").uid(uid).attribute(&mut attributor);
        assert_eq!(attribution.identity.to_string(), format!("exe/bin/x@uid:{uid}"));
        assert!(Arc::ptr_eq(&first, &busy.attribute(&mut attributor)), "in use, so remembered");
    }
    assert_eq!(attributor.counters().resolved, 40_001);
    assert!(attributor.counters().evicted >= 40_000 - 2 * 10_240);
}

fn redis() -> EngineFacts {
    EngineFacts {
        engine: "docker".into(),
        source: "/var/lib/docker/x".into(),
        name: Some("cache".into()),
        image: ImageReference::parse("redis:7"),
        ..EngineFacts::default()
    }
}

fn found(facts: EngineFacts) -> ContainerFound {
    ContainerFound { id: ID.into(), answer: Answer::Found(Arc::new(facts)) }
}

fn evidence(attribution: &Attribution, kind: &str) -> Vec<(String, Confidence)> {
    let of_kind = attribution.evidence.iter().filter(|evidence| evidence.kind == kind);
    of_kind.map(|evidence| (evidence.detail.clone(), evidence.confidence)).collect()
}

#[test]
fn a_container_is_its_image_as_soon_as_that_is_known() {
    let mut attributor = attributor();
    let who = who("/usr/bin/redis", "/docker/{64}").in_namespaces(9, HOST.user);
    let before = who.attribute(&mut attributor);
    assert_eq!(before.identity.to_string(), format!("container/docker/{ID}"));
    assert_eq!(evidence(&before, "image_unknown").len(), 1);
    assert_eq!(attributor.containers().take_wanted(), [ID.into()]);
    attributor.learn_container(ContainerFound { id: ID.into(), answer: Answer::Refused });
    let refused = who.attribute(&mut attributor);
    assert_eq!(refused.identity, before.identity);
    let why = ("its engine's file is not root's alone".to_owned(), Confidence::Observed);
    assert_eq!(evidence(&refused, "image_unknown"), [why]);
    attributor.learn_container(found(redis()));
    let after = who.attribute(&mut attributor);
    assert_eq!(after.identity.to_string(), "container/docker.io/library/redis");
    assert_eq!(after.confidence, Confidence::Observed);
    assert_eq!(evidence(&after, "image_unknown"), []);
    let image =
        ("docker.io/library/redis:7, says docker in /var/lib/docker/x".to_owned(), Confidence::Declared);
    assert_eq!(evidence(&after, "image"), [image]);
    let within = after.container.as_ref().unwrap();
    assert_eq!((&*within.engine, &*within.id, within.facts.is_some()), ("docker", ID, true));
}

#[test]
fn a_service_goes_before_its_image_and_what_has_no_name_is_told_by_id() {
    let mut attributor = attributor();
    let who = who("/usr/bin/redis", "/system.slice/docker-{64}.scope").in_namespaces(9, HOST.user);
    let service = ComposeService { project: "shop".into(), service: "db".into() };
    attributor.learn_container(found(EngineFacts { compose: Some(service), ..redis() }));
    assert_eq!(who.attribute(&mut attributor).identity.to_string(), "container/compose/shop/db");
    attributor.learn_container(found(EngineFacts { image: None, ..redis() }));
    let nameless = who.attribute(&mut attributor);
    assert_eq!(nameless.identity.to_string(), format!("container/docker/{ID}"));
    assert_eq!(evidence(&nameless, "image_unknown").len(), 1);
    assert_eq!(evidence(&nameless, "container_name").len(), 1);
}

/// A user calls a cgroup of his own as a container that is there: he is nobody's image, and nobody looks it up.
#[test]
fn a_users_own_scope_has_no_image() {
    let mut attributor = attributor();
    for cgroup in [
        "/user.slice/user-1000.slice/user@1000.service/docker-{64}.scope",
        "/user.slice/user-1000.slice/session-3.scope/docker/{64}",
        "/system.slice/own.service/docker-{64}.scope",
    ] {
        let who = who("/bin/x", cgroup).uid(1000).in_namespaces(9, 10);
        who.attribute(&mut attributor);
        assert!(attributor.containers().take_wanted().is_empty(), "{cgroup}");
    }
    attributor.learn_container(found(redis()));
    for cgroup in [
        "/user.slice/user-1000.slice/user@1000.service/docker-{64}.scope",
        "/system.slice/own.service/docker-{64}.scope",
    ] {
        let attribution = who("/bin/x", cgroup).uid(1000).in_namespaces(9, 10).attribute(&mut attributor);
        assert!(!matches!(attribution.identity, Identity::Image { .. }), "{cgroup}");
        assert_eq!(attribution.container, None);
        assert!(!attribution.blended.iter().any(|other| other.kind() == "container"));
        assert_eq!(evidence(&attribution, "image"), []);
    }
}

#[test]
fn a_machine_is_asked_of_no_engine() {
    let mut attributor = attributor();
    let attribution = who("/bin/x", "/lxc.payload.web").attribute(&mut attributor);
    assert_eq!(attribution.identity.to_string(), "container/lxc/web");
    assert_eq!(evidence(&attribution, "image_unknown"), []);
    assert!(attributor.containers().take_wanted().is_empty());
    assert_eq!(attribution.container.as_ref().map(|within| &*within.id), Some("web"));
}

#[test]
fn a_rule_of_the_operators_makes_another_key_and_keeps_the_human() {
    let rules = "version = 1\n[[rule]]\nname = \"backup\"\nwhen.identity = \"human/*\"\n\
        when.evidence = { exe = \"/opt/backup/*\", login_uid = \"1000 *\" }\nidentity = \"svc/backup\"\nowner = \"storage\"\n";
    let mut owners = Owners::default();
    owners.set_rules(Rules::parse(rules).unwrap());
    let mut attributor = attributor();
    attributor.set_owners(owners);
    let session = "/user.slice/user-1000.slice/session-3.scope";
    let ruled = who("/opt/backup/run", session).uid(1000).login(1000, 3).attribute(&mut attributor);
    assert_eq!(ruled.identity.to_string(), "svc/backup");
    assert_eq!(ruled.blended.first().map(ToString::to_string).as_deref(), Some("human/alice"));
    assert_eq!(ruled.human.as_ref().map(ToString::to_string).as_deref(), Some("human/alice"));
    assert_eq!(ruled.confidence, Confidence::Observed);
    assert!(ruled.evidence.iter().any(|found| found.kind == "rule" && found.detail == "backup"));
    let owner = ruled.owner.as_ref().unwrap();
    assert_eq!((owner.name.as_ref(), owner.source), ("storage", OwnerSource::Rule));
    let other = who("/usr/bin/curl", session).uid(1000).login(1000, 3).attribute(&mut attributor);
    assert_eq!(other.identity.to_string(), "human/alice");
    // In a user namespace of one's own the path is a claim.
    let forged = who("/opt/backup/run", session).uid(1000).login(1000, 3).in_namespaces(7, 8);
    assert_eq!(forged.attribute(&mut attributor).identity.to_string(), "human/alice");
}

#[test]
fn an_entry_of_spires_gives_an_id_beside_the_key() {
    let entry = |path: &str, selectors: &str| {
        format!(
            r#"{{"id":"e","spiffe_id":{{"trust_domain":"example.org","path":"{path}"}},"selectors":[{selectors}]}}"#
        )
    };
    let unix = |value: &str| format!(r#"{{"type":"unix","value":"{value}"}}"#);
    let web = [
        unix("uid:33"),
        unix("user:www-data"),
        unix("path:/usr/sbin/nginx"),
        r#"{"type":"systemd","value":"id:nginx.service"}"#.to_owned(),
    ]
    .join(",");
    let label = r#"{"type":"docker","value":"label:app:shop"}"#;
    let other = [unix("uid:33"), unix("sha256:00")].join(",");
    let export = [entry("/web", &web), entry("/shop", label), entry("/other", &other)].join(",");
    let mut owners = Owners::default();
    owners.set_entries(Entries::parse(&format!(r#"{{"entries":[{export}]}}"#)).unwrap());
    let mut attributor = attributor();
    attributor.set_owners(owners);
    let nginx = who("/usr/sbin/nginx", "/system.slice/nginx.service").uid(33).attribute(&mut attributor);
    assert_eq!(nginx.identity.to_string(), "svc/nginx");
    assert!(nginx.blended.iter().any(|other| other.to_string() == "spiffe/example.org/web"), "{nginx:?}");
    assert!(
        nginx.evidence.iter().any(|found| found.kind == "spiffe" && found.confidence == Confidence::Declared)
    );
    // Other binary, other user, a unit that a user calls so: no ID.
    for (exe, cgroup, uid) in [
        ("/usr/sbin/apache2", "/system.slice/nginx.service", 33),
        ("/usr/sbin/nginx", "/system.slice/nginx.service", 34),
        ("/usr/sbin/nginx", "/user.slice/user-33.slice/user@33.service/app.slice/nginx.service", 33),
    ] {
        let other = who(exe, cgroup).uid(uid).attribute(&mut attributor);
        assert!(!other.blended.iter().any(|one| matches!(one, Identity::Spiffe { .. })), "{other:?}");
    }
    let mut shop = who("/bin/shop", "/system.slice/docker-{64}.scope").in_namespaces(7, HOST.user);
    shop.cgroup = shop.cgroup.replace("{64}", ID);
    let facts = EngineFacts { selectors: vec!["docker:label:app:shop".into()], ..EngineFacts::default() };
    attributor.learn_container(ContainerFound { id: ID.into(), answer: Answer::Found(Arc::new(facts)) });
    let shop = shop.attribute(&mut attributor);
    assert!(shop.blended.iter().any(|other| other.to_string() == "spiffe/example.org/shop"), "{shop:?}");
}

#[test]
fn ten_thousand_identities_in_turn_are_all_remembered() {
    let mut attributor = attributor();
    for round in 0..3 {
        for uid in 0..10_000 {
            who("/usr/bin/x", "/").uid(uid).attribute(&mut attributor);
        }
        assert_eq!(attributor.counters().resolved, 10_000, "in round {round}");
    }
    assert_eq!(attributor.counters().evicted, 0);
}

fn running(exe: &str, file: FileRef) -> Process {
    let mut process = crate::ship::wire::examples::process(7, exe, &["x"]);
    process.image =
        Arc::new(ExecImage { exe: exe.into(), exe_file: file, ..ExecImage::clone(&process.image) });
    process.namespaces = Namespaces { mount: HOST.mount, user: HOST.user, ..Namespaces::default() };
    process.cgroup = Arc::new(Cgroup { id: 9, path: "/".into() });
    process.ids.login_uid = None;
    process
}

#[test]
fn what_a_file_contains_is_told_once_it_is_known_and_changes_nobody() {
    let mut attributor = attributor();
    let file = FileRef { device: 8, inode: 9, changed: (1, 2), links: 1, mode: 0o100_755 };
    let (one, changed) =
        (running("/usr/bin/x", file), running("/usr/bin/x", FileRef { changed: (1, 3), ..file }));
    let before = attributor.attribute_as_started(&one);
    assert_eq!((before.identity.to_string().as_str(), &before.file), ("exe/usr/bin/x@uid:1000", &None));
    attributor.attribute_as_started(&changed);
    assert!(attributor.programs().next_file().is_some());
    let package = Package { name: "x".into(), version: "1".into(), modified: Some(true) };
    let facts = Arc::new(FileFacts {
        sha256: Some("00".into()),
        build_id: Some("11".into()),
        package: Some(package),
    });
    let answer = FileAnswer::Found(facts.clone());
    attributor.learn_program(ProgramFound::File { file: (&file).into(), answer });
    attributor.learn_program(ProgramFound::File {
        file: (&changed.image.exe_file).into(),
        answer: FileAnswer::Replaced,
    });
    let after = attributor.attribute_as_started(&one);
    assert_eq!((&after.identity, &after.file), (&before.identity, &Some(facts)));
    assert_eq!(after.confidence, before.confidence);
    for (kind, detail, confidence) in [
        ("exe_sha256", "00", Confidence::Observed),
        ("exe_build_id", "11", Confidence::Claimed),
        ("exe_package", "x 1, and the file is not as it came", Confidence::Declared),
    ] {
        assert_eq!(evidence(&after, kind), [(detail.to_owned(), confidence)]);
    }
    let other = attributor.attribute_as_started(&changed);
    assert_eq!((&other.identity, &other.file), (&before.identity, &None));
    assert_eq!(evidence(&other, "exe_unknown").len(), 1);
}

/// A file in memory has no path: at its exec none is told, and /proc tells what its maker calls it.
#[test]
fn a_file_in_memory_is_no_program_of_the_hosts() {
    let mut attributor = attributor();
    let file = FileRef { device: 1, inode: 9, changed: (1, 2), links: 0, mode: 0o100_777 };
    for exe in ["/", "/memfd:usr/bin/sshd", "/memfd:../usr/bin/sshd", "/memfd:"] {
        let attribution = attributor.attribute_as_started(&running(exe, file));
        assert_eq!(attribution.identity.to_string(), "exe/@uid:1000", "{exe}");
        assert_eq!(evidence(&attribution, "exe_unlinked")[0].0, "in memory only (memfd)");
    }
    let deleted = attributor.attribute_as_started(&running("/tmp/memfd:x", file));
    assert_eq!(deleted.identity.to_string(), "exe/tmp/memfd%3Ax@uid:1000");
    assert_eq!(attributor.programs().next_file(), None);
}

const UID: &str = "4cad64d0-7a36-452a-8a08-bd3a694cdad5";

fn pod(change: impl FnOnce(&mut PodFacts)) -> ClusterNews {
    let mut facts = PodFacts {
        cluster: "production".into(),
        uid: UID.into(),
        namespace: "shop".into(),
        name: "web-1".into(),
        service_account: Some("web".into()),
        workload: Some(Workload { kind: "deployment".into(), name: "web".into() }),
        containers: vec![PodContainer { name: "nginx".into(), id: ID.into(), digest: None }],
        owner: Some("team: web".into()),
        ..PodFacts::default()
    };
    change(&mut facts);
    ClusterNews::Pod(Arc::new(facts))
}

fn engine_says(uid: &str, name: &str) -> ContainerFound {
    let pod = Pod { name: name.into(), namespace: "shop".into(), uid: uid.into() };
    let name = Some("main".into());
    ContainerFound {
        id: ID.into(),
        answer: Answer::Found(Arc::new(EngineFacts { pod: Some(pod), name, ..EngineFacts::default() })),
    }
}

fn detail<'a>(attribution: &'a Attribution, kind: &str) -> Option<&'a str> {
    let found = attribution.evidence.iter().find(|evidence| evidence.kind == kind);
    found.map(|evidence| evidence.detail.as_str())
}

#[test]
fn a_pod_is_its_workload_where_cgroup_engine_and_cluster_agree() {
    let who = who("/usr/sbin/nginx", &format!("/kubepods/burstable/pod{UID}/{{64}}"));
    let key = |attributor: &mut Attributor| who.attribute(attributor).identity.to_string();
    let mut attributor = attributor();
    assert_eq!(key(&mut attributor), format!("container/oci/{ID}"));
    let unknown = who.attribute(&mut attributor);
    assert!(detail(&unknown, "pod_unknown").unwrap().contains("no cluster is asked"));
    attributor.learn_cluster(ClusterNews::State(ClusterState::Silent("down since noon".into())));
    assert!(detail(&who.attribute(&mut attributor), "pod_unknown").unwrap().contains("noon"));
    // By the pod's state, until the engine's file is read.
    attributor.learn_cluster(pod(|_| ()));
    let attribution = who.attribute(&mut attributor);
    assert_eq!(attribution.identity.to_string(), "k8s/production/shop/deployment/web/nginx");
    assert!(detail(&attribution, "cluster_silent").unwrap().contains("noon"));
    attributor.learn_cluster(ClusterNews::State(ClusterState::Answers));
    attributor.learn_container(engine_says(UID, "web-1"));
    let attribution = who.attribute(&mut attributor);
    let accounts: Vec<_> = attribution.blended.iter().filter(|other| other.kind() == "k8s-sa").collect();
    assert_eq!(accounts.iter().map(ToString::to_string).collect::<Vec<_>>(), ["k8s-sa/production/shop/web"]);
    assert_eq!(attribution.identity.to_string(), "k8s/production/shop/deployment/web/main");
    assert_eq!(
        (attribution.confidence, detail(&attribution, "cluster_silent")),
        (Confidence::Observed, None)
    );
    assert_eq!(attribution.owner.as_ref().map(|owner| &*owner.name), Some("team: web"));
    assert_eq!(
        attribution.container.as_ref().unwrap().kube.as_ref().unwrap().service_account.as_deref(),
        Some("web")
    );
    // Gone, it is known for a while.
    attributor.learn_cluster(ClusterNews::Gone(UID.into()));
    assert!(key(&mut attributor).starts_with("k8s/"));
    // A doubt is told, and what nothing tells has no workload.
    attributor.learn_cluster(pod(|pod| pod.workload_doubt = Some("403".into())));
    let doubted = who.attribute(&mut attributor);
    assert_eq!(detail(&doubted, "workload_unconfirmed"), Some("403"));
    assert_eq!(doubted.confidence, Confidence::Claimed);
    let mut owners = Owners::default();
    let rule = "version = 1\n[[rule]]\nname = \"r\"\nwhen.identity = \"k8s/*\"\nidentity = \"svc/x\"\n";
    owners.set_rules(Rules::parse(rule).unwrap());
    attributor.set_owners(owners);
    assert_eq!(who.attribute(&mut attributor).identity, doubted.identity, "claims make no rule hold");
    attributor.learn_cluster(pod(|pod| (pod.workload, pod.workload_doubt) = (None, Some("later".into()))));
    let unknown = who.attribute(&mut attributor);
    assert!(unknown.identity.to_string().starts_with("container/"));
    assert_eq!(detail(&unknown, "workload_unknown"), Some("later"));
    assert_eq!(unknown.owner, None, "an owner is the workload's");
}

#[test]
fn an_answer_has_only_that_said_anew_which_rests_on_it() {
    let other = "f".repeat(64);
    let in_pod = who("/usr/sbin/nginx", &format!("/kubepods/burstable/pod{UID}/{{64}}"));
    let in_docker = who("/usr/bin/redis", &format!("/system.slice/docker-{other}.scope"));
    let in_unit = who("/usr/sbin/cron", "/system.slice/cron.service");
    let everybody = [&in_pod, &in_docker, &in_unit];
    let mut attributor = attributor();
    let resolved = |attributor: &mut Attributor| {
        everybody.map(|who| {
            let before = attributor.counters().resolved;
            who.attribute(attributor);
            attributor.counters().resolved - before
        })
    };
    assert_eq!(resolved(&mut attributor), [1, 1, 1]);
    assert_eq!(resolved(&mut attributor), [0, 0, 0]);
    attributor.learn_container(ContainerFound {
        id: other.as_str().into(),
        answer: Answer::Found(Arc::new(EngineFacts::default())),
    });
    assert_eq!(resolved(&mut attributor), [0, 1, 0]);
    attributor.learn_unit(UnitFound {
        unit: "cron.service".into(),
        answer: Answer::Found(Arc::new(UnitFacts::default())),
    });
    assert_eq!(resolved(&mut attributor), [0, 0, 1]);
    attributor.learn_cluster(pod(|_| ()));
    assert_eq!(resolved(&mut attributor), [1, 0, 0]);
    attributor.learn_cluster(pod(|pod| pod.uid = "5cad64d0-7a36-452a-8a08-bd3a694cdad5".into()));
    assert_eq!(resolved(&mut attributor), [0, 0, 0], "another pod's");
    attributor.learn_cluster(ClusterNews::State(ClusterState::Silent("down".into())));
    assert_eq!(resolved(&mut attributor), [1, 0, 0]);
    // By an engine's file alone it is in a pod, too.
    attributor.learn_container(ContainerFound { id: other.as_str().into(), ..engine_says(UID, "web-1") });
    assert_eq!(resolved(&mut attributor), [0, 1, 0]);
    attributor.learn_cluster(pod(|pod| pod.owner = None));
    assert_eq!(resolved(&mut attributor), [1, 1, 0]);
    // Users are everybody's.
    attributor.set_users(Users::parse(PASSWD));
    assert_eq!(resolved(&mut attributor), [1, 1, 1]);
}

#[test]
fn a_cluster_that_differs_from_cgroup_or_engine_is_not_believed() {
    let who = who("/usr/sbin/nginx", &format!("/kubepods/burstable/pod{UID}/{{64}}"));
    for (engine, news) in [
        (engine_says(UID, "other"), pod(|_| ())),
        (engine_says(UID, "web-1"), pod(|pod| pod.namespace = "payments".into())),
        (engine_says("0000", "web-1"), pod(|_| ())),
    ] {
        let mut attributor = attributor();
        attributor.learn_container(engine);
        attributor.learn_cluster(news);
        let attribution = who.attribute(&mut attributor);
        assert!(attribution.identity.to_string().starts_with("container/"), "{}", attribution.identity);
        assert!(detail(&attribution, "pod_differs").is_some());
        assert!(!attribution.blended.iter().any(|other| other.kind() == "k8s-sa"));
        assert_eq!(attribution.container.as_ref().unwrap().kube, None);
    }
}

#[test]
fn a_pod_that_the_cgroup_does_not_name_is_no_key() {
    let mut attributor = attributor();
    attributor.learn_container(engine_says(UID, "web-1"));
    attributor.learn_cluster(pod(|_| ()));
    let attribution = who("/usr/sbin/nginx", "/k8s.io/{64}").attribute(&mut attributor);
    assert!(attribution.identity.to_string().starts_with("container/"));
    assert!(attribution.blended.iter().any(|other| other.to_string().starts_with("k8s/")));
    assert_eq!(attribution.owner, None);
    // A user's own cgroups name no pod.
    let forged = format!("/user.slice/user-7.slice/user@7.service/pod{UID}/{{64}}");
    let attribution = who("/usr/sbin/nginx", &forged).attribute(&mut attributor);
    assert!(attribution.identity.to_string().starts_with("exe/"), "{}", attribution.identity);
    assert!(!attribution.blended.iter().any(|other| other.to_string().starts_with("k8s/")));
}
