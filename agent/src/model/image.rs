//! Names of container images: which repository, tag and digest a reference means.
//!
//! The grammar, and what a familiar name (`redis`) stands for, are those of the reference implementation
//! (<https://github.com/distribution/reference>, `regexp.go` and `normalize.go`). Written here: `container_image_dist_ref`
//! splits references and does not normalise familiar names, `oci-spec` brings a builder and a regex engine for it,
//! `buildkit-rs-reference` has had one release, in 2023.

use std::fmt;
use std::sync::Arc;

/// The registry of names without one.
const HUB: &str = "docker.io";
/// Its name in old references.
const OLD_HUB: &str = "index.docker.io";
/// Where the hub keeps names without a namespace.
const OFFICIAL: &str = "library";
/// Longest name, registry included (`RepositoryNameTotalLengthMax`).
const NAME_BYTES: usize = 255;
/// Longest reference that is looked at: a name, a tag and a digest have fewer bytes.
const REFERENCE_BYTES: usize = 1_024;
const TAG_BYTES: usize = 128;

/// A full repository: the registry's host, and a path there. Never without a host, so that a name of one registry is never
/// another's.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Repository(Arc<str>);

impl Repository {
    /// `docker.io/library/redis`, exactly as [`fmt::Display`] writes it; `None` for a familiar name, and for what has a tag.
    pub fn parse_full(text: &str) -> Option<Self> {
        let reference = ImageReference::parse(text)?;
        (reference.repository.0.as_ref() == text).then_some(reference.repository)
    }

    /// The whole name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Repository {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What a reference to an image says.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ImageReference {
    /// Full repository.
    pub repository: Repository,
    /// Tag; `None` where none is written.
    pub tag: Option<Arc<str>>,
    /// Digest of the manifest, `sha256:…`.
    pub digest: Option<Arc<str>>,
}

impl ImageReference {
    /// Reads a reference as docker and containerd do: a name without a registry is the hub's.
    pub fn parse(text: &str) -> Option<Self> {
        // The id of an image is no name, with or without its algorithm.
        if text.len() > REFERENCE_BYTES || is_id(text) || is_digest(text) {
            return None;
        }
        let (rest, digest) = match text.split_once('@') {
            Some((rest, digest)) => (rest, Some(digest)),
            None => (text, None),
        };
        // What comes after the last `/` alone may have a tag: a colon before it is a port's.
        let last = rest.rfind('/').map_or(0, |at| at + 1);
        let (name, tag) = match rest.get(last..)?.split_once(':') {
            Some((last_part, tag)) => (rest.get(..last + last_part.len())?, Some(tag)),
            None => (rest, None),
        };
        if !tag.is_none_or(is_tag) || !digest.is_none_or(is_digest) {
            return None;
        }
        let (host, path) = match name.split_once('/') {
            Some((host, path)) if is_host(host) => (host, path),
            _ => (HUB, name),
        };
        let host = if host == OLD_HUB { HUB } else { host };
        if !is_domain(host) || !path.split('/').all(is_path_component) {
            return None;
        }
        let official =
            if host == HUB && !path.contains('/') { format!("{OFFICIAL}/") } else { String::new() };
        let repository = format!("{host}/{official}{path}");
        (repository.len() <= NAME_BYTES).then(|| Self {
            repository: Repository(repository.into()),
            tag: tag.map(Into::into),
            digest: digest.map(Into::into),
        })
    }

    /// Reads a reference that names its registry, as podman and CRI-O keep them: which registry a name without one came
    /// from is their configuration's to say, so it says nothing here.
    pub fn parse_qualified(text: &str) -> Option<Self> {
        let (host, _) = text.split_once('/')?;
        is_host(host).then(|| Self::parse(text)).flatten()
    }
}

impl fmt::Display for ImageReference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.repository.fmt(f)?;
        if let Some(tag) = &self.tag {
            write!(f, ":{tag}")?;
        }
        if let Some(digest) = &self.digest {
            write!(f, "@{digest}")?;
        }
        Ok(())
    }
}

/// Whether the first part of a name is a registry's host and no namespace (`splitDockerDomain`).
pub fn is_host(part: &str) -> bool {
    part == "localhost" || part.contains(['.', ':']) || part.bytes().any(|byte| byte.is_ascii_uppercase())
}

/// 64 hex digits: the id of a container or an image.
pub fn is_id(text: &str) -> bool {
    text.len() == 64 && is_lower_hex(text)
}

/// Digits of a hexadecimal number, as engines write them.
pub fn is_lower_hex(text: &str) -> bool {
    text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

/// `domainAndPort`.
fn is_domain(text: &str) -> bool {
    let (host, port) = match text.strip_prefix('[') {
        Some(rest) => {
            let Some((address, port)) = rest.split_once(']') else { return false };
            let is_address =
                !address.is_empty() && address.bytes().all(|byte| byte.is_ascii_hexdigit() || byte == b':');
            if !is_address {
                return false;
            }
            (None, port)
        }
        None => match text.find(':') {
            Some(colon) => (text.get(..colon), text.get(colon..).unwrap_or_default()),
            None => (Some(text), ""),
        },
    };
    let component = |part: &str| {
        !part.is_empty()
            && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
            && !part.starts_with('-')
            && !part.ends_with('-')
    };
    let is_port = |digits: &str| !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    host.is_none_or(|host| host.split('.').all(component))
        && (port.is_empty() || port.strip_prefix(':').is_some_and(is_port))
}

/// `pathComponent`: runs of `[a-z0-9]` with `.`, `_`, `__` or any number of `-` between them.
fn is_path_component(text: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let separators = text.split(|byte: char| byte.is_ascii_lowercase() || byte.is_ascii_digit());
    let ends = text.bytes().next().is_some_and(is_plain) && text.bytes().next_back().is_some_and(is_plain);
    ends && separators.into_iter().all(|separator| {
        matches!(separator, "" | "." | "_" | "__") || separator.bytes().all(|byte| byte == b'-')
    })
}

fn is_tag(text: &str) -> bool {
    let word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    text.len() <= TAG_BYTES
        && text.bytes().next().is_some_and(word)
        && text.bytes().all(|byte| word(byte) || matches!(byte, b'.' | b'-'))
}

fn is_digest(text: &str) -> bool {
    let Some((algorithm, hex)) = text.split_once(':') else { return false };
    let part = |part: &str| {
        part.bytes().next().is_some_and(|byte| byte.is_ascii_alphabetic())
            && part.bytes().all(|byte| byte.is_ascii_alphanumeric())
    };
    algorithm.split(['-', '_', '+', '.']).all(part)
        && hex.len() >= 32
        && hex.bytes().all(|byte| byte.is_ascii_hexdigit())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const DIGEST: &str = "sha256:aaea69ca297bd4f81a9606f34d7805df4af71f1927dc6f1bef6b023f555c7910";

    fn repository(text: &str) -> Option<String> {
        ImageReference::parse(text).map(|reference| reference.repository.to_string())
    }

    /// Names and what they stand for, many of them from `normalize_test.go` and `reference_test.go`.
    #[test]
    fn familiar_names_are_normalised() {
        for (text, full) in [
            ("redis", "docker.io/library/redis"),
            ("redis:7", "docker.io/library/redis"),
            ("library/redis", "docker.io/library/redis"),
            ("docker.io/redis", "docker.io/library/redis"),
            ("docker.io/library/redis:7", "docker.io/library/redis"),
            ("index.docker.io/redis", "docker.io/library/redis"),
            ("docker/docker", "docker.io/docker/docker"),
            ("library/debian/x", "docker.io/library/debian/x"),
            ("evil.example/redis", "evil.example/redis"),
            ("evil.example/library/redis", "evil.example/library/redis"),
            ("docker.io.evil.example/library/redis", "docker.io.evil.example/library/redis"),
            ("localhost/redis", "localhost/redis"),
            ("localhost:5000/redis", "localhost:5000/redis"),
            ("localhost:5000/redis:7", "localhost:5000/redis"),
            ("127.0.0.1:5000/docker/docker", "127.0.0.1:5000/docker/docker"),
            ("[2001:db8::1]:5000/repo", "[2001:db8::1]:5000/repo"),
            ("Foo/bar", "Foo/bar"),
            ("docker", "docker.io/library/docker"),
            ("compose/p/s", "docker.io/compose/p/s"),
            ("a__b/c.d/e---f", "docker.io/a__b/c.d/e---f"),
        ] {
            assert_eq!(repository(text).as_deref(), Some(full), "{text}");
        }
    }

    #[test]
    fn tags_and_digests_are_told_from_ports() {
        let parsed = ImageReference::parse(&format!("localhost:5000/a/b:1.2-x_y@{DIGEST}")).unwrap();
        assert_eq!(parsed.repository.as_str(), "localhost:5000/a/b");
        assert_eq!(parsed.tag.as_deref(), Some("1.2-x_y"));
        assert_eq!(parsed.digest.as_deref(), Some(DIGEST));
        let parsed = ImageReference::parse(&format!("redis@{DIGEST}")).unwrap();
        assert_eq!((parsed.tag, parsed.digest.as_deref()), (None, Some(DIGEST)));
    }

    #[test]
    fn what_is_no_reference_is_none() {
        let id = "03779c70bd385480b8fa390546ba8da3165855427640abd25e11e9bf974d3c42";
        for text in [
            "",
            "/",
            "a/",
            "/a",
            "a//b",
            "A",
            "a:",
            "a:-x",
            "a@",
            "a@sha256:abc",
            "-a",
            "a-",
            "a..b",
            "a___b",
            DIGEST,
            "a b",
            "é",
            "evil.example/Redis",
            "-x.example/a",
            "x.example:/a",
            "x.example:1x/a",
            "[/a",
            "[]/a",
            "[::1/a",
            "a:b:c",
            "a/b:c/d",
            "localhost/",
            "docker.io/",
            "a@b@c",
            id,
            &"a".repeat(300),
        ] {
            assert_eq!(repository(text), None, "{text:?}");
        }
    }

    #[test]
    fn a_name_without_registry_says_nothing_where_it_need_not_be_the_hubs() {
        assert!(ImageReference::parse_qualified("redis:7").is_none());
        assert!(ImageReference::parse_qualified("library/redis").is_none());
        let parsed = ImageReference::parse_qualified("quay.io/crio/redis:alpine").unwrap();
        assert_eq!(parsed.to_string(), "quay.io/crio/redis:alpine");
    }

    fn any_reference() -> impl Strategy<Value = String> {
        prop_oneof![
            ".*",
            "[a-zA-Z0-9.:/@_\\[\\]-]{0,40}",
            "([a-zA-Z0-9.-]{1,8}(:[0-9]{1,5})?/)?[a-z0-9]{1,4}([._-]{1,2}[a-z0-9]{1,3})?(/[a-z0-9]{1,5}){0,3}(:[a-zA-Z0-9_.-]{1,6})?(@sha256:[0-9a-f]{64})?",
        ]
    }

    proptest! {
        #[test]
        fn what_is_full_is_read_as_it_is_written(text in any_reference()) {
            if let Some(reference) = ImageReference::parse(&text) {
                let full = reference.repository.to_string();
                prop_assert_eq!(Repository::parse_full(&full), Some(reference.repository.clone()));
                prop_assert_eq!(ImageReference::parse(&reference.to_string()), Some(reference));
                let host = full.split('/').next().unwrap();
                prop_assert!(is_host(host), "{}", full);
                prop_assert!(full.len() <= NAME_BYTES);
            }
        }

        /// No registry's name is the hub's but the hub's own.
        #[test]
        fn another_registry_is_never_the_hub(host in "[a-z0-9-]{1,6}(\\.[a-z0-9-]{1,6}){1,3}(:[0-9]{1,4})?", path in "[a-z]{1,6}(/[a-z]{1,6}){0,2}") {
            if let Some(reference) = ImageReference::parse(&format!("{host}/{path}")) {
                let is_hub = reference.repository.as_str().starts_with("docker.io/");
                prop_assert_eq!(is_hub, host == HUB || host == OLD_HUB);
            }
        }
    }
}
