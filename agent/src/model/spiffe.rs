//! SPIFFE IDs.

use std::fmt;
use std::sync::Arc;

/// Bytes of an ID, its scheme included
/// (<https://github.com/spiffe/spiffe/blob/main/standards/SPIFFE-ID.md>, 2.3).
const BYTES: usize = 2_048;
/// Bytes of a trust domain (the same, 2.1).
const TRUST_DOMAIN_BYTES: usize = 255;
const SCHEME: &str = "spiffe://";

/// A SPIFFE ID: `spiffe://example.org/ns/shop/sa/web`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SpiffeId {
    /// Behind the scheme.
    rest: Arc<str>,
}

impl SpiffeId {
    /// Of a trust domain and a path, which is empty or begins with `/`; `None` where the standard has no such ID.
    pub fn new(trust_domain: &str, path: &str) -> Option<Self> {
        let of_domain =
            |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b".-_".contains(&byte);
        let of_path = |byte: u8| byte.is_ascii_alphanumeric() || b".-_".contains(&byte);
        let is_segment = |part: &str| !matches!(part, "" | "." | "..") && part.bytes().all(of_path);
        let is_domain =
            (1..=TRUST_DOMAIN_BYTES).contains(&trust_domain.len()) && trust_domain.bytes().all(of_domain);
        let is_path =
            path.is_empty() || path.strip_prefix('/').is_some_and(|path| path.split('/').all(is_segment));
        let fits = SCHEME.len() + trust_domain.len() + path.len() <= BYTES;
        (is_domain && is_path && fits).then(|| Self { rest: format!("{trust_domain}{path}").into() })
    }

    /// Of what comes behind `spiffe://`.
    pub fn without_scheme(text: &str) -> Option<Self> {
        let at = text.find('/').unwrap_or(text.len());
        let (trust_domain, path) = text.split_at(at);
        Self::new(trust_domain, path)
    }

    /// What comes behind `spiffe://`: letters, digits, `.`, `-`, `_` and `/`.
    pub fn as_str(&self) -> &str {
        &self.rest
    }
}

impl fmt::Display for SpiffeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{SCHEME}{}", self.rest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Of the standard's sections 2.1 and 2.2.
    #[test]
    fn what_the_standard_allows_is_one() {
        let good = ["example.org", "example.org/a", "trust_domain-1/ns/A.b-c_d/sa/default"];
        let bad = [
            "",
            "/a",
            "Example.org/a",
            "example.org/",
            "example.org//a",
            "example.org/./a",
            "example.org/../a",
            "example.org/a%20b",
            "example.org:8443/a",
            "user@example.org/a",
            "ex\u{e4}mple/a",
        ];
        for text in good {
            assert_eq!(SpiffeId::without_scheme(text).unwrap().to_string(), format!("spiffe://{text}"));
        }
        for text in bad {
            assert_eq!(SpiffeId::without_scheme(text), None, "{text}");
        }
        assert!(SpiffeId::new(&"a".repeat(256), "").is_none());
        assert!(SpiffeId::new("a", &format!("/{}", "a".repeat(BYTES))).is_none());
    }
}
