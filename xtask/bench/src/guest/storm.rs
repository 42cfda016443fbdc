//! Rate of failures that the stream keeps up with, and accuracy of the counters beyond it.

use std::{thread, time::Duration};

use anyhow::{Context as _, Result, ensure};
use xtask_common::{figure::Unit, http::get_metrics};

use super::{
    Benchmark, machine,
    tool::{self, STREAMING, Tool},
    workload::{self, Work},
};

/// Failures in a row without a pause: several times the capacity of the ring buffer.
const STORM: u64 = 40_000;

/// First rate to try, in failures a second, and limit for the rate.
const FIRST: u64 = 4_000;
const LAST: u64 = 200_000;

/// Duration of each rate, in beats.
const BEATS: u64 = 400;
const BEAT: Duration = Duration::from_millis(2);

/// Measures both the highest rate and a storm.
pub(super) fn measure(bench: &mut Benchmark) -> Result<()> {
    let socktrace = tool::named(STREAMING)?;
    let mut work = workload::named(workload::EPIPE)?.start()?;
    let mut wrong = 0;

    if !bench.short {
        wrong += highest_rate(bench, socktrace, &mut work)?;
    }

    let running = socktrace.start(&[])?;
    let id = running.id().context("no daemon")?;
    machine::forget_most(id)?;
    let before = DaemonCounts::now()?;
    for _ in 0..STORM {
        work()?;
    }
    machine::settle()?;
    let counted = DaemonCounts::now()?.since(before);
    wrong += counted.failures.abs_diff(STORM);
    bench.report("storm/failures without a pause", STREAMING, Unit::Size, STORM)?;
    bench.report("storm/not streamed of them", STREAMING, Unit::Size, counted.lost)?;
    bench.report("storm/counted wrongly", STREAMING, Unit::Count, wrong)?;
    let (_, most) = machine::memory(id)?;
    bench.report("memory/most in a storm", STREAMING, Unit::Bytes, most)?;
    running.stop()
}

/// Finds the highest rate at which each failure has its line. Returns how many failures were
/// counted wrongly.
fn highest_rate(bench: &mut Benchmark, socktrace: Tool, work: &mut Work) -> Result<u64> {
    let running = socktrace.start_showing_all(&[])?;
    let (mut highest, mut wrong) = (0, 0);
    let mut rate = FIRST;
    while rate < LAST {
        let before = DaemonCounts::now()?;
        let each = rate * machine::nanoseconds(BEAT) / 1_000_000_000;
        let start = machine::now()?;
        for beat in 1..=BEATS {
            for _ in 0..each {
                work()?;
            }
            let due = start + beat * machine::nanoseconds(BEAT);
            thread::sleep(Duration::from_nanos(due.saturating_sub(machine::now()?)));
        }
        let took = machine::now()? - start;
        machine::settle()?;
        let counted = DaemonCounts::now()?.since(before);
        wrong += counted.failures.abs_diff(each * BEATS);
        // A rate that the program itself cannot keep up proves nothing.
        let kept_up = took < BEATS * machine::nanoseconds(BEAT) * 11 / 10;
        if counted.lost > 0 || !kept_up {
            break;
        }
        highest = rate;
        rate += rate / 8;
    }
    bench.report("storm/highest rate without loss", STREAMING, Unit::Rate, highest)?;
    running.stop()?;
    Ok(wrong)
}

/// Counters of the daemon.
#[derive(Clone, Copy, Debug)]
struct DaemonCounts {
    failures: u64,
    lost: u64,
}

impl DaemonCounts {
    fn now() -> Result<Self> {
        let page = get_metrics()?;
        let lines = page.lines().filter(|line| !line.starts_with('#'));
        let sum = |name: &str| {
            let matching = lines.clone().filter(|line| line.starts_with(name));
            let values: Vec<f64> = matching
                .map(|line| Ok(line.rsplit(' ').next().unwrap_or_default().parse()?))
                .collect::<Result<_>>()?;
            ensure!(!values.is_empty() || name != LOST, "no {name}");
            whole(values.iter().sum())
        };
        Ok(Self { failures: sum(FAILURES)?, lost: sum(LOST)? })
    }

    fn since(self, before: Self) -> Self {
        Self { failures: self.failures - before.failures, lost: self.lost - before.lost }
    }
}

const FAILURES: &str = "socktrace_socket_errors_total{";
const LOST: &str = "socktrace_events_lost_total";

/// Reads a count from a value of the metrics page.
fn whole(value: f64) -> Result<u64> {
    // The sum of no values is -0.
    Ok(format!("{:.0}", value + 0.0).parse()?)
}
