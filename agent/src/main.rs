//! The thin binary: see [`agent`].
fn main() {}
