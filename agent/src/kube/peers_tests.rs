use std::sync::atomic::{AtomicU32, Ordering};

use proptest::prelude::*;
use serde_json::{Value, json};
use tokio::task::JoinHandle;

use super::super::objects::{List, parse};
use super::super::testing::{LIMIT, Reply, Server, change, pace, pod, replica_set};
use super::*;
use crate::model::kube::Workload;
use crate::model::peer::PeerService;

/// A running pod of [`pod`] with an address. Synthetic, as all objects here; fields as the API server has them.
fn at(number: u32, address: &str) -> Value {
    let mut pod = pod(number);
    pod["status"]["phase"] = json!("Running");
    pod["status"]["podIP"] = json!(address);
    pod["status"]["podIPs"] = json!([{"ip": address}]);
    pod["status"]["hostIP"] = json!("192.0.2.7");
    pod
}

fn changed(mut object: Value, change: impl FnOnce(&mut Value)) -> Value {
    change(&mut object);
    object
}

fn service(change: impl FnOnce(&mut Value)) -> Value {
    let service = json!({
        "metadata": {
            "name": "web", "namespace": "shop", "uid": "s-1", "resourceVersion": "90", "labels": {"app": "web"},
        },
        "spec": {
            "clusterIP": "10.96.0.7", "clusterIPs": ["10.96.0.7"], "type": "ClusterIP", "selector": {"app": "web"},
            "ports": [
                {"name": "https", "protocol": "TCP", "port": 443, "targetPort": 8443},
                {"name": "dns", "protocol": "UDP", "port": 53, "targetPort": 53},
            ],
            "ipFamilies": ["IPv4"], "ipFamilyPolicy": "SingleStack", "sessionAffinity": "None",
        },
        "status": {"loadBalancer": {}},
    });
    changed(service, change)
}

fn endpoint(number: u32, address: &str) -> Value {
    json!({
        "addresses": [address],
        "conditions": {"ready": true, "serving": true, "terminating": false},
        "nodeName": "node-7",
        "targetRef": {
            "kind": "Pod", "namespace": "shop", "name": format!("web-5d9-{number}"),
            "uid": format!("00000000-0000-4000-8000-{number:012}"),
        },
    })
}

fn slice(endpoints: &[Value]) -> Value {
    json!({
        "metadata": {
            "name": "web-x7k2p", "generateName": "web-", "namespace": "shop", "uid": "e-1", "resourceVersion": "95",
            "labels": {
                "kubernetes.io/service-name": "web",
                "endpointslice.kubernetes.io/managed-by": "endpointslice-controller.k8s.io",
            },
            "ownerReferences": [
                {"apiVersion": "v1", "kind": "Service", "name": "web", "uid": "s-1", "controller": true},
            ],
        },
        "addressType": "IPv4",
        "endpoints": endpoints,
        "ports": [{"name": "https", "protocol": "TCP", "port": 8443}, {"name": "dns", "protocol": "UDP", "port": 53}],
    })
}

fn list(items: &[Value]) -> Reply {
    Reply::json(json!({"metadata": {"resourceVersion": "100"}, "items": items}))
}

/// A server that has these, and tells of nothing new.
async fn having(pods: Vec<Value>, services: Vec<Value>, slices: Vec<Value>) -> Server {
    Server::start(move |asked| match asked.path.as_str() {
        _ if asked.is_watch() => Reply::Lines(vec![]),
        PODS_PATH => list(&pods),
        SERVICES_PATH => list(&services),
        SLICES_PATH => list(&slices),
        path if path.contains("/replicasets/") => replica_set(),
        _ => Reply::refused(404),
    })
    .await
}

/// What is told by one who asks.
struct Heard {
    news: mpsc::Receiver<PeerNews>,
    asking: JoinHandle<()>,
    _name: watch::Sender<Option<Arc<str>>>,
}

impl Drop for Heard {
    fn drop(&mut self) {
        self.asking.abort();
    }
}

impl Heard {
    fn of(server: &Server) -> Self {
        let settings = Settings { destinations: true, ..server.settings() };
        let (tell, news) = mpsc::channel(16);
        let (name, named) = watch::channel(Some("c".into()));
        let asking = tokio::spawn(async move { ask(&settings, &tell, named, pace()).await });
        Self { news, asking, _name: name }
    }

    async fn next(&mut self) -> PeerNews {
        tokio::time::timeout(LIMIT, self.news.recv()).await.expect("it is told in time").expect("it goes on")
    }

    /// All that is told until this, by key; what is gone is not in it.
    async fn until(&mut self, is_it: impl Fn(&PeerNews) -> bool) -> HashMap<Arc<str>, Arc<PeerFacts>> {
        let mut all = HashMap::new();
        loop {
            let news = self.next().await;
            let found = is_it(&news);
            match news {
                PeerNews::Told(facts) => _ = all.insert(facts.key.clone(), facts),
                PeerNews::Gone(key) => _ = all.remove(&key),
                _ => {}
            }
            if found {
                return all;
            }
        }
    }

    async fn answers(&mut self) -> HashMap<Arc<str>, Arc<PeerFacts>> {
        self.until(|news| *news == PeerNews::State(ClusterState::Answers)).await
    }

    /// The next thing that is told with this key.
    async fn told(&mut self, key: &str) -> Arc<PeerFacts> {
        let is_it = |news: &PeerNews| matches!(news, PeerNews::Told(facts) if *facts.key == *key);
        self.until(is_it).await.remove(key).expect("it was the last")
    }
}

const WEB: &str = "service/shop/web";

fn of_service(facts: &PeerFacts) -> &PeerService {
    match &facts.kind {
        PeerKind::Service(service) => service,
        PeerKind::Pod(_) => panic!("{facts:?}"),
    }
}

/// `kind name` of the first port, or why there is none.
fn leads(facts: &PeerFacts) -> String {
    shown(&of_service(facts).ports[0].leads)
}

fn shown(leads: &Leads) -> String {
    match leads {
        Leads::To { workload: Workload { kind, name }, doubt } => {
            format!("{kind} {name}{}", doubt.as_ref().map(|doubt| format!("? {doubt}")).unwrap_or_default())
        }
        Leads::Unknown(why) => why.to_string(),
    }
}

fn of_pod(facts: &PeerFacts) -> &PeerPod {
    match &facts.kind {
        PeerKind::Pod(pod) => pod,
        PeerKind::Service(_) => panic!("{facts:?}"),
    }
}

#[tokio::test]
async fn a_service_leads_to_the_workload_of_its_pods() {
    let server = having(
        vec![at(1, "10.244.1.7"), at(2, "10.244.2.8")],
        vec![service(|_| ())],
        vec![slice(&[endpoint(1, "10.244.1.7"), endpoint(2, "10.244.2.8")])],
    )
    .await;
    let told = Heard::of(&server).answers().await;
    assert_eq!(told.len(), 3, "{told:?}");
    let web = &told[WEB];
    assert_eq!((&*web.cluster, &*web.namespace, &*web.name), ("c", "shop", "web"));
    assert_eq!(web.addresses, ["10.96.0.7".parse::<std::net::IpAddr>().unwrap()]);
    let ports: Vec<_> = of_service(web).ports.iter().map(|port| (port.port, shown(&port.leads))).collect();
    assert_eq!(ports, [(443, "deployment web".to_owned())], "of TCP alone");
    let pod = &told["pod/00000000-0000-4000-8000-000000000001"];
    let PeerPod { node, is_on_node, ends, leads } = of_pod(pod);
    let (node, is_on_node, ends, workload) = (node.as_deref(), *is_on_node, *ends, shown(leads));
    assert_eq!((node, is_on_node, ends, &*workload), (Some("node-7"), false, false, "deployment web"));
    assert_eq!(pod.addresses, ["10.244.1.7".parse::<std::net::IpAddr>().unwrap()]);
    let asked = server.asked();
    assert!(asked.iter().all(|it| !it.query.contains("spec.nodeName")), "of all nodes");
    let running = "fieldSelector=status.phase%21%3DSucceeded%2Cstatus.phase%21%3DFailed";
    assert!(asked.iter().filter(|it| it.path == PODS_PATH).all(|it| it.has(running)));
}

#[tokio::test]
async fn who_writes_endpoints_relabels_nobody() {
    let foreign = |change: fn(&mut Value)| changed(endpoint(1, "10.244.1.7"), change);
    let cases = [
        // An address that is no pod's, as by hand.
        (vec![json!({"addresses": ["203.0.113.7"]})], "endpoint 203.0.113.7 is no pod of its namespace"),
        // His own pod, another's address.
        (vec![endpoint(1, "203.0.113.7")], "endpoint 203.0.113.7 is no address of pod web-5d9-1"),
        // Another namespace's pod, said to be, and not said to be.
        (
            vec![foreign(|end| end["targetRef"]["namespace"] = json!("pay"))],
            "endpoint 10.244.1.7 is no pod of its namespace",
        ),
        (
            vec![foreign(|end| end["targetRef"]["uid"] = json!("p-9"))],
            "the pod of endpoint 10.244.1.7 is not known in its namespace",
        ),
        // A pod that shares its node's address: so does all that runs there.
        (vec![endpoint(3, "192.0.2.7")], "endpoint 192.0.2.7 is its node's address"),
        (
            vec![endpoint(1, "10.244.1.7"), endpoint(4, "10.244.1.9")],
            "it leads to deployment web, statefulset db",
        ),
        (vec![], "no endpoint is ready"),
        (
            vec![foreign(|end| end["addresses"] = json!(["web.example"]))],
            "endpoint web.example is no address of pod",
        ),
        (vec![foreign(|end| end["addresses"] = json!([]))], "endpoint  is no address of pod web-5d9-1"),
    ];
    for (endpoints, expected) in cases {
        let pods = vec![
            at(1, "10.244.1.7"),
            changed(at(3, "192.0.2.7"), |pod| pod["spec"]["hostNetwork"] = json!(true)),
            changed(at(4, "10.244.1.9"), |pod| {
                pod["metadata"]["ownerReferences"][0] = json!(
                    {"apiVersion": "apps/v1", "kind": "StatefulSet", "name": "db", "uid": "x", "controller": true}
                );
            }),
            changed(at(5, "10.244.3.3"), |pod| {
                pod["metadata"]["namespace"] = json!("pay");
                pod["metadata"]["uid"] = json!("p-9");
            }),
        ];
        let server = having(pods, vec![service(|_| ())], vec![slice(&endpoints)]).await;
        let told = Heard::of(&server).answers().await;
        assert!(leads(&told[WEB]).starts_with(expected), "{expected}: {}", leads(&told[WEB]));
    }
}

#[tokio::test]
async fn endpoints_that_are_not_ready_do_not_count_and_those_that_end_and_serve_do() {
    let not_ready = |serving: bool| {
        changed(endpoint(9, "203.0.113.7"), |end| {
            end["conditions"] = json!({"ready": false, "serving": serving, "terminating": serving});
        })
    };
    for (serving, expected) in
        [(false, "deployment web"), (true, "the pod of endpoint 203.0.113.7 is not known")]
    {
        let slices = vec![slice(&[endpoint(1, "10.244.1.7"), not_ready(serving)])];
        let server = having(vec![at(1, "10.244.1.7")], vec![service(|_| ())], slices).await;
        let told = Heard::of(&server).answers().await;
        assert!(leads(&told[WEB]).starts_with(expected), "{}", leads(&told[WEB]));
    }
}

#[tokio::test]
async fn what_a_service_says_to_be_its_address_is_kept_apart() {
    let hijack = service(|service| {
        service["spec"]["externalIPs"] =
            json!(["203.0.113.7", "127.0.0.1", "169.254.169.254", "::ffff:198.51.100.1"]);
        service["spec"]["loadBalancerIP"] = json!("198.51.100.2");
        service["status"]["loadBalancer"]["ingress"] =
            json!([{"ip": "198.51.100.3"}, {"hostname": "lb.example"}]);
    });
    let headless = service(|service| {
        service["metadata"]["name"] = json!("headless");
        service["spec"]["clusterIP"] = json!("None");
        service["spec"]["clusterIPs"] = json!(["None"]);
    });
    let mesh = service(|service| {
        service["metadata"]["name"] = json!("mesh");
        service["metadata"]["labels"]["service.kubernetes.io/service-proxy-name"] = json!("mesh");
        service["spec"]["clusterIP"] = json!("10.96.0.8");
        service["spec"]["clusterIPs"] = json!(["10.96.0.8", "fd00:96::8"]);
    });
    let server = having(vec![], vec![hijack, headless, mesh], vec![]).await;
    let told = Heard::of(&server).answers().await;
    assert_eq!(told.len(), 2, "a headless one has no address: {told:?}");
    let external: Vec<_> = of_service(&told[WEB]).external.iter().map(ToString::to_string).collect();
    // Loopback and link-local addresses are each host's own.
    assert_eq!(external, ["203.0.113.7", "198.51.100.1", "198.51.100.3", "198.51.100.2"]);
    let mesh = &told["service/shop/mesh"];
    assert_eq!((mesh.addresses.len(), leads(mesh)), (2, "its traffic is led by mesh".to_owned()));
}

#[tokio::test]
async fn what_changes_is_told_and_what_is_gone() {
    let server = Server::start(|asked| match asked.path.as_str() {
        PODS_PATH if asked.is_watch() => Reply::Lines(vec![
            change("ADDED", at(2, "10.244.2.8")),
            // Being deleted, it has its address for a little longer.
            change(
                "MODIFIED",
                changed(at(1, "10.244.1.7"), |pod| {
                    pod["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
                }),
            ),
            change("DELETED", at(1, "10.244.1.7")),
        ]),
        SLICES_PATH if asked.is_watch() => {
            Reply::Lines(vec![change("MODIFIED", slice(&[endpoint(2, "10.244.2.8")]))])
        }
        _ if asked.is_watch() => Reply::Lines(vec![]),
        PODS_PATH => list(&[at(1, "10.244.1.7")]),
        SERVICES_PATH => list(&[service(|_| ())]),
        SLICES_PATH => list(&[slice(&[endpoint(1, "10.244.1.7"), endpoint(2, "10.244.2.8")])]),
        _ => replica_set(),
    })
    .await;
    let mut heard = Heard::of(&server);
    let (mut pods, mut web) = (HashMap::new(), String::new());
    let first = "pod/00000000-0000-4000-8000-000000000001";
    let mut was_ending = false;
    // In which order the three tell is open; where it ends is not.
    while web != "deployment web" || pods.len() != 1 || pods.contains_key(first) || !was_ending {
        match heard.next().await {
            PeerNews::Told(facts) if *facts.key == *WEB => web = leads(&facts),
            PeerNews::Told(facts) => {
                was_ending |= of_pod(&facts).ends;
                pods.insert(facts.key.to_string(), facts);
            }
            PeerNews::Gone(key) => _ = pods.remove(&*key),
            _ => {}
        }
    }
}

#[tokio::test]
async fn a_service_that_is_gone_from_the_next_list_is_gone() {
    let lists = AtomicU32::new(0);
    let server = Server::start(move |asked| match asked.path.as_str() {
        SERVICES_PATH if asked.is_watch() => {
            Reply::Lines(vec![change("ERROR", json!({"kind": "Status", "code": 410}))])
        }
        SERVICES_PATH if lists.fetch_add(1, Ordering::Relaxed) == 0 => list(&[service(|_| ())]),
        _ if asked.is_watch() => Reply::Lines(vec![]),
        _ => list(&[]),
    })
    .await;
    let mut heard = Heard::of(&server);
    heard.told(WEB).await;
    heard.until(|news| *news == PeerNews::Gone(WEB.into())).await;
}

#[tokio::test]
async fn a_right_that_is_missing_is_silence_and_nothing_is_whole_without_it() {
    let asked_for = AtomicU32::new(0);
    let server = Server::start(move |asked| match asked.path.as_str() {
        _ if asked.is_watch() => Reply::Lines(vec![]),
        SLICES_PATH if asked_for.fetch_add(1, Ordering::Relaxed) < 2 => Reply::refused(403),
        SLICES_PATH => list(&[slice(&[endpoint(1, "10.244.1.7")])]),
        SERVICES_PATH => list(&[service(|_| ())]),
        PODS_PATH => list(&[at(1, "10.244.1.7")]),
        _ => replica_set(),
    })
    .await;
    let mut heard = Heard::of(&server);
    let is_silent =
        |news: &PeerNews| matches!(news, PeerNews::State(ClusterState::Silent(why)) if why.contains("403"));
    let told = heard.until(is_silent).await;
    assert!(!told.contains_key(WEB), "what is behind it is not known");
    let told = heard.answers().await;
    assert_eq!(leads(&told[WEB]), "deployment web");
}

#[tokio::test]
async fn where_owners_cannot_be_read_a_service_is_a_claim() {
    let pods = vec![at(1, "10.244.1.7")];
    let server = Server::start(move |asked| match asked.path.as_str() {
        _ if asked.is_watch() => Reply::Lines(vec![]),
        SLICES_PATH => list(&[slice(&[endpoint(1, "10.244.1.7")])]),
        SERVICES_PATH => list(&[service(|_| ())]),
        PODS_PATH => list(&pods),
        _ => Reply::refused(403),
    })
    .await;
    let told = Heard::of(&server).answers().await;
    assert!(leads(&told[WEB]).starts_with("deployment web? ReplicaSet"), "{}", leads(&told[WEB]));
}

#[tokio::test]
async fn who_fills_his_own_namespace_takes_nobody_elses_room() {
    let flood = |number: u32| {
        changed(slice(&vec![endpoint(1, "10.244.1.7"); 1_000]), |slice| {
            slice["metadata"]["name"] = json!(format!("flood-{number}"));
            slice["metadata"]["namespace"] = json!("flood");
        })
    };
    let mut slices: Vec<_> = (0..17).map(flood).collect();
    slices.push(slice(&[endpoint(1, "10.244.1.7")]));
    let his = service(|service| service["metadata"]["namespace"] = json!("flood"));
    let server = having(vec![at(1, "10.244.1.7")], vec![service(|_| ()), his], slices).await;
    let mut heard = Heard::of(&server);
    let told = heard.answers().await;
    assert_eq!(leads(&told[WEB]), "deployment web");
    assert_eq!(leads(&told["service/flood/web"]), "there are more endpoint slices than are kept");
    let is_counted = |news: &PeerNews| matches!(news, PeerNews::Counters(counters) if counters.refused == 1);
    heard.until(is_counted).await;
}

#[tokio::test]
async fn nobody_is_asked_where_it_is_not_configured() {
    let server = having(vec![], vec![], vec![]).await;
    let (tell, mut news) = mpsc::channel(16);
    let (_name, named) = watch::channel(Some("c".into()));
    ask(&server.settings(), &tell, named, pace()).await;
    drop(tell);
    assert_eq!((news.recv().await, server.asked().len()), (None, 0));
}

proptest! {
    #[test]
    fn any_service_and_any_slice_are_taken_or_left(
        kind in "(Pod|Node|)", namespace in "(shop|pay)", uid in "[a-z0-9-]{0,70}", address in "[0-9a-f.:]{0,20}",
        name in "[a-z.-]{0,260}", port in any::<u16>(),
    ) {
        let slice = changed(slice(&[changed(endpoint(1, &address), |end| {
            (end["targetRef"]["kind"], end["targetRef"]["uid"]) = (json!(kind), json!(uid));
            end["targetRef"]["namespace"] = json!(namespace);
        })]), |slice| slice["metadata"]["labels"]["kubernetes.io/service-name"] = json!(name));
        let slice: EndpointSlice = parse(slice.to_string().as_bytes()).unwrap();
        let service = service(|service| {
            (service["metadata"]["name"], service["spec"]["clusterIPs"]) = (json!(name), json!([address]));
            service["spec"]["ports"][0]["port"] = json!(port);
        });
        let service: Service = parse(service.to_string().as_bytes()).unwrap();
        if let (Some(backs), Some(front)) = (slice.backs(), service.front()) {
            let (namespace, other): (Arc<str>, Arc<str>) = ("shop".into(), "c".into());
            let found = facts(&front, (&namespace, &other, &other), &[&backs], |_| None);
            prop_assert!(found.addresses.len() <= 2);
            // No pod is known.
            let is_unknown = |port: &crate::model::peer::PeerPort| matches!(port.leads, Leads::Unknown(_));
            prop_assert!(of_service(&found).ports.iter().all(is_unknown));
        }
    }

    #[test]
    fn any_answer_is_understood_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = parse::<List<Service>>(&bytes);
        let _ = parse::<List<EndpointSlice>>(&bytes);
        let _ = parse::<Change<EndpointSlice>>(&bytes);
    }
}
