//! Stub: filled by its own change.
fn main() {}
