//! Questions over HTTP, with bounded answers.

use std::time::Duration;

use reqwest::header::{ACCEPT, AUTHORIZATION, HeaderValue};
use reqwest::{Certificate, Client as Http, Response, StatusCode, Url, redirect};

use super::Access;
use crate::ship::http::chain;

/// To connect.
const CONNECT: Duration = Duration::from_secs(5);
/// For an answer to begin, and between two parts of one.
const ANSWER: Duration = Duration::from_secs(15);
/// Bytes of a token: those that are bound to a pod have about 1,200.
const TOKEN_BYTES: u64 = 64 << 10;
/// Bytes of a file of certificates.
const AUTHORITY_BYTES: u64 = 1 << 20;
/// Between two signs of life on an idle connection.
const KEEPALIVE: Duration = Duration::from_secs(20);

/// Why there is no answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Failure {
    /// Nobody answers, or not in time.
    Unreachable(String),
    /// An answer of refusal, which another question may not have: 401 and 403.
    Refused(StatusCode),
    /// There is no such thing.
    NotFound,
    /// What is asked for goes on from too long ago: 410.
    Gone,
    /// Any other status.
    Status(StatusCode),
    /// The answer is larger than is read.
    TooLarge,
    /// It is not what was asked for.
    Malformed(String),
    /// There is nothing to ask with: a file cannot be read.
    File(String),
    /// There is nobody to ask.
    NotAsked,
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Unreachable(why) => write!(f, "no answer: {why}"),
            Self::Refused(status) => write!(f, "refused: {status}"),
            Self::NotFound => f.write_str("there is no such thing there"),
            Self::Gone => f.write_str("it goes on from too long ago"),
            Self::Status(status) => write!(f, "it answered {status}"),
            Self::TooLarge => f.write_str("the answer is larger than is read"),
            Self::Malformed(why) => write!(f, "the answer is not understood: {why}"),
            Self::File(why) => f.write_str(why),
            Self::NotAsked => f.write_str("no API server is asked"),
        }
    }
}

impl Failure {
    /// Whether a watch cannot go on from where it was.
    pub(super) const fn begins_anew(&self) -> bool {
        matches!(self, Self::Gone | Self::TooLarge | Self::Malformed(_))
    }

    /// Whether the same question may be answered later: nothing was decided.
    pub(super) const fn is_passing(&self) -> bool {
        !matches!(self, Self::Refused(StatusCode::FORBIDDEN) | Self::NotFound | Self::NotAsked)
    }
}

/// Asks one server.
pub(super) struct Client {
    access: Access,
    /// With the certificates by which it was made: they are replaced when the cluster's are.
    http: Option<(Vec<u8>, Http)>,
}

impl Client {
    pub(super) const fn new(access: Access) -> Self {
        Self { access, http: None }
    }

    /// Whom it asks.
    pub(super) fn url(&self) -> &Url {
        &self.access.url
    }

    /// Tokens are made anew every hour and authorities now and then, each in the file of before.
    fn http(&mut self) -> Result<Http, Failure> {
        let authority = match &self.access.authority {
            Some(path) => read(path, AUTHORITY_BYTES)?,
            None => Vec::new(),
        };
        if let Some((made_by, http)) = &self.http
            && *made_by == authority
        {
            return Ok(http.clone());
        }
        // The first provider of the process stays: an error says that there is one already, which is as well.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let mut builder = Http::builder()
            .connect_timeout(CONNECT)
            .tcp_keepalive(KEEPALIVE)
            .redirect(redirect::Policy::none())
            // The environment's proxy is for others: it would be given the token.
            .no_proxy()
            .user_agent(concat!("telltale/", env!("CARGO_PKG_VERSION")));
        if self.access.authority.is_some() {
            let certificates = Certificate::from_pem_bundle(&authority)
                .map_err(|error| Failure::File(format!("the file of authorities: {}", chain(&error))))?;
            builder = builder.tls_certs_only(certificates);
        } else if self.access.url.scheme() == "http" {
            builder = builder.tls_certs_only([]);
        }
        let http = builder.build().map_err(|error| Failure::File(chain(&error)))?;
        self.http = Some((authority, http.clone()));
        Ok(http)
    }

    async fn ask(
        &mut self,
        path: &str,
        query: &[(&str, &str)],
        accept: &'static str,
    ) -> Result<Response, Failure> {
        let http = self.http()?;
        let mut url = self.access.url.clone();
        url.set_path(path);
        if !query.is_empty() {
            url.query_pairs_mut().extend_pairs(query);
        }
        let mut request = http.get(url).header(ACCEPT, accept);
        if let Some(file) = &self.access.token {
            let token = read(file, TOKEN_BYTES)?;
            let bearer = [b"Bearer ", token.trim_ascii()].concat();
            let mut value = HeaderValue::from_bytes(&bearer)
                .map_err(|_| Failure::File(format!("{} holds no token", file.display())))?;
            value.set_sensitive(true);
            request = request.header(AUTHORIZATION, value);
        }
        let answered = tokio::time::timeout(ANSWER, request.send()).await;
        let response = answered.map_err(|_| late())?.map_err(|error| Failure::Unreachable(chain(&error)))?;
        match response.status() {
            StatusCode::OK => Ok(response),
            status @ (StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN) => Err(Failure::Refused(status)),
            StatusCode::NOT_FOUND => Err(Failure::NotFound),
            StatusCode::GONE => Err(Failure::Gone),
            status => Err(Failure::Status(status)),
        }
    }

    /// A whole answer, of `limit` bytes at most.
    pub(super) async fn get(
        &mut self,
        path: &str,
        query: &[(&str, &str)],
        accept: &'static str,
        limit: usize,
    ) -> Result<Vec<u8>, Failure> {
        let mut response = self.ask(path, query, accept).await?;
        let whole = async {
            let mut bytes = Vec::new();
            while let Some(chunk) = part(&mut response, ANSWER).await? {
                if bytes.len() + chunk.len() > limit {
                    return Err(Failure::TooLarge);
                }
                bytes.extend_from_slice(&chunk);
            }
            Ok(bytes)
        };
        // Or it could be told byte by byte for ever.
        tokio::time::timeout(4 * ANSWER, whole).await.map_err(|_| late())?
    }

    /// An answer that comes line by line.
    pub(super) async fn lines(
        &mut self,
        path: &str,
        query: &[(&str, &str)],
        limit: usize,
        idle: Duration,
    ) -> Result<Lines, Failure> {
        let response = self.ask(path, query, JSON).await?;
        Ok(Lines { response, limit, idle, read: Vec::new(), looked_at: 0 })
    }
}

/// What is asked for.
pub(super) const JSON: &str = "application/json";
/// An object's metadata alone (<https://kubernetes.io/docs/reference/using-api/api-concepts/#metadata-only-fetches>).
pub(super) const METADATA: &str =
    "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1,application/json;q=0.9";

fn late() -> Failure {
    Failure::Unreachable("not within the time that is waited".to_owned())
}

async fn part(response: &mut Response, within: Duration) -> Result<Option<bytes::Bytes>, Failure> {
    let part = tokio::time::timeout(within, response.chunk()).await.map_err(|_| late())?;
    part.map_err(|error| Failure::Unreachable(chain(&error)))
}

/// The whole of one of the agent's own files. They are small and on a local file system, and this is a thread of its own.
fn read(path: &std::path::Path, limit: u64) -> Result<Vec<u8>, Failure> {
    use std::io::Read as _;
    let fail = |error: std::io::Error| Failure::File(format!("{}: {error}", path.display()));
    let file = std::fs::File::open(path).map_err(fail)?;
    let mut bytes = Vec::new();
    file.take(limit + 1).read_to_end(&mut bytes).map_err(fail)?;
    if bytes.len() as u64 > limit {
        return Err(Failure::File(format!("{} is larger than is read", path.display())));
    }
    Ok(bytes)
}

/// An answer that comes line by line.
pub(super) struct Lines {
    response: Response,
    limit: usize,
    idle: Duration,
    read: Vec<u8>,
    /// Bytes of `read` in which there is no line's end.
    looked_at: usize,
}

impl Lines {
    /// The next whole line, without its end; `None`: the answer has ended. Nothing is lost where this is dropped half-way.
    pub(super) async fn next(&mut self) -> Result<Option<Vec<u8>>, Failure> {
        loop {
            let fresh = self.read.get(self.looked_at..).unwrap_or_default();
            if let Some(end) = memchr::memchr(b'\n', fresh) {
                let rest = self.read.split_off(self.looked_at + end + 1);
                let mut line = std::mem::replace(&mut self.read, rest);
                line.pop();
                self.looked_at = 0;
                return Ok(Some(line));
            }
            self.looked_at = self.read.len();
            if self.read.len() > self.limit {
                return Err(Failure::TooLarge);
            }
            let Some(chunk) = part(&mut self.response, self.idle).await? else {
                // What was cut off in the middle of a line comes again with the next watch.
                return Ok(None);
            };
            self.read.extend_from_slice(&chunk);
        }
    }
}
