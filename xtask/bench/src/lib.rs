//! Measurements of socktrace next to other tools, and their output and comparison.

mod budget;
pub mod check;
pub mod document;
#[cfg(feature = "guest")]
pub mod guest;
pub mod recorded;
