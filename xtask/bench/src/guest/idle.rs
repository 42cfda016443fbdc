//! Wake-ups of tools while nothing happens.

use std::{thread, time::Duration};

use anyhow::{Context as _, Result};
use xtask_common::figure::Unit;

use super::{Benchmark, machine, tool};

const WHILE: Duration = Duration::from_mins(1);

/// Counts how often the threads of each tool go back to sleep within a minute.
pub(super) fn measure(bench: &mut Benchmark) -> Result<()> {
    for subject in tool::ALL {
        let is_ours = [tool::STREAMING, tool::COUNTING].contains(&subject.name);
        if !subject.is_program() || !subject.is_here(&bench.places) || (bench.short && !is_ours) {
            continue;
        }
        let running = match subject.start(&bench.places) {
            Ok(running) => running,
            Err(error) => {
                bench.note(format!("{error:#}"))?;
                continue;
            }
        };
        let id = running.id().context("no process")?;
        let before = machine::sleeps(id)?;
        thread::sleep(WHILE);
        let sleeps = machine::sleeps(id)? - before;
        bench.report("idle/wake-ups a minute", subject.name, Unit::Count, sleeps)?;
        running.stop()?;
    }
    Ok(())
}
