//! Limits of the process.

use rustix::process::Resource;
use rustix::system::uname;
use rustix::thread::CapabilitySet;

use super::host::{is_found, report};
use super::{Case, code, doctor, own, refused, run, works};
use crate::harness::privileges;
use crate::harness::setting::Setting;
use crate::outcome::{Outcome, ensure, failed};

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
    if release()? >= (5, 11) {
        return works(setting, &mut command, &words);
    }
    let refusal = "locked memory is limited to 4096 bytes";
    refused(setting, &mut command, code::LIMIT, &[&words[..], &[refusal]].concat())
}

/// Of the running kernel.
fn release() -> Outcome<(u32, u32)> {
    let names = uname();
    let release = names.release().to_string_lossy();
    let mut numbers = release.split(|c: char| !c.is_ascii_digit()).map_while(|number| number.parse().ok());
    match (numbers.next(), numbers.next()) {
        (Some(major), Some(minor)) => Ok((major, minor)),
        _ => failed(format!("a kernel's release begins with two numbers: {release}")),
    }
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
