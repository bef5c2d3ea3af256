//! Processes: start, another program, end.

use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::fs::{self, Permissions};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::ptr;

use super::stopwatch::{Stopwatch, timed};
use crate::outcome::{During, Outcome, ensure};

/// As many variables as a service has; none is a marker.
const ENVIRONMENT: [&CStr; 8] = [
    c"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    c"HOME=/root",
    c"LANG=C.UTF-8",
    c"LOGNAME=root",
    c"USER=root",
    c"SHELL=/bin/sh",
    c"TERM=dumb",
    c"PWD=/",
];
/// As a shell says that it could not run a program.
const NOT_RUN: c_int = 127;
/// A child's stack: it makes one system call.
const STACK_WORDS: usize = 4096;

/// What a child becomes.
pub(in crate::acts) struct Program {
    path: *const c_char,
    arguments: *const *const c_char,
    environment: *const *const c_char,
}

/// Starts processes that make one system call.
pub(in crate::acts) struct Child {
    stack: Vec<u128>,
}

pub(super) fn measure(watch: &mut Stopwatch, directory: &Path) -> Outcome {
    let mut child = Child::new();
    for _ in watch.rounds() {
        let (status, ns) = timed(|| child.run(None));
        ensure(status.during("start a process")? == 0, || "a child that does nothing failed".to_owned())?;
        watch.keep("fork_exit", ns);
    }
    let path = directory.join("exit");
    fs::write(&path, program()).and_then(|()| fs::set_permissions(&path, Permissions::from_mode(0o755)))?;
    let path = CString::new(path.as_os_str().as_bytes())?;
    let pointers = |list: &[&CStr]| {
        list.iter().map(|text| text.as_ptr()).chain([ptr::null()]).collect::<Vec<*const c_char>>()
    };
    let (arguments, environment) = (pointers(&[c"exit", c"--quietly"]), pointers(&ENVIRONMENT));
    let program =
        Program { path: path.as_ptr(), arguments: arguments.as_ptr(), environment: environment.as_ptr() };
    for _ in watch.rounds() {
        let (status, ns) = timed(|| child.run(Some(&program)));
        ensure(status.during("run a program")? == 0, || "a program that does nothing failed".to_owned())?;
        watch.keep("fork_exec_exit", ns);
    }
    Ok(())
}

impl Child {
    /// A stack for them.
    pub(in crate::acts) fn new() -> Self {
        Self { stack: vec![0; STACK_WORDS] }
    }

    /// Starts one as `posix_spawn` does (copying this process's memory would cost a hundred times what is looked for)
    /// and waits for its end; its status as `waitpid` has it.
    #[inline]
    pub(in crate::acts) fn run(&mut self, program: Option<&Program>) -> io::Result<c_int> {
        let flags = libc::CLONE_VM | libc::CLONE_VFORK | libc::SIGCHLD;
        let argument = program.map_or(ptr::null(), ptr::from_ref).cast_mut().cast();
        let mut status = 0;
        // SAFETY: the child has a stack of its own, changes no memory beside, and this process waits until it has ended
        // or has become the other program, so everything that it was given lives as long as it looks at it.
        unsafe {
            let pid = libc::clone(act, self.stack.as_mut_ptr_range().end.cast(), flags, argument);
            if pid < 0 || libc::waitpid(pid, &raw mut status, 0) != pid {
                return Err(io::Error::last_os_error());
            }
        }
        Ok(status)
    }
}

/// What the child does; its exit code.
extern "C" fn act(program: *mut c_void) -> c_int {
    // SAFETY: `child` gives a program that lives, or null.
    let Some(program) = (unsafe { program.cast::<Program>().as_ref() }) else { return 0 };
    // SAFETY: three texts or lists of texts, each ended as it must be.
    unsafe { libc::execve(program.path, program.arguments, program.environment) };
    NOT_RUN
}

/// `mov edi, 0; mov eax, 60 (exit); syscall`.
#[cfg(target_arch = "x86_64")]
const CODE: (u16, &[u8]) = (62, &[0xbf, 0, 0, 0, 0, 0xb8, 60, 0, 0, 0, 0x0f, 0x05]);
/// `mov x0, 0; mov x8, 93 (exit); svc 0`.
#[cfg(target_arch = "aarch64")]
const CODE: (u16, &[u8]) = (183, &[0, 0, 0x80, 0xd2, 0xa8, 0x0b, 0x80, 0xd2, 1, 0, 0, 0xd4]);

/// A static ELF program that ends at once, so that what is timed is the kernel's work alone (elf(5): header, one program
/// header, code). Any shipped program spends a hundred times as many instructions on its own start, and not the same
/// number each time.
pub(crate) fn program() -> Vec<u8> {
    const ADDRESS: u64 = 0x40_0000;
    const HEADERS: u64 = 64 + 56;
    let (machine, code) = CODE;
    let length = HEADERS + code.len() as u64;
    let mut elf = b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0".to_vec();
    let mut put = |bytes: &[u8]| elf.extend_from_slice(bytes);
    // Executable, machine, version; entry, program headers, no section headers.
    [2, machine].iter().for_each(|half| put(&half.to_le_bytes()));
    put(&1_u32.to_le_bytes());
    [ADDRESS + HEADERS, 64, 0].iter().for_each(|long| put(&long.to_le_bytes()));
    put(&0_u32.to_le_bytes());
    [64_u16, 56, 1, 64, 0, 0].iter().for_each(|half| put(&half.to_le_bytes()));
    // Loaded whole, to be read and run.
    [1_u32, 5].iter().for_each(|word| put(&word.to_le_bytes()));
    [0, ADDRESS, ADDRESS, length, length, 0x1000].iter().for_each(|long| put(&long.to_le_bytes()));
    put(code);
    elf
}
