//! Records of the rings.

use std::net::SocketAddr;

use agent::capture::decode;
use agent::capture::testing::{ExecSpec, Stream, actor};
use agent_common::records::outcome;
use proptest::prelude::*;

use super::fuzz;
use super::names::{answers, hellos};

#[test]
fn ring_records() {
    let mut stream = Stream::new(1_000);
    let who = actor(7, 9);
    let remote: SocketAddr = "192.0.2.1:443".parse().unwrap();
    let exec = ExecSpec {
        argv: &[b"curl", b"-H", b"Authorization: x", b"caf\xe9"],
        exe: "/usr/bin/curl",
        cwd: "/home/alice/project",
        cgroup: "/user.slice/user-1000.slice/session-3.scope",
        filename: "./run",
        interpreter: "/usr/bin/python3",
        markers: &["CLAUDECODE=1", "SSH_AUTH_SOCK"],
        flags: 0,
        stdio: [(5, 9, 0o10_600), (0, 0, 0), (14, 1, 0o600)],
        parent: (6, 8),
    };
    let seeds = vec![
        stream.fork(&who, (8, 10)),
        stream.exec(&who, &exec),
        stream.exit(&who, 0x100),
        stream.connect(&who, 1, remote),
        stream.datagram(&who, 1, remote),
        stream.outcome(1, outcome::FAILED, 111, remote),
        stream.established(1, remote),
        stream.dns_answer(&who, "192.0.2.53".parse().unwrap(), &answers()[0]),
        stream.hello_piece(1, 0, &hellos()[0]),
        stream.raw_socket(&who, (17, 3, 3)),
        stream.memory(&who, &actor(12, 13), 1, 0),
        stream.key(&who, 99, (b"user", b"krbtgt/EXAMPLE.COM"), 0),
        stream.file_open(&who, "/etc/shadow", 1, 2),
        stream.unix_connect(&who, "/run/agent.sock"),
    ];
    for seed in &seeds {
        assert!(decode::decode(seed).is_ok(), "{:?}", decode::decode(seed));
    }
    fuzz(seeds, |bytes| {
        let meta = decode::meta(bytes);
        let decoded = decode::decode(bytes);
        prop_assert!(decoded.is_err() || meta.is_ok());
        Ok(())
    });
}
