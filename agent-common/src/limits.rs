//! Every size of the kernel side, each with its reason.

/// Bytes of the ring of processes: 1,500 execs with command lines of a common length, or 20,000 forks.
pub const PROCESS_RING_BYTES: u32 = 4 << 20;
/// Bytes of the ring of credentials: some 7,000 records. More than the budgets let anybody write in a second.
pub const CREDENTIAL_RING_BYTES: u32 = 2 << 20;
/// Bytes of the ring of connections: some 12,000 connections from their attempt to their end, as long as the agent does not
/// read at all.
pub const CONNECTION_RING_BYTES: u32 = 4 << 20;
/// Bytes of the ring of what is beyond budgets: a burst of 20,000 connections within 50 ms fits.
pub const BULK_RING_BYTES: u32 = 8 << 20;

/// Acts a second that a process may do, and how many at once, before what it does goes to the bulk ring. The rings hold
/// what ten such processes do in a second. What is done at once is told before the next of anybody else: with 2,000
/// instead of 500, two flooders kept a collector busy for 0.4 s before a victim's next event (`xtask bench overload`).
pub const PROCESS_BUDGET: Budget = Budget { a_second: 1_000, at_once: 500 };
/// The same for all of a cgroup: a process that forks has no more for it.
pub const CGROUP_BUDGET: Budget = Budget { a_second: 4_000, at_once: 2_000 };
/// The same for all of a user other than root, who may make cgroups of its own.
pub const USER_BUDGET: Budget = Budget { a_second: 8_000, at_once: 4_000 };
/// Cells that keep account of a level's budgets; a power of two. Each actor has two of them, chosen by a hash with a secret
/// seed, and is beyond its budget when both say so: where 50 flood, one in 6,700 others shares both with some of them.
pub const BUDGET_CELLS: u32 = 8_192;

/// How often something may be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Budget {
    /// In the long run.
    pub a_second: u64,
    /// After a pause.
    pub at_once: u64,
}

/// Bytes of argv kept at exec, NUL separators included; what is beyond is marked as truncated. Most command
/// lines are below 1 KiB; `ARG_MAX` (2 MiB) cannot be carried.
pub const ARGV_BYTES: usize = 4096;
/// Bytes of one rendered path: `PATH_MAX` of the kernel.
pub const PATH_BYTES: usize = 4096;
/// Bytes of a path tried first, so that an ordinary record stays small; most paths are shorter than 200.
pub const SHORT_PATH_BYTES: usize = 256;
/// Bytes of `filename` and `interp` of an exec, each.
pub const EXEC_NAME_BYTES: usize = 512;
/// Bytes of one component of a path (`NAME_MAX` is 255) with its NUL.
pub const COMPONENT_BYTES: usize = 256;
/// Components walked from a dentry to its root; deeper paths are marked as truncated.
pub const PATH_COMPONENTS: u32 = 48;
/// Steps of a walk over a table of descriptors: one for each that is open, and for each word of the table.
pub const DESCRIPTOR_STEPS: u32 = 8_192;
/// Steps of a walk over received messages: one for each message, control message and descriptor. A message has at most 253
/// of these. What is walked over is the process's own memory, so it could make the walk as long as this.
pub const MESSAGE_STEPS: u32 = 1_024;
/// Sockets that are remembered on kernels whose tracing programs cannot reach a socket's own storage (before 5.11): beyond
/// it the longest unused are forgotten.
pub const SOCKETS_5_10: u32 = 16_384;
/// Mounts crossed in one walk.
pub const PATH_MOUNTS: u32 = 16;
/// Bytes of the section of environment markers in an exec record.
pub const MARKER_BYTES: usize = 1024;
/// Bytes of the name of an environment marker, NUL padded; longer names are not markers.
pub const MARKER_NAME_BYTES: usize = 32;
/// Bytes of the value of an environment marker whose value is kept.
pub const MARKER_VALUE_BYTES: usize = 128;
/// Environment chunks looked at during one exec; what is beyond is marked as truncated.
pub const ENVIRONMENT_CHUNKS: u32 = 512;
/// Environment markers of the catalogue.
pub const MARKERS: u32 = 256;

/// Bytes of a literal path component of a credential rule, NUL padded; longer literals are refused when the
/// catalogue is compiled.
pub const RULE_NAME_BYTES: usize = 64;
/// Literal path components of all rules.
pub const RULE_NAMES: u32 = 4096;
/// Bytes of a rule's file name suffix (`.pem`), dot included.
pub const RULE_SUFFIX_BYTES: usize = 8;
/// Distinct suffixes of all rules.
pub const RULE_SUFFIXES: u32 = 256;
/// Ancestors looked at for rules of the form `directory/**`.
pub const RULE_ANCESTORS: u32 = 12;
/// Literal names, and beginnings of names, of credential sockets.
pub const SOCKET_NAMES: u32 = 1024;
/// Bytes of the beginning of a socket's name that the kernel compares.
pub const SOCKET_PREFIX_BYTES: usize = 6;
/// Directories above a socket that are looked at, in its file system.
pub const SOCKET_ANCESTORS: u32 = 4;
/// Bytes of a unix socket's address (`UNIX_PATH_MAX`).
pub const UNIX_ADDRESS_BYTES: usize = 108;
/// Credential files known by (device, inode).
pub const CREDENTIAL_INODES: u32 = 65_536;

/// UDP peers folded at once, over all sockets. Full: no folding, every datagram is an event.
pub const DATAGRAM_FLOWS: u32 = 16_384;
/// Renames, links and removals of credentials that are under way at once, between their check and their end: one a
/// thread, and few threads do that at all. Full: the act is not told, and counted.
pub const PENDING_CHANGES: u32 = 256;
/// Bytes of the record of one of them, kept until its end; a second path that does not fit is left out.
pub const PENDING_BYTES: usize = 8192;
/// Pairs of processes of which one reached into the other's memory, folded at once: a debugger has a handful. Full: no
/// folding, every act is an event.
pub const MEMORY_FOLDS: u32 = 4096;
/// Reads of keys that are under way at once, between their check and their end: one a thread. Full: the key is told by
/// its serial number alone, and counted.
pub const PENDING_KEYS: u32 = 256;
/// Bytes of the type of a key; the kernel's are shorter than 32.
pub const KEY_TYPE_BYTES: usize = 32;
/// Bytes of the description of a key, of at most 4,095; most are below 64.
pub const KEY_DESCRIPTION_BYTES: usize = 256;
/// Bytes of the record of a read of a key, kept until its end.
pub const PENDING_KEY_BYTES: usize = 512;
/// Processes that carry a tag at once: more than userspace keeps of them. Full: a child is not tagged until its maker's
/// session is told again, and counted.
pub const TAGS: u32 = 65_536;
/// Bytes of a cgroup's path as the kernel hands it to its tracepoints (`TRACE_CGROUP_PATH_LEN`), with its NUL.
pub const CGROUP_PATH_BYTES: usize = 1024;
/// Bytes of the record of a cgroup that is made, with room for a path.
pub const CGROUP_SCRATCH_BYTES: usize = 2048;
/// Bytes of a command name (`TASK_COMM_LEN`).
pub const COMM_BYTES: usize = 16;

/// Bytes of the beginning of a connection, or of a datagram, that are looked into for names. DNS over UDP is agreed to be
/// at most 1,232 bytes, and 4,096 before 2020; a ClientHello with a post-quantum key share has about 1,800.
pub const PAYLOAD_BYTES: usize = 4096;

/// Largest record of the process ring: the fixed part of an exec and all its sections.
pub const EXEC_SCRATCH_BYTES: usize = 32_768;
/// Largest record that userspace accepts; the longest exec is below it.
pub const MAX_RECORD_BYTES: usize = 20_480;
