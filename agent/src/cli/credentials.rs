//! `telltale credentials`: which credentials there are, who uses them, and how long each is good for.

use std::io::Write as _;
use std::path::PathBuf;

use clap::Args;
use comfy_table::{CellAlignment, ContentArrangement, Table, presets};

use super::summary::{thousands, totals};
use super::who::{WhoError, ago};
use crate::control::client::Asking;
use crate::control::socket;
use crate::life::lines::CredentialLine;

/// Show the credentials of this host that were used: who uses each, when last, how old it is, and how often it is rotated.
///
/// As the running agent knows them: what was never used while it ran is not there, and what is in a credential is never
/// looked at. Exit status: 0 done, 2 usage, 3 no agent answers, 4 not allowed.
#[derive(Args, Clone, Debug)]
pub struct CredentialsArgs {
    /// Only those that this identity uses (a canonical string).
    #[arg(long, value_name = "IDENTITY")]
    by: Option<String>,
    /// Only this kind (`ssh`, `cloud`, `kubernetes`, …); may be given more than once.
    #[arg(long, value_name = "KIND")]
    kind: Vec<String>,
    /// Only those that several identities use.
    #[arg(long)]
    shared: bool,
    /// Only those that nobody has used for 90 days.
    #[arg(long)]
    stale: bool,
    /// JSON: one object a line.
    #[arg(long)]
    json: bool,
    /// Ask at this control socket, not at that of this host's agent.
    #[arg(long, value_name = "SOCKET")]
    socket: Option<PathBuf>,
}

/// Asks and shows.
///
/// # Errors
/// Where the agent cannot be asked.
pub fn run(args: &CredentialsArgs) -> Result<(), WhoError> {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(WhoError::Loop)?;
    let asking = Asking::at(&args.socket.clone().unwrap_or_else(socket))?;
    let mut lines = runtime.block_on(asking.credentials())?;
    lines.retain(|line| is_wanted(args, line));
    // The worst to lose first, then those used last.
    lines.sort_by(|one, other| {
        let key = |line: &CredentialLine| (line.sensitivity, line.last_used_ns);
        key(other).cmp(&key(one)).then_with(|| (&one.scope, &one.path).cmp(&(&other.scope, &other.path)))
    });
    let text = if args.json {
        lines.iter().map(|line| serde_json::to_string(line).unwrap_or_default() + "\n").collect()
    } else {
        table(&lines)
    };
    // A reader who has gone has seen enough.
    let _ = anstream::stdout().write_all(text.as_bytes());
    Ok(())
}

fn is_wanted(args: &CredentialsArgs, line: &CredentialLine) -> bool {
    let by = |identity: &String| line.users.iter().any(|user| user.identity == *identity);
    args.by.as_ref().is_none_or(by)
        && (args.kind.is_empty() || args.kind.contains(&line.kind))
        && (!args.shared || line.shared)
        && (!args.stale || line.stale)
}

fn table(lines: &[CredentialLine]) -> String {
    if lines.is_empty() {
        return "no credential was used\n".to_owned();
    }
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Dynamic).set_header([
        "CREDENTIAL",
        "PATH",
        "MODE",
        "USED BY",
        "USES",
        "LAST USE",
        "AGE",
        "ROTATED",
        "LIFETIME",
    ]);
    if let Some(column) = table.column_mut(4) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    for line in lines {
        let place = if line.scope == "host" { String::new() } else { format!("{}: ", line.scope) };
        let mut users: Vec<String> =
            line.users.iter().take(SHOWN).map(|user| user.identity.clone()).collect();
        let more = line.users.len().saturating_sub(SHOWN);
        if more > 0 || line.more_users > 0 {
            users.push(format!("and {more}{} more", if line.more_users > 0 { "+" } else { "" }));
        }
        let rotated = match line.rotations {
            0 => "never seen".to_owned(),
            1 => "once".to_owned(),
            many => format!("{} times", thousands(many)),
        };
        let stale = if line.stale { ", stale" } else { "" };
        table.add_row([
            format!("{} ({})", line.credential, line.sensitivity),
            format!("{place}{}", line.path),
            line.mode.clone(),
            users.join("\n"),
            thousands(line.uses),
            format!("{}{stale}", ago(line.last_used_ns)),
            if line.changed_ns > 0 { ago(line.changed_ns).replace(" ago", "") } else { "-".to_owned() },
            rotated,
            line.lifetime.replace('_', "-"),
        ]);
    }
    format!("{table}\n\n{}\n", counts(lines))
}

/// Users named in a row.
const SHOWN: usize = 3;

fn counts(lines: &[CredentialLine]) -> String {
    let parts = [
        ("standing", lines.iter().filter(|line| line.lifetime == "standing").count()),
        ("shared", lines.iter().filter(|line| line.shared).count()),
        ("stale", lines.iter().filter(|line| line.stale).count()),
    ];
    totals(lines.len(), ("credential", "credentials"), &parts)
}
