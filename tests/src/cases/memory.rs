//! Memory of other processes: each way to it is one event, whoever's it is, and a look at what gives none is none.

use std::os::unix::process::CommandExt;

use super::{Case, shared};
use crate::acts::UNSUPPORTED;
use crate::harness::expect::Expected;
use crate::harness::scene::Scene;
use crate::harness::setting::Rung;
use crate::outcome::{Outcome, Verdict, skipped};

/// Nobody, who owns nothing.
const USER: u32 = 65_534;

/// As the agent names what it does not see.
const REFUSED_OPENS: &str = "refused opens of another's /proc/PID/mem and environ are not seen";
const OTHER_CALLS: &str =
    "memory of others that is reached by 32-bit programs, or opened through io_uring, is not seen";

const MAY_ACCESS: &str = "fexit/__ptrace_may_access";
const ENVIRON: &str = "fexit/environ_open";
const BY_MODE: &str = "fexit/capable_wrt_inode_uidgid";

/// Way, and its hook with trampolines.
const WAYS: [(&str, &str); 10] = [
    ("attach", MAY_ACCESS),
    ("attach-thread", MAY_ACCESS),
    ("attach-compat", MAY_ACCESS),
    ("seize", MAY_ACCESS),
    ("traceme", "fexit/security_ptrace_traceme"),
    ("vm-read", MAY_ACCESS),
    ("vm-write", MAY_ACCESS),
    ("mem", "fexit/mem_open"),
    ("environ", ENVIRON),
    ("environ-uring", ENVIRON),
];

/// Way, hook with trampolines, errno.
const REFUSED: [(&str, &str, i32); 4] = [
    ("attach", MAY_ACCESS, libc::EPERM),
    ("vm-read", MAY_ACCESS, libc::EPERM),
    ("mem", BY_MODE, libc::EACCES),
    ("environ", BY_MODE, libc::EACCES),
];

/// All of them.
pub(super) fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for (way, hook) in WAYS {
        cases.push(shared(format!("memory/{way}"), move |scene| reached(scene, &["--way", way], hook)));
    }
    for (whose, way) in [("parent", "environ"), ("parent", "mem"), ("sibling", "attach"), ("sibling", "mem")]
    {
        let hook = WAYS.iter().find(|(name, _)| *name == way).map_or("", |(_, hook)| hook);
        cases.push(shared(format!("memory/{way}-of-{whose}"), move |scene| {
            reached(scene, &["--way", way, "--whose", whose], hook)
        }));
    }
    for (way, hook, errno) in REFUSED {
        cases.push(shared(format!("memory/{way}-refused"), move |scene| refused(scene, way, hook, errno)));
    }
    cases.push(shared("memory/again", |scene| {
        reached(scene, &["--way", "vm-read", "--times", "5"], MAY_ACCESS)
    }));
    cases.push(shared("memory/environ-again", |scene| {
        reached(scene, &["--way", "environ", "--times", "3"], ENVIRON)
    }));
    cases.push(shared("memory/innocent", innocent));
    cases
}

fn reached(scene: &mut Scene<'_>, args: &[&str], hook: &str) -> Outcome {
    if args.iter().any(|arg| matches!(*arg, "attach-compat" | "environ-uring")) {
        scene.unless_named(OTHER_CALLS)?;
    }
    let all: Vec<&str> = std::iter::once("reach").chain(args.iter().copied()).collect();
    let expected = match scene.act(&all) {
        Err(Verdict::Failed(text)) if text.contains(UNSUPPORTED) => return skipped(UNSUPPORTED),
        expected => expected?,
    };
    let hook = if scene.session.rung() == Some(Rung::Tracepoint) { "tp_btf/sys_exit" } else { hook };
    // The harness may run from elsewhere.
    // What io_uring hands on is opened by a thread of its own.
    let by_worker = args.contains(&"environ-uring");
    let expected = expected.into_iter().map(|one| if by_worker { one.without("tid") } else { one });
    let same = |one: Expected| if args.contains(&"parent") { one } else { one.key("same_identity", true) };
    scene.expect(expected.map(|one| same(one.seen_by(&[hook]))));
    Ok(())
}

/// Somebody else is kept out of the harness's memory.
fn refused(scene: &mut Scene<'_>, way: &str, hook: &str, errno: i32) -> Outcome {
    if matches!(way, "mem" | "environ") {
        scene.unless_named(REFUSED_OPENS)?;
    }
    let errno = errno.to_string();
    let mut command = scene.actor(&["reach", "--way", way, "--whose", "parent", "--refused", &errno]);
    let expected = scene.perform(command.uid(USER).gid(USER).current_dir("/"))?;
    let hook = if scene.session.rung() == Some(Rung::Tracepoint) { "tp_btf/sys_exit" } else { hook };
    scene.expect(expected.into_iter().map(|one| one.seen_by(&[hook]).key("same_identity", false)));
    Ok(())
}

/// One's own memory, and what `ps` reads of others.
fn innocent(scene: &mut Scene<'_>) -> Outcome {
    for way in ["environ", "mem", "vm-read"] {
        scene.act_and_expect(&["reach", "--way", way, "--whose", "own"])?;
    }
    for whose in ["child", "parent"] {
        scene.act_and_expect(&["reach", "--way", "harmless", "--whose", whose])?;
    }
    Ok(())
}
