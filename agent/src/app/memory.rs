//! Memory that the start took, and nothing uses any more.

/// Gives it back to the kernel: to read the kernel's types takes 30 MiB for a moment, and what is kept lies between, so that
/// glibc keeps the rest as well. musl gives back by itself.
pub(super) fn give_back() {
    #[cfg(target_env = "gnu")]
    // SAFETY: it takes no pointers, and locks what it works on.
    unsafe {
        libc::malloc_trim(0);
    }
}
