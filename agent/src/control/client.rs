//! A command's side of the control socket.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use reqwest::{Client, RequestBuilder, StatusCode, redirect};
use serde::de::DeserializeOwned;

use super::api::{CREDENTIALS, DECISIONS, Decision, Failure, IDENTITIES, PROCESSES, Who};
use crate::life::lines::{CredentialLine, Line, Page};
use crate::ship::http::chain;

/// For an answer.
const WITHIN: Duration = Duration::from_secs(15);

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// Nobody listens there.
    #[error(
        "no agent answers at {path}: {why}; does one run (`systemctl status telltale`)? Another socket is named with \
         --socket"
    )]
    Unreachable {
        /// The socket.
        path: PathBuf,
        /// What was tried, and how it failed.
        why: String,
    },
    /// The socket's permissions.
    #[error("{path} may not be used by this user: use sudo, or join the group of the agent (`telltale`)")]
    NotAllowed {
        /// The socket.
        path: PathBuf,
    },
    /// The agent refuses.
    #[error("{0}")]
    Forbidden(String),
    /// There is no such thing.
    #[error("{0}")]
    NotKnown(String),
    /// The request is wrong.
    #[error("{0}")]
    Wrong(String),
    /// The agent cannot now, or its answer is none.
    #[error("the agent at {path} gives no answer: {why}")]
    NoAnswer {
        /// The socket.
        path: PathBuf,
        /// What it said.
        why: String,
    },
}

impl ClientError {
    /// Exit status of a command: 1 not known, 2 usage, 3 the agent cannot be reached, 4 a privilege is missing.
    pub const fn exit_code(&self) -> u8 {
        match self {
            Self::NotKnown(_) => 1,
            Self::Wrong(_) => 2,
            Self::Unreachable { .. } | Self::NoAnswer { .. } => 3,
            Self::NotAllowed { .. } | Self::Forbidden(_) => 4,
        }
    }
}

/// Asks the agent behind a socket.
#[derive(Debug)]
pub struct Asking {
    socket: PathBuf,
    client: Client,
}

impl Asking {
    /// At this socket.
    ///
    /// # Errors
    /// Where it cannot be reached.
    pub fn at(socket: &Path) -> Result<Self, ClientError> {
        let unreachable = |why| ClientError::Unreachable { path: socket.to_owned(), why };
        // reqwest says of a refused connection that it could not connect, and not why.
        match std::os::unix::net::UnixStream::connect(socket) {
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                return Err(ClientError::NotAllowed { path: socket.to_owned() });
            }
            Err(error) => return Err(unreachable(error.to_string())),
        }
        // No TLS is spoken; but a client is not made without a provider of it, nor, where authorities are asked for, on a host
        // without their certificates.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client = Client::builder()
            .unix_socket(socket)
            .timeout(WITHIN)
            .redirect(redirect::Policy::none())
            .no_proxy()
            .tls_certs_only([])
            .build()
            .map_err(|error| unreachable(chain(&error)))?;
        Ok(Self { socket: socket.to_owned(), client })
    }

    /// All identities.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn identities(&self) -> Result<Vec<Line>, ClientError> {
        self.pages(IDENTITIES).await
    }

    /// One identity.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn identity(&self, name: &str) -> Result<Line, ClientError> {
        self.get(&format!("{IDENTITIES}/{}", utf8_percent_encode(name, NON_ALPHANUMERIC))).await
    }

    /// All credentials.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn credentials(&self) -> Result<Vec<CredentialLine>, ClientError> {
        self.pages(CREDENTIALS).await
    }

    /// One process.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn process(&self, pid: u32) -> Result<Who, ClientError> {
        self.get(&format!("{PROCESSES}/{pid}")).await
    }

    /// Decides something; the identity as it is then.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn decide(&self, decision: &Decision) -> Result<Line, ClientError> {
        let body = serde_json::to_vec(decision).map_err(|error| ClientError::Wrong(error.to_string()))?;
        self.answer(self.client.post(url(DECISIONS)).body(body)).await
    }

    async fn pages<T: DeserializeOwned>(&self, list: &str) -> Result<Vec<T>, ClientError> {
        let (mut all, mut path) = (Vec::new(), list.to_owned());
        loop {
            let Page { lines, next } = self.get(&path).await?;
            all.extend(lines);
            let Some(next) = next else { return Ok(all) };
            path = behind(list, &next);
        }
    }

    async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, ClientError> {
        self.answer(self.client.get(url(path))).await
    }

    async fn answer<T: DeserializeOwned>(&self, request: RequestBuilder) -> Result<T, ClientError> {
        let none = |why: String| ClientError::NoAnswer { path: self.socket.clone(), why };
        let response = request.send().await.map_err(|error| none(chain(&error)))?;
        let status = response.status();
        let body = response.bytes().await.map_err(|error| none(chain(&error)))?;
        if status.is_success() {
            return serde_json::from_slice(&body)
                .map_err(|error| none(format!("{error}; are both of one build?")));
        }
        let said = serde_json::from_slice(&body).map(|Failure { error }| error);
        let said = said.unwrap_or_else(|_| String::from_utf8_lossy(&body).escape_debug().to_string());
        Err(match status {
            StatusCode::FORBIDDEN => ClientError::Forbidden(said),
            StatusCode::NOT_FOUND => ClientError::NotKnown(said),
            StatusCode::BAD_REQUEST => ClientError::Wrong(said),
            _ => none(said),
        })
    }
}

/// The page behind a key.
fn behind(path: &str, key: &str) -> String {
    format!("{path}?after={}", utf8_percent_encode(key, NON_ALPHANUMERIC))
}

/// The host of such an address is nobody's: the socket is the address.
fn url(path: &str) -> String {
    format!("http://telltale{path}")
}
