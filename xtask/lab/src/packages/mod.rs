//! Packages of the daemon: for Debian and Red Hat with their derivatives, and for cargo's registry.

pub mod bill;
mod crates;
pub mod deb;
mod licenses;
pub mod registry;
pub mod rpm;
pub mod stage;
