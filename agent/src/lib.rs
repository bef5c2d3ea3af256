//! Telltale.
