//! Telltale: who did what on this host, and why.
//!
//! The data's way is one line: hooks → ring → [`capture`] → [`process`] → [`attribute`] → [`context`] → [`ship`].

pub mod model;
pub mod process;
