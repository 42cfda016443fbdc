//! Packages of the daemon, for Debian's kin and Red Hat's.

pub mod bill;
mod crates;
pub mod deb;
mod licenses;
pub mod rpm;
pub mod stage;
