//! A second agent, a lock that cannot be had, a rung that does not hold.

use super::{Case, code, own, refused, run, sees, told};
use crate::harness::agent::{Agent, Options};
use crate::harness::child::Captured;
use crate::harness::setting::{Rung, Setting};
use crate::outcome::{Outcome, ensure, skipped};

/// All of them.
pub(super) fn cases() -> Vec<Case> {
    vec![
        own("bad-input/second-instance", second_instance),
        own("bad-input/lock", lock),
        own("bad-input/rung", rung),
    ]
}

fn second_instance(setting: &Setting) -> Outcome {
    let first = Agent::start(setting, &Options::default())?;
    let finished = Captured::start(&mut run(setting))?.finish(setting.limit)?;
    told(&finished, code::SECOND_INSTANCE, &["another telltale", "stop it first"])?;
    sees(setting, &first)?;
    ensure(first.runs(), || "the first one ended".to_owned())?;
    first.stop(setting)?;
    // Even one that was killed does not stand in the way of the next.
    Agent::start(setting, &Options::default())?.kill(setting)?;
    Agent::start(setting, &Options::default())?.stop(setting)?;
    Ok(())
}

/// A lock that cannot be made is not another agent's.
fn lock(setting: &Setting) -> Outcome {
    let directory = "/proc/telltale";
    let mut command = run(setting);
    command.env("RUNTIME_DIRECTORY", directory);
    refused(setting, &mut command, code::OTHER, &["cannot lock", directory, "writable"])
}

fn rung(setting: &Setting) -> Outcome {
    for rung in [Rung::Lsm, Rung::Fentry] {
        let agent = Agent::spawn(setting, &Options { rung: Some(rung), ..Options::default() })?;
        if agent.ready(setting).is_err() {
            drop(agent);
            let mut command = Agent::command(setting, &Options { rung: Some(rung), ..Options::default() });
            return refused(setting, &mut command, code::NO_RUNG, &[rung.name()]);
        }
    }
    skipped("every rung holds on this kernel")
}
