//! Builds, runs and tests socktrace.
fn main() {}
