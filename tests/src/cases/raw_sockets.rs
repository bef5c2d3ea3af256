//! Sockets whose destinations no hook sees are told when they are made, and no others.

use super::{Case, shared};
use crate::acts::UNSUPPORTED;
use crate::harness::scene::Scene;
use crate::harness::setting::Rung;
use crate::outcome::{Outcome, Verdict, skipped};

/// Name, way, family, type, protocol.
const TABLE: [(&str, &str, i32, i32, i32); 10] = [
    ("v4", "call", libc::AF_INET, libc::SOCK_RAW, 253),
    ("v4-header", "call", libc::AF_INET, libc::SOCK_RAW | libc::SOCK_CLOEXEC, libc::IPPROTO_RAW),
    ("v6", "call", libc::AF_INET6, libc::SOCK_RAW | libc::SOCK_NONBLOCK, libc::IPPROTO_ICMPV6),
    ("v4-uring", "uring", libc::AF_INET, libc::SOCK_RAW, libc::IPPROTO_ICMP),
    ("packet", "call", libc::AF_PACKET, libc::SOCK_RAW, libc::ETH_P_ALL),
    ("packet-ip", "call", libc::AF_PACKET, libc::SOCK_DGRAM, libc::ETH_P_IP),
    ("packet-uring", "uring", libc::AF_PACKET, libc::SOCK_RAW, libc::ETH_P_IPV6),
    ("vsock", "call", libc::AF_VSOCK, libc::SOCK_STREAM, 0),
    ("xdp", "call", libc::AF_XDP, libc::SOCK_RAW, 0),
    ("sctp", "call", libc::AF_INET, libc::SOCK_STREAM, libc::IPPROTO_SCTP),
];

/// Name, family, type.
const INNOCENT: [(&str, i32, i32); 6] = [
    ("tcp", libc::AF_INET, libc::SOCK_STREAM),
    ("tcp-v6", libc::AF_INET6, libc::SOCK_STREAM),
    ("udp", libc::AF_INET, libc::SOCK_DGRAM),
    ("udp-v6", libc::AF_INET6, libc::SOCK_DGRAM),
    ("unix", libc::AF_UNIX, libc::SOCK_STREAM),
    ("netlink", libc::AF_NETLINK, libc::SOCK_RAW),
];

/// As the agent names it.
const UNSEEN: &str =
    "sockets of other families than IP, and TUN, are not seen where io_uring or a 32-bit program makes them";

/// All of them.
pub(super) fn cases() -> Vec<Case> {
    let rows = TABLE.iter().map(|(name, way, family, kind, protocol)| {
        let args = ["--way", way, "--family", &family.to_string(), "--type", &kind.to_string(), "--protocol"];
        let args = [args.map(str::to_owned).to_vec(), vec![protocol.to_string()]].concat();
        let (way, family) = (*way, *family);
        shared(format!("raw-socket/{name}"), move |scene| made(scene, &args, way, family))
    });
    let mut cases: Vec<Case> = rows.collect();
    cases.push(shared("raw-socket/tun", |scene| made(scene, &["--way".into(), "tun".into()], "tun", 0)));
    cases.extend(INNOCENT.iter().map(|(name, family, kind)| {
        let (family, kind) = (family.to_string(), kind.to_string());
        shared(format!("raw-socket/not-{name}"), move |scene| {
            scene.act_and_expect(&["make", "--innocent", "--family", &family, "--type", &kind])
        })
    }));
    cases
}

fn made(scene: &mut Scene<'_>, args: &[String], way: &str, family: i32) -> Outcome {
    let ip = matches!(family, libc::AF_INET | libc::AF_INET6);
    let tracepoint = scene.session.rung() == Some(Rung::Tracepoint);
    let hook = match (tracepoint, ip, way) {
        (true, true, _) => "cgroup/sock_create",
        (true, false, _) => "tp_btf/sys_exit",
        (false, _, "tun") => "fentry/security_tun_dev_attach",
        (false, ..) => "fentry/security_socket_post_create",
    };
    if tracepoint && !ip && way == "uring" {
        scene.unless_named(UNSEEN)?;
    }
    let all: Vec<&str> = std::iter::once("make").chain(args.iter().map(String::as_str)).collect();
    let expected = match scene.act(&all) {
        Err(Verdict::Failed(text)) if text.contains(UNSUPPORTED) => return skipped(UNSUPPORTED),
        expected => expected?,
    };
    scene.expect(expected.into_iter().map(|one| one.seen_by(&[hook])));
    Ok(())
}
