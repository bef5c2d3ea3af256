//! Keys of the kernel's keyrings.

use super::{Access, Key, OFFSETS, Probed, resolved};

impl<A: Access> Key<A> {
    getters! {
        /// Its serial number.
        serial: key_serial -> u32;
        /// Its owner.
        owner: key_uid -> u32;
        /// Its description, a kernel string.
        description: key_description -> u64;
    }
}

impl Key<Probed> {
    /// The key behind a reference of the kernel, whose lowest bit says whether it is possessed.
    #[inline(always)]
    pub const fn of_reference(reference: u64) -> Self {
        Self::from_raw(reference & !1)
    }

    /// The name of its type, a kernel string.
    #[inline(always)]
    pub fn type_name(self) -> Option<u64> {
        // SAFETY: probed.
        unsafe {
            let kind: u64 = Probed::load(self.0, offset!(key_kind)?)?;
            Probed::load(kind, offset!(key_type_name)?)
        }
    }
}
