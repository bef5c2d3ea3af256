//! All that knows aya, or the running kernel.

pub mod btf;
pub mod hooks;
mod iterate;
pub mod ladder;
pub mod maps;
pub mod offsets;
pub mod probe;
mod ring;
mod rings;
mod selftest;
pub mod sensor;
mod skipped;
