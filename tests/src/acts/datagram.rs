//! UDP: with and without connect.

use std::io::IoSlice;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;

use clap::{Args, ValueEnum};
use rustix::net::{
    AddressFamily, MMsgHdr, SendAncillaryBuffer, SendFlags, SocketAddrAny, SocketType, connect, send,
    sendmmsg, sendto, socket,
};
use serde_json::{Value, json};

use super::{deed, print, target, v4_mapped};
use crate::outcome::{During, Outcome, ensure};

/// How to send.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum How {
    /// `sendto` to each peer in turn, by one socket.
    Sendto,
    /// `connect` and `send`, a socket for each peer.
    Connected,
    /// `connect` and `send` to each in turn, by one socket.
    Reconnected,
    /// One `sendmmsg` with a message to each.
    Sendmmsg,
    /// `connect` alone, as a resolver does to choose an address: nothing is sent.
    Silent,
}

#[derive(Args)]
pub(crate) struct DatagramArgs {
    /// Peers.
    #[arg(long, required = true)]
    to: Vec<SocketAddr>,
    /// How.
    #[arg(long, default_value = "sendto")]
    how: How,
    /// How many to each.
    #[arg(long, default_value_t = 1)]
    times: u64,
}

pub(super) fn perform(args: &DatagramArgs) -> Outcome {
    match args.how {
        How::Sendto => {
            let Some(first) = args.to.first() else { return Ok(()) };
            let socket = datagram_socket(*first)?;
            for _ in 0..args.times {
                for to in &args.to {
                    sendto(&socket, b"datagram", SendFlags::empty(), to).during(format!("send to {to}"))?;
                }
            }
            for to in &args.to {
                // A mapped address is sent by the IPv4 half of the kernel, where its form is no longer known.
                let hook =
                    if to.ip().to_canonical().is_ipv4() { "cgroup/sendmsg4" } else { "cgroup/sendmsg6" };
                tell(*to, hook, Some(args.times - 1))?;
            }
        }
        How::Connected => {
            for to in &args.to {
                let socket = datagram_socket(*to)?;
                connect(&socket, to).during(format!("connect to {to}"))?;
                for _ in 0..args.times {
                    send(&socket, b"datagram", SendFlags::empty()).during(format!("send to {to}"))?;
                }
                tell(*to, "cgroup_skb/egress", None)?;
            }
        }
        How::Reconnected => {
            let Some(first) = args.to.first() else { return Ok(()) };
            let socket = datagram_socket(*first)?;
            for to in &args.to {
                connect(&socket, to).during(format!("connect to {to}"))?;
                for _ in 0..args.times {
                    send(&socket, b"datagram", SendFlags::empty()).during(format!("send to {to}"))?;
                }
                tell(*to, "cgroup_skb/egress", None)?;
            }
        }
        How::Sendmmsg => {
            let Some(first) = args.to.first() else { return Ok(()) };
            let socket = datagram_socket(*first)?;
            let text = [IoSlice::new(b"datagram")];
            let mut none = Vec::new();
            none.resize_with(args.to.len(), SendAncillaryBuffer::default);
            let peers: Vec<SocketAddrAny> = args.to.iter().map(|to| (*to).into()).collect();
            let peers = peers.iter().zip(&mut none);
            let mut messages: Vec<_> =
                peers.map(|(to, none)| MMsgHdr::new_with_addr(to, &text, none)).collect();
            let sent = sendmmsg(&socket, &mut messages, SendFlags::empty()).during("send to all")?;
            ensure(sent == args.to.len(), || format!("{sent} messages were sent"))?;
            for to in &args.to {
                let hook = if to.is_ipv4() { "cgroup/sendmsg4" } else { "cgroup/sendmsg6" };
                tell(*to, hook, Some(0))?;
            }
        }
        How::Silent => {
            for to in &args.to {
                connect(&datagram_socket(*to)?, to).during(format!("connect to {to}"))?;
                print(&deed(None, Value::Object(target("udp", *to)), json!({}))?)?;
            }
        }
    }
    Ok(())
}

fn datagram_socket(to: SocketAddr) -> Outcome<OwnedFd> {
    let family = if to.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    socket(family, SocketType::DGRAM, None).during("make a socket")
}

fn tell(to: SocketAddr, hook: &str, repeats: Option<u64>) -> Outcome {
    let facts = json!({ "v4_mapped": v4_mapped(to), "hook": hook });
    let mut done = deed(Some("datagram_flow"), Value::Object(target("udp", to)), facts)?;
    done.repeats = repeats;
    print(&done)?;
    Ok(())
}
