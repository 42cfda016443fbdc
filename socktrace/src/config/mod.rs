//! Flags, environment and a file offer the same settings: `--idle-threshold 60`,
//! `SOCKTRACE_IDLE_THRESHOLD=60`, and `idle-threshold = 60` in the file.
//!
//! A flag overrides the environment, which overrides the file, which overrides the default; for a
//! history the default is that of the unit (see [`environment::of_unit`]). A setting also removes
//! settings of lower levels that conflict with it. All three are derived from the definition of the
//! command line, so that a new flag is also a new variable and a new key.

mod environment;
mod file;
#[cfg(test)]
mod fuzz;
mod history_file;
mod keys;
mod print;
mod resolve;
mod setting;
mod template;

pub use template::template;
pub(crate) use {
    history_file::history_file,
    print::print,
    resolve::{Error, Resolved},
};
