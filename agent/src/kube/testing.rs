//! An API server on loopback that answers as a test has it: in order, late, half, wrong, or not at all.

use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use reqwest::Url;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;

use super::settings::{Access, Settings};
use super::watch::{Pace, ask_at};
use crate::model::kube::{ClusterNews, ClusterState, PodFacts};

pub(super) const NODE: &str = "node-7";
pub(super) const LIMIT: Duration = Duration::from_secs(120);

/// What is asked.
#[derive(Clone, Debug, Default)]
pub(super) struct Asked {
    pub(super) path: String,
    pub(super) query: String,
    pub(super) token: String,
}

impl Asked {
    pub(super) fn is_watch(&self) -> bool {
        self.query.contains("watch=1")
    }

    pub(super) fn has(&self, part: &str) -> bool {
        self.query.split('&').any(|it| it == part)
    }
}

/// What is answered.
pub(super) enum Reply {
    Whole(u16, Vec<u8>),
    /// Lines, and then the connection stays.
    Lines(Vec<Vec<u8>>),
    /// The same, and then the answer is over.
    Ended(Vec<Vec<u8>>),
    /// The same, and then the connection is cut.
    Cut(Vec<Vec<u8>>),
    /// This again and again.
    Endless(Vec<u8>),
    /// Nothing, ever.
    Nothing,
}

impl Reply {
    pub(super) fn json(value: Value) -> Self {
        Self::Whole(200, value.to_string().into_bytes())
    }

    pub(super) fn refused(status: u16) -> Self {
        Self::Whole(status, b"{\"kind\":\"Status\"}".to_vec())
    }
}

type Answers = dyn Fn(&Asked) -> Reply + Send + Sync;

/// The server. It ends with this value.
pub(super) struct Server {
    pub(super) url: Url,
    asked: Arc<Mutex<Vec<Asked>>>,
    serving: JoinHandle<()>,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

impl Server {
    pub(super) async fn start(answers: impl Fn(&Asked) -> Reply + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/", listener.local_addr().unwrap()).parse().unwrap();
        let (asked, answers): (_, Arc<Answers>) = (Arc::default(), Arc::new(answers));
        let seen: Arc<Mutex<Vec<Asked>>> = Arc::clone(&asked);
        let serving = tokio::spawn(async move {
            let mut connections = tokio::task::JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                connections.spawn(serve(stream, answers.clone(), seen.clone()));
            }
        });
        Self { url, asked, serving }
    }

    pub(super) fn asked(&self) -> Vec<Asked> {
        self.asked.lock().unwrap().clone()
    }

    pub(super) fn access(&self, token: Option<PathBuf>) -> Access {
        Access { url: self.url.clone(), token, authority: None }
    }

    pub(super) fn settings(&self) -> Settings {
        Settings {
            server: Some(self.access(None)),
            kubelet: None,
            cluster: Some("c".to_owned()),
            node: NODE.to_owned(),
            owner_labels: vec!["telltale.dev/owner".to_owned()],
            namespace_owners: false,
            destinations: false,
        }
    }
}

async fn serve(mut stream: TcpStream, answers: Arc<Answers>, seen: Arc<Mutex<Vec<Asked>>>) {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let Ok(byte) = stream.read_u8().await else { return };
        head.push(byte);
    }
    let head = String::from_utf8(head).unwrap();
    let target = head.split(' ').nth(1).unwrap();
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let token = head.lines().find_map(|line| line.strip_prefix("authorization: Bearer "));
    let asked =
        Asked { path: path.to_owned(), query: query.to_owned(), token: token.unwrap_or_default().to_owned() };
    let reply = answers(&asked);
    seen.lock().unwrap().push(asked);
    // Who asked may have gone.
    let _ = answer(&mut stream, reply).await;
}

async fn answer(stream: &mut TcpStream, reply: Reply) -> std::io::Result<()> {
    const CHUNKED: &[u8] = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\nconnection: close\r\n\r\n";
    let (lines, after) = match reply {
        Reply::Whole(status, body) => {
            let head =
                format!("HTTP/1.1 {status} X\r\ncontent-length: {}\r\nconnection: close\r\n\r\n", body.len());
            stream.write_all(head.as_bytes()).await?;
            return stream.write_all(&body).await;
        }
        Reply::Nothing => return std::future::pending().await,
        Reply::Endless(bytes) => {
            stream.write_all(CHUNKED).await?;
            loop {
                chunk(stream, &bytes).await?;
            }
        }
        Reply::Lines(lines) => (lines, None),
        Reply::Ended(lines) => (lines, Some(&b"0\r\n\r\n"[..])),
        Reply::Cut(lines) => (lines, Some(&b""[..])),
    };
    stream.write_all(CHUNKED).await?;
    for line in &lines {
        chunk(stream, line).await?;
    }
    match after {
        Some(after) => stream.write_all(after).await,
        None => std::future::pending().await,
    }
}

async fn chunk(stream: &mut TcpStream, bytes: &[u8]) -> std::io::Result<()> {
    stream.write_all(format!("{:x}\r\n", bytes.len()).as_bytes()).await?;
    stream.write_all(bytes).await?;
    stream.write_all(b"\r\n").await
}

/// A pod of a ReplicaSet, as the API server tells of it. Synthetic.
pub(super) fn pod(number: u32) -> Value {
    json!({
        "metadata": {
            "name": format!("web-5d9-{number}"), "namespace": "shop", "uid": format!("00000000-0000-4000-8000-{number:012}"),
            "resourceVersion": format!("{}", 100 + number),
            "labels": {"app": "web", "pod-template-hash": "5d9"},
            "annotations": {"telltale.dev/owner": "team: web"},
            "ownerReferences": [{
                "apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "web-5d9", "uid": "rs-1", "controller": true,
            }],
        },
        "spec": {"nodeName": NODE, "serviceAccountName": "web", "containers": [{"name": "nginx"}]},
        "status": {"containerStatuses": [{
            "name": "nginx", "containerID": format!("containerd://{number:064x}"),
            "imageID": format!("registry.example/web@sha256:{number:064x}"),
        }]},
    })
}

pub(super) fn list(pods: impl IntoIterator<Item = Value>) -> Reply {
    let items: Vec<Value> = pods.into_iter().collect();
    Reply::json(json!({"kind": "PodList", "metadata": {"resourceVersion": "100"}, "items": items}))
}

/// The ReplicaSet of [`pod`], of a Deployment.
pub(super) fn replica_set() -> Reply {
    Reply::json(json!({
        "kind": "PartialObjectMetadata",
        "metadata": {"name": "web-5d9", "namespace": "shop", "uid": "rs-1", "ownerReferences": [{
            "apiVersion": "apps/v1", "kind": "Deployment", "name": "web", "uid": "d-1", "controller": true,
        }]},
    }))
}

pub(super) fn change(kind: &str, object: Value) -> Vec<u8> {
    let mut line = json!({"type": kind, "object": object}).to_string().into_bytes();
    line.push(b'\n');
    line
}

pub(super) fn pace() -> Pace {
    let millis = Duration::from_millis;
    let (first, longest) = (millis(10), millis(40));
    Pace { first, longest, poll: millis(20), owners: millis(20), settle: millis(10) }
}

/// What is told by one who asks.
pub(super) struct Heard {
    news: mpsc::Receiver<ClusterNews>,
    asking: JoinHandle<()>,
}

impl Drop for Heard {
    fn drop(&mut self) {
        self.asking.abort();
    }
}

impl Heard {
    pub(super) fn of(settings: Settings) -> Self {
        let (tell, news) = mpsc::channel(16);
        let pace = pace();
        let (name, _) = watch::channel(None);
        let asking = tokio::spawn(async move { ask_at(&settings, &tell, &name, pace).await });
        Self { news, asking }
    }

    pub(super) async fn next(&mut self) -> ClusterNews {
        tokio::time::timeout(LIMIT, self.news.recv()).await.expect("it is told in time").expect("it goes on")
    }

    /// All that comes until this.
    pub(super) async fn until(&mut self, is_it: impl Fn(&ClusterNews) -> bool) -> Vec<ClusterNews> {
        let mut heard = Vec::new();
        loop {
            let news = self.next().await;
            let found = is_it(&news);
            heard.push(news);
            if found {
                return heard;
            }
        }
    }

    pub(super) async fn answers(&mut self) -> Vec<Arc<PodFacts>> {
        let heard = self.until(|news| matches!(news, ClusterNews::State(ClusterState::Answers))).await;
        pods(heard)
    }

    pub(super) async fn silent(&mut self) -> String {
        let heard = self.until(|news| matches!(news, ClusterNews::State(ClusterState::Silent(_)))).await;
        match heard.last() {
            Some(ClusterNews::State(ClusterState::Silent(why))) => why.to_string(),
            other => panic!("{other:?}"),
        }
    }

    /// The next pod that is told.
    pub(super) async fn pod(&mut self) -> Arc<PodFacts> {
        let heard = self.until(|news| matches!(news, ClusterNews::Pod(_))).await;
        pods(heard).pop().unwrap()
    }
}

fn pods(heard: Vec<ClusterNews>) -> Vec<Arc<PodFacts>> {
    heard
        .into_iter()
        .filter_map(|news| if let ClusterNews::Pod(pod) = news { Some(pod) } else { None })
        .collect()
}

/// `kind name`, or why not.
pub(super) fn workload(facts: &PodFacts) -> String {
    match &facts.workload {
        Some(workload) => format!("{} {}", workload.kind, workload.name),
        None => format!("none: {}", facts.workload_doubt.as_deref().unwrap_or_default()),
    }
}
