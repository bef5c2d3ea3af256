//! UDP: the first datagram of a socket to a peer is an event, the next ones are counted.

use std::net::{IpAddr, SocketAddr};

use super::{Case, shared};
use crate::harness::scene::Scene;
use crate::harness::servers::{V4, V6, mapped};
use crate::outcome::{Outcome, skipped};

const TABLE: [(&str, &str, &str, &[IpAddr]); 12] = [
    ("one", "sendto", "1", &[V4]),
    ("one-v6", "sendto", "1", &[V6]),
    ("repeats", "sendto", "4", &[V4]),
    ("repeats-v6", "sendto", "3", &[V6]),
    ("two-peers", "sendto", "3", &[V4, V4]),
    ("connected", "connected", "1", &[V4, V6]),
    ("connected-repeats", "connected", "5", &[V4, V6]),
    ("reconnected", "reconnected", "1", &[V4, V4, V4]),
    ("reconnected-v6", "reconnected", "2", &[V6, V6]),
    ("sendmmsg", "sendmmsg", "1", &[V4, V4, V4]),
    ("sendmmsg-v6", "sendmmsg", "1", &[V6, V6]),
    ("connect-alone", "silent", "1", &[V4, V6]),
];

/// All of them.
pub(super) fn cases() -> Vec<Case> {
    let rows = TABLE.iter().map(|(name, how, times, ips)| {
        shared(format!("datagram/{name}"), move |scene| row(scene, how, times, ips))
    });
    let mut cases: Vec<Case> = rows.collect();
    cases.push(shared("datagram/v4-mapped", |scene| v4_mapped(scene, "sendto")));
    cases.push(shared("datagram/v4-mapped-connected", |scene| v4_mapped(scene, "connected")));
    cases
}

fn row(scene: &mut Scene<'_>, how: &str, times: &str, ips: &[IpAddr]) -> Outcome {
    let addresses = ips.iter().map(|ip| scene.datagrams(*ip)).collect::<Outcome<Vec<_>>>()?;
    send(scene, how, times, &addresses)
}

fn send(scene: &mut Scene<'_>, how: &str, times: &str, addresses: &[SocketAddr]) -> Outcome {
    let mut args = vec!["datagram", "--how", how, "--times", times];
    let texts: Vec<String> = addresses.iter().map(ToString::to_string).collect();
    for text in &texts {
        args.extend(["--to", text]);
    }
    scene.act_and_expect(&args)
}

fn v4_mapped(scene: &mut Scene<'_>, how: &str) -> Outcome {
    if how == "sendto" {
        return skipped("the kernel hands the hook the plain IPv4 address: how it was written is not seen");
    }
    let address = mapped(scene.datagrams(V4)?);
    send(scene, how, "2", &[address])
}
