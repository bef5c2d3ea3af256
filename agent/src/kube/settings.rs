//! Whom to ask, and how: as configured, else as Kubernetes tells each pod.

use std::env;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use reqwest::Url;

use crate::config::Kubernetes;
use crate::life::owners::OWNER_BYTES;

/// What Kubernetes mounts into a pod whose service account's token it is given
/// (<https://kubernetes.io/docs/tasks/run-application/access-api-from-pod/>).
const TOKEN: &str = "/var/run/secrets/kubernetes.io/serviceaccount/token";
const AUTHORITY: &str = "/var/run/secrets/kubernetes.io/serviceaccount/ca.crt";
/// Labels that may name an owner.
const OWNER_LABELS: usize = 16;
/// Bytes of a label's name: prefix, `/`, name (<https://kubernetes.io/docs/concepts/overview/working-with-objects/labels/>).
pub(super) const LABEL_BYTES: usize = 253 + 1 + 63;
/// Bytes of a cluster's name.
const CLUSTER_BYTES: usize = 253;
/// The label, or annotation, that names an owner.
const OWNER: &str = "telltale.dev/owner";

/// Whom to ask, and with what.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Access {
    /// The address.
    pub url: Url,
    /// A file with a bearer token.
    pub token: Option<PathBuf>,
    /// A file with the certificates of the authorities for it; the system's, where there is none.
    pub authority: Option<PathBuf>,
}

/// What is asked of a cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Its API server.
    pub server: Option<Access>,
    /// The node's kubelet, which is asked for its pods instead of the API server.
    pub kubelet: Option<Access>,
    /// The cluster's name, where it is configured.
    pub cluster: Option<String>,
    /// The node's name in it; whoever starts to ask knows it.
    pub node: String,
    /// Labels, and annotations, that name a pod's owner; the first that is there counts.
    pub owner_labels: Vec<String>,
    /// Whether those of its namespace count, where a pod has none.
    pub namespace_owners: bool,
    /// Whether Services, and pods of all nodes, are asked for: whom connections may lead to.
    pub destinations: bool,
}

/// What is configured of a cluster cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    /// No address.
    #[error(
        "kubernetes.{key}: `{address}` is no address of one: write https://HOST:PORT; http:// is taken of this host alone, for \
         the token would be seen by others"
    )]
    Address {
        /// Which.
        key: &'static str,
        /// As configured.
        address: String,
    },
    /// No name.
    #[error(
        "kubernetes.cluster: {0:?} is no name: it has 1 to {CLUSTER_BYTES} printable ASCII characters without space"
    )]
    Cluster(String),
    /// No labels.
    #[error("kubernetes.owner_labels: at most {OWNER_LABELS} names of labels")]
    Labels,
    /// Nobody to ask.
    #[error(
        "kubernetes.destinations: there is no API server to ask, which alone tells of Services: name it by kubernetes.server, or          leave destinations out"
    )]
    Destinations,
}

impl Settings {
    /// By the configuration, and what Kubernetes tells this pod; `None`: there is no cluster to ask.
    ///
    /// # Errors
    /// Where the configuration is wrong.
    pub fn new(configured: &Kubernetes) -> Result<Option<Self>, SettingsError> {
        let in_pod = || {
            let (host, port) =
                (env::var("KUBERNETES_SERVICE_HOST").ok()?, env::var("KUBERNETES_SERVICE_PORT").ok()?);
            // Without a token the service account is not this pod's to use: then nothing is asked.
            Path::new(TOKEN).exists().then(|| server_of(&host, &port))
        };
        Self::with(configured, in_pod)
    }

    fn with(
        configured: &Kubernetes,
        in_pod: impl FnOnce() -> Option<String>,
    ) -> Result<Option<Self>, SettingsError> {
        let Kubernetes {
            server,
            kubelet,
            token_file,
            ca_file,
            cluster,
            owner_labels,
            namespace_owners,
            destinations,
        } = configured;
        let is_cluster = |name: &&String| {
            !(1..=CLUSTER_BYTES).contains(&name.len()) || !name.bytes().all(|byte| byte.is_ascii_graphic())
        };
        if let Some(name) = cluster.as_ref().filter(is_cluster) {
            return Err(SettingsError::Cluster(name.clone()));
        }
        let is_label = |name: &String| (1..=LABEL_BYTES).contains(&name.len());
        if owner_labels.len() > OWNER_LABELS || !owner_labels.iter().all(is_label) {
            return Err(SettingsError::Labels);
        }
        let told = if server.is_none() { in_pod() } else { None };
        let is_told = told.is_some();
        let file = |named: &Option<PathBuf>, usual: &str| {
            named.clone().or_else(|| is_told.then(|| PathBuf::from(usual)))
        };
        let access = |key, address: &Option<String>| {
            let Some(address) = address else { return Ok(None) };
            let url = address_of(address)
                .ok_or_else(|| SettingsError::Address { key, address: address.clone() })?;
            let (token, authority) = (file(token_file, TOKEN), file(ca_file, AUTHORITY));
            Ok(Some(Access { url, token, authority }))
        };
        let server = access("server", &server.clone().or(told))?;
        let kubelet = access("kubelet", kubelet)?;
        if *destinations && server.is_none() {
            return Err(SettingsError::Destinations);
        }
        if server.is_none() && kubelet.is_none() {
            return Ok(None);
        }
        let owner_labels = std::iter::once(OWNER.to_owned()).chain(owner_labels.iter().cloned()).collect();
        Ok(Some(Self {
            server,
            kubelet,
            cluster: cluster.clone(),
            node: String::new(),
            owner_labels,
            namespace_owners: *namespace_owners,
            destinations: *destinations,
        }))
    }
}

fn server_of(host: &str, port: &str) -> String {
    if host.contains(':') { format!("https://[{host}]:{port}") } else { format!("https://{host}:{port}") }
}

fn address_of(address: &str) -> Option<Url> {
    let url = Url::parse(address).ok()?;
    let host = url.host_str()?;
    let is_here =
        || host.trim_matches(['[', ']']).parse::<IpAddr>().is_ok_and(|address| address.is_loopback());
    let is_safe = url.scheme() == "https" || (url.scheme() == "http" && is_here());
    let is_plain = url.username().is_empty() && url.password().is_none() && url.query().is_none();
    (is_safe && is_plain && url.fragment().is_none() && url.path() == "/").then_some(url)
}

/// Whether somebody can be called so: a label's or an annotation's word.
pub(super) fn owner(text: &str) -> Option<&str> {
    let fits = text.len() <= OWNER_BYTES && crate::life::owners::check_owner(text).is_ok();
    fits.then_some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pod_is_told_whom_to_ask_and_the_configuration_goes_before() {
        let nothing = Kubernetes::default();
        assert_eq!(Settings::with(&nothing, || None).unwrap(), None);
        let destinations = Kubernetes { destinations: true, ..Kubernetes::default() };
        let error = Settings::with(&destinations, || None).unwrap_err().to_string();
        assert!(error.contains("kubernetes.server"), "{error}");
        let told = || Some(server_of("10.0.0.1", "443"));
        let settings = Settings::with(&nothing, told).unwrap().unwrap();
        let server = settings.server.unwrap();
        assert_eq!((server.url.as_str(), server.token.unwrap()), ("https://10.0.0.1/", PathBuf::from(TOKEN)));
        assert_eq!((settings.kubelet, settings.owner_labels), (None, vec![OWNER.to_owned()]));
        let configured = Kubernetes {
            server: Some("https://[fd00::1]:6443".to_owned()),
            token_file: Some("/t".into()),
            ..Kubernetes::default()
        };
        let settings = Settings::with(&configured, told).unwrap().unwrap();
        let server = settings.server.unwrap();
        assert_eq!((server.token, server.authority), (Some("/t".into()), None));
        assert_eq!(server_of("fd00::1", "443"), "https://[fd00::1]:443");
    }

    #[test]
    fn a_token_is_sent_to_nobody_in_the_clear_but_this_host() {
        for good in
            ["https://api.example:6443", "http://127.0.0.1:8001", "http://[::1]:8001", "https://10.0.0.1/"]
        {
            assert!(address_of(good).is_some(), "{good}");
        }
        for wrong in [
            "",
            "api:6443",
            "http://api.example",
            "http://10.0.0.1",
            "https://u:p@h",
            "https://h/?a",
            "https://h/x",
        ] {
            let configured = Kubernetes { server: Some(wrong.to_owned()), ..Kubernetes::default() };
            let error = Settings::with(&configured, || None).unwrap_err().to_string();
            assert!(error.contains("write https://"), "{error}");
        }
        for wrong in ["", "a b", "\u{1b}"] {
            let configured = Kubernetes { cluster: Some(wrong.to_owned()), ..Kubernetes::default() };
            assert!(Settings::with(&configured, || None).is_err());
        }
    }
}
