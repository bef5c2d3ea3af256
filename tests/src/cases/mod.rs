//! The tests: one file a behaviour.

mod agents;
mod alterations;
mod attempts;
mod bad_input;
mod connections;
mod credentials;
mod datagrams;
mod descriptors;
mod expected_reads;
mod floods;
mod identities;
mod keys;
mod kills;
mod ledger;
mod lineage;
mod logins;
mod memory;
mod moves;
mod names;
mod peers;
mod pid_reuse;
mod programs;
mod races;
mod raw_sockets;
mod readme;
mod recording;
mod restarts;
mod rungs;
mod secrets;
mod short_lived;
mod tags;
mod traffic;
mod trouble;
mod unix_sockets;
mod who;

use crate::harness::scene::Scene;
use crate::harness::setting::Setting;
use crate::outcome::Outcome;

/// A test.
pub(crate) struct Case {
    /// `behaviour/what`.
    pub(crate) name: String,
    /// What it does.
    pub(crate) run: Run,
}

/// How a test runs.
pub(crate) enum Run {
    /// In a session shared with others, on every rung.
    Shared(Box<dyn Fn(&mut Scene<'_>) -> Outcome>),
    /// With agents of its own.
    Own(Box<dyn Fn(&Setting) -> Outcome>),
    /// As the former, after all others: the machine is not the same afterwards.
    Last(Box<dyn Fn(&Setting) -> Outcome>),
}

/// All tests, in the order in which they run.
pub(crate) fn all() -> Vec<Case> {
    let mut all = Vec::new();
    all.extend(connections::cases());
    all.extend(traffic::cases());
    all.extend(peers::cases());
    all.extend(datagrams::cases());
    all.extend(names::cases());
    all.extend(raw_sockets::cases());
    all.extend(unix_sockets::cases());
    all.extend(credentials::cases());
    all.extend(expected_reads::cases());
    all.extend(descriptors::cases());
    all.extend(attempts::cases());
    all.extend(alterations::cases());
    all.extend(memory::cases());
    all.extend(keys::cases());
    all.extend(programs::cases());
    all.extend(lineage::cases());
    all.extend(short_lived::cases());
    all.extend(who::cases());
    all.extend(identities::cases());
    all.extend(moves::cases());
    all.extend(agents::cases());
    all.extend(logins::cases());
    all.extend(rungs::cases());
    all.extend(ledger::cases());
    all.extend(floods::cases());
    all.extend(races::cases());
    all.extend(secrets::cases());
    all.extend(recording::cases());
    all.extend(readme::cases());
    all.extend(bad_input::cases());
    all.extend(trouble::cases());
    all.extend(tags::cases());
    all.extend(restarts::cases());
    all.extend(kills::cases());
    all.extend(pid_reuse::cases());
    all
}

fn shared(name: impl Into<String>, run: impl Fn(&mut Scene<'_>) -> Outcome + 'static) -> Case {
    Case { name: name.into(), run: Run::Shared(Box::new(run)) }
}

fn own(name: impl Into<String>, run: impl Fn(&Setting) -> Outcome + 'static) -> Case {
    Case { name: name.into(), run: Run::Own(Box::new(run)) }
}

fn last(name: impl Into<String>, run: impl Fn(&Setting) -> Outcome + 'static) -> Case {
    Case { name: name.into(), run: Run::Last(Box::new(run)) }
}
