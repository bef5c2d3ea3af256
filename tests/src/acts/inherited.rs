//! Sockets that one process makes or connects and another uses: the one who names the destination is told.

use std::net::SocketAddr;

use clap::Args;
use rustix::net::{AddressFamily, SendFlags, SocketType, connect, sendto, socket};
use rustix::process::{WaitOptions, waitpid};
use serde_json::{Value, json};

use super::connect::{stream, told};
use super::daemon::fork;
use super::{deed, print, target};
use crate::harness::expect::Deed;
use crate::harness::scene::end_of;
use crate::outcome::{During, Outcome};

#[derive(Args)]
pub(crate) struct InheritedArgs {
    /// Who answers, to whom the parent connects.
    #[arg(long)]
    first: SocketAddr,
    /// Who answers, to whom the child connects by the parent's socket.
    #[arg(long)]
    second: SocketAddr,
    /// Who takes datagrams, from the child by the parent's socket.
    #[arg(long)]
    third: SocketAddr,
}

pub(super) fn perform(args: &InheritedArgs) -> Outcome {
    let connected = stream(args.first, false)?;
    let made = connect(&connected, &args.first);
    let by_parent = told(&connected, args.first, made)?;
    // The child has the last descriptor of it; its end is the parent's all the same.
    let end = end_of(&by_parent).map(|end| Deed { repeats: None, ..end });
    let open = stream(args.second, false)?;
    let family = if args.third.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let datagrams = socket(family, SocketType::DGRAM, None).during("make a socket")?;
    print(&by_parent)?;
    if let Some(child) = fork()? {
        drop(connected);
        waitpid(Some(child), WaitOptions::empty()).during("wait for the child")?;
        return end.map_or(Ok(()), |end| Ok(print(&end)?));
    }
    let made = connect(&open, &args.second);
    print(&told(&open, args.second, made)?)?;
    sendto(&datagrams, b"datagram", SendFlags::empty(), &args.third).during("send")?;
    let facts = json!({ "v4_mapped": Value::Null });
    print(&deed(Some("datagram_flow"), Value::Object(target("udp", args.third)), facts)?)?;
    Ok(())
}
