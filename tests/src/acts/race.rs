//! Acts whose target another thread changes while they are under way; what each came to is asked of its result.

use std::ffi::CString;
use std::fs::{self, File};
use std::net::{Ipv4Addr, SocketAddrV4, TcpListener, TcpStream, UdpSocket};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::thread;
use std::time::Duration;

use clap::{Args, ValueEnum};
use rustix::net::sockopt;
use serde::{Deserialize, Serialize};

use super::{connect::stream, print};
use crate::outcome::{During, Outcome, ensure, failed};

/// What is changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Of {
    /// A link in the path of an open.
    Link,
    /// The path itself, in the caller's memory.
    Path,
    /// The address of a connect, in the caller's memory.
    Connect,
    /// The address of a datagram, in the caller's memory.
    Send,
}

#[derive(Args)]
pub(crate) struct RaceArgs {
    /// What is changed.
    #[arg(long)]
    of: Of,
    /// Where to put files.
    #[arg(long)]
    directory: PathBuf,
    /// Name of a directory whose files are credentials.
    #[arg(long)]
    credentials: String,
    /// How many times.
    #[arg(long)]
    tries: u64,
}

/// How often each of the two targets was reached.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) struct Reached {
    /// Process that did it.
    pub(crate) pid: u32,
    /// The credential, or 127.0.0.1.
    pub(crate) first: u64,
    /// The harmless file, or 127.0.0.2.
    pub(crate) second: u64,
    /// The port, of addresses.
    pub(crate) port: u16,
}

/// Tries at most, for as many as are asked for: until each target was reached once.
const PATIENCE: u64 = 20;

pub(super) fn perform(args: &RaceArgs) -> Outcome {
    let reached = match args.of {
        Of::Link => link(args),
        Of::Path => path(args),
        Of::Connect => connects(args),
        Of::Send => sends(args),
    }?;
    Ok(print(&reached)?)
}

/// Does `act` while another thread does `change`; `act` says whether it came to the first target.
fn race(
    tries: u64,
    change: impl Fn(bool) -> Outcome + Sync,
    mut act: impl FnMut() -> Outcome<bool>,
) -> Outcome<Reached> {
    let over = AtomicBool::new(false);
    let mut reached = Reached { pid: std::process::id(), first: 0, second: 0, port: 0 };
    thread::scope(|scope| {
        let changer = scope.spawn(|| {
            let mut to_first = false;
            while !over.load(Ordering::Relaxed) {
                change(to_first)?;
                to_first = !to_first;
            }
            Ok(())
        });
        let mut done = 0;
        let acted = loop {
            let is_enough = done >= tries && reached.first > 0 && reached.second > 0;
            if is_enough || done >= tries * PATIENCE {
                break Ok(());
            }
            match act() {
                Ok(true) => reached.first += 1,
                Ok(false) => reached.second += 1,
                Err(verdict) => break Err(verdict),
            }
            done += 1;
        };
        over.store(true, Ordering::Relaxed);
        let changed = changer.join().unwrap_or_else(|_| failed("the thread that changes has panicked"));
        acted.and(changed)
    })?;
    ensure(reached.first > 0 && reached.second > 0, || format!("nothing was changed in time: {reached:?}"))?;
    Ok(reached)
}

/// A credential, and a file of no rule whose path differs in one byte.
fn files(args: &RaceArgs) -> Outcome<[PathBuf; 2]> {
    let other = args.credentials.get(..args.credentials.len() - 1).map(|head| format!("{head}_"));
    let names = [args.credentials.clone(), other.unwrap_or_default()];
    let paths = names.map(|name| args.directory.join(name).join("key"));
    for path in &paths {
        fs::create_dir_all(path.parent().unwrap_or(Path::new("/"))).during(path.display())?;
        fs::write(path, "secret\n").during(path.display())?;
    }
    Ok(paths)
}

fn link(args: &RaceArgs) -> Outcome<Reached> {
    let [credential, harmless] = files(args)?;
    let (current, next) = (args.directory.join("current"), args.directory.join("next"));
    let point = |at: &Path| -> Outcome {
        symlink(at, &next).during("make a link")?;
        fs::rename(&next, &current).during("replace a link")
    };
    point(&credential)?;
    let inode = fs::metadata(&credential)?.ino();
    race(
        args.tries,
        |to_first| point(if to_first { &credential } else { &harmless }),
        || Ok(File::open(&current).during("open by a link")?.metadata()?.ino() == inode),
    )
}

fn path(args: &RaceArgs) -> Outcome<Reached> {
    let [credential, harmless] = files(args)?;
    let inode = fs::metadata(&credential)?.ino();
    let bytes = CString::new(credential.as_os_str().as_bytes()).during("make a path")?;
    let differing = credential.as_os_str().as_bytes().iter().zip(harmless.as_os_str().as_bytes());
    let (at, (&first, &second)) = match differing.enumerate().find(|(_, (one, other))| one != other) {
        Some(found) => found,
        None => return failed("the paths are the same"),
    };
    let path: Vec<AtomicU8> = bytes.as_bytes_with_nul().iter().copied().map(AtomicU8::new).collect();
    race(
        args.tries,
        |to_first| {
            let byte = if to_first { first } else { second };
            path.iter().skip(at).take(1).for_each(|place| place.store(byte, Ordering::Relaxed));
            Ok(())
        },
        || {
            // SAFETY: a path with its end, whose bytes others change one by one, which the kernel has to bear.
            let file = unsafe { libc::openat(libc::AT_FDCWD, path.as_ptr().cast(), libc::O_RDONLY) };
            Ok(File::from(descriptor(file).during("open")?).metadata()?.ino() == inode)
        },
    )
}

fn descriptor(result: i32) -> std::io::Result<OwnedFd> {
    if result < 0 {
        return Err(std::io::Error::last_os_error());
    }
    // SAFETY: the kernel has just given us this descriptor.
    Ok(unsafe { OwnedFd::from_raw_fd(result) })
}

/// A `sockaddr_in` of 127.0.0.N whose last byte others change.
#[repr(C, align(4))]
struct Address {
    family: [u8; 2],
    port: [u8; 2],
    head: [u8; 3],
    last: AtomicU8,
    zero: [u8; 8],
}

impl Address {
    const LENGTH: libc::socklen_t = 16;

    fn new(port: u16) -> Self {
        Self {
            family: (libc::AF_INET as u16).to_ne_bytes(),
            port: port.to_be_bytes(),
            head: [127, 0, 0],
            last: AtomicU8::new(1),
            zero: [0; 8],
        }
    }

    fn point(&self, to_first: bool) -> Outcome {
        self.last.store(if to_first { 1 } else { 2 }, Ordering::Relaxed);
        Ok(())
    }

    fn pointer(&self) -> *const libc::sockaddr {
        (&raw const *self).cast()
    }
}

/// Two of one port, on 127.0.0.1 and 127.0.0.2.
fn pair<T>(
    bind: impl Fn(SocketAddrV4) -> std::io::Result<T>,
    port: impl Fn(&T) -> u16,
) -> Outcome<(T, T, u16)> {
    const TRIES: usize = 100;
    for _ in 0..TRIES {
        let one = bind(SocketAddrV4::new(Ipv4Addr::LOCALHOST, 0)).during("bind")?;
        let port = port(&one);
        if let Ok(other) = bind(SocketAddrV4::new(Ipv4Addr::new(127, 0, 0, 2), port)) {
            return Ok((one, other, port));
        }
    }
    failed("no port is free on both addresses")
}

fn connects(args: &RaceArgs) -> Outcome<Reached> {
    let (one, other, port) =
        pair(TcpListener::bind, |listener| listener.local_addr().map_or(0, |at| at.port()))?;
    for listener in [one, other] {
        // Ends with the process.
        thread::spawn(move || listener.incoming().for_each(drop));
    }
    let address = Address::new(port);
    let reached = race(
        args.tries,
        |to_first| address.point(to_first),
        || {
            let socket = stream(SocketAddrV4::new(Ipv4Addr::LOCALHOST, port).into(), false)?;
            // SAFETY: an address of the length that is named, of which others change a byte.
            if unsafe { libc::connect(socket.as_raw_fd(), address.pointer(), Address::LENGTH) } != 0 {
                return Err(std::io::Error::last_os_error()).during("connect");
            }
            // Closed with a reset: ports that linger would run out.
            sockopt::set_socket_linger(&socket, Some(Duration::ZERO)).during("set a socket's linger")?;
            let peer = TcpStream::from(socket).peer_addr().during("ask for the peer")?;
            Ok(peer.ip() == Ipv4Addr::LOCALHOST)
        },
    )?;
    Ok(Reached { port, ..reached })
}

fn sends(args: &RaceArgs) -> Outcome<Reached> {
    let (one, other, port) = pair(UdpSocket::bind, |socket| socket.local_addr().map_or(0, |at| at.port()))?;
    for socket in [&one, &other] {
        socket.set_nonblocking(true).during("not wait")?;
    }
    let address = Address::new(port);
    let reached = race(
        args.tries,
        |to_first| address.point(to_first),
        || {
            let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).during("make a socket")?;
            // SAFETY: as in `connects`.
            let sent = unsafe {
                libc::sendto(
                    socket.as_raw_fd(),
                    b"d".as_ptr().cast(),
                    1,
                    0,
                    address.pointer(),
                    Address::LENGTH,
                )
            };
            if sent != 1 {
                return Err(std::io::Error::last_os_error()).during("send");
            }
            // On loopback it has arrived when the call returns.
            match (one.recv(&mut [0; 1]), other.recv(&mut [0; 1])) {
                (Ok(_), Err(_)) => Ok(true),
                (Err(_), Ok(_)) => Ok(false),
                both => failed(format!("a datagram came to both or to none: {both:?}")),
            }
        },
    )?;
    Ok(Reached { port, ..reached })
}
