//! `telltale run`.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

use crate::app::{self, StartError, StartOptions};
use crate::config::Config;
use crate::kernel::hooks::Rung;

/// Load the kernel programs and tell who does what, until Ctrl-C.
///
/// Events go to standard output, one a line, and to a collector where one is named. What serves each capability, what
/// goes wrong and a summary at the end go to standard error.
#[derive(Args, Clone, Debug)]
pub struct RunArgs {
    /// One JSON object a line (docs/events.md) instead of readable lines.
    #[arg(long)]
    pub json: bool,
    /// Print no events: they go to the collector alone.
    #[arg(long)]
    pub quiet: bool,
    /// Ship to this collector, such as http://127.0.0.1:4319.
    #[arg(long, value_name = "URL")]
    pub collector: Option<String>,
    /// Read this configuration instead of /etc/telltale/telltale.toml.
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// The host's name in events, instead of the kernel's: for a pod, whose own is not the node's.
    #[arg(long, value_name = "NAME")]
    pub node_name: Option<String>,
    /// Add the credential rules of this file; may be given more than once.
    #[arg(long, value_name = "FILE")]
    pub catalogue: Vec<PathBuf>,
    /// Pin what is to outlive the agent in this directory of a BPF file system; `none`: a restart loses what happens
    /// meanwhile.
    #[arg(long, value_name = "DIRECTORY")]
    pub pins: Option<PathBuf>,
    /// Keep what is known of identities in this directory; `none`: forget it when the agent ends.
    #[arg(long, value_name = "DIRECTORY")]
    pub state: Option<PathBuf>,
    /// The realm that identities are of: a name that keeps what is learned here apart from other realms.
    #[arg(long, value_name = "NAME")]
    pub realm: Option<String>,
    /// Read the rules of identities here instead of in /etc/telltale/identities.toml.
    #[arg(long, value_name = "FILE")]
    pub identity_rules: Option<PathBuf>,
    /// Record the raw stream to this new file, for `telltale replay`. Secrets in command lines are redacted.
    #[arg(long, value_name = "FILE")]
    pub record: Option<PathBuf>,
    /// Use this rung of the ladder alone, and fail where it does not hold.
    #[arg(long, value_name = "RUNG", value_parser = rung)]
    pub rung: Option<Rung>,
    /// A drill: lose every N-th record on purpose, and account for it.
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub drop_every: u32,
}

pub(super) fn rung(name: &str) -> Result<Rung, String> {
    Rung::from_name(name).ok_or_else(|| {
        let names = Rung::ALL.map(Rung::name).join(", ");
        format!("the rungs are {names}")
    })
}

/// Runs the agent.
///
/// # Errors
/// Where it cannot start.
pub fn run(args: &RunArgs) -> Result<(), StartError> {
    let RunArgs {
        json,
        quiet,
        collector,
        config,
        node_name,
        catalogue,
        pins,
        state,
        realm,
        identity_rules,
        record,
        rung,
        drop_every,
    } = args.clone();
    let config = Config::load(config.as_deref())?;
    let pins = config.pins(pins.as_deref())?;
    let state = config.state(state.as_deref())?;
    let realm = config.realm(realm.as_deref())?;
    let node_name = config.node_name(node_name.as_deref())?;
    if (quiet || config.quiet) && collector.is_none() && config.collector.is_none() {
        return Err(crate::config::ConfigError::QuietAlone.into());
    }
    app::run(&StartOptions {
        collector: collector.or(config.collector),
        catalogue: config.catalogue.into_iter().chain(catalogue).collect(),
        node_name,
        rung,
        drop_every,
        update_interval: Duration::from_secs(config.connection_update_seconds.into()),
        pins,
        state,
        realm,
        identity_rules: identity_rules.unwrap_or(config.identity_rules),
        spire_entries: config.spire_entries,
        record,
        json,
        quiet: quiet || config.quiet,
        kubernetes: config.kubernetes,
    })
}
