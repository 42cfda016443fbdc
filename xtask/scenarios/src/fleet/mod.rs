//! A host of a fleet: a guest whose network cards lead to other guests, and whose socktrace sends
//! to a Collector. The machine that runs all guests decides which processes fail.

mod agent;
mod end;
mod network;

pub use agent::main as agent;
pub use end::main as end;

/// Argument by which an agent starts this program as one end of a connection.
pub const END: &str = "fleet-end";
