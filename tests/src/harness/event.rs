//! One line of the agent's or the collector's JSON (docs/events.md).

use std::collections::BTreeSet;
use std::sync::{Arc, OnceLock};

use serde::Deserialize;
use serde_json::Value;

use super::stream::Item;

impl Item for Event {
    fn is_idle(&self) -> bool {
        self.is_phase("heartbeat")
    }
}

/// A line, as text and as what it holds: read when it is first asked for, because tests that make very many events look
/// into few, and the program that prints them waits for its reader.
#[derive(Clone, Debug)]
pub(crate) struct Event {
    /// As it was printed.
    pub(crate) line: Arc<str>,
    value: Arc<OnceLock<Value>>,
}

impl Event {
    /// Takes a line. One that is no JSON object has no keys: [`Event::is_object`].
    pub(crate) fn read(line: String) -> Self {
        Self { line: line.into(), value: Arc::default() }
    }

    /// The same line, unread: what is read of it goes with it. What an event holds takes ten times the room of its line,
    /// which counts where all of very many are looked into.
    pub(crate) fn apart(&self) -> Self {
        Self { line: self.line.clone(), value: Arc::default() }
    }

    fn value(&self) -> &Value {
        self.value.get_or_init(|| serde_json::from_str(&self.line).unwrap_or(Value::Null))
    }

    /// Whether the text has a key with this number, the event's own or an ancestor's.
    pub(crate) fn mentions(&self, key: &str, number: u64) -> bool {
        let wanted = format!("\"{key}\":{number}");
        let follows = |(at, _): (usize, &str)| self.line.as_bytes().get(at + wanted.len());
        self.line.match_indices(&wanted).any(|found| follows(found).is_none_or(|byte| !byte.is_ascii_digit()))
    }

    /// The event without what its processes' ancestors are: for people.
    pub(crate) fn brief(&self) -> String {
        let mut value = self.value().clone();
        if let Value::Object(keys) = &mut value {
            keys.retain(|key, _| !matches!(key.as_str(), "lineage" | "counters"));
        }
        value.to_string()
    }

    /// Keys whose values are not those of another telling of the same event. The wall time is made of `boot_ns` and of
    /// what the clocks show when it is told: `boot_ns` is looked at.
    pub(crate) fn differences(&self, other: &Self) -> BTreeSet<String> {
        if self.around_time() == other.around_time() {
            return BTreeSet::new();
        }
        let keys = |event: &Self| event.value().as_object().cloned().unwrap_or_default();
        let (mine, theirs) = (keys(self), keys(other));
        let differs = |key: &&String| key.as_str() != "time" && mine.get(*key) != theirs.get(*key);
        mine.keys().chain(theirs.keys()).filter(differs).cloned().collect()
    }

    /// The line before the wall time, and after it: most tellings of an event differ there at most, which is found
    /// without reading them.
    fn around_time(&self) -> (&str, &str) {
        const KEY: &str = "\"time\":\"";
        let Some((before, time)) = self.line.split_once(KEY) else { return (&self.line, "") };
        (before, time.split_once('"').map_or("", |(_, after)| after))
    }

    /// Its `id`, empty where it has none, without keeping what else the line holds; `None` where that is no JSON object.
    pub(crate) fn id(&self) -> Option<String> {
        #[derive(Deserialize)]
        struct Identified {
            #[serde(default)]
            id: String,
        }
        serde_json::from_str(&self.line).ok().map(|Identified { id }| id)
    }

    /// Whether the line was a JSON object.
    pub(crate) fn is_object(&self) -> bool {
        self.value().is_object()
    }

    /// A key's value.
    pub(crate) fn get(&self, key: &str) -> Option<&Value> {
        self.value().get(key)
    }

    /// A key's text; empty where it has none.
    pub(crate) fn text(&self, key: &str) -> &str {
        self.get(key).and_then(Value::as_str).unwrap_or_default()
    }

    /// A key's number.
    pub(crate) fn number(&self, key: &str) -> Option<u64> {
        self.get(key).and_then(Value::as_u64)
    }

    /// What kind of event it is.
    pub(crate) fn kind(&self) -> &str {
        self.text("event")
    }

    /// Whether a process did something.
    pub(crate) fn is_activity(&self) -> bool {
        matches!(
            self.kind(),
            "connection"
                | "connection_update"
                | "connection_end"
                | "connection_name"
                | "datagram_flow"
                | "credential_access"
                | "raw_socket"
                | "credential_attempt"
                | "memory_access"
                | "key_access"
        )
    }

    /// The process that did it.
    pub(crate) fn pid(&self) -> Option<u32> {
        self.number("pid").and_then(|pid| pid.try_into().ok())
    }

    /// The processes of its lineage, parent first.
    pub(crate) fn lineage(&self) -> &[Value] {
        self.get("lineage").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default()
    }

    /// A counter of an `agent_status`.
    pub(crate) fn counter(&self, name: &str) -> Option<u64> {
        let counters = self.get("counters")?.as_array()?;
        let counter =
            counters.iter().find(|counter| counter.get("name").and_then(Value::as_str) == Some(name));
        counter?.get("value")?.as_u64()
    }

    /// All counters of an `agent_status`.
    pub(crate) fn counters(&self) -> impl Iterator<Item = (&str, u64)> {
        let counters = self.get("counters").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
        counters
            .iter()
            .filter_map(|counter| Some((counter.get("name")?.as_str()?, counter.get("value")?.as_u64()?)))
    }

    /// The hook that serves a capability, by an `agent_status`.
    pub(crate) fn serving(&self, capability: &str) -> Option<&str> {
        let serving = self.get("serving")?.as_array()?;
        let found =
            serving.iter().find(|one| one.get("capability").and_then(Value::as_str) == Some(capability));
        found?.get("hook")?.as_str()
    }

    /// Whether this is an `agent_status` of that phase.
    pub(crate) fn is_phase(&self, phase: &str) -> bool {
        self.line.contains("\"agent_status\"") && self.kind() == "agent_status" && self.text("phase") == phase
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(line: &str) -> Event {
        Event::read(line.to_owned())
    }

    #[test]
    fn tellings_differ_in_all_but_the_wall_time() {
        let one = event(r#"{"id":"a/1","time":"2026-01-02T03:04:05Z","pid":7}"#);
        let later = event(r#"{"id":"a/1","time":"2026-01-02T03:04:06Z","pid":7}"#);
        let other = event(r#"{"id":"a/1","time":"2026-01-02T03:04:05Z","pid":8}"#);
        let reordered = event(r#"{"pid":7,"id":"a/1","time":"2026-01-02T03:04:05Z"}"#);
        assert!(one.differences(&later).is_empty() && one.differences(&reordered).is_empty());
        assert_eq!(one.differences(&other), BTreeSet::from(["pid".to_owned()]));
    }

    #[test]
    fn half_a_line_has_no_id() {
        assert_eq!(event(r#"{"id":"a/1","pid":7}"#).id().as_deref(), Some("a/1"));
        assert_eq!(event(r#"{"pid":7}"#).id().as_deref(), Some(""));
        assert_eq!(event(r#"{"id":"a/1","pi"#).id(), None);
    }
}
