//! All maps. Sizes and their reasons stand in `agent_common::limits`.

use agent_common::counters::{CpuState, SLOTS};
use agent_common::keys::{
    Control, Cutover, FlowCount, FlowKey, InodeKey, MarkerName, MemoryKey, NameFilter, ProcessTag, RuleName,
    RuleSuffix,
};
use agent_common::limits::{
    BUDGET_CELLS, BULK_RING_BYTES, CGROUP_SCRATCH_BYTES, CONNECTION_RING_BYTES, CREDENTIAL_INODES,
    CREDENTIAL_RING_BYTES, DATAGRAM_FLOWS, EXEC_SCRATCH_BYTES, MARKERS, MEMORY_FOLDS, PENDING_BYTES,
    PENDING_CHANGES, PENDING_KEY_BYTES, PENDING_KEYS as PENDING_KEY_ENTRIES, PROCESS_RING_BYTES, RULE_NAMES,
    RULE_SUFFIXES, SOCKET_NAMES as SOCKET_NAME_ENTRIES, TAGS as TAG_ENTRIES,
};
use agent_common::records::Actor;
use aya_ebpf::btf_maps::SkStorage;
use aya_ebpf::macros::{btf_map, map};
use aya_ebpf::maps::{Array, HashMap, PerCpuArray, RingBuf};

use crate::hooks::Scan;
use crate::kernel::Stored;

/// Processes, cgroups, users.
pub const BUDGET_LEVELS: u32 = 3;

/// Life of processes.
#[map]
pub static PROCESS_RING: RingBuf = RingBuf::with_byte_size(PROCESS_RING_BYTES, 0);

/// Acts on credentials.
#[map]
pub static CREDENTIAL_RING: RingBuf = RingBuf::with_byte_size(CREDENTIAL_RING_BYTES, 0);

/// Connections, and what names them.
#[map]
pub static CONNECTION_RING: RingBuf = RingBuf::with_byte_size(CONNECTION_RING_BYTES, 0);

/// What is beyond somebody's budget, or can wait.
#[map]
pub static BULK_RING: RingBuf = RingBuf::with_byte_size(BULK_RING_BYTES, 0);

/// The tags of processes, by id.
#[map]
pub static TAGS: HashMap<u32, ProcessTag> = HashMap::with_max_entries(TAG_ENTRIES, 1);

/// Until when each budget is spent, boot time in ns: the cells of processes, of cgroups, of users.
#[map]
pub static BUDGETS: Array<u64> = Array::with_max_entries(BUDGET_LEVELS * BUDGET_CELLS, 0);

/// One [`CpuState`] a CPU.
#[map]
pub static CPU_STATE: PerCpuArray<CpuState> = PerCpuArray::with_max_entries(1, 0);

/// Switches of userspace.
#[map]
pub static CONTROL: Array<Control> = Array::with_max_entries(1, 0);

/// Which generation of programs serves.
#[map]
pub static CUTOVER: Array<Cutover> = Array::with_max_entries(1, 0);

/// What was told of this generation's losses, by `agent_common::counters::slot`: userspace alone uses it, the next agent
/// tells the rest.
#[map]
pub static TOLD: Array<u64> = Array::with_max_entries(SLOTS, 0);

/// How often names moved without an open (a renamed directory, a mount): cached verdicts of before are not believed.
#[map]
pub static TREE_GENERATION: Array<u64> = Array::with_max_entries(1, 0);

/// Credential files known by (device, inode).
#[map]
pub static CREDENTIAL_FILES: HashMap<InodeKey, u32> = HashMap::with_max_entries(CREDENTIAL_INODES, 1);

/// Which names and suffixes may be in the two maps below: most are not, and are known by this alone.
#[map]
pub static NAME_FILTER: Array<NameFilter> = Array::with_max_entries(1, 0);

/// Literal path components of the rules.
#[map]
pub static NAMES: HashMap<RuleName, u32> = HashMap::with_max_entries(RULE_NAMES, 0);

/// File name suffixes of the rules.
#[map]
pub static SUFFIXES: HashMap<RuleSuffix, u32> = HashMap::with_max_entries(RULE_SUFFIXES, 0);

/// Environment markers.
#[map]
pub static MARKER_NAMES: HashMap<MarkerName, u32> = HashMap::with_max_entries(MARKERS, 0);

/// Names of credential sockets, and of their directories.
#[map]
pub static SOCKET_NAMES: HashMap<RuleName, u32> = HashMap::with_max_entries(SOCKET_NAME_ENTRIES, 0);

/// Where records of unix sockets are built: one place for each of the programs that may interrupt each other.
#[map]
pub static UNIX_SCRATCH: PerCpuArray<[u8; EXEC_SCRATCH_BYTES]> = PerCpuArray::with_max_entries(3, 0);

/// UDP peers folded.
#[map]
pub static FLOWS: HashMap<FlowKey, FlowCount> = HashMap::with_max_entries(DATAGRAM_FLOWS, 1);

/// Reaches into the memory of others, folded.
#[map]
pub static MEMORY: HashMap<MemoryKey, FlowCount> = HashMap::with_max_entries(MEMORY_FOLDS, 1);

/// Where records of reads of keys are built: one program does so.
#[map]
pub static KEY_SCRATCH: PerCpuArray<[u8; PENDING_KEY_BYTES]> = PerCpuArray::with_max_entries(1, 0);

/// How much of each fold was told: userspace alone uses these two, for the agent that comes next.
#[map]
pub static FLOWS_TOLD: HashMap<FlowKey, u64> = HashMap::with_max_entries(DATAGRAM_FLOWS, 1);

/// See [`FLOWS_TOLD`].
#[map]
pub static MEMORY_TOLD: HashMap<MemoryKey, u64> = HashMap::with_max_entries(MEMORY_FOLDS, 1);

/// Keys whose read was checked and has not yet ended, by thread.
#[map]
pub static PENDING_KEYS: HashMap<u64, [u8; PENDING_KEY_BYTES]> =
    HashMap::with_max_entries(PENDING_KEY_ENTRIES, 1);

/// Where exec builds its record: too large for the stack. A tracepoint runs with preemption off.
#[map]
pub static EXEC_SCRATCH: PerCpuArray<[u8; EXEC_SCRATCH_BYTES]> = PerCpuArray::with_max_entries(1, 0);

/// Where records of cgroups are built: one program does so, with interrupts off.
#[map]
pub static CGROUP_SCRATCH: PerCpuArray<[u8; CGROUP_SCRATCH_BYTES]> = PerCpuArray::with_max_entries(1, 0);

/// Where records of descriptors are built: one place for each program that walks to their names, for they may interrupt
/// each other.
#[map]
pub static FILE_SCRATCH: PerCpuArray<[u8; EXEC_SCRATCH_BYTES]> = PerCpuArray::with_max_entries(4, 0);

/// Where exec keeps its walk over the descriptors that stay open.
#[map]
pub static DESCRIPTOR_SCAN: PerCpuArray<Scan> = PerCpuArray::with_max_entries(1, 0);

/// Where records of refused opens are built: one program of a rung uses it.
#[map]
pub static REFUSED_SCRATCH: PerCpuArray<[u8; EXEC_SCRATCH_BYTES]> = PerCpuArray::with_max_entries(1, 0);

/// Where records of changes are built: one place for each program that does so, for they may interrupt each other.
#[map]
pub static CHANGE_SCRATCH: PerCpuArray<[u8; EXEC_SCRATCH_BYTES]> = PerCpuArray::with_max_entries(7, 0);

/// Records of changes that were checked and not yet made, by thread.
#[map]
pub static PENDING: HashMap<u64, [u8; PENDING_BYTES]> = HashMap::with_max_entries(PENDING_CHANGES, 1);

/// What is remembered of a socket from its connect to its end, or to its first datagram.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct SocketState {
    /// One of the `SOCKET_` states.
    pub state: u32,
    /// Port asked for, host order.
    pub port: u16,
    /// Address family.
    pub family: u16,
    /// Address asked for.
    pub address_be: [u8; 16],
    /// Who connected.
    pub actor: Actor,
    /// When it was asked for, boot time in ns. TCP alone, as what follows.
    pub asked_boot_ns: u64,
    /// When its handshake was completed, boot time in ns.
    pub established_boot_ns: u64,
    /// When it was last told what it carried, boot time in ns.
    pub told_boot_ns: u64,
    /// Bytes of both directions told then.
    pub told_bytes: u64,
    /// The unix socket that was told last as sent to.
    pub told_peer: u64,
    /// Cookie of its network namespace.
    pub network_cookie: u64,
    /// `IPPROTO_*` as asked for: of a subflow, MPTCP's.
    pub protocol: u32,
    /// Payload bytes of the connection that were looked at for a ClientHello; [`HELLO_DONE`]: no more will be.
    pub hello_next: u32,
    /// How many are to be looked at.
    pub hello_until: u32,
    /// Whether who connected was beyond its budget: what follows goes where the attempt went. 0 is no.
    pub beyond_budget: u32,
}

/// What a connection begins with is no ClientHello, or all of it was told.
pub const HELLO_DONE: u32 = u32::MAX;

/// Nothing is awaited.
pub const SOCKET_IDLE: u32 = 0;
/// A TCP attempt was told, its outcome is awaited.
pub const SOCKET_TCP_PENDING: u32 = 1;
/// A UDP socket was connected, its first datagram is awaited.
pub const SOCKET_UDP_CONNECTED: u32 = 2;
/// A TCP connection was established, its end is awaited.
pub const SOCKET_TCP_ESTABLISHED: u32 = 3;
/// A TCP attempt was told to have ended without an error; the call that made it may still give one.
pub const SOCKET_TCP_ABORTED: u32 = 4;

/// Freed with the socket, so bounded by the sockets that exist.
#[btf_map]
pub static SOCKETS: SkStorage<Stored> = SkStorage::new();

/// Who asked a port 53 last.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Asker {
    /// Who.
    pub actor: Actor,
    /// Cookie of the socket's network namespace.
    pub network_cookie: u64,
    /// Whether it was beyond its budget. 0 is no.
    pub beyond_budget: u64,
}

/// By the UDP socket that was used: answers to other sockets are not looked at.
#[btf_map]
pub static ASKERS: SkStorage<Asker> = SkStorage::new();
