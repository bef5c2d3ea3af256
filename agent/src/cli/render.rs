//! An event as one readable line: time, who, what, why.
//!
//! ```text
//! 03:04:05.000  human/alice   curl[4321] alice      tcp   192.0.2.10:443 established 0.4 ms   sshd › bash › claude › bash
//! 03:04:05.041  human/alice   python3[4322] alice   read  /home/alice/.aws/credentials aws-credentials   sshd › bash
//! ```
//!
//! Whatever a process or another host wrote is escaped before it is measured or coloured, so no line can be forged
//! and no terminal steered. On a terminal a line never exceeds its width: what tells least is left out first.

use std::sync::Arc;

use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::fit::{ELLIPSIS, Keep, fit, pad, width};
use super::line::{Columns, Span, span, spans_width, style, write_spans};
use crate::model::bytes::escape_into;
use crate::model::time::WallTime;
use crate::ship::wire::bytes::WireBytes;
use crate::ship::wire::rows::{Attribution, Ids};
use crate::ship::wire::v1::{
    Attempt, Connection, Credential, Destination, Endpoint, Gap, Key, Memory, Named, Names, RawSocket, Reach,
    Read, Repeat, Status, Traffic,
};
use crate::ship::wire::{ActivityView, Body, Deed, View, names};

/// Finds the name of a user id on the host that the events are of.
pub type UserName = Arc<dyn Fn(u32) -> Option<String> + Send + Sync>;

/// How lines look.
#[derive(Clone)]
pub struct Renderer {
    /// Columns of the terminal; `None`: there is none, and nothing is shortened.
    pub width: Option<usize>,
    /// Whether lines are coloured.
    pub coloured: bool,
    /// Whether lines name their host.
    pub hosts: bool,
    /// The time zone of the first column.
    pub zone: TimeZone,
    /// Names of users; without it, `root` and `uid:N`.
    pub users: Option<UserName>,
}

impl Renderer {
    /// One line without its newline.
    pub fn line(&self, view: View<'_>) -> String {
        let columns = Columns::new(self.width, self.hosts);
        let mut out = String::new();
        let time = self.time(view.wall_time(), columns.milliseconds);
        write_spans(&mut out, &[span(style::DIM, time)], 0, self.coloured);
        let mut column = |spans: &[Span], width: usize| {
            out.push_str(&" ".repeat(columns.gap));
            write_spans(&mut out, spans, width, self.coloured);
        };
        if columns.host > 0 {
            let host =
                shortened(escaped(view.batch().host.name.as_bytes()), columns.host, Keep::Start, &columns);
            column(&[span(style::PLAIN, host)], columns.host);
        }
        match view.body() {
            Body::Activity(activity) => {
                column(&[span(style::BOLD, who(activity.attribution, &columns))], columns.who);
                column(&self.process(&activity, &columns), columns.process);
                column(&what(&activity, &columns), columns.what);
                if let Some(width) = columns.why {
                    column(&[span(style::DIM, why(&activity, columns.shorten.then_some(width)))], 0);
                }
            }
            Body::Repeat(body) => column(&whole(repeat(body), &columns), 0),
            Body::Gap(body) => column(&whole(gap(body), &columns), 0),
            Body::Status(body) => column(&whole(status(body), &columns), 0),
            Body::Unknown => {
                column(
                    &whole(
                        (style::DOUBT, "an event of a kind that this program does not know".into()),
                        &columns,
                    ),
                    0,
                );
            }
        }
        out.truncate(out.trim_end_matches(' ').len());
        out
    }

    fn time(&self, time: WallTime, milliseconds: bool) -> String {
        // Every time in nanoseconds that fits an i64 is within jiff's range.
        let time = Timestamp::from_nanosecond(time.unix_ns.into()).unwrap_or(Timestamp::UNIX_EPOCH);
        let zoned = time.to_zoned(self.zone.clone());
        zoned.strftime(if milliseconds { "%H:%M:%S%.3f" } else { "%H:%M:%S" }).to_string()
    }

    /// `curl[4321] alice`: the name is shortened first, then the user left out.
    fn process(&self, activity: &ActivityView<'_>, columns: &Columns) -> Vec<Span> {
        let pid = format!("[{}]", activity.process.pid);
        let user = format!(" {}", self.user(activity.attribution, activity.ids));
        let name = escaped(activity.process.short_name());
        let mut room = columns.process.saturating_sub(width(&pid));
        let with_user = !columns.shorten || width(&name).min(6) + width(&user) <= room;
        room = room.saturating_sub(if with_user { width(&user) } else { 0 });
        let mut spans =
            vec![span(style::PLAIN, shortened(name, room, Keep::Start, columns)), span(style::DIM, pid)];
        if with_user {
            spans.push(span(style::PLAIN, user));
        }
        spans
    }

    fn user(&self, attribution: &Attribution, ids: &Ids) -> String {
        let name = |uid: u32| {
            let login = attribution.human.as_deref().and_then(|human| human.strip_prefix("human/"));
            let login = login.filter(|_| ids.login_uid == Some(uid)).map(str::to_owned);
            let name = login.or_else(|| self.users.as_ref().and_then(|users| users(uid)));
            let name =
                name.unwrap_or_else(|| if uid == 0 { "root".to_owned() } else { format!("uid:{uid}") });
            escaped(name.as_bytes())
        };
        if ids.uid == ids.euid { name(ids.uid) } else { format!("{}→{}", name(ids.uid), name(ids.euid)) }
    }
}

/// Text of others, so that a terminal shows it and obeys none of it.
pub(super) fn escaped(bytes: &[u8]) -> String {
    let mut out = String::new();
    // Writing to a string does not fail.
    let _ = escape_into(&mut out, bytes);
    out
}

fn shortened(text: String, room: usize, keep: Keep, columns: &Columns) -> String {
    if columns.shorten { fit(&text, room, keep) } else { text }
}

/// `human/alice (ssh from 203.0.113.7)`, or as much of it as there is room for.
fn who(attribution: &Attribution, columns: &Columns) -> String {
    let identity = escaped(attribution.identity.as_bytes());
    let room = columns.who.saturating_sub(width(&identity));
    let over_ssh = attribution.login.as_deref() == Some("ssh");
    let peer = attribution.login_from.as_deref().filter(|_| over_ssh);
    let peer = peer.and_then(|peer| peer.parse::<std::net::SocketAddr>().ok()).map(|peer| peer.ip());
    let forms = [
        peer.map(|peer| format!(" (ssh from {peer})")),
        peer.map(|peer| format!(" (ssh {peer})")),
        over_ssh.then(|| " (ssh)".to_owned()),
    ];
    let login = forms.into_iter().flatten().find(|form| !columns.shorten || width(form) <= room);
    shortened(identity + login.as_deref().unwrap_or_default(), columns.who, Keep::Ends, columns)
}

/// What was done, in pieces.
struct Told<'a> {
    verb: &'a str,
    target: Span,
    keep: Keep,
    /// What came of it, the longest form first. The first that fits beside the whole target is shown, else the last.
    results: Vec<Vec<Span>>,
}

/// A target is not made shorter than this to make room for what came of it.
const LEAST_TARGET: usize = 10;
/// Columns of the verb.
const VERB: usize = 6;

fn what(activity: &ActivityView<'_>, columns: &Columns) -> Vec<Span> {
    let Told { verb, target, keep, results } = match activity.deed {
        Deed::Connection(body) => connection(body),
        Deed::Datagram(flow) => {
            let target = span(style::PLAIN, address(&flow.remote));
            let results = name(&flow.names).into_iter().map(|name| vec![name]).collect();
            Told { verb: &flow.protocol, target, keep: Keep::Ends, results }
        }
        Deed::Credential(body) => credential(body),
        Deed::Update(body) => traffic(body, "open"),
        Deed::End(body) => traffic(body, "closed"),
        Deed::Raw(body) => raw_socket(body),
        Deed::Attempt(body) => attempt(body),
        Deed::Named(body) => named(body),
        Deed::Memory(body) => memory(activity, body),
        Deed::Key(body) => key(body),
        Deed::Unknown => {
            let target = span(style::DOUBT, "something that this program does not know");
            Told { verb: "?", target, keep: Keep::Start, results: Vec::new() }
        }
    };
    let verb = pad(&escaped(verb.as_bytes()), VERB);
    let room = columns.what.saturating_sub(width(&verb));
    let fits = |target: usize, result: &Vec<Span>| !columns.shorten || target + spans_width(result) <= room;
    let whole = width(&target.text);
    let shortest = || results.last().filter(|result| fits(LEAST_TARGET, result));
    let result =
        results.iter().find(|result| fits(whole, result)).or_else(shortest).cloned().unwrap_or_default();
    let room = room.saturating_sub(spans_width(&result));
    let target = span(target.style, shortened(target.text, room, keep, columns));
    [vec![span(style::DIM, verb), target], result].concat()
}

fn connection(connection: &Connection) -> Told<'_> {
    let mut target = address(&connection.asked);
    if let Some(connected) = connection.connected().filter(|connected| **connected != connection.asked) {
        target = format!("{target} → {}", address(connected));
    }
    let (colour, outcome, short) = match &*connection.outcome {
        "established" if connection.held => (style::DOUBT, "held".to_owned(), "held"),
        "established" => (style::GOOD, "established".to_owned(), "ok"),
        "failed" => {
            let number = connection.errno.unwrap_or(0);
            let name = names::errno(number).map_or_else(|| format!("failed: errno {number}"), str::to_owned);
            (style::BAD, name, "failed")
        }
        _ => {
            let reason = escaped(connection.reason.as_deref().unwrap_or("?").as_bytes());
            (style::DOUBT, format!("unknown: {reason}"), "unknown")
        }
    };
    let outcome = span(colour, format!(" {outcome}"));
    let latency = connection.latency_ns.map(|latency| span(style::DIM, format!(" {}", duration(latency))));
    let mut results = vec![
        std::iter::once(outcome.clone()).chain(latency).collect(),
        vec![outcome],
        vec![span(colour, format!(" {short}"))],
    ];
    with_name(&mut results, &connection.names);
    with_destination(&mut results, connection.destination.as_deref());
    let colour = if connection.outcome == "failed" { style::BAD } else { style::PLAIN };
    Told { verb: &connection.protocol, target: span(colour, target), keep: Keep::Ends, results }
}

/// `192.0.2.10:443 closed 2.4 kB out, 12.8 MB in 81 s`.
fn traffic<'a>(traffic: &'a Traffic, state: &'static str) -> Told<'a> {
    let told = match traffic.errno {
        None => span(style::DIM, format!(" {state}")),
        Some(number) => {
            let name = names::errno(number).map_or_else(|| format!("errno {number}"), str::to_owned);
            span(style::BAD, format!(" {state}: {name}"))
        }
    };
    let carried = span(style::PLAIN, format!(" {} out, {} in", bytes(traffic.sent), bytes(traffic.received)));
    let lasted = span(style::DIM, format!(" {}", duration(traffic.duration_ns)));
    let mut results = vec![
        vec![told.clone(), carried.clone(), lasted],
        vec![told.clone(), carried],
        vec![told],
        vec![span(style::DIM, format!(" {state}"))],
    ];
    with_name(&mut results, &traffic.names);
    with_destination(&mut results, traffic.destination.as_deref());
    let target = span(style::PLAIN, address(&traffic.remote));
    Told { verb: &traffic.protocol, target, keep: Keep::Ends, results }
}

/// ` (api.example.com)`; ` (claims api.example.com)` for a name that no resolver of the host gave.
fn name(names: &Names) -> Option<Span> {
    let shown = |name: &str| escaped(name.as_bytes());
    match names.own() {
        Some(own) => Some(span(style::PLAIN, format!(" ({})", shown(own)))),
        None => names.claimed().map(|name| span(style::DOUBT, format!(" (claims {})", shown(name)))),
    }
}

/// `name login.example.org at 192.0.2.10:443 (api.example.com)`: what the ClientHello asks for, and what is known.
fn named(named: &Named) -> Told<'_> {
    let Named { remote, names, .. } = named;
    let (asked, own) = (names.claimed().unwrap_or("?"), names.own());
    let colour = if own == Some(asked) { style::PLAIN } else { style::DOUBT };
    let at = span(style::PLAIN, format!(" at {}", address(remote)));
    let known = own.filter(|own| *own != asked).map(|_| name(names)).unwrap_or_default();
    let results = vec![std::iter::once(at.clone()).chain(known).collect(), vec![at], Vec::new()];
    Told { verb: "name", target: span(colour, escaped(asked.as_bytes())), keep: Keep::End, results }
}

/// Puts the name before what came of it, where there is room.
fn with_name(results: &mut Vec<Vec<Span>>, names: &Names) {
    if let Some(name) = name(names) {
        let named = results.iter().map(|result| [std::slice::from_ref(&name), result].concat());
        *results = named.chain(results.iter().cloned()).collect();
    }
}

/// Puts what it leads to before all that, where there is room: ` → svc/postgresql`.
fn with_destination(results: &mut Vec<Vec<Span>>, destination: Option<&Destination>) {
    if let Some(identity) = destination.and_then(|destination| destination.identity.as_deref()) {
        let shown = span(style::BOLD, format!(" → {}", escaped(identity.as_bytes())));
        let told = results.iter().map(|result| [std::slice::from_ref(&shown), result].concat());
        *results = told.chain(results.iter().cloned()).collect();
    }
}

/// `sock packet raw protocol 3`.
fn raw_socket(raw: &RawSocket) -> Told<'_> {
    let RawSocket { family, socket_type, protocol } = raw;
    let text: String = std::iter::once(&**family)
        .chain(socket_type.as_deref().into_iter().flat_map(|socket_type| [" ", socket_type]))
        .collect();
    let protocol = protocol.map(|number| vec![span(style::DIM, format!(" protocol {number}"))]);
    let target = span(style::DOUBT, escaped(text.as_bytes()));
    Told { verb: "sock", target, keep: Keep::Start, results: protocol.into_iter().collect() }
}

/// `812 B`, `12.8 MB`.
fn bytes(number: u64) -> String {
    let units = [(1_000_000_000_000, "TB"), (1_000_000_000, "GB"), (1_000_000, "MB"), (1_000, "kB")];
    units.into_iter().find(|(unit, _)| number >= *unit).map_or_else(
        || format!("{number} B"),
        |(unit, name)| format!("{:.1} {name}", number as f64 / unit as f64),
    )
}

fn credential(credential: &Credential) -> Told<'_> {
    let colour = style::sensitivity(credential.sensitivity);
    let name = span(style::DIM, format!(" {}", escaped(credential.name.as_bytes())));
    let truncated = credential.truncate.then(|| span(style::BAD, " truncated"));
    let other = other_path(&credential.how, credential.other_path.as_ref());
    // Not opened by the process itself.
    let origin = matches!(&*credential.how, "received" | "stolen" | "inherited" | "held")
        .then(|| span(style::DOUBT, format!(" {}", credential.how)));
    let expected = credential.expected.then(|| span(style::DIM, " (expected)"));
    let told: Vec<Span> = origin.into_iter().chain(truncated).chain(other).collect();
    let named = [told.clone(), vec![name]].concat();
    let results = vec![[named.clone(), expected.into_iter().collect()].concat(), named, told];
    let verb = match (&*credential.how, &*credential.access) {
        ("connect", _) => "conn",
        ("open", "none") => "open",
        ("truncate", _) => "trunc",
        (how, "none") => change_verb(how),
        (_, "read_write") => "rw",
        (_, access) => access,
    };
    Told { verb, target: span(colour, escaped(credential.path.as_bytes())), keep: Keep::End, results }
}

/// What was done to a credential, as short as the other words of that column.
fn change_verb(how: &str) -> &str {
    match how {
        "rename" => "move",
        "replace" => "repl",
        "unlink" => "rm",
        "truncate" => "trunc",
        other => other,
    }
}

/// ` → /home/alice/notes.txt`, where it has gone; ` ← ` where its new content has come from.
fn other_path(how: &str, other: Option<&WireBytes>) -> Option<Span> {
    let arrow = if how == "replace" { '←' } else { '→' };
    other.map(|other| span(style::PLAIN, format!(" {arrow} {}", escaped(other.as_bytes()))))
}

/// `open /etc/shadow refused: EACCES shadow`.
fn attempt(attempt: &Attempt) -> Told<'_> {
    let errno = names::errno(attempt.errno).map_or_else(|| attempt.errno.to_string(), str::to_owned);
    let refused = span(style::BAD, format!(" refused: {errno}"));
    let name = span(style::DIM, format!(" {}", escaped(attempt.name.as_bytes())));
    let other: Vec<Span> = other_path(&attempt.how, attempt.other_path.as_ref()).into_iter().collect();
    let results = vec![
        [other, vec![refused.clone(), name.clone()]].concat(),
        vec![refused.clone(), name],
        vec![refused],
        vec![span(style::BAD, " refused".to_owned())],
    ];
    let colour = style::sensitivity(attempt.sensitivity);
    Told {
        verb: change_verb(&attempt.how),
        target: span(colour, escaped(attempt.path.as_bytes())),
        keep: Keep::End,
        results,
    }
}

/// `vm-rd sshd[812] svc/ssh`: whose memory it is, as a process and as an identity.
fn memory<'a>(activity: &ActivityView<'_>, memory: &'a Memory) -> Told<'a> {
    let (name, identity) = match activity.party(memory.target) {
        Some((who, process)) => (
            format!("{}[{}]", escaped(process.short_name()), process.pid),
            format!(" {}", escaped(who.identity.as_bytes())),
        ),
        None => ("?".to_owned(), String::new()),
    };
    let identity = span(style::DIM, identity);
    let refused = refusal(memory.errno);
    let short = memory.errno.map(|_| span(style::BAD, " refused"));
    let results = vec![
        refused.iter().cloned().chain([identity]).collect(),
        refused.into_iter().collect(),
        short.into_iter().collect(),
    ];
    Told { verb: memory_verb(&memory.how), target: span(style::DOUBT, name), keep: Keep::Start, results }
}

/// `key user krb_ccache:primary 812345678`: type and description, and the serial number.
fn key(key: &Key) -> Told<'_> {
    let part = |bytes: &Option<WireBytes>| bytes.as_ref().map(|bytes| escaped(bytes.as_bytes()));
    let name: Vec<String> = [part(&key.kind), part(&key.description)].into_iter().flatten().collect();
    let refused: Vec<Span> = refusal(key.errno).into_iter().collect();
    let short: Vec<Span> = key.errno.map(|_| span(style::BAD, " refused")).into_iter().collect();
    let mut results = vec![refused.clone(), short];
    let name = if name.is_empty() {
        format!("number {}", key.serial)
    } else {
        results.insert(0, [refused, vec![span(style::DIM, format!(" {}", key.serial))]].concat());
        name.join(" ")
    };
    Told { verb: "key", target: span(style::DOUBT, name), keep: Keep::End, results }
}

/// ` refused: EACCES`.
fn refusal(errno: Option<u32>) -> Option<Span> {
    errno.map(|errno| {
        let errno = names::errno(errno).map_or_else(|| errno.to_string(), str::to_owned);
        span(style::BAD, format!(" refused: {errno}"))
    })
}

/// How memory was reached, as short as the other words of that column.
fn memory_verb(how: &str) -> &str {
    match how {
        "traceme" => "ptrace",
        "process_vm_readv" => "vm-rd",
        "process_vm_writev" => "vm-wr",
        "proc_mem" => "mem",
        "proc_environ" => "env",
        other => other,
    }
}

/// `sshd › bash › claude`: root first. Where it is too wide, what is in the middle is left out as long as two of the
/// nearest stay, then the root.
fn why(activity: &ActivityView<'_>, room: Option<usize>) -> String {
    const ARROW: &str = " › ";
    let mut names: Vec<String> = activity.lineage().map(|process| escaped(process.short_name())).collect();
    names.reverse();
    let cut = activity.activity.lineage_truncated;
    let whole = names.join(ARROW);
    let whole = if cut { format!("{ELLIPSIS}{ARROW}{whole}") } else { whole };
    let Some(room) = room.filter(|room| width(&whole) > *room) else { return whole };
    let nearest = |from: usize| names.get(from..).unwrap_or_default().join(ARROW);
    if let Some(root) = names.first().filter(|_| !cut) {
        let texts = (2..names.len().saturating_sub(1))
            .map(|from| format!("{root}{ARROW}{ELLIPSIS}{ARROW}{}", nearest(from)));
        if let Some(text) = texts.into_iter().find(|text| width(text) <= room) {
            return text;
        }
    }
    let mut texts = (1..names.len()).map(|from| format!("{ELLIPSIS}{ARROW}{}", nearest(from)));
    let last = || fit(&nearest(names.len().saturating_sub(1)), room, Keep::Ends);
    texts.find(|text| width(text) <= room).unwrap_or_else(last)
}

fn address(endpoint: &Endpoint) -> String {
    std::net::SocketAddr::new(endpoint.0.0, endpoint.1).to_string()
}

/// `0.4 ms`, `12 ms`, `1.2 s`.
pub(super) fn duration(ns: u64) -> String {
    match ns {
        0..10_000_000 => format!("{:.1} ms", ns as f64 / 1e6),
        10_000_000..1_000_000_000 => format!("{} ms", ns / 1_000_000),
        _ => format!("{:.1} s", ns as f64 / 1e9),
    }
}

/// Text over all columns behind the time.
fn whole((style, text): (anstyle::Style, String), columns: &Columns) -> Vec<Span> {
    let Columns { who, process, what, why, gap, .. } = *columns;
    let gaps = if why.is_some() { 3 } else { 2 };
    vec![span(
        style,
        shortened(text, who + process + what + why.unwrap_or(0) + gaps * gap, Keep::Start, columns),
    )]
}

fn repeat(repeat: &Repeat) -> (anstyle::Style, String) {
    let Repeat { cookie, remote, memory, read, count, .. } = repeat;
    if let Some(read) = read.as_deref() {
        let Read { identity, exe, path, .. } = read;
        let exe = escaped(exe.0.file_name());
        let (path, identity) = (escaped(path.as_bytes()), escaped(identity.as_bytes()));
        return (style::DIM, format!("read {path} again, {count} times ({exe} of {identity}, expected)"));
    }
    let what = match (memory, remote) {
        (Some(Reach { actor, target, how, .. }), _) => {
            let whose =
                target.map_or_else(|| "any process".to_owned(), |target| format!("process {}", target.0));
            let text = format!("{} of {whose} again, {count} times (process {})", memory_verb(how), actor.0);
            return (style::DIM, escaped(text.as_bytes()));
        }
        (None, Some(remote)) => address(remote),
        (None, None) => "something".to_owned(),
    };
    (style::DIM, format!("{what} again, {count} times (socket {})", cookie.unwrap_or(0)))
}

fn gap(gap: &Gap) -> (anstyle::Style, String) {
    let Gap { stage, cause, family, lost } = gap;
    let things = family.as_deref().map_or_else(|| "events".into(), |family| format!("{family} records"));
    let text = format!("LOST {lost} {things} in {stage}: {cause}");
    (style::LOSS, escaped(text.as_bytes()))
}

fn status(status: &Status) -> (anstyle::Style, String) {
    let Status { phase, version, impairments, .. } = status;
    let mut text = format!("telltale {}: {}", escaped(version.as_bytes()), escaped(phase.as_bytes()));
    for (cause, what) in impairments {
        text.push_str(&format!(", {} {}", escaped(cause.as_bytes()), escaped(what.as_bytes())));
    }
    (if impairments.is_empty() { style::DIM } else { style::LOSS }, text)
}

#[cfg(test)]
#[path = "render_tests.rs"]
mod tests;
