//! Definitions and helpers shared by the programs on both sides of a virtual machine.

pub mod arch;
pub mod cgroup;
pub mod dashboard;
pub mod figure;
pub mod fleet;
pub mod gaps;
pub mod http;
pub mod interrupt;
pub mod job;
pub mod otel;
pub mod report;
pub mod scope;
pub mod search_path;
