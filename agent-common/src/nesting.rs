//! Numbers on kernels whose programs cannot add and know what was there (before 5.12).
//!
//! There the programs of a CPU interrupt each other strictly from outside in: preemption is off while one runs (up to
//! 5.10 `migrate_disable` is `preempt_disable`; later only a kernel that is not built to be preempted is like that), so
//! only interrupts come in between, and each ends before what it interrupted goes on. So the depth of interruption,
//! which everybody leaves as he found it, tells them apart: those at one depth are never between each other's reads and
//! writes. Each depth counts for itself, and a plain read and write is enough.
//!
//! Between reading the depth and raising it, an interrupt may run at the same depth; it has ended, and the depth is what
//! was read, before the first access to the numbers of that depth. From raising it on, whoever interrupts reads a
//! greater one.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::rings::Ring;

/// Depths that count: a task, interrupted by a soft interrupt, by a hard one, by one that cannot be masked.
pub const LEVELS: u64 = 4;
/// Bit of a record's CPU from which on its depth stands.
pub const LEVEL_SHIFT: u32 = 16;

/// What a CPU keeps: the value of the per-CPU map.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
pub struct Nested {
    /// How many programs on this CPU are just now taking a number.
    pub depth: u64,
    /// Next number of each ring, by depth.
    pub sequence: [[u64; Ring::ALL.len()]; LEVELS as usize],
}

/// A number, and the depth that counts it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Number {
    /// The number.
    pub sequence: u64,
    /// The depth; below [`LEVELS`].
    pub level: u64,
}

/// Access to a CPU's [`Nested`]: each is one read or write, and they stay in order.
pub trait Cells {
    /// `depth`.
    fn depth(&mut self) -> u64;
    /// Changes `depth`.
    fn set_depth(&mut self, depth: u64);
    /// The next number at this depth, which is below [`LEVELS`].
    fn next(&mut self, level: u64) -> u64;
    /// Changes it.
    fn set_next(&mut self, level: u64, next: u64);
}

/// Takes a number. `None` where more is interrupted than there are depths: then none is taken.
#[inline(always)]
pub fn take(cells: &mut impl Cells) -> Option<Number> {
    let level = cells.depth();
    if level >= LEVELS {
        return None;
    }
    cells.set_depth(level + 1);
    let sequence = cells.next(level);
    cells.set_next(level, sequence + 1);
    cells.set_depth(level);
    Some(Number { sequence, level })
}

#[cfg(test)]
mod tests {
    extern crate std;

    use std::collections::BTreeSet;
    use std::vec::Vec;

    use super::*;

    /// A CPU on which interrupts come where `plan` says: at each access the next digit tells how many programs run, one
    /// after the other, before it.
    struct Cpu {
        depth: u64,
        next: [u64; LEVELS as usize],
        plan: Vec<u8>,
        running: u64,
        taken: Vec<Option<Number>>,
    }

    impl Cpu {
        fn run(&mut self) {
            self.running += 1;
            let number = take(self);
            self.running -= 1;
            self.taken.push(number);
        }

        fn interrupts(&mut self, deepest: u64) {
            let programs = if self.running < deepest { self.plan.pop().unwrap_or(0) } else { 0 };
            (0..programs).for_each(|_| self.run());
        }
    }

    impl Cells for Cpu {
        fn depth(&mut self) -> u64 {
            self.interrupts(LEVELS + 1);
            self.depth
        }

        fn set_depth(&mut self, depth: u64) {
            self.interrupts(LEVELS + 1);
            self.depth = depth;
        }

        fn next(&mut self, level: u64) -> u64 {
            self.interrupts(LEVELS + 1);
            self.next[level as usize]
        }

        fn set_next(&mut self, level: u64, next: u64) {
            self.interrupts(LEVELS + 1);
            self.next[level as usize] = next;
        }
    }

    /// Runs programs under one plan of interrupts.
    fn numbers(plan: Vec<u8>, programs: usize) -> Cpu {
        let mut cpu = Cpu { depth: 0, next: [0; LEVELS as usize], plan, running: 0, taken: Vec::new() };
        (0..programs).for_each(|_| cpu.run());
        cpu
    }

    fn check(plan: &[u8]) -> Cpu {
        let cpu = numbers(plan.to_vec(), 3);
        assert_eq!(cpu.depth, 0, "{plan:?}");
        let given: Vec<Number> = cpu.taken.iter().copied().flatten().collect();
        let distinct: BTreeSet<Number> = given.iter().copied().collect();
        assert_eq!(distinct.len(), given.len(), "a number is doubled under {plan:?}: {given:?}");
        // As many as were given are below the next: no number is skipped, so a hole is a loss.
        for (level, next) in (0..).zip(cpu.next) {
            let here = given.iter().filter(|number| number.level == level).count() as u64;
            assert_eq!(here, next, "numbers at depth {level} under {plan:?}: {given:?}");
        }
        cpu
    }

    #[test]
    fn whatever_interrupts_whatever_no_number_is_doubled_or_skipped() {
        // Every plan of nine digits from 0 to 2: up to 27 interrupts, one inside the other.
        for code in 0..3_u32.pow(9) {
            let plan: Vec<u8> = (0..9).map(|digit| (code / 3_u32.pow(digit) % 3) as u8).collect();
            check(&plan);
        }
    }

    #[test]
    fn deeper_than_there_are_depths_no_number_is_taken() {
        // Each program is interrupted once it has raised the depth.
        let plan: Vec<u8> = [1, 0, 0].repeat(LEVELS as usize);
        let cpu = check(&plan);
        assert_eq!(cpu.taken.first(), Some(&None), "{:?}", cpu.taken);
        assert_eq!(cpu.taken.iter().filter(|taken| taken.is_none()).count(), 1, "{:?}", cpu.taken);
        assert_eq!(cpu.next, [3, 1, 1, 1]);
    }

    /// The same without depths: that this is found to double shows that the test above can fail.
    #[test]
    fn without_depths_numbers_are_doubled() {
        struct Flat(Cpu);
        impl Flat {
            fn take(&mut self) -> u64 {
                self.0.interrupts(2);
                let read = self.0.next[0];
                if self.0.plan.pop().unwrap_or(0) > 0 {
                    let between = self.take();
                    self.0.taken.push(Some(Number { sequence: between, level: 0 }));
                }
                self.0.next[0] = read + 1;
                read
            }
        }
        let mut flat = Flat(numbers(Vec::new(), 0));
        flat.0.plan = Vec::from([1]);
        flat.0.running = 2;
        let outer = flat.take();
        assert_eq!(flat.0.taken, [Some(Number { sequence: outer, level: 0 })]);
    }
}
