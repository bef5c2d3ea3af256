use super::*;
use crate::model::peer::PeerService;

const POD: &str = "10.244.1.7";
const SERVICE_ADDRESS: &str = "10.96.0.7";

fn at(seconds: u64) -> BootTime {
    BootTime::from_ns(seconds * SECOND_NS)
}

fn to(name: &str) -> Leads {
    Leads::To { workload: Workload { kind: "deployment".into(), name: name.into() }, doubt: None }
}

fn facts(key: &str, addresses: &[&str], kind: PeerKind) -> PeerFacts {
    PeerFacts {
        key: key.into(),
        cluster: "c".into(),
        source: "the API server".into(),
        namespace: "shop".into(),
        name: key.into(),
        addresses: addresses.iter().map(|address| address.parse().unwrap()).collect(),
        kind,
    }
}

fn pod(key: &str, address: &str, leads: Leads) -> PeerFacts {
    let pod = PeerPod { node: Some("node-7".into()), is_on_node: false, ends: false, leads };
    facts(key, &[address], PeerKind::Pod(pod))
}

fn changed(mut facts: PeerFacts, change: impl FnOnce(&mut PeerPod)) -> PeerFacts {
    if let PeerKind::Pod(pod) = &mut facts.kind {
        change(pod);
    }
    facts
}

fn service(key: &str, address: &[&str], external: &[&str], leads: Leads) -> PeerFacts {
    let external = external.iter().map(|address| address.parse().unwrap()).collect();
    let service = PeerService { external, ports: vec![PeerPort { port: 443, leads }] };
    facts(key, address, PeerKind::Service(service))
}

/// All of these are told at second 10.
fn peers(all: impl IntoIterator<Item = PeerFacts>) -> Peers {
    let mut peers = Peers::default();
    peers.at(at(10));
    all.into_iter().for_each(|facts| peers.learn(PeerNews::Told(Arc::new(facts))));
    peers.learn(PeerNews::State(ClusterState::Answers));
    peers
}

fn question(to: &str, port: u16, seconds: u64) -> Question {
    let endpoint = Endpoint { address: to.parse().unwrap(), port, mapped: false };
    Question { asked: endpoint, connected: endpoint, is_tcp: true, at: Some(at(seconds)) }
}

/// Identity, confidence, and the kinds of evidence.
fn told(peers: &Peers, question: Question) -> Option<(Option<String>, Confidence, Vec<&'static str>)> {
    let Destination { identity, evidence, confidence, .. } = peers.find(question)?;
    let kinds = evidence.iter().map(|found| found.kind).collect();
    Some((identity.map(|identity| identity.to_string()), confidence, kinds))
}

/// The same, of the first two.
fn name(peers: &Peers, question: Question) -> Option<String> {
    told(peers, question)?.0
}

const WEB: &str = "k8s/c/shop/deployment/web";

#[test]
fn a_pods_address_is_its_workloads_at_any_port() {
    let peers = peers([pod("web-1", POD, to("web"))]);
    let expected = Some((Some(WEB.to_owned()), Confidence::Declared, vec!["pod"]));
    assert_eq!(told(&peers, question(POD, 8080, 11)), expected);
    assert_eq!(told(&peers, Question { is_tcp: false, ..question(POD, 53, 11) }), expected);
    assert_eq!(told(&peers, question("10.244.1.8", 8080, 11)), None);
}

#[test]
fn before_all_is_told_nothing_is() {
    let mut peers = Peers::default();
    peers.learn(PeerNews::State(ClusterState::Asked));
    peers.learn(PeerNews::Told(Arc::new(pod("web-1", POD, to("web")))));
    assert_eq!(told(&peers, question(POD, 80, 11)), None);
    // It may fall silent before it has told all.
    peers.learn(PeerNews::State(ClusterState::Silent("403".into())));
    assert_eq!(told(&peers, question(POD, 80, 11)), None);
}

#[test]
fn a_service_is_the_workload_behind_it_at_its_own_address_and_port() {
    let peers = peers([service("web", &[SERVICE_ADDRESS], &[], to("web"))]);
    let expected = Some((Some(WEB.to_owned()), Confidence::Declared, vec![SERVICE]));
    assert_eq!(told(&peers, question(SERVICE_ADDRESS, 443, 11)), expected);
    assert_eq!(told(&peers, question(SERVICE_ADDRESS, 80, 11)), None);
    assert_eq!(told(&peers, Question { is_tcp: false, ..question(SERVICE_ADDRESS, 443, 11) }), None);
}

#[test]
fn a_service_of_several_workloads_is_evidence() {
    let peers = peers([service("web", &[SERVICE_ADDRESS], &[], Leads::Unknown("it leads to a, b".into()))]);
    let expected = (None, Confidence::Declared, vec![SERVICE, "workload_unknown"]);
    assert_eq!(told(&peers, question(SERVICE_ADDRESS, 443, 11)), Some(expected));
}

#[test]
fn what_a_service_says_to_be_its_address_names_nobody_and_takes_no_name_from_the_internet() {
    let hijack = || service("evil", &["10.96.0.66"], &["203.0.113.7", POD, SERVICE_ADDRESS], to("evil"));
    let nobody = peers([hijack()]);
    let expected = Some((None, Confidence::Declared, vec!["service_external"]));
    assert_eq!(told(&nobody, question("203.0.113.7", 443, 11)), expected);
    // Proxies do lead what goes to a pod, or another Service, to him: then whose it is cannot be told.
    let web = [pod("web-1", POD, to("web")), service("web", &[SERVICE_ADDRESS], &[], to("web")), hijack()];
    let others = peers(web);
    for address in [POD, SERVICE_ADDRESS] {
        let (name, _, kinds) = told(&others, question(address, 443, 11)).unwrap();
        assert_eq!(name, None);
        assert!(kinds.contains(&"service_external"), "{kinds:?}");
    }
    // Nor was it his when he is gone.
    let mut gone = peers([hijack()]);
    gone.learn(PeerNews::Gone("evil".into()));
    assert_eq!(told(&gone, question("203.0.113.7", 443, 11)), None);
    assert_eq!(told(&gone, question("10.96.0.66", 443, 11)).unwrap().2, ["service_gone"]);
    // At another port than his nothing is led away.
    assert_eq!(name(&others, question(POD, 8080, 11)).as_deref(), Some(WEB));
}

#[test]
fn an_address_that_several_have_is_nobodys_unless_they_are_one_workload() {
    let same = peers([pod("web-1", POD, to("web")), pod("web-2", POD, to("web"))]);
    assert_eq!(name(&same, question(POD, 80, 11)).as_deref(), Some(WEB));
    let shared = peers([pod("web-1", POD, to("web")), pod("forged", POD, to("evil"))]);
    let (name, _, kinds) = told(&shared, question(POD, 80, 11)).unwrap();
    assert_eq!((name, kinds), (None, vec!["pod", "pod", "address_shared"]));
    // The same name in another namespace is another.
    let foreign = PeerFacts { namespace: "evil".into(), ..pod("x", POD, to("web")) };
    assert_eq!(self::name(&peers([pod("web-1", POD, to("web")), foreign]), question(POD, 80, 11)), None);
    let unknown = peers([pod("web-1", POD, to("web")), pod("x", POD, Leads::Unknown("later".into()))]);
    assert_eq!(self::name(&unknown, question(POD, 80, 11)), None);
}

#[test]
fn a_nodes_address_is_no_pods() {
    let on_node = |key| changed(pod(key, POD, to("proxy")), |pod| pod.is_on_node = true);
    let peers = peers([on_node("proxy-1"), on_node("proxy-2"), pod("forged", POD, to("web"))]);
    let found = peers.find(question(POD, 6443, 11)).unwrap();
    assert_eq!(found.identity, None);
    let node = found.evidence.iter().find(|found| found.kind == "node_address").unwrap();
    assert_eq!(node.detail, "shop/proxy-1 shop/proxy-2");
}

#[test]
fn an_address_that_was_another_pods_names_nobody() {
    let mut peers = peers([pod("web-1", POD, to("web"))]);
    peers.at(at(20));
    peers.learn(PeerNews::Gone("web-1".into()));
    peers.at(at(32));
    let found = peers.find(question(POD, 80, 31)).unwrap();
    assert_eq!((found.identity, found.evidence[0].kind), (None, "pod_gone"));
    assert_eq!(found.evidence[0].detail, "shop/web-1 on node-7, until 12 s ago");
    // Another has it now: what was connected before that was told is nobody's.
    peers.learn(PeerNews::Told(Arc::new(pod("db-1", POD, to("db")))));
    let (name, _, kinds) = told(&peers, question(POD, 80, 31)).unwrap();
    assert_eq!((name, kinds), (None, vec!["pod", "pod_gone", "address_unsure"]));
    let after = question(POD, 80, 33);
    assert_eq!(self::name(&peers, after).as_deref(), Some("k8s/c/shop/deployment/db"));
    assert_eq!(self::name(&peers, Question { at: None, ..after }), None, "connected before the agent looked");
    peers.sweep(at(320));
    let kinds = told(&peers, after).unwrap().2;
    assert_eq!(kinds, ["pod"], "what has been gone for long is forgotten");
    // Being deleted, its address may be the next one's.
    peers.learn(PeerNews::Told(Arc::new(changed(pod("db-1", POD, to("db")), |pod| pod.ends = true))));
    assert_eq!(told(&peers, question(POD, 80, 400)).unwrap(), (None, Confidence::Declared, vec!["pod_ends"]));
}

#[test]
fn what_is_only_claimed_is_a_claim() {
    let workload = Workload { kind: "deployment".into(), name: "web".into() };
    let leads = Leads::To { workload, doubt: Some("403".into()) };
    let peers = peers([pod("web-1", POD, leads)]);
    let expected = (Some(WEB.to_owned()), Confidence::Claimed, vec!["pod", "workload_unconfirmed"]);
    assert_eq!(told(&peers, question(POD, 80, 11)), Some(expected));
}

#[test]
fn a_cluster_that_is_silent_is_believed_for_a_while() {
    let mut peers = peers([pod("web-1", POD, to("web"))]);
    peers.learn(PeerNews::State(ClusterState::Silent("down".into())));
    peers.at(at(39));
    let soon = told(&peers, question(POD, 80, 39)).unwrap();
    assert_eq!((soon.0.as_deref(), soon.2), (Some(WEB), vec!["pod", "cluster_silent"]));
    peers.at(at(40));
    assert_eq!(name(&peers, question(POD, 80, 40)), None);
    let silent = |peers: &Peers| {
        peers.figures().into_iter().find(|(name, _)| *name == "peer_silent_seconds").unwrap().1
    };
    assert_eq!(silent(&peers), 30);
    peers.learn(PeerNews::State(ClusterState::Answers));
    assert_eq!(name(&peers, question(POD, 80, 40)).as_deref(), Some(WEB));
    assert_eq!(silent(&peers), 0);
}

#[test]
fn where_an_endpoint_was_chosen_in_the_services_place_both_are_told() {
    let all = [
        service("web", &[SERVICE_ADDRESS], &[], Leads::Unknown("it leads to a, b".into())),
        pod("web-1", POD, to("web")),
    ];
    let peers = peers(all);
    let asked = question(SERVICE_ADDRESS, 443, 11).asked;
    let both = Question { asked, ..question(POD, 8443, 11) };
    let (name, _, kinds) = told(&peers, both).unwrap();
    assert_eq!((name.as_deref(), kinds), (Some(WEB), vec!["pod", SERVICE, "workload_unknown"]));
}

#[test]
fn any_number_is_bounded_and_whose_addresses_are_kept_is_not_driven_out() {
    let mut peers = peers([pod("web-1", POD, to("web"))]);
    for number in 1..PEERS {
        let address = IpAddr::V6((0xfd00_u128 << 112 | number as u128).into()).to_string();
        peers.learn(PeerNews::Told(Arc::new(pod(&number.to_string(), &address, to("x")))));
    }
    assert_eq!(name(&peers, question(POD, 80, 11)).as_deref(), Some(WEB));
    // One that is not kept is not forgotten altogether where it says that a known address is its.
    peers.learn(PeerNews::Told(Arc::new(pod("one more", "10.244.1.9", to("x")))));
    peers.learn(PeerNews::Told(Arc::new(pod("forged", POD, to("evil")))));
    assert_eq!(name(&peers, question(POD, 80, 11)), None);
    assert_eq!(told(&peers, question("10.244.1.9", 80, 11)), None);
    peers.learn(PeerNews::Gone("7".into()));
    peers.learn(PeerNews::Told(Arc::new(pod("one more", "10.244.1.9", to("x")))));
    assert!(name(&peers, question("10.244.1.9", 80, 11)).is_some());
    assert_eq!((peers.known.len(), peers.evicted, peers.not_kept), (PEERS, 1, 2));
    // Of one address, too.
    let many = self::peers((0..600).map(|number| service(&number.to_string(), &[], &["192.0.2.1"], to("x"))));
    let found = many.find(question("192.0.2.1", 443, 11)).unwrap();
    let kinds: Vec<_> = found.evidence.iter().map(|found| found.kind).collect();
    assert_eq!(kinds, ["service_external", "address_shared"]);
}

#[test]
fn nothing_is_left_of_what_is_forgotten() {
    let mut peers =
        peers([pod("web-1", POD, to("web")), service("web", &[SERVICE_ADDRESS], &[POD], to("web"))]);
    peers.learn(PeerNews::Told(Arc::new(pod("web-1", "10.244.1.8", to("web")))));
    assert_eq!(told(&peers, question(POD, 80, 11)), None, "its address is another now");
    peers.learn(PeerNews::Gone("web-1".into()));
    peers.learn(PeerNews::Gone("web".into()));
    peers.sweep(at(400));
    assert!(peers.known.is_empty() && peers.by_address.is_empty());
}
