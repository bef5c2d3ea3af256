//! Fixed events, one of each kind: what the golden files, the manual and the tests of other modules show.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;

use crate::model::act::{
    Access, Actor, Endpoint, KeyName, MemoryPair, MemoryWay, Namespaces, Outcome, Protocol, RawForm,
    UnknownOutcome,
};
use crate::model::bytes::RawBytes;
use crate::model::container::{EngineFacts, InContainer, Pod};
use crate::model::destination::{Destination, DestinationIdentity, MetadataService};
use crate::model::event::{
    Activity, AgentStatus, Connection, CredentialAccess, CredentialAttempt, DatagramFlow, Event, EventKind,
    ExpectedRead, Folded, Gap, KeyAccess, MemoryAccess, NamedConnection, Party, Relation, Repeat, Traffic,
    What, Why,
};
use crate::model::identity::{Attribution, Confidence, Evidence, Identity, Owner, OwnerSource, Runner};
use crate::model::image::ImageReference;
use crate::model::kube::{PodFacts, TokenOf, Workload};
use crate::model::name::{Claim, Names, Source};
use crate::model::process::{
    AgentPart, AgentRole, AgentSession, Cgroup, CredentialIds, ExecImage, FileRef, Login, LoginState,
    LoginWay, Marker, Origin as Known, Process, ProcessKey, SshConnection, Stdio, StdioKind,
};
use crate::model::program::{FileFacts, Package};
use crate::model::time::{BootTime, ClockPair, WallTime};
use crate::model::unit::{InUnit, UnitFacts};

use super::bytes::WireBytes;
use super::encode::{BatchBuilder, Origin};
use super::v1::{Batch, Host};

pub(crate) const START: u64 = 9_000_000_000;

pub(crate) fn origin() -> Origin {
    Origin {
        host: Host {
            realm: None,
            name: WireBytes("web-1".into()),
            id: "6e0c1d0b7a5f4c3e9d8b2a1f00112233".to_owned(),
            boot_id: "1b4e28ba-2fa1-41d2-883f-0016d3cca427".to_owned(),
        },
        epoch: START,
    }
}

/// Ten seconds after boot it is 2026-01-02T03:04:05Z.
pub(crate) fn clock() -> ClockPair {
    ClockPair {
        boot: BootTime::from_ns(10_000_000_000),
        wall: WallTime { unix_ns: 1_767_323_045_000_000_000 },
    }
}

pub(crate) fn batch(events: &[Event]) -> Batch {
    let mut builder = BatchBuilder::new(&origin(), 1, clock());
    for (position, event) in events.iter().enumerate() {
        assert!(builder.push(1 + position as u64, event));
    }
    builder.batch().clone()
}

pub(crate) fn ids(uid: u32) -> CredentialIds {
    CredentialIds {
        uid,
        gid: uid,
        euid: uid,
        egid: uid,
        capabilities: if uid == 0 { 0x01ff_ffff_ffff } else { 0 },
        login_uid: Some(1000),
        session_id: Some(3),
    }
}

pub(crate) const NAMESPACES: Namespaces =
    Namespaces { mount: 4_026_531_841, network: 4_026_531_840, pid: 4_026_531_836, user: 4_026_531_837 };

pub(crate) fn session() -> Arc<Cgroup> {
    Arc::new(Cgroup { id: 4711, path: "/user.slice/user-1000.slice/session-3.scope".into() })
}

pub(crate) fn process(pid: u32, exe: &str, argv: &[&str]) -> Process {
    let start = BootTime::from_ns(START + u64::from(pid) * 1_000);
    Process {
        key: ProcessKey { pid, start },
        parent: Some(ProcessKey { pid: pid - 1, start: BootTime::from_ns(start.ns - 1_000) }),
        namespaced_pid: pid,
        image: Arc::new(ExecImage {
            exe: exe.into(),
            exe_file: FileRef {
                device: 8 << 20 | 1,
                inode: 1_234_567,
                changed: (1_700_000_000, 5),
                links: 1,
                mode: 0o100_755,
            },
            filename: exe.into(),
            interpreter: exe.into(),
            argv: argv.iter().map(|argument| (*argument).into()).collect(),
            argument_count: argv.len() as u32,
            cwd: "/home/alice/project".into(),
            stdio: [0, 1, 2].map(|number| Stdio {
                kind: StdioKind::CharacterDevice,
                device: 25,
                inode: 4 + number,
            }),
            ..ExecImage::default()
        }),
        ids: ids(1000),
        cgroup: session(),
        namespaces: NAMESPACES,
        origin: Known::Observed,
        since: start,
        exec_count: 1,
        role: None,
        login: LoginState::default(),
    }
}

pub(crate) fn lineage() -> Vec<Arc<Process>> {
    let mut agent = process(4242, "/usr/bin/node", &["node", "/usr/local/bin/claude"]);
    let mut image = (*agent.image).clone();
    image.filename = "/usr/local/bin/claude".into();
    image.script = true;
    image.markers = vec![Marker { name: "CLAUDECODE".into(), value: Some("1".into()) }];
    agent.image = Arc::new(image);
    vec![
        Arc::new(process(4300, "/usr/bin/bash", &["bash", "-c", "npm test"])),
        Arc::new(agent),
        Arc::new(process(4100, "/usr/bin/bash", &["-bash"])),
        Arc::new(process(4000, "/usr/sbin/sshd", &["sshd: alice@pts/0"])),
    ]
}

pub(crate) fn alice() -> Arc<Attribution> {
    Arc::new(Attribution {
        identity: Identity::Human { user: b"alice"[..].into() },
        evidence: vec![Evidence {
            kind: "login_uid",
            detail: "1000".to_owned(),
            confidence: Confidence::Observed,
        }],
        confidence: Confidence::Observed,
        human: Some(Identity::Human { user: b"alice"[..].into() }),
        blended: vec![Identity::Executable { path: b"/usr/bin/curl"[..].into(), uid: 1000 }],
        role: None,
        owner: Some(Owner { name: "human/alice".into(), source: OwnerSource::Starter }),
        login: None,
        container: None,
        unit: None,
        file: None,
        agent_version: None,
    })
}

/// alice's login.
pub(crate) fn over_ssh() -> Login {
    let connection = SshConnection {
        peer: SocketAddr::from(([203, 0, 113, 7], 50022)),
        local: SocketAddr::from(([198, 51, 100, 7], 22)),
    };
    let (connection, login_uid, session_id) = (Some(connection), Some(1000), Some(3));
    Login {
        way: LoginWay::Ssh,
        connection,
        tty: Some("pts/0".into()),
        found_running: false,
        login_uid,
        session_id,
        job: None,
    }
}

/// A tool of Claude Code, which alice runs.
pub(crate) fn tool() -> Arc<Attribution> {
    let alice = alice();
    let observed =
        |kind, detail: &str| Evidence { kind, detail: detail.to_owned(), confidence: Confidence::Observed };
    let root = ProcessKey { pid: 4242, start: BootTime::from_ns(START) };
    let program = "/usr/local/lib/node_modules/@anthropic-ai/claude-code/cli.js";
    let begun = AgentSession {
        product: "claude-code".into(),
        root,
        program: program.into(),
        copied: false,
        bypass: Vec::new(),
        within: None,
        ids: ids(1000),
        cgroup: session(),
    };
    let evidence = vec![observed("agent_program", program), observed("agent_session", &begun.id())];
    let said = |kind, detail: &str, confidence| Evidence { kind, detail: detail.to_owned(), confidence };
    let sha256 = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
    let build_id = "3f5b0f8d9f5a1f3c6d8e2b7a4c1d0e9f8a7b6c5d";
    let package = Package {
        name: "python3.11-minimal".into(),
        version: "3.11.2-6+deb12u6".into(),
        modified: Some(false),
    };
    let of_file = [
        observed("exe_sha256", sha256),
        said("agent_version", "2.0.14", Confidence::Declared),
        said("exe_package", "python3.11-minimal 3.11.2-6+deb12u6", Confidence::Declared),
        said("exe_build_id", build_id, Confidence::Claimed),
    ];
    let login = observed("login", "ssh from 203.0.113.7:50022 to 198.51.100.7:22 on pts/0");
    Arc::new(Attribution {
        identity: Identity::Agent {
            product: b"claude-code"[..].into(),
            runner: Runner::Identity(Arc::new(alice.identity.clone())),
        },
        evidence: evidence
            .into_iter()
            .chain(alice.evidence.iter().cloned())
            .chain([login])
            .chain(of_file)
            .collect(),
        blended: std::iter::once(&alice.identity).chain(&alice.blended).cloned().collect(),
        role: Some(Arc::new(AgentRole { session: Arc::new(begun), part: AgentPart::Tool })),
        login: Some(Arc::new(over_ssh())),
        file: Some(Arc::new(FileFacts {
            sha256: Some(sha256.into()),
            build_id: Some(build_id.into()),
            package: Some(package),
        })),
        agent_version: Some("2.0.14".into()),
        ..Attribution::clone(&alice)
    })
}

const IN_POD: &str = "b1f06ea545e81d89dc503414d20a33f1b3f3eca71e3a4344fd16ddc202cc8129";
const POD_SLICE: &str = "pod4cad64d0_7a36_452a_8a08_bd3a694cdad5";

/// A container of a pod, as containerd and the cluster tell of it.
pub(crate) fn in_pod() -> Arc<Attribution> {
    let id = IN_POD;
    let uid = "4cad64d0-7a36-452a-8a08-bd3a694cdad5";
    let source = format!("/run/containerd/io.containerd.runtime.v2.task/k8s.io/{id}/config.json");
    let image = ImageReference::parse("registry.example/team/operator:2.1").unwrap();
    let slice = format!("kubelet-kubepods-burstable-{POD_SLICE}.slice");
    let evidence = |kind, detail: String, confidence| Evidence { kind, detail, confidence };
    let declared = Confidence::Declared;
    let facts = EngineFacts {
        engine: "containerd".into(),
        source: source.as_str().into(),
        name: Some("operator".into()),
        image: Some(image.clone()),
        image_id: None,
        compose: None,
        pod: Some(Pod {
            name: "operator-65747dc769-pjztg".into(),
            namespace: "shop".into(),
            uid: uid.into(),
        }),
        selectors: Vec::new(),
    };
    let pod = PodFacts {
        cluster: "production".into(),
        source: "the API server https://10.0.0.1".into(),
        uid: uid.into(),
        namespace: "shop".into(),
        name: "operator-65747dc769-pjztg".into(),
        service_account: Some("operator".into()),
        workload: Some(Workload { kind: "deployment".into(), name: "operator".into() }),
        workload_doubt: None,
        containers: Vec::new(),
        labels: vec![("app.kubernetes.io/name".into(), "operator".into())],
        owner: Some("team: shop".into()),
    };
    Arc::new(Attribution {
        identity: Identity::Kubernetes {
            cluster: b"production"[..].into(),
            namespace: b"shop"[..].into(),
            kind: b"deployment"[..].into(),
            workload: b"operator"[..].into(),
            container: b"operator"[..].into(),
        },
        evidence: vec![
            evidence("pod_uid", uid.to_owned(), Confidence::Observed),
            evidence("cgroup", format!("/{slice}/cri-containerd-{id}.scope"), Confidence::Observed),
            evidence(
                "cluster_pod",
                "shop/operator-65747dc769-pjztg of production, says the API server https://10.0.0.1"
                    .to_owned(),
                declared,
            ),
            evidence("workload", "deployment operator".to_owned(), declared),
            evidence("service_account", "shop/operator".to_owned(), declared),
            evidence("image", format!("{image}, says containerd in {source}"), declared),
            evidence("container_name", "operator".to_owned(), declared),
            evidence("pod", "shop/operator-65747dc769-pjztg".to_owned(), declared),
        ],
        confidence: Confidence::Observed,
        human: None,
        blended: vec![
            Identity::Image { repository: image.repository.clone() },
            Identity::NamespacedExecutable { hash: "0011223344556677".into() },
        ],
        role: None,
        login: None,
        owner: Some(Owner { name: "team: shop".into(), source: OwnerSource::Workload }),
        container: Some(Arc::new(InContainer {
            engine: "containerd".into(),
            id: id.into(),
            facts: Some(Arc::new(facts)),
            pod_uid: Some(uid.into()),
            kube: Some(Arc::new(pod)),
        })),
        unit: None,
        file: None,
        agent_version: None,
    })
}

pub(crate) fn activity(process: Process, hook: &'static str, what: What) -> Activity {
    Activity {
        attribution: alice(),
        actor: Actor {
            process: process.key,
            tid: process.key.pid,
            ids: process.ids,
            cgroup_id: process.cgroup.id,
            namespaces: process.namespaces,
            comm: RawBytes::from(process.image.exe.file_name()),
        },
        process: Arc::new(process),
        hook,
        what,
        why: Why { lineage: lineage(), lineage_truncated: false },
    }
}

pub(crate) fn event(at_ns: u64, activity: Activity) -> Event {
    Event { time: BootTime::from_ns(at_ns), kind: EventKind::Activity(Box::new(activity)) }
}

pub(crate) fn endpoint(address: &str, port: u16) -> Endpoint {
    Endpoint { address: address.parse().unwrap(), port, mapped: false }
}

pub(crate) fn connection(outcome: Outcome) -> Connection {
    Connection {
        cookie: 8193,
        protocol: Protocol::Tcp,
        asked: endpoint("192.0.2.10", 443),
        connected: Some(endpoint("192.0.2.10", 443)),
        local: Some(endpoint("198.51.100.7", 40_962)),
        outcome,
        latency_ns: Some(410_250),
        held: false,
        names: Names::default(),
        destination: None,
    }
}

pub(crate) fn traffic(bytes_sent: u64, bytes_received: u64, duration_ns: u64) -> Traffic {
    Traffic {
        cookie: 8193,
        protocol: Protocol::Tcp,
        remote: endpoint("192.0.2.10", 443),
        bytes_sent,
        bytes_received,
        duration_ns,
        errno: None,
        names: Names::default(),
        destination: None,
    }
}

/// A database that listens on this host.
pub(crate) fn listening() -> Destination {
    let mut database = process(901, "/usr/lib/postgresql/15/bin/postgres", &["postgres"]);
    database.ids = CredentialIds { login_uid: None, session_id: None, ..ids(106) };
    let detail = "pid 901 /usr/lib/postgresql/15/bin/postgres".to_owned();
    Destination {
        identity: Some(DestinationIdentity::Local(Identity::SystemUnit { unit: b"postgresql"[..].into() })),
        evidence: vec![Evidence { kind: "listener", detail, confidence: Confidence::Observed }],
        confidence: Confidence::Observed,
        process: Some(Arc::new(database)),
    }
}

/// A metadata service of a cloud.
pub(crate) fn metadata() -> Destination {
    let detail = "169.254.169.254:80".to_owned();
    Destination {
        identity: Some(DestinationIdentity::Metadata(MetadataService::Instance)),
        evidence: vec![Evidence { kind: "metadata_address", detail, confidence: Confidence::Observed }],
        confidence: Confidence::Observed,
        process: None,
    }
}

/// A resolver's name, and one that a ClientHello asks for.
pub(crate) fn names() -> Names {
    let claim = |name: &str, source, server: Option<&str>| Claim {
        name: name.into(),
        source,
        server: server.map(|server| server.parse().unwrap()),
    };
    Names {
        destination: Some("api.example.com".into()),
        claims: vec![
            claim("api.example.com", Source::Resolver, Some("192.0.2.53")),
            claim("www.example.net", Source::Stranger, Some("203.0.113.53")),
            claim("login.example.org", Source::Hello, None),
        ],
    }
}

pub(crate) fn credential(path: RawBytes) -> CredentialAccess {
    CredentialAccess {
        credential: "aws-credentials".into(),
        kind: "cloud".into(),
        sensitivity: 5,
        path,
        file: FileRef {
            device: 8 << 20 | 1,
            inode: 777,
            changed: (1_700_000_001, 9),
            links: 1,
            mode: 0o100_600,
        },
        access: Access { read: true, write: false, truncate: false },
        matched_by: "path",
        how: "open",
        other_path: None,
        expected: false,
        token: None,
    }
}

pub(crate) fn curl() -> Process {
    process(4321, "/usr/bin/curl", &["curl", "-H", "Authorization: [redacted]", "https://api.example.com/"])
}

/// One of each kind, by name. They are also the examples of docs/events.md.
pub(crate) fn all() -> Vec<(&'static str, Event)> {
    let at = |ns: u64| 10_000_000_000 + ns;
    let established = activity(curl(), "cgroup/connect4", What::Connection(connection(Outcome::Established)));

    let mut refused = connection(Outcome::Failed { errno: 111 });
    refused.asked = Endpoint { address: "2001:db8::1".parse().unwrap(), port: 8080, mapped: false };
    (refused.connected, refused.local) = (None, None);
    let mut root = curl();
    root.ids = ids(0);
    let refused = activity(root, "cgroup/connect6", What::Connection(refused));

    let mut unknown =
        connection(Outcome::Unknown(UnknownOutcome::TimedOut(std::time::Duration::from_secs(150))));
    (unknown.connected, unknown.latency_ns) = (None, None);
    unknown.asked.mapped = true;
    let mut unknown = activity(curl(), "cgroup/connect6", What::Connection(unknown));
    unknown.why.lineage_truncated = true;

    let within = Connection {
        asked: endpoint("127.0.0.1", 5432),
        connected: Some(endpoint("127.0.0.1", 5432)),
        local: Some(endpoint("127.0.0.1", 40_964)),
        destination: Some(Arc::new(listening())),
        ..connection(Outcome::Established)
    };
    let within = activity(curl(), "cgroup/connect4", What::Connection(within));
    let instance = Connection {
        asked: endpoint("169.254.169.254", 80),
        connected: Some(endpoint("169.254.169.254", 80)),
        destination: Some(Arc::new(metadata())),
        ..connection(Outcome::Established)
    };
    let instance = activity(curl(), "cgroup/connect4", What::Connection(instance));

    let remote = endpoint("192.0.2.53", 53);
    let flow = DatagramFlow { cookie: 8194, protocol: Protocol::Udp, remote, names: Names::default() };
    let flow = activity(curl(), "cgroup/sendmsg4", What::DatagramFlow(flow));

    let mut python = process(4322, "/usr/bin/python3.11", &["python3", "sync.py"]);
    python.origin = Known::Inventoried;
    let read = What::CredentialAccess(credential("/home/alice/.aws/credentials".into()));
    let read = Activity { attribution: tool(), ..activity(python, "lsm/file_open", read) };

    let mut odd = process(4323, "/usr/bin/cat", &["cat"]);
    let mut image = (*odd.image).clone();
    image.argv.push(RawBytes::from(&b"caf\xe9/id_rsa"[..]));
    image.argument_count = 9;
    image.argv_truncated = true;
    odd.image = Arc::new(image);
    let mut access = credential(RawBytes::from(&b"/home/alice/caf\xe9/id_rsa"[..]));
    access.credential = "ssh-private-key".into();
    access.kind = "ssh".into();
    access.access = Access { read: true, write: true, truncate: true };
    access.matched_by = "inode";
    let odd = activity(odd, "tp_btf/sys_exit", What::CredentialAccess(access));

    let update = What::ConnectionUpdate(traffic(1_830, 9_400_112, 60_000_410_250));
    let update = activity(curl(), "iter/bpf_sk_storage_map", update);
    let end = Traffic { errno: Some(104), ..traffic(2_412, 12_845_056, 81_300_000_000) };
    let end = activity(curl(), "tp_btf/inet_sock_set_state", What::ConnectionEnd(end));

    let named = NamedConnection {
        cookie: 8193,
        protocol: Protocol::Tcp,
        remote: endpoint("192.0.2.10", 443),
        names: names(),
    };
    let named = activity(curl(), "cgroup_skb/egress", What::ConnectionName(named));

    let raw = RawForm::Socket { family: 17, socket_type: 3, protocol: 3 };
    let raw = activity(curl(), "fentry/security_socket_post_create", What::RawSocket(raw));

    let agent = CredentialAccess {
        credential: "ssh-agent".into(),
        kind: "socket".into(),
        sensitivity: 4,
        file: FileRef { device: 29, inode: 41, changed: (1_700_000_002, 1), links: 1, mode: 0o140_600 },
        access: Access { read: true, write: true, truncate: false },
        how: "connect",
        ..credential("/tmp/ssh-XXXXabcd/agent.4100".into())
    };
    let agent = activity(curl(), "fentry/security_unix_stream_connect", What::CredentialAccess(agent));

    let attempt = |path: &str, file: Option<FileRef>| {
        What::CredentialAttempt(CredentialAttempt {
            credential: "shadow".into(),
            kind: "host".into(),
            sensitivity: 5,
            path: path.into(),
            file,
            matched_by: "path",
            how: "open",
            other_path: None,
            errno: 13,
        })
    };
    let file =
        FileRef { device: 8 << 20 | 1, inode: 778, changed: (1_700_000_003, 2), links: 1, mode: 0o100_640 };
    let shadow = attempt("/etc/shadow", Some(file));
    let shadow = activity(curl(), "fexit/capable_wrt_inode_uidgid", shadow);
    let claimed = activity(curl(), "tp_btf/sys_exit", attempt("/etc/shadow", None));

    let of_pod = What::CredentialAccess(CredentialAccess {
        credential: "kubernetes-service-account".into(),
        kind: "kubernetes".into(),
        token: Some(TokenOf {
            pod_uid: "4cad64d0-7a36-452a-8a08-bd3a694cdad5".into(),
            pod: Some("shop/operator-65747dc769-pjztg".into()),
            service_account: Some("shop/operator".into()),
            own: true,
        }),
        ..credential("/var/run/secrets/kubernetes.io/serviceaccount/token".into())
    });
    let mut operator = process(4326, "/operator", &["/operator"]);
    operator.ids = CredentialIds { login_uid: None, session_id: None, ..ids(65_532) };
    let scope = format!("/kubelet-kubepods-burstable-{POD_SLICE}.slice/cri-containerd-{IN_POD}.scope");
    operator.cgroup = Arc::new(Cgroup { id: 9_120, path: scope.as_str().into() });
    let shim = process(4325, "/usr/bin/containerd-shim-runc-v2", &["containerd-shim-runc-v2"]);
    let why = Why { lineage: vec![Arc::new(shim)], lineage_truncated: false };
    let of_pod = Activity { attribution: in_pod(), why, ..activity(operator, "lsm/file_open", of_pod) };

    let moved = CredentialAccess {
        access: Access { read: false, write: false, truncate: false },
        how: "rename",
        other_path: Some("/home/alice/notes.txt".into()),
        ..credential("/home/alice/.aws/credentials".into())
    };
    let moved = activity(curl(), "fexit/vfs_rename", What::CredentialAccess(moved));

    let daemon = Arc::new(process(812, "/usr/sbin/sshd", &["sshd"]));
    let target = daemon.key;
    let whose = Arc::new(Attribution {
        identity: Identity::SystemUnit { unit: b"ssh"[..].into() },
        evidence: Vec::new(),
        confidence: Confidence::Observed,
        human: None,
        blended: Vec::new(),
        role: None,
        owner: None,
        login: None,
        container: None,
        unit: Some(Arc::new(InUnit {
            unit: "ssh.service".into(),
            facts: Some(Arc::new(UnitFacts {
                fragment: "/usr/lib/systemd/system/ssh.service".into(),
                description: Some("OpenBSD Secure Shell server".into()),
                ..UnitFacts::default()
            })),
        })),
        file: None,
        agent_version: None,
    });
    let target_party = Party { attribution: whose, process: daemon };
    let memory = |way, refused| {
        let target = target_party.clone();
        What::MemoryAccess(MemoryAccess { target, way, relation: Relation::Other, refused })
    };
    let gdb = || process(4324, "/usr/bin/gdb", &["gdb", "-p", "812"]);
    let reader = gdb().key;
    let read_memory = activity(gdb(), "fexit/__ptrace_may_access", memory(MemoryWay::VmRead, None));
    let kept_out = activity(gdb(), "fexit/environ_open", memory(MemoryWay::ProcEnviron, Some(13)));
    let pair = MemoryPair { actor: reader, target: Some(target), way: MemoryWay::VmRead, refused: None };
    let reads = Repeat { of: Folded::Memory(pair), count: 3, last: BootTime::from_ns(at(88_500_000_000)) };

    let key = |name, refused| What::KeyAccess(KeyAccess { serial: 812_345_678, name, refused });
    let ticket = KeyName {
        kind: "user".into(),
        description: "krbtgt/EXAMPLE.COM@EXAMPLE.COM".into(),
        truncated: false,
        owner: Some(1000),
    };
    let read_key = activity(curl(), "fexit/keyctl_read_key", key(Some(ticket), None));
    let numbered = activity(curl(), "tp_btf/sys_exit", key(None, Some(13)));

    let ssh = || process(4325, "/usr/bin/ssh", &["ssh", "git.example.com"]);
    let own_key = CredentialAccess {
        credential: "ssh-private-key".into(),
        kind: "ssh".into(),
        expected: true,
        ..credential("/home/alice/.ssh/id_ed25519".into())
    };
    let made_for = ExpectedRead {
        attribution: alice(),
        image: ssh().image,
        credential: own_key.credential.clone(),
        path: own_key.path.clone(),
        euid: 1000,
    };
    let made_for = Repeat {
        of: Folded::Read(Arc::new(made_for)),
        count: 4,
        last: BootTime::from_ns(at(93_900_000_000)),
    };
    let own_key = activity(ssh(), "lsm/file_open", What::CredentialAccess(own_key));

    let of = Folded::Flow { cookie: 8194, remote };
    let repeat = Repeat { of, count: 12, last: BootTime::from_ns(at(900_000_000)) };
    let gap = Gap { stage: "kernel", cause: "dropped_ring_full", family: Some("connection"), lost: 17 };
    let status = AgentStatus {
        phase: "heartbeat",
        version: "0.1.0",
        capabilities: vec![("file_open".to_owned(), "lsm/file_open".to_owned())],
        impairments: vec![("detached", "cgroup/connect4".to_owned())],
        counters: BTreeMap::from([("decoded".to_owned(), 1234), ("ship_queued".to_owned(), 1200)]),
    };
    let plain = |ns: u64, kind| Event { time: BootTime::from_ns(at(ns)), kind };
    vec![
        ("connection_established", event(at(6), established)),
        ("connection_failed", event(at(1_000), refused)),
        ("connection_unknown", event(at(2_000), unknown)),
        ("datagram_flow", event(at(3_000), flow)),
        ("credential_access", event(at(41_000_000), read)),
        ("credential_access_not_utf8", event(at(42_000_000), odd)),
        ("repeat", plain(1_000_000_000, EventKind::Repeat(repeat))),
        ("gap", plain(1_000_000_001, EventKind::Gap(gap))),
        ("agent_status", plain(1_000_000_002, EventKind::AgentStatus(status))),
        ("connection_update", event(at(60_000_410_256), update)),
        ("connection_end", event(at(81_300_000_006), end)),
        ("raw_socket", event(at(82_000_000_000), raw)),
        ("credential_access_connect", event(at(83_000_000_000), agent)),
        ("credential_attempt", event(at(84_000_000_000), shadow)),
        ("credential_attempt_claimed", event(at(85_000_000_000), claimed)),
        ("connection_name", event(at(83_500_000_000), named)),
        ("credential_access_rename", event(at(86_000_000_000), moved)),
        ("memory_access", event(at(87_000_000_000), read_memory)),
        ("memory_access_refused", event(at(88_000_000_000), kept_out)),
        ("repeat_memory", plain(89_000_000_000, EventKind::Repeat(reads))),
        ("key_access", event(at(90_000_000_000), read_key)),
        ("key_access_refused", event(at(91_000_000_000), numbered)),
        ("credential_access_expected", event(at(92_000_000_000), own_key)),
        ("credential_access_container", event(at(93_000_000_000), of_pod)),
        ("repeat_read", plain(94_000_000_000, EventKind::Repeat(made_for))),
        ("connection_within", event(at(95_000_000_000), within)),
        ("connection_metadata", event(at(96_000_000_000), instance)),
    ]
}
