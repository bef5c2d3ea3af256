//! SPIFFE: the selectors that SPIRE's attestors would compute of a process, and the IDs that an operator's export of
//! entries gives to who has them.
//!
//! An ID is blended in, never the key: entries say who may ask for an SVID, and are as good as the export.

use std::collections::BTreeSet;

use crate::model::identity::{Confidence, Evidence, Identity};
use crate::model::program::{FileAnswer, FileKey};

use super::container::in_container;
use super::unit::in_unit;
use super::{Finding, Resolver, Standing, Subject};

/// IDs by an operator's export of entries.
#[derive(Debug)]
pub(super) struct Spiffe;

/// What is said of one entry.
fn evidence(entry: &crate::operator::entries::Entry) -> Evidence {
    let detail = format!("{} by the entry {}", entry.spiffe_id, entry.id);
    Evidence { kind: "spiffe", detail, confidence: Confidence::Declared }
}

impl Resolver for Spiffe {
    fn resolve(&self, subject: &Subject<'_>) -> Finding {
        if subject.entries.is_empty() {
            return Finding::default();
        }
        let entries = subject.entries.of(&selectors(subject));
        // More than one is told as evidence; a workload that has several asks for the one that it wants.
        let identity = entries.first().map(|entry| Identity::Spiffe { id: entry.spiffe_id.clone() });
        let identity = identity.map(|identity| (identity, Standing::Blended));
        Finding { identity, evidence: entries.into_iter().map(evidence).collect() }
    }
}

/// The selectors of a process (`unix:uid:1000`).
///
/// As the plugins of <https://github.com/spiffe/spire>, `pkg/agent/plugin/workloadattestor`, compute them: `unix` (of the
/// effective ids: `getUID` takes the second of `Uid:`), `systemd`, `docker` and `k8s` as far as engines' files and the cluster tell.
/// Not computed: names of groups, supplementary groups, docker's `env` (a place of secrets).
pub(super) fn selectors(subject: &Subject<'_>) -> BTreeSet<String> {
    let ids = &subject.actor.ids;
    let text = |bytes: &[u8]| std::str::from_utf8(bytes).ok().map(str::to_owned);
    let mut all = BTreeSet::from([format!("unix:uid:{}", ids.euid), format!("unix:gid:{}", ids.egid)]);
    if subject.users.is_known(ids.euid) {
        all.extend(text(&subject.users.name(ids.euid)).map(|name| format!("unix:user:{name}")));
    }
    let exe = subject.process.image.exe.as_bytes();
    // Of another mount namespace the attestor and the kernel's record may name the file differently.
    if !exe.is_empty() && subject.actor.namespaces.mount == subject.host.mount {
        all.extend(text(exe).map(|path| format!("unix:path:{path}")));
    }
    if let Some(FileAnswer::Found(facts)) =
        subject.programs.file(FileKey::from(&subject.process.image.exe_file))
    {
        all.extend(facts.sha256.as_ref().map(|digest| format!("unix:sha256:{digest}")));
    }
    if let Some(unit) = &subject.place.unit {
        all.extend(text(unit).map(|unit| format!("systemd:id:{unit}")));
    }
    let facts = in_unit(subject.place, subject.units).and_then(|unit| unit.facts);
    all.extend(facts.map(|facts| format!("systemd:fragment_path:{}", facts.fragment)));
    let Some(container) = in_container(subject.place, subject.containers, subject.pods) else { return all };
    if let Some(facts) = container.facts {
        all.extend(facts.selectors.iter().map(ToString::to_string));
        if let Some(pod) = &facts.pod {
            all.insert(format!("k8s:ns:{}", pod.namespace));
            all.insert(format!("k8s:pod-name:{}", pod.name));
            all.insert(format!("k8s:pod-uid:{}", pod.uid));
            all.extend(facts.name.as_ref().map(|name| format!("k8s:container-name:{name}")));
        }
    }
    if let Some(pod) = container.kube {
        all.extend(pod.service_account.as_ref().map(|account| format!("k8s:sa:{account}")));
        all.extend(pod.labels.iter().map(|(name, value)| format!("k8s:pod-label:{name}:{value}")));
    }
    all
}
