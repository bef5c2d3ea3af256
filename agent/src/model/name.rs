//! Names of destinations. Each is a claim of whoever said it; one that the host's own resolver gave is the destination's.

use std::net::IpAddr;
use std::sync::Arc;

/// Who says that a destination has a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Source {
    /// A DNS server that the host is configured with, to the network namespace, within the time to live.
    Resolver,
    /// Another DNS server, to the network namespace, within the time to live.
    Stranger,
    /// Whoever connects: the server name of a TLS ClientHello.
    Hello,
}

/// A name, and who says it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Claim {
    /// In lower case, without the last dot; bytes that are not printable ASCII as `\DDD`.
    pub name: Arc<str>,
    /// Who says it.
    pub source: Source,
    /// The DNS server that answered.
    pub server: Option<IpAddr>,
}

/// What is said of a destination's name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Names {
    /// Its name: one that a resolver of the host gave. Of several, the one that the ClientHello asks for, else the one
    /// that this process asked for last, else the latest.
    pub destination: Option<Arc<str>>,
    /// All that is said, the destination's name first; some, where there is much.
    pub claims: Vec<Claim>,
}
