//! From a pod to the workload at the top of its chain of owners, with the least rights.
//!
//! Who may create a pod may write any owner into it, and the API server asks no questions. What a controller calls by its
//! own name (a StatefulSet, a DaemonSet, a Job, another's kind) is taken as the pod says; a ReplicaSet, and a Job, may
//! themselves be owned: that one object's metadata is asked for, and counts where its uid is the one that the pod names. So
//! the name of a workload never comes from a pod alone where it is another's than the pod says; where that object cannot be
//! read it does, and is doubted: a claim. It never leaves the
//! namespace, which is the API server's word: who may create pods there can be any workload of it, and use any of its
//! service accounts besides.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::client::{Client, Failure, METADATA};
use super::objects::{Metadata, Object, OwnerReference, Pod, parse};
use crate::generations::Generations;
use crate::model::kube::Workload;

/// Objects that are remembered, in two generations.
const GENERATION: usize = 2_048;
/// Bytes of an object's metadata: all annotations have 256 KiB at most.
const METADATA_BYTES: usize = 2 << 20;
/// After a refusal the same kind is not asked for again for so long.
const REFUSED: Duration = Duration::from_secs(300);
/// How far the time in the name of a CronJob's Job may be from when its pod was made: a Job may wait for long to begin.
const MINUTES: i64 = 7 * 24 * 60;

/// What became of a pod's chain of owners.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Chain {
    /// The top of it.
    pub(super) workload: Option<Workload>,
    /// Why it is not known, or not confirmed.
    pub(super) doubt: Option<Arc<str>>,
    /// Whether it is to be asked for again.
    pub(super) is_open: bool,
}

impl Chain {
    fn known(kind: &str, name: &str) -> Self {
        let workload = Some(Workload { kind: kind.into(), name: name.into() });
        Self { workload, doubt: None, is_open: false }
    }

    fn doubted(self, doubt: String) -> Self {
        Self { doubt: Some(doubt.into()), ..self }
    }
}

/// Kinds that may be owned by another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Middle {
    ReplicaSet,
    Job,
}

impl Middle {
    fn of(owner: &OwnerReference) -> Option<Self> {
        match (owner.group(), owner.kind.as_str()) {
            ("apps" | "extensions", "ReplicaSet") => Some(Self::ReplicaSet),
            ("batch", "Job") => Some(Self::Job),
            _ => None,
        }
    }

    fn path(self, namespace: &str, name: &str) -> String {
        match self {
            Self::ReplicaSet => format!("/apis/apps/v1/namespaces/{namespace}/replicasets/{name}"),
            Self::Job => format!("/apis/batch/v1/namespaces/{namespace}/jobs/{name}"),
        }
    }
}

/// The top of a chain: kind and name.
type Top = (String, String);

/// Follows chains.
pub(super) struct Owners {
    /// By what is in the middle of a chain ([`key`]).
    tops: Generations<String, Top>,
    pause: Duration,
    /// Until when nobody is asked, because a question was not answered.
    not_before: Option<(Instant, Failure)>,
    refused_until: [Option<Instant>; 2],
}

impl Owners {
    /// After a question to which nobody has answered, no other is asked for `pause`: pods do not wait for each of them.
    pub(super) fn new(pause: Duration) -> Self {
        let tops = Generations::new(GENERATION);
        Self { tops, pause, not_before: None, refused_until: [None; 2] }
    }

    /// The workload of a pod. `server`: none, where the API server is not asked.
    pub(super) async fn of(&mut self, pod: &Pod, server: Option<&mut Client>) -> Chain {
        let Metadata { name, namespace, .. } = &pod.metadata;
        if pod.static_uid().is_some() {
            let suffix = pod.node().map(|node| format!("-{node}")).unwrap_or_default();
            return Chain::known("static-pod", name.strip_suffix(&*suffix).unwrap_or(name));
        }
        let Some(owner) = pod.metadata.controller() else { return Chain::known("pod", name) };
        let Some(kind) = owner.kind() else {
            return Chain::known("pod", name).doubted("what it says of its owner can be none".to_owned());
        };
        let Some(middle) = Middle::of(owner) else {
            // Their controllers make no pods themselves: it is the pod's word alone.
            let makes_none = matches!(kind.as_str(), "deployment" | "cronjob");
            return if makes_none {
                Chain::known("pod", name).doubted(format!("a {kind} owns no pod itself, as it says"))
            } else {
                Chain::known(&kind, &owner.name)
            };
        };
        if let Some((kind, name)) = self.tops.touch(&key(namespace, &kind, owner)) {
            return Chain::known(kind, name);
        }
        let failure = match server {
            None => Failure::NotAsked,
            Some(server) => match self.look(middle, namespace, (&kind, owner), server).await {
                Ok((kind, name)) => return Chain::known(&kind, &name),
                Err(failure) => failure,
            },
        };
        let what = format!("{} {}", owner.kind, owner.name);
        match failure {
            // Nobody has made it, or another has its name: a pod's word alone.
            Failure::NotFound => {
                Chain::known("pod", name).doubted(format!("there is no {what} with the uid it says"))
            }
            failure => {
                let is_open = failure.is_passing();
                let by_name = by_name(&pod.metadata, owner, middle);
                let doubt = |how: &str| Some(format!("{what} cannot be read ({failure}){how}").into());
                match by_name {
                    Some((kind, name, how)) => {
                        Chain { doubt: doubt(how), is_open, ..Chain::known(kind, &name) }
                    }
                    // It would have another name later.
                    None if is_open => Chain { workload: None, doubt: doubt(""), is_open },
                    None => Chain { doubt: doubt(""), ..Chain::known(&kind, &owner.name) },
                }
            }
        }
    }

    async fn look(
        &mut self,
        middle: Middle,
        namespace: &str,
        (kind, owner): (&str, &OwnerReference),
        server: &mut Client,
    ) -> Result<Top, Failure> {
        let now = Instant::now();
        if let Some((_, failure)) = self.not_before.as_ref().filter(|(then, _)| now < *then) {
            return Err(failure.clone());
        }
        let refused = self.refused_until.get(middle as usize).copied().flatten();
        if refused.is_some_and(|until| now < until) {
            return Err(Failure::Refused(reqwest::StatusCode::FORBIDDEN));
        }
        let path = middle.path(namespace, &owner.name);
        match server.get(&path, &[], METADATA, METADATA_BYTES).await {
            Ok(bytes) => {
                let object: Object = parse(&bytes).map_err(Failure::Malformed)?;
                if object.metadata.uid != owner.uid || object.metadata.namespace != namespace {
                    return Err(Failure::NotFound);
                }
                let above =
                    object.metadata.controller().and_then(|above| Some((above.kind()?, above.name.clone())));
                let top = above.unwrap_or_else(|| (kind.to_owned(), owner.name.clone()));
                self.tops.insert(key(namespace, kind, owner), top.clone());
                Ok(top)
            }
            Err(failure) => {
                if failure.is_passing() {
                    self.not_before = Some((Instant::now() + self.pause, failure.clone()));
                } else if matches!(failure, Failure::Refused(_))
                    && let Some(until) = self.refused_until.get_mut(middle as usize)
                {
                    *until = Some(Instant::now() + REFUSED);
                }
                Err(failure)
            }
        }
    }
}

/// A uid alone would be another namespace's to name.
fn key(namespace: &str, kind: &str, owner: &OwnerReference) -> String {
    format!("{namespace}/{kind}/{}/{}", owner.name, owner.uid)
}

/// The workload by how its controller calls what it makes, where that cannot be read.
fn by_name(
    pod: &Metadata,
    owner: &OwnerReference,
    middle: Middle,
) -> Option<(&'static str, String, &'static str)> {
    match middle {
        Middle::ReplicaSet => {
            let hash = pod.template_hash().filter(|hash| !hash.is_empty())?;
            let name = owner.name.strip_suffix(hash)?.strip_suffix('-').filter(|name| !name.is_empty())?;
            Some(("deployment", name.to_owned(), ": by its label pod-template-hash"))
        }
        // `getJobName` of `pkg/controller/cronjob/utils.go`, <https://github.com/kubernetes/kubernetes>: minutes since 1970.
        Middle::Job => {
            let (name, minutes) = owner.name.rsplit_once('-').filter(|(name, _)| !name.is_empty())?;
            let scheduled: i64 = Some(minutes).filter(|digits| digits.len() == 8)?.parse().ok()?;
            let is_near = (pod.made_at_minute()? - scheduled).abs() <= MINUTES;
            is_near.then(|| ("cronjob", name.to_owned(), ": by the time in its name"))
        }
    }
}
