//! Kernel programs: what they are, and whose.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::process::Command;

use serde_json::Value;

use super::child::{self, Captured};
use super::setting::Setting;
use crate::outcome::{During, Outcome, Verdict};

/// A program, as `bpftool prog` lists it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Program {
    /// `tracing`, `lsm`, `cgroup_sock_addr`, …
    pub(crate) kind: String,
    /// Its name, cut at 15 bytes by the kernel.
    pub(crate) name: String,
}

/// All programs of this kernel, by id.
pub(crate) fn listed(setting: &Setting) -> Outcome<BTreeMap<u64, Program>> {
    let bpftool = child::find("bpftool").map_err(|error| Verdict::Skipped(error.to_string()))?;
    let list = Captured::start(Command::new(bpftool).args(["--json", "prog", "show"]))?;
    let list = list.finish(setting.limit)?.well()?;
    let programs: Vec<Value> = serde_json::from_str(&list.stdout).during("read bpftool's list")?;
    let text =
        |program: &Value, key: &str| program.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
    let read = |program: &Value| {
        // bpftool gives the whole name where it knows it from the program's types.
        let name = text(program, "name").chars().take(15).collect();
        let listed = Program { kind: text(program, "type"), name };
        Some((program.get("id")?.as_u64()?, listed))
    };
    Ok(programs.iter().filter_map(read).collect())
}

/// Ids of the programs whose descriptors, or whose links' descriptors, a process holds.
pub(crate) fn of_process(pid: u32) -> BTreeSet<u64> {
    let entries = fs::read_dir(format!("/proc/{pid}/fdinfo")).into_iter().flatten().flatten();
    let texts = entries.filter_map(|entry| fs::read_to_string(entry.path()).ok());
    texts.flat_map(|text| program_ids(&text).collect::<Vec<_>>()).collect()
}

/// How many instructions the verifier followed, all paths together, by program that a process holds; of none before 5.16,
/// which does not say.
pub(crate) fn verified(pid: u32) -> BTreeMap<u64, u64> {
    let entries = fs::read_dir(format!("/proc/{pid}/fdinfo")).into_iter().flatten().flatten();
    let texts = entries.filter_map(|entry| fs::read_to_string(entry.path()).ok());
    texts
        .filter_map(|text| Some((program_ids(&text).next()?, numbers(&text, "verified_insns:").next()?)))
        .collect()
}

/// How often the kernel did not run a program that a process holds, because it was under way already.
pub(crate) fn runs_skipped(pid: u32) -> u64 {
    let entries = fs::read_dir(format!("/proc/{pid}/fdinfo")).into_iter().flatten().flatten();
    let texts = entries.filter_map(|entry| fs::read_to_string(entry.path()).ok());
    texts.filter_map(|text| numbers(&text, "recursion_misses:").next()).sum()
}

fn program_ids(text: &str) -> impl Iterator<Item = u64> {
    numbers(text, "prog_id:")
}

fn numbers(text: &str, key: &str) -> impl Iterator<Item = u64> {
    text.lines().filter_map(move |line| line.strip_prefix(key)?.trim().parse().ok())
}
