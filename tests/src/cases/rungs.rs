//! The ladder: a forced rung loads its own programs and no others, and a stopped agent leaves none.

use std::collections::BTreeSet;

use serde_json::Value;

use super::{Case, own};
use crate::harness::agent::{self, Agent, Options};
use crate::harness::leftovers;
use crate::harness::programs::{self, Program};
use crate::harness::session::{no_such_rung, rung_of};
use crate::harness::setting::{Rung, Setting};
use crate::outcome::{During, Outcome, Verdict, ensure};

/// Program names as the kernel keeps them: 15 bytes.
const NAME_BYTES: usize = 15;
/// How many instructions the verifier may follow in one program, of the million that it does: another kernel's follows
/// several times as many in the same program, and a slow machine has to wait for it.
const VERIFIED_MOST: u64 = 150_000;
/// What serves every rung.
const EVERY: [&str; 14] = [
    "process_fork",
    "process_exec",
    "process_exit",
    "cgroup_made",
    "exec_inherits",
    "connect4",
    "connect6",
    "set_state",
    "set_state_twin",
    "sendmsg4",
    "sendmsg6",
    "egress",
    "ingress",
    "traffic_update",
];

/// What serves one rung besides.
const fn besides(rung: Rung) -> &'static [&'static str] {
    match rung {
        Rung::Lsm => &[
            "tcp_v4_connect_exit",
            "tcp_v6_connect_exit",
            "socket_created",
            "tun_attached",
            "unix_connect",
            "unix_send",
            "open_refused",
            "path_rename",
            "renamed",
            "path_link",
            "linked",
            "path_unlink",
            "unlinked",
            "mode_set",
            "owner_set",
            "length_set",
            "ptrace_checked",
            "traceme_checked",
            "mem_opened",
            "environ_opened",
            "key_checked",
            "key_read",
            "file_received",
            "file_open",
            "inode_rename",
            "inode_link",
            "sb_mount",
            "move_mount",
        ],
        Rung::Fentry => &[
            "tcp_v4_connect_exit",
            "tcp_v6_connect_exit",
            "socket_created",
            "tun_attached",
            "unix_connect",
            "unix_send",
            "open_refused",
            "path_rename",
            "renamed",
            "path_link",
            "linked",
            "path_unlink",
            "unlinked",
            "mode_set",
            "owner_set",
            "length_set",
            "ptrace_checked",
            "traceme_checked",
            "mem_opened",
            "environ_opened",
            "key_checked",
            "key_read",
            "file_received",
            "security_file_open",
        ],
        Rung::Tracepoint => &["sys_exit", "sock_create"],
    }
}

/// All of them.
pub(super) fn cases() -> Vec<Case> {
    let mut cases = vec![own("rung/doctor", doctor), own("rung/best", best)];
    for rung in [Rung::Lsm, Rung::Fentry, Rung::Tracepoint] {
        cases.push(own(format!("rung/{}", rung.name()), move |setting| forced(setting, rung)));
    }
    cases
}

/// Starts an agent on a rung; skips where this kernel has no such rung.
fn start(setting: &Setting, rung: Option<Rung>) -> Outcome<(Agent, Rung)> {
    let agent = Agent::spawn(setting, &Options { rung, ..Options::default() })?;
    match agent.ready(setting) {
        Ok(start) => match rung_of(&start) {
            Some(found) => Ok((agent, found)),
            None => Err(Verdict::Failed(format!("no rung serves opens: {}", start.line))),
        },
        Err(verdict) => Err(match rung {
            Some(rung) => no_such_rung(rung, verdict),
            None => verdict,
        }),
    }
}

fn forced(setting: &Setting, rung: Rung) -> Outcome {
    let before = leftovers::loaded()?;
    let (agent, found) = start(setting, Some(rung))?;
    ensure(found == rung, || format!("{} was asked for, {} serves", rung.name(), found.name()))?;
    only_its_own(setting, &agent, rung)?;
    verified_soon(setting, &agent)?;
    agent.stop(setting)?;
    leftovers::wait_gone(setting, &before)
}

/// Says how much work each program is for this kernel's verifier, the most first.
fn verified_soon(setting: &Setting, agent: &Agent) -> Outcome {
    let listed = programs::listed(setting)?;
    let mut verified: Vec<(u64, &str)> = programs::verified(agent.pid())
        .into_iter()
        .filter_map(|(id, instructions)| Some((instructions, listed.get(&id)?.name.as_str())))
        .collect();
    verified.sort_unstable_by(|one, other| other.cmp(one));
    let Some(&(most, dearest)) = verified.first() else { return Ok(()) };
    let each: Vec<_> = verified.iter().map(|(instructions, name)| format!("{name} {instructions}")).collect();
    println!("         verified instructions: {}", each.join(", "));
    ensure(most <= VERIFIED_MOST, || {
        format!("the verifier followed {most} instructions of {dearest}, more than {VERIFIED_MOST}")
    })
}

/// Without being told, the agent takes the best rung that loads; each worse one that it could take is worse.
fn best(setting: &Setting) -> Outcome {
    let (agent, found) = start(setting, None)?;
    only_its_own(setting, &agent, found)?;
    agent.stop(setting)?;
    for better in [Rung::Lsm, Rung::Fentry, Rung::Tracepoint] {
        if better == found {
            break;
        }
        match start(setting, Some(better)) {
            Err(Verdict::Skipped(_)) => {}
            Ok(_) => return Err(Verdict::Failed(format!("{} holds, but was not taken", better.name()))),
            Err(verdict) => return Err(verdict),
        }
    }
    Ok(())
}

fn only_its_own(setting: &Setting, agent: &Agent, rung: Rung) -> Outcome {
    let ids = programs::of_process(agent.pid());
    let listed = programs::listed(setting)?;
    let loaded: Vec<&Program> = ids.iter().filter_map(|id| listed.get(id)).collect();
    let names: BTreeSet<&str> = loaded.iter().map(|program| program.name.as_str()).collect();
    let cut = |name: &'static str| name.get(..NAME_BYTES).unwrap_or(name);
    let expected: BTreeSet<&str> = EVERY.iter().chain(besides(rung)).map(|name| cut(name)).collect();
    ensure(names == expected, || {
        let more: Vec<_> = names.difference(&expected).collect();
        let less: Vec<_> = expected.difference(&names).collect();
        format!("loaded besides those of {}: {more:?}; not loaded: {less:?}", rung.name())
    })?;
    let lsm = loaded.iter().any(|program| program.kind == "lsm");
    ensure(lsm == (rung == Rung::Lsm), || format!("LSM programs on {}: {loaded:?}", rung.name()))
}

/// `doctor` says what serves each capability, and what would have to be done for the rest.
fn doctor(setting: &Setting) -> Outcome {
    let before = leftovers::loaded()?;
    let finished = agent::command(setting, &["doctor", "--json"])?;
    ensure(matches!(finished.code(), Some(0 | 1)), || format!("{:?}: {}", finished.code(), finished.stderr))?;
    let report: Value = serde_json::from_str(&finished.stdout).during("read the report")?;
    let capabilities = report.get("capabilities").and_then(Value::as_array).cloned().unwrap_or_default();
    let names: BTreeSet<&str> =
        capabilities.iter().filter_map(|one| one.get("name").and_then(Value::as_str)).collect();
    let expected = [
        "cgroup_made",
        "client_hello",
        "connect",
        "connect_outcome",
        "connection_end",
        "connection_update",
        "connection_held",
        "connect_refused_early",
        "credential_change",
        "credential_held",
        "credential_inherited",
        "credential_open",
        "credential_received",
        "credential_refused",
        "credential_socket",
        "credential_socket_held",
        "datagram",
        "dns_answer",
        "key_access",
        "listener",
        "memory_access",
        "process_life",
        "raw_socket",
    ];
    ensure(names == BTreeSet::from(expected), || format!("the capabilities are {names:?}"))?;
    let healthy = report.get("healthy").and_then(Value::as_bool);
    ensure(healthy == Some(finished.code() == Some(0)), || {
        format!("healthy is {healthy:?}, the exit code {:?}", finished.code())
    })?;
    for one in &capabilities {
        let refused = one.get("refused").and_then(Value::as_array).cloned().unwrap_or_default();
        let served = one.get("served_by").is_some_and(Value::is_string);
        ensure(served || !refused.is_empty(), || format!("neither served nor refused: {one}"))?;
        for refusal in refused {
            let told =
                |key: &str| refusal.get(key).and_then(Value::as_str).is_some_and(|text| !text.is_empty());
            ensure(told("hooks") && told("reason"), || format!("no reason for {refusal}"))?;
        }
    }
    leftovers::wait_gone(setting, &before)
}
