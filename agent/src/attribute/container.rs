//! Containers: by the image or the service that their engine tells, else by engine and id, as the engine of the host
//! named their cgroup.
//!
//! What makes `container/docker.io/library/redis` stable: the repository that the image was taken from. A new version has
//! another tag or digest, a new container another id; neither is in it. `container/compose/shop/db` is what the project's
//! file calls the service. Machines of nspawn, machined and LXC are called by name and stay the same over restarts.
//!
//! That it is a container, and which, is its cgroup's to say, which no user can name so ([`super::place`]); what it was
//! made from is read of root's files ([`crate::host::containers`]).

use std::sync::Arc;

use crate::model::container::{Answer, ComposeService, EngineFacts, InContainer, Pod};
use crate::model::identity::{Confidence, Evidence, Identity};
use crate::model::image::is_id;

use super::containers::Containers;
use super::kubernetes::pod_of;
use super::place::{ContainerName, Place};
use super::pods::Pods;
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
            let id = engine_id(name);
            let answer = id.and_then(|id| subject.containers.answer(id));
            let facts = match answer {
                Some(Answer::Found(facts)) => Some(&**facts),
                _ => None,
            };
            match facts {
                Some(facts) => tell(facts, &mut say),
                None if id.is_some() => say("image_unknown", why(answer).to_owned(), Confidence::Observed),
                None => {}
            }
            (facts.and_then(stable).unwrap_or_else(|| by_id(name)), Standing::Key)
        });
        // Not even blended in: it would carry the name of a container that may be another's.
        if let Some(name) = &place.claimed_container {
            let detail = format!("{} {}, below a delegation point", name.engine, name.id.escape_ascii());
            say("container_claim", detail, Confidence::Claimed);
        }
        Finding { identity, evidence }
    }
}

/// The id under which an engine keeps files.
pub(super) fn engine_id(name: &ContainerName) -> Option<&str> {
    std::str::from_utf8(&name.id).ok().filter(|id| is_id(id))
}

/// The container of a place, and what is known of it.
pub(super) fn in_container(place: &Place, containers: &Containers, pods: &Pods) -> Option<InContainer> {
    let name = place.container.as_ref()?;
    let facts = engine_id(name).and_then(|id| containers.facts(id)).cloned();
    let pod_uid = facts.as_ref().and_then(|facts| Some(facts.pod.as_ref()?.uid.clone()));
    Some(InContainer {
        engine: facts.as_ref().map_or_else(|| name.engine.into(), |facts| facts.engine.clone()),
        id: name.id.escape_ascii().to_string().into(),
        facts,
        pod_uid: place.pod.as_deref().map(Arc::from).or(pod_uid),
        kube: pod_of(place, containers, pods),
    })
}

/// An identity that outlives the container.
fn stable(facts: &EngineFacts) -> Option<Identity> {
    if let Some(ComposeService { project, service }) = &facts.compose {
        let (project, service) = (project.as_bytes().into(), service.as_bytes().into());
        return Some(Identity::Compose { project, service });
    }
    facts.image.as_ref().map(|image| Identity::Image { repository: image.repository.clone() })
}

fn by_id(name: &ContainerName) -> Identity {
    Identity::Container { engine: name.engine.as_bytes().into(), id: name.id.clone() }
}

/// Evidence of what an engine keeps.
fn tell(facts: &EngineFacts, say: &mut impl FnMut(&'static str, String, Confidence)) {
    let EngineFacts { engine, source, name, image, image_id: _, compose, pod, selectors: _ } = facts;
    let declared = Confidence::Declared;
    match image {
        Some(image) => say("image", format!("{image}, says {engine} in {source}"), declared),
        None => say("image_unknown", format!("{source} tells no name of its image"), Confidence::Observed),
    }
    if let Some(ComposeService { project, service }) = compose {
        say("compose", format!("{} {}", project.escape_debug(), service.escape_debug()), declared);
    }
    if let Some(name) = name {
        say("container_name", name.escape_debug().to_string(), declared);
    }
    if let Some(Pod { name, namespace, uid: _ }) = pod {
        say("pod", format!("{}/{}", namespace.escape_debug(), name.escape_debug()), declared);
    }
}

/// Why no image is known.
fn why(answer: Option<&Answer>) -> &'static str {
    match answer {
        None | Some(Answer::Found(_)) => "asked for, not yet answered",
        Some(Answer::NotFound) => "no engine keeps a file of it where engines do",
        Some(Answer::TooLarge) => "its engine's file is larger than is read",
        Some(Answer::Refused) => "its engine's file is not root's alone",
        Some(Answer::Unreadable) => "its engine's file cannot be read",
    }
}
