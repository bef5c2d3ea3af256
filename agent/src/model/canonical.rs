//! Canonical strings of identities.
//!
//! ```text
//! identity   = "human/" segment
//!            | "svc/" segment
//!            | "user-svc/" segment "/" segment
//!            | "agent/" segment "@" runner
//!            | "mcp/" segment "/of/agent/" segment "@" runner
//!            | "container/" segment "/" segment                      engine, id
//!            | "container/compose/" segment "/" segment
//!            | "container/" host ( "/" segment )+                     image: its first segment is a registry's host
//!            | "spiffe/" trust-domain path                          a SPIFFE ID without its `//`
//!            | "k8s/" segment "/" segment "/" segment "/" segment "/" segment
//!                                          cluster, namespace, kind of workload, workload, container
//!            | "k8s-sa/" segment "/" segment "/" segment              cluster, namespace, service account
//!            | "exe" path "@uid:" number
//!            | "exe-ns/" segment
//!            | "timer/" segment
//!            | "cron/" segment "/" segment
//!            | "at/" segment
//!            | "ci/" segment ( "/" segment )+ "@" runner               system, project and job
//! runner     = "uid:" number | identity of another kind than "mcp/"; agents and jobs nest 8 deep
//! segment    = any bytes, percent-encoded outside [A-Za-z0-9._-] (upper-case hex); may be empty
//! path       = ( "/" segment )*
//! ```
//!
//! One identity has one string and one string one identity: a string that would be written otherwise is refused.
//! A path that does not begin with `/` (the kernel gives none) is written as one segment that ends in an encoded
//! `/`, which no component of a real path can hold.

use std::fmt::{self, Write as _};
use std::str::FromStr;
use std::sync::Arc;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, percent_encode};

use super::identity::{Identity, Runner};
use super::image::{Repository, is_host};
use super::spiffe::SpiffeId;

/// What a segment encodes: all but letters, digits, `.`, `_` and `-`.
const ENCODED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'.').remove(b'_').remove(b'-');

/// Between an executable's path and its real uid.
const UID_MARK: &str = "@uid:";

/// Before a compose project: an engine has one part behind it, and no registry's host is called so.
const COMPOSE: &str = "compose";
const CONTAINER_FORM: &str =
    "container/REGISTRY/PATH/OF/IMAGE, container/compose/PROJECT/SERVICE or container/ENGINE/ID";

const KUBERNETES_FORM: &str = "k8s/CLUSTER/NAMESPACE/KIND/WORKLOAD/CONTAINER";

/// Agents that were started by one another, in one string: so deep do their sessions nest.
const AGENTS_DEEP: usize = 9;

/// A string that is no identity's.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ParseIdentityError {
    /// The part before the first `/` names no kind.
    #[error(
        "`{0}` is not a kind of identity: write human/…, svc/…, user-svc/…, agent/…, mcp/…, container/…, \
         spiffe/…, k8s/…, k8s-sa/…, exe/…, exe-ns/…, timer/…, cron/…, at/… or ci/… \
         (`telltale who` lists those that were seen)"
    )]
    UnknownKind(String),
    /// A kind with the wrong number of parts.
    #[error("an identity of kind `{kind}` is written `{form}`")]
    Shape {
        /// The kind.
        kind: &'static str,
        /// How it is written.
        form: &'static str,
    },
    /// The same identity is written otherwise.
    #[error(
        "this identity is written `{canonical}`: bytes outside [A-Za-z0-9._-] are percent-encoded, others not"
    )]
    NotCanonical {
        /// How.
        canonical: String,
    },
}

impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Human { user } => write!(f, "human/{}", segment(user)),
            Self::SystemUnit { unit } => write!(f, "svc/{}", segment(unit)),
            Self::UserUnit { user, unit } => write!(f, "user-svc/{}/{}", segment(user), segment(unit)),
            Self::Agent { product, runner } => write!(f, "agent/{}@{runner}", segment(product)),
            Self::McpServer { server, product, runner } => {
                write!(f, "mcp/{}/of/agent/{}@{runner}", segment(server), segment(product))
            }
            Self::Container { engine, id } => write!(f, "container/{}/{}", segment(engine), segment(id)),
            Self::Image { repository } => {
                f.write_str("container")?;
                repository.as_str().split('/').try_for_each(|part| write!(f, "/{}", segment(part.as_bytes())))
            }
            Self::Compose { project, service } => {
                write!(f, "container/{COMPOSE}/{}/{}", segment(project), segment(service))
            }
            Self::Spiffe { id } => write!(f, "spiffe/{}", id.as_str()),
            Self::Kubernetes { cluster, namespace, kind, workload, container } => {
                f.write_str("k8s")?;
                let mut parts = [cluster, namespace, kind, workload, container].into_iter();
                parts.try_for_each(|part| write!(f, "/{}", segment(part)))
            }
            Self::ServiceAccount { cluster, namespace, account } => {
                f.write_str("k8s-sa")?;
                [cluster, namespace, account].into_iter().try_for_each(|part| write!(f, "/{}", segment(part)))
            }
            Self::Executable { path, uid } => {
                f.write_str("exe")?;
                write_path(f, path)?;
                write!(f, "{UID_MARK}{uid}")
            }
            Self::NamespacedExecutable { hash } => write!(f, "exe-ns/{}", segment(hash.as_bytes())),
            Self::Timer { timer } => write!(f, "timer/{}", segment(timer)),
            Self::CronJob { user, job } => write!(f, "cron/{}/{}", segment(user), segment(job)),
            Self::AtJob { user } => write!(f, "at/{}", segment(user)),
            Self::CiJob { system, job, runner } => {
                write!(f, "ci/{}", segment(system))?;
                job.iter().try_for_each(|part| write!(f, "/{}", segment(part)))?;
                write!(f, "@{runner}")
            }
        }
    }
}

impl fmt::Display for Runner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Identity(identity) => identity.fmt(f),
            Self::Uid(uid) => write!(f, "uid:{uid}"),
        }
    }
}

impl FromStr for Identity {
    type Err = ParseIdentityError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let identity = parse(text)?;
        let canonical = identity.to_string();
        if canonical == text { Ok(identity) } else { Err(ParseIdentityError::NotCanonical { canonical }) }
    }
}

impl Identity {
    /// The first part of the canonical string: what kind of identity this is.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Human { .. } => "human",
            Self::SystemUnit { .. } => "svc",
            Self::UserUnit { .. } => "user-svc",
            Self::Agent { .. } => "agent",
            Self::McpServer { .. } => "mcp",
            Self::Container { .. } | Self::Image { .. } | Self::Compose { .. } => "container",
            Self::Spiffe { .. } => "spiffe",
            Self::Kubernetes { .. } => "k8s",
            Self::ServiceAccount { .. } => "k8s-sa",
            Self::Executable { .. } => "exe",
            Self::NamespacedExecutable { .. } => "exe-ns",
            Self::Timer { .. } => "timer",
            Self::CronJob { .. } => "cron",
            Self::AtJob { .. } => "at",
            Self::CiJob { .. } => "ci",
        }
    }
}

pub(super) fn segment(bytes: &[u8]) -> impl fmt::Display {
    percent_encode(bytes, ENCODED)
}

fn write_path(f: &mut fmt::Formatter<'_>, path: &[u8]) -> fmt::Result {
    match path {
        [] => Ok(()),
        [b'/', rest @ ..] => {
            for component in rest.split(|&byte| byte == b'/') {
                f.write_char('/')?;
                write!(f, "{}", segment(component))?;
            }
            Ok(())
        }
        relative => write!(f, "/{}%2F", segment(relative)),
    }
}

/// Reads leniently; [`Identity::from_str`] then refuses what is not written canonically.
fn parse(text: &str) -> Result<Identity, ParseIdentityError> {
    parse_within(text, AGENTS_DEEP)
}

fn parse_within(text: &str, agents: usize) -> Result<Identity, ParseIdentityError> {
    let kind = text.split(['/', '@']).next().unwrap_or_default();
    let rest = &text[kind.len()..];
    let parts: Vec<Arc<[u8]>> = rest.split('/').skip(1).map(decode).collect();
    match (kind, parts.as_slice()) {
        ("human", [user]) => Ok(Identity::Human { user: user.clone() }),
        ("human", _) => Err(ParseIdentityError::Shape { kind: "human", form: "human/USER" }),
        ("svc", [unit]) => Ok(Identity::SystemUnit { unit: unit.clone() }),
        ("svc", _) => Err(ParseIdentityError::Shape { kind: "svc", form: "svc/UNIT" }),
        ("user-svc", [user, unit]) => Ok(Identity::UserUnit { user: user.clone(), unit: unit.clone() }),
        ("user-svc", _) => Err(ParseIdentityError::Shape { kind: "user-svc", form: "user-svc/USER/UNIT" }),
        ("agent", _) => parse_agent(rest, agents)
            .map(|(product, runner)| Identity::Agent { product, runner })
            .ok_or(ParseIdentityError::Shape { kind: "agent", form: "agent/PRODUCT@RUNNER" }),
        ("mcp", _) => parse_mcp(rest, agents)
            .ok_or(ParseIdentityError::Shape { kind: "mcp", form: "mcp/SERVER/of/agent/PRODUCT@RUNNER" }),
        ("container", parts) => parse_container(parts)
            .ok_or(ParseIdentityError::Shape { kind: "container", form: CONTAINER_FORM }),
        ("spiffe", _) => rest
            .strip_prefix('/')
            .and_then(SpiffeId::without_scheme)
            .map(|id| Identity::Spiffe { id })
            .ok_or(ParseIdentityError::Shape { kind: "spiffe", form: "spiffe/TRUST-DOMAIN/PATH" }),
        ("k8s", [cluster, namespace, kind, workload, container]) => Ok(Identity::Kubernetes {
            cluster: cluster.clone(),
            namespace: namespace.clone(),
            kind: kind.clone(),
            workload: workload.clone(),
            container: container.clone(),
        }),
        ("k8s", _) => Err(ParseIdentityError::Shape { kind: "k8s", form: KUBERNETES_FORM }),
        ("k8s-sa", [cluster, namespace, account]) => Ok(Identity::ServiceAccount {
            cluster: cluster.clone(),
            namespace: namespace.clone(),
            account: account.clone(),
        }),
        ("k8s-sa", _) => {
            Err(ParseIdentityError::Shape { kind: "k8s-sa", form: "k8s-sa/CLUSTER/NAMESPACE/ACCOUNT" })
        }
        ("exe", _) => parse_executable(rest)
            .ok_or(ParseIdentityError::Shape { kind: "exe", form: "exe/PATH/OF/FILE@uid:NUMBER" }),
        ("exe-ns", [hash]) => std::str::from_utf8(hash)
            .map(|hash| Identity::NamespacedExecutable { hash: hash.into() })
            .map_err(|_| ParseIdentityError::Shape { kind: "exe-ns", form: "exe-ns/HASH" }),
        ("exe-ns", _) => Err(ParseIdentityError::Shape { kind: "exe-ns", form: "exe-ns/HASH" }),
        ("timer", [timer]) => Ok(Identity::Timer { timer: timer.clone() }),
        ("timer", _) => Err(ParseIdentityError::Shape { kind: "timer", form: "timer/TIMER" }),
        ("cron", [user, job]) => Ok(Identity::CronJob { user: user.clone(), job: job.clone() }),
        ("cron", _) => Err(ParseIdentityError::Shape { kind: "cron", form: "cron/USER/JOB" }),
        ("at", [user]) => Ok(Identity::AtJob { user: user.clone() }),
        ("at", _) => Err(ParseIdentityError::Shape { kind: "at", form: "at/USER" }),
        ("ci", _) => parse_ci(rest, agents)
            .ok_or(ParseIdentityError::Shape { kind: "ci", form: "ci/SYSTEM/PROJECT/JOB@RUNNER" }),
        (other, _) => Err(ParseIdentityError::UnknownKind(other.escape_debug().to_string())),
    }
}

/// Of what comes after `container`.
fn parse_container(parts: &[Arc<[u8]>]) -> Option<Identity> {
    if parts.first().is_some_and(|host| std::str::from_utf8(host).is_ok_and(is_host)) {
        let text: Vec<&str> =
            parts.iter().map(|part| std::str::from_utf8(part).ok()).collect::<Option<_>>()?;
        // An encoded `/` is none that parts what comes before it.
        if text.iter().any(|part| part.contains('/')) {
            return None;
        }
        return Some(Identity::Image { repository: Repository::parse_full(&text.join("/"))? });
    }
    match parts {
        [engine, id] => Some(Identity::Container { engine: engine.clone(), id: id.clone() }),
        [first, project, service] if **first == *COMPOSE.as_bytes() => {
            Some(Identity::Compose { project: project.clone(), service: service.clone() })
        }
        _ => None,
    }
}

/// Of what comes after `agent`.
fn parse_agent(rest: &str, agents: usize) -> Option<(Arc<[u8]>, Runner)> {
    let (product, runner) = rest.strip_prefix('/')?.split_once('@')?;
    if product.contains('/') {
        return None;
    }
    Some((decode(product), parse_runner(runner, agents)?))
}

/// Of what comes behind `@`.
fn parse_runner(runner: &str, agents: usize) -> Option<Runner> {
    Some(match runner.strip_prefix("uid:") {
        Some(uid) => Runner::Uid(uid.parse().ok()?),
        None => match parse_within(runner, agents.checked_sub(1)?).ok()? {
            Identity::McpServer { .. } => return None,
            identity => Runner::Identity(Arc::new(identity)),
        },
    })
}

/// Of what comes after `ci`.
fn parse_ci(rest: &str, agents: usize) -> Option<Identity> {
    let (names, runner) = rest.strip_prefix('/')?.split_once('@')?;
    let mut names = names.split('/').map(decode);
    let (system, job) = (names.next()?, names.collect::<Vec<_>>());
    let runner = parse_runner(runner, agents)?;
    (!job.is_empty()).then_some(Identity::CiJob { system, job, runner })
}

/// Of what comes after `mcp`.
fn parse_mcp(rest: &str, agents: usize) -> Option<Identity> {
    let (server, of) = rest.strip_prefix('/')?.split_once('/')?;
    let (product, runner) = parse_agent(of.strip_prefix("of/agent")?, agents)?;
    Some(Identity::McpServer { server: decode(server), product, runner })
}

fn parse_executable(rest: &str) -> Option<Identity> {
    let (path, uid) = rest.rsplit_once(UID_MARK)?;
    let uid = uid.parse().ok()?;
    let components: Vec<Arc<[u8]>> = path.split('/').skip(1).map(decode).collect();
    let path = match components.as_slice() {
        [relative] if relative.contains(&b'/') => relative.strip_suffix(b"/")?.into(),
        components => components.iter().fold(Vec::new(), |mut path, component| {
            path.push(b'/');
            path.extend_from_slice(component);
            path
        }),
    };
    Some(Identity::Executable { path: path.into(), uid })
}

pub(super) fn decode(segment: &str) -> Arc<[u8]> {
    percent_decode_str(segment).collect::<Vec<u8>>().into()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::model::image::ImageReference;

    fn bytes(text: &[u8]) -> Arc<[u8]> {
        text.into()
    }

    fn exe(path: &[u8], uid: u32) -> Identity {
        Identity::Executable { path: bytes(path), uid }
    }

    fn account(cluster: &[u8], account: &[u8]) -> Identity {
        Identity::ServiceAccount {
            cluster: bytes(cluster),
            namespace: bytes(b"shop"),
            account: bytes(account),
        }
    }

    fn spiffe(id: &str) -> Identity {
        Identity::Spiffe { id: SpiffeId::without_scheme(id).unwrap() }
    }

    fn image(reference: &str) -> Identity {
        Identity::Image { repository: ImageReference::parse(reference).unwrap().repository }
    }

    #[test]
    fn each_kind_is_written_as_documented() {
        let agent = |runner: Runner| Identity::Agent { product: bytes(b"claude-code"), runner };
        let alice = Runner::Identity(Arc::new(Identity::Human { user: bytes(b"alice") }));
        let svc = Runner::Identity(Arc::new(Identity::SystemUnit { unit: bytes(b"ci.runner") }));
        let ci = |job: &[&[u8]], runner| Identity::CiJob {
            system: bytes(b"github"),
            job: job.iter().map(|part| bytes(part)).collect(),
            runner,
        };
        let workload = |cluster: &[u8], kind: &[u8], name: &[u8]| Identity::Kubernetes {
            cluster: bytes(cluster),
            namespace: bytes(b"shop"),
            kind: bytes(kind),
            workload: bytes(name),
            container: bytes(b"nginx"),
        };
        let table: [(Identity, &str); 40] = [
            (
                ci(&[b"acme", b"web", b"Deploy it", b"build"], svc),
                "ci/github/acme/web/Deploy%20it/build@svc/ci.runner",
            ),
            (ci(&[b".github/x.yml"], Runner::Uid(7)), "ci/github/.github%2Fx.yml@uid:7"),
            (ci(&[b""], alice.clone()), "ci/github/@human/alice"),
            (Identity::Timer { timer: bytes(b"backup@db") }, "timer/backup%40db"),
            (Identity::CronJob { user: bytes(b"root"), job: bytes(b"backup") }, "cron/root/backup"),
            (Identity::AtJob { user: bytes(b"alice") }, "at/alice"),
            (workload(b"production", b"deployment", b"web"), "k8s/production/shop/deployment/web/nginx"),
            (
                workload(b"eu/1", b"rollout.argoproj.io", b"web"),
                "k8s/eu%2F1/shop/rollout.argoproj.io/web/nginx",
            ),
            (
                agent(Runner::Identity(Arc::new(workload(b"", b"job", b"")))),
                "agent/claude-code@k8s//shop/job//nginx",
            ),
            (agent(alice.clone()), "agent/claude-code@human/alice"),
            (agent(Runner::Uid(1000)), "agent/claude-code@uid:1000"),
            (agent(Runner::Identity(Arc::new(exe(b"/a@b", 7)))), "agent/claude-code@exe/a%40b@uid:7"),
            (
                agent(Runner::Identity(Arc::new(agent(Runner::Uid(7))))),
                "agent/claude-code@agent/claude-code@uid:7",
            ),
            (
                Identity::McpServer {
                    server: bytes(b"@modelcontextprotocol/server-git"),
                    product: bytes(b"codex"),
                    runner: alice,
                },
                "mcp/%40modelcontextprotocol%2Fserver-git/of/agent/codex@human/alice",
            ),
            (
                Identity::McpServer { server: bytes(b"of"), product: bytes(b""), runner: Runner::Uid(0) },
                "mcp/of/of/agent/@uid:0",
            ),
            (Identity::Human { user: bytes(b"alice") }, "human/alice"),
            (Identity::Human { user: bytes(b"uid:1000") }, "human/uid%3A1000"),
            (Identity::Human { user: bytes(b"") }, "human/"),
            (Identity::Human { user: bytes("zoë@corp/x".as_bytes()) }, "human/zo%C3%AB%40corp%2Fx"),
            (Identity::SystemUnit { unit: bytes(b"nginx") }, "svc/nginx"),
            (Identity::SystemUnit { unit: bytes(b"getty@tty1") }, "svc/getty%40tty1"),
            (Identity::SystemUnit { unit: bytes(b"..") }, "svc/.."),
            (
                Identity::UserUnit { user: bytes(b"alice"), unit: bytes(b"syncthing") },
                "user-svc/alice/syncthing",
            ),
            (Identity::Container { engine: bytes(b"lxc"), id: bytes(b"web 1%") }, "container/lxc/web%201%25"),
            (image("redis:7"), "container/docker.io/library/redis"),
            (image("localhost:5000/a/b"), "container/localhost%3A5000/a/b"),
            (image("evil.example/docker.io/library/redis"), "container/evil.example/docker.io/library/redis"),
            (
                Identity::Compose { project: bytes(b"shop"), service: bytes(b"db/1") },
                "container/compose/shop/db%2F1",
            ),
            (Identity::Container { engine: bytes(b"compose"), id: bytes(b"x") }, "container/compose/x"),
            (account(b"production", b"web"), "k8s-sa/production/shop/web"),
            (account(b"eu/1", b""), "k8s-sa/eu%2F1/shop/"),
            (spiffe("example.org"), "spiffe/example.org"),
            (spiffe("example.org/ns/a/sa/b"), "spiffe/example.org/ns/a/sa/b"),
            (exe(b"/usr/local/bin/sync", 1000), "exe/usr/local/bin/sync@uid:1000"),
            (exe(b"/opt/a@uid:0/./../b", 7), "exe/opt/a%40uid%3A0/./../b@uid:7"),
            (exe(b"//a//", 7), "exe//a//@uid:7"),
            (exe(b"/", 7), "exe/@uid:7"),
            (exe(b"", 7), "exe@uid:7"),
            (exe(b"not/absolute", 7), "exe/not%2Fabsolute%2F@uid:7"),
            (Identity::NamespacedExecutable { hash: "00ff".into() }, "exe-ns/00ff"),
        ];
        for (identity, text) in table {
            assert_eq!(identity.to_string(), text);
            assert_eq!(text.parse(), Ok(identity), "{text}");
        }
    }

    #[test]
    fn a_second_way_to_write_an_identity_is_refused() {
        for text in [
            "human/%61lice",
            "svc/a%2fb",
            "human/a:b",
            "exe/bin/x@uid:007",
            "exe/bin/x@uid:+7",
            "exe/a%2F%2F/b@uid:1",
        ] {
            let error = text.parse::<Identity>().unwrap_err();
            assert!(matches!(error, ParseIdentityError::NotCanonical { .. }), "{text}: {error}");
        }
    }

    #[test]
    fn agents_nest_so_deep_and_no_deeper() {
        let nested = |depth: usize| format!("{}uid:7", "agent/a@".repeat(depth));
        assert_eq!(nested(AGENTS_DEEP).parse::<Identity>().map(|it| it.to_string()), Ok(nested(AGENTS_DEEP)));
        for depth in [AGENTS_DEEP + 2, 1_000_000] {
            assert!(nested(depth).parse::<Identity>().is_err(), "{depth}");
        }
    }

    #[test]
    fn what_is_no_identity_is_refused_with_its_form() {
        for text in ["", "root", "agents/claude", "exec/x@uid:1"] {
            let error = text.parse::<Identity>().unwrap_err();
            assert!(matches!(error, ParseIdentityError::UnknownKind(_)), "{text}: {error}");
        }
        for text in [
            "human",
            "human/a/b",
            "svc",
            "user-svc/a",
            "container/x",
            "container/docker.io/redis",
            "container/index.docker.io/library/redis",
            "container/docker.io%2Flibrary%2Fredis",
            "container/docker.io/library%2Fredis",
            "container/docker.io/library/redis%3A7",
            "container/docker.io",
            "container/docker/a/b",
            "k8s/c/n/deployment/web",
            "k8s/c/n/deployment/web/nginx/x",
            "exe/bin/x",
            "exe/x@uid:-1",
            "exe-ns/%FF",
            "agent/claude",
            "agent/a/b@uid:1",
            "agent/a@uid:-1",
            "agent/a@nobody",
            "agent/a@mcp/x/of/agent/b@uid:1",
            "mcp/x",
            "mcp/x/of/human/alice",
            "mcp/x/of/agent/a@mcp/y/of/agent/a@uid:1",
            "k8s-sa/a/b",
            "k8s-sa/a/b/c/d",
            "timer/a/b",
            "cron/root",
            "at/a/b",
            "ci/github@uid:1",
            "ci/github/acme",
            "ci/github/acme@mcp/x/of/agent/b@uid:1",
        ] {
            let error = text.parse::<Identity>().unwrap_err();
            assert!(matches!(error, ParseIdentityError::Shape { .. }), "{text}: {error}");
        }
    }

    fn any_bytes() -> impl Strategy<Value = Arc<[u8]>> {
        prop_oneof![
            proptest::collection::vec(any::<u8>(), 0..24),
            proptest::collection::vec(proptest::sample::select(b"/.%@:-_aZ09 \n\xff".to_vec()), 0..12),
        ]
        .prop_map(Into::into)
    }

    /// No engine is called as a registry's host may be.
    fn any_engine() -> impl Strategy<Value = Arc<[u8]>> {
        let is_engine = |name: &Arc<[u8]>| !std::str::from_utf8(name).is_ok_and(is_host);
        prop_oneof![Just(bytes(b"docker")), Just(bytes(b"compose")), any_bytes()]
            .prop_filter("a host", is_engine)
    }

    fn any_identity() -> impl Strategy<Value = Identity> {
        let runner = prop_oneof![
            any_workload().prop_map(|identity| Runner::Identity(Arc::new(identity))),
            any::<u32>().prop_map(Runner::Uid),
        ];
        prop_oneof![
            4 => any_workload(),
            1 => (any_bytes(), runner.clone()).prop_map(|(product, runner)| Identity::Agent { product, runner }),
            1 => (any_bytes(), prop::collection::vec(any_bytes(), 1..4), runner.clone())
                .prop_map(|(system, job, runner)| Identity::CiJob { system, job, runner }),
            1 => (any_bytes(), any_bytes(), runner)
                .prop_map(|(server, product, runner)| Identity::McpServer { server, product, runner }),
        ]
    }

    /// Boxed: all kinds in one type would not fit a test's stack.
    fn any_kubernetes() -> BoxedStrategy<Identity> {
        let parts = (any_bytes(), any_bytes(), any_bytes(), any_bytes(), any_bytes());
        let make = |(cluster, namespace, kind, workload, container)| Identity::Kubernetes {
            cluster,
            namespace,
            kind,
            workload,
            container,
        };
        parts.prop_map(make).boxed()
    }

    fn any_workload() -> impl Strategy<Value = Identity> {
        prop_oneof![
            any_bytes().prop_map(|user| Identity::Human { user }),
            any_bytes().prop_map(|unit| Identity::SystemUnit { unit }),
            (any_bytes(), any_bytes()).prop_map(|(user, unit)| Identity::UserUnit { user, unit }),
            any_kubernetes(),
            (any_engine(), any_bytes()).prop_map(|(engine, id)| Identity::Container { engine, id }),
            (any_bytes(), any_bytes()).prop_map(|(project, service)| Identity::Compose { project, service }),
            "([a-z]{1,3}[.:][0-9]{1,3}/)?[a-z0-9]{1,5}(/[a-z0-9]{1,5}){0,3}"
                .prop_filter_map("no reference", |text| ImageReference::parse(&text))
                .prop_map(|reference| Identity::Image { repository: reference.repository }),
            any_bytes().prop_map(|timer| Identity::Timer { timer }),
            (any_bytes(), any_bytes()).prop_map(|(user, job)| Identity::CronJob { user, job }),
            any_bytes().prop_map(|user| Identity::AtJob { user }),
            (any_bytes(), any::<u32>()).prop_map(|(path, uid)| Identity::Executable { path, uid }),
            (any_bytes(), any_bytes()).prop_map(|(cluster, name)| account(&cluster, &name)),
            "[a-z0-9._-]{1,9}(/[a-zA-Z0-9_-]{1,9}){0,3}".prop_map(|id| spiffe(&id)),
            any::<String>().prop_map(|hash| Identity::NamespacedExecutable { hash: hash.into() }),
        ]
    }

    proptest! {
        #[test]
        fn every_kind_is_named(identity in any_identity()) {
            use crate::ship::wire::names;
            prop_assert!(names::KINDS.contains(&names::identity_kind(&identity)));
        }

        #[test]
        fn every_identity_comes_back_from_its_string(identity in any_identity()) {
            let text = identity.to_string();
            prop_assert!(text.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-%@/:".contains(&b)), "{text}");
            prop_assert!(text.starts_with(identity.kind()));
            prop_assert_eq!(text.parse::<Identity>(), Ok(identity));
        }

        #[test]
        fn different_identities_have_different_strings(one in any_identity(), other in any_identity()) {
            prop_assert_eq!(one.to_string() == other.to_string(), one == other);
        }

        #[test]
        fn any_text_is_an_identity_in_canonical_form_or_an_error(
            text in prop_oneof![".*", "(human|svc|user-svc|container|spiffe|k8s|k8s-sa|exe|exe-ns|agent|mcp|timer|cron|at|ci)[/a%@:.0-9F]{0,16}(/of/agent/a)?(@uid:[0-9]{1,3})?"]
        ) {
            if let Ok(identity) = text.parse::<Identity>() {
                prop_assert_eq!(identity.to_string(), text);
            }
        }
    }
}
