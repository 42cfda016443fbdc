//! /init of a test guest.
fn main() {}
