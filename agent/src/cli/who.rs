//! `telltale who`: which identities there are, who owns them, and what is known of one.

use std::collections::{BTreeMap, HashSet};
use std::io::Write as _;
use std::path::PathBuf;

use anstyle::{AnsiColor, Style};
use clap::{Args, Subcommand, ValueEnum};
use comfy_table::{CellAlignment, ContentArrangement, Table, presets};
use serde::Serialize;

use super::summary::{thousands, totals};
use crate::control::api::{Ancestor, Decision, Who};
use crate::control::client::{Asking, ClientError};
use crate::control::socket;
use crate::life::lines::Line;
use crate::life::record::{self, Proof, State};
use crate::life::store::Decide;

/// Show who acts on this host: identities, their owners, sessions and evidence, as the running agent knows them.
///
/// Without an argument: all of them, latest first. With an identity: all that is known of it. With a process id: who that
/// process is, and who made it. Times are those of acts that the agent has told of. Exit status: 0 done, 1 not known, 2
/// usage, 3 no agent answers, 4 not allowed.
#[derive(Args, Clone, Debug)]
#[command(args_conflicts_with_subcommands = true)]
pub struct WhoArgs {
    #[command(subcommand)]
    decision: Option<Decided>,
    /// A canonical string, such as agent/claude-code@human/alice, or the id of a running process.
    #[arg(value_name = "IDENTITY|PID")]
    of: Option<String>,
    /// Who started whom.
    #[arg(long, conflicts_with = "of")]
    tree: bool,
    /// Only those without an owner.
    #[arg(long, conflicts_with = "of")]
    orphans: bool,
    /// Only this kind, as events have it (`ai_agent`, `human`, `system_unit`, …); may be given more than once.
    #[arg(long, value_name = "KIND", conflicts_with = "of")]
    kind: Vec<String>,
    /// Only those in this state of their life; may be given more than once.
    #[arg(long, value_name = "STATE", value_enum, conflicts_with = "of")]
    state: Vec<StateFilter>,
    /// JSON: one object a line.
    #[arg(long)]
    json: bool,
    /// Ask at this control socket, not at that of this host's agent.
    #[arg(long, value_name = "SOCKET", global = true)]
    socket: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum StateFilter {
    Active,
    Returned,
    Dormant,
    Retired,
    RetiredActive,
}

impl StateFilter {
    const fn is(self, state: State) -> bool {
        matches!(
            (self, state),
            (Self::Active, State::Active)
                | (Self::Returned, State::Returned)
                | (Self::Dormant, State::Dormant)
                | (Self::Retired, State::Retired)
                | (Self::RetiredActive, State::RetiredActive)
        )
    }
}

/// What an operator decides.
#[derive(Clone, Debug, Subcommand)]
enum Decided {
    /// Say who owns an identity. This comes before the registry of owners and before who started it.
    Own {
        /// Its canonical string.
        identity: String,
        /// Who: a person (human/alice), a team, an address.
        #[arg(long, required_unless_present = "clear")]
        owner: Option<String>,
        /// What was said counts no more.
        #[arg(long, conflicts_with = "owner")]
        clear: bool,
        #[command(flatten)]
        common: Common,
    },
    /// Say that an identity's life has ended: if it acts again, it shows.
    Retire {
        /// Its canonical string.
        identity: String,
        /// It has not, after all.
        #[arg(long)]
        undo: bool,
        #[command(flatten)]
        common: Common,
    },
}

#[derive(Args, Clone, Debug)]
struct Common {
    /// Why, for whoever looks at it later.
    #[arg(long, value_name = "TEXT", default_value = "")]
    reason: String,
    /// JSON: the identity as it is then.
    #[arg(long)]
    json: bool,
}

/// Why there is nothing to show.
#[derive(Debug, thiserror::Error)]
pub enum WhoError {
    /// See [`ClientError`].
    #[error(transparent)]
    Client(#[from] ClientError),
    /// There is no event loop to be had.
    #[error("cannot start the event loop: {0}; is a limit on descriptors reached (ulimit -n)?")]
    Loop(std::io::Error),
}

impl WhoError {
    /// Exit status of the process.
    pub const fn exit_code(&self) -> u8 {
        match self {
            Self::Client(error) => error.exit_code(),
            Self::Loop(_) => 1,
        }
    }
}

/// Asks and shows.
///
/// # Errors
/// Where the agent cannot be asked, or does not know.
pub fn run(args: &WhoArgs) -> Result<(), WhoError> {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(WhoError::Loop)?;
    let text = runtime.block_on(answer(args))?;
    // A reader who has gone has seen enough.
    let _ = anstream::stdout().write_all(text.as_bytes());
    Ok(())
}

async fn answer(args: &WhoArgs) -> Result<String, ClientError> {
    let asking = Asking::at(&args.socket.clone().unwrap_or_else(socket))?;
    if let Some(decided) = &args.decision {
        return decide(&asking, decided).await;
    }
    match &args.of {
        Some(of) if !of.is_empty() && of.bytes().all(|byte| byte.is_ascii_digit()) => {
            let pid = of.parse().map_err(|_| ClientError::NotKnown(format!("no process has the id {of}")))?;
            let who = asking.process(pid).await?;
            Ok(if args.json { json(&who) } else { process(&who) })
        }
        Some(name) => {
            let line = asking.identity(name).await?;
            Ok(if args.json { json(&line) } else { one(&line) })
        }
        None => {
            let mut lines = asking.identities().await?;
            lines.sort_by(|one, other| {
                other.last_seen_ns.cmp(&one.last_seen_ns).then_with(|| one.identity.cmp(&other.identity))
            });
            if args.tree {
                let wanted = |line: &Line| is_wanted(args, line);
                return Ok(if args.json {
                    lines.iter().filter(|line| wanted(line)).map(json).collect()
                } else {
                    tree(&lines, &wanted)
                });
            }
            lines.retain(|line| is_wanted(args, line));
            Ok(if args.json { lines.iter().map(json).collect() } else { list(&lines) })
        }
    }
}

fn is_wanted(args: &WhoArgs, line: &Line) -> bool {
    (!args.orphans || line.owner.is_none())
        && (args.kind.is_empty() || args.kind.contains(&line.kind))
        && (args.state.is_empty() || args.state.iter().any(|state| state.is(line.state)))
}

async fn decide(asking: &Asking, decided: &Decided) -> Result<String, ClientError> {
    let (identity, what, common) = match decided {
        Decided::Own { identity, owner, common, .. } => {
            let what = owner.clone().map_or(Decide::Disown, |owner| Decide::Own { owner });
            (identity, what, common)
        }
        Decided::Retire { identity, undo, common } => {
            (identity, if *undo { Decide::Unretire } else { Decide::Retire }, common)
        }
    };
    let decision = Decision { identity: identity.clone(), what, reason: common.reason.clone() };
    let line = asking.decide(&decision).await?;
    Ok(if common.json { json(&line) } else { one(&line) })
}

fn json(value: &impl Serialize) -> String {
    serde_json::to_string(value).unwrap_or_default() + "\n"
}

const DIM: Style = Style::new().dimmed();
const BOLD: Style = Style::new().bold();
const WARN: Style = AnsiColor::Yellow.on_default();

fn styled(style: Style, text: &str) -> String {
    format!("{style}{text}{style:#}")
}

fn state(state: State) -> String {
    match state {
        State::Active | State::Dormant | State::Retired => state.name().to_owned(),
        State::Returned | State::RetiredActive => styled(WARN, state.name()),
    }
}

fn owner(line: &Line) -> String {
    match (&line.owner, line.owner_unknown) {
        (None, _) => styled(WARN, "orphan"),
        (Some(owner), true) => styled(WARN, &format!("{owner} (no such user)")),
        (Some(owner), false) => owner.clone(),
    }
}

fn list(lines: &[Line]) -> String {
    if lines.is_empty() {
        return "no identity was seen\n".to_owned();
    }
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Dynamic).set_header([
        "IDENTITY",
        "OWNER",
        "STATE",
        "CONFIDENCE",
        "SESSIONS",
        "CREDENTIALS",
        "CONNECTIONS",
        "LAST SEEN",
    ]);
    for column in 4..=6 {
        if let Some(column) = table.column_mut(column) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    let plain = |text: String| anstream::adapter::strip_str(&text).to_string();
    for line in lines {
        table.add_row([
            line.identity.clone(),
            plain(owner(line)),
            line.state.name().to_owned(),
            line.confidence.clone(),
            line.sessions.map_or_else(|| "-".to_owned(), thousands),
            thousands(line.credentials),
            thousands(line.connections),
            ago(line.last_seen_ns),
        ]);
    }
    format!("{table}\n\n{}\n", counts(lines))
}

fn counts(lines: &[Line]) -> String {
    let state = |wanted| lines.iter().filter(|line| line.state == wanted).count();
    let parts = [
        ("without owner", lines.iter().filter(|line| line.owner.is_none()).count()),
        ("dormant", state(State::Dormant)),
        ("returned", state(State::Returned)),
        ("retired and active", state(State::RetiredActive)),
    ];
    totals(lines.len(), ("identity", "identities"), &parts)
}

/// Whoever started somebody stands above him. Who was started by several stands below the latest.
fn tree(lines: &[Line], wanted: &dyn Fn(&Line) -> bool) -> String {
    let by_name: BTreeMap<&str, &Line> = lines.iter().map(|line| (line.identity.as_str(), line)).collect();
    let mut below: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    let mut roots = Vec::new();
    for line in lines {
        match line.started_by.last().filter(|starter| **starter != line.identity) {
            Some(starter) => below.entry(starter).or_default().push(&line.identity),
            None => roots.push(line.identity.as_str()),
        }
    }
    // Starters that have not acted themselves.
    roots.extend(below.keys().filter(|starter| !by_name.contains_key(*starter)).copied());
    roots.sort_unstable();
    let mut drawn = HashSet::new();
    let mut drawing =
        Drawing { by_name: &by_name, below: &below, wanted, drawn: &mut drawn, text: String::new() };
    for root in roots {
        drawing.draw(root, "", "", "");
    }
    // Those that started one another in a circle have no root.
    for line in lines {
        drawing.draw(&line.identity, "", "", "");
    }
    let mut text = drawing.text;
    if text.is_empty() {
        text.push_str("no identity was seen\n");
    }
    text
}

struct Drawing<'a> {
    by_name: &'a BTreeMap<&'a str, &'a Line>,
    below: &'a BTreeMap<&'a str, Vec<&'a str>>,
    wanted: &'a dyn Fn(&Line) -> bool,
    drawn: &'a mut HashSet<&'a str>,
    text: String,
}

impl<'a> Drawing<'a> {
    /// Whether it, or what it started, is to be shown. As deep as identities start one another, each once.
    fn shows(&self, name: &str, passed: &mut HashSet<String>) -> bool {
        passed.insert(name.to_owned())
            && (self.by_name.get(name).is_some_and(|line| (self.wanted)(line))
                || self
                    .below
                    .get(name)
                    .is_some_and(|below| below.iter().any(|name| self.shows(name, passed))))
    }

    fn draw(&mut self, name: &'a str, indent: &str, branch: &str, next: &str) {
        if self.drawn.contains(name) || !self.shows(name, &mut HashSet::new()) || indent.len() > DEEPEST {
            return;
        }
        self.drawn.insert(name);
        let about = self.by_name.get(name).map_or_else(
            || styled(DIM, "  has not acted itself"),
            |line| {
                let owner = match &line.owner {
                    Some(owner) if *owner == line.identity => String::new(),
                    _ => format!("  {}", owner(line)),
                };
                let state = if line.state == State::Active {
                    String::new()
                } else {
                    format!("  {}", state(line.state))
                };
                format!("{owner}{state}{}", styled(DIM, &format!("  {}", ago(line.last_seen_ns))))
            },
        );
        self.text.push_str(&format!("{indent}{branch}{}{about}\n", styled(BOLD, name)));
        let below: Vec<&str> = self.below.get(name).cloned().unwrap_or_default();
        let below: Vec<&str> = below
            .into_iter()
            .filter(|name| !self.drawn.contains(name) && self.shows(name, &mut HashSet::new()))
            .collect();
        let indent = format!("{indent}{next}");
        for (at, name) in below.iter().enumerate() {
            let (branch, next) =
                if at + 1 == below.len() { ("└─ ", "   ") } else { ("├─ ", "│  ") };
            self.draw(name, &indent, branch, next);
        }
    }
}

/// Bytes of the deepest indent that is drawn.
const DEEPEST: usize = 256;

fn one(line: &Line) -> String {
    let mut text = format!("{}\n", styled(BOLD, &line.identity));
    let mut row = |name: &str, value: String| {
        if !value.is_empty() {
            text.push_str(&format!("  {name:<12} {value}\n"));
        }
    };
    row("kind", line.kind.clone());
    row("state", state(line.state));
    let source = line.owner_source.as_ref().map_or_else(String::new, |source| format!(" (by {source})"));
    row("owner", format!("{}{source}", owner(line)));
    row("confidence", line.confidence.clone());
    row("first seen", line.first_seen.clone());
    row("last seen", format!("{} ({})", line.last_seen, ago(line.last_seen_ns)));
    row("returned", line.returned.clone().unwrap_or_default());
    row("sessions", line.sessions.map_or_else(String::new, thousands));
    let acts =
        [(line.events, "events"), (line.credentials, "credentials"), (line.connections, "connections")];
    row("acts", acts.map(|(number, name)| format!("{} {name}", thousands(number))).join(", "));
    row("human", line.human.clone().unwrap_or_default());
    row("also", line.blended.join(", "));
    row("started by", line.started_by.join(", "));
    row("owned", line.owned.as_ref().map_or_else(String::new, decision));
    row("retired", line.retired.as_ref().map_or_else(String::new, decision));
    text.push_str(&proofs(&line.evidence));
    text
}

fn decision(decision: &record::Decision) -> String {
    let at = jiff::Timestamp::from_nanosecond(decision.at_ns.into()).map(|time| format!("{time:.0}"));
    let owner = if decision.owner.is_empty() { String::new() } else { format!("{}, ", decision.owner) };
    let reason = if decision.reason.is_empty() { String::new() } else { format!(": {}", decision.reason) };
    format!("{owner}by {} at {}{reason}", decision.by, at.unwrap_or_default())
}

fn proofs(evidence: &[Proof]) -> String {
    if evidence.is_empty() {
        return String::new();
    }
    let mut text = "  evidence\n".to_owned();
    for Proof { kind, detail, confidence } in evidence {
        text.push_str(&format!("    {confidence:<9} {kind:<16} {detail}\n"));
    }
    text
}

fn process(who: &Who) -> String {
    let Ancestor { pid, uid, exe, identity, identity_kind } = &who.process;
    let mut text = format!("{pid}  {}\n", styled(BOLD, identity));
    let mut row = |name: &str, value: String| {
        if !value.is_empty() {
            text.push_str(&format!("  {name:<12} {value}\n"));
        }
    };
    row("kind", identity_kind.clone());
    let session =
        who.agent_session.as_ref().map_or_else(String::new, |session| format!(" in session {session}"));
    row("role", who.role.as_ref().map_or_else(String::new, |role| format!("{role}{session}")));
    let source = who.owner_source.as_ref().map_or_else(String::new, |source| format!(" (by {source})"));
    row(
        "owner",
        who.owner.as_ref().map_or_else(|| styled(WARN, "orphan"), |owner| format!("{owner}{source}")),
    );
    row("confidence", who.confidence.clone());
    row("human", who.human.clone().unwrap_or_default());
    row("also", who.blended.join(", "));
    row("exe", exe.clone());
    row("arguments", who.argv.join(" "));
    let login = who.login_uid.map_or_else(String::new, |login| format!(", login uid {login}"));
    row("uid", format!("{uid}{login}"));
    row("cgroup", who.cgroup.clone());
    row("tag", who.tag.map_or_else(String::new, |tag| tag.to_string()));
    text.push_str(&proofs(&who.evidence));
    text.push_str("  selectors of SPIRE\n");
    for selector in &who.selectors {
        text.push_str(&format!("    {}\n", selector.escape_debug()));
    }
    if !who.lineage.is_empty() {
        text.push_str("  made by\n");
        for Ancestor { pid, exe, identity, .. } in &who.lineage {
            text.push_str(&format!("    {pid:>7}  {exe}  {}\n", styled(DIM, identity)));
        }
        if who.lineage_truncated {
            text.push_str("             (not known further)\n");
        }
    }
    text
}

/// How long ago, in one unit.
pub(super) fn ago(unix_ns: i64) -> String {
    let seconds = jiff::Timestamp::now().as_second().saturating_sub(unix_ns.div_euclid(1_000_000_000));
    match seconds {
        ..=0 => "now".to_owned(),
        1..=119 => format!("{seconds} s ago"),
        120..=7_199 => format!("{} min ago", seconds / 60),
        7_200..=172_799 => format!("{} h ago", seconds / 3_600),
        _ => format!("{} days ago", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Cli {
        #[command(flatten)]
        who: WhoArgs,
    }

    fn line(identity: &str, started_by: &[&str], owner: Option<&str>) -> Line {
        serde_json::from_value(serde_json::json!({
            "identity": identity, "kind": "executable", "state": "active", "owner": owner,
            "owner_source": owner.map(|_| "registry"), "owner_unknown": false, "confidence": "observed",
            "first_seen": "", "last_seen": "", "last_seen_ns": 0, "returned": null, "sessions": null, "events": 1,
            "credentials": 0, "connections": 1, "started_by": started_by, "human": null, "blended": [],
            "evidence": [], "owned": null, "retired": null,
        }))
        .unwrap()
    }

    fn plain(text: &str) -> String {
        anstream::adapter::strip_str(text).to_string()
    }

    #[test]
    fn the_command_line_is_sound() {
        Cli::command().debug_assert();
        let parsed = |line: &str| Cli::try_parse_from(line.split(' ')).map(|cli| cli.who);
        assert!(parsed("who own svc/x --owner human/alice --reason because").unwrap().decision.is_some());
        assert!(parsed("who own svc/x").is_err() && parsed("who own svc/x --owner a --clear").is_err());
        assert_eq!(parsed("who 42").unwrap().of.as_deref(), Some("42"));
        assert!(parsed("who svc/x --tree").is_err() && parsed("who --orphans --kind human").is_ok());
        assert_eq!(parsed("who --socket /x").unwrap().socket, Some("/x".into()));
    }

    #[test]
    fn the_tree_shows_each_once_below_who_started_it() {
        let lines = [
            line("human/alice", &["svc/ssh"], Some("human/alice")),
            line("agent/x@human/alice", &["svc/cron", "human/alice"], Some("human/alice")),
            line("exe/a@uid:0", &["exe/b@uid:0"], None),
            line("exe/b@uid:0", &["exe/a@uid:0"], None),
            line("svc/cron", &[], None),
        ];
        let drawn = plain(&tree(&lines, &|_| true));
        assert_eq!(drawn.lines().count(), 6, "{drawn}");
        assert!(drawn.contains("svc/ssh  has not acted itself\n└─ human/alice"), "{drawn}");
        assert!(drawn.contains("\n   └─ agent/x@human/alice  human/alice"), "{drawn}");
        assert!(drawn.contains("svc/cron  orphan"), "{drawn}");
        let orphans = plain(&tree(&lines, &|line| line.owner.is_none()));
        assert!(!orphans.contains("agent/x") && orphans.contains("svc/cron"), "{orphans}");
    }

    #[test]
    fn the_list_counts_what_needs_somebody() {
        let mut retired = line("svc/old", &[], Some("team"));
        retired.state = State::RetiredActive;
        let text = plain(&list(&[line("svc/x", &[], None), retired]));
        assert!(text.contains("2 identities, 1 without owner, 1 retired and active"), "{text}");
        assert!(text.trim_start().starts_with("IDENTITY"), "{text}");
    }
}
