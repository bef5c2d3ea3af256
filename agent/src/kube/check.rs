//! What `doctor` tries of a cluster: each question that the agent asks, once, and what is lost where it is refused.

use super::client::{Client, Failure, JSON, METADATA};
use super::objects::{List, Pod, parse};
use super::peers::{SERVICES_PATH, SLICES_PATH};
use super::settings::Settings;
use super::watch::{IDLE, KUBELET_BYTES, LINE_BYTES, LIST_BYTES, PODS_PATH, selector};

/// Bytes of an object's metadata.
const METADATA_BYTES: usize = 2 << 20;
/// An object that nobody has: who may read it is told that it is not there, and who may not is refused.
const NOBODYS: &str = "telltale-doctor";

/// One question, and what came of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checked {
    /// What is asked for (`pods`), as evidence and roles call it.
    pub what: &'static str,
    /// Whether it was answered.
    pub is_served: bool,
    /// What was found, or why there is nothing and what is lost.
    pub detail: String,
    /// What to do about it, where there is something.
    pub remedy: Option<String>,
}

impl Checked {
    fn served(what: &'static str, detail: String) -> Self {
        Self { what, is_served: true, detail, remedy: None }
    }

    fn lost(what: &'static str, whom: &str, failure: &Failure, lost: &str, role: &str) -> Self {
        let detail = format!("{whom}: {failure}; {lost}");
        Self { what, is_served: false, detail, remedy: Some(remedy(failure, role)) }
    }
}

/// Asks everything once; a node's name stands in the settings.
pub async fn check(settings: &Settings) -> Vec<Checked> {
    let mut found = Vec::new();
    if let Some(access) = &settings.kubelet {
        let whom = format!("the kubelet {}", access.url);
        let answer = Client::new(access.clone()).get("/pods", &[], JSON, KUBELET_BYTES).await;
        found.push(pods(&whom, answer, settings, "nodes/proxy: get"));
    }
    let Some(access) = &settings.server else { return found };
    let whom = format!("the API server {}", access.url);
    let mut server = Client::new(access.clone());
    if settings.kubelet.is_none() {
        let selector = selector(&settings.node);
        let query = [("fieldSelector", selector.as_str()), ("limit", "1")];
        let answer = server.get(PODS_PATH, &query, JSON, LIST_BYTES).await;
        found.push(pods(&whom, answer, settings, "pods: list"));
        let query = [("watch", "1"), ("fieldSelector", selector.as_str()), ("timeoutSeconds", "1")];
        found.push(match server.lines(PODS_PATH, &query, LINE_BYTES, IDLE).await {
            Ok(_) => Checked::served("pods_watched", whom.clone()),
            Err(failure) => {
                Checked::lost("pods_watched", &whom, &failure, "changes of pods are not known", "pods: watch")
            }
        });
    }
    if settings.destinations {
        check_destinations(&mut server, &whom, &mut found).await;
    }
    let questions = [
        (
            "namespaces",
            // The role that is shipped may read that one alone, which is all that is needed without namespaces' owners.
            format!("/api/v1/namespaces/{}", if settings.namespace_owners { NOBODYS } else { "kube-system" }),
            "the cluster is called `local`, unless kubernetes.cluster names it, and no namespace has an owner",
            "namespaces: get",
        ),
        (
            "replicasets",
            format!("/apis/apps/v1/namespaces/kube-system/replicasets/{NOBODYS}"),
            "Deployments are known by the names of their pods alone, as claims",
            "apps/replicasets: get",
        ),
        (
            "jobs",
            format!("/apis/batch/v1/namespaces/kube-system/jobs/{NOBODYS}"),
            "CronJobs are known by the names of their Jobs alone, as claims",
            "batch/jobs: get",
        ),
    ];
    for (what, path, lost, role) in questions {
        found.push(match server.get(&path, &[], METADATA, METADATA_BYTES).await {
            Ok(_) | Err(Failure::NotFound) => Checked::served(what, format!("{whom}: may be read")),
            Err(failure) => Checked::lost(what, &whom, &failure, lost, role),
        });
    }
    found
}

/// What is asked besides, where destinations are: lists and watches of all namespaces.
async fn check_destinations(server: &mut Client, whom: &str, found: &mut Vec<Checked>) {
    let lost = "connections are told without the pods and Services that they lead to";
    let questions = [
        ("destination_pods", "destination_pods_watched", PODS_PATH, "pods"),
        ("services", "services_watched", SERVICES_PATH, "services"),
        ("endpointslices", "endpointslices_watched", SLICES_PATH, "discovery.k8s.io/endpointslices"),
    ];
    for (listed, watched, path, resource) in questions {
        found.push(match server.get(path, &[("limit", "1")], JSON, LIST_BYTES).await {
            Ok(_) => Checked::served(listed, format!("{whom}: may be listed")),
            Err(failure) => Checked::lost(listed, whom, &failure, lost, &format!("{resource}: list")),
        });
        let query = [("watch", "1"), ("timeoutSeconds", "1")];
        found.push(match server.lines(path, &query, LINE_BYTES, IDLE).await {
            Ok(_) => Checked::served(watched, whom.to_owned()),
            Err(failure) => Checked::lost(watched, whom, &failure, lost, &format!("{resource}: watch")),
        });
    }
}

fn pods(whom: &str, answer: Result<Vec<u8>, Failure>, settings: &Settings, role: &str) -> Checked {
    let node = &settings.node;
    let listed = answer
        .and_then(|bytes| parse::<List<Pod>>(&bytes).map_err(Failure::Malformed))
        .map(|list| list.items.into_iter().flatten().flatten().any(|pod| pod.node() == Some(node.as_str())));
    match listed {
        Ok(true) => Checked::served("pods", format!("{whom} tells of those of node {node:?}")),
        Ok(false) => Checked {
            what: "pods",
            is_served: false,
            detail: format!("{whom} answers, and knows no pod of node {node:?}"),
            remedy: Some("name the node as the cluster does: --node-name, or node_name".to_owned()),
        },
        Err(failure) => Checked::lost("pods", whom, &failure, "pods are told by their images", role),
    }
}

fn remedy(failure: &Failure, role: &str) -> String {
    match failure {
        Failure::Refused(reqwest::StatusCode::UNAUTHORIZED) => {
            "give a token that the cluster takes: kubernetes.token_file, or the pod's service account"
                .to_owned()
        }
        Failure::Refused(_) => format!("allow it in the role of the agent's account: {role}"),
        Failure::File(_) => "see kubernetes.token_file and kubernetes.ca_file".to_owned(),
        Failure::Unreachable(_) => {
            "see kubernetes.server, or kubernetes.kubelet: address, certificates, network policies".to_owned()
        }
        _ => "see whether that is the address of an API server, or kubelet".to_owned(),
    }
}
