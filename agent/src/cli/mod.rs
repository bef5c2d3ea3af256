//! The command line: one file a command, and how events are shown.

pub mod collect;
mod fit;
mod line;
pub mod print;
pub mod render;
pub mod summary;
