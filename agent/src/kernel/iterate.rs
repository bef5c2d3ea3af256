//! Walks of the kernel side: over the sockets that it remembers, over the descriptors of all processes.
//!
//! aya was looked at: its `Iter::attach` names no map, which the first of them needs. So the two calls are made here.

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};

use aya::Ebpf;
use aya::maps::Map;
use aya::programs::Iter;

/// What is walked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Over {
    /// The sockets that are remembered.
    Sockets,
    /// The descriptors of all processes, for credentials.
    Credentials,
    /// The same, for connections.
    Connections,
    /// The same, for unix sockets that are connected to credential sources.
    CredentialSockets,
}

impl Over {
    const fn program(self) -> &'static str {
        match self {
            Self::Sockets => "traffic_update",
            Self::Credentials => "held",
            Self::Connections => "held_socket",
            Self::CredentialSockets => "held_unix",
        }
    }

    /// The storage whose sockets are walked.
    const fn storage(self) -> Option<&'static str> {
        match self {
            Self::Sockets => Some("SOCKETS"),
            Self::Credentials | Self::Connections | Self::CredentialSockets => None,
        }
    }
}

/// Commands and attach type of `bpf(2)` (`include/uapi/linux/bpf.h`).
const BPF_LINK_CREATE: libc::c_long = 28;
const BPF_ITER_CREATE: libc::c_long = 33;
const BPF_TRACE_ITER: u32 = 28;

/// `bpf_attr` of `BPF_LINK_CREATE`, as far as an iterator needs it.
#[repr(C)]
struct LinkCreate {
    program: u32,
    target: u32,
    attach_type: u32,
    flags: u32,
    iterator: u64,
    iterator_length: u32,
    reserved: u32,
}

/// `bpf_attr` of `BPF_ITER_CREATE`.
#[repr(C)]
struct IterCreate {
    link: u32,
    flags: u32,
}

/// An iterator that can be run again and again. Dropped, it is gone.
#[derive(Debug)]
pub(super) struct Walker {
    over: Over,
    link: OwnedFd,
}

impl Walker {
    /// Ties the loaded program to what it walks.
    ///
    /// # Errors
    /// Where the kernel refuses (before 5.9, or for want of memory or descriptors).
    pub(super) fn attach(ebpf: &Ebpf, over: Over) -> io::Result<Self> {
        let program: &Iter = ebpf
            .program(over.program())
            .and_then(|program| program.try_into().ok())
            .ok_or_else(|| io::Error::other("the object has no iterator"))?;
        let program = program.fd().map_err(io::Error::other)?.as_fd().as_raw_fd();
        let map = match over.storage() {
            None => None,
            Some(name) => match ebpf.map(name) {
                Some(Map::SkStorage(map)) => Some(map.fd().as_fd().as_raw_fd().cast_unsigned()),
                _ => return Err(io::Error::other("the object has no socket storage")),
            },
        };
        let attr = LinkCreate {
            program: program.cast_unsigned(),
            target: 0,
            attach_type: BPF_TRACE_ITER,
            flags: 0,
            iterator: map.as_ref().map_or(0, |map| (&raw const *map) as u64),
            iterator_length: map.as_ref().map_or(0, |map| size_of_val(map) as u32),
            reserved: 0,
        };
        Ok(Self { over, link: call(BPF_LINK_CREATE, &attr)? })
    }

    /// What it walks over.
    pub(super) const fn over(&self) -> Over {
        self.over
    }

    /// One walk; what it tells is in the ring afterwards.
    ///
    /// # Errors
    /// As the kernel gives them.
    pub(super) fn walk(&self) -> io::Result<()> {
        let attr = IterCreate { link: self.link.as_raw_fd().cast_unsigned(), flags: 0 };
        let mut walk = File::from(call(BPF_ITER_CREATE, &attr)?);
        let mut nothing = [0; 64];
        loop {
            // The program writes nothing to the file: the walk is over when it ends. The kernel pauses in a long one.
            match walk.read(&mut nothing) {
                Ok(0) => return Ok(()),
                Ok(_) => {}
                Err(error) if matches!(error.raw_os_error(), Some(libc::EAGAIN | libc::EINTR)) => {}
                Err(error) => return Err(error),
            }
        }
    }
}

fn call<T>(command: libc::c_long, attr: &T) -> io::Result<OwnedFd> {
    // SAFETY: `attr` is laid out as the command asks, and what it points to outlives the call.
    let descriptor = unsafe { libc::syscall(libc::SYS_bpf, command, &raw const *attr, size_of::<T>()) };
    match i32::try_from(descriptor) {
        // SAFETY: the kernel has just made this descriptor for us.
        Ok(descriptor) if descriptor >= 0 => Ok(unsafe { OwnedFd::from_raw_fd(descriptor) }),
        _ => Err(io::Error::last_os_error()),
    }
}
