//! Kernel modules that scenarios need, and that some kernels lack.

use std::{fmt, fs};

use anyhow::{Context as _, Result};
use xtask_common::job;

/// Error of a scenario that lacks a kernel module.
#[derive(Debug)]
pub(super) struct Unavailable(&'static str);

impl fmt::Display for Unavailable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "this kernel comes without the module {}", self.0)
    }
}

impl std::error::Error for Unavailable {}

/// Makes sure that the kernel has a module, loaded or built in.
///
/// # Errors
///
/// [`Unavailable`] if the kernel lacks it.
pub(super) fn require(module: &'static str) -> Result<()> {
    let absent = fs::read_to_string(job::ABSENT_MODULES)
        .with_context(|| format!("cannot read {}", job::ABSENT_MODULES))?;
    if absent.lines().any(|name| name == module) { Err(Unavailable(module).into()) } else { Ok(()) }
}
