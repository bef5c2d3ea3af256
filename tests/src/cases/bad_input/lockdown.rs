//! Lockdown: what integrity allows, and what confidentiality forbids. It cannot be undone.

use std::fs;

use super::host::{is_found, report};
use super::{code, doctor, refused, run, works};
use crate::harness::mounts::{self, Without};
use crate::harness::setting::Setting;
use crate::outcome::{During, Outcome, ensure, skipped};

const LOCKDOWN: &str = "/sys/kernel/security/lockdown";

/// Both modes, one after the other.
pub(super) fn lockdown(setting: &Setting) -> Outcome {
    if !setting.is_guest() {
        return skipped("it locks the kernel down for good: in a virtual machine alone");
    }
    set("integrity")?;
    works(setting, &mut run(setting), &[])?;
    let (found, _) = report(setting, &mut doctor(setting))?;
    is_found(&found, "lockdown", "yes", &["integrity"])?;

    set("confidentiality")?;
    let words = ["lockdown", "confidentiality", "boot with lockdown=integrity"];
    refused(setting, &mut run(setting), code::LOCKDOWN, &words)?;
    let (found, status) = report(setting, &mut doctor(setting))?;
    ensure(status == Some(code::LOCKDOWN), || format!("doctor ended with {status:?}"))?;
    is_found(&found, "lockdown", "no", &words[1..])?;

    // Where the mode cannot be read, as in a container, what does not load tells it.
    let mut blind = run(setting);
    mounts::without(&mut blind, Without::Covered, &["/sys/kernel/security".into()])?;
    refused(setting, &mut blind, code::LOCKDOWN, &words)
}

fn set(mode: &str) -> Outcome {
    fs::write(LOCKDOWN, mode).during(format!("lock down for {mode}"))?;
    let now = fs::read_to_string(LOCKDOWN)?;
    ensure(now.contains(&format!("[{mode}]")), || format!("the kernel says {now}"))
}
