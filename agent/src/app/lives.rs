//! Identities' lives, between the event path and the thread that keeps them.

use std::io;
use std::sync::Arc;

use crate::control::api::{Ancestor, Who};
use crate::host::HostRoot;
use crate::kernel::sensor::Sensor;
use crate::life::owners::Owners;
use crate::life::store::{Places, Seen, Store, StoreThread};
use crate::life::{Sighting, Sightings};
use crate::model::event::Event;
use crate::model::identity::{Attribution, Identity};
use crate::model::process::Process;
use crate::model::time::ClockPair;
use crate::pipeline::Pipeline;
use crate::ship::wire::names;

/// What was seen of identities, on its way to the store.
pub(super) struct Lives {
    sightings: Sightings,
    store: Store,
    thread: StoreThread,
    boot_id: String,
}

impl Lives {
    /// Starts the store's thread, which has the privileges that the caller has now.
    pub(super) fn start(places: Places, host: Arc<HostRoot>, boot_id: String) -> io::Result<Self> {
        let sightings = Sightings::new(host.namespaces().mount);
        let (store, thread) = Store::start(places, host)?;
        Ok(Self { sightings, store, thread, boot_id })
    }

    /// The store, to be asked.
    pub(super) fn store(&self) -> Store {
        self.store.clone()
    }

    /// Takes note of who acts in an event.
    pub(super) fn event(&mut self, event: &Event) {
        self.sightings.event(event);
    }

    /// Events whose identity was not noted.
    pub(super) fn turned_away(&self) -> u64 {
        self.sightings.turned_away()
    }

    /// Owners, where they have changed.
    pub(super) fn new_owners(&mut self) -> Option<Arc<Owners>> {
        self.store.new_owners()
    }

    /// Hands on what was seen, unless the store has still to do with the last.
    pub(super) fn hand_on(&mut self, pipeline: &mut Pipeline, clocks: ClockPair) {
        if self.store.is_ready() {
            self.hand_on_now(pipeline, clocks);
        }
    }

    fn hand_on_now(&mut self, pipeline: &mut Pipeline, clocks: ClockPair) {
        let with_starter = |mut sighting: Sighting| {
            let starter = starter(pipeline, &sighting);
            sighting.lineage = Vec::new();
            (sighting, starter)
        };
        let identities = self.sightings.take().into_iter().map(with_starter).collect();
        let credentials = self.sightings.take_credentials(clocks);
        if !self.store.add(Seen { identities, boot_id: self.boot_id.clone(), clocks, credentials }) {
            tracing::warn!(
                "what was seen of identities and credentials in the last seconds is not added to their lives: too much is asked"
            );
        }
    }

    /// Hands on the rest, and waits until it is written.
    pub(super) fn stop(mut self, pipeline: &mut Pipeline, clocks: ClockPair) {
        self.hand_on_now(pipeline, clocks);
        self.thread.stop();
    }
}

/// Who started an identity: the nearest maker that is somebody else.
fn starter(pipeline: &mut Pipeline, sighting: &Sighting) -> Option<Identity> {
    let own = &sighting.attribution.identity;
    sighting.lineage.iter().find_map(|ancestor| {
        let identity = &pipeline.attributor().attribute_as_started(ancestor).identity;
        (identity != own).then(|| identity.clone())
    })
}

/// What is known of a process that runs.
pub(super) fn who(pipeline: &mut Pipeline, sensor: &Sensor, pid: u32) -> Option<Who> {
    let process = pipeline.processes().running(pid)?;
    let why = crate::context::why(pipeline.processes(), &process);
    let attribution = pipeline.attributor().attribute_as_started(&process);
    let lineage = why.lineage.iter().map(|ancestor| {
        let attribution = pipeline.attributor().attribute_as_started(ancestor);
        line(ancestor, &attribution.identity)
    });
    let lineage = lineage.collect();
    let Attribution { identity, evidence, confidence, human, blended, role, owner, .. } = &*attribution;
    Some(Who {
        argv: process.image.argv.iter().map(ToString::to_string).collect(),
        cgroup: process.cgroup.path.to_string(),
        login_uid: process.ids.login_uid,
        confidence: names::confidence(*confidence).to_owned(),
        evidence: evidence.iter().map(Into::into).collect(),
        human: human.as_ref().map(ToString::to_string),
        blended: blended.iter().map(ToString::to_string).collect(),
        role: role.as_ref().map(|role| names::agent_part(&role.part).to_owned()),
        agent_session: role.as_ref().map(|role| role.session.id()),
        owner: owner.as_ref().map(|owner| owner.name.to_string()),
        owner_source: owner.as_ref().map(|owner| names::owner_source(owner.source).to_owned()),
        selectors: pipeline.attributor().selectors(&process).into_iter().collect(),
        process: line(&process, identity),
        lineage,
        lineage_truncated: why.lineage_truncated,
        tag: sensor.tag(process.key).ok().flatten().map(|tag| tag.number),
    })
}

fn line(process: &Process, identity: &Identity) -> Ancestor {
    Ancestor {
        pid: process.key.pid,
        uid: process.ids.uid,
        exe: process.image.exe.to_string(),
        identity: identity.to_string(),
        identity_kind: names::identity_kind(identity).to_owned(),
    }
}
