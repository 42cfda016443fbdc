//! Measures socktrace beside other tools, and shows and compares what was measured.

mod budget;
pub mod check;
pub mod document;
#[cfg(feature = "guest")]
pub mod guest;
pub mod recorded;
