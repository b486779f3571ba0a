//! Simulator and exporter in one process: no cloud account needed.
fn main() {}
