//! The agent's side of the control socket.

use std::fs;
use std::io;
use std::os::unix::fs::{FileTypeExt as _, PermissionsExt as _};
use std::os::unix::net::UnixListener as StdListener;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::connect_info::{ConnectInfo, Connected};
use axum::extract::{DefaultBodyLimit, FromRequest as _, Path as UrlPath, RawQuery, Request, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::serve::IncomingStream;
use percent_encoding::percent_decode_str;
use serde::Serialize;
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio::time::timeout;

use super::api::{CREDENTIALS, DECISIONS, Decision, Failure, IDENTITIES, PROCESSES, Who};
use crate::life::store::{Store, StoreError};

/// Requests under way; others are refused. Each may hold a page.
const AT_ONCE: usize = 4;
/// Questions that wait for the event loop.
const ASKED: usize = 16;
/// For a request's body, and for an answer.
const WITHIN: Duration = Duration::from_secs(10);
/// Bytes of a request's body.
const BODY_BYTES: usize = 64 << 10;
/// The socket's permissions: the agent's user and group.
const MODE: u32 = 0o660;

/// The socket cannot be had.
#[derive(Debug, thiserror::Error)]
#[error("making the control socket {path}: {source}; `telltale who` cannot ask this agent")]
pub struct ControlError {
    path: PathBuf,
    source: io::Error,
}

/// A question that only the event loop can answer.
#[derive(Debug)]
pub struct AskProcess {
    /// Of which process.
    pub pid: u32,
    /// Where to answer.
    pub reply: oneshot::Sender<Option<Who>>,
}

/// A socket that nobody is answered at yet. Its file is removed when this, or what came of it, is dropped.
#[derive(Debug)]
pub struct Control {
    listener: StdListener,
    file: SocketFile,
}

#[derive(Debug)]
struct SocketFile(PathBuf);

impl Drop for SocketFile {
    fn drop(&mut self) {
        // Whoever has removed it before was quicker.
        let _ = fs::remove_file(&self.0);
    }
}

impl Control {
    /// Makes the socket, in the place of one that an agent left behind. The caller is the only agent of this host.
    ///
    /// # Errors
    /// Where it cannot be made: then the agent runs without.
    pub fn bind(path: &Path) -> Result<Self, ControlError> {
        let fail = |source| ControlError { path: path.to_owned(), source };
        match fs::symlink_metadata(path) {
            Ok(found) if found.file_type().is_socket() => fs::remove_file(path).map_err(fail)?,
            Ok(_) => return Err(fail(io::ErrorKind::AlreadyExists.into())),
            Err(_) => {}
        }
        let listener = StdListener::bind(path).map_err(fail)?;
        let file = SocketFile(path.to_owned());
        fs::set_permissions(path, fs::Permissions::from_mode(MODE)).map_err(fail)?;
        listener.set_nonblocking(true).map_err(fail)?;
        Ok(Self { listener, file })
    }

    /// Answers from now on, on the runtime that this is called in.
    ///
    /// # Errors
    /// Where the runtime cannot take the socket.
    pub fn serve(self, store: Store) -> io::Result<Serving> {
        let Self { listener, file } = self;
        let listener = UnixListener::from_std(listener)?;
        let (ask, asked) = mpsc::channel(ASKED);
        let own_uid = rustix::process::geteuid().as_raw();
        let shared = Shared { store, ask, permits: Arc::new(Semaphore::new(AT_ONCE)), own_uid };
        let router = Router::new()
            .route(IDENTITIES, get(identities))
            .route(&format!("{IDENTITIES}/{{name}}"), get(identity))
            .route(&format!("{PROCESSES}/{{pid}}"), get(process))
            .route(CREDENTIALS, get(credentials))
            .route(DECISIONS, post(decide))
            .layer(DefaultBodyLimit::max(BODY_BYTES))
            .with_state(shared)
            .into_make_service_with_connect_info::<Peer>();
        let task = tokio::spawn(async move {
            if let Err(error) = axum::serve(listener, router).await {
                tracing::error!(%error, "the control socket is not served any more");
            }
        });
        Ok(Serving { asked, task, _file: file })
    }
}

/// A control socket at which is answered.
#[derive(Debug)]
pub struct Serving {
    asked: mpsc::Receiver<AskProcess>,
    task: tokio::task::JoinHandle<()>,
    _file: SocketFile,
}

impl Serving {
    /// The next question for the event loop. Nothing is lost where this is dropped half-way.
    pub async fn asked(&mut self) -> AskProcess {
        match self.asked.recv().await {
            Some(asked) => asked,
            // Nobody serves any more, so nobody asks.
            None => std::future::pending().await,
        }
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        self.task.abort();
    }
}

#[derive(Clone)]
struct Shared {
    store: Store,
    ask: mpsc::Sender<AskProcess>,
    permits: Arc<Semaphore>,
    own_uid: u32,
}

/// Who asks, as the kernel knows it.
#[derive(Clone, Copy, Debug)]
struct Peer {
    uid: Option<u32>,
    pid: Option<i32>,
}

impl Connected<IncomingStream<'_, UnixListener>> for Peer {
    fn connect_info(stream: IncomingStream<'_, UnixListener>) -> Self {
        Self::of(stream.io())
    }
}

impl Peer {
    fn of(stream: &UnixStream) -> Self {
        let credentials = stream.peer_cred().ok();
        Self {
            uid: credentials.as_ref().map(tokio::net::unix::UCred::uid),
            pid: credentials.as_ref().and_then(tokio::net::unix::UCred::pid),
        }
    }

    /// Whether it may change something.
    fn operates(self, own_uid: u32) -> bool {
        self.uid == Some(0) || self.uid == Some(own_uid)
    }

    /// For the record of who decided: the uid, and whose login it is where that is somebody else's.
    fn name(self) -> String {
        let uid = self.uid.map_or_else(|| "uid unknown".to_owned(), |uid| format!("uid {uid}"));
        let login = self.pid.and_then(|pid| fs::read_to_string(format!("/proc/{pid}/loginuid")).ok());
        let login = login.and_then(|text| text.trim().parse::<u32>().ok());
        match login.filter(|login| *login != u32::MAX && Some(*login) != self.uid) {
            Some(login) => format!("{uid}, login uid {login}"),
            None => uid,
        }
    }
}

/// The key behind which a page begins. axum's own reader of queries needs a crate more.
fn after(RawQuery(query): RawQuery) -> String {
    let after = query.as_deref().and_then(|query| query.strip_prefix("after=")).unwrap_or_default();
    percent_decode_str(after).decode_utf8_lossy().into_owned()
}

async fn identities(State(shared): State<Shared>, query: RawQuery) -> Response {
    let Ok(_permit) = shared.permits.try_acquire() else { return busy() };
    match within(shared.store.list(after(query))).await {
        Ok(page) => json(&page),
        Err(response) => response,
    }
}

async fn credentials(State(shared): State<Shared>, query: RawQuery) -> Response {
    let Ok(_permit) = shared.permits.try_acquire() else { return busy() };
    match within(shared.store.credentials(after(query))).await {
        Ok(page) => json(&page),
        Err(response) => response,
    }
}

async fn identity(State(shared): State<Shared>, name: UrlPath<String>) -> Response {
    let Ok(_permit) = shared.permits.try_acquire() else { return busy() };
    match within(shared.store.one(name.0)).await {
        Ok(line) => json(&line),
        Err(response) => response,
    }
}

async fn process(State(shared): State<Shared>, UrlPath(pid): UrlPath<u32>) -> Response {
    let (reply, answer) = oneshot::channel();
    if shared.ask.try_send(AskProcess { pid, reply }).is_err() {
        return busy();
    }
    match timeout(WITHIN, answer).await {
        Ok(Ok(Some(who))) => json(&who),
        Ok(Ok(None)) => {
            fail(StatusCode::NOT_FOUND, format!("no process {pid} runs, as far as the agent knows"))
        }
        Ok(Err(_)) | Err(_) => busy(),
    }
}

async fn decide(
    State(shared): State<Shared>,
    ConnectInfo(peer): ConnectInfo<Peer>,
    request: Request,
) -> Response {
    if !peer.operates(shared.own_uid) {
        let why = "only root decides this: use sudo; members of the agent's group may look".to_owned();
        return fail(StatusCode::FORBIDDEN, why);
    }
    let Ok(_permit) = shared.permits.try_acquire() else { return busy() };
    let bytes = match timeout(WITHIN, Bytes::from_request(request, &())).await {
        Ok(Ok(bytes)) => bytes,
        Ok(Err(rejection)) => return fail(StatusCode::BAD_REQUEST, rejection.body_text()),
        Err(_) => return fail(StatusCode::REQUEST_TIMEOUT, "the request did not arrive".to_owned()),
    };
    let Decision { identity, what, reason } = match serde_json::from_slice(&bytes) {
        Ok(decision) => decision,
        Err(error) => return fail(StatusCode::BAD_REQUEST, error.to_string()),
    };
    match within(shared.store.decide(identity, what, peer.name(), reason)).await {
        Ok(line) => json(&line),
        Err(response) => response,
    }
}

async fn within<T>(answer: impl Future<Output = Result<T, StoreError>>) -> Result<T, Response> {
    match timeout(WITHIN, answer).await {
        Ok(Ok(answer)) => Ok(answer),
        Ok(Err(error)) => {
            let status = match &error {
                StoreError::Unknown { .. } => StatusCode::NOT_FOUND,
                StoreError::Wrong(_) => StatusCode::BAD_REQUEST,
                StoreError::Database(_) | StoreError::Busy => StatusCode::SERVICE_UNAVAILABLE,
            };
            Err(fail(status, error.to_string()))
        }
        Err(_) => Err(busy()),
    }
}

fn busy() -> Response {
    fail(StatusCode::SERVICE_UNAVAILABLE, StoreError::Busy.to_string())
}

fn fail(status: StatusCode, error: String) -> Response {
    let mut response = json(&Failure { error });
    *response.status_mut() = status;
    response
}

fn json(answer: &impl Serialize) -> Response {
    match serde_json::to_vec(answer) {
        Ok(body) => ([(axum::http::header::CONTENT_TYPE, "application/json")], body).into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
    }
}
