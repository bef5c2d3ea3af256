use std::sync::atomic::{AtomicU32, Ordering};

use proptest::prelude::*;
use serde_json::json;

use super::objects::{Change, List, Object, Pod, parse};
use super::owners::Owners;
use super::settings::Settings;
use super::testing::{Heard, LIMIT, NODE, Reply, Server, change, list, pod, replica_set, workload};
use super::watch::{LINE_BYTES, PODS};
use crate::model::kube::{ClusterNews, ClusterState};

/// A kubelet's list with a pod that it does not know yet, verbatim:
/// <https://github.com/DataDog/datadog-agent>, `pkg/util/kubernetes/kubelet/testdata/podlist_null_pod.json`.
const KUBELET: &[u8] = include_bytes!("../../tests/data/kube/kubelet.json");
/// An API server's list with a mirror pod, verbatim: `podListString` of `pkg/utils/utils_test.go`,
/// <https://github.com/ipdk-io/k8s-infra-offload>.
const MIRROR: &[u8] = include_bytes!("../../tests/data/kube/mirror.json");

type Answer = fn() -> Reply;

fn listed(bytes: &[u8]) -> Vec<Pod> {
    parse::<List<Pod>>(bytes).unwrap().items.unwrap().into_iter().flatten().collect()
}

#[tokio::test]
async fn a_kubelets_pod_is_read_and_its_workload_is_by_its_label() {
    let pods = listed(KUBELET);
    let facts = pods[0].facts(&[]).unwrap();
    assert_eq!((&*facts.namespace, &*facts.name), ("default", "nginx-99d8b564-4r4vq"));
    assert_eq!(facts.service_account.as_deref(), Some("default"));
    assert_eq!(&*facts.uid, "7979cfcd-0751-11e8-a2b8-000c29dea4f6");
    assert_eq!(facts.labels, [("app".into(), "nginx".into())]);
    let container = &facts.containers[0];
    assert_eq!(&*container.name, "nginx");
    assert!(container.id.starts_with("61e83ec5"));
    assert!(container.digest.as_ref().unwrap().starts_with("sha256:285b49d4"));
    assert!(pods[1].facts(&[]).is_none(), "nothing is no pod");
    // Before Kubernetes 1.11 the name's hash was written otherwise than the label's.
    let chain = Owners::new(LIMIT).of(&pods[0], None).await;
    assert_eq!(chain.workload.unwrap().name.as_ref(), "nginx-99d8b564");
    assert!(!chain.is_open && chain.doubt.unwrap().contains("no API server"));
}

#[tokio::test]
async fn a_mirror_is_the_static_pod_that_it_shows() {
    let pods = listed(MIRROR);
    let facts = pods[0].facts(&[]).unwrap();
    assert_eq!(&*facts.uid, "c5a714e26839c594c550317b88301c99");
    assert_eq!(&*facts.key(), "c5a714e26839c594c550317b88301c99 kube-system/kube-controller-manager-node01");
    let chain = Owners::new(LIMIT).of(&pods[0], None).await;
    let workload = chain.workload.unwrap();
    assert_eq!((&*workload.kind, &*workload.name), ("static-pod", "kube-controller-manager"));
    // Who creates pods can write that annotation, but no controller is his node.
    let mut forged = pod(1);
    forged["metadata"]["annotations"]["kubernetes.io/config.mirror"] =
        json!("c5a714e26839c594c550317b88301c99");
    let forged: Pod = serde_json::from_value(forged).unwrap();
    assert_eq!(forged.static_uid(), None);
}

#[tokio::test]
async fn a_pod_is_told_with_its_deployment_and_what_changes_follows() {
    let server = Server::start(|asked| match asked.path.as_str() {
        "/api/v1/pods" if asked.is_watch() && asked.has("resourceVersion=100") => Reply::Lines(vec![
            change("ADDED", pod(2)),
            change("BOOKMARK", json!({"kind": "Pod", "metadata": {"resourceVersion": "150"}})),
            change("MODIFIED", pod(2)),
            change("DELETED", pod(1)),
        ]),
        "/api/v1/pods" if asked.is_watch() => Reply::refused(500),
        "/api/v1/pods" => list([pod(1)]),
        "/apis/apps/v1/namespaces/shop/replicasets/web-5d9" => replica_set(),
        _ => Reply::refused(404),
    })
    .await;
    let mut heard = Heard::of(server.settings());
    assert_eq!(heard.next().await, ClusterNews::State(ClusterState::Asked));
    let pods = heard.answers().await;
    assert_eq!((pods.len(), workload(&pods[0])), (1, "deployment web".to_owned()));
    let facts = &pods[0];
    assert_eq!((&*facts.cluster, facts.owner.as_deref()), ("c", Some("team: web")));
    assert_eq!(facts.workload_doubt, None);
    assert_eq!(facts.labels, [("app".into(), "web".into())]);
    assert_eq!(&*heard.pod().await.name, "web-5d9-2");
    // What has not changed is not told again.
    assert_eq!(heard.next().await, ClusterNews::Gone("00000000-0000-4000-8000-000000000001".into()));
    let asked = server.asked();
    assert!(
        asked.iter().all(|it| !it.path.ends_with("pods") || it.has("fieldSelector=spec.nodeName%3Dnode-7%2Cstatus.phase%21%3DSucceeded%2Cstatus.phase%21%3DFailed"))
    );
    let owners = asked.iter().filter(|it| it.path.contains("replicasets")).count();
    assert_eq!(owners, 1, "one question for all its pods");
}

#[tokio::test]
async fn a_cluster_is_called_by_the_uid_of_its_first_namespace() {
    for (answer, name) in [(200, "c1a2"), (403, "local")] {
        let server = Server::start(move |asked| match asked.path.as_str() {
            "/api/v1/namespaces/kube-system" if answer == 200 => {
                Reply::json(json!({"metadata": {"name": "kube-system", "uid": "c1a2"}}))
            }
            "/api/v1/namespaces/kube-system" => Reply::refused(answer),
            "/api/v1/pods" if asked.is_watch() => Reply::Lines(vec![]),
            "/api/v1/pods" => list([pod(1)]),
            _ => Reply::refused(403),
        })
        .await;
        let settings = Settings { cluster: None, ..server.settings() };
        assert_eq!(&*Heard::of(settings).answers().await[0].cluster, name);
    }
}

#[tokio::test]
async fn an_owner_that_cannot_be_confirmed_is_doubted() {
    let cases: [(Answer, &str, &str); 4] = [
        (|| Reply::refused(403), "deployment web", "pod-template-hash"),
        // Another has its name now, or it was never there.
        (|| Reply::refused(404), "pod web-5d9-1", "no ReplicaSet web-5d9 with the uid"),
        (
            || Reply::json(json!({"metadata": {"name": "web-5d9", "namespace": "shop", "uid": "rs-2"}})),
            "pod web-5d9-1",
            "no ReplicaSet web-5d9 with the uid",
        ),
        // It never leaves its namespace.
        (
            || Reply::json(json!({"metadata": {"name": "web-5d9", "namespace": "pay", "uid": "rs-1"}})),
            "pod web-5d9-1",
            "no ReplicaSet web-5d9 with the uid",
        ),
    ];
    for (reply, expected, doubt) in cases {
        let server = Server::start(move |asked| match asked.path.as_str() {
            "/api/v1/pods" if asked.is_watch() => Reply::Lines(vec![]),
            "/api/v1/pods" => list([pod(1)]),
            _ => reply(),
        })
        .await;
        let pods = Heard::of(server.settings()).answers().await;
        assert_eq!(workload(&pods[0]), expected);
        assert!(pods[0].workload_doubt.as_ref().unwrap().contains(doubt), "{:?}", pods[0].workload_doubt);
    }
}

#[tokio::test]
async fn owners_that_nobody_tells_hold_up_nothing_and_are_told_later() {
    let (until, seen) = (AtomicU32::new(0), |count: &AtomicU32| count.fetch_add(1, Ordering::Relaxed));
    let job = |mut pod: serde_json::Value| {
        pod["metadata"]["ownerReferences"][0] = json!({
            "apiVersion": "batch/v1", "kind": "Job", "name": "nightly", "uid": "j-1", "controller": true,
        });
        pod
    };
    let server = Server::start(move |asked| match asked.path.as_str() {
        "/api/v1/pods" if asked.is_watch() => Reply::Lines(vec![]),
        "/api/v1/pods" => list([job(pod(1)), pod(2)]),
        "/apis/batch/v1/namespaces/shop/jobs/nightly" if seen(&until) == 0 => Reply::refused(503),
        "/apis/batch/v1/namespaces/shop/jobs/nightly" => Reply::json(json!({
            "metadata": {"name": "nightly", "namespace": "shop", "uid": "j-1", "ownerReferences": [{
                "apiVersion": "batch/v1", "kind": "CronJob", "name": "backup", "uid": "c-1", "controller": true,
            }]},
        })),
        _ => replica_set(),
    })
    .await;
    let mut heard = Heard::of(server.settings());
    let pods = heard.answers().await;
    assert!(workload(&pods[0]).starts_with("none: Job nightly cannot be read"), "{}", workload(&pods[0]));
    // By its label, until it is asked again.
    assert_eq!(workload(&pods[1]), "deployment web");
    let mut last = pods;
    // On a slow machine the second is asked for only when questions go on, and is not told again.
    while workload(&last[0]) != "cronjob backup" || last.iter().any(|pod| pod.workload_doubt.is_some()) {
        let pod = heard.pod().await;
        let at = last.iter().position(|known| known.name == pod.name).expect("one of the two");
        last[at] = pod;
    }
    assert_eq!([workload(&last[0]), workload(&last[1])], ["cronjob backup", "deployment web"]);
}

#[tokio::test]
async fn kinds_are_told_apart_by_their_group_and_jobs_by_their_time() {
    let owned = |version: &str, kind: &str, name: &str| {
        let mut pod = pod(1);
        pod["metadata"]["creationTimestamp"] = json!("2024-02-26T18:40:07Z");
        pod["metadata"]["ownerReferences"][0] =
            json!({"apiVersion": version, "kind": kind, "name": name, "uid": "x", "controller": true});
        serde_json::from_value::<Pod>(pod).unwrap()
    };
    for (version, kind, name, expected) in [
        ("apps/v1", "StatefulSet", "db", "statefulset db"),
        ("apps/v1", "DaemonSet", "proxy", "daemonset proxy"),
        ("v1", "ReplicationController", "old", "replicationcontroller old"),
        ("argoproj.io/v1alpha1", "Workflow", "w", "workflow.argoproj.io w"),
        // Made by CronJob backup at 18:40 of that day; a Job of another's that looks like it.
        ("batch/v1", "Job", "backup-28482880", "cronjob backup"),
        ("batch/v1", "Job", "backup-20240101", "job backup-20240101"),
        ("apps/v1", "Stateful/Set", "db", "pod web-5d9-1"),
        ("apps/v1", "StatefulSet", "../db", "pod web-5d9-1"),
        ("Ü/v1", "StatefulSet", "db", "pod web-5d9-1"),
    ] {
        let workload = Owners::new(LIMIT).of(&owned(version, kind, name), None).await.workload.unwrap();
        assert_eq!(format!("{} {}", workload.kind, workload.name), expected);
    }
}

#[tokio::test]
async fn a_watch_that_is_cut_goes_on_and_one_from_too_long_ago_begins_anew() {
    let watches = AtomicU32::new(0);
    let server = Server::start(move |asked| match asked.path.as_str() {
        "/api/v1/pods" if asked.is_watch() => match watches.fetch_add(1, Ordering::Relaxed) {
            0 => {
                let mut half = change("ADDED", pod(3));
                half.truncate(half.len() / 2);
                Reply::Cut(vec![change("ADDED", pod(2)), half])
            }
            // The version of the last line that was whole.
            1 if asked.has("resourceVersion=102") => Reply::Ended(vec![change("ADDED", pod(3))]),
            2 if asked.has("resourceVersion=103") => {
                Reply::Lines(vec![change("ERROR", json!({"kind": "Status", "code": 410}))])
            }
            _ => Reply::Lines(vec![]),
        },
        "/api/v1/pods" => list([pod(1)]),
        _ => replica_set(),
    })
    .await;
    let mut heard = Heard::of(server.settings());
    assert_eq!(heard.answers().await.len(), 1);
    assert_eq!(&*heard.pod().await.name, "web-5d9-2");
    assert_eq!(&*heard.pod().await.name, "web-5d9-3");
    // The new list lacks them.
    let is_gone = |news: &ClusterNews| matches!(news, ClusterNews::Gone(_));
    heard.until(is_gone).await;
    heard.until(is_gone).await;
}

#[tokio::test]
async fn whoever_does_not_answer_is_said_to_be_silent_and_is_asked_again() {
    let cases: [(Answer, &str); 5] = [
        (|| Reply::refused(401), "refused: 401"),
        (|| Reply::refused(403), "refused: 403"),
        (|| Reply::refused(500), "it answered 500"),
        (|| Reply::Whole(200, b"<html>".to_vec()), "not understood"),
        (|| Reply::Endless(vec![b' '; 1 << 16]), "larger than is read"),
    ];
    for (reply, expected) in cases {
        let asked = AtomicU32::new(0);
        let server = Server::start(move |it| match it.path.as_str() {
            "/api/v1/pods" if it.is_watch() => Reply::Lines(vec![]),
            // A page that is too large is asked for in smaller ones.
            "/api/v1/pods" if asked.fetch_add(1, Ordering::Relaxed) < 3 => reply(),
            "/api/v1/pods" => list([pod(1)]),
            _ => replica_set(),
        })
        .await;
        let mut heard = Heard::of(server.settings());
        let why = heard.silent().await;
        assert!(why.contains(expected) && why.contains("since 20"), "{why}");
        assert_eq!(heard.answers().await.len(), 1);
    }
    let nobody = {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        format!("http://{}/", listener.local_addr().unwrap())
    };
    let server = Server::start(|_| Reply::Nothing).await;
    let mut settings = server.settings();
    settings.server.as_mut().unwrap().url = nobody.parse().unwrap();
    assert!(Heard::of(settings).silent().await.contains("no answer"));
}

#[tokio::test]
async fn a_line_without_an_end_is_not_read_on() {
    let watches = AtomicU32::new(0);
    let server = Server::start(move |asked| match asked.path.as_str() {
        "/api/v1/pods" if asked.is_watch() => match watches.fetch_add(1, Ordering::Relaxed) {
            0 => Reply::Endless(vec![b'x'; LINE_BYTES / 4]),
            1 => Reply::Lines(vec![b"garbage\n".to_vec()]),
            2 => Reply::Lines(vec![format!("{}\n", "[".repeat(100_000)).into_bytes()]),
            _ => Reply::Lines(vec![change("ADDED", pod(2))]),
        },
        "/api/v1/pods" => list([pod(1)]),
        _ => replica_set(),
    })
    .await;
    let mut heard = Heard::of(server.settings());
    heard.answers().await;
    let name = heard.pod().await.name.clone();
    assert_eq!(&*name, "web-5d9-2");
    assert_eq!(server.asked().iter().filter(|it| it.path == "/api/v1/pods" && !it.is_watch()).count(), 4);
}

#[tokio::test]
async fn a_token_that_is_made_anew_is_read_anew() {
    let token = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(token.path(), "first\n").unwrap();
    let server = Server::start(|asked| match asked.token.as_str() {
        "second" if asked.is_watch() => Reply::Lines(vec![]),
        "second" => list([pod(1)]),
        _ => Reply::refused(401),
    })
    .await;
    let settings =
        Settings { server: Some(server.access(Some(token.path().to_owned()))), ..server.settings() };
    let mut heard = Heard::of(settings);
    assert!(heard.silent().await.contains("401"));
    std::fs::write(token.path(), "second").unwrap();
    heard.answers().await;
    assert_eq!(server.asked()[0].token, "first");
}

#[tokio::test]
async fn five_hundred_pods_come_in_pages() {
    let server = Server::start(|asked| match asked.path.as_str() {
        "/api/v1/pods" if asked.is_watch() => Reply::Lines(vec![]),
        "/api/v1/pods" => {
            let from = (0..5).find(|page| asked.has(&format!("continue=page-{page}"))).unwrap_or(0);
            let next = if from < 4 { format!("page-{}", from + 1) } else { String::new() };
            let items: Vec<_> = (from * 100..from * 100 + 100).map(pod).collect();
            Reply::json(json!({"metadata": {"resourceVersion": "100", "continue": next}, "items": items}))
        }
        _ => replica_set(),
    })
    .await;
    let pods = Heard::of(server.settings()).answers().await;
    assert_eq!(pods.len(), 500);
    assert!(pods.iter().all(|pod| workload(pod) == "deployment web"));
    assert_eq!(server.asked().iter().filter(|it| it.path.contains("replicasets")).count(), 1);
}

#[tokio::test]
async fn a_list_without_an_end_is_given_up_and_pods_beyond_the_bound_are_counted() {
    let server = Server::start(|asked| match asked.path.as_str() {
        "/api/v1/pods" => Reply::json(json!({"metadata": {"continue": "again"}, "items": []})),
        _ => replica_set(),
    })
    .await;
    assert!(Heard::of(server.settings()).silent().await.contains("larger than is read"));
    let many = u32::try_from(PODS).unwrap() + 10;
    let server = Server::start(move |asked| match asked.path.as_str() {
        "/api/v1/pods" if asked.is_watch() => Reply::Ended(vec![]),
        "/api/v1/pods" => list((0..many).map(|number| {
            let mut pod = pod(number);
            pod["status"] = json!({});
            pod
        })),
        _ => replica_set(),
    })
    .await;
    let mut heard = Heard::of(server.settings());
    assert_eq!(heard.answers().await.len(), PODS);
    let counted = heard.until(|news| matches!(news, ClusterNews::Counters(_))).await;
    let Some(ClusterNews::Counters(counters)) = counted.last() else { panic!("{counted:?}") };
    assert_eq!((counters.refused, counters.lists), (10, 1));
}

#[tokio::test]
async fn a_kubelet_is_asked_again_and_again() {
    let polls = AtomicU32::new(0);
    let kubelet =
        Server::start(move |asked| match (asked.path.as_str(), polls.fetch_add(1, Ordering::Relaxed)) {
            ("/pods", 0) => list([pod(1), {
                let mut other = pod(2);
                other["spec"]["nodeName"] = json!("another");
                other
            }]),
            _ => list([pod(3)]),
        })
        .await;
    let settings = Settings { server: None, kubelet: Some(kubelet.access(None)), ..kubelet.settings() };
    let mut heard = Heard::of(settings);
    let pods = heard.answers().await;
    assert_eq!((pods.len(), workload(&pods[0])), (1, "deployment web".to_owned()));
    assert!(pods[0].workload_doubt.as_ref().unwrap().contains("no API server"));
    assert!(pods[0].source.starts_with("the kubelet http://127.0.0.1:"));
    assert_eq!(&*heard.pod().await.name, "web-5d9-3");
    heard.until(|news| matches!(news, ClusterNews::Gone(_))).await;
}

#[test]
fn what_is_no_name_is_no_pod_and_no_owner() {
    let labels = ["telltale.dev/owner".to_owned(), "team".to_owned()];
    let facts = |change: &dyn Fn(&mut serde_json::Value)| {
        let mut pod = pod(1);
        change(&mut pod);
        serde_json::from_value::<Pod>(pod).unwrap().facts(&labels)
    };
    assert!(facts(&|_| ()).is_some());
    for field in ["name", "namespace", "uid"] {
        for wrong in ["", "a/b", "\u{1b}[2J", &"x".repeat(300)] {
            assert!(facts(&|pod| pod["metadata"][field] = json!(wrong)).is_none(), "{field} {wrong}");
        }
    }
    let owner = |word: &str, team: &str| {
        let facts = facts(&|pod| {
            pod["metadata"]["annotations"]["telltale.dev/owner"] = json!(word);
            pod["metadata"]["labels"]["team"] = json!(team);
        });
        facts.unwrap().owner.map(|owner| owner.to_string())
    };
    assert_eq!(owner("human/alice", "web").as_deref(), Some("human/alice"));
    assert_eq!(owner("a\nb", "web").as_deref(), Some("web"));
    assert_eq!(owner("", &"x".repeat(300)), None);
    let many = facts(&|pod| {
        for number in 0..100 {
            pod["metadata"]["labels"][format!("l{number}")] = json!("v");
        }
    });
    assert_eq!(many.unwrap().labels.len(), 16);
    assert_eq!(NODE, serde_json::from_value::<Pod>(pod(1)).unwrap().node().unwrap());
}

proptest! {
    #[test]
    fn any_answer_is_understood_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = parse::<List<Pod>>(&bytes);
        let _ = parse::<Change<Pod>>(&bytes);
        let _ = parse::<Object>(&bytes);
    }

    #[test]
    fn any_damage_to_a_list_is_survived(at in 0..KUBELET.len(), byte in any::<u8>()) {
        let mut bytes = KUBELET.to_vec();
        bytes[at] = byte;
        if let Ok(list) = parse::<List<Pod>>(&bytes) {
            for pod in list.items.into_iter().flatten().flatten() {
                if let Some(facts) = pod.facts(&["app".to_owned()]) {
                    prop_assert!(facts.key().bytes().all(|byte| byte.is_ascii_graphic()));
                    prop_assert!(facts.name.len() <= 253 && facts.labels.len() <= 16);
                }
            }
        }
    }
}

#[test]
fn only_dns_names_are_names() {
    for name in ["web", "web-7d4b9c6f5", "a.b-c.d", "0"] {
        assert!(super::objects::is_name(name, 253), "{name}");
    }
    for name in ["", ".", "..", "a..b", ".a", "a.", "-a", "a-", "a.-b", "A", "a/b", "a%2fb"] {
        assert!(!super::objects::is_name(name, 253), "{name}");
    }
}

#[tokio::test]
async fn what_a_cluster_refuses_is_told_by_resource_with_what_opens_it() {
    use super::check::{Checked, check};
    let by_name = |found: &[Checked], name: &str| {
        found
            .iter()
            .find(|checked| checked.what == name)
            .cloned()
            .unwrap_or_else(|| panic!("{name}: {found:?}"))
    };
    let server = Server::start(|asked| match asked.path.as_str() {
        "/api/v1/pods" if asked.is_watch() => Reply::Lines(Vec::new()),
        "/api/v1/pods" => list([pod(1)]),
        path if path.contains("/jobs/") => Reply::refused(403),
        path if path.contains("/replicasets/") => Reply::refused(404),
        _ => Reply::json(json!({"metadata": {"uid": "u"}})),
    })
    .await;
    let found = check(&server.settings()).await;
    let served: Vec<_> = found.iter().map(|checked| (checked.what, checked.is_served)).collect();
    let all = ["pods", "pods_watched", "namespaces", "replicasets", "jobs"];
    assert_eq!(served, all.map(|name| (name, name != "jobs")));
    let jobs = by_name(&found, "jobs");
    assert!(jobs.detail.contains("403") && jobs.detail.contains("CronJobs"), "{jobs:?}");
    assert!(jobs.remedy.unwrap().contains("batch/jobs: get"));
    let selector = format!("spec.nodeName%3D{NODE}");
    assert!(server.asked()[0].query.contains(&selector), "{:?}", server.asked()[0]);

    // Destinations take more rights, which are asked for where they are configured.
    let refusing = Server::start(|asked| match asked.path.as_str() {
        "/apis/discovery.k8s.io/v1/endpointslices" => Reply::refused(403),
        _ if asked.is_watch() => Reply::Lines(Vec::new()),
        "/api/v1/services" => Reply::json(json!({"items": []})),
        _ => list([pod(1)]),
    })
    .await;
    let found = check(&Settings { destinations: true, ..refusing.settings() }).await;
    let slices = by_name(&found, "endpointslices");
    assert!(!slices.is_served && slices.remedy.unwrap().contains("discovery.k8s.io/endpointslices: list"));
    assert!(!by_name(&found, "endpointslices_watched").is_served);
    let served = ["destination_pods", "destination_pods_watched", "services", "services_watched"];
    assert!(served.iter().all(|name| by_name(&found, name).is_served), "{found:?}");

    // Another node's, none, and a token that is not taken.
    let settings = Settings { node: "other".to_owned(), ..server.settings() };
    let pods = by_name(&check(&settings).await, "pods");
    assert!(!pods.is_served && pods.remedy.unwrap().contains("--node-name"));
    let refusing = Server::start(|_| Reply::refused(401)).await;
    let found = check(&refusing.settings()).await;
    assert!(found.iter().all(|checked| !checked.is_served && checked.remedy.is_some()), "{found:?}");
    assert!(by_name(&found, "pods").remedy.unwrap().contains("token"));

    // A kubelet is asked for pods alone, and nobody where it is not there.
    let kubelet = Settings { server: None, kubelet: Some(server.access(None)), ..server.settings() };
    assert_eq!(check(&kubelet).await.len(), 1);
    let gone = server.settings();
    drop(server);
    let pods = by_name(&check(&gone).await, "pods");
    assert!(!pods.is_served && pods.detail.contains("no answer"), "{pods:?}");
}

#[tokio::test]
async fn a_namespaces_owner_counts_where_a_pod_says_nothing_and_it_is_configured() {
    for (is_asked, status, owner) in [(true, 200, Some("team: shop")), (true, 403, None), (false, 200, None)]
    {
        let server = Server::start(move |asked| match asked.path.as_str() {
            "/api/v1/pods" if asked.is_watch() => Reply::Lines(vec![]),
            "/api/v1/pods" => {
                let silent = |number| {
                    let mut pod = pod(number);
                    pod["metadata"]["annotations"] = json!({});
                    pod
                };
                list([pod(1), silent(2), silent(3)])
            }
            "/api/v1/namespaces/shop" if status == 200 => Reply::json(json!({"metadata": {
                "name": "shop", "uid": "n-1", "labels": {"telltale.dev/owner": "other"},
                "annotations": {"telltale.dev/owner": "team: shop"},
            }})),
            "/api/v1/namespaces/shop" => Reply::refused(status),
            "/apis/apps/v1/namespaces/shop/replicasets/web-5d9" => replica_set(),
            _ => Reply::refused(404),
        })
        .await;
        let settings = Settings { namespace_owners: is_asked, ..server.settings() };
        let pods = Heard::of(settings).answers().await;
        let owners: Vec<_> = pods.iter().map(|pod| pod.owner.as_deref()).collect();
        assert_eq!(owners, [Some("team: web"), owner, owner], "{is_asked} {status}");
        let asked = server.asked().iter().filter(|it| it.path.starts_with("/api/v1/namespaces")).count();
        assert_eq!(asked, usize::from(is_asked), "once for all its pods");
    }
}
