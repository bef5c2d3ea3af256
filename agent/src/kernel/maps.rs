//! Typed handles of the maps that userspace reads or writes.

use std::hash::{BuildHasher, Hasher, RandomState};

use agent_common::counters::{CpuState, SLOTS};
use agent_common::keys::{
    Control, FlowCount, FlowKey, InodeKey, MarkerName, MemoryKey, NAME_FILTER_WORDS, NameFilter, ProcessTag,
    RuleName, RuleSuffix,
};
use agent_common::limits::TAGS;
use agent_common::nesting::{LEVEL_SHIFT, Nested};
use agent_common::rings::Ring;
use aya::maps::{Array, HashMap, MapData, MapError, PerCpuArray};
use aya::{Ebpf, Pod};
use zerocopy::{FromBytes, Immutable, IntoBytes};

use super::folds::Folds;
use crate::capture::sequence::Series;
use crate::model::process::ProcessKey;
use crate::model::time::BootTime;
use crate::session::Tag;

/// A type of `agent_common` as a map's key or value.
#[repr(transparent)]
#[derive(Clone, Copy)]
pub(super) struct Shared<T>(pub(super) T);

// SAFETY: zerocopy's derives prove that any bytes are a `T` and that a `T` has no padding; the wrapper adds nothing.
unsafe impl<T: FromBytes + IntoBytes + Immutable + Copy + 'static> Pod for Shared<T> {}

/// An operation on a map failed.
#[derive(Debug, thiserror::Error)]
pub enum MapFailure {
    /// The object has no such map: object and agent do not belong together.
    #[error("the object has no map {0}: rebuild with `cargo xtask build-ebpf`")]
    Missing(&'static str),
    /// A ring cannot be mapped.
    #[error("ring {map} cannot be read: {source}; is there memory left (ulimit -v, cgroup limits)?")]
    Unreadable {
        /// Which ring.
        map: &'static str,
        /// Why.
        source: std::io::Error,
    },
    /// The kernel refused.
    #[error("map {map}: {source}")]
    Refused {
        /// Which map.
        map: &'static str,
        /// Why.
        source: MapError,
    },
}

pub(super) fn refused(map: &'static str) -> impl Fn(MapError) -> MapFailure {
    move |source| MapFailure::Refused { map, source }
}

/// What the kernel is told to look for.
#[derive(Debug, Default)]
pub struct KernelFilters {
    /// Literal path components, with flags of `agent_common::keys::rule_name`.
    pub names: Vec<(RuleName, u32)>,
    /// File name suffixes.
    pub suffixes: Vec<RuleSuffix>,
    /// Names of credential sockets and of their directories, with flags of `agent_common::keys::rule_name`.
    pub sockets: Vec<(RuleName, u32)>,
    /// Environment markers, with their flags.
    pub markers: Vec<(MarkerName, u32)>,
}

/// A snapshot of the kernel's counters.
#[derive(Clone, Debug)]
pub struct Counted {
    /// Summed over the CPUs, by `agent_common::counters::slot`.
    pub counters: [u64; SLOTS as usize],
    /// The next sequence number of each series.
    pub next: Vec<(Series, u64)>,
}

/// The maps, taken out of the loaded object.
pub(super) struct Maps {
    control: Array<MapData, Shared<Control>>,
    cpu_state: PerCpuArray<MapData, Shared<CpuState>>,
    /// Numbers by depth of interruption, on kernels whose programs count so.
    nested: Option<PerCpuArray<MapData, Shared<Nested>>>,
    credential_files: HashMap<MapData, Shared<InodeKey>, u32>,
    tags: HashMap<MapData, u32, Shared<ProcessTag>>,
    flows: Folds<FlowKey>,
    memory: Folds<MemoryKey>,
    name_filter: Array<MapData, Shared<NameFilter>>,
    /// What `name_filter` holds; bits are only ever added.
    filter: Box<NameFilter>,
    names: HashMap<MapData, Shared<RuleName>, u32>,
    /// Programs name maps by descriptor until they are loaded: these three are held for that alone.
    _suffixes: HashMap<MapData, Shared<RuleSuffix>, u32>,
    _markers: HashMap<MapData, Shared<MarkerName>, u32>,
    _sockets: HashMap<MapData, Shared<RuleName>, u32>,
    switches: Control,
}

macro_rules! take {
    ($ebpf:expr, $name:literal) => {
        $ebpf.take_map($name).ok_or(MapFailure::Missing($name))?.try_into().map_err(refused($name))?
    };
}

impl Maps {
    /// Takes the maps and fills the filters.
    pub(super) fn take(ebpf: &mut Ebpf, filters: &KernelFilters) -> Result<Self, MapFailure> {
        let mut names: HashMap<MapData, Shared<RuleName>, u32> = take!(ebpf, "NAMES");
        for (name, flags) in &filters.names {
            names.insert(Shared(*name), flags, 0).map_err(refused("NAMES"))?;
        }
        let mut suffixes: HashMap<MapData, Shared<RuleSuffix>, u32> = take!(ebpf, "SUFFIXES");
        for suffix in &filters.suffixes {
            suffixes.insert(Shared(*suffix), 1, 0).map_err(refused("SUFFIXES"))?;
        }
        let mut markers: HashMap<MapData, Shared<MarkerName>, u32> = take!(ebpf, "MARKER_NAMES");
        for (name, flags) in &filters.markers {
            markers.insert(Shared(*name), flags, 0).map_err(refused("MARKER_NAMES"))?;
        }
        let mut sockets: HashMap<MapData, Shared<RuleName>, u32> = take!(ebpf, "SOCKET_NAMES");
        for (name, flags) in &filters.sockets {
            sockets.insert(Shared(*name), flags, 0).map_err(refused("SOCKET_NAMES"))?;
        }
        let mut maps = Self {
            control: take!(ebpf, "CONTROL"),
            cpu_state: take!(ebpf, "CPU_STATE"),
            nested: match ebpf.take_map("NESTED") {
                Some(map) => Some(map.try_into().map_err(refused("NESTED"))?),
                None => None,
            },
            credential_files: take!(ebpf, "CREDENTIAL_FILES"),
            tags: take!(ebpf, "TAGS"),
            flows: Folds::take(ebpf, "FLOWS", "FLOWS_TOLD")?,
            memory: Folds::take(ebpf, "MEMORY", "MEMORY_TOLD")?,
            name_filter: take!(ebpf, "NAME_FILTER"),
            filter: Box::new([0; NAME_FILTER_WORDS]),
            names,
            _suffixes: suffixes,
            _markers: markers,
            _sockets: sockets,
            // The standard library's random state is seeded by the system.
            switches: Control {
                catalogue_generation: 1,
                wake: 1,
                seed: RandomState::new().build_hasher().finish(),
                ..Control::default()
            },
        };
        let names = filters.names.iter().map(|(name, _)| name.filter_bit());
        maps.filter_admits(names.chain(filters.suffixes.iter().map(RuleSuffix::filter_bit)))?;
        maps.switch(|_| {})?;
        Ok(maps)
    }

    /// Flips switches.
    pub(super) fn switch(&mut self, change: impl FnOnce(&mut Control)) -> Result<(), MapFailure> {
        change(&mut self.switches);
        self.control.set(0, Shared(self.switches), 0).map_err(refused("CONTROL"))
    }

    /// Lets the kernel look for what has these bits.
    fn filter_admits(&mut self, bits: impl IntoIterator<Item = u32>) -> Result<(), MapFailure> {
        for bit in bits {
            if let Some(word) = self.filter.get_mut(bit as usize / 64) {
                *word |= 1 << (bit % 64);
            }
        }
        self.name_filter.set(0, Shared(*self.filter), 0).map_err(refused("NAME_FILTER"))
    }

    /// Sets or removes one literal name; what it was before.
    pub(super) fn set_name(&mut self, name: RuleName, flags: Option<u32>) -> Result<Option<u32>, MapFailure> {
        let before = self.names.get(&Shared(name), 0).ok();
        if flags.is_some() {
            self.filter_admits([name.filter_bit()])?;
        }
        match flags {
            Some(flags) => self.names.insert(Shared(name), flags, 0),
            None => self.names.remove(&Shared(name)),
        }
        .map_err(refused("NAMES"))?;
        Ok(before)
    }

    /// Makes a file known as a credential by its inode, and cached verdicts void.
    pub(super) fn add_credential_files(
        &mut self,
        files: impl IntoIterator<Item = InodeKey>,
    ) -> Result<(), MapFailure> {
        for file in files {
            self.credential_files.insert(Shared(file), 1, 0).map_err(refused("CREDENTIAL_FILES"))?;
        }
        self.switch(|control| control.catalogue_generation = control.catalogue_generation.wrapping_add(1))
    }

    /// Forgets a file.
    pub(super) fn remove_credential_file(&mut self, file: InodeKey) -> Result<(), MapFailure> {
        self.credential_files.remove(&Shared(file)).map_err(refused("CREDENTIAL_FILES"))
    }

    /// The tag of a process; `None`: it has none.
    pub(super) fn tag(&self, process: ProcessKey) -> Result<Option<Tag>, MapFailure> {
        match self.tags.get(&process.pid, 0) {
            Ok(Shared(tag)) if tag.is_of(process.start.ns) => Ok(Some(Tag { process, number: tag.tag })),
            Ok(_) | Err(MapError::KeyNotFound) => Ok(None),
            Err(error) => Err(refused("TAGS")(error)),
        }
    }

    /// Gives a process its tag, or takes it away (0). Whether there was room. Where a later process has its id, that one
    /// keeps its own.
    pub(super) fn set_tag(&mut self, Tag { process, number }: Tag) -> Result<bool, MapFailure> {
        let start_boot_ns = process.start.ns;
        let found = match self.tags.get(&process.pid, 0) {
            Ok(Shared(found)) => Some(found),
            Err(MapError::KeyNotFound) => None,
            Err(error) => return Err(refused("TAGS")(error)),
        };
        let is_another =
            |found: ProcessTag| !found.is_of(start_boot_ns) && found.start_boot_ns > start_boot_ns;
        if found.is_some_and(is_another) {
            return Ok(true);
        }
        let done = match (number, found) {
            (0, Some(found)) if found.is_of(start_boot_ns) => self.tags.remove(&process.pid),
            (0, _) => return Ok(true),
            (tag, _) => {
                self.tags.insert(process.pid, Shared(ProcessTag { start_boot_ns, tag, reserved: 0 }), 0)
            }
        };
        match done {
            // Not found: it has ended meanwhile.
            Ok(()) | Err(MapError::KeyNotFound) => Ok(true),
            Err(MapError::SyscallError(error)) if error.io_error.raw_os_error() == Some(libc::E2BIG) => {
                Ok(false)
            }
            Err(error) => Err(refused("TAGS")(error)),
        }
    }

    /// All tags. Of processes that are made or end meanwhile there may be none.
    pub(super) fn tags(&self) -> Vec<Tag> {
        let told = self.tags.iter().filter_map(Result::ok);
        let tag =
            |(pid, Shared(ProcessTag { start_boot_ns, tag: number, .. })): (u32, Shared<ProcessTag>)| Tag {
                process: ProcessKey { pid, start: BootTime::from_ns(start_boot_ns) },
                number,
            };
        told.take(TAGS as usize).map(tag).collect()
    }

    /// What the kernel has counted.
    pub(super) fn counted(&self) -> Result<Counted, MapFailure> {
        let states = self.cpu_state.get(&0, 0).map_err(refused("CPU_STATE"))?;
        let mut counted = Counted { counters: [0; SLOTS as usize], next: Vec::new() };
        for (cpu, Shared(state)) in (0..).zip(states.iter()) {
            for (sum, counter) in counted.counters.iter_mut().zip(state.counters) {
                *sum = sum.wrapping_add(counter);
            }
            let series = Ring::ALL.into_iter().map(|ring| Series { ring, cpu });
            counted.next.extend(series.zip(state.sequence));
        }
        let Some(nested) = &self.nested else { return Ok(counted) };
        counted.next.clear();
        let nested = nested.get(&0, 0).map_err(refused("NESTED"))?;
        for (cpu, Shared(Nested { sequence, .. })) in (0..).zip(nested.iter()) {
            for (level, numbers) in (0..).zip(sequence) {
                let cpu = cpu | level << LEVEL_SHIFT;
                let series = Ring::ALL.into_iter().map(|ring| Series { ring, cpu });
                counted.next.extend(series.zip(*numbers));
            }
        }
        Ok(counted)
    }

    /// Takes what was folded since the last sweep: flows that were sent to again, how often. A flow idle since
    /// `idle_before_ns` is forgotten, so that its next datagram is told as a first one.
    pub(super) fn sweep_flows(
        &mut self,
        idle_before_ns: u64,
    ) -> Result<Vec<(FlowKey, FlowCount)>, MapFailure> {
        self.flows.sweep(idle_before_ns)
    }

    /// Keeps for the next agent what was told of folds: all of it was handed on.
    pub(super) fn keep_folds(&mut self) {
        self.flows.keep();
        self.memory.keep();
    }

    /// The same of reaches into the memory of others.
    pub(super) fn sweep_memory(
        &mut self,
        idle_before_ns: u64,
    ) -> Result<Vec<(MemoryKey, FlowCount)>, MapFailure> {
        self.memory.sweep(idle_before_ns)
    }
}
