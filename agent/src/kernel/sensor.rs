//! The running kernel side: programs loaded and proven, ring and maps at hand.

use std::collections::VecDeque;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::time::Duration;

use agent_common::keys::{FlowCount, FlowKey, InodeKey, MemoryKey};
use agent_common::offsets::EntryRegisters;
use agent_common::rings::Ring;
use aya::maps::MapError;
use aya::{Btf, Ebpf, EbpfError, EbpfLoader};
use rustix::process::{Resource, getrlimit};
use zerocopy::IntoBytes;

use super::age::{Age, AgeError};
use super::btf::{BtfError, KernelTypes};
use super::heritage::{Heritage, Told};
use super::hooks::{Attach, LADDER, Program, Rung, is_unserved_on_5_10};
use super::impaired::{Impairment, is_tracing_off, missing};
use super::iterate::{Over, Walker};
use super::ladder::{self, Chosen};
use super::links::Links;
use super::maps::{Counted, KernelFilters, MapFailure, Maps};
use super::offsets::{self, Resolved};
use super::pins::{Layout, PinError, Pins, Switch};
use super::rings::{Mark, Rings};
use super::selftest::{self, Own, Records};
use super::skipped::runs_skipped;
use crate::capture::ledger::KernelCounters;
use crate::capture::merge::Turn;
use crate::model::event::Gap;
use crate::model::process::Hierarchy;
use crate::model::process::ProcessKey;
use crate::session::Tag;

/// The object that `agent/build.rs` built.
static OBJECT: &[u8] = aya::include_bytes_aligned!(env!("TELLTALE_EBPF_OBJECT"));
/// The same without LSM programs: where `bpf` is not among the LSMs, the kernel refuses to make their inode storage,
/// and a loader makes all maps of an object.
static OBJECT_WITHOUT_LSM: &[u8] = aya::include_bytes_aligned!(env!("TELLTALE_EBPF_OBJECT_WITHOUT_LSM"));
/// The same for kernels from 5.10 on that lack something of what those since 5.17 have.
static OBJECT_FOR_5_10: &[u8] = aya::include_bytes_aligned!(env!("TELLTALE_EBPF_OBJECT_FOR_5_10"));
/// The map that tells the first two apart.
const INODE_STORAGE: &str = "VERDICTS";

/// Where the kernel shows its types.
const BTF_DIRECTORY: &str = "/sys/kernel/btf";

/// What the sensor is told at its start.
#[derive(Debug)]
pub struct SensorConfig {
    /// Where cgroup v2 is mounted.
    pub cgroup_root: PathBuf,
    /// The hierarchy that names workloads.
    pub hierarchy: Hierarchy,
    /// Use this rung alone.
    pub rung: Option<Rung>,
    /// Drop every n-th record on purpose; 0 is off.
    pub drop_every: u32,
    /// What the kernel looks for.
    pub filters: KernelFilters,
    /// How long a connection lasts, and then is silent about itself, before it is told what it has carried.
    pub update_interval: Duration,
    /// A directory of a BPF file system, in which is pinned what is to outlive the agent; `None`: nothing is.
    pub pins: Option<PathBuf>,
}

/// The sensor cannot start, or has stopped working.
#[derive(Debug, thiserror::Error)]
pub enum SensorError {
    /// The kernel's types cannot be read.
    #[error(transparent)]
    Types(#[from] BtfError),
    /// aya cannot read them.
    #[error("cannot read the kernel's types for loading: {0}")]
    LoaderTypes(#[from] aya::BtfError),
    /// The object was refused as a whole.
    #[error(
        "the kernel refused the maps of the programs: {0}; if this is EPERM, check the capabilities with `telltale doctor`"
    )]
    Object(#[from] aya::EbpfError),
    /// A map is more locked memory than the agent may have.
    #[error(
        "the kernel refused the map `{map}`: locked memory is limited to {limit_bytes} bytes, and kernels before 5.11 charge \
         maps to it; set LimitMEMLOCK=infinity in the service, or ulimit -l unlimited"
    )]
    LockedMemory {
        /// Which.
        map: String,
        /// The limit.
        limit_bytes: u64,
    },
    /// No object is for this kernel.
    #[error(transparent)]
    Age(#[from] AgeError),
    /// A map failed.
    #[error(transparent)]
    Map(#[from] MapFailure),
    /// The cgroup root cannot be opened.
    #[error("cannot open the cgroup v2 root {path}: {source}; mount it with `mount -t cgroup2 none {path}`")]
    Cgroup {
        /// Where it was looked for.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// `/proc/self` cannot be read.
    #[error("cannot read what /proc says of this process: {0}; mount procfs on /proc")]
    Own(#[source] io::Error),
    /// A capability without which the agent is useless has no hook.
    #[error("no hook serves {capability}: {reason}")]
    Essential {
        /// Which.
        capability: &'static str,
        /// Why, of each serving.
        reason: String,
    },
    /// A forced rung does not hold.
    #[error("the rung `{rung}` does not serve {capability} on this kernel: {reason}")]
    Rung {
        /// Which.
        rung: Rung,
        /// What it cannot serve.
        capability: &'static str,
        /// Why.
        reason: String,
    },
}

impl SensorError {
    /// Whether the kernel refused what lockdown for confidentiality refuses: the helpers that read its memory. The
    /// verifier then says that it knows no such helper.
    pub fn is_like_lockdown(&self) -> bool {
        match self {
            Self::Essential { reason, .. } | Self::Rung { reason, .. } => reason.contains("bpf_probe_read"),
            _ => false,
        }
    }
}

/// Where a record of an earlier agent's programs ends.
#[derive(Clone, Copy, Debug)]
pub struct InheritedMark {
    of: usize,
    mark: Mark,
}

impl InheritedMark {
    /// The record's ring.
    pub const fn ring(self) -> Ring {
        self.mark.ring
    }
}

/// Programs, ring and maps. Dropping it detaches and unloads everything, unless it was handed over.
pub struct Sensor {
    pins: Option<Pins>,
    links: Links,
    switch: Switch,
    told: Told,
    /// What earlier agents left to be read, oldest first.
    heritage: VecDeque<Heritage>,
    /// How many of them were forgotten.
    forgotten: usize,
    /// Losses of earlier agents that are still to be told.
    inherited_losses: Vec<Gap>,
    /// Whether this generation serves.
    serves: bool,
    /// What was pinned when it began to.
    pinned: Vec<PathBuf>,
    rings: Rings,
    maps: Maps,
    backlog: VecDeque<(Ring, Vec<u8>)>,
    chosen: Vec<Chosen>,
    own_pid: u32,
    /// Walks over connections, where the kernel can.
    connections: Option<Walker>,
    /// Walks over descriptors that are still to be made.
    held: Vec<Walker>,
    /// Whether an earlier agent has made them, whose programs have seen all since.
    was_held_told: bool,
    /// Holds programs and links.
    ebpf: Ebpf,
}

impl Sensor {
    /// Loads, attaches and proves. Records from the first hook on are kept for [`Sensor::next_record`].
    ///
    /// # Errors
    /// Where the kernel cannot serve what is essential, or the forced rung. Nothing stays attached then.
    pub fn start(config: &SensorConfig) -> Result<Self, SensorError> {
        let types = KernelTypes::read(Path::new(BTF_DIRECTORY))?;
        let running = Running {
            age: Age::of_running_kernel()?,
            resolved: offsets::resolve(&types),
            entry_registers: offsets::entry_registers(&types),
            hierarchy: config.hierarchy.number,
        };
        drop(types);
        let btf = Btf::from_sys_fs()?;
        let (mut ebpf, mut pins) = load(&btf, &running, config.pins.as_deref())?;
        let mut links = Links::default();
        let mut switch = Switch::take(&mut ebpf)?;
        let told = Told::take(&mut ebpf)?;
        if let Some(pins) = &mut pins
            && let Err(error) = pins.remove_unserved(switch.serving()?)
        {
            tracing::warn!(%error, "what agents that never served have pinned stays");
        }
        let mut rings = Rings::take(&mut ebpf)?;
        let mut maps = Maps::take(&mut ebpf, &config.filters)?;
        let cgroup = File::open(&config.cgroup_root)
            .map_err(|source| SensorError::Cgroup { path: config.cgroup_root.clone(), source })?;
        let own = Own::read(&config.hierarchy).map_err(SensorError::Own)?;
        let (_, own_name, own_flags) = selftest::own_executable().map_err(SensorError::Own)?;
        let restored = maps.set_name(own_name, Some(own_flags))?;
        let (unreadable_name, unreadable_flags) = selftest::unreadable();
        let unreadable_restored = maps.set_name(unreadable_name, Some(unreadable_flags))?;

        switch.try_out(generation_of(pins.as_ref()), own.pid)?;

        let mut seen = Vec::new();
        let mut chosen = Vec::new();
        let (mut connections, mut held) = (None, Vec::new());
        for capability in LADDER {
            let mut prove = |ebpf: &mut Ebpf, _: &_| {
                let from = seen.len();
                let mut records = Records { seen: &mut seen, pump: &mut |into| pump(&mut rings, into), from };
                match capability.name {
                    "process_life" => selftest::process_life(&own, &mut records),
                    "cgroup_made" => selftest::cgroup_made(&own, &mut records),
                    "connect" => selftest::connect(&own, &mut records),
                    "connect_outcome" => selftest::connect_outcome(&own, &mut records),
                    "listener" => selftest::listener(&own, &mut records),
                    "connect_refused_early" => selftest::connect_refused_early(&own, &mut records),
                    "datagram" => selftest::datagram(&own, &mut records),
                    "credential_open" => selftest::credential_open(&own, &mut records),
                    "raw_socket" => selftest::raw_socket(&own, &mut records),
                    "credential_socket" => selftest::credential_socket(&own, &mut records),
                    "credential_change" => selftest::credential_change(&own, &mut records),
                    "credential_refused" => selftest::credential_refused(&own, &mut records),
                    "key_access" => selftest::key_access(&own, &mut records),
                    "memory_access" => selftest::memory_access(&own, &mut records),
                    "dns_answer" => selftest::dns_answer(&own, &mut records),
                    "client_hello" => selftest::client_hello(&mut records),
                    "connection_end" => selftest::connection_end(&own, &mut records),
                    "connection_update" => {
                        let walker = Walker::attach(ebpf, Over::Sockets)
                            .map_err(|error| format!("iter/bpf_sk_storage_map does not attach: {error}"))?;
                        selftest::connection_update(&own, &mut records, &mut || walker.walk())?;
                        connections = Some(walker);
                        Ok(())
                    }
                    "credential_received" => selftest::credential_received(&own, &mut records),
                    "credential_inherited" => selftest::credential_inherited(&mut records),
                    "credential_held" => {
                        let walker = over_descriptors(ebpf, Over::Credentials)?;
                        selftest::credential_held(&own, &mut records, &mut || walker.walk())?;
                        held.push(walker);
                        Ok(())
                    }
                    "credential_socket_held" => {
                        let walker = over_descriptors(ebpf, Over::CredentialSockets)?;
                        selftest::credential_socket_held(&own, &mut records, &mut || walker.walk())?;
                        held.push(walker);
                        Ok(())
                    }
                    "connection_held" => {
                        let walker = over_descriptors(ebpf, Over::Connections)?;
                        selftest::connection_held(&own, &mut records, &mut || walker.walk())?;
                        held.push(walker);
                        Ok(())
                    }
                    name => Err(format!("no self-test knows {name}")),
                }
            };
            let choice = ladder::climb(
                (&mut ebpf, &mut links),
                &btf,
                cgroup.as_fd(),
                &running.resolved,
                capability,
                running.age,
                config.rung.or_else(|| confined(&chosen)),
                &mut prove,
            );
            check(&choice, config.rung)?;
            chosen.push(choice);
        }

        maps.set_name(own_name, restored)?;
        maps.set_name(unreadable_name, unreadable_restored)?;
        maps.switch(|control| {
            control.catalogue_generation = control.catalogue_generation.wrapping_add(1);
            control.own_tgid = own.pid;
            control.drop_every = config.drop_every;
            control.update_interval_ms =
                u32::try_from(config.update_interval.as_millis()).unwrap_or(u32::MAX);
        })?;
        let was_held_told = pins.as_ref().is_some_and(Pins::is_held_told);
        Ok(Self {
            was_held_told,
            pins,
            links,
            switch,
            told,
            heritage: VecDeque::new(),
            forgotten: 0,
            inherited_losses: Vec::new(),
            serves: false,
            pinned: Vec::new(),
            rings,
            maps,
            backlog: seen.into_iter().map(|record| (Ring::Process, record)).collect(),
            chosen,
            own_pid: own.pid,
            connections,
            held,
            ebpf,
        })
    }

    /// What serves each capability.
    pub fn capabilities(&self) -> &[Chosen] {
        &self.chosen
    }

    /// Pid of this process, whose acts are not recorded once the self-test is done.
    pub const fn own_pid(&self) -> u32 {
        self.own_pid
    }

    /// Has this agent's programs serve, and those of earlier agents no longer. Up to here these do, if there are any, and
    /// else nobody.
    ///
    /// # Errors
    /// Where the map cannot be changed. That nothing can be pinned is none: then nothing outlives the agent.
    pub fn cut_over(&mut self) -> Result<(), SensorError> {
        let generation = generation_of(self.pins.as_ref());
        let earlier = self.pins.as_mut().map(|pins| std::mem::take(&mut pins.left)).unwrap_or_default();
        if let Some(pins) = &self.pins
            && let Err(error) = self.links.pin(pins)
        {
            tracing::warn!(%error, "what happens while no agent runs will not be told");
        }
        self.switch.to(generation)?;
        self.serves = true;
        if let Some(pins) = &self.pins {
            let links = self.links.pinned().map(|program| pins.link_path(program));
            // An object has not all maps that some object has.
            let made = pins.paths().map(|(_, path)| path).chain(links).filter(|path| path.exists());
            self.pinned = made.collect();
        }
        for left in earlier {
            let detached = left.detach().unwrap_or_else(|error| {
                tracing::error!(%error, "an earlier agent's programs cannot be detached: they cost time, and tell nothing");
                1
            });
            if !left.is_readable {
                let lost = left.unread();
                self.inherited_losses.push(Gap {
                    stage: "kernel",
                    cause: "other_layout",
                    family: None,
                    lost,
                });
                tracing::warn!(lost, "an agent of another version left records that this one cannot read");
                left.remove()
                    .unwrap_or_else(|error| tracing::warn!(%error, "what an earlier agent pinned stays"));
                continue;
            }
            match Heritage::open(left, detached > 0) {
                Ok(heritage) => self.heritage.push_back(heritage),
                Err(error) => {
                    tracing::error!(%error, "what an earlier agent's programs wrote cannot be read")
                }
            }
        }
        if let Some(pins) = &mut self.pins
            && self.heritage.is_empty()
            && let Err(error) = pins.remove_left()
        {
            tracing::warn!(%error, "what earlier agents pinned stays");
        }
        Ok(())
    }

    /// Copies the next record of an earlier agent's programs into `into`, and says where it ends.
    pub fn next_inherited(&mut self, turn: &mut Turn, into: &mut Vec<u8>) -> Option<InheritedMark> {
        let mut next = |(of, heritage): (usize, &mut Heritage)| {
            heritage.next_record(turn, into).map(|mark| InheritedMark { of: self.forgotten + of, mark })
        };
        self.heritage.iter_mut().enumerate().find_map(&mut next)
    }

    /// Such a record was handed on.
    pub fn inherited_done(&mut self, InheritedMark { of, mark }: InheritedMark) {
        if let Some(heritage) = of.checked_sub(self.forgotten).and_then(|at| self.heritage.get_mut(at)) {
            heritage.done(mark);
        }
    }

    /// A record was handed on.
    pub fn done(&mut self, mark: Option<Mark>) {
        if let Some(mark) = mark {
            self.rings.done(mark);
        }
    }

    /// Losses of earlier agents that these had not told. Forgets those agents of which nothing can come any more.
    ///
    /// # Errors
    /// Where their figures cannot be read.
    pub fn take_inherited_losses(&mut self) -> Result<Vec<Gap>, MapFailure> {
        while self.heritage.front().is_some_and(Heritage::is_over)
            && let Some(heritage) = self.heritage.pop_front()
        {
            self.forgotten += 1;
            self.inherited_losses.extend(heritage.losses()?);
            heritage
                .remove()
                .unwrap_or_else(|error| tracing::warn!(%error, "what an earlier agent pinned stays"));
        }
        Ok(std::mem::take(&mut self.inherited_losses))
    }

    /// All losses of these counters were told: the next agent need not tell them.
    ///
    /// # Errors
    /// Where the map cannot be changed.
    pub fn keep_told(&mut self, counters: &KernelCounters) -> Result<(), MapFailure> {
        if self.pins.is_some() { self.told.keep(counters) } else { Ok(()) }
    }

    /// What was open at the start was told, and handed on.
    pub fn held_is_told(&self) {
        if let Some(Err(error)) = self.pins.as_ref().map(Pins::held_is_told) {
            tracing::warn!(%error, "the next agent will tell again what was open at the start");
        }
    }

    /// Leaves the programs attached, for the agent that comes next, once everything was handed on. Whether that is so: else they end with this one.
    pub fn hand_over(mut self) -> bool {
        let pinned = self.pins.take().is_some();
        self.maps.keep_folds();
        self.rings.give_back();
        pinned
    }

    /// Copies the next record into `into`, and says of which ring it is, and where it ends there, if that is still to be
    /// said; `None` where there is none now.
    pub fn next_record(&mut self, turn: &mut Turn, into: &mut Vec<u8>) -> Option<(Ring, Option<Mark>)> {
        if let Some((ring, record)) = self.backlog.pop_front() {
            into.clear();
            into.extend_from_slice(&record);
            return Some((ring, None));
        }
        self.rings.next(turn, into).map(|mark| (mark.ring, Some(mark)))
    }

    /// Gives back the room of all records that are done with. Whether there are more, of which nobody will be woken.
    pub fn give_back(&self) -> bool {
        // Each is to be given back, whatever the others hold.
        let inherited = self.heritage.iter().filter(|heritage| heritage.give_back()).count();
        self.rings.give_back() || inherited > 0
    }

    /// A descriptor that becomes readable when there are records, while [`Sensor::set_wake`] says so.
    ///
    /// # Errors
    /// Where there is no descriptor left.
    pub fn readiness(&self) -> io::Result<OwnedFd> {
        self.rings.readiness()
    }

    /// Whether a record that finds the rings empty makes the descriptor readable. A record that is being written while this
    /// is switched on may still not do so.
    ///
    /// # Errors
    /// Where the map cannot be changed.
    pub fn set_wake(&mut self, wake: bool) -> Result<(), MapFailure> {
        self.maps.switch(|control| control.wake = u32::from(wake))
    }

    /// What the kernel side has counted.
    ///
    /// # Errors
    /// Where the map cannot be read.
    pub fn counted(&self) -> Result<Counted, MapFailure> {
        self.maps.counted()
    }

    /// How often a program was not run, because another run of it was under way on that CPU: at most so many acts were not
    /// seen.
    ///
    /// # Errors
    /// Where the kernel does not say.
    pub fn runs_skipped(&self) -> io::Result<u64> {
        runs_skipped(&self.ebpf)
    }

    /// What others have done to the hooks and pins since they were made, in order.
    ///
    /// # Errors
    /// Where that cannot be found out.
    pub fn impairments(&self) -> io::Result<Vec<Impairment>> {
        let programs = LADDER.iter().flat_map(|capability| capability.servings);
        let programs: Vec<&Program> = programs.flat_map(|serving| serving.programs).collect();
        let mut found = Vec::new();
        for name in self.links.detached_by_others()? {
            let hook = programs.iter().find(|program| program.name == name);
            let what = hook.map_or_else(|| name.to_owned(), |program| program.attach.to_string());
            found.push(Impairment { cause: "detached", what });
        }
        let servings = || self.chosen.iter().filter_map(|chosen| chosen.serving);
        let uses_trampolines = servings().flat_map(|serving| serving.programs).any(|program| {
            matches!(program.attach, Attach::Lsm(_) | Attach::FunctionEntry(_) | Attach::FunctionExit(_))
        });
        if uses_trampolines && is_tracing_off() {
            found.push(Impairment { cause: "tracing_off", what: "fentry, fexit and lsm".to_owned() });
        }
        let gone = missing(self.pinned.iter().map(PathBuf::as_path));
        found.extend(gone.map(|path| Impairment { cause: "unpinned", what: path.display().to_string() }));
        found.sort();
        Ok(found)
    }

    /// Detaches and unloads every program. The ring keeps what it holds, and the counters stay.
    pub fn detach(&mut self) {
        self.connections = None;
        self.held.clear();
        self.unload(|_| true);
        self.remove_pins();
    }

    fn remove_pins(&mut self) {
        let Some(pins) = self.pins.take() else { return };
        // Before it serves, an earlier agent's programs do.
        let removed = if self.serves { pins.remove_all() } else { pins.remove_own() };
        if let Err(error) = removed {
            tracing::error!(%error, "what was pinned stays: remove it, or start the agent again");
        }
    }

    /// Has the kernel tell what long connections have carried: records of it are in the ring afterwards.
    ///
    /// # Errors
    /// As the kernel gives them. Where it has no such walk, there is none, and no error.
    pub fn tell_connections(&self) -> io::Result<()> {
        self.connections.as_ref().map_or(Ok(()), Walker::walk)
    }

    /// Has the kernel tell which processes hold credentials and connections open, once: records of it are in the rings
    /// afterwards.
    ///
    /// # Errors
    /// As the kernel gives them; the first. Where it has no such walks, there are none, and no error.
    pub fn tell_held(&mut self) -> io::Result<()> {
        // Who listens is known to no agent but the one that has read it. Connections that were told are passed over.
        let is_told = |walker: &Walker| self.was_held_told && walker.over() != Over::Connections;
        let walks: Vec<_> = self.held.iter().filter(|walker| !is_told(walker)).map(Walker::walk).collect();
        self.held.clear();
        self.unload(|program| matches!(program.attach, Attach::FileIterator));
        walks.into_iter().collect()
    }

    fn unload(&mut self, which: impl Fn(&Program) -> bool) {
        let servings = LADDER.iter().flat_map(|capability| capability.servings);
        for program in servings.flat_map(|serving| serving.programs).filter(|program| which(program)) {
            ladder::unload(&mut self.ebpf, &mut self.links, program);
        }
    }

    /// UDP flows that were sent to again, with their counts since they began; idle ones are forgotten.
    ///
    /// # Errors
    /// Where the map cannot be read or changed.
    pub fn sweep_flows(&mut self, idle_before_ns: u64) -> Result<Vec<(FlowKey, FlowCount)>, MapFailure> {
        self.maps.sweep_flows(idle_before_ns)
    }

    /// Reaches into the memory of others that were repeated, with their counts; idle ones are forgotten.
    ///
    /// # Errors
    /// Where the map cannot be read or changed.
    pub fn sweep_memory(&mut self, idle_before_ns: u64) -> Result<Vec<(MemoryKey, FlowCount)>, MapFailure> {
        self.maps.sweep_memory(idle_before_ns)
    }

    /// Makes files known as credentials by their inodes.
    ///
    /// # Errors
    /// Where the map is full or cannot be changed.
    pub fn add_credential_files(
        &mut self,
        files: impl IntoIterator<Item = InodeKey>,
    ) -> Result<(), MapFailure> {
        self.maps.add_credential_files(files)
    }

    /// The tag that a process has in the kernel; `None`: none.
    ///
    /// # Errors
    /// Where the map cannot be read.
    pub fn tag(&self, process: ProcessKey) -> Result<Option<Tag>, MapFailure> {
        self.maps.tag(process)
    }

    /// Gives a process its tag, or takes it away (number 0). Whether there was room. Where a later process has its id, that
    /// one keeps its own.
    ///
    /// # Errors
    /// Where the map cannot be changed.
    pub fn set_tag(&mut self, tag: Tag) -> Result<bool, MapFailure> {
        self.maps.set_tag(tag)
    }

    /// The tags that processes have in the kernel: those that an earlier agent gave, and their children's.
    pub fn tags(&self) -> Vec<Tag> {
        self.maps.tags()
    }

    /// Forgets a file that is no credential any more.
    ///
    /// # Errors
    /// Where it was not known, or the map cannot be changed.
    pub fn remove_credential_file(&mut self, file: InodeKey) -> Result<(), MapFailure> {
        self.maps.remove_credential_file(file)
    }

    /// Changes how many records are dropped on purpose.
    ///
    /// # Errors
    /// Where the map cannot be changed.
    pub fn set_drop_every(&mut self, drop_every: u32) -> Result<(), MapFailure> {
        self.maps.switch(|control| control.drop_every = drop_every)
    }
}

impl Drop for Sensor {
    fn drop(&mut self) {
        self.remove_pins();
    }
}

const fn generation_of(pins: Option<&Pins>) -> u32 {
    match pins {
        Some(pins) => pins.number,
        None => 1,
    }
}

/// What the programs are told of the running kernel.
struct Running {
    age: Age,
    resolved: Resolved,
    entry_registers: EntryRegisters,
    /// Number of the hierarchy of cgroups that names workloads.
    hierarchy: u32,
}

impl Running {
    /// The object for it, if it gives LSM programs what they need.
    const fn object(&self) -> &'static [u8] {
        match self.age {
            Age::Since5_17 => OBJECT,
            Age::Since5_10 => OBJECT_FOR_5_10,
        }
    }
}

/// Makes the maps, and takes over those that an earlier agent left.
fn load(btf: &Btf, running: &Running, pin_root: Option<&Path>) -> Result<(Ebpf, Option<Pins>), SensorError> {
    let open_pins = |root: &Path| open_pins(root, running.object());
    let mut pins = pin_root.and_then(open_pins);
    match load_with(btf, running, pins.as_ref()) {
        Ok(ebpf) => Ok((ebpf, pins)),
        // What is refused without them too is not their fault, and they stay for an agent that can start.
        Err(error)
            if pins.as_ref().is_some_and(|pins| !pins.left.is_empty())
                && load_with(btf, running, None).is_ok() =>
        {
            tracing::warn!(%error, "what an earlier agent left cannot be taken over: its records are lost");
            let removed = pins.take().map_or(Ok(()), |pins| pins.remove_all());
            removed.unwrap_or_else(|error| tracing::warn!(%error, "it stays"));
            let pins = pin_root.and_then(open_pins);
            Ok((load_with(btf, running, pins.as_ref())?, pins))
        }
        Err(error) => {
            if let Some(pins) = pins.take() {
                pins.remove_own().unwrap_or_else(|error| tracing::warn!(%error, "what was pinned stays"));
            }
            Err(error)
        }
    }
}

fn open_pins(root: &Path, object: &[u8]) -> Option<Pins> {
    let layout = Layout::of(object)?;
    let open = || {
        let pins = Pins::open(root, &layout)?;
        match pins.check(&layout) {
            Err(error @ PinError::Strange(_)) => {
                tracing::error!(%error, "what was pinned is removed");
                pins.remove_all()?;
                // It is locked.
                drop(pins);
                Pins::open(root, &layout)
            }
            checked => checked.map(|()| pins),
        }
    };
    open()
        .inspect_err(|error| tracing::warn!(%error, "what happens while no agent runs will not be told"))
        .ok()
}

fn load_with(btf: &Btf, running: &Running, pins: Option<&Pins>) -> Result<Ebpf, SensorError> {
    let generation = generation_of(pins);
    let mut loader = EbpfLoader::new();
    // aya has no userspace handle for inode storage; the programs alone use it.
    loader.allow_unsupported_maps().btf(Some(btf));
    loader.override_global("OFFSETS", running.resolved.offsets.as_bytes(), true);
    loader.override_global("GENERATION", &generation, true);
    loader.override_global("CGROUP_HIERARCHY", &running.hierarchy, true);
    loader.override_global(
        "ENTRY_REGISTERS",
        running.entry_registers.as_bytes(),
        running.age == Age::Since5_10,
    );
    for (map, path) in pins.into_iter().flat_map(Pins::paths) {
        loader.map_pin_path(map, path);
    }
    match loader.load(running.object()) {
        Err(EbpfError::MapError(MapError::CreateError { name, .. })) if name == INODE_STORAGE => {
            loader.load(OBJECT_WITHOUT_LSM).map_err(refused)
        }
        loaded => loaded.map_err(refused),
    }
}

/// Why the kernel refused an object. Capabilities were looked at before.
fn refused(error: EbpfError) -> SensorError {
    let limit = getrlimit(Resource::Memlock).current;
    match (error, limit) {
        (EbpfError::MapError(MapError::CreateError { name, io_error }), Some(limit_bytes))
            if io_error.kind() == io::ErrorKind::PermissionDenied =>
        {
            SensorError::LockedMemory { map: name, limit_bytes }
        }
        (error, _) => SensorError::Object(error),
    }
}

/// The exit of system calls tells of opens too: where trampolines do so already, it must not come in for another's sake,
/// or each open would be told twice.
fn confined(chosen: &[Chosen]) -> Option<Rung> {
    let opens = chosen.iter().find(|choice| choice.capability.name == "credential_open")?.serving?;
    opens.rungs.first().copied().filter(|rung| *rung != Rung::Tracepoint)
}

fn pump(rings: &mut Rings, into: &mut Vec<Vec<u8>>) {
    let mut record = Vec::new();
    while let Some(mark) = rings.next(&mut Turn::new(), &mut record) {
        into.push(record.clone());
        rings.done(mark);
    }
}

fn check(choice: &Chosen, forced: Option<Rung>) -> Result<(), SensorError> {
    let name = choice.capability.name;
    if choice.serving.is_some() || choice.age == Age::Since5_10 && is_unserved_on_5_10(name) {
        return Ok(());
    }
    let reason = choice.refused.iter().map(|refused| refused.reason.as_str()).collect::<Vec<_>>().join("; ");
    match forced {
        Some(rung) => Err(SensorError::Rung { rung, capability: choice.capability.name, reason }),
        None if choice.capability.essential => {
            Err(SensorError::Essential { capability: choice.capability.name, reason })
        }
        None => Ok(()),
    }
}

/// A walk over the descriptors of all processes.
fn over_descriptors(ebpf: &Ebpf, over: Over) -> Result<Walker, String> {
    Walker::attach(ebpf, over).map_err(|error| format!("iter/task_file does not attach: {error}"))
}

#[cfg(test)]
#[path = "stack_tests.rs"]
mod stack_tests;
