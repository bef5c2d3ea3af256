//! `telltale replay`.

use std::io::{self, BufWriter, Write};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use clap::Args;

use crate::app::facts::RecordedFacts;
use crate::attribute::{AgentRoles, Attributor, LoginServers};
use crate::capture::ledger::Ledger;
use crate::capture::replay::{Item, Replay, ReplayError};
use crate::capture::sequence::Start;
use crate::capture::tally::Tally;
use crate::catalogue::agents::AgentCatalogue;
use crate::catalogue::file::CatalogueError;
use crate::catalogue::{Catalogue, OPERATOR_DIRECTORY};
use crate::cli::print::{Format, Printer};
use crate::cli::summary::Summary;
use crate::host::installed::Recorded;
use crate::life::owners::Owners;
use crate::model::event::Event;
use crate::model::time::BootTime;
use crate::operator::file::FileError;
use crate::operator::rules;
use crate::pipeline::{Parts, Pipeline};
use crate::process::ProcessTable;
use crate::process::inventory::{Found, Inventory};
use crate::process::redact::redact_argv;
use crate::session::Tags;
use crate::ship::Lane;
use crate::ship::wire::Origin;

/// Tell again what a recording holds (`telltale run --record FILE`), with the catalogue of now.
#[derive(Args, Clone, Debug)]
pub struct ReplayArgs {
    /// The recording.
    pub file: PathBuf,
    /// One JSON object a line (docs/events.md) instead of readable lines.
    #[arg(long)]
    pub json: bool,
    /// Add the credential rules of this file; may be given more than once.
    #[arg(long, value_name = "FILE")]
    pub catalogue: Vec<PathBuf>,
    /// Apply the rules of identities of this file: what would they say of what was recorded?
    #[arg(long, value_name = "FILE")]
    pub identity_rules: Option<PathBuf>,
}

/// Why a recording cannot be told again.
#[derive(Debug, thiserror::Error)]
pub enum ReplayFailure {
    /// See [`ReplayError`].
    #[error(transparent)]
    Replay(#[from] ReplayError),
    /// See [`CatalogueError`].
    #[error("credential catalogue: {0}")]
    Catalogue(#[from] CatalogueError),
    /// See [`FileError`].
    #[error(transparent)]
    Rules(#[from] FileError),
    /// Standard output cannot be written.
    #[error("cannot write the events: {0}")]
    Output(#[source] io::Error),
}

impl ReplayFailure {
    /// Exit status of the process.
    pub const fn exit_code(&self) -> u8 {
        match self {
            Self::Catalogue(_) => 10,
            Self::Rules(_) => 2,
            Self::Replay(_) | Self::Output(_) => 1,
        }
    }
}

/// Replays.
///
/// # Errors
/// Where the recording or the catalogue cannot be read, or the events cannot be written.
pub fn run(args: &ReplayArgs) -> Result<(), ReplayFailure> {
    let begun = Instant::now();
    let catalogue = Arc::new(Catalogue::load(OPERATOR_DIRECTORY.as_ref(), &args.catalogue)?);
    let rules = args.identity_rules.as_deref().map(rules::load).transpose()?;
    let mut replay = Replay::open(&args.file)?;
    let recorded = replay.host().clone();
    let facts = RecordedFacts(&recorded.facts);
    if recorded.catalogue != catalogue.digest() {
        tracing::warn!("the catalogue is not the one of the recording: other opens may be credentials now");
    }
    let roles = AgentRoles::new(Arc::new(AgentCatalogue::shipped()?), facts.host_namespaces());
    let mut attributor = Attributor::new(facts.host_namespaces(), facts.users());
    if let Some(rules) = rules {
        let mut owners = Owners::default();
        owners.set_rules(rules);
        attributor.set_owners(owners);
    }
    let ledger = Arc::new(Ledger::new());
    let mut pipeline = Pipeline::new(Parts {
        start: if recorded.numbers_from_zero { Start::AtZero } else { Start::Anywhere },
        ledger: ledger.clone(),
        table: ProcessTable::new(redact_argv, facts.tick_ns())
            .with_roles(Box::new(roles))
            .with_logins(Box::new(LoginServers::new(facts.host_namespaces()))),
        attributor,
        catalogue: catalogue.clone(),
        known: facts.known_files(&catalogue),
        resolvers: Box::new(facts.resolvers()),
        installed: Box::new(Recorded::default()),
        host: facts.host_namespaces(),
        tags: Tags::of_recording(),
        own: facts.own_pid(),
    });

    let host = facts.host(&recorded.boot_id);
    let pair = recorded.clock_pair();
    let origin = Origin { host, epoch: pair.boot.ns };
    let mut printer = Printer::at(Format::for_stdout(args.json), origin, pair, BufWriter::new(io::stdout()));
    let mut summary = Summary::new();
    let mut seq = 0;
    let mut failure = None;
    let mut emit = |event: Event| {
        ledger.add(Tally::NotShipped, 1);
        summary.event(&event);
        if failure.is_none()
            && let Err(error) = printer.event(Lane::First, seq, &event)
        {
            failure = Some(error);
        }
        seq += 1;
    };

    let mut processes = Vec::new();
    let mut last = BootTime::default();
    let mut snapshot = None;
    while let Some(item) = replay.next_item()? {
        if !matches!(item, Item::Process(_)) && !processes.is_empty() {
            let inventory = Inventory { processes: std::mem::take(&mut processes), ..Inventory::default() };
            pipeline.processes().seed(inventory);
        }
        match item {
            Item::Process(process) => {
                let parent_pid = process.parent.map_or(0, |parent| parent.pid);
                let read_at = pair.boot;
                processes.push(Found { process: *process, parent_pid, read_at });
            }
            Item::Record(bytes) | Item::Withheld(bytes) => pipeline.record(&bytes, &mut emit),
            Item::Executable(judgement) => pipeline.learn(judgement),
            Item::Script(found) => pipeline.processes().learn_script(found),
            Item::Unit(found) => pipeline.attributor().learn_unit(found),
            Item::Container(found) => pipeline.attributor().learn_container(found),
            Item::Program(found) => pipeline.learn_program(found),
            Item::Cluster(news) => pipeline.learn_cluster(news, last),
            Item::Tag(news) => pipeline.learn_tag(news),
            Item::Cgroup(cgroup) => pipeline.processes().learn_cgroups([&cgroup]),
            Item::Counters(counted) => {
                last = counted.time;
                pipeline.tick(last, Some(&counted.counters), &mut emit);
                snapshot = Some(counted);
            }
        }
    }
    let (counters, next) =
        snapshot.map_or((None, Vec::new()), |counted| (Some(counted.counters), counted.next));
    pipeline.finish(last, counters.as_ref(), &next, &mut emit);
    let written = failure.map_or_else(|| printer.flush(), Err);
    match written {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => return Ok(()),
        other => other.map_err(ReplayFailure::Output)?,
    }

    let report = replay.report();
    let coloured = anstream::AutoStream::choice(&io::stderr()) != anstream::ColorChoice::Never;
    let mut text = summary.render(begun.elapsed(), None, coloured);
    text.push_str(&format!("{} records replayed", report.records));
    if !report.ended {
        text.push_str("; the recording was cut off");
    }
    if report.missing > 0 {
        text.push_str(&format!("; {} frames are missing", report.missing));
    }
    text.push('\n');
    let _ = io::stderr().write_all(text.as_bytes());
    Ok(())
}
