//! Being a well-behaved process: signals, log, exit codes.

pub(crate) mod exit;
pub(crate) mod log;
pub(crate) mod signals;
