//! What a system call was given: its number and arguments, from the registers of `sys_exit`.

use super::{Access, OFFSETS, Task, Typed, resolved};

/// Number of the system call that is about to return, from the registers of `sys_exit`.
#[inline(always)]
pub fn syscall_number(registers: u64) -> Option<u64> {
    // SAFETY: the tracepoint's argument is typed.
    #[cfg(bpf_target_arch = "x86_64")]
    return unsafe { Typed::load(registers, offset!(regs_syscall)?) };
    // SAFETY: as above; a negative number is no call.
    #[cfg(not(bpf_target_arch = "x86_64"))]
    return unsafe { Typed::load::<i32>(registers, offset!(regs_syscall)?).map(|number| number as u64) };
}

/// Second argument of that system call.
#[inline(always)]
pub fn second_argument(registers: u64) -> Option<u64> {
    // SAFETY: the tracepoint's argument is typed.
    unsafe { Typed::load(registers, offset!(regs_second_argument)? + ARGUMENT_BYTES) }
}

/// Third argument of that system call.
#[inline(always)]
pub fn third_argument(registers: u64) -> Option<u64> {
    // SAFETY: the tracepoint's argument is typed.
    unsafe { Typed::load(registers, offset!(regs_third_argument)? + 2 * ARGUMENT_BYTES) }
}

/// Fourth argument of that system call.
#[inline(always)]
pub fn fourth_argument(registers: u64) -> Option<u64> {
    // SAFETY: the tracepoint's argument is typed.
    unsafe { Typed::load(registers, offset!(regs_fourth_argument)? + 3 * ARGUMENT_BYTES) }
}

/// Where arm64 keeps arguments in one array, the bytes of each.
#[cfg(bpf_target_arch = "x86_64")]
const ARGUMENT_BYTES: usize = 0;
#[cfg(not(bpf_target_arch = "x86_64"))]
const ARGUMENT_BYTES: usize = 8;

/// Whether that system call has the numbers of a 32-bit program: a 64-bit one may use them too.
#[inline(always)]
pub fn is_32_bit(registers: u64) -> bool {
    /// `TS_COMPAT` of `thread_info.status`.
    #[cfg(bpf_target_arch = "x86_64")]
    const MARK: u64 = 2;
    /// `PSR_MODE32_BIT` of `pstate`.
    #[cfg(not(bpf_target_arch = "x86_64"))]
    const MARK: u64 = 0x10;
    let Some(offset) = offset!(compatibility) else { return false };
    #[cfg(bpf_target_arch = "x86_64")]
    let place = {
        let _ = registers;
        Task::<Typed>::current().raw()
    };
    #[cfg(not(bpf_target_arch = "x86_64"))]
    let place = registers;
    // SAFETY: both places are typed; 32 bits of either hold the mark.
    unsafe { Typed::load::<u32>(place, offset) }.is_some_and(|status| u64::from(status) & MARK != 0)
}

/// First argument of that system call.
#[inline(always)]
pub fn first_argument(registers: u64) -> Option<u64> {
    // SAFETY: the tracepoint's argument is typed.
    unsafe { Typed::load(registers, offset!(regs_first_argument)?) }
}
