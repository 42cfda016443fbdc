//! What a failed socket means: from the kernel's signature to errno, cause and advice.
//!
//! Plain data in, plain data out; knows nothing of the kernel's loading, of output or metrics.

mod cause;
mod diagnose;
mod errno;
mod finding;
mod sockopt;
mod timer;

pub(crate) use cause::Cause;
pub(crate) use diagnose::diagnose;
pub(crate) use errno::Errno;
pub(crate) use finding::{Call, Diagnosis, Direction, Finding, Severity};
pub(crate) use sockopt::{level_name, option_name};
pub(crate) use timer::Timer;
