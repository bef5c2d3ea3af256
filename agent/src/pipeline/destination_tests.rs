//! Destinations through the whole pipeline, from records made by hand.

use std::net::SocketAddr;

use agent_common::records::Actor as ActorRecord;

use super::*;
use crate::attribute::Attributor;
use crate::attribute::users::Users;
use crate::capture::ledger::Ledger;
use crate::capture::sequence::Start;
use crate::capture::testing::{ExecSpec, Stream, actor};
use crate::catalogue::Catalogue;
use crate::catalogue::enumerate::KnownFiles;
use crate::catalogue::file::Source;
use crate::host::installed::{Installed, Judgement};
use crate::model::bytes::RawBytes;
use crate::model::event::{Connection, EventKind, What};
use crate::model::kube::{ClusterState, Workload};
use crate::model::peer::{Leads, PeerFacts, PeerKind, PeerNews, PeerPort, PeerService};
use crate::model::process::FileRef;
use crate::names::resolvers::Fixed;
use crate::pipeline::Parts;
use crate::process::ProcessTable;
use crate::process::inventory::HostNamespaces;
use crate::session::Tags;

const SECOND: u64 = 1_000_000_000;
const CLIENT: u32 = 100;

struct Nothing;

impl Installed for Nothing {
    fn is_installed(&mut self, _: &RawBytes, _: &FileRef) -> bool {
        false
    }

    fn learn(&mut self, _: Judgement) {}
}

struct World {
    pipeline: Pipeline,
    stream: Stream,
    cookie: u64,
}

fn process(pid: u32) -> ActorRecord {
    actor(pid, u64::from(pid))
}

impl World {
    /// A world in which the client runs.
    fn new() -> Self {
        let ActorRecord { mount_namespace, user_namespace, .. } = process(CLIENT);
        let host = HostNamespaces { mount: mount_namespace, user: user_namespace };
        let source = Source { file: "test".into(), text: "version = 1".into() };
        let pipeline = Pipeline::new(Parts {
            start: Start::AtZero,
            ledger: Arc::new(Ledger::new()),
            table: ProcessTable::new(|argv| argv.to_vec(), 10_000_000),
            attributor: Attributor::new(host, Users::default()),
            catalogue: Arc::new(Catalogue::from_sources(&[source]).unwrap()),
            known: KnownFiles::default(),
            resolvers: Box::new(Fixed::default()),
            installed: Box::new(Nothing),
            host,
            tags: Tags::default(),
            own: None,
        });
        let mut world = Self { pipeline, stream: Stream::new(SECOND), cookie: 1_000 };
        world.run(CLIENT, "/usr/bin/curl");
        world
    }

    fn take(&mut self, record: &[u8]) -> Vec<Connection> {
        let mut told = Vec::new();
        self.pipeline.record(record, &mut |event| {
            if let EventKind::Activity(activity) = event.kind
                && let What::Connection(connection) = activity.what
            {
                told.push(connection);
            }
        });
        told
    }

    fn run(&mut self, pid: u32, exe: &str) {
        let record = self.stream.exec(&process(pid), &ExecSpec { exe, ..ExecSpec::default() });
        self.take(&record);
    }

    fn fork(&mut self, pid: u32, child: u32) {
        let record = self.stream.fork(&process(pid), (child, child.into()));
        self.take(&record);
    }

    fn exit(&mut self, pid: u32) {
        let record = self.stream.exit(&process(pid), 0);
        self.take(&record);
    }

    fn listen(&mut self, pid: u32, cookie: u64, bound: &str) {
        let record = self.stream.listen(&process(pid), cookie, bound.parse().unwrap(), false);
        self.take(&record);
    }

    fn close(&mut self, cookie: u64) {
        let record = self.stream.listen_end(cookie);
        self.take(&record);
    }

    /// What a connection of the client's leads to: identity, first evidence, pid.
    fn connect(&mut self, to: &str) -> Option<(Option<String>, &'static str, Option<u32>)> {
        let to: SocketAddr = to.parse().unwrap();
        self.cookie += 1;
        let asked = self.stream.connect(&process(CLIENT), self.cookie, to);
        let ended = self.stream.established(self.cookie, to);
        assert!(self.take(&asked).is_empty());
        let told = self.take(&ended);
        let [connection] = told.as_slice() else { panic!("{told:?}") };
        let destination = connection.destination.as_deref()?;
        let identity = destination.identity.as_ref().map(ToString::to_string);
        let evidence = destination.evidence.first().expect("evidence").kind;
        Some((identity, evidence, destination.process.as_ref().map(|process| process.key.pid)))
    }
}

fn identity_of(exe: &str) -> Option<String> {
    let uid = process(1).uid;
    Some(format!("exe{exe}@uid:{uid}"))
}

const PLACE: &str = "127.0.0.1:80";

#[test]
fn who_listens_is_told_while_it_does() {
    let mut world = World::new();
    assert_eq!(world.connect(PLACE), None);
    world.run(200, "/usr/sbin/nginx");
    world.listen(200, 1, PLACE);
    assert_eq!(world.connect(PLACE), Some((identity_of("/usr/sbin/nginx"), "listener", Some(200))));
    assert_eq!(world.connect("127.0.0.1:81"), None);
    // Not an address of this host: its own end is another.
    world.listen(200, 2, "0.0.0.0:443");
    assert_eq!(world.connect("192.0.2.1:443"), None);
    world.close(1);
    assert_eq!(world.connect(PLACE), None);
    world.run(201, "/usr/sbin/apache2");
    world.listen(201, 3, PLACE);
    assert_eq!(world.connect(PLACE), Some((identity_of("/usr/sbin/apache2"), "listener", Some(201))));
}

#[test]
fn a_server_in_the_background_listens_for_whoever_began() {
    let mut world = World::new();
    world.run(200, "/usr/sbin/nginx");
    world.fork(200, 201);
    world.listen(200, 1, PLACE);
    world.fork(200, 202);
    world.exit(200);
    // Made before there was a listener, the other has none.
    assert_eq!(world.connect(PLACE), Some((identity_of("/usr/sbin/nginx"), "listener", Some(202))));
    world.fork(202, 203);
    world.run(203, "/usr/bin/sort");
    world.exit(202);
    assert_eq!(world.connect(PLACE), Some((None, "listener_ended", None)), "another program may have it");
}

#[test]
fn several_are_told_if_they_are_one() {
    let mut world = World::new();
    for pid in [200, 201] {
        world.run(pid, "/usr/sbin/nginx");
        world.listen(pid, pid.into(), PLACE);
    }
    assert_eq!(world.connect(PLACE), Some((identity_of("/usr/sbin/nginx"), "listener", Some(200))));
    world.run(202, "/usr/sbin/apache2");
    world.listen(202, 202, PLACE);
    assert_eq!(world.connect(PLACE), Some((None, "listener_shared", None)));
    world.exit(200);
    world.exit(201);
    assert_eq!(world.connect(PLACE), Some((identity_of("/usr/sbin/apache2"), "listener", Some(202))));
}

#[test]
fn what_the_service_manager_holds_is_nobodys() {
    let mut world = World::new();
    world.run(1, "/usr/lib/systemd/systemd");
    world.listen(1, 1, PLACE);
    assert_eq!(world.connect(PLACE), Some((None, "listener_init", None)));
    // A service that holds it too, as the walk at the start has found.
    world.run(200, "/usr/sbin/cupsd");
    let held = world.stream.listen(&process(200), 1, PLACE.parse().unwrap(), true);
    world.take(&held);
    assert_eq!(world.connect(PLACE), Some((identity_of("/usr/sbin/cupsd"), "listener", Some(200))));
}

/// A Service of a cluster at an address.
fn service(address: &str, is_own: bool) -> PeerFacts {
    let workload = Workload { kind: "deployment".into(), name: "web".into() };
    let ports = vec![PeerPort { port: 80, leads: Leads::To { workload, doubt: None } }];
    let (own, external) = if is_own { (vec![address], vec![]) } else { (vec![], vec![address]) };
    let parsed = |all: Vec<&str>| all.iter().map(|address| address.parse().unwrap()).collect();
    PeerFacts {
        key: "service/shop/web".into(),
        cluster: "c".into(),
        source: "the API server".into(),
        namespace: "shop".into(),
        name: "web".into(),
        addresses: parsed(own),
        kind: PeerKind::Service(PeerService { external: parsed(external), ports }),
    }
}

#[test]
fn a_cluster_tells_whom_a_connection_leads_to_and_takes_no_ones_place() {
    let mut world = World::new();
    let told = |world: &mut World, facts| {
        let now = BootTime::default();
        for news in [PeerNews::Told(Arc::new(facts)), PeerNews::State(ClusterState::Answers)] {
            world.pipeline.learn_cluster(ClusterNews::Peers(news), now);
        }
    };
    told(&mut world, service("10.96.0.7", true));
    let web = Some((Some("k8s/c/shop/deployment/web".to_owned()), "service", None));
    assert_eq!(world.connect("10.96.0.7:80"), web);
    assert_eq!(world.connect("10.96.0.7:81"), None);
    // A proxy may give the node the address itself: the listener is not told, nor is a Service in its place.
    world.run(200, "/usr/sbin/nginx");
    world.listen(200, 200, "127.0.0.7:80");
    assert_eq!(world.connect("127.0.0.7:80"), Some((identity_of("/usr/sbin/nginx"), "listener", Some(200))));
    told(&mut world, service("127.0.0.7", true));
    assert_eq!(world.connect("127.0.0.7:80"), Some((None, "listener", None)));
    // What a Service says to be its address changes nothing of what is known.
    told(&mut world, service("169.254.169.254", false));
    let metadata = Some((Some("metadata/instance".to_owned()), "metadata_address", None));
    assert_eq!(world.connect("169.254.169.254:80"), metadata);
    told(&mut world, service("127.0.0.1", false));
    world.listen(200, 201, "127.0.0.1:80");
    assert_eq!(world.connect("127.0.0.1:80"), Some((identity_of("/usr/sbin/nginx"), "listener", Some(200))));
}

#[test]
fn metadata_services_are_known_by_their_addresses() {
    let mut world = World::new();
    let told = Some((Some("metadata/instance".to_owned()), "metadata_address", None));
    assert_eq!(world.connect("169.254.169.254:80"), told);
    assert_eq!(world.connect("169.254.169.254:53"), None);
}
