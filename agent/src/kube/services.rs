//! Services and what is behind them. Pure: objects in, facts out.
//!
//! Who may make Services in a namespace writes what he likes into them, and, in clusters that were made before Kubernetes
//! 1.22, into their EndpointSlices too (<https://github.com/kubernetes/kubernetes/issues/103675>). What he cannot choose is a
//! Service's own address, which the API server gives out, and the address of a pod, which its node tells. So a Service has a
//! workload's name where each of its endpoints is a pod of its own namespace, by uid and by address. What he says to be its
//! address besides (`externalIPs`: <https://github.com/kubernetes/kubernetes/issues/97076>) gives nothing a name.
//!
//! Fields are those of <https://kubernetes.io/docs/reference/kubernetes-api/service-resources/service-v1/> and
//! <https://kubernetes.io/docs/reference/kubernetes-api/service-resources/endpoint-slice-v1/>.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;

use serde::Deserialize;

use super::objects::{ADDRESSES, Ip, Metadata, address, named};
use crate::model::kube::Workload;
use crate::model::peer::{Leads, PeerFacts, PeerKind, PeerPod, PeerPort, PeerService};

/// Ports that are kept of a Service.
const PORTS: usize = 64;
/// Addresses that are kept of those that a Service says are its.
const EXTERNAL: usize = 8;
/// Workloads that are named where a Service leads to several.
const NAMED: usize = 4;
/// Names the Service whose endpoints a slice has.
const SERVICE_NAME: &str = "kubernetes.io/service-name";
/// Has kube-proxy pass over a Service
/// (<https://kubernetes.io/docs/reference/labels-annotations-taints/#servicekubernetesioservice-proxy-name>).
const PROXY_NAME: &str = "service.kubernetes.io/service-proxy-name";
/// What ports are of where they do not say.
const TCP: &str = "TCP";

/// A Service.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Service {
    pub(super) metadata: Metadata,
    spec: Spec,
    status: Status,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Spec {
    #[serde(rename = "clusterIP")]
    cluster_ip: Option<String>,
    #[serde(rename = "clusterIPs")]
    cluster_ips: Option<Vec<String>>,
    #[serde(rename = "externalIPs")]
    external_ips: Option<Vec<String>>,
    #[serde(rename = "loadBalancerIP")]
    load_balancer_ip: Option<String>,
    ports: Option<Vec<Port>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Status {
    load_balancer: Option<LoadBalancer>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct LoadBalancer {
    ingress: Option<Vec<Ip>>,
}

#[derive(Clone, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(default)]
struct Port {
    name: Option<String>,
    port: Option<u16>,
    protocol: Option<String>,
}

/// Endpoints of a Service, or some of them.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct EndpointSlice {
    pub(super) metadata: Metadata,
    endpoints: Option<Vec<Endpoint>>,
    ports: Option<Vec<Port>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Endpoint {
    addresses: Option<Vec<String>>,
    conditions: Option<Conditions>,
    target_ref: Option<TargetRef>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Conditions {
    ready: Option<bool>,
    serving: Option<bool>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct TargetRef {
    kind: String,
    namespace: String,
    name: String,
    uid: String,
}

impl Port {
    fn is_tcp(&self) -> bool {
        self.protocol.as_deref().is_none_or(|protocol| protocol == TCP)
    }

    fn name(&self) -> &str {
        self.name.as_deref().unwrap_or_default()
    }
}

/// What is kept of a Service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Front {
    name: Arc<str>,
    addresses: Vec<IpAddr>,
    external: Vec<IpAddr>,
    /// Number and name.
    ports: Vec<(u16, Box<str>)>,
    /// Who leads its traffic, where it is not kube-proxy.
    proxy: Option<Box<str>>,
}

/// What is kept of a slice.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Backs {
    service: Arc<str>,
    ports: Vec<Box<str>>,
    /// Those to which something is led.
    pub(super) ends: Vec<Back>,
}

/// An endpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Back {
    addresses: Vec<String>,
    /// The pod that it says it is, of the slice's own namespace.
    pod: Option<Arc<str>>,
}

/// What a pod is known by, as far as endpoints go: its uid in the API server.
pub(super) fn pod_key(uid: &str) -> Arc<str> {
    format!("pod/{uid}").into()
}

impl Service {
    /// What is kept of it; `None`: it has no address, or cannot be one.
    pub(super) fn front(&self) -> Option<Front> {
        let Spec { cluster_ip, cluster_ips, external_ips, load_balancer_ip, ports } = &self.spec;
        let own = cluster_ips.iter().flatten().chain(cluster_ip);
        let balancer =
            self.status.load_balancer.iter().flat_map(|balancer| balancer.ingress.iter().flatten());
        let balancers = balancer.filter_map(|one| one.ip.as_ref()).chain(load_balancer_ip);
        let external = external_ips.iter().flatten().chain(balancers);
        let ports = ports.iter().flatten().filter(|port| port.is_tcp());
        let front = Front {
            name: named(&self.metadata.name)?,
            addresses: first(own, ADDRESSES),
            external: first(external, EXTERNAL),
            ports: ports.filter_map(|port| Some((port.port?, port.name().into()))).take(PORTS).collect(),
            proxy: self.metadata.label(PROXY_NAME).map(Into::into),
        };
        let has_address = !front.addresses.is_empty() || !front.external.is_empty();
        (has_address && !front.ports.is_empty()).then_some(front)
    }
}

/// Addresses that are ones, each once.
fn first<'a>(texts: impl Iterator<Item = &'a String>, most: usize) -> Vec<IpAddr> {
    let mut found: Vec<IpAddr> = Vec::new();
    for address in texts.filter_map(|text| address(text)) {
        if found.len() < most && !found.contains(&address) {
            found.push(address);
        }
    }
    found
}

impl EndpointSlice {
    /// What is kept of it; `None`: it is no Service's.
    pub(super) fn backs(&self) -> Option<Backs> {
        let service = named(self.metadata.label(SERVICE_NAME)?)?;
        let namespace = &self.metadata.namespace;
        // Where none is ready, proxies lead to those that end and still serve.
        let serves =
            |conditions: &Conditions| conditions.ready.unwrap_or(true) || conditions.serving.unwrap_or(false);
        let ends = self.endpoints.iter().flatten();
        let ends = ends.filter(|end| end.conditions.as_ref().is_none_or(serves)).map(|end| {
            let is_pod = |target: &&TargetRef| target.kind == "Pod" && target.namespace == *namespace;
            Back {
                addresses: end.addresses.iter().flatten().cloned().collect(),
                pod: end.target_ref.as_ref().filter(is_pod).map(|target| pod_key(&target.uid)),
            }
        });
        let ports = self.ports.iter().flatten().filter(|port| port.is_tcp());
        Some(Backs { service, ports: ports.map(|port| port.name().into()).collect(), ends: ends.collect() })
    }
}

impl Back {
    /// The workload that it is a part of; `Err`: why it is none of the namespace's.
    fn leads<'a>(
        &self,
        namespace: &str,
        pod: &impl Fn(&str) -> Option<&'a PeerFacts>,
    ) -> Result<(&'a Workload, Option<&'a Arc<str>>), String> {
        let named = || self.addresses.first().map_or("", String::as_str).escape_debug().to_string();
        let Some(key) = &self.pod else {
            return Err(format!("endpoint {} is no pod of its namespace", named()));
        };
        let facts = pod(key).filter(|facts| *facts.namespace == *namespace);
        let Some((facts, PeerKind::Pod(PeerPod { is_on_node, leads, .. }))) =
            facts.map(|facts| (facts, &facts.kind))
        else {
            return Err(format!("the pod of endpoint {} is not known in its namespace", named()));
        };
        let is_its = |text: &String| address(text).is_some_and(|address| facts.addresses.contains(&address));
        if self.addresses.is_empty() || !self.addresses.iter().all(is_its) {
            return Err(format!("endpoint {} is no address of pod {}", named(), facts.name));
        }
        if *is_on_node {
            return Err(format!("endpoint {} is its node's address", named()));
        }
        match leads {
            Leads::To { workload, doubt } => Ok((workload, doubt.as_ref())),
            Leads::Unknown(why) => Err(format!("pod {}: {why}", facts.name)),
        }
    }
}

/// What is told of a Service: `backs` are all slices of its namespace, `pod` finds one by its key.
pub(super) fn facts<'a>(
    front: &Front,
    (namespace, cluster, source): (&Arc<str>, &Arc<str>, &Arc<str>),
    backs: &[&Backs],
    pod: impl Fn(&str) -> Option<&'a PeerFacts>,
) -> PeerFacts {
    let own: Vec<&Backs> = backs.iter().filter(|backs| backs.service == front.name).copied().collect();
    let ports = front.ports.iter().map(|(port, name)| {
        let of_port = own.iter().filter(|backs| backs.ports.contains(name));
        let ends = of_port.flat_map(|backs| &backs.ends);
        let leads = match &front.proxy {
            Some(proxy) => Leads::Unknown(format!("its traffic is led by {}", proxy.escape_debug()).into()),
            None => leads(ends, namespace, &pod),
        };
        PeerPort { port: *port, leads }
    });
    PeerFacts {
        key: format!("service/{namespace}/{}", front.name).into(),
        cluster: cluster.clone(),
        source: source.clone(),
        namespace: namespace.clone(),
        name: front.name.clone(),
        addresses: front.addresses.clone(),
        kind: PeerKind::Service(PeerService { external: front.external.clone(), ports: ports.collect() }),
    }
}

/// The one workload that all endpoints are of.
fn leads<'a, 'b>(
    ends: impl Iterator<Item = &'b Back>,
    namespace: &str,
    pod: &impl Fn(&str) -> Option<&'a PeerFacts>,
) -> Leads {
    let (mut workloads, mut doubt) = (BTreeSet::new(), None);
    for end in ends {
        match end.leads(namespace, pod) {
            Ok((Workload { kind, name }, doubted)) => {
                workloads.insert((kind, name));
                doubt = doubt.or(doubted);
            }
            Err(why) => return Leads::Unknown(why.into()),
        }
    }
    match workloads.first() {
        None => Leads::Unknown("no endpoint is ready".into()),
        Some((kind, name)) if workloads.len() == 1 => {
            let workload = Workload { kind: Arc::clone(kind), name: Arc::clone(name) };
            Leads::To { workload, doubt: doubt.cloned() }
        }
        Some(_) => {
            let all: Vec<_> =
                workloads.iter().take(NAMED).map(|(kind, name)| format!("{kind} {name}")).collect();
            Leads::Unknown(format!("it leads to {}", all.join(", ")).into())
        }
    }
}
