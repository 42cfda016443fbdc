//! Flags, environment and a file say the same things: `--idle-threshold 60`,
//! `SOCKTRACE_IDLE_THRESHOLD=60`, and `idle-threshold = 60` in the file.
//!
//! A flag wins over the environment, that over the file, that over the default, which for a history is that
//! of the unit (see [`environment::of_unit`]). What a higher one
//! sets also takes away what conflicts with it lower down. All three are made of the definition of
//! the command line, so a new flag is a new variable and a new key.

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
