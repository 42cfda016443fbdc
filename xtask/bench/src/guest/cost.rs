//! Cost that tools add to the work of programs.

use anyhow::Result;
use xtask_common::figure::Unit;

use super::{
    Benchmark, machine,
    tool::{self, Tool},
    workload::{self, Workload},
};

/// Executions of each workload in a round, and number of rounds.
const TIMES: u64 = 400;
const ROUNDS: usize = 5;

/// Executions of a call that fails in a loop: enough to measure a flood under way, and not its
/// beginning.
const TIMES_IN_LOOP: u64 = 4_000;

/// Tools whose figures are worth the time of a short run.
const SHORT: [&str; 4] =
    [xtask_common::figure::NO_TOOL, tool::FLOOR, tool::STREAMING, tool::COUNTING];

/// Cost of one execution of a workload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Cost {
    /// Instructions of the whole machine, including deferred work of the tool.
    pub(super) all: u64,
    /// Share of them that the program itself waits for.
    pub(super) own: u64,
}

/// Measures every workload with every tool.
pub(super) fn measure(bench: &mut Benchmark) -> Result<()> {
    for subject in tool::ALL {
        if bench.short && !SHORT.contains(&subject.name) {
            continue;
        }
        if !subject.is_here(&bench.places) {
            bench.note(format!("cannot be measured here: {}", subject.name))?;
            continue;
        }
        if let Err(error) = with(bench, subject) {
            bench.note(format!("{error:#}"))?;
        }
    }
    Ok(())
}

fn with(bench: &mut Benchmark, subject: Tool) -> Result<()> {
    // A line for each reset, but only a count for calls that fail in a loop.
    let showing_all = subject.start_showing_all(&bench.places)?;
    let is_together = !subject.counts_floods();
    report(bench, subject, |workload| is_together || !workload.is_loop)?;
    showing_all.stop()?;
    if is_together {
        return Ok(());
    }
    let counting = subject.start(&bench.places)?;
    report(bench, subject, |workload| workload.is_loop)?;
    counting.stop()
}

/// Measures and reports the workloads that satisfy `are`.
fn report(bench: &mut Benchmark, subject: Tool, are: impl Fn(&Workload) -> bool) -> Result<()> {
    for workload in workload::ALL.iter().filter(|workload| are(workload)) {
        let Cost { all, own } = cost(workload)?;
        let name = workload.name;
        bench.report(&format!("cost/{name}"), subject.name, Unit::Instructions, all)?;
        bench.report(&format!("cost/{name}/own"), subject.name, Unit::Instructions, own)?;
    }
    Ok(())
}

/// Measures the current cost of a workload: the median of several rounds.
pub(super) fn cost(workload: &Workload) -> Result<Cost> {
    let times = if workload.is_loop { TIMES_IN_LOOP } else { TIMES };
    let mut rounds = Vec::new();
    for _ in 0..ROUNDS {
        let mut work = workload.start()?;
        machine::settle()?;
        let all = machine::busy()?;
        let own = machine::own()?;
        for _ in 0..times {
            work()?;
        }
        let own = machine::own()? - own;
        machine::settle()?;
        rounds.push((machine::busy()? - all, own));
    }
    rounds.sort_unstable();
    let (all, own) = rounds[ROUNDS / 2];
    Ok(Cost { all: all / times, own: own / times })
}
