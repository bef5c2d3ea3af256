//! Events into rows.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use crate::harness::claim;
use crate::harness::event::Event;

/// When a piece of work was done.
#[derive(Debug)]
pub(super) struct Span {
    pub(super) name: &'static str,
    pub(super) from_ns: u64,
    pub(super) to_ns: u64,
}

/// How often something was done, and in how many events it was told.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Count {
    done: u64,
    told: u64,
}

impl Count {
    fn add(&mut self, event: &Event) {
        self.done += event.number("count").unwrap_or(1);
        self.told += 1;
    }
}

/// All acts on credentials by work, credential, program and way; all events by work and kind.
#[derive(Debug, Default)]
pub(super) struct Table {
    acts: BTreeMap<[String; 4], Count>,
    kinds: BTreeMap<[String; 2], Count>,
}

impl Table {
    /// Sorts the events of what `worker` has started; what was counted is taken for the work during which it was done
    /// last.
    pub(super) fn of(events: &[Event], spans: &[Span], worker: u32) -> Self {
        let mut table = Self::default();
        let mut own = BTreeSet::new();
        for event in events {
            let is_own = if event.kind() == "repeat" {
                same(event).is_some_and(|key| own.contains(&key))
            } else {
                event.lineage().iter().any(|ancestor| claim::pid(ancestor) == Some(worker))
            };
            if !is_own {
                continue;
            }
            own.extend(same(event));
            let at = event.number("last_boot_ns").or_else(|| event.number("boot_ns")).unwrap_or_default();
            let during = spans.iter().rev().find(|span| at >= span.from_ns);
            let work = match during {
                Some(span) if at <= span.to_ns => span.name,
                _ => "between",
            };
            let kind = event.kind();
            table.kinds.entry([work, kind].map(str::to_owned)).or_default().add(event);
            let credential = event.text("credential");
            if credential.is_empty() {
                continue;
            }
            let exe = event.text("exe");
            let row = [work, credential, exe, way(event)].map(str::to_owned);
            table.acts.entry(row).or_default().add(event);
        }
        table
    }
}

/// What a `repeat` has in common with what it repeats.
fn same(event: &Event) -> Option<Vec<String>> {
    const OF_READS: [&str; 5] = ["identity", "exe", "euid", "credential", "path"];
    const OF_FLOWS: [&str; 3] = ["cookie", "remote_address", "remote_port"];
    let of = |keys: &[&str]| -> Option<Vec<String>> {
        keys.iter().map(|key| event.get(key).map(ToString::to_string)).collect()
    };
    of(&OF_READS).or_else(|| of(&OF_FLOWS))
}

/// `read (expected)`, `open to write`, `replace`, `refused`.
fn way(event: &Event) -> &str {
    match (event.kind(), event.text("how"), event.text("access")) {
        ("repeat", ..) => "read, expected",
        ("credential_attempt", ..) => "refused",
        (_, "open", "read") if event.get("expected").is_some() => "read, expected",
        (_, "open", access) => access,
        (_, how, _) => how,
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "| work | credential | program | way | done | events |")?;
        writeln!(f, "|---|---|---|---|---|---|")?;
        let mut sums: BTreeMap<&str, Count> = BTreeMap::new();
        for ([work, credential, exe, way], Count { done, told }) in &self.acts {
            writeln!(f, "| {work} | {credential} | {exe} | {way} | {done} | {told} |")?;
            let sum = sums.entry(work).or_default();
            sum.done += done;
            sum.told += told;
        }
        writeln!(f, "\n| work | acts on credentials | events of them |\n|---|---|---|")?;
        for (work, Count { done, told }) in sums {
            writeln!(f, "| {work} | {done} | {told} |")?;
        }
        writeln!(f, "\n| work | kind | events |\n|---|---|---|")?;
        for ([work, kind], Count { told, .. }) in &self.kinds {
            writeln!(f, "| {work} | `{kind}` | {told} |")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(keys: &str) -> Event {
        Event::read(format!("{{{keys}}}"))
    }

    #[test]
    fn repeats_are_added_to_what_they_repeat() {
        let read = r#""identity":"human/a","euid":0,"path":"/k","credential":"key","exe":"/usr/bin/ssh""#;
        let by = |pid| format!(r#""lineage":[{{"pid":3}},{{"pid":{pid}}}]"#);
        let access = |at, pid, rest| {
            event(&format!(r#""event":"credential_access","boot_ns":{at},{read},{},{rest}"#, by(pid)))
        };
        let events = [
            access(5, 9, r#""how":"open","access":"read","expected":true"#),
            event(&format!(r#""event":"repeat","boot_ns":9,"last_boot_ns":6,"count":7,{read}"#)),
            access(7, 9, r#""how":"replace","access":"none""#),
            access(7, 8, r#""how":"replace","access":"none""#),
            event(r#""event":"repeat","boot_ns":9,"last_boot_ns":6,"count":2,"cookie":1"#),
            event(&format!(r#""event":"connection","boot_ns":30,{}"#, by(9))),
        ];
        let spans =
            [Span { name: "git", from_ns: 4, to_ns: 8 }, Span { name: "other", from_ns: 20, to_ns: 25 }];
        let table = Table::of(&events, &spans, 9);
        let key = |way: &str| ["git", "key", "/usr/bin/ssh", way].map(str::to_owned);
        assert_eq!(table.acts.get(&key("read, expected")), Some(&Count { done: 8, told: 2 }));
        assert_eq!(table.acts.get(&key("replace")), Some(&Count { done: 1, told: 1 }));
        assert_eq!(table.acts.len(), 2);
        let other = ["between", "connection"].map(str::to_owned);
        assert_eq!(table.kinds.get(&other), Some(&Count { done: 1, told: 1 }));
        assert_eq!(table.kinds.len(), 3);
    }
}
