//! What socktrace does on a kernel: which program serves each hook, with which facts, and what
//! stays hidden.
//!
//! Pure functions of the kernel's own type information (BTF). The daemon applies them to the
//! running kernel, its tests to small copies of each kernel series' BTF, and xtask to whatever the
//! archive offers.

pub mod btf;
pub mod facts;
pub mod features;
#[cfg(test)]
mod fuzz;
pub mod hooks;
pub mod plan;
pub mod subject;
pub mod variant;
