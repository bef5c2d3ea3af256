//! What the model tests do not ask: counters, redaction, cgroups, exact starts.

use std::sync::Arc;

use super::inventory::{Found, Inventory};
use super::{ProcessCounters, ProcessTable};
use crate::model::act::{Act, Actor, Deed, Exec, Exit, Fork, Namespaces};
use crate::model::bytes::RawBytes;
use crate::model::process::{Cgroup, CredentialIds, ExecImage, Origin, Process, ProcessKey};
use crate::model::time::BootTime;

const TICK_NS: u64 = 10_000_000;

fn key(pid: u32, start: u64) -> ProcessKey {
    ProcessKey { pid, start: BootTime::from_ns(start) }
}

fn actor(process: ProcessKey, cgroup_id: u64) -> Actor {
    let (ids, namespaces) = (CredentialIds::default(), Namespaces::default());
    Actor { process, tid: process.pid, ids, cgroup_id, namespaces, comm: RawBytes::default() }
}

fn act(time: u64, deed: Deed) -> Act {
    Act { time: BootTime::from_ns(time), hook: "test", deed }
}

fn exec(process: ProcessKey, parent: ProcessKey, argv: &[&str], cgroup: (u64, &str)) -> Deed {
    let argv: Vec<RawBytes> = argv.iter().map(|argument| RawBytes::from(*argument)).collect();
    let image = ExecImage { exe: "/bin/x".into(), argv, ..ExecImage::default() };
    let (id, path) = cgroup;
    let actor = actor(process, id);
    Deed::Exec(Box::new(Exec { actor, parent, namespaced_pid: 1, image, cgroup_path: path.into() }))
}

fn fork(maker: ProcessKey, child: ProcessKey) -> Deed {
    Deed::Fork(Fork { actor: actor(maker, 1), child, parent: maker, namespaced_pid: child.pid, tag: 0 })
}

fn seed(key: ProcessKey, parent_pid: u32, exe: &str) -> Found {
    let image = ExecImage { exe: exe.into(), argv: vec!["token=secret".into()], ..ExecImage::default() };
    let process = Process {
        key,
        parent: None,
        namespaced_pid: key.pid,
        image: Arc::new(image),
        ids: CredentialIds::default(),
        cgroup: Arc::default(),
        namespaces: Namespaces::default(),
        origin: Origin::Inventoried,
        since: key.start,
        exec_count: 0,
        role: None,
        login: Default::default(),
    };
    Found { process, parent_pid, read_at: BootTime::from_ns(10 * TICK_NS) }
}

fn hide(argv: &[RawBytes]) -> Vec<RawBytes> {
    argv.iter().map(|a| if a.to_string().contains("secret") { "***".into() } else { a.clone() }).collect()
}

fn table() -> ProcessTable {
    ProcessTable::new(hide, TICK_NS)
}

#[test]
fn nothing_is_kept_before_it_is_redacted() {
    let mut table = table();
    let (p, init) = (key(7, 5), key(1, 1));
    table.observe(act(6, exec(p, init, &["curl", "-H", "token=secret"], (1, "/"))));
    table.seed(Inventory { processes: vec![seed(key(8, 0), 0, "/bin/y")], ..Inventory::default() });
    assert!(!format!("{table:?}").contains("secret"));
    let process = table.process_of(&actor(p, 1), BootTime::from_ns(9));
    assert_eq!(process.image.argv, ["curl".into(), "-H".into(), RawBytes::from("***")]);
}

#[test]
fn a_seeded_process_gets_its_exact_start_and_its_children_see_it() {
    let mut table = table();
    let processes = vec![
        seed(key(1, 0), 0, "/init"),
        seed(key(50, TICK_NS), 1, "/sh"),
        seed(key(60, 2 * TICK_NS), 50, "/vi"),
    ];
    table.seed(Inventory { processes, ..Inventory::default() });
    let vi = key(60, 2 * TICK_NS + 77);
    let process = table.process_of(&actor(vi, 1), BootTime::from_ns(20 * TICK_NS));
    assert_eq!((process.key, process.origin), (vi, Origin::Inventoried));
    assert_eq!(table.parent_of(&process).unwrap().key, key(50, TICK_NS));

    let shell = key(50, TICK_NS + 99);
    table.observe(act(21 * TICK_NS, exec(shell, key(1, 3), &["other"], (1, "/"))));
    let parent = table.parent_of(&process).unwrap();
    assert_eq!((parent.key, parent.image.exe.clone()), (shell, "/sh".into()), "as it was when it was seen");
    assert_eq!(table.parent_of(&parent).unwrap().key, key(1, 3), "exact, from the exec record");
    let counters = table.counters();
    assert_eq!((counters.seeded, counters.upgraded, counters.inferred), (3, 3, 0));
}

#[test]
fn a_start_in_another_tick_is_another_process() {
    let mut table = table();
    table.seed(Inventory { processes: vec![seed(key(50, 3 * TICK_NS), 0, "/old")], ..Inventory::default() });
    let earlier = table.process_of(&actor(key(50, 3 * TICK_NS - 1), 1), BootTime::from_ns(3 * TICK_NS));
    assert_eq!((earlier.origin, table.live()), (Origin::Inferred, 1));
    let later = table.process_of(&actor(key(50, 4 * TICK_NS), 1), BootTime::from_ns(5 * TICK_NS));
    assert_eq!((later.origin, table.live()), (Origin::Inferred, 1));
    let ProcessCounters { upgraded, inferred, exits_missed, .. } = table.counters();
    assert_eq!((upgraded, inferred, exits_missed), (0, 2, 1));
}

#[test]
fn records_win_over_a_reading_of_proc() {
    let mut table = table();
    let p = key(7, TICK_NS + 5);
    table.observe(act(TICK_NS + 6, exec(p, key(1, 1), &["seen"], (1, "/"))));
    table.seed(Inventory { processes: vec![seed(key(7, TICK_NS), 1, "/read")], ..Inventory::default() });
    let process = table.process_of(&actor(p, 1), BootTime::from_ns(20 * TICK_NS));
    assert_eq!(process.image.exe, "/bin/x".into());
    assert_eq!(table.counters().seeded, 0);
}

#[test]
fn a_seeded_child_that_called_exec_unseen_keeps_what_proc_showed() {
    let mut table = table();
    let (shell, child) = (key(50, TICK_NS), key(60, 2 * TICK_NS + 5));
    let processes = vec![seed(shell, 0, "/sh"), seed(key(60, 2 * TICK_NS), 50, "/vi")];
    table.seed(Inventory { processes, ..Inventory::default() });
    // Its fork waited in the ring; its exec was lost.
    table.observe(act(2 * TICK_NS + 6, fork(shell, child)));
    let exe = |table: &mut ProcessTable, ns| {
        table.process_of(&actor(child, 1), BootTime::from_ns(ns)).image.exe.clone()
    };
    assert_eq!(exe(&mut table, 3 * TICK_NS), "/sh".into());
    assert_eq!(exe(&mut table, 11 * TICK_NS), "/vi".into());
}

#[test]
fn records_told_twice_are_counted_and_change_nothing() {
    let mut table = table();
    let (init, p) = (key(1, 1), key(7, 5));
    let told = [
        act(5, fork(init, p)),
        act(6, exec(p, init, &["a"], (1, "/"))),
        act(7, Deed::Exit(Exit { actor: actor(p, 1), wait_status: 0 })),
    ];
    for record in told.iter().chain(&told) {
        assert!(table.observe(record.clone()).is_none());
    }
    assert_eq!((table.counters().duplicates, table.ended()), (3, 1));
    let process = table.process_of(&actor(p, 1), BootTime::from_ns(7));
    assert_eq!((process.exec_count, process.parent), (1, Some(init)));
}

#[test]
fn an_act_in_another_cgroup_gets_that_cgroup() {
    let mut table = table();
    let (init, p, other) = (key(1, 1), key(7, 5), key(8, 6));
    table.observe(act(6, exec(p, init, &["a"], (11, "/a"))));
    table.observe(act(7, exec(other, init, &["b"], (12, "/b"))));
    let process = table.process_of(&actor(p, 11), BootTime::from_ns(8));
    assert_eq!(table.cgroup_of(&actor(p, 11), &process).path, "/a".into());
    assert_eq!(table.cgroup_of(&actor(p, 12), &process).path, "/b".into());
    let unknown = table.cgroup_of(&actor(p, 13), &process);
    assert_eq!((unknown.id, unknown.path.is_empty()), (13, true));
}

#[test]
fn other_acts_are_handed_back() {
    use crate::model::act::{ConnectOutcome, Outcome};
    let outcome =
        ConnectOutcome { cookie: 1, outcome: Outcome::Established, remote: None, local: None, attempt: None };
    assert!(table().observe(act(1, Deed::ConnectOutcome(outcome))).is_some());
}

#[test]
fn an_ended_process_is_dropped_after_its_time_unless_a_descendant_runs() {
    let mut table = table();
    let (init, shell, child, other) = (key(1, 1), key(10, 5), key(11, 6), key(12, 7));
    let exit = |process| Deed::Exit(Exit { actor: actor(process, 1), wait_status: 0 });
    for (time, deed) in [
        (2, exec(init, key(0, 0), &["init"], (1, "/"))),
        (5, fork(init, shell)),
        (6, fork(shell, child)),
        (7, fork(init, other)),
        (8, exit(shell)),
        (9, exit(other)),
    ] {
        table.observe(act(time, deed));
    }
    assert_eq!((table.live(), table.ended()), (2, 2));
    let long_after = 120_000_000_000;
    let (last, process) = (key(13, long_after), table.process_of(&actor(child, 1), BootTime::from_ns(9)));
    table.observe(act(long_after, fork(init, last)));
    table.observe(act(long_after + 1, exit(last)));
    assert_eq!((table.live(), table.ended()), (2, 2), "`other` is gone, `shell` and `last` are kept");
    assert_eq!(table.parent_of(&process).unwrap().key, shell);

    table.observe(act(long_after + 2, exit(child)));
    table.observe(act(2 * long_after, exit(init)));
    assert_eq!((table.live(), table.ended()), (0, 1), "with the descendant, its ancestors go");
    assert_eq!(table.counters().evicted_ended, 0, "their time was over");
}

#[test]
fn a_process_that_is_moved_is_there_from_its_latest_act_on() {
    let mut table = table();
    let (p, init) = (key(7, 5), key(1, 1));
    table.observe(act(6, exec(p, init, &["x"], (1, "/"))));
    let made = |id, path: &str| Deed::CgroupMade {
        cgroup: Cgroup { id, path: path.into() },
        is_beyond_budget: false,
    };
    table.observe(act(7, made(2, "/a.service")));
    table.observe(act(8, made(3, "/b.service")));
    let mut acts = |time: u64, cgroup_id: u64| {
        let (actor, time) = (actor(p, cgroup_id), BootTime::from_ns(time));
        let process = table.process_of(&actor, time);
        let cgroup = table.cgroup_of(&actor, &process);
        let moved = table.moved(&process, &cgroup, time);
        let now = table.current(p).unwrap().process.cgroup.path.to_string();
        (moved.map(|moved| (moved.process.cgroup.path.to_string(), moved.is_latest)), now)
    };
    assert_eq!(acts(9, 1), (None, "/".into()));
    assert_eq!(acts(20, 2), (Some(("/a.service".into(), true)), "/a.service".into()));
    assert_eq!(acts(21, 2), (None, "/a.service".into()));
    assert_eq!(acts(30, 3), (Some(("/b.service".into(), true)), "/b.service".into()));
    // It is told late: there it was, and is no more.
    assert_eq!(acts(25, 2), (Some(("/a.service".into(), false)), "/b.service".into()));
    // What a cgroup is called that was never told is asked for, and told from then on.
    assert_eq!(acts(40, 4), (None, "/b.service".into()));
    assert_eq!(table.take_wanted_cgroups(BootTime::from_ns(41)), [4]);
    assert_eq!(table.counters().unknown_cgroups, 1);
    table.learn_cgroups(&[Cgroup { id: 4, path: "/c.service".into() }]);
    let process = table.process_of(&actor(p, 4), BootTime::from_ns(42));
    let cgroup = table.cgroup_of(&actor(p, 4), &process);
    assert_eq!(cgroup.path, "/c.service".into());
    // Executing something there is no move.
    table.observe(act(50, exec(p, init, &["y"], (4, "/c.service"))));
    assert_eq!(table.current(p).unwrap().process.cgroup.path, "/c.service".into());
}
