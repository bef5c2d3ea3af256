//! The process at the other end of a connection, where it listens on this host: the right one, or nobody.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener};

use super::{Case, own, shared};
use crate::harness::agent::Agent;
use crate::harness::child::Captured;
use crate::harness::event::Event;
use crate::harness::expect::Expected;
use crate::harness::gaps;
use crate::harness::pin_place::PinPlace;
use crate::harness::scene::Scene;
use crate::harness::servers::{V4, V6, mapped};
use crate::harness::setting::Setting;
use crate::outcome::{During, Outcome, ensure, skipped};

/// Name, arguments.
const TABLE: [(&str, &[&str]); 12] = [
    ("v4", &[]),
    ("v6", &["--on", "::1", "--to", "::1"]),
    ("every-v4", &["--on", "0.0.0.0", "--to", "127.0.0.1"]),
    ("every-v4-elsewhere", &["--on", "0.0.0.0", "--to", "127.3.2.1"]),
    ("every-v6", &["--on", "::", "--to", "::1"]),
    ("both-families", &["--on", "::", "--to", "127.0.0.1"]),
    ("mapped", &["--to", "::ffff:127.0.0.1"]),
    ("taken-again", &["--way", "taken-again"]),
    ("other-network", &["--way", "other-network"]),
    ("more-exact", &["--way", "more-exact", "--on", "0.0.0.0"]),
    ("shared", &["--way", "shared"]),
    ("background", &["--way", "background"]),
];

/// Of kernels before 5.17.
const UNSEEN: &str = "who listens on this host is not seen on kernels before 5.17";

/// All of them.
pub(super) fn cases() -> Vec<Case> {
    let rows = TABLE
        .iter()
        .map(|(name, args)| shared(format!("peer/{name}"), move |scene| another_process(scene, args)));
    let mut cases: Vec<Case> = rows.collect();
    cases.push(shared("peer/nobody", nobody));
    cases.push(own("peer/held", held));
    cases
}

/// Another process of this program listens: it has the same identity.
fn another_process(scene: &mut Scene<'_>, args: &[&str]) -> Outcome {
    scene.unless_named(UNSEEN)?;
    let all: Vec<&str> = std::iter::once("peer").chain(args.iter().copied()).collect();
    let same = |one: Expected| {
        let identity = one.fact("identity").cloned();
        one.key("destination_identity", identity)
    };
    let expected: Vec<_> = scene.act(&all)?.into_iter().map(same).collect();
    scene.expect(expected);
    Ok(())
}

/// Where nobody listens, nobody is told.
fn nobody(scene: &mut Scene<'_>) -> Outcome {
    let to = scene.refusing(V4)?.to_string();
    let expected = scene.act(&["connect", "--to", &to])?;
    scene.expect(expected.into_iter().map(|one| {
        one.key("destination_pid", ()).key("destination_identity", ()).key("destination_evidence", ())
    }));
    Ok(())
}

/// Who listened before the agent was started is told; also by the next agent, which goes on with the programs of the first.
fn held(setting: &Setting) -> Outcome {
    if gaps::named(setting, None)?.iter().any(|gap| gap == UNSEEN) {
        return skipped(format!("the agent says: {UNSEEN}"));
    }
    let listen = |ip: IpAddr| TcpListener::bind((ip, 0)).during("listen");
    let every = IpAddr::V6(Ipv6Addr::UNSPECIFIED);
    let listeners = [listen(V4)?, listen(V6)?, listen(every)?, listen(Ipv4Addr::UNSPECIFIED.into())?];
    let place = PinPlace::new(setting, "peers")?;
    for is_last in [false, true] {
        let agent = Agent::start(setting, &place.options())?;
        for (listener, to) in listeners.iter().zip([V4, V6, V6, V4]) {
            let to = SocketAddr::new(to, listener.local_addr()?.port());
            leads_here(setting, &agent, to)?;
            if to.is_ipv4() {
                leads_here(setting, &agent, mapped(to))?;
            }
        }
        if is_last {
            agent.stop(setting)?
        } else {
            agent.hand_over(setting)?
        };
    }
    Ok(())
}

/// A connection of another process leads to this one.
fn leads_here(setting: &Setting, agent: &Agent, to: SocketAddr) -> Outcome {
    let mut command = std::process::Command::new(&setting.me);
    let running = Captured::start(command.args(["act", "connect", "--to", &to.to_string()]))?;
    let pid = running.pid();
    running.finish(setting.limit)?.well()?;
    let its_own =
        |event: &Event| (event.pid() == Some(pid) && event.kind() == "connection").then(|| event.clone());
    let event = agent.events.wait("the connection", 0, setting.limit, its_own)?;
    let (told, me) = (event.number("destination_pid"), u64::from(std::process::id()));
    ensure(told == Some(me), || format!("{told:?} was told to listen, {me} does: {}", event.line))
}
