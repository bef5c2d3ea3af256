//! Privileges: none, one too few, just enough.

use std::os::unix::fs::chown;
use std::os::unix::process::CommandExt;
use std::process::Command;

use rustix::thread::CapabilitySet;

use super::{Case, code, own, refused, run, works};
use crate::harness::privileges::{self, NOBODY, OF_THE_SERVICE};
use crate::harness::setting::Setting;
use crate::outcome::{During, Outcome};

/// What loading needs.
const NEEDED: [(CapabilitySet, &str); 3] = [
    (CapabilitySet::BPF, "CAP_BPF"),
    (CapabilitySet::PERFMON, "CAP_PERFMON"),
    (CapabilitySet::NET_ADMIN, "CAP_NET_ADMIN"),
];

/// What is lost without a part, and not all.
const WISHED: [(CapabilitySet, &str, &str); 2] = [
    (CapabilitySet::SYS_PTRACE, "CAP_SYS_PTRACE", "known in part only"),
    (
        CapabilitySet::DAC_READ_SEARCH.union(CapabilitySet::DAC_OVERRIDE),
        "CAP_DAC_READ_SEARCH",
        "homes closed to others",
    ),
];

/// All of them.
pub(super) fn cases() -> Vec<Case> {
    let mut cases = vec![own("bad-input/not-root", not_root)];
    for (capability, name) in NEEDED {
        cases.push(own(format!("bad-input/without-{name}"), move |setting| {
            // Root's, and a service's.
            let mut command = run(setting);
            privileges::without(&mut command, capability | CapabilitySet::SYS_ADMIN);
            refused(setting, &mut command, code::UNPRIVILEGED, &[name, "remedy"])?;
            let mut command = as_service(setting, OF_THE_SERVICE.difference(capability))?;
            refused(setting, &mut command, code::UNPRIVILEGED, &[name, "remedy"])
        }));
    }
    for (capabilities, name, lost) in WISHED {
        cases.push(own(format!("bad-input/without-{name}"), move |setting| {
            let mut command = run(setting);
            privileges::without(&mut command, capabilities);
            works(setting, &mut command, &[name, lost, "remedy"])
        }));
    }
    cases.push(own("bad-input/enough-capabilities", enough));
    cases.push(own("bad-input/one-capability-for-all", one_for_all));
    cases
}

/// `telltale run` as a service manager starts it: a user of its own, who has these and a directory for the lock.
pub(super) fn as_service(setting: &Setting, held: CapabilitySet) -> Outcome<Command> {
    let mut command = run(setting);
    let directory = setting.path("service");
    match std::fs::create_dir(&directory) {
        Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => {
            return Err(error).during(directory.display());
        }
        _ => chown(&directory, Some(NOBODY), Some(NOBODY))?,
    }
    command.env("RUNTIME_DIRECTORY", &directory);
    privileges::with_locked_memory(&mut command)?;
    privileges::as_service(&mut command, held);
    Ok(command)
}

fn not_root(setting: &Setting) -> Outcome {
    let mut command = run(setting);
    command.uid(NOBODY).gid(NOBODY);
    refused(setting, &mut command, code::UNPRIVILEGED, &["CAP_BPF", "CAP_PERFMON", "CAP_NET_ADMIN", "root"])
}

/// What the service unit gives is enough, for root and for a user of its own.
fn enough(setting: &Setting) -> Outcome {
    let mut command = run(setting);
    privileges::with_locked_memory(&mut command)?;
    privileges::without(&mut command, CapabilitySet::from_bits_retain(!OF_THE_SERVICE.bits()));
    works(setting, &mut command, &[])?;
    works(setting, &mut as_service(setting, OF_THE_SERVICE)?, &[])
}

/// CAP_SYS_ADMIN stands in for the narrower ones.
fn one_for_all(setting: &Setting) -> Outcome {
    let mut command = run(setting);
    let narrower = NEEDED.iter().fold(CapabilitySet::empty(), |all, (one, _)| all | *one);
    privileges::without(&mut command, narrower);
    works(setting, &mut command, &[])
}
