//! Why: the reasons of an act that can be known.
//!
//! Lineage: the makers of a process, from the one that forked it up to the root of its session, each with the image
//! it ran when it made the next. It does not follow `getppid`: a process whose parent ended keeps its lineage, and a
//! reused pid does not enter it.

use crate::model::event::Why;
use crate::model::process::Process;
use crate::process::ProcessTable;

/// Ancestors told at most. Build systems and shells nest to 20; a chain of forks may be as long as a user likes.
pub const LINEAGE_DEPTH: usize = 32;

/// pid of init, and of the kernel thread that makes all others.
const ROOTS: [u32; 2] = [1, 2];

/// Why `process` acts, as far as the table knows.
///
/// The lineage ends with pid 1, with the kernel's own thread, or with the first ancestor of another login or audit
/// session: that one is told too, for it started the session (`sshd` for a shell). It is cut where an ancestor is not
/// known any more, and after [`LINEAGE_DEPTH`].
pub fn why(table: &ProcessTable, process: &Process) -> Why {
    let mut why = Why::default();
    if ROOTS.contains(&process.key.pid) {
        return why;
    }
    let session = |process: &Process| (process.ids.login_uid, process.ids.session_id);
    let mut next = table.parent_of(process);
    loop {
        let Some(ancestor) = next else {
            why.lineage_truncated = true;
            return why;
        };
        let circle = ancestor.key == process.key || why.lineage.iter().any(|known| known.key == ancestor.key);
        if circle || why.lineage.len() >= LINEAGE_DEPTH {
            why.lineage_truncated = true;
            return why;
        }
        let root = ROOTS.contains(&ancestor.key.pid) || session(&ancestor) != session(process);
        next = if root { None } else { table.parent_of(&ancestor) };
        why.lineage.push(ancestor);
        if root {
            return why;
        }
    }
}

#[cfg(test)]
mod tests;
