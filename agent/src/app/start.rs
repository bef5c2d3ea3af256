//! From options to a running sensor and a seeded pipeline; every way this can fail is an error of its own.

use std::io;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use agent_common::rings::Ring;

use crate::app::lock::{InstanceLock, LockError};
use crate::attribute::users::{PasswdFile, Users};
use crate::attribute::{AgentRoles, Attributor, LoginServers};
use crate::capture::decode;
use crate::capture::ledger::Ledger;
use crate::capture::merge::Turn;
use crate::capture::record::RecordError;
use crate::capture::sequence;
use crate::catalogue::agents::AgentCatalogue;
use crate::catalogue::enumerate::{KnownFiles, enumerate, homes};
use crate::catalogue::file::CatalogueError;
use crate::catalogue::mounts::Mounts;
use crate::catalogue::{Catalogue, OPERATOR_DIRECTORY, markers};
use crate::config::{ConfigError, Kubernetes};
use crate::host::HostRoot;
use crate::host::installed::HostInstalled;
use crate::host::resolvers::HostResolvers;
use crate::kernel::hooks::Rung;
use crate::kernel::maps::{KernelFilters, MapFailure};
use crate::kernel::probe::{Finding, HostProbe, State, raise_limits};
use crate::kernel::rings::Mark;
use crate::kernel::sensor::{InheritedMark, Sensor, SensorConfig, SensorError};
use crate::kube::SettingsError;
use crate::model::process::{Hierarchy, Process};
use crate::model::time::BootTime;
use crate::pipeline::{Parts, Pipeline};
use crate::process::ProcessTable;
use crate::process::inventory::{self, Markers, Reader};
use crate::process::redact::redact_argv;
use crate::session::Tags;
use crate::ship::host::HostError;
use crate::ship::http::HttpSinkError;

/// What `telltale run` was told.
#[derive(Clone, Debug, Default)]
pub struct StartOptions {
    /// Where to ship to.
    pub collector: Option<String>,
    /// Further files of credential rules.
    pub catalogue: Vec<PathBuf>,
    /// The host's name, where it is not what the kernel says.
    pub node_name: Option<String>,
    /// The realm that identities are of.
    pub realm: Option<String>,
    /// Rules of identities.
    pub identity_rules: PathBuf,
    /// Entries of SPIRE.
    pub spire_entries: PathBuf,
    /// Use this rung alone.
    pub rung: Option<Rung>,
    /// Drop every n-th record on purpose; 0 is off.
    pub drop_every: u32,
    /// After how long a connection that lasts is told of again; zero: never.
    pub update_interval: Duration,
    /// A directory of a BPF file system in which is pinned what is to outlive the agent; `None`: nothing is.
    pub pins: Option<PathBuf>,
    /// The directory of what is kept over restarts; `None`: nothing is.
    pub state: Option<PathBuf>,
    /// Record the ring to this file.
    pub record: Option<PathBuf>,
    /// Print JSON.
    pub json: bool,
    /// Print nothing but errors and the end.
    pub quiet: bool,
    /// The cluster that the host is a node of.
    pub kubernetes: Kubernetes,
}

/// The agent cannot start, or did not end as asked. [`StartError::exit_code`] tells the causes apart.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// See [`ConfigError`].
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The host lacks something without which nothing can be loaded.
    #[error("{name}: {detail}{}", remedy.as_ref().map(|remedy| format!("\n  remedy: {remedy}")).unwrap_or_default())]
    Host {
        /// Which finding of `telltale doctor`.
        name: &'static str,
        /// What is so.
        detail: String,
        /// What to do.
        remedy: Option<String>,
    },
    /// See [`LockError`].
    #[error(transparent)]
    Lock(#[from] LockError),
    /// See [`CatalogueError`].
    #[error("credential catalogue: {0}")]
    Catalogue(#[from] CatalogueError),
    /// See [`SensorError`].
    #[error(transparent)]
    Sensor(#[from] SensorError),
    /// A map could not be filled.
    #[error(transparent)]
    Map(#[from] MapFailure),
    /// /proc cannot be read.
    #[error("cannot read the running processes from /proc: {0}; mount procfs, with hidepid=0 for the agent")]
    Inventory(#[source] io::Error),
    /// The host cannot be named.
    #[error(transparent)]
    HostName(#[from] HostError),
    /// The collector's address is none.
    #[error("collector: {0}")]
    Collector(#[from] HttpSinkError),
    /// See [`SettingsError`].
    #[error(transparent)]
    Kubernetes(#[from] SettingsError),
    /// The recording cannot be made, or is not whole.
    #[error(transparent)]
    Record(#[from] RecordError),
    /// Standard output failed while there was no collector.
    #[error(
        "cannot write events to standard output: {0}; they have nowhere else to go without --collector, so the agent ended"
    )]
    Output(#[source] io::Error),
    /// It made way for the next agent, as SIGUSR2 asks.
    #[error("handed over: the programs stay attached, and the next agent reads what they write from here on")]
    HandedOver,
    /// The event loop cannot be made.
    #[error("cannot start the event loop: {0}; is a limit on descriptors reached (ulimit -n)?")]
    Loop(#[source] io::Error),
}

impl StartError {
    /// Why the sensor did not start on this host.
    pub fn of_sensor(error: SensorError, probe: &HostProbe) -> Self {
        match probe.finding("lockdown") {
            Some(Finding { name, state: State::CouldNotTell, detail, remedy, .. })
                if error.is_like_lockdown() =>
            {
                Self::Host {
                    name,
                    detail: format!(
                        "it seems to be confidentiality, which cannot be told for certain ({detail}): {error}"
                    ),
                    remedy: Some(format!(
                        "boot with lockdown=integrity, or without lockdown; to see the mode: {}",
                        remedy.as_deref().unwrap_or("cat /sys/kernel/security/lockdown")
                    )),
                }
            }
            _ => Self::Sensor(error),
        }
    }

    /// Exit status of the process; the table is in the README.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Config(_) | Self::Collector(_) | Self::Kubernetes(_) => 2,
            Self::Host { name: "load_capabilities", .. } => 4,
            Self::Host { name: "lockdown", .. } => 7,
            Self::Host { name: "descriptors", .. } | Self::Sensor(SensorError::LockedMemory { .. }) => 12,
            Self::Host { name: "cgroup_v2", .. } | Self::Sensor(SensorError::Cgroup { .. }) => 6,
            Self::Host { .. }
            | Self::Sensor(SensorError::Age(_) | SensorError::Types(_) | SensorError::LoaderTypes(_)) => 5,
            Self::Sensor(SensorError::Rung { .. } | SensorError::Essential { .. }) => 8,
            Self::Lock(LockError::Held(_)) => 9,
            Self::Catalogue(_) => 10,
            Self::Record(_) => 11,
            Self::HandedOver => 13,
            Self::Lock(_) | Self::Sensor(_) | Self::Map(_) => 1,
            Self::Inventory(_) | Self::HostName(_) | Self::Output(_) | Self::Loop(_) => 1,
        }
    }
}

/// A record that was read before the pipeline ran.
pub(super) struct Waiting {
    pub(super) ring: Ring,
    pub(super) mark: Option<Mark>,
    pub(super) record: Vec<u8>,
}

/// A sensor that runs, and a pipeline that knows what ran before.
pub(super) struct Started {
    pub(super) sensor: Sensor,
    pub(super) pipeline: Pipeline,
    pub(super) ledger: Arc<Ledger>,
    /// What an earlier agent's programs wrote, all of it before what waits.
    pub(super) inherited: Vec<(InheritedMark, Vec<u8>)>,
    pub(super) waiting: Vec<Waiting>,
    pub(super) passwd: PasswdFile,
    pub(super) users: Users,
    pub(super) catalogue_digest: String,
    pub(super) inventoried: Vec<Arc<Process>>,
    pub(super) kernel_release: String,
    /// DNS servers that the host is configured with.
    pub(super) servers: Vec<IpAddr>,
    pub(super) host_root: Arc<HostRoot>,
    /// The hierarchy of cgroups that names workloads.
    pub(super) hierarchy: Hierarchy,
    pub(super) _lock: InstanceLock,
}

impl From<&Finding> for StartError {
    fn from(finding: &Finding) -> Self {
        Self::Host { name: finding.name, detail: finding.detail.clone(), remedy: finding.remedy.clone() }
    }
}

/// Checks the host, loads, seeds. Whatever fails, nothing stays attached.
pub(super) fn start(options: &StartOptions, now: fn() -> BootTime) -> Result<Started, StartError> {
    let catalogue = Arc::new(Catalogue::load(OPERATOR_DIRECTORY.as_ref(), &options.catalogue)?);
    let markers = markers::shipped()?;
    let agents = Arc::new(AgentCatalogue::shipped()?);
    let probe = HostProbe::inspect();
    if let Some(finding) = probe.blocking().next() {
        return Err(finding.into());
    }
    let (Some(cgroup), Some(hierarchy)) = (&probe.cgroup, &probe.workloads) else {
        // That it is not mounted is told above.
        return Err(StartError::Host {
            name: "cgroup_v2",
            detail: "/proc/self/mountinfo does not tell where it is mounted".to_owned(),
            remedy: Some("mount -t proc proc /proc".to_owned()),
        });
    };
    let host_root = probe.host_root.clone().ok_or_else(|| {
        StartError::Inventory(io::Error::new(io::ErrorKind::NotFound, "/proc/self is not there"))
    })?;
    let lock = InstanceLock::take()?;
    raise_limits().for_each(|error| tracing::warn!("{error}"));
    warn_of(&probe, options);

    let rules = catalogue.rules();
    let kept = markers.iter().map(|(name, flags)| {
        let end = name.0.iter().position(|&byte| byte == 0).unwrap_or(name.0.len());
        (name.0.get(..end).unwrap_or_default().to_vec(), flags & agent_common::keys::MARKER_WITH_VALUE != 0)
    });
    let marker_names = Markers::new(kept);
    let filters = KernelFilters {
        names: rules.names.clone(),
        suffixes: rules.suffixes.clone(),
        sockets: catalogue.socket_names().to_vec(),
        markers: markers.clone(),
    };
    let mut sensor = Sensor::start(&SensorConfig {
        cgroup_root: cgroup.path.clone(),
        hierarchy: hierarchy.clone(),
        rung: options.rung,
        drop_every: options.drop_every,
        update_interval: options.update_interval,
        pins: options.pins.clone(),
        filters,
    })
    .map_err(|error| StartError::of_sensor(error, &probe))?;

    let known = known_files(&catalogue, &host_root);
    sensor.add_credential_files(known.keys().copied())?;
    sensor.cut_over().map_err(|error| StartError::of_sensor(error, &probe))?;
    let begun = now();

    let mut passwd = PasswdFile::new(host_root.clone());
    let users = match passwd.poll() {
        Ok(users) => users.unwrap_or_default(),
        Err(error) => {
            tracing::warn!(%error, "the host's /etc/passwd cannot be read: users are told by number");
            Users::default()
        }
    };
    let proc = std::path::Path::new("/proc");
    let ledger = Arc::new(Ledger::new());
    let resolvers = HostResolvers::new(host_root.clone());
    let servers = resolvers.of_host();
    let mut pipeline = Pipeline::new(Parts {
        start: sequence::Start::AtZero,
        ledger: ledger.clone(),
        table: ProcessTable::new(redact_argv, inventory::tick_ns())
            .with_roles(Box::new(AgentRoles::new(agents, host_root.namespaces())))
            .with_logins(Box::new(LoginServers::new(host_root.namespaces()))),
        attributor: Attributor::new(host_root.namespaces(), users.clone()),
        catalogue: catalogue.clone(),
        known,
        resolvers: Box::new(resolvers),
        installed: Box::new(HostInstalled::new(host_root.clone())),
        host: host_root.namespaces(),
        tags: Tags::default(),
        own: Some(sensor.own_pid()),
    });
    pipeline.begin_at(begun);

    // Hooks first, then /proc, then what the hooks saw meanwhile: nothing falls between.
    let found = Reader { proc, hierarchy: Some(hierarchy), markers: &marker_names, now: &now }
        .read()
        .map_err(StartError::Inventory)?;
    pipeline.processes().seed(found);
    if let Err(error) = sensor.tell_held() {
        tracing::warn!(%error, "not all credentials and connections that were open before the start can be told");
    }
    let mut inherited = Vec::new();
    let mut record = Vec::new();
    while let Some(mark) = sensor.next_inherited(&mut Turn::new(), &mut record) {
        inherited.push((mark, record.clone()));
    }
    let mut waiting = Vec::new();
    // Up to here: on a busy host there is always one more.
    let until = now();
    while let Some((ring, mark)) = sensor.next_record(&mut Turn::new(), &mut record) {
        let is_later = decode::meta(&record).is_ok_and(|meta| meta.time > until);
        waiting.push(Waiting { ring, mark, record: record.clone() });
        if is_later {
            break;
        }
    }
    let records =
        inherited.iter().map(|(_, record)| record).chain(waiting.iter().map(|waiting| &waiting.record));
    let acts: Vec<_> = records.filter_map(|record| decode::decode(record).ok()).collect();
    pipeline.processes().foresee(&acts);
    let inventoried = pipeline.processes().snapshot();
    Ok(Started {
        sensor,
        pipeline,
        ledger,
        inherited,
        waiting,
        passwd,
        users,
        catalogue_digest: catalogue.digest().to_owned(),
        inventoried,
        kernel_release: probe.release.clone(),
        servers,
        host_root,
        hierarchy: hierarchy.clone(),
        _lock: lock,
    })
}

/// Says what of the host stays hidden, and what to do.
fn warn_of(probe: &HostProbe, options: &StartOptions) {
    let is_named = |found: &&Finding| found.name == "host_name" && options.node_name.is_some();
    for Finding { detail, remedy, .. } in probe.silent_losses().filter(|found| !is_named(found)) {
        tracing::warn!("{detail}; remedy: {}", remedy.as_deref().unwrap_or("none"));
    }
}

fn known_files(catalogue: &Catalogue, host: &HostRoot) -> KnownFiles {
    let mounts = match Mounts::of(host) {
        Ok(mounts) => mounts,
        Err(error) => {
            tracing::warn!(%error, "the mounts cannot be read: credentials are known by name alone");
            return KnownFiles::default();
        }
    };
    let known = enumerate(catalogue, host, &homes(host), &mounts);
    if known.incomplete {
        tracing::warn!(
            files = known.len(),
            "there are more files to look at than bounds allow: some are known by name alone"
        );
    }
    known
}
