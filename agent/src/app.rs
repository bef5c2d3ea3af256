//! The composition root of the running agent: what is needed is made here once, and handed on.

mod attention;
pub mod facts;
mod live;
mod lives;
mod lock;
mod lookups;
mod memory;
mod output;
mod privileges;
mod recording;
mod start;

pub use live::run;
pub use lock::LockError;
pub use start::{StartError, StartOptions};
