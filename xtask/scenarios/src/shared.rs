//! A daemon shared by checks with equal arguments: an emulated machine takes seconds to verify its programs.

use std::{
    process::Command,
    sync::{Mutex, PoisonError},
};

use anyhow::Result;

use super::tracer::Tracer;

/// The last daemon, and the command that started it.
static LAST: Mutex<Option<(String, Tracer)>> = Mutex::new(None);

/// Runs a check with the last daemon if the same command started it, or else with a new one. Its
/// counts may not start at zero. A daemon is not reused after a failed check.
pub(super) fn with(command: Command, check: impl FnOnce(&Tracer) -> Result<()>) -> Result<()> {
    let key = format!("{command:?}");
    let last = LAST.lock().unwrap_or_else(PoisonError::into_inner).take();
    let tracer = match last.filter(|(started_by, _)| *started_by == key) {
        Some((_, tracer)) => {
            tracer.collect(0);
            tracer
        }
        None => Tracer::run(command)?,
    };
    check(&tracer)?;
    *LAST.lock().unwrap_or_else(PoisonError::into_inner) = Some((key, tracer));
    Ok(())
}
