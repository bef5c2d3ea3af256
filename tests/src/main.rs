//! Black-box tests of Telltale on a real kernel.
fn main() {}
