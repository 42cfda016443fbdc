//! Cost of a scrape to the daemon, by the number of series.

use anyhow::{Context as _, Result};
use xtask_common::{figure::Unit, http::get_metrics};

use super::{
    Benchmark, machine,
    tool::{self, COUNTING},
    workload,
};

const TIMES: u64 = 10;

/// Measures a daemon that has counted nothing, and one that has seen every workload.
pub(super) fn measure(bench: &mut Benchmark) -> Result<()> {
    let running = tool::named(COUNTING)?.start(&[])?;
    let id = running.id().context("no daemon")?;
    report(bench, "nothing counted", id)?;
    for workload in &workload::ALL {
        workload.start()?()?;
    }
    report(bench, "every workload counted", id)?;
    running.stop()
}

/// Reports the cost of a scrape to the process, and the number of series.
pub(super) fn report(bench: &mut Benchmark, after: &str, id: u32) -> Result<()> {
    let page = get_metrics()?;
    let series = page.lines().filter(|line| !line.starts_with('#')).count();
    machine::settle()?;
    let before = machine::of_process(id)?;
    for _ in 0..TIMES {
        get_metrics()?;
    }
    machine::settle()?;
    let cost = (machine::of_process(id)? - before) / TIMES;
    bench.report(&format!("scrape/{after}"), COUNTING, Unit::Instructions, cost)?;
    let series = u64::try_from(series)?;
    bench.report(&format!("scrape/{after}/series"), COUNTING, Unit::Size, series)
}
