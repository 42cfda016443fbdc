//! Process environment: signals, log, sandbox, service manager, exit codes.

pub(crate) mod exit;
pub(crate) mod log;
pub(crate) mod manager;
pub(crate) mod reader;
pub(crate) mod sandbox;
pub(crate) mod signals;
