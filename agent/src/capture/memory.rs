//! Records of reaches into the memory of other processes.

use agent_common::keys::MemoryKey;
use agent_common::records::{MemoryRecord, memory};

use super::decode::{DecodeError, actor, fixed, key};
use crate::model::act::{Deed, MemoryPair, MemoryUse, MemoryWay};

pub(super) fn memory(bytes: &[u8]) -> Result<Deed, DecodeError> {
    let (record, _) = fixed::<MemoryRecord>("memory", bytes)?;
    Ok(Deed::Memory(Box::new(MemoryUse {
        actor: actor(&record.actor),
        target: actor(&record.target),
        way: way(record.way)?,
        refused: (record.errno != 0).then_some(record.errno),
    })))
}

fn way(number: u32) -> Result<MemoryWay, DecodeError> {
    Ok(match number {
        memory::PTRACE => MemoryWay::Ptrace,
        memory::TRACEME => MemoryWay::Traceme,
        memory::VM_READ => MemoryWay::VmRead,
        memory::VM_WRITE => MemoryWay::VmWrite,
        memory::PROC_MEM => MemoryWay::ProcMem,
        memory::PROC_ENVIRON => MemoryWay::ProcEnviron,
        memory::OTHER => MemoryWay::Other,
        unknown => return Err(DecodeError::Way(unknown)),
    })
}

/// The processes of a fold; `None` where its way is none that is known.
pub fn folded(of: &MemoryKey) -> Option<MemoryPair> {
    Some(MemoryPair {
        actor: key(of.actor_tgid, of.actor_start_boot_ns),
        target: (of.target_tgid != 0).then(|| key(of.target_tgid, of.target_start_boot_ns)),
        way: way(of.way).ok()?,
        refused: (of.errno != 0).then_some(of.errno),
    })
}
