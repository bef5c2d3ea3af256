//! `telltale doctor`: what this host offers, what serves each capability, and what would make it better.

use std::io::{self, Write};
use std::path::PathBuf;

mod surroundings;

use clap::Args;
use comfy_table::{ContentArrangement, Table, presets};
use serde::Serialize;

use crate::kernel::hooks::{LADDER, Rung};
use crate::kernel::ladder::{Chosen, hooks};
use crate::kernel::maps::KernelFilters;
use crate::kernel::probe::{HostProbe, State, raise_limits};
use crate::kernel::sensor::{Sensor, SensorConfig};

/// Check this host: what the kernel offers, which hook serves each capability, and what to do about the rest.
///
/// Loads every program for a moment and proves it against this process, as `run` does. Exit status: 0 all is served, 1
/// something is not, or the cluster that is configured does not answer, 4 a privilege is missing, and those of `run` where
/// nothing could be loaded.
#[derive(Args, Clone, Debug)]
pub struct DoctorArgs {
    /// One JSON object.
    #[arg(long)]
    pub json: bool,
    /// Try this rung of the ladder alone.
    #[arg(long, value_name = "RUNG", value_parser = super::run::rung)]
    pub rung: Option<Rung>,
    /// Configuration, where it is not the usual one: which cluster is asked stands there.
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// What the cluster calls this node.
    #[arg(long, value_name = "NAME")]
    pub node_name: Option<String>,
}

/// States of what was looked at.
const YES: &str = "yes";
const NO: &str = "no";

#[derive(Serialize)]
struct Report {
    version: &'static str,
    kernel: String,
    machine: String,
    healthy: bool,
    error: Option<String>,
    host: Vec<HostLine>,
    capabilities: Vec<CapabilityLine>,
}

#[derive(Serialize)]
struct HostLine {
    name: &'static str,
    state: &'static str,
    required: bool,
    detail: String,
    remedy: Option<String>,
}

#[derive(Serialize)]
struct CapabilityLine {
    name: &'static str,
    sees: &'static str,
    served_by: Option<String>,
    not_seen: Vec<&'static str>,
    refused: Vec<RefusedLine>,
}

#[derive(Serialize)]
struct RefusedLine {
    hooks: String,
    reason: String,
    remedy: Option<String>,
}

/// Prints the report; the exit status.
pub fn run(args: &DoctorArgs) -> u8 {
    let probe = HostProbe::inspect();
    let (capabilities, error, status) = try_out(&probe, args.rung);
    let around = surroundings::look(&probe, args.config.as_deref(), args.node_name.as_deref());
    // Whom nobody has configured, nobody misses.
    let is_lacking =
        around.iter().any(|line| line.name.starts_with(surroundings::OF_CLUSTER) && line.state != YES);
    let status = if status == 0 { u8::from(is_lacking) } else { status };
    let report = Report {
        version: env!("CARGO_PKG_VERSION"),
        kernel: probe.release.clone(),
        machine: probe.machine.clone(),
        healthy: status == 0,
        error,
        host: probe
            .findings
            .iter()
            .map(|finding| HostLine {
                name: finding.name,
                state: match finding.state {
                    State::Yes => YES,
                    State::No => NO,
                    State::CouldNotTell => "could_not_tell",
                },
                required: finding.required,
                detail: finding.detail.clone(),
                remedy: finding.remedy.clone(),
            })
            .chain(around)
            .collect(),
        capabilities,
    };
    let text =
        if args.json { serde_json::to_string(&report).unwrap_or_default() + "\n" } else { table(&report) };
    // A reader who has gone has seen enough.
    let _ = io::stdout().write_all(text.as_bytes());
    status
}

/// Loads and proves everything once.
fn try_out(probe: &HostProbe, rung: Option<Rung>) -> (Vec<CapabilityLine>, Option<String>, u8) {
    if let Some(finding) = probe.blocking().next() {
        let status = crate::app::StartError::from(finding).exit_code();
        return (untried(), Some(format!("{}: {}", finding.name, finding.detail)), status);
    }
    let (Some(cgroup), Some(hierarchy)) = (&probe.cgroup, &probe.workloads) else {
        return (untried(), Some("where cgroup v2 is mounted cannot be told".to_owned()), 6);
    };
    // Those that cannot be raised stand among the host's findings.
    raise_limits().for_each(|error| tracing::debug!("{error}"));
    let config = SensorConfig {
        cgroup_root: cgroup.path.clone(),
        hierarchy: hierarchy.clone(),
        rung,
        drop_every: 0,
        update_interval: std::time::Duration::ZERO,
        pins: None,
        filters: KernelFilters::default(),
    };
    match Sensor::start(&config) {
        Ok(sensor) => {
            let lines: Vec<_> = sensor.capabilities().iter().map(line).collect();
            let all = lines.iter().all(|line| line.served_by.is_some());
            (lines, None, u8::from(!all))
        }
        Err(error) => {
            let error = crate::app::StartError::of_sensor(error, probe);
            (untried(), Some(error.to_string()), error.exit_code())
        }
    }
}

fn untried() -> Vec<CapabilityLine> {
    LADDER
        .iter()
        .map(|capability| CapabilityLine {
            name: capability.name,
            sees: capability.sees,
            served_by: None,
            not_seen: Vec::new(),
            refused: Vec::new(),
        })
        .collect()
}

fn line(chosen: &Chosen) -> CapabilityLine {
    CapabilityLine {
        name: chosen.capability.name,
        sees: chosen.capability.sees,
        served_by: chosen.serving.map(hooks),
        not_seen: chosen.gaps().collect(),
        refused: chosen
            .refused
            .iter()
            .map(|refused| RefusedLine {
                hooks: hooks(refused.serving),
                reason: refused.reason.clone(),
                remedy: refused.remedy.clone(),
            })
            .collect(),
    }
}

fn table(report: &Report) -> String {
    let new = |header: [&str; 3]| {
        let mut table = Table::new();
        table
            .load_style(presets::NOTHING)
            .set_content_arrangement(ContentArrangement::Dynamic)
            .set_header(header);
        table
    };
    let mut host = new(["HOST", "STATE", "DETAIL"]);
    for line in &report.host {
        let mut detail = line.detail.clone();
        if line.state != "yes"
            && let Some(remedy) = &line.remedy
        {
            detail.push_str(&format!("\nremedy: {remedy}"));
        }
        host.add_row([line.name, line.state, &detail]);
    }
    let mut capabilities = new(["CAPABILITY", "SERVED BY", "GAPS, AND WHY NOTHING BETTER SERVES"]);
    for line in &report.capabilities {
        let mut notes: Vec<String> = line.not_seen.iter().map(|gap| format!("gap: {gap}")).collect();
        for refused in &line.refused {
            notes.push(format!("refused: {}", refused.reason));
            notes.extend(refused.remedy.iter().map(|remedy| format!("remedy: {remedy}")));
        }
        capabilities.add_row([line.name, line.served_by.as_deref().unwrap_or("nothing"), &notes.join("\n")]);
    }
    let mut text = format!(
        "telltale {} on Linux {} ({})\n\n{host}\n\n{capabilities}\n",
        report.version, report.kernel, report.machine
    );
    match &report.error {
        Some(error) => text.push_str(&format!("\nnothing can be loaded: {error}\n")),
        None if report.healthy => text.push_str("\nevery capability is served\n"),
        None => text.push_str("\nsome capabilities are not served: see above\n"),
    }
    text
}
