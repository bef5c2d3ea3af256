//! Unix sockets whose peer is a credential source: known by the peer, however it is reached.

use std::fs;

use super::{Case, shared};
use crate::harness::scene::Scene;
use crate::harness::setting::{Rung, SOCKET_ENTRY, SOCKETS};
use crate::outcome::{During, Outcome};

/// Name, kind, way; each on every file system.
const BOUND: [(&str, &str, &str); 9] = [
    ("stream", "stream", "connect"),
    ("packets", "packets", "connect"),
    ("datagram", "datagram", "connect"),
    ("datagram-connected", "datagram", "send"),
    ("datagram-sent", "datagram", "sendto"),
    ("uring", "stream", "uring"),
    ("symbolic-link", "stream", "link"),
    ("hard-link", "stream", "hard"),
    ("moved", "stream", "moved"),
];

/// Name, kind, way; of the abstract namespace.
const ABSTRACT: [(&str, &str, &str); 4] = [
    ("stream", "stream", "connect"),
    ("packets", "packets", "connect"),
    ("datagram", "datagram", "send"),
    ("datagram-sent", "datagram", "sendto"),
];

/// As the agent names what it does not see.
const BY_URING: &str = "connects to credential sockets by io_uring or by 32-bit programs are not seen";
const NOT_CONNECTED: &str = "datagrams to a credential socket by a socket that is not connected are not seen";
const EACH: &str =
    "on kernels before 5.17, each datagram to a credential socket is told, not the first alone";

/// All of them.
pub(super) fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for (name, kind, way) in BOUND {
        for place in ["ext4", "overlay", "tmpfs"] {
            cases.push(shared(format!("unix-socket/{name}/{place}"), move |scene| {
                let directory = scene.directory(place)?;
                let (sockets, innocent) = (directory.join(SOCKETS), directory.join("innocent"));
                for path in [&sockets, &innocent] {
                    fs::create_dir_all(path).during(path.display())?;
                }
                let (sockets, innocent) = (sockets.to_string_lossy(), innocent.to_string_lossy());
                let where_to = ["--directory", &sockets, "--innocent", &innocent, "--name", "agent"];
                reached(scene, &where_to, kind, way)
            }));
        }
    }
    for (name, kind, way) in ABSTRACT {
        cases.push(shared(format!("unix-socket/abstract-{name}"), move |scene| {
            let socket = format!("{SOCKETS}/{}/{name}", scene.session.agent.pid());
            reached(scene, &["--name", &socket], kind, way)
        }));
    }
    cases.push(shared("unix-socket/innocent", innocent));
    cases
}

fn reached(scene: &mut Scene<'_>, where_to: &[&str], kind: &str, way: &str) -> Outcome {
    let tracepoint = scene.session.rung() == Some(Rung::Tracepoint);
    if way == "uring" {
        scene.unless_named(BY_URING)?;
    } else if way == "sendto" {
        scene.unless_named(NOT_CONNECTED)?;
    }
    let hook = match (tracepoint, kind) {
        (true, _) => "tp_btf/sys_exit",
        (false, "datagram") => "fentry/security_unix_may_send",
        (false, _) => "fentry/security_unix_stream_connect",
    };
    let mut args = [&["local", "--kind", kind, "--way", way], where_to].concat();
    if !tracepoint && scene.is_named(EACH) {
        args.push("--each");
    }
    let expected = scene.act(&args)?;
    scene.expect(expected.into_iter().map(|one| one.seen_by(&[hook]).key("credential", SOCKET_ENTRY)));
    Ok(())
}

/// Sockets that the catalogue does not name are not told.
fn innocent(scene: &mut Scene<'_>) -> Outcome {
    let directory = scene.directory("ext4")?.to_string_lossy().into_owned();
    for kind in ["stream", "datagram"] {
        let name = format!("{kind}.sock");
        scene.act_and_expect(&[
            "local",
            "--untold",
            "--kind",
            kind,
            "--directory",
            &directory,
            "--name",
            &name,
        ])?;
        let name = format!("innocent-{}-{kind}", scene.session.agent.pid());
        scene.act_and_expect(&["local", "--untold", "--kind", kind, "--name", &name])?;
    }
    Ok(())
}
