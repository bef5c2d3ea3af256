//! What operators write of identities, and how it is read.

pub mod file;
pub mod rules;
