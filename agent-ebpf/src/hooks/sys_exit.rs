//! Opens, early connect failures and sockets, where the kernel has no trampolines: `tp_btf/sys_exit(regs, ret)`.
//!
//! At the exit the file is in the table and its name was resolved: nothing that the caller can still change is read.
//! Every system call pays for the look at its number, so that comes first. io_uring does not pass here.
//!
//! Each kind of call has a function of its own, never inlined: 6.1 counts the stack of a whole chain of calls, and what one
//! kind needs would be counted for all.

use agent_common::records::{acquired, hook, outcome};
use agent_common::rings::Ring;
use aya_ebpf::macros::btf_tracepoint;
use aya_ebpf::programs::BtfTracePointContext;

use crate::hooks::{
    change, descriptor, key, memory, number, outcome as connect_outcome, raw_socket, refused, unix,
};
use crate::kernel::{self, once};
use crate::kstruct::{Opened, S_IFMT, S_IFREG, Task, Typed, first_argument, is_32_bit, syscall_number};
use crate::{current, verdict};

/// `O_PATH` descriptors give no bytes.
const FMODE_PATH: u32 = 1 << 14;
const IPPROTO_TCP: u16 = 6;
/// Still under way, or nothing was attempted: EAGAIN, EALREADY, EINPROGRESS, EISCONN, EINTR.
const NOT_AN_END: [i64; 5] = [-11, -114, -115, -106, -4];
/// Above every errno that programs see lie the kernel's own, for calls that are restarted.
const FIRST_INTERNAL_ERRNO: i64 = -512;

/// Every system call's end.
#[btf_tracepoint(function = "sys_exit")]
pub fn sys_exit(ctx: BtfTracePointContext) -> i32 {
    let Some(call) = syscall_number(ctx.arg::<u64>(0)) else { return 0 };
    if !number::is_watched(call) {
        return 0;
    }
    let opens = number::opens_path(call) || call == number::OPEN_BY_HANDLE_AT;
    let changes = call == number::FCHMOD || call == number::FCHOWN;
    let registers: u64 = ctx.arg(0);
    // A 32-bit program's numbers are others: what looks like an open is none.
    if is_32_bit(registers) {
        return 0;
    }
    let returned: i64 = ctx.arg(1);
    let registers = kernel::number(registers);
    if opens {
        if returned >= 0 {
            exit_opened(returned as u64);
        } else if refused::is_refusal(returned) && call != number::OPEN_BY_HANDLE_AT {
            exit_refused(registers, call, returned);
        }
    } else if call == number::CONNECT {
        if returned < 0 {
            exit_connect_failed(registers, returned);
        } else {
            exit_connect_succeeded(registers);
        }
    } else if changes {
        if returned == 0
            && let Some(descriptor) = first_argument(registers)
        {
            exit_changed(descriptor, u64::from(call == number::FCHMOD));
        }
    } else if call == number::SOCKET {
        if returned >= 0 {
            exit_socket(registers);
        }
    } else if call == number::IOCTL {
        if returned == 0 {
            exit_ioctl(registers);
        }
    } else if call == number::RECVMSG || call == number::RECVMMSG {
        // Of one message the bytes are returned, of several how many they are.
        let count = if call == number::RECVMSG { 1 } else { returned as u32 };
        if returned >= 0 {
            exit_messages(registers, u64::from(count));
        }
    } else if call == number::PIDFD_GETFD {
        if returned >= 0 {
            exit_taken(returned as u64);
        }
    } else if call == number::KEYCTL {
        exit_keyctl(registers, returned);
    } else {
        exit_memory(registers, call, returned);
    }
    0
}

once! { fn exit_opened(descriptor: u64) = opened(descriptor as u32) }
once! { fn exit_refused(registers: u64, call: u64, returned: i64) = refused::call_refused(registers, call, returned) }
once! { fn exit_connect_failed(registers: u64, returned: i64) = connect_failed(registers, returned) }
once! { fn exit_connect_succeeded(registers: u64) = connect_succeeded(registers) }
once! { fn exit_changed(descriptor: u64, mode: u64) = change::by_descriptor(descriptor as u32, mode != 0) }
once! { fn exit_socket(registers: u64) = raw_socket::socket_returned(registers) }
once! { fn exit_ioctl(registers: u64) = raw_socket::ioctl_succeeded(registers) }
once! { fn exit_messages(registers: u64, count: u64) = descriptor::messages_returned(registers, count as u32) }
once! { fn exit_taken(descriptor: u64) = descriptor::descriptor_returned(descriptor as u32, acquired::TAKEN) }
once! { fn exit_keyctl(registers: u64, returned: i64) = key::call_returned(registers, returned) }
once! { fn exit_memory(registers: u64, call: u64, returned: i64) = memory::call_returned(registers, call, returned) }

#[inline(never)]
fn opened(descriptor: u32) -> Option<()> {
    let task = Task::<Typed>::current();
    let file = task.file(descriptor)?;
    let opened = file.opened()?;
    let Opened { mode, inode, inode_mode, key, mount, dentry } = opened;
    if memory::has_mode_of_memory(inode_mode) && memory::opened(inode, dentry).is_some() {
        return Some(());
    }
    if mode & FMODE_PATH != 0 || inode_mode & S_IFMT != S_IFREG {
        return None;
    }
    let flags = verdict::judge(Some(key), mount, dentry);
    if flags == 0 {
        return None;
    }
    descriptor::opened(file, &opened, flags)
}

/// A connect that did not fail: that of a unix socket may be told.
#[inline(always)]
fn connect_succeeded(registers: u64) -> Option<()> {
    let task = Task::<Typed>::current();
    unix::connected(task.file(crate::kstruct::first_argument(registers)? as u32)?)
}

/// A connect that failed. What already told its end by a change of state is told twice, and joined in userspace.
#[inline(never)]
fn connect_failed(registers: u64, returned: i64) -> Option<()> {
    if returned <= FIRST_INTERNAL_ERRNO || NOT_AN_END.contains(&returned) {
        return None;
    }
    let task = Task::<Typed>::current();
    let file = task.file(crate::kstruct::first_argument(registers)? as u32)?;
    if !file.is_socket()? {
        return None;
    }
    let sock = file.socket()?;
    if sock.protocol()? != IPPROTO_TCP || sock.cookie()? == 0 || current::is_passed_over(task.tgid()?) {
        return None;
    }
    // Where its attempt was told is not known here; whichever is read first waits for the other.
    connect_outcome::tell(
        Ring::Connection,
        sock,
        None,
        hook::SYS_EXIT,
        outcome::FAILED,
        returned.unsigned_abs() as u32,
    )
}
