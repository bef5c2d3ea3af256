//! Processes: what is known of each, and what of it may leave the host.

pub mod redact;
