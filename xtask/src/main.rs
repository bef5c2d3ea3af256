//! Telltale's automation.
fn main() {}
