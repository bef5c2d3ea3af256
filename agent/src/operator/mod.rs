//! What operators write of identities, and how it is read.

pub mod entries;
pub mod file;
pub mod rules;
