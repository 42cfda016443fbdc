//! Packages of the daemon, for Debian's kin, Red Hat's and cargo's registry.

pub mod bill;
mod crates;
pub mod deb;
mod licenses;
pub mod registry;
pub mod rpm;
pub mod stage;
