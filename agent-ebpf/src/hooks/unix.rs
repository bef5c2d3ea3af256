//! Connects and datagrams to unix sockets that are credential sources: agents of keys, container engines, identity
//! agents.
//!
//! The peer is taken from the kernel's own socket, and its place from the file that it is bound to: no spelling of the
//! caller's, link, bind mount or change of directory hides it. With trampolines: `security_unix_stream_connect` and
//! `security_unix_may_send`, which are handed the peer, io_uring too (since 2.6). Without: the exit of `connect`. What is
//! connected when the agent starts is found by a walk over all descriptors.

use agent_common::counters::{Counter, Family};
use agent_common::keys::{RuleName, rule_name};
use agent_common::limits::{RULE_NAME_BYTES, SOCKET_ANCESTORS, SOCKET_PREFIX_BYTES, UNIX_ADDRESS_BYTES};
use agent_common::records::{Actor, FileIdentity, FileRecord, acquired, file_flag, hook, kind};
use agent_common::rings::Ring;
use aya_ebpf::helpers::generated::{bpf_probe_read_kernel, bpf_probe_read_kernel_str};
use aya_ebpf::macros::fentry;
use aya_ebpf::programs::FEntryContext;

use super::descriptor::OpenFile;
use crate::kstruct::{Dentry, File, Probed, Sock, Task, Typed, UnixSock, sock_of};
use crate::path::{self, OFFSET_MASK, Place};
use crate::{budget, current, emit, kernel, maps};

/// Places of [`maps::UNIX_SCRATCH`].
const FOR_CONNECT: u32 = 0;
const FOR_SEND: u32 = 1;
const FOR_HELD: u32 = 2;

/// Address family (`linux/socket.h`).
pub const AF_UNIX: u16 = 1;

/// A stream is connected: `security_unix_stream_connect(sk, other, newsk)`, the last check before it is.
#[fentry(function = "security_unix_stream_connect")]
pub fn unix_connect(ctx: FEntryContext) -> i32 {
    let peer = Sock::<Typed>::from_raw(ctx.arg::<u64>(1)).as_unix();
    let _ = reached(peer, FOR_CONNECT, hook::FENTRY_UNIX_STREAM_CONNECT);
    0
}

/// A datagram is sent, or its socket connected: `security_unix_may_send(socket, other)`.
#[fentry(function = "security_unix_may_send")]
pub fn unix_send(ctx: FEntryContext) -> i32 {
    let _ = try_send(ctx.arg::<u64>(0), ctx.arg::<u64>(1));
    0
}

#[inline(always)]
fn try_send(socket: u64, other: u64) -> Option<()> {
    let peer = sock_of(other)?.as_unix();
    if !is_candidate(peer) {
        return None;
    }
    if let Some(state) = kernel::socket_state_or_new(sock_of(socket)?) {
        if state.told_peer == peer.raw() {
            emit::folded(Family::File);
            return None;
        }
        state.told_peer = peer.raw();
    } else {
        emit::count(Family::File, Counter::MapFull);
    }
    tell_own(peer, FOR_SEND, hook::FENTRY_UNIX_MAY_SEND)
}

/// A peer was connected to.
#[inline(always)]
fn reached(peer: UnixSock<Probed>, place: u32, hook: u16) -> Option<()> {
    if is_candidate(peer) { tell_own(peer, place, hook) } else { None }
}

/// A call to connect has returned, where no trampoline sees it.
#[inline(always)]
pub fn connected(file: File<Probed>) -> Option<()> {
    peer_reached(unix_of(file)?)
}

#[inline(never)]
fn peer_reached(socket: UnixSock<Probed>) -> Option<()> {
    reached(socket.peer()?, FOR_CONNECT, hook::SYS_EXIT)
}

/// The unix socket that a file is.
#[inline(always)]
fn unix_of(file: File<Probed>) -> Option<UnixSock<Probed>> {
    if !file.is_socket()? {
        return None;
    }
    let sock = file.socket()?;
    if sock.family()? != AF_UNIX {
        return None;
    }
    Some(sock.as_unix())
}

/// A descriptor of a task; once more with neither at the end of the walk.
#[unsafe(no_mangle)]
#[unsafe(link_section = "iter/task_file")]
pub extern "C" fn held_unix(ctx: *const OpenFile) -> i32 {
    // SAFETY: the context is valid while the program runs.
    let (task, file) = unsafe { ((*ctx).task, (*ctx).file) };
    if task != 0 && file != 0 {
        let _ = tell_held(Task::from_raw(task), File::from_raw(file));
    }
    0
}

/// The agent is who runs now: neither its budget nor its root directory is meant. What was accepted has a peer that is
/// bound to nothing, so it is no candidate.
#[inline(always)]
fn tell_held(task: Task<Typed>, file: File<Probed>) -> Option<()> {
    let peer = unix_of(file)?.peer()?;
    if current::is_passed_over(task.tgid()?) || !is_candidate(peer) {
        return None;
    }
    let way = Way { how: acquired::HELD, hook: hook::FILE_ITERATOR, scratch: FOR_HELD };
    tell(peer, way, Ring::Credential, || Place::root_of(task), |actor| current::fill_other(actor, task))
}

/// Whether a socket may be a credential source. One of the abstract namespace always may: there are few, and their names
/// have no directories to tell by.
#[inline(always)]
fn is_candidate(socket: UnixSock<Probed>) -> bool {
    match socket.place() {
        Some((_, dentry)) => by_name(dentry).unwrap_or(false),
        None => socket.name().is_some(),
    }
}

#[inline(always)]
fn by_name(dentry: Dentry<Probed>) -> Option<bool> {
    let mut key = RuleName([0; RULE_NAME_BYTES]);
    if flags_of(&mut key, dentry)? & rule_name::FILE != 0 {
        return Some(true);
    }
    for byte in &mut key.0[SOCKET_PREFIX_BYTES..] {
        *byte = 0;
    }
    if flags(&key) & rule_name::PREFIX != 0 {
        return Some(true);
    }
    let mut above = dentry;
    for level in 0..SOCKET_ANCESTORS {
        above = above.parent()?;
        let found = flags_of(&mut key, above)?;
        let wanted =
            if level == 0 { rule_name::DIRECTORY | rule_name::ANCESTOR } else { rule_name::ANCESTOR };
        if found & wanted != 0 {
            return Some(true);
        }
    }
    Some(false)
}

/// Reads a name into the key, and looks it up.
#[inline(always)]
fn flags_of(key: &mut RuleName, dentry: Dentry<Probed>) -> Option<u32> {
    key.0 = [0; RULE_NAME_BYTES];
    let name = dentry.name()?;
    // SAFETY: the buffer has the length that is named.
    let read = unsafe {
        bpf_probe_read_kernel_str(key.0.as_mut_ptr().cast(), RULE_NAME_BYTES as u32, name as *const _)
    };
    Some(if read <= 0 { 0 } else { flags(key) })
}

#[inline(always)]
fn flags(key: &RuleName) -> u32 {
    // SAFETY: the value is copied at once.
    unsafe { maps::SOCKET_NAMES.get(key) }.copied().unwrap_or(0)
}

/// How a peer was reached, and where the record of it is built.
#[derive(Clone, Copy)]
struct Way {
    how: u16,
    hook: u16,
    scratch: u32,
}

/// The running process has reached it now.
#[inline(always)]
fn tell_own(socket: UnixSock<Probed>, scratch: u32, hook: u16) -> Option<()> {
    if Task::<Typed>::current().tgid().is_some_and(current::is_passed_over) {
        return None;
    }
    let way = Way { how: acquired::OPENED, hook, scratch };
    // Handed over by name, it would become a function of its own, and the longest chain of calls would need more of the stack
    // than 5.10 lets it have.
    #[allow(clippy::redundant_closure, reason = "as said")]
    let who = |actor: &mut Actor| current::fill(actor);
    tell(socket, way, budget::ring(Ring::Credential), Place::process_root, who)
}

#[inline(always)]
fn tell(
    socket: UnixSock<Probed>,
    way: Way,
    ring: Ring,
    root: impl FnOnce() -> Place,
    who: impl FnOnce(&mut Actor) -> Option<()>,
) -> Option<()> {
    let ticket = emit::attempt(Family::File, ring)?;
    let Some(scratch) = maps::UNIX_SCRATCH.get_ptr_mut(way.scratch) else {
        ticket.lost(Counter::DroppedScratch);
        return None;
    };
    let scratch = scratch.cast::<u8>();
    // SAFETY: the scratch space is larger than the fixed part and aligned to 8.
    let record = unsafe { &mut *scratch.cast::<FileRecord>() };
    if who(&mut record.actor).is_none() {
        ticket.lost(Counter::DroppedRead);
        return None;
    }
    let Some(end) = fill(record, scratch, socket, root) else {
        ticket.lost(Counter::DroppedRead);
        return None;
    };
    record.how = way.how;
    let length = (end & OFFSET_MASK) as u32;
    record.header = ticket.header(kind::UNIX_CONNECT, way.hook, length);
    // SAFETY: `length` is below the mask, and so below the scratch space's size.
    unsafe { ticket.output(scratch, length) };
    Some(())
}

#[inline(always)]
fn fill(
    record: &mut FileRecord,
    scratch: *mut u8,
    socket: UnixSock<Probed>,
    root: impl FnOnce() -> Place,
) -> Option<usize> {
    let start = size_of::<FileRecord>();
    record.open_flags = 0;
    record.access_mode = 0;
    if let Some((mount, dentry)) = socket.place() {
        record.file = dentry.inode()?.identity()?;
        let written = path::write_from(scratch, start, mount.raw(), dentry.raw(), root());
        record.flags = file_flag::BY_NAME
            | file_flag::PATH_REVERSED
            | if written.truncated { file_flag::PATH_TRUNCATED } else { 0 };
        record.path_length = written.end.wrapping_sub(start) as u16;
        return Some(written.end);
    }
    let (name, length) = socket.name()?;
    record.file = FileIdentity {
        key: agent_common::keys::InodeKey { inode: 0, device: 0, reserved: 0 },
        ctime_seconds: 0,
        ctime_nanoseconds: 0,
        links: 0,
        mode: 0,
        reserved: 0,
    };
    record.flags = file_flag::BY_NAME | file_flag::ABSTRACT;
    // All of the room is copied, whatever the length: a number that the verifier of 6.1 knows. The kernel's own
    // addresses are at most this long, and what lies behind a shorter one is not told.
    // SAFETY: the scratch space is larger.
    let failed = unsafe {
        bpf_probe_read_kernel(scratch.add(start).cast(), UNIX_ADDRESS_BYTES as u32, name as *const _)
    };
    if failed != 0 {
        return None;
    }
    let length = if length as usize > UNIX_ADDRESS_BYTES { UNIX_ADDRESS_BYTES } else { length as usize };
    record.path_length = length as u16;
    Some(start + length)
}
