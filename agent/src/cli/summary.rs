//! What a run or a collection amounted to: events by kind, losses by cause, busiest identities, latency.

use std::collections::{BTreeMap, HashMap};
use std::fmt::Write as _;
use std::time::Duration;

use hdrhistogram::Histogram;

use super::fit::{Keep, fit, pad, width};
use super::line::{span, style, write_spans};
use super::render::{duration, escaped};
use crate::model::event::{Event, EventKind, What};
use crate::ship::wire::{Body, Deed, View};

/// Identities counted apart, at most; those first seen later are counted together.
const IDENTITIES: usize = 4096;
/// Causes of loss told apart, at most; others are counted together.
const CAUSES: usize = 256;
/// Bytes of a name that is counted apart, at most.
const NAME_BYTES: usize = 1024;
/// Identities shown.
const SHOWN: usize = 10;
/// Longest latency told apart: a minute.
const LONGEST_NS: u64 = 60_000_000_000;

/// Counts of what was seen; its memory is bounded whatever it sees.
pub struct Summary {
    kinds: BTreeMap<&'static str, u64>,
    folded: u64,
    identities: HashMap<String, u64>,
    other_identities: u64,
    losses: BTreeMap<(String, String), u64>,
    other_losses: u64,
    latency: Option<Histogram<u64>>,
}

impl Default for Summary {
    fn default() -> Self {
        Self::new()
    }
}

impl Summary {
    /// Nothing seen yet.
    pub fn new() -> Self {
        Self {
            kinds: BTreeMap::new(),
            folded: 0,
            identities: HashMap::new(),
            other_identities: 0,
            losses: BTreeMap::new(),
            other_losses: 0,
            // `None` for bounds that make no histogram, which these do.
            latency: Histogram::new_with_bounds(1, LONGEST_NS, 2).ok(),
        }
    }

    /// Counts an event of this host.
    pub fn event(&mut self, event: &Event) {
        match &event.kind {
            EventKind::Activity(activity) => {
                let kind = match activity.what {
                    What::Connection(_) => "connection",
                    What::DatagramFlow(_) => "datagram_flow",
                    What::CredentialAccess(_) => "credential_access",
                    What::ConnectionUpdate(_) => "connection_update",
                    What::ConnectionEnd(_) => "connection_end",
                    What::RawSocket(_) => "raw_socket",
                    What::CredentialAttempt(_) => "credential_attempt",
                    What::ConnectionName(_) => "connection_name",
                    What::MemoryAccess(_) => "memory_access",
                    What::KeyAccess(_) => "key_access",
                };
                self.activity(kind, &activity.attribution.identity.to_string());
            }
            EventKind::Repeat(repeat) => self.repeat(repeat.count),
            EventKind::Gap(gap) => {
                self.kind("gap");
                self.loss(gap.stage, gap.cause, gap.lost);
            }
            EventKind::AgentStatus(_) => self.kind("agent_status"),
        }
    }

    /// Counts an event that came over the wire.
    pub fn view(&mut self, view: View<'_>) {
        match view.body() {
            Body::Activity(activity) if !matches!(activity.deed, Deed::Unknown) => {
                self.activity(view.name(), &activity.attribution.identity);
            }
            Body::Repeat(repeat) => self.repeat(repeat.count),
            Body::Gap(gap) => {
                self.kind("gap");
                self.loss(&gap.stage, &gap.cause, gap.lost);
            }
            Body::Activity(_) | Body::Status(_) | Body::Unknown => self.kind(view.name()),
        }
    }

    /// Counts a loss that no event told of.
    pub fn loss(&mut self, stage: &str, cause: &str, lost: u64) {
        if lost == 0 {
            return;
        }
        if stage.len() + cause.len() > NAME_BYTES {
            self.other_losses += lost;
            return;
        }
        let key = (stage.to_owned(), cause.to_owned());
        if let Some(count) = self.losses.get_mut(&key) {
            *count += lost;
        } else if self.losses.len() < CAUSES {
            self.losses.insert(key, lost);
        } else {
            self.other_losses += lost;
        }
    }

    /// Takes the time from an act in the kernel to its encoded event, in nanoseconds.
    pub fn encoded_after(&mut self, ns: u64) {
        if let Some(latency) = &mut self.latency {
            latency.saturating_record(ns.max(1));
        }
    }

    /// Events seen.
    pub fn events(&self) -> u64 {
        self.kinds.values().sum()
    }

    /// Losses by (stage, cause), without those beyond the bound on causes.
    pub fn losses(&self) -> impl Iterator<Item = (&str, &str, u64)> {
        self.losses.iter().map(|((stage, cause), lost)| (stage.as_str(), cause.as_str(), *lost))
    }

    fn kind(&mut self, kind: &'static str) {
        *self.kinds.entry(kind).or_default() += 1;
    }

    fn repeat(&mut self, count: u64) {
        self.kind("repeat");
        self.folded += count;
    }

    fn activity(&mut self, kind: &'static str, identity: &str) {
        self.kind(kind);
        if let Some(count) = self.identities.get_mut(identity) {
            *count += 1;
        } else if self.identities.len() < IDENTITIES && identity.len() <= NAME_BYTES {
            self.identities.insert(identity.to_owned(), 1);
        } else {
            self.other_identities += 1;
        }
    }

    /// Readable lines, within `columns` where there is a terminal.
    pub fn render(&self, took: Duration, columns: Option<usize>, coloured: bool) -> String {
        let mut out = format!("{} events in {}", thousands(self.events()), duration(took.as_nanos() as u64));
        for (kind, count) in &self.kinds {
            let _ = write!(out, "\n  {} {:>12}", pad(kind, 18), thousands(*count));
            if *kind == "repeat" {
                let _ = write!(out, "  ({} folded acts)", thousands(self.folded));
            }
        }
        out.push('\n');
        self.render_losses(&mut out, coloured);
        self.render_busiest(&mut out, columns);
        if let Some(latency) = self.latency.as_ref().filter(|latency| !latency.is_empty()) {
            let at = |quantile| duration(latency.value_at_quantile(quantile));
            let _ = writeln!(out, "kernel to encoded: p50 {}, p99 {}", at(0.5), at(0.99));
        }
        out
    }

    fn render_losses(&self, out: &mut String, coloured: bool) {
        let lost = self.losses.values().sum::<u64>() + self.other_losses;
        if lost == 0 {
            write_spans(out, &[span(style::GOOD, "no losses")], 0, coloured);
            out.push('\n');
            return;
        }
        write_spans(out, &[span(style::LOSS, format!("{} LOST", thousands(lost)))], 0, coloured);
        for ((stage, cause), lost) in &self.losses {
            let name = escaped(format!("{stage}: {cause}").as_bytes());
            let _ = write!(out, "\n  {} {:>12}", pad(&name, 30), thousands(*lost));
        }
        if self.other_losses > 0 {
            let _ = write!(out, "\n  {} {:>12}", pad("other causes", 30), thousands(self.other_losses));
        }
        out.push('\n');
    }

    fn render_busiest(&self, out: &mut String, columns: Option<usize>) {
        let mut busiest: Vec<_> = self.identities.iter().collect();
        busiest.sort_by(|a, b| b.1.cmp(a.1).then_with(|| a.0.cmp(b.0)));
        let rest = busiest.iter().skip(SHOWN).map(|(_, count)| **count).sum::<u64>() + self.other_identities;
        let more = busiest.len().saturating_sub(SHOWN);
        busiest.truncate(SHOWN);
        if busiest.is_empty() {
            return;
        }
        out.push_str("busiest identities\n");
        let names: Vec<_> = busiest.iter().map(|(identity, _)| escaped(identity.as_bytes())).collect();
        let room = columns.map_or(usize::MAX, |columns| columns.saturating_sub(16).max(8));
        let widest = names.iter().map(|name| width(name)).max().unwrap_or(0).clamp(18, 60).min(room);
        for (name, (_, count)) in names.iter().zip(&busiest) {
            let name = if columns.is_some() { fit(name, widest, Keep::Ends) } else { name.clone() };
            let _ = writeln!(out, "  {} {:>12}", pad(&name, widest), thousands(**count));
        }
        if rest > 0 {
            let others =
                if self.other_identities > 0 { "all others".to_owned() } else { format!("{more} others") };
            let _ = writeln!(out, "  {} {:>12}", pad(&others, widest), thousands(rest));
        }
    }
}

/// How many there are, and how many of these are what; what none is is left out.
pub(super) fn totals(number: usize, (one, many): (&str, &str), parts: &[(&str, usize)]) -> String {
    let name = if number == 1 { one } else { many };
    let mut text = format!("{} {name}", thousands(number as u64));
    for (what, number) in parts.iter().filter(|(_, number)| *number > 0) {
        text.push_str(&format!(", {} {what}", thousands(*number as u64)));
    }
    text
}

/// `1,234,567`.
pub(super) fn thousands(number: u64) -> String {
    let digits = number.to_string();
    let mut out = String::new();
    for (position, digit) in digits.chars().enumerate() {
        if position > 0 && (digits.len() - position).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ship::wire::examples;

    #[test]
    fn it_reads_like_this() {
        let mut summary = Summary::new();
        for (_, event) in examples::all() {
            summary.event(&event);
        }
        (0..2000).for_each(|_| summary.activity("connection", "svc/nginx"));
        (1..=1000).for_each(|millis| summary.encoded_after(millis * 10_000));
        summary.loss("queue", "queue_full", 1234);
        let shown = summary.render(Duration::from_millis(12_300), Some(80), false);
        let expected = "2,027 events in 12.3 s
  agent_status                  1
  connection                2,005
  connection_end                1
  connection_name               1
  connection_update             1
  credential_access             6
  credential_attempt            2
  datagram_flow                 1
  gap                           1
  key_access                    2
  memory_access                 2
  raw_socket                    1
  repeat                        3  (19 folded acts)
1,251 LOST
  kernel: dropped_ring_full                17
  queue: queue_full                     1,234
busiest identities
  svc/nginx                                               2,000
  human/alice                                                20
  agent/claude-code@human/alice                               1
  k8s/production/shop/deployment/operator/operator            1
kernel to encoded: p50 5.0 ms, p99 10.0 ms
";
        assert!(shown == expected, "{shown}");
    }

    #[test]
    fn the_wire_and_the_host_count_alike() {
        let events: Vec<_> = examples::all().into_iter().map(|(_, event)| event).collect();
        let (mut host, mut wire) = (Summary::new(), Summary::new());
        events.iter().for_each(|event| host.event(event));
        examples::batch(&events).views().for_each(|view| wire.view(view));
        let shown = |summary: &Summary| summary.render(Duration::ZERO, None, true);
        assert_eq!(shown(&host), shown(&wire));
    }

    #[test]
    fn no_loss_is_said() {
        let shown = Summary::new().render(Duration::ZERO, None, false);
        assert_eq!(shown, "0 events in 0.0 ms\nno losses\n");
    }

    #[test]
    fn its_memory_is_bounded_and_its_sums_are_right() {
        let mut summary = Summary::new();
        for number in 0..10_000 {
            summary.activity("connection", &format!("exe/tmp/{number}@uid:0"));
            summary.loss("kernel", &number.to_string(), 1);
        }
        assert_eq!((summary.identities.len(), summary.losses.len()), (IDENTITIES, CAUSES));
        let shown = summary.render(Duration::ZERO, Some(30), false);
        assert!(shown.contains("10,000 LOST"), "{shown}");
        assert!(shown.contains("all others"), "{shown}");
        assert!(shown.contains("9,990"), "{shown}");
        assert!(shown.contains("other causes") && shown.contains("9,744"), "{shown}");
    }

    #[test]
    fn digits_are_grouped() {
        for (number, expected) in [(0, "0"), (999, "999"), (1000, "1,000"), (1_234_567, "1,234,567")] {
            assert_eq!(thousands(number), expected);
        }
    }
}
