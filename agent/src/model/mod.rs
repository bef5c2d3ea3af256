//! Plain data, without IO: what is known of acts, processes and identities.
//!
//! Nothing here reads a clock, spawns or serialises. What leaves the host is defined in [`crate::ship::wire`] alone.

pub mod act;
pub mod bytes;
pub mod canonical;
pub mod container;
pub mod destination;
pub mod event;
pub mod identity;
pub mod image;
pub mod kube;
pub mod name;
pub mod peer;
pub mod process;
pub mod program;
pub mod spiffe;
pub mod time;
pub mod unit;
