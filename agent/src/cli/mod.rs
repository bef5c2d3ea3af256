//! The command line: one file a command, and how events are shown.

mod fit;
mod line;
pub mod render;
