//! Delivery over HTTP(S): one POST a batch, acknowledged by its range of sequence numbers.
//!
//! | answer | what follows |
//! |---|---|
//! | 200 with `{"acknowledged": {"first": F, "last": L}}` of the batch | acknowledged |
//! | 413 | smaller batches |
//! | 408, 425, 429, 5xx; no answer, half an answer, anything else with 2xx | retry, `Retry-After` respected |
//! | 3xx, other 4xx | refused for good |

use std::error::Error as _;
use std::time::Duration;

use reqwest::{Client, Response, StatusCode, Url, header, redirect};
use serde::{Deserialize, Serialize};

use super::sink::{Delivery, Encoded, Sink};
use super::wire::{BATCHES_PATH, CONTENT_TYPE};

/// Time limits of one delivery.
#[derive(Clone, Copy, Debug)]
pub struct HttpTimeouts {
    /// To connect.
    pub connect: Duration,
    /// For all of it.
    pub whole: Duration,
}

impl Default for HttpTimeouts {
    fn default() -> Self {
        Self { connect: Duration::from_secs(5), whole: Duration::from_secs(30) }
    }
}

/// Bytes of an answer that are read, at most.
const ANSWER_BYTES: usize = 16 << 10;

/// What a collector answers to a batch that it has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Acknowledgement {
    /// The sequence numbers of the batch.
    pub acknowledged: AcknowledgedRange,
}

/// A range of sequence numbers, both ends included.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AcknowledgedRange {
    /// The first.
    pub first: u64,
    /// The last.
    pub last: u64,
}

/// Why a collector's address cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum HttpSinkError {
    /// Not an address.
    #[error(
        "`{address}` is not an address of a collector ({why}); write http://HOST:PORT or https://HOST:PORT"
    )]
    Address {
        /// As given.
        address: String,
        /// What is wrong with it.
        why: String,
    },
    /// The client could not be made.
    #[error(
        "preparing connections to `{address}`: {why}; for https, certificates of authorities are needed \
         (install ca-certificates, or set SSL_CERT_FILE)"
    )]
    Client {
        /// The collector's address.
        address: String,
        /// What is wrong.
        why: String,
    },
}

/// Delivers to a collector. Clones share its connections.
#[derive(Clone)]
pub struct HttpSink {
    client: Client,
    url: Url,
    target: String,
}

impl HttpSink {
    /// For a collector at `http://HOST:PORT` or `https://HOST:PORT`. Connects to nothing yet.
    ///
    /// # Errors
    /// Where the address is not one, or TLS cannot be prepared for an https address.
    pub fn new(address: &str, timeouts: HttpTimeouts) -> Result<Self, HttpSinkError> {
        let wrong = |why: &str| HttpSinkError::Address { address: address.to_owned(), why: why.to_owned() };
        let mut url = Url::parse(address).map_err(|error| wrong(&error.to_string()))?;
        if !matches!(url.scheme(), "http" | "https") {
            return Err(wrong("neither http nor https"));
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(wrong("names and passwords are not taken in an address"));
        }
        if url.query().is_some() || url.fragment().is_some() {
            return Err(wrong("it has a query or a fragment"));
        }
        let target = url.to_string();
        let path = format!("{}{BATCHES_PATH}", url.path().trim_end_matches('/'));
        url.set_path(&path);

        // The first provider of the process stays: an error says that there is one already, which is as well.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let mut builder = Client::builder()
            .connect_timeout(timeouts.connect)
            .timeout(timeouts.whole)
            .redirect(redirect::Policy::none())
            .user_agent(concat!("telltale/", env!("CARGO_PKG_VERSION")));
        if url.scheme() == "http" {
            // No authorities are asked for, so that a host without their certificates can ship over plain HTTP.
            builder = builder.tls_certs_only([]);
        }
        let client = builder
            .build()
            .map_err(|error| HttpSinkError::Client { address: address.to_owned(), why: chain(&error) })?;
        Ok(Self { client, url, target })
    }
}

impl Sink for HttpSink {
    async fn deliver(&mut self, batch: &Encoded) -> Delivery {
        let request = self.client.post(self.url.clone()).header(header::CONTENT_TYPE, CONTENT_TYPE);
        match request.body(batch.bytes.clone()).send().await {
            Ok(response) => judge(response, batch).await,
            Err(error) => retry(chain(&error)),
        }
    }

    fn target(&self) -> &str {
        &self.target
    }
}

fn retry(why: String) -> Delivery {
    Delivery::Retry { why, after: None }
}

async fn judge(response: Response, batch: &Encoded) -> Delivery {
    let status = response.status();
    let after =
        response.headers().get(header::RETRY_AFTER).and_then(|value| retry_after(value.to_str().ok()?));
    let answer = match read_answer(response).await {
        Ok(answer) => answer,
        Err(why) if status.is_success() || status.is_server_error() => return retry(why),
        // The status alone decides.
        Err(_) => Vec::new(),
    };
    if status == StatusCode::OK {
        return acknowledged(&answer, batch);
    }
    let why = format!("the collector answered {status}{}", said(&answer));
    match status {
        StatusCode::PAYLOAD_TOO_LARGE => Delivery::TooLarge,
        StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_EARLY | StatusCode::TOO_MANY_REQUESTS => {
            Delivery::Retry { why, after }
        }
        _ if status.is_client_error() || status.is_redirection() => Delivery::Refused { why },
        _ => Delivery::Retry { why, after },
    }
}

fn acknowledged(answer: &[u8], batch: &Encoded) -> Delivery {
    let Encoded { first, last, .. } = *batch;
    match serde_json::from_slice::<Acknowledgement>(answer) {
        Ok(Acknowledgement { acknowledged }) if acknowledged == (AcknowledgedRange { first, last }) => {
            Delivery::Acknowledged
        }
        Ok(Acknowledgement { acknowledged: AcknowledgedRange { first: f, last: l } }) => {
            retry(format!("events {first} to {last} were sent, but {f} to {l} were acknowledged"))
        }
        Err(_) => retry(format!(
            "the answer is no acknowledgement{}; is this the address of a collector?",
            said(answer)
        )),
    }
}

/// The beginning of an answer, escaped, for a message.
fn said(answer: &[u8]) -> String {
    match answer.get(..answer.len().min(200)) {
        None | Some([]) => String::new(),
        Some(beginning) => format!(" and said {:?}", crate::model::bytes::RawBytes::from(beginning)),
    }
}

async fn read_answer(mut response: Response) -> Result<Vec<u8>, String> {
    let mut answer = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(|error| chain(&error))? {
        answer.extend_from_slice(&chunk);
        if answer.len() > ANSWER_BYTES {
            return Err(format!("the answer is longer than {ANSWER_BYTES} bytes"));
        }
    }
    Ok(answer)
}

/// RFC 9110 §10.2.3: seconds, or a date.
fn retry_after(value: &str) -> Option<Duration> {
    if let Ok(seconds) = value.trim().parse() {
        return Some(Duration::from_secs(seconds));
    }
    let at = jiff::fmt::rfc2822::parse(value).ok()?.timestamp();
    Duration::try_from(at.duration_since(jiff::Timestamp::now())).ok()
}

/// An error with its causes: reqwest's own text names none of them.
pub(crate) fn chain(error: &reqwest::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_checked_before_anything_is_sent() {
        let sink = HttpSink::new("http://127.0.0.1:4319", HttpTimeouts::default()).unwrap();
        assert_eq!(sink.url.as_str(), "http://127.0.0.1:4319/v1/batches");
        let sink = HttpSink::new("https://collector.example/telltale/", HttpTimeouts::default()).unwrap();
        assert_eq!(sink.url.as_str(), "https://collector.example/telltale/v1/batches");
        for wrong in
            ["", "127.0.0.1:4319", "ftp://h", "http://u:p@h", "http://h/?a=b", "http://h/#x", "http://"]
        {
            let error = HttpSink::new(wrong, HttpTimeouts::default()).err().unwrap().to_string();
            assert!(error.contains("write http://HOST:PORT"), "{error}");
        }
    }

    #[test]
    fn retry_after_is_seconds_or_a_date() {
        assert_eq!(retry_after("120"), Some(Duration::from_secs(120)));
        assert!(retry_after("Fri, 31 Dec 2100 23:59:59 GMT").unwrap() > Duration::from_secs(3600));
        assert_eq!(retry_after("Fri, 31 Dec 1999 23:59:59 GMT"), None);
        assert_eq!(retry_after("soon"), None);
    }
}
