//! Being a well-behaved process: signals, log, privileges, service manager, exit codes.

pub(crate) mod exit;
pub(crate) mod log;
pub(crate) mod manager;
pub(crate) mod privileges;
pub(crate) mod reader;
pub(crate) mod signals;
mod system_calls;
