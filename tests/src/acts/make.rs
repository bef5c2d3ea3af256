//! Sockets that are made, and not used.

use std::num::NonZeroU32;
use std::os::fd::OwnedFd;

use clap::{Args, ValueEnum};
use rustix::io::Errno;
use rustix::net::{AddressFamily, Protocol, SocketType, socket};
use serde_json::{Value, json};

use super::{deed, network, print, uring};
use crate::harness::expect::object;
use crate::outcome::{During, Outcome};

/// How it is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Way {
    /// `socket`.
    Call,
    /// io_uring.
    Uring,
    /// `/dev/net/tun`, in a network of its own.
    Tun,
}

#[derive(Args)]
pub(crate) struct MakeArgs {
    /// How.
    #[arg(long, default_value = "call")]
    way: Way,
    /// `AF_*`.
    #[arg(long, default_value_t = 0)]
    family: u16,
    /// `SOCK_*`, flags included.
    #[arg(long = "type", default_value_t = 0)]
    kind: u32,
    /// In host order, for a packet socket too.
    #[arg(long, default_value_t = 0)]
    protocol: u16,
    /// It is none that should be told.
    #[arg(long)]
    innocent: bool,
}

pub(super) fn perform(args: &MakeArgs) -> Outcome {
    if args.way == Way::Tun {
        network::leave()?;
        drop(network::tun()?);
        let target = json!({ "socket_family": "tun" });
        let facts = json!({ "socket_type": null, "socket_protocol": null });
        print(&deed(Some("raw_socket"), target, facts)?)?;
        return Ok(());
    }
    drop(make(args)?);
    let target = json!({ "socket_family": family(args.family) });
    let facts = json!({ "socket_type": kind(args.kind), "socket_protocol": args.protocol });
    let event = (!args.innocent).then_some("raw_socket");
    print(&deed(event, Value::Object(object(target)), facts)?)?;
    Ok(())
}

fn make(args: &MakeArgs) -> Outcome<OwnedFd> {
    let protocol =
        if i32::from(args.family) == libc::AF_PACKET { args.protocol.to_be() } else { args.protocol };
    if args.way == Way::Uring {
        return uring::socket(args.family.into(), args.kind, protocol.into());
    }
    let (family, kind) = (AddressFamily::from_raw(args.family), SocketType::from_raw(args.kind));
    let protocol = NonZeroU32::new(protocol.into()).map(Protocol::from_raw);
    match socket(family, kind, protocol) {
        Err(Errno::AFNOSUPPORT | Errno::PROTONOSUPPORT | Errno::SOCKTNOSUPPORT | Errno::NODEV) => {
            crate::outcome::failed(super::UNSUPPORTED)
        }
        made => made.during("make a socket"),
    }
}

fn family(number: u16) -> &'static str {
    match i32::from(number) {
        libc::AF_INET => "ipv4",
        libc::AF_INET6 => "ipv6",
        libc::AF_PACKET => "packet",
        libc::AF_VSOCK => "vsock",
        libc::AF_XDP => "xdp",
        _ => "another",
    }
}

fn kind(number: u32) -> &'static str {
    match i32::try_from(number & 0xf) {
        Ok(libc::SOCK_STREAM) => "stream",
        Ok(libc::SOCK_DGRAM) => "dgram",
        Ok(libc::SOCK_RAW) => "raw",
        _ => "another",
    }
}
