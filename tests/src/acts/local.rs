//! Unix sockets: a peer of this program's own, bound somewhere, and reached in some way.

use std::fs;
use std::io::{self, Read};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use rustix::fs::{Mode, OFlags};
use rustix::net::{
    AddressFamily, SendFlags, SocketAddrUnix, SocketType, bind, connect, listen, send, sendto, socket,
};
use serde_json::{Value, json};

use super::{deed, print, uring};
use crate::outcome::{During, Outcome};

/// What the sockets are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Kind {
    /// `SOCK_STREAM`.
    Stream,
    /// `SOCK_SEQPACKET`.
    Packets,
    /// `SOCK_DGRAM`.
    Datagram,
}

/// How the peer is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Way {
    /// `connect`.
    Connect,
    /// `connect` by io_uring.
    Uring,
    /// `connect`, and `send` more than once.
    Send,
    /// `sendto` more than once, without `connect`.
    Sendto,
    /// `connect` by a symbolic link of another name.
    Link,
    /// `connect` by a hard link of another name.
    Hard,
    /// `connect` after the socket was bound elsewhere, and then moved.
    Moved,
}

#[derive(Args)]
pub(crate) struct LocalArgs {
    /// Directory to bind in.
    #[arg(long)]
    directory: Option<PathBuf>,
    /// Another directory, where names mean nothing.
    #[arg(long)]
    innocent: Option<PathBuf>,
    /// Name to bind to, of the abstract namespace where there is no directory.
    #[arg(long)]
    name: String,
    /// What they are.
    #[arg(long, default_value = "stream")]
    kind: Kind,
    /// How it is reached.
    #[arg(long, default_value = "connect")]
    way: Way,
    /// It is none that should be told.
    #[arg(long)]
    untold: bool,
    /// Each datagram is told, and not the first alone.
    #[arg(long)]
    each: bool,
    /// Was connected before it could be told, and stays so until standard input ends.
    #[arg(long)]
    hold: bool,
}

/// Datagrams that are sent.
const SENT: usize = 3;

impl LocalArgs {
    /// How often it is told.
    fn times(&self) -> usize {
        match (self.each, self.way) {
            // The kernel asks at the `connect` too.
            (true, Way::Send) => 1 + SENT,
            (true, Way::Sendto) => SENT,
            _ => 1,
        }
    }
}

pub(super) fn perform(args: &LocalArgs) -> Outcome {
    let kind = match args.kind {
        Kind::Stream => SocketType::STREAM,
        Kind::Packets => SocketType::SEQPACKET,
        Kind::Datagram => SocketType::DGRAM,
    };
    let peer = socket(AddressFamily::UNIX, kind, None).during("make a socket")?;
    let ours = socket(AddressFamily::UNIX, kind, None).during("make a socket")?;
    let Some(directory) = &args.directory else {
        let address = SocketAddrUnix::new_abstract_name(args.name.as_bytes())?;
        bind(&peer, &address).during("bind")?;
        reach(&peer, &ours, &address, args)?;
        let facts = json!({ "device": null, "inode": null, "file_links": null, "file_mode": null });
        return tell(&format!("@{}", args.name), args, facts);
    };
    // Paths of sockets are short: by a descriptor, the directory may be anywhere.
    let here = open(directory)?;
    let at = |directory: &OwnedFd, name: &str| {
        SocketAddrUnix::new(format!("/proc/self/fd/{}/{name}", directory.as_raw_fd()))
    };
    let bound = directory.join(&args.name);
    let innocent = args.innocent.as_ref().unwrap_or(directory);
    let there = open(innocent)?;
    if args.way == Way::Moved {
        bind(&peer, &at(&there, "unsaid")?).during("bind")?;
        fs::rename(innocent.join("unsaid"), &bound).during("move the socket")?;
    } else {
        bind(&peer, &at(&here, &args.name)?).during("bind")?;
    }
    let address = match args.way {
        Way::Link => {
            symlink(&bound, innocent.join("link")).during("link to the socket")?;
            at(&there, "link")?
        }
        Way::Hard => {
            fs::hard_link(&bound, innocent.join("hard")).during("link the socket")?;
            at(&there, "hard")?
        }
        _ => at(&here, &args.name)?,
    };
    reach(&peer, &ours, &address, args)?;
    let data = rustix::fs::stat(&bound).during(bound.display())?;
    let facts = json!({
        "device": format!("{}:{}", rustix::fs::major(data.st_dev), rustix::fs::minor(data.st_dev)),
        "inode": data.st_ino, "file_links": data.st_nlink, "file_mode": format!("{:06o}", data.st_mode),
    });
    tell(&bound.to_string_lossy(), args, facts)
}

fn open(directory: &Path) -> Outcome<OwnedFd> {
    let flags = OFlags::PATH | OFlags::DIRECTORY;
    rustix::fs::open(directory, flags, Mode::empty()).during(directory.display())
}

fn reach(peer: &OwnedFd, ours: &OwnedFd, address: &SocketAddrUnix, args: &LocalArgs) -> Outcome {
    if args.kind != Kind::Datagram {
        listen(peer, 4).during("listen")?;
    }
    match args.way {
        Way::Sendto => {
            for _ in 0..SENT {
                sendto(ours, b"datagram", SendFlags::empty(), address).during("send")?;
            }
        }
        Way::Uring => match uring::connect_local(ours, address)? {
            Ok(()) => {}
            Err(errno) => return Err(io::Error::from(errno)).during("connect by io_uring"),
        },
        way => {
            connect(ours, address).during("connect")?;
            for _ in 0..if way == Way::Send { SENT } else { 0 } {
                send(ours, b"datagram", SendFlags::empty()).during("send")?;
            }
        }
    }
    Ok(())
}

fn tell(path: &str, args: &LocalArgs, facts: Value) -> Outcome {
    let mut told = deed((!args.untold).then_some("credential_access"), json!({ "path": path }), facts)?;
    let how = if args.hold { "held" } else { "connect" };
    let more = json!({ "access": "read_write", "truncate": false, "how": how });
    told.facts.extend(crate::harness::expect::object(more));
    (0..args.times()).try_for_each(|_| print(&told)).during("tell")?;
    if args.hold {
        io::stdin().read_to_end(&mut Vec::new())?;
    }
    Ok(())
}
