//! Ring bytes → acts, and the account of what was lost on the way.
//!
//! [`decode`] reads one record, [`sequence`] follows each CPU's numbers, [`join`] brings a TCP attempt and its outcome
//! together, [`ledger`] holds every figure of RELIABILITY §1. [`record`] keeps the raw stream in a file, [`replay`]
//! reads it back.

mod change;
mod cluster;
pub mod decode;
mod exec;
pub mod frame;
pub mod inventory;
pub mod join;
mod key;
pub mod ledger;
pub mod live;
pub mod memory;
pub mod merge;
mod peer;
pub(crate) mod recent;
pub mod record;
mod refused;
pub mod replay;
mod sections;
pub mod sequence;
pub mod tally;
pub mod testing;
