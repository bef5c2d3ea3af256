//! Telltale's kernel programs without those of the LSM, for kernels that refuse their maps.
//!
//! A hook does: filter → reserve → fill → submit. `maps` declares all maps, `emit` alone writes to the ring, `kstruct`
//! holds every unsafe read of a kernel structure, `current` says who acts, `path` walks dentries and mounts, `verdict`
//! decides whether a file may be a credential.
#![no_std]
#![no_main]
#![feature(core_intrinsics)]
#![allow(internal_features, reason = "atomic additions: see emit::add_one")]

mod budget;
mod current;
mod emit;
mod generation;
mod hooks;
mod kernel;
mod kstruct;
mod maps;
mod object;
mod path;
mod tag;
mod verdict;
