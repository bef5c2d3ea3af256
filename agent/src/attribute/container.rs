//! Containers: by engine and id, as the engine of the host named their cgroup.
//!
//! What makes `container/docker/<id>` stable: nothing but the container's own life, until an engine tells the image.
//! Machines of nspawn, machined and LXC are called by name and stay the same over restarts.

use crate::model::identity::{Confidence, Evidence, Identity};

use super::{Finding, Resolver, Standing, Subject};

/// Containers by cgroup.
#[derive(Debug)]
pub(super) struct Container;

impl Resolver for Container {
    fn resolve(&self, subject: &Subject<'_>) -> Finding {
        let place = subject.place;
        let mut evidence = Vec::new();
        let mut say = |kind, detail, confidence| evidence.push(Evidence { kind, detail, confidence });
        let identity = place.container.as_ref().map(|name| {
            say("cgroup", subject.cgroup.path.to_string(), Confidence::Observed);
            let (engine, id) = (name.engine.as_bytes().into(), name.id.clone());
            (Identity::Container { engine, id }, Standing::Key)
        });
        if let Some(pod) = &place.pod {
            say("pod_uid", pod.clone(), Confidence::Observed);
        }
        // Not even blended in: it would carry the name of a container that may be another's.
        if let Some(name) = &place.claimed_container {
            let detail = format!("{} {}, below a delegation point", name.engine, name.id.escape_ascii());
            say("container_claim", detail, Confidence::Claimed);
        }
        Finding { identity, evidence }
    }
}
