//! HTTP in front of a [`Collector`]: `POST /v1/batches` and `GET /status`.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, FromRequest as _, Request, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, watch};
use tokio::time::timeout;

use super::Collector;
use crate::ship::http::{AcknowledgedRange, Acknowledgement};
use crate::ship::wire::{BATCHES_PATH, MAX_BATCH_BYTES, WireError, decode};

/// Batches read or taken at once; others wait. Bounds the memory of requests to this many batches.
const AT_ONCE: usize = 8;
/// Time for a request's body.
const BODY: Duration = Duration::from_secs(30);
/// Time for answers under way when the collection ends.
const LAST_ANSWERS: Duration = Duration::from_secs(3);
/// What an agent is asked to wait for where events cannot be written.
const RETRY_AFTER_SECONDS: &str = "1";

/// A collector that several connections share.
#[derive(Clone)]
pub struct Shared {
    collector: Arc<Mutex<Collector>>,
    permits: Arc<Semaphore>,
    ended: watch::Sender<bool>,
}

impl Shared {
    /// Shares a collector.
    pub fn new(collector: Collector) -> Self {
        Self {
            collector: Arc::new(Mutex::new(collector)),
            permits: Arc::new(Semaphore::new(AT_ONCE)),
            ended: watch::Sender::new(false),
        }
    }

    /// The collector itself.
    pub fn collector(&self) -> MutexGuard<'_, Collector> {
        // After a panic within a batch the ledger holds what was written, which is all that it promises.
        self.collector.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Ends the collection.
    pub fn end(&self) {
        self.ended.send_replace(true);
    }
}

/// Serves until the collection has [ended](Shared::end) and answers under way are given, or their time is over.
///
/// # Errors
/// As accepting connections gives them.
pub async fn serve(listener: TcpListener, shared: Shared) -> std::io::Result<()> {
    let router = Router::new()
        .route(BATCHES_PATH, post(take))
        .route("/status", get(status))
        .layer(DefaultBodyLimit::max(MAX_BATCH_BYTES))
        .with_state(shared.clone());
    let ended = |mut receiver: watch::Receiver<bool>| async move {
        // An error means that nobody can end it any more: then it has ended.
        let _ = receiver.wait_for(|ended| *ended).await;
    };
    let server = axum::serve(listener, router).with_graceful_shutdown(ended(shared.ended.subscribe()));
    let too_late = async {
        ended(shared.ended.subscribe()).await;
        tokio::time::sleep(LAST_ANSWERS).await;
    };
    tokio::select! {
        result = server => result,
        () = too_late => Ok(()),
    }
}

async fn status(State(shared): State<Shared>) -> Response {
    let status = shared.collector().status();
    match serde_json::to_vec(&status) {
        Ok(body) => ([(header::CONTENT_TYPE, "application/json")], body).into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
    }
}

async fn take(State(shared): State<Shared>, request: Request) -> Response {
    // An error means that the semaphore was closed, which it never is.
    let _permit = shared.permits.clone().acquire_owned().await;
    // The limit is the router's.
    let bytes = match timeout(BODY, Bytes::from_request(request, &())).await {
        Ok(Ok(bytes)) => bytes,
        Ok(Err(rejection)) if rejection.status() == StatusCode::PAYLOAD_TOO_LARGE => {
            let why = format!("a batch may have at most {MAX_BATCH_BYTES} bytes; ship smaller batches");
            return refuse(&shared, StatusCode::PAYLOAD_TOO_LARGE, why);
        }
        Ok(Err(rejection)) => return refuse(&shared, StatusCode::BAD_REQUEST, rejection.body_text()),
        Err(_) => {
            let why = format!("its body did not arrive within {} s", BODY.as_secs());
            return refuse(&shared, StatusCode::REQUEST_TIMEOUT, why);
        }
    };
    // Decoding and writing block.
    let task = shared.clone();
    match tokio::task::spawn_blocking(move || settle(&task, &bytes)).await {
        Ok(response) => response,
        Err(_) => (StatusCode::INTERNAL_SERVER_ERROR, "the collector failed on this batch").into_response(),
    }
}

fn settle(shared: &Shared, bytes: &Bytes) -> Response {
    let batch = match decode(bytes) {
        Ok(batch) => batch,
        Err(error @ WireError::TooLong { .. }) => {
            return refuse(shared, StatusCode::PAYLOAD_TOO_LARGE, error.to_string());
        }
        Err(error) => return refuse(shared, StatusCode::BAD_REQUEST, error.to_string()),
    };
    let mut collector = shared.collector();
    let accepted = collector.accept(&batch);
    let enough = collector.enough();
    drop(collector);
    if enough {
        shared.end();
    }
    if let Err(error) = accepted {
        let broken = error.kind() == std::io::ErrorKind::BrokenPipe;
        if broken {
            // Who read the events has gone: there is nobody to collect for.
            shared.end();
        }
        let why = format!("events could not be written: {error}");
        return (StatusCode::SERVICE_UNAVAILABLE, [(header::RETRY_AFTER, RETRY_AFTER_SECONDS)], why)
            .into_response();
    }
    let acknowledged = AcknowledgedRange { first: batch.first_seq, last: batch.last_seq() };
    match serde_json::to_vec(&Acknowledgement { acknowledged }) {
        Ok(body) => ([(header::CONTENT_TYPE, "application/json")], body).into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
    }
}

fn refuse(shared: &Shared, status: StatusCode, why: String) -> Response {
    shared.collector().refuse(&why);
    (status, why).into_response()
}
