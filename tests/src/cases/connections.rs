//! TCP: every way to connect is one event, with its outcome.

use std::fs;
use std::net::{IpAddr, SocketAddr};

use super::{Case, shared};
use crate::acts::UNSUPPORTED;
use crate::harness::expect::Expected;
use crate::harness::programs;
use crate::harness::scene::Scene;
use crate::harness::servers::{V4, V6, mapped};
use crate::outcome::{During, Outcome, Verdict, skipped};

/// To whom.
#[derive(Clone, Copy)]
enum Peer {
    /// Somebody who answers.
    Answers(IpAddr),
    /// As before, written as v4-mapped.
    AnswersMapped,
    /// Nobody, on a host that says so.
    Refuses(IpAddr),
    /// As before, written as v4-mapped.
    RefusesMapped,
    /// An address to which there is no way: TCP to a multicast group.
    Unreachable(&'static str),
}

const TABLE: [(&str, &str, Peer); 33] = [
    ("v4", "blocking", Peer::Answers(V4)),
    ("v6", "blocking", Peer::Answers(V6)),
    ("v4-mapped", "blocking", Peer::AnswersMapped),
    ("v4-refused", "blocking", Peer::Refuses(V4)),
    ("v6-refused", "blocking", Peer::Refuses(V6)),
    ("v4-mapped-refused", "blocking", Peer::RefusesMapped),
    ("v4-unreachable", "blocking", Peer::Unreachable("224.0.0.1:9")),
    ("v6-unreachable", "blocking", Peer::Unreachable("[ff01::1]:9")),
    ("nonblocking-v4", "nonblocking", Peer::Answers(V4)),
    ("nonblocking-v6", "nonblocking", Peer::Answers(V6)),
    ("nonblocking-refused", "nonblocking", Peer::Refuses(V4)),
    ("nonblocking-unreachable", "nonblocking", Peer::Unreachable("[ff01::1]:9")),
    ("asked-again", "asked", Peer::Answers(V4)),
    ("asked-again-refused", "asked", Peer::Refuses(V6)),
    ("thread", "thread", Peer::Answers(V4)),
    ("fast-open", "fast-open", Peer::Answers(V4)),
    ("fast-open-refused", "fast-open", Peer::Refuses(V6)),
    ("uring-v4", "uring", Peer::Answers(V4)),
    ("uring-v6", "uring", Peer::Answers(V6)),
    ("uring-refused", "uring", Peer::Refuses(V4)),
    ("uring-unreachable", "uring", Peer::Unreachable("[ff01::1]:9")),
    ("sqpoll", "sqpoll", Peer::Answers(V4)),
    ("sqpoll-refused", "sqpoll", Peer::Refuses(V6)),
    ("uring-worker", "worker", Peer::Answers(V4)),
    ("uring-worker-refused", "worker", Peer::Refuses(V6)),
    ("uring-direct", "direct", Peer::Answers(V4)),
    ("uring-direct-v6", "direct", Peer::Answers(V6)),
    ("mptcp", "mptcp", Peer::Answers(V4)),
    ("mptcp-v6", "mptcp", Peer::Answers(V6)),
    ("mptcp-refused", "mptcp", Peer::Refuses(V4)),
    ("32-bit-v4", "compat", Peer::Answers(V4)),
    ("32-bit-v6", "compat", Peer::Answers(V6)),
    ("32-bit-refused", "compat", Peer::Refuses(V4)),
];

/// All of them.
pub(super) fn cases() -> Vec<Case> {
    let rows = TABLE
        .iter()
        .map(|(name, how, peer)| shared(format!("connect/{name}"), move |scene| row(scene, how, *peer)));
    let mut cases: Vec<Case> = rows.collect();
    cases.push(shared("connect/abandoned", abandoned));
    cases.push(shared("connect/many", many));
    cases.push(shared("connect/inherited", inherited));
    cases.push(shared("connect/interrupted", interrupted));
    cases
}

fn row(scene: &mut Scene<'_>, how: &str, peer: Peer) -> Outcome {
    let address = match peer {
        Peer::Answers(ip) => scene.server(ip)?,
        Peer::AnswersMapped => mapped(scene.server(V4)?),
        Peer::Refuses(ip) => scene.refusing(ip)?,
        Peer::RefusesMapped => mapped(scene.refusing(V4)?),
        Peer::Unreachable(address) => address.parse::<SocketAddr>()?,
    };
    let unreachable = matches!(peer, Peer::Unreachable(_));
    if unreachable && how == "uring" {
        scene.unless_named("an attempt made through io_uring that has no route ends as unknown")?;
    }
    let expected = match scene.act(&["connect", "--how", how, "--to", &address.to_string()]) {
        Err(Verdict::Failed(text)) if text.contains(UNSUPPORTED) => return skipped(UNSUPPORTED),
        expected => expected?,
    };
    // A thread that the kernel has for a program is not the program's own.
    let other_thread = matches!(how, "sqpoll" | "worker");
    let expected = expected.into_iter().map(|one| if other_thread { one.without("tid") } else { one });
    scene.expect(expected);
    Ok(())
}

/// An attempt that was given up has an end, but none that a hook tells: the agent does, when it sweeps.
fn abandoned(scene: &mut Scene<'_>) -> Outcome {
    let expected = scene.act(&["connect", "--how", "abandoned"])?;
    scene.expect(expected.into_iter().map(Expected::late));
    Ok(())
}

/// Who names a destination is told, whoever made the socket and whoever closes it.
fn inherited(scene: &mut Scene<'_>) -> Outcome {
    let (first, second) = (scene.server(V4)?.to_string(), scene.server(V6)?.to_string());
    let third = scene.datagrams(V4)?.to_string();
    scene.act_and_expect(&["inherited", "--first", &first, "--second", &second, "--third", &third])
}

/// Sockets that come and go quickly stay apart.
fn many(scene: &mut Scene<'_>) -> Outcome {
    for ip in [V4, V6] {
        let address = scene.server(ip)?.to_string();
        scene.act_and_expect(&["connect", "--times", "50", "--to", &address])?;
    }
    Ok(())
}

/// The kernel does not run a program that it has interrupted: each connection is told nevertheless, once.
///
/// The kernel of a sandbox (6.18 with `nested_pvm`) was seen to run no program at all, nor to count it, in interrupts that
/// came while the sandbox's own first process ran: there, what is missing is no loss of the agent's.
fn interrupted(scene: &mut Scene<'_>) -> Outcome {
    const ROUNDS: u32 = 5;
    if !scene.setting.is_guest() {
        return skipped(
            "the kernel of a host may keep its own processes' interrupts from programs: tried in machines",
        );
    }
    let agent = scene.session.agent.pid();
    if std::thread::available_parallelism().during("count processors")?.get() < 2 {
        return skipped("one processor has nobody to interrupt it for packets");
    }
    let (before, by_interrupt) = (programs::runs_skipped(agent), packets_by_interrupt()?);
    for _ in 0..ROUNDS {
        scene.act_and_expect(&["interrupted", "--times", "100"])?;
        if programs::runs_skipped(agent) > before {
            return Ok(());
        }
    }
    let by_interrupt = packets_by_interrupt()? - by_interrupt;
    skipped(format!("no run of a program was skipped, though {by_interrupt} packets came by interrupt"))
}

/// How often a processor was interrupted for packets that another had steered to it (`received_rps`, the tenth figure of
/// `net/core/net-procfs.c`).
fn packets_by_interrupt() -> Outcome<u64> {
    let text = fs::read_to_string("/proc/net/softnet_stat").during("read /proc/net/softnet_stat")?;
    let of_line = |line: &str| u64::from_str_radix(line.split_whitespace().nth(9)?, 16).ok();
    Ok(text.lines().filter_map(of_line).sum())
}
