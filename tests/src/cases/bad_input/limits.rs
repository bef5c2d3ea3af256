//! Limits of the process.

use rustix::process::Resource;
use rustix::thread::CapabilitySet;

use super::host::{is_found, report};
use super::{Case, code, doctor, own, refused, run, works};
use crate::harness::privileges;
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
    works(setting, &mut command, &["WARN", "limit of locked memory", "LimitMEMLOCK=infinity"])
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
    refused(setting, &mut few(run(setting)), code::DESCRIPTORS, &words)?;
    let (found, status) = report(setting, &mut few(doctor(setting)))?;
    ensure(status == Some(code::DESCRIPTORS), || format!("doctor ended with {status:?}"))?;
    is_found(&found, "descriptors", "no", &words)
}
