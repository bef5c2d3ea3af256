//! Limits of the process.

use rustix::process::Resource;
use rustix::thread::CapabilitySet;

use super::host::{is_found, report};
use super::{Case, code, doctor, own, refused, run, works};
use crate::harness::privileges::{self, charges_maps};
use crate::harness::setting::Setting;
use crate::outcome::{Outcome, ensure};

/// All of them.
pub(super) fn cases() -> Vec<Case> {
    vec![own("bad-input/locked-memory", locked_memory), own("bad-input/descriptors", descriptors)]
}

/// Maps are charged to the cgroup since Linux 5.11: a warning, no more.
fn locked_memory(setting: &Setting) -> Outcome {
    let mut command = run(setting);
    privileges::limit(&mut command, Resource::Memlock, 4096, 4096);
    privileges::without(&mut command, CapabilitySet::SYS_RESOURCE);
    let words = ["WARN", "limit of locked memory", "LimitMEMLOCK=infinity"];
    if !charges_maps()? {
        return works(setting, &mut command, &words);
    }
    let refusal = "locked memory is limited to 4096 bytes";
    refused(setting, &mut command, code::LIMIT, &[&words[..], &[refusal]].concat())
}

fn descriptors(setting: &Setting) -> Outcome {
    // A low limit that may be raised is raised.
    let mut command = run(setting);
    privileges::limit(&mut command, Resource::Nofile, 24, 1024);
    works(setting, &mut command, &[])?;

    let few = |mut command| {
        privileges::limit(&mut command, Resource::Nofile, 24, 64);
        command
    };
    let words = ["64", "LimitNOFILE="];
    refused(setting, &mut few(run(setting)), code::LIMIT, &words)?;
    let (found, status) = report(setting, &mut few(doctor(setting)))?;
    ensure(status == Some(code::LIMIT), || format!("doctor ended with {status:?}"))?;
    is_found(&found, "descriptors", "no", &words)
}
