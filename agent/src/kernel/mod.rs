//! All that knows aya, or the running kernel.

pub mod age;
pub mod btf;
mod folds;
mod heritage;
pub mod hooks;
pub(crate) mod impaired;
mod iterate;
pub mod ladder;
mod links;
pub mod maps;
pub mod offsets;
mod pins;
pub mod probe;
mod ring;
pub mod rings;
mod selftest;
pub mod sensor;
mod skipped;
