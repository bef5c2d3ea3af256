//! All that knows aya, or the running kernel.

pub mod btf;
pub mod offsets;
pub mod probe;
