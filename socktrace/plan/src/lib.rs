//! Plan for tracing a kernel: the program that serves each hook, the facts it needs, and what stays
//! hidden.
//!
//! The crate has only pure functions of the kernel's own type information (BTF). The daemon applies
//! them to the running kernel, its tests to small copies of each kernel series' BTF, and xtask to
//! the kernels in the archive.

pub mod btf;
pub mod facts;
pub mod features;
#[cfg(test)]
mod fuzz;
pub mod hooks;
pub mod plan;
pub mod subject;
pub mod variant;
