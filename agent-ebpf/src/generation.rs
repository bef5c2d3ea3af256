//! Which generation of programs serves: those of an agent that is gone go on until the next agent's have proven themselves,
//! and one write to the map that both share cuts over. So nothing is told by none, nor by both.
//!
//! Each of a program's runs asks once, before it changes anything that outlives the run.

use agent_common::keys::Cutover;

use crate::kstruct::{Task, Typed};
use crate::maps;

/// The number of this object's generation. Set by the loader.
#[unsafe(no_mangle)]
static GENERATION: u32 = 0;

#[inline(always)]
fn own() -> u64 {
    // SAFETY: a reference is valid. Volatile: the loader sets it, the compiler must not know it.
    u64::from(unsafe { core::ptr::read_volatile(&raw const GENERATION) })
}

#[inline(always)]
fn cutover() -> Option<Cutover> {
    let cell = maps::CUTOVER.get_ptr(0)?;
    // SAFETY: the map's memory outlives the program.
    let serving = unsafe { (&raw const (*cell).serving).read_volatile() };
    if serving == own() {
        return None;
    }
    // SAFETY: as above.
    Some(Cutover { serving, candidate_tgid: unsafe { (&raw const (*cell).candidate_tgid).read_volatile() } })
}

/// Whether this generation tells what the running process does, whose number that is.
#[inline(always)]
pub fn serves(tgid: u32) -> bool {
    let Some(cutover) = cutover() else { return true };
    // What the agent starts to prove its programs is its own too.
    let is_candidate = || {
        let parent = Task::<Typed>::current().real_parent().and_then(Task::tgid);
        cutover.is_candidate(tgid) || parent.is_some_and(|parent| cutover.is_candidate(parent))
    };
    cutover.serving_of(is_candidate) == own()
}

/// Whether this generation tells what becomes of something that a process of this number began, whoever runs now.
#[inline(always)]
pub fn serves_what_was_begun_by(tgid: u32) -> bool {
    let Some(cutover) = cutover() else { return true };
    cutover.serving_of(|| cutover.is_candidate(tgid)) == own()
}
