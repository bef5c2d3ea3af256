//! Telltale: who did what on this host, and why.
//!
//! The data's way is one line: hooks → ring → [`capture`] → [`process`] → [`attribute`] → [`context`] → [`ship`].

pub mod app;
pub mod attribute;
pub mod capture;
pub mod catalogue;
pub mod cli;
pub mod collect;
pub mod config;
pub mod context;
pub mod control;
pub mod destinations;
mod generations;
pub mod host;
pub mod kernel;
pub mod kube;
pub mod life;
pub mod model;
pub mod names;
pub mod operator;
pub mod pipeline;
pub mod process;
pub mod session;
pub mod ship;
