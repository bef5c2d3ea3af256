//! Truths compared with events: each act is exactly one event, with the right values, and there is no other.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::claim;
use super::event::Event;
use super::identity;
use super::who::{self, Ancestor, Who};

/// What a process did, in the words of docs/events.md. Acts print it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Deed {
    /// Who did it.
    pub(crate) who: Who,
    /// By which thread.
    pub(crate) tid: u32,
    /// The `event` it is; none for what must not be told.
    pub(crate) event: Option<String>,
    /// Keys by which the event is found.
    pub(crate) target: Map<String, Value>,
    /// Other keys with their values; null for a key that must not be there.
    pub(crate) facts: Map<String, Value>,
    /// Further datagrams of the same flow, reaches of the same kind or expected reads; none where they are not to be looked at.
    pub(crate) repeats: Option<u64>,
}

/// A deed, and what the harness knows of it besides.
#[derive(Clone, Debug)]
pub(crate) struct Expected {
    deed: Deed,
    /// Values of keys, null for a key that must not be there.
    keys: Map<String, Value>,
    /// Hooks that may have seen it; empty for any.
    hooks: Vec<String>,
    /// What the identity begins with, where the whole cannot be known.
    identity_begins: String,
    /// Whether the lineage ends with the harness, because the process began a session of its own.
    session_begins: bool,
    /// Whether it is told only when the agent sweeps.
    late: bool,
    /// How much later than said the process may have started.
    start_within: Duration,
}

impl Expected {
    /// What is to be expected of a deed.
    pub(crate) fn of(deed: Deed) -> Self {
        let Who { pid: _, start_ticks: _, ppid, uid, gid, euid, egid, .. } = deed.who.clone();
        let Who { capabilities, login_uid, session_id, cgroup, exe, argv, cwd, namespaces, .. } =
            deed.who.clone();
        let [mount, network, pid_namespace, user] = namespaces;
        let (identity, identity_kind) = identity::of(&deed.who);
        let human = identity::human(&deed.who);
        let mut keys = object(serde_json::json!({
            "tid": deed.tid, "ppid": ppid, "uid": uid, "gid": gid, "euid": euid, "egid": egid,
            "capabilities": capabilities, "login_uid": login_uid, "session_id": session_id, "cgroup": cgroup,
            "exe": exe, "argv": argv, "cwd": cwd, "mount_namespace": mount, "network_namespace": network,
            "pid_namespace": pid_namespace, "user_namespace": user, "identity": identity,
            "identity_kind": identity_kind, "origin": "observed", "human": human, "lineage_truncated": false,
        }));
        // Tests have no registry of owners: who started it answers for it.
        let starter = human.as_ref().map(|_| "starter");
        keys.extend(object(serde_json::json!({ "owner": human, "owner_source": starter })));
        keys.extend(deed.facts.clone());
        Self {
            deed,
            keys,
            hooks: Vec::new(),
            identity_begins: String::new(),
            session_begins: false,
            late: false,
            start_within: Duration::ZERO,
        }
    }

    /// Who does it.
    pub(crate) const fn who(&self) -> &Who {
        &self.deed.who
    }

    /// The value that a key is to have.
    pub(crate) fn fact(&self, key: &str) -> Option<&Value> {
        self.keys.get(key)
    }

    /// Sets a key; null for one that must not be there.
    pub(crate) fn key(mut self, key: &str, value: impl Into<Value>) -> Self {
        self.keys.insert(key.to_owned(), value.into());
        self
    }

    /// Does not look at a key.
    pub(crate) fn without(mut self, key: &str) -> Self {
        self.keys.remove(key);
        self
    }

    /// The process may have started later than is said by so much: nobody could look in time.
    pub(crate) const fn with_start_within(mut self, within: Duration) -> Self {
        self.start_within = within;
        self
    }

    /// Of the identity only the kind and the beginning are known.
    pub(crate) fn identity_begins(mut self, with: &str, kind: &str) -> Self {
        with.clone_into(&mut self.identity_begins);
        self.without("identity").key("identity_kind", kind)
    }

    /// The process began a session of its own: whoever started it is the last of its lineage.
    pub(crate) const fn lineage_of_session(mut self) -> Self {
        self.session_begins = true;
        self
    }

    /// It is told only when the agent sweeps, not in the order of acts.
    pub(crate) const fn late(mut self) -> Self {
        self.late = true;
        self
    }

    /// Names the hooks that may have seen it.
    pub(crate) fn seen_by(mut self, hooks: &[&str]) -> Self {
        self.hooks = hooks.iter().map(|hook| (*hook).to_owned()).collect();
        self
    }

    fn is_about(&self, event: &Event) -> bool {
        self.deed.event.as_deref() == Some(event.kind())
            && event.pid() == Some(self.deed.who.pid)
            && self.deed.target.iter().all(|(key, value)| event.get(key) == Some(value))
    }

    /// All that is wrong with an event, one line each.
    fn differences(&self, event: &Event) -> Vec<String> {
        let mut wrong = Vec::new();
        for (key, value) in &self.keys {
            let found = event.get(key);
            let same = if value.is_null() { found.is_none() } else { found == Some(value) };
            if !same {
                let found = found.map_or_else(|| "nothing".to_owned(), Value::to_string);
                let value = if value.is_null() { "nothing".to_owned() } else { value.to_string() };
                wrong.push(format!("{key} is {found}, should be {value}"));
            }
        }
        let start = event.number("start_ns").map(who::ticks_of_ns);
        let first = self.deed.who.start_ticks;
        let last = first + who::ticks_of_ns(u64::try_from(self.start_within.as_nanos()).unwrap_or(u64::MAX));
        if start.is_none_or(|start| start < first || start > last) {
            wrong.push(format!("start_ns is {start:?} ticks, should be {first} to {last}"));
        }
        if !self.hooks.is_empty() && !self.hooks.iter().any(|hook| hook == event.text("hook")) {
            wrong.push(format!("hook is {}, should be of {:?}", event.text("hook"), self.hooks));
        }
        if !event.text("identity").starts_with(&self.identity_begins) {
            wrong.push(format!(
                "identity is {}, should begin with {}",
                event.text("identity"),
                self.identity_begins
            ));
        }
        let lineage = event.lineage();
        if self.session_begins && lineage.last().and_then(claim::pid) != Some(std::process::id()) {
            wrong.push(format!("lineage has {} entries, should end with the harness", lineage.len()));
        }
        wrong.extend(lineage_differences(event, &self.deed.who.ancestors));
        wrong
    }

    fn describe(&self) -> String {
        let Deed { who, event, target, .. } = &self.deed;
        let event = event.as_deref().unwrap_or("nothing");
        format!("{event} by {} ({}) of {}", who.pid, who.exe, Value::Object(target.clone()))
    }
}

/// A lineage begins as the truth does, and reaches at least the harness. How far beyond depends on where its session
/// began.
fn lineage_differences(event: &Event, truth: &[Ancestor]) -> Vec<String> {
    let lineage = event.lineage();
    let harness = std::process::id();
    let mut wrong = Vec::new();
    let to_harness =
        truth.iter().position(|ancestor| ancestor.pid == harness).map_or(truth.len(), |at| at + 1);
    if lineage.len() < to_harness || lineage.len() > truth.len() {
        wrong.push(format!("lineage has {} entries, of {} true ones", lineage.len(), truth.len()));
    }
    for (at, (told, is)) in lineage.iter().zip(truth).enumerate() {
        let start = told.get("start_ns").and_then(Value::as_u64).map(who::ticks_of_ns);
        if claim::pid(told) != Some(is.pid) || start != Some(is.start_ticks) {
            wrong.push(format!(
                "lineage[{at}] is {told}, should be pid {} at {} ticks",
                is.pid, is.start_ticks
            ));
            continue;
        }
        let exe = told.get("exe").and_then(Value::as_str).unwrap_or_default();
        if exe != is.exe {
            wrong.push(format!("lineage[{at}] runs {exe}, should be {}", is.exe));
        }
        let argv = told.get("argv").cloned().unwrap_or(Value::Null);
        if at + 1 < to_harness && argv != Value::from(is.argv.clone()) {
            wrong.push(format!("lineage[{at}] has argv {argv}, should be {:?}", is.argv));
        }
    }
    wrong
}

/// Findings that are printed of one comparison: a defect often shows in each of many events.
const SHOWN: usize = 4;

/// What a comparison found.
#[derive(Debug, Default)]
pub(crate) struct Findings {
    wrong: Vec<String>,
    /// What may still come: counts of repeats, and what has no end of its own, are told when the agent sweeps.
    pending: Vec<String>,
    /// How many of all these are events that did not come.
    missing: usize,
}

impl Findings {
    /// Whether nothing is wrong but what may still come.
    pub(crate) const fn may_still_come(&self) -> bool {
        self.wrong.is_empty() && !self.pending.is_empty()
    }

    /// How many events are missing, where nothing else is wrong.
    pub(crate) const fn missing_alone(&self) -> Option<u64> {
        if self.missing > 0 && self.missing == self.wrong.len() + self.pending.len() {
            Some(self.missing as u64)
        } else {
            None
        }
    }

    /// All, for people; empty if there are none.
    pub(crate) fn text(&self) -> String {
        let mut all: Vec<&str> = self.wrong.iter().chain(&self.pending).map(String::as_str).collect();
        let more = format!("and {} more", all.len().saturating_sub(SHOWN));
        if all.len() > SHOWN {
            all.truncate(SHOWN);
            all.push(&more);
        }
        all.join("\n")
    }
}

/// Compares all that a test expects with all events that are its own.
pub(crate) fn compare(expected: &[Expected], mine: &[Event], all: &[Event]) -> Findings {
    let mut findings = Findings::default();
    let Findings { wrong, pending, missing } = &mut findings;
    // The harness's own acts mark places in the stream, at ports that may be a test's later.
    let of_others = |event: &&Event| event.pid() != Some(std::process::id());
    let mut left: Vec<&Event> = mine.iter().filter(of_others).collect();
    for one in expected.iter().filter(|one| one.deed.event.is_some()) {
        let about = left.iter().enumerate().filter(|(_, event)| one.is_about(event));
        let best = about.map(|(at, event)| (at, one.differences(event))).min_by_key(|(_, wrong)| wrong.len());
        let Some((at, differences)) = best else {
            let finding = format!("no event: {}", one.describe());
            if one.late { &mut *pending } else { &mut *wrong }.push(finding);
            *missing += 1;
            continue;
        };
        let event = left.swap_remove(at);
        if !differences.is_empty() {
            let list = differences.join("\n    ");
            wrong.push(format!("{}:\n    {list}\n  in {}", one.describe(), event.brief()));
        }
        let (repeats, should) = (repeats_of(event, all), one.deed.repeats);
        if let Some(should) = should.filter(|should| *should != repeats) {
            let finding = format!("{}: {repeats} repeats, should be {should}", one.describe());
            if repeats < should { &mut *pending } else { &mut *wrong }.push(finding);
        }
    }
    wrong.extend(left.into_iter().map(|event| format!("an event too much: {}", event.brief())));
    findings
}

/// How often an act was repeated, by all `repeat` events about it.
fn repeats_of(first: &Event, all: &[Event]) -> u64 {
    const OF_FLOW: &[&str] = &["cookie", "remote_address", "remote_port"];
    const OF_MEMORY: &[&str] = &["pid", "start_ns", "how", "outcome", "target_pid", "target_start_ns"];
    const OF_ENVIRONMENTS: &[&str] = &["pid", "start_ns", "how", "outcome"];
    const OF_READS: &[&str] = &["identity", "exe", "exe_device", "exe_inode", "euid", "credential", "path"];
    let keys = match first.kind() {
        "credential_access" => OF_READS,
        "memory_access" if first.text("how") == "proc_environ" => OF_ENVIRONMENTS,
        "memory_access" => OF_MEMORY,
        _ => OF_FLOW,
    };
    let repeats = all.iter().filter(|event| event.kind() == "repeat");
    let same = repeats.filter(|event| keys.iter().all(|key| event.get(key) == first.get(key)));
    same.filter_map(|event| event.number("count")).sum()
}

/// The map of a JSON object.
pub(crate) fn object(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(map) => map,
        _ => Map::new(),
    }
}
