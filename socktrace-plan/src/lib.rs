//! What socktrace does on a kernel: which program serves each hook, with which facts, and what
//! stays hidden.
//!
//! Pure functions of the kernel's own type information (BTF).

pub mod btf;
mod btf_kind;
pub mod facts;
pub mod hooks;
pub mod plan;
