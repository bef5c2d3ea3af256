//! The reference: a world of processes that knows its own whole history.

use proptest::prelude::*;

use crate::model::act::{Act, Actor, Deed, Exec, Exit, Fork, Namespaces};
use crate::model::bytes::RawBytes;
use crate::model::process::{CredentialIds, ExecImage, ProcessKey};
use crate::model::time::BootTime;

/// pids of the world: few, so that each is used again and again.
const PIDS: u32 = 5;
/// Clock tick of the world.
pub(super) const TICK_NS: u64 = 1_000;

/// What a step does; the number picks the process.
#[derive(Clone, Copy, Debug)]
pub(super) enum Step {
    Fork(usize),
    Exec(usize),
    Exit(usize),
    Act(usize),
}

pub(super) fn steps(count: std::ops::Range<usize>) -> impl Strategy<Value = Vec<(Step, u64)>> {
    let step = prop_oneof![
        3 => any::<usize>().prop_map(Step::Fork),
        3 => any::<usize>().prop_map(Step::Exec),
        2 => any::<usize>().prop_map(Step::Exit),
        4 => any::<usize>().prop_map(Step::Act),
    ];
    proptest::collection::vec((step, 1..3_000_u64), count)
}

/// A process of the world.
#[derive(Clone, Debug)]
pub(super) struct Life {
    pub(super) key: ProcessKey,
    /// Index of its maker; none for the first.
    pub(super) maker: Option<usize>,
    /// Its parent as `getppid` has it.
    pub(super) parent: Option<usize>,
    /// Program and when it began, oldest first.
    pub(super) programs: Vec<(u64, u32)>,
    pub(super) ended: Option<u64>,
}

impl Life {
    pub(super) fn program_at(&self, time: u64) -> u32 {
        self.programs.iter().rev().find(|(since, _)| *since <= time).map_or(0, |(_, program)| *program)
    }

    /// Execs up to a time: its first program came by fork.
    pub(super) fn execs_at(&self, time: u64) -> u32 {
        let count = self.programs.iter().filter(|(since, _)| *since <= time).count() as u32;
        count.saturating_sub(1)
    }
}

/// What happened, as the kernel would tell it.
#[derive(Clone, Debug)]
pub(super) enum Told {
    /// A record of process life, and whose.
    Life { act: Act, who: usize },
    /// Any other act: by whom.
    Act { who: usize, time: u64 },
}

#[derive(Clone, Debug, Default)]
pub(super) struct World {
    pub(super) lives: Vec<Life>,
    pub(super) told: Vec<Told>,
    pub(super) now: u64,
    programs: u32,
}

impl World {
    pub(super) fn new() -> Self {
        let key = ProcessKey { pid: 1, start: BootTime::from_ns(1) };
        let init = Life { key, maker: None, parent: None, programs: vec![(1, 0)], ended: None };
        Self { lives: vec![init], now: 1, ..Self::default() }
    }

    pub(super) fn run(&mut self, steps: &[(Step, u64)]) {
        for (step, pause) in steps {
            self.now += pause;
            let alive: Vec<usize> =
                (0..self.lives.len()).filter(|&i| self.lives[i].ended.is_none()).collect();
            let pick = |number: usize| alive[number % alive.len()];
            match *step {
                Step::Fork(number) => self.fork(pick(number)),
                Step::Exec(number) => self.exec(pick(number)),
                Step::Exit(number) => self.exit(pick(number)),
                Step::Act(number) => self.told.push(Told::Act { who: pick(number), time: self.now }),
            }
        }
    }

    pub(super) fn actor(&self, who: usize) -> Actor {
        let key = self.lives[who].key;
        Actor {
            process: key,
            tid: key.pid,
            ids: CredentialIds::default(),
            cgroup_id: 1,
            namespaces: Namespaces::default(),
            comm: RawBytes::default(),
        }
    }

    /// Makers up to the first process: each with its program when it made the one before.
    pub(super) fn lineage(&self, who: usize) -> Vec<(ProcessKey, RawBytes)> {
        let mut lineage = Vec::new();
        let mut at = who;
        while let Some(maker) = self.lives[at].maker {
            let born = self.lives[at].programs[0].0;
            lineage.push((self.lives[maker].key, path(self.lives[maker].program_at(born))));
            at = maker;
        }
        lineage
    }

    fn fork(&mut self, maker: usize) {
        // A pid is free once its tick is over: within one tick a reading of /proc cannot tell two processes apart.
        let now = self.now;
        let taken = |life: &Life| life.ended.is_none_or(|end| end / TICK_NS >= now / TICK_NS);
        let Some(pid) = (2..2 + PIDS).find(|&pid| !self.lives.iter().any(|l| l.key.pid == pid && taken(l)))
        else {
            return;
        };
        let key = ProcessKey { pid, start: BootTime::from_ns(now) };
        let program = self.lives[maker].program_at(now);
        let fork = Fork {
            actor: self.actor(maker),
            child: key,
            parent: self.lives[maker].key,
            namespaced_pid: pid,
            tag: 0,
        };
        self.tell(Deed::Fork(fork), self.lives.len());
        self.lives.push(Life {
            key,
            maker: Some(maker),
            parent: Some(maker),
            programs: vec![(now, program)],
            ended: None,
        });
    }

    fn exec(&mut self, who: usize) {
        if who == 0 {
            return;
        }
        self.programs += 1;
        let program = self.programs;
        let image = ExecImage { exe: path(program), argv: vec![path(program)], ..ExecImage::default() };
        let parent = self.lives[who].parent.map_or(self.lives[0].key, |parent| self.lives[parent].key);
        let actor = self.actor(who);
        let namespaced_pid = actor.process.pid;
        let exec = Exec { actor, parent, namespaced_pid, image, cgroup_path: "/".into() };
        self.tell(Deed::Exec(Box::new(exec)), who);
        self.lives[who].programs.push((self.now, program));
    }

    fn exit(&mut self, who: usize) {
        if who == 0 {
            return;
        }
        let exit = Exit { actor: self.actor(who), wait_status: 0 };
        self.tell(Deed::Exit(exit), who);
        self.lives[who].ended = Some(self.now);
        for life in self.lives.iter_mut().filter(|life| life.parent == Some(who)) {
            life.parent = Some(0);
        }
    }

    fn tell(&mut self, deed: Deed, who: usize) {
        let act = Act { time: BootTime::from_ns(self.now), hook: "test", deed };
        self.told.push(Told::Life { act, who });
    }
}

/// The executable of a program; 0 is what was there at first.
pub(super) fn path(program: u32) -> RawBytes {
    format!("/program/{program}").as_str().into()
}
