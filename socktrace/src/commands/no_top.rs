//! Stands in for `top.rs` in a build without the feature `top`.

use std::process::ExitCode;

use crate::config::Resolved;

/// # Errors
/// Always: the command line has refused it.
pub(crate) fn run(_: Resolved) -> anyhow::Result<ExitCode> {
    anyhow::bail!("built without the feature `top`")
}
