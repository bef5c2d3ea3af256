//! Least privilege: what loading needed is given up once the programs are attached.

use caps::{CapSet, Capability, CapsHashSet};

/// What the running agent still needs: reading credential directories of others, to know files by inode, and before
/// Linux 5.19 changing maps.
const KEPT: [Capability; 2] = [Capability::CAP_BPF, Capability::CAP_DAC_READ_SEARCH];

/// Gives up all capabilities but [`KEPT`], and the way back to them. Threads that are made later inherit it.
///
/// # Errors
/// As the kernel gives them; what was given up before stays given up.
pub(super) fn drop_unneeded() -> Result<(), caps::errors::CapsError> {
    let permitted = caps::read(None, CapSet::Permitted)?;
    let kept: CapsHashSet = KEPT.into_iter().filter(|capability| permitted.contains(capability)).collect();
    caps::clear(None, CapSet::Ambient)?;
    caps::set(None, CapSet::Inheritable, &CapsHashSet::new())?;
    // The bounding set can be shrunk by CAP_SETPCAP alone, so before the rest.
    if caps::has_cap(None, CapSet::Effective, Capability::CAP_SETPCAP)? {
        for capability in caps::all() {
            if !kept.contains(&capability) && caps::has_cap(None, CapSet::Bounding, capability)? {
                caps::drop(None, CapSet::Bounding, capability)?;
            }
        }
    }
    caps::set(None, CapSet::Effective, &kept)?;
    caps::set(None, CapSet::Permitted, &kept)?;
    Ok(())
}
