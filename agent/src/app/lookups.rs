//! What is looked up beside the event path: what is to be asked, of which thread, and what they bring.

use std::io;
use std::iter::from_fn;
use std::sync::Arc;

use crate::host::HostRoot;
use crate::host::cgroups::{self, CgroupLookup};
use crate::host::containers::{self, ContainerLookup};
use crate::host::programs::{self, ProgramLookup};
use crate::host::scripts::{self, ScriptLookup};
use crate::host::units::{self, UnitLookup};
use crate::kube::{self, Cluster};
use crate::model::container::ContainerFound;
use crate::model::kube::ClusterNews;
use crate::model::process::{Cgroup, Hierarchy};
use crate::model::program::ProgramFound;
use crate::model::time::BootTime;
use crate::model::unit::UnitFound;
use crate::pipeline::Pipeline;
use crate::process::scripts::ScriptTarget;

/// Answers about containers, and as many about units, that one turn takes.
const PLACES_A_TURN: usize = 64;
/// Answers about programs that one turn takes: each is followed by a look at all that was attributed.
const PROGRAMS_A_TURN: usize = 8;
/// News of a cluster that one turn takes.
const NEWS_A_TURN: usize = 64;
/// Answers about scripts that one turn takes: each can be followed by a look at all processes.
const SCRIPTS_A_TURN: usize = 4;

/// An answer.
#[derive(Debug)]
pub(super) enum Found {
    /// What an engine keeps of a container.
    Container(ContainerFound),
    /// What the files of units say.
    Units(Vec<UnitFound>),
    /// What an executable contains, or which version of an agent runs.
    Program(ProgramFound),
    /// Where a script's path leads.
    Script(ScriptTarget),
    /// What a cluster tells.
    Cluster(ClusterNews),
    /// What cgroups are called.
    Cgroups(Vec<Cgroup>),
}

/// The threads that look.
pub(super) struct Lookups {
    containers: ContainerLookup,
    units: UnitLookup,
    programs: ProgramLookup,
    /// Of agents' packages: not behind the contents of files, which take seconds.
    versions: ProgramLookup,
    scripts: ScriptLookup,
    cgroups: CgroupLookup,
    cluster: Cluster,
    asks_cluster: bool,
}

impl Lookups {
    /// Starts them, with the privileges that the caller has now.
    pub(super) fn start(
        host: &Arc<HostRoot>,
        hierarchy: &Hierarchy,
        kubernetes: Option<kube::Settings>,
    ) -> io::Result<Self> {
        Ok(Self {
            cgroups: cgroups::start(hierarchy.root.clone())?,
            containers: containers::start(host.clone())?,
            units: units::start(host.clone())?,
            programs: programs::start(host.clone())?,
            versions: programs::start(host.clone())?,
            scripts: scripts::start(host.clone())?,
            asks_cluster: kubernetes.is_some(),
            cluster: Cluster::start(kubernetes, host.clone())?,
        })
    }

    /// Whether a cluster is asked.
    pub(super) const fn asks_cluster(&self) -> bool {
        self.asks_cluster
    }

    /// The next answer. Nothing is lost where this is dropped half-way.
    pub(super) async fn next(&mut self) -> Found {
        tokio::select! {
            biased;
            found = self.containers.found() => Found::Container(found),
            found = self.units.found() => Found::Units(found),
            found = self.versions.found() => Found::Program(found),
            found = self.programs.found() => Found::Program(found),
            found = self.scripts.found() => Found::Script(found),
            found = self.cgroups.found() => Found::Cgroups(found),
            news = self.cluster.next() => Found::Cluster(news),
        }
    }

    /// The answers that are there, as many as one turn takes.
    pub(super) fn of_a_turn(&mut self) -> Vec<Found> {
        let Self { containers, units, programs, versions, scripts, cgroups, cluster, asks_cluster: _ } = self;
        let mut all = Vec::new();
        all.extend(from_fn(|| containers.try_found()).take(PLACES_A_TURN).map(Found::Container));
        all.extend(from_fn(|| units.try_found()).take(PLACES_A_TURN).map(Found::Units));
        let program = || versions.try_found().or_else(|| programs.try_found());
        all.extend(from_fn(program).take(PROGRAMS_A_TURN).map(Found::Program));
        all.extend(from_fn(|| cluster.try_next()).take(NEWS_A_TURN).map(Found::Cluster));
        // One at most is asked for in a second.
        all.extend(cgroups.try_found().map(Found::Cgroups));
        all.extend(from_fn(|| scripts.try_found()).take(SCRIPTS_A_TURN).map(Found::Script));
        all
    }

    /// Asks for what timers run.
    pub(super) fn ask_for_timers(&self) {
        let _ = self.units.ask(None);
    }

    /// Asks for the containers and the units that are wanted.
    pub(super) fn ask_for_places(&self, pipeline: &mut Pipeline) {
        let containers = pipeline.attributor().containers();
        for id in containers.take_wanted() {
            if !self.containers.ask(id) {
                containers.refused();
            }
        }
        let units = pipeline.attributor().units();
        for unit in units.take_wanted() {
            if !self.units.ask(Some(unit.clone())) {
                units.refused(&unit);
            }
        }
    }

    /// Asks for the names of cgroups that are wanted.
    pub(super) fn ask_for_cgroups(&self, pipeline: &mut Pipeline, now: BootTime) {
        let wanted = pipeline.processes().take_wanted_cgroups(now);
        if !wanted.is_empty() {
            let number = wanted.len();
            if !self.cgroups.ask(wanted) {
                pipeline.processes().cgroups_not_asked(number);
            }
        }
    }

    /// Asks for the scripts and the programs that are wanted: of these as many as can wait, the others wait where they are.
    pub(super) fn ask_for_programs(&self, pipeline: &mut Pipeline) {
        let processes = pipeline.processes();
        for wanted in processes.take_wanted_scripts() {
            let script = wanted.script.clone();
            if !self.scripts.ask(wanted) {
                processes.script_not_asked(&script);
            }
        }
        let programs = pipeline.attributor().programs();
        while let Some(question) = programs.next_version() {
            if !self.versions.ask(question.clone()) {
                programs.put_version_back(question);
                break;
            }
        }
        while let Some(question) = programs.next_file() {
            // Few are under way: there is always room.
            self.programs.ask(question);
        }
    }
}
