//! The process table against a world that knows its own history: what is expected comes from there.

mod world;

use std::sync::Arc;

use proptest::prelude::*;
use world::{Life, Step, TICK_NS, Told, World, path, steps};

use super::inventory::{Found, Inventory};
use super::{Limits, ProcessTable};
use crate::model::act::{Act, Deed};
use crate::model::bytes::RawBytes;
use crate::model::process::{ExecImage, Origin, Process, ProcessKey};
use crate::model::time::BootTime;

fn at(ns: u64) -> BootTime {
    BootTime::from_ns(ns)
}

/// What /proc would show of a process now.
fn found(life: &Life, parent: Option<&Life>, now: u64) -> Found {
    let key = ProcessKey { pid: life.key.pid, start: at(life.key.start.ns / TICK_NS * TICK_NS) };
    let exe = path(life.program_at(now));
    let image = ExecImage { argv: vec![exe.clone()], exe, ..ExecImage::default() };
    let process = Process {
        key,
        parent: None,
        namespaced_pid: key.pid,
        image: Arc::new(image),
        ids: Default::default(),
        cgroup: Arc::default(),
        namespaces: Default::default(),
        origin: Origin::Inventoried,
        since: key.start,
        exec_count: 0,
        role: None,
        login: Default::default(),
    };
    Found { process, parent_pid: parent.map_or(0, |parent| parent.key.pid), read_at: at(now) }
}

fn inventory(world: &World) -> Inventory {
    let running = world.lives.iter().filter(|life| life.ended.is_none());
    let processes =
        running.map(|life| found(life, life.parent.map(|i| &world.lives[i]), world.now)).collect();
    Inventory { processes, ..Inventory::default() }
}

/// A table that knows the world's first process.
fn table(limits: Limits) -> ProcessTable {
    let mut table = ProcessTable::with_limits(|argv| argv.to_vec(), TICK_NS, limits);
    table.seed(inventory(&World::new()));
    table
}

fn lineage(table: &ProcessTable, process: &Process) -> Vec<(ProcessKey, RawBytes)> {
    let mut lineage = Vec::new();
    let mut next = table.parent_of(process);
    while let Some(parent) = next.filter(|_| lineage.len() < 100) {
        lineage.push((parent.key, parent.image.exe.clone()));
        next = table.parent_of(&parent);
    }
    lineage
}

/// Asks for the process behind an act and compares with the world's own memory.
fn check(world: &World, table: &mut ProcessTable, who: usize, time: u64) -> Result<(), TestCaseError> {
    let process = table.process_of(&world.actor(who), at(time));
    let life = &world.lives[who];
    prop_assert_eq!(process.key, life.key);
    prop_assert_eq!(&process.image.exe, &path(life.program_at(time)), "of {:?} at {}", life, time);
    prop_assert_eq!(process.exec_count, life.execs_at(time));
    // The first process is seeded: its exact start is known once a record names it, its keys agree by tick.
    let tick =
        |(key, exe): (ProcessKey, RawBytes)| (key.pid, if key.pid == 1 { 0 } else { key.start.ns }, exe);
    let told: Vec<_> = lineage(table, &process).into_iter().map(tick).collect();
    let true_lineage: Vec<_> = world.lineage(who).into_iter().map(tick).collect();
    prop_assert_eq!(told, true_lineage, "lineage of {:?}", life);
    Ok(())
}

proptest! {
    #[test]
    fn each_act_gets_its_process_image_and_lineage(
        steps in steps(1..120),
        delays in proptest::collection::vec(0..4_usize, 120)
    ) {
        let mut world = World::new();
        world.run(&steps);
        let mut table = table(Limits::default());
        // Acts are told up to three records late.
        let mut late: Vec<(usize, usize, u64)> = Vec::new();
        for (index, told) in world.told.iter().enumerate() {
            match told {
                Told::Life { act, .. } => prop_assert!(table.observe(act.clone()).is_none()),
                Told::Act { who, time } => late.push((index + delays[index], *who, *time)),
            }
            for (_, who, time) in late.extract_if(.., |(due, ..)| *due <= index) {
                check(&world, &mut table, who, time)?;
            }
        }
        prop_assert_eq!(table.counters().inferred, 0);
        prop_assert_eq!(table.live(), world.lives.iter().filter(|life| life.ended.is_none()).count());
    }

    #[test]
    fn records_of_life_may_come_late_and_twice(
        steps in steps(1..80),
        delays in proptest::collection::vec((0..5_usize, any::<bool>()), 80)
    ) {
        let mut world = World::new();
        world.run(&steps);
        let mut table = table(Limits::default());
        let mut order: Vec<(usize, usize)> = Vec::new();
        for (index, (delay, twice)) in delays.into_iter().enumerate().take(world.told.len()) {
            order.push((index + delay, index));
            if twice {
                order.push((index + delay + 2, index));
            }
        }
        order.sort();
        let mut done = vec![false; world.told.len()];
        for (_, index) in order {
            tell_with_what_it_needs(&world, index, &mut done, &mut table);
        }
        for told in &world.told {
            if let Told::Act { who, time } = told
                && world.lives[*who].programs.len() <= 4
            {
                check(&world, &mut table, *who, *time)?;
            }
        }
        table.check_invariants();
        prop_assert_eq!(table.live(), world.lives.iter().filter(|life| life.ended.is_none()).count());
    }

    #[test]
    fn whatever_is_lost_no_act_gets_another_process(
        steps in steps(1..120),
        lost in proptest::collection::vec(proptest::bool::weighted(0.3), 120)
    ) {
        let mut world = World::new();
        world.run(&steps);
        let mut table = table(Limits::default());
        for (told, lost) in world.told.iter().zip(&lost) {
            let (who, time) = match told {
                Told::Life { .. } if *lost => continue,
                Told::Life { act, .. } => {
                    table.observe(act.clone());
                    continue;
                }
                Told::Act { who, time } => (*who, *time),
            };
            let process = table.process_of(&world.actor(who), at(time));
            prop_assert_eq!(process.key, world.lives[who].key);
            // What it runs is its own or its makers' program, or not known; never a stranger's.
            let mut own = vec![RawBytes::default()];
            let mut ancestors = vec![1];
            let mut next = Some(who);
            while let Some(index) = next {
                own.extend(world.lives[index].programs.iter().map(|(_, program)| path(*program)));
                ancestors.push(world.lives[index].key.pid);
                next = world.lives[index].maker;
            }
            prop_assert!(own.contains(&process.image.exe), "{:?} of {:?}", process.image.exe, world.lives[who]);
            for (key, _) in lineage(&table, &process) {
                prop_assert!(ancestors.contains(&key.pid), "{key:?} is no ancestor of {:?}", world.lives[who]);
            }
        }
    }

    #[test]
    fn seeding_in_the_middle_of_records_comes_out_right(
        before in steps(0..40),
        during in steps(0..40),
        after in steps(0..40),
    ) {
        let mut world = World::new();
        world.run(&before);
        let attached = world.told.len();
        let attached_at = world.now;
        world.run(&during);
        let inventory = inventory(&world);
        let read_at = world.now;
        let waiting = world.told.len();
        world.run(&after);

        let mut table = ProcessTable::new(|argv| argv.to_vec(), TICK_NS);
        table.seed(inventory);
        let acts: Vec<Act> = world.told[attached..waiting].iter().filter_map(|told| match told {
            Told::Life { act, .. } => Some(act.clone()),
            Told::Act { .. } => None,
        }).collect();
        table.foresee(&acts);
        for told in &world.told[attached..] {
            let (who, time) = match told {
                Told::Life { act, .. } => {
                    table.observe(act.clone());
                    continue;
                }
                Told::Act { who, time } => (*who, *time),
            };
            let process = table.process_of(&world.actor(who), at(time));
            prop_assert_eq!(process.key, world.lives[who].key);
            let expected = knowable(&world, who, time, attached_at, read_at);
            prop_assert_eq!(&process.image.exe, &expected, "{:?} at {}", &world.lives[who], time);
        }
        let running = world.lives.iter().filter(|life| life.ended.is_none()).count();
        prop_assert_eq!(table.live(), running);
        table.check_invariants();
        prop_assert_eq!(table.counters().exits_missed, 0);
    }

    #[test]
    fn bounds_hold_whatever_comes(
        steps in steps(1..200),
        live in 1..6_usize, ended in 0..4_usize, ancestors in 0..4_usize,
        lost in proptest::collection::vec(proptest::bool::weighted(0.2), 200)
    ) {
        let mut world = World::new();
        world.run(&steps);
        let mut table = table(Limits { live, ended, ancestors, ended_for_ns: 20_000 });
        for (told, lost) in world.told.iter().zip(&lost) {
            match told {
                Told::Life { act, .. } if !lost => drop(table.observe(act.clone())),
                Told::Life { .. } => {}
                Told::Act { who, time } => {
                    let process = table.process_of(&world.actor(*who), at(*time));
                    prop_assert_eq!(process.key, world.lives[*who].key);
                }
            }
            prop_assert!(table.live() <= live);
            // An exit sweeps; between two, an ending that a later process told adds to what is kept.
            if let Told::Life { act: Act { deed: Deed::Exit(_), .. }, .. } = told && !lost {
                prop_assert!(table.ended() <= ended + ancestors);
            }
            table.check_invariants();
        }
    }
}

/// Tells a record after those that must come before it: all that its maker did before a fork.
fn tell_with_what_it_needs(world: &World, index: usize, done: &mut [bool], table: &mut ProcessTable) {
    let Told::Life { act, .. } = &world.told[index] else { return };
    if let Deed::Fork(fork) = &act.deed {
        for earlier in 0..index {
            let Told::Life { who, .. } = &world.told[earlier] else { continue };
            if world.lives[*who].key == fork.actor.process && !done[earlier] {
                tell_with_what_it_needs(world, earlier, done, table);
            }
        }
    }
    done[index] = true;
    table.observe(act.clone());
}

/// What can be known of a program at a time, if records begin at `attached` and /proc was read at `read_at`: of a
/// process that was there before and called exec in between, nothing before that exec; and nothing of one that was
/// there before and had ended when /proc was read.
fn knowable(world: &World, who: usize, time: u64, attached: u64, read_at: u64) -> RawBytes {
    let life = &world.lives[who];
    let exec = life.programs.iter().skip(1).map(|(since, _)| *since).filter(|since| *since > attached);
    let first_exec = exec.clone().min();
    if exec.filter(|since| *since <= time).max().is_some() {
        return path(life.program_at(time));
    }
    let shown = life.key.start.ns <= read_at && life.ended.is_none_or(|end| end > read_at);
    if shown && time >= read_at {
        return path(life.program_at(time));
    }
    if life.key.start.ns > attached {
        return life.maker.map_or_else(RawBytes::default, |maker| {
            knowable(world, maker, life.programs[0].0, attached, read_at)
        });
    }
    if !shown || first_exec.is_some_and(|exec| exec <= read_at) {
        RawBytes::default()
    } else {
        path(life.program_at(time))
    }
}

#[test]
fn many_processes_on_one_pid_are_told_apart() {
    let mut world = World::new();
    for _ in 0..200 {
        world.run(&[(Step::Fork(0), 2 * TICK_NS), (Step::Exec(1), 1), (Step::Act(1), 1), (Step::Exit(1), 1)]);
    }
    let reuses = world.lives.iter().filter(|life| life.key.pid == 2).count();
    assert_eq!(reuses, 200);
    let mut table = table(Limits::default());
    for told in &world.told {
        match told {
            Told::Life { act, .. } => drop(table.observe(act.clone())),
            Told::Act { who, time } => check(&world, &mut table, *who, *time).unwrap(),
        }
    }
    assert_eq!(table.ended(), 200);
}
