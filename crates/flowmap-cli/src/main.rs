//! The flowmap program.
fn main() {}
