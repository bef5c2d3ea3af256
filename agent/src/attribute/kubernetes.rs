//! Containers of Kubernetes: by the workload that their pod is a part of, as the cluster tells.
//!
//! Three say which pod a process is in: the cgroup's path, which the kubelet names; the engine's files, root's alone; and
//! the cluster. What the cluster says counts where the other two agree with it. So whoever lies there, or may write there
//! what others see, can at most name the pod that runs here.

use std::sync::Arc;

use crate::model::container::EngineFacts;
use crate::model::identity::{Confidence, Evidence, Identity};
use crate::model::kube::{ClusterState, PodFacts};

use super::container::engine_id;
use super::containers::Containers;
use super::place::Place;
use super::pods::Pods;
use super::{Finding, Resolver, Standing, Subject};

/// Evidence of what a pod is a part of.
pub(super) const WORKLOAD: &str = "workload";

/// Containers of workloads.
#[derive(Debug)]
pub(super) struct Kubernetes;

/// What is known of the pod of a place.
enum Looked {
    /// It is in none.
    InNone,
    /// The cluster has told nothing of it.
    Unknown,
    /// What is said of it does not go together.
    Differs(String),
    /// The pod.
    Found(Arc<PodFacts>),
}

impl Resolver for Kubernetes {
    fn resolve(&self, subject: &Subject<'_>) -> Finding {
        let Subject { place, containers, pods, .. } = *subject;
        let mut evidence = Vec::new();
        let mut say = |kind, detail, confidence| evidence.push(Evidence { kind, detail, confidence });
        if let Some(pod) = &place.pod {
            say("pod_uid", pod.clone(), Confidence::Observed);
        }
        let observed = Confidence::Observed;
        let identity = match look(place, containers, pods) {
            Looked::InNone => None,
            Looked::Unknown => {
                say("pod_unknown", why(pods.state()), observed);
                None
            }
            Looked::Differs(how) => {
                say("pod_differs", how, observed);
                None
            }
            Looked::Found(pod) => {
                if let ClusterState::Silent(why) = pods.state() {
                    let detail =
                        format!("as it was told before the cluster fell silent: {}", why.escape_debug());
                    say("cluster_silent", detail, observed);
                }
                tell(&pod, &mut say);
                // An engine's word is worth more than the pod's state, which comes later.
                let name = engine(place, containers).and_then(|facts| facts.name.clone());
                let id = place.container.as_ref().and_then(engine_id);
                let listed = || Some(pod.container(id?)?.name.clone());
                name.or_else(listed).and_then(|container| identity(&pod, &container))
            }
        };
        // Where the cgroup names no pod, an engine's file alone would make it the key.
        let standing = if place.pod.is_some() { Standing::Key } else { Standing::Blended };
        Finding { identity: identity.map(|identity| (identity, standing)), evidence }
    }
}

/// Service accounts of pods.
#[derive(Debug)]
pub(super) struct ServiceAccount;

impl Resolver for ServiceAccount {
    /// What stands for it is evidence of the pod ([`Kubernetes`]).
    fn resolve(&self, subject: &Subject<'_>) -> Finding {
        let identity = pod_of(subject.place, subject.containers, subject.pods).and_then(|pod| {
            Some(Identity::ServiceAccount {
                cluster: pod.cluster.as_bytes().into(),
                namespace: pod.namespace.as_bytes().into(),
                account: pod.service_account.as_ref()?.as_bytes().into(),
            })
        });
        Finding { identity: identity.map(|identity| (identity, Standing::Blended)), evidence: Vec::new() }
    }
}

/// What the cluster tells of the pod of a place, where engine and cgroup agree with it.
pub(super) fn pod_of(place: &Place, containers: &Containers, pods: &Pods) -> Option<Arc<PodFacts>> {
    match look(place, containers, pods) {
        Looked::Found(pod) => Some(pod),
        _ => None,
    }
}

fn engine<'a>(place: &Place, containers: &'a Containers) -> Option<&'a EngineFacts> {
    let id = engine_id(place.container.as_ref()?)?;
    containers.facts(id).map(|facts| &**facts)
}

fn look(place: &Place, containers: &Containers, pods: &Pods) -> Looked {
    // A cgroup of a pod that is below no container of the host's is the pod's alone.
    if place.container.is_none() {
        return Looked::InNone;
    }
    let engine = engine(place, containers).and_then(|facts| facts.pod.as_ref());
    let Some(uid) = place.pod.as_deref().or_else(|| Some(&engine?.uid)).filter(|uid| !uid.is_empty()) else {
        return Looked::InNone;
    };
    if let Some(engine) = engine.filter(|engine| !engine.uid.is_empty() && *engine.uid != *uid) {
        let named = engine.uid.escape_debug();
        return Looked::Differs(format!("the engine's file says pod {named}, the cgroup {uid}"));
    }
    let Some(pod) = pods.find(uid, engine) else { return Looked::Unknown };
    if let Some(engine) =
        engine.filter(|engine| (&engine.namespace, &engine.name) != (&pod.namespace, &pod.name))
    {
        return Looked::Differs(format!(
            "the engine's file says {}/{}, the cluster {}/{}",
            engine.namespace.escape_debug(),
            engine.name.escape_debug(),
            pod.namespace,
            pod.name
        ));
    }
    Looked::Found(pod.clone())
}

fn identity(pod: &PodFacts, container: &str) -> Option<Identity> {
    let workload = pod.workload.as_ref()?;
    Some(Identity::Kubernetes {
        cluster: pod.cluster.as_bytes().into(),
        namespace: pod.namespace.as_bytes().into(),
        kind: workload.kind.as_bytes().into(),
        workload: workload.name.as_bytes().into(),
        container: container.as_bytes().into(),
    })
}

fn tell(pod: &PodFacts, say: &mut impl FnMut(&'static str, String, Confidence)) {
    let PodFacts { cluster, source, namespace, name, service_account, workload, workload_doubt, .. } = pod;
    let declared = Confidence::Declared;
    say("cluster_pod", format!("{namespace}/{name} of {cluster}, says {source}"), declared);
    if let Some(workload) = workload {
        // What is not confirmed is as its pod says, and so whoever made that.
        let confidence = if workload_doubt.is_some() { Confidence::Claimed } else { declared };
        say(WORKLOAD, format!("{} {}", workload.kind, workload.name), confidence);
    }
    if let Some(doubt) = workload_doubt {
        let kind = if workload.is_some() { "workload_unconfirmed" } else { "workload_unknown" };
        say(kind, doubt.to_string(), Confidence::Observed);
    }
    if let Some(account) = service_account {
        say("service_account", format!("{namespace}/{account}"), declared);
    }
}

/// Why nothing is known of a pod.
fn why(state: &ClusterState) -> String {
    match state {
        ClusterState::NotAsked => "no cluster is asked ([kubernetes] of the configuration)".to_owned(),
        ClusterState::Asked => "the cluster has not answered yet".to_owned(),
        ClusterState::Answers => "the cluster has told of no such pod on this node".to_owned(),
        ClusterState::Silent(why) => format!("the cluster is silent: {}", why.escape_debug()),
    }
}
