//! Cost of keeping each failure in a history, and of reading an hour of failures back.

use std::{
    fs,
    io::{self, BufRead as _},
    process::{Command, Stdio},
    thread,
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use nix::{
    sys::time::{TimeSpec, TimeValLike as _},
    time::{ClockId, clock_gettime, clock_settime},
};
use xtask_common::{figure::Unit, http::get_metrics};

use super::{Benchmark, machine, native, tool, workload};

/// Failures in a run, each on a connection of its own, and failures in a batch that fits into the
/// ring buffer.
const FAILURES: u64 = 1_000_000;
const FAILURES_SHORT: u64 = 10_000;
const AT_A_TIME: u64 = 1_000;

/// Time of the guest's clock that the failures are spread over, in seconds.
const DAY: u64 = 86_400;

/// Parts of the history that are read: an hour, and as many lines as an hour has if a million
/// failures are spread over 14 days, the default retention.
const SPANS: [(&str, [&str; 4]); 2] = [
    ("an hour of a day", ["--since", "46800s", "--until", "43200s"]),
    ("an hour of 14 days", ["--since", "43460s", "--until", "43200s"]),
];

/// Failures after which a long run reports its progress.
const NOTED: u64 = 100_000;

/// Longer than a line waits to be written together with others.
const FLUSHED: Duration = Duration::from_secs(1);

/// Subject of the figures about reading.
const READER: &str = "socktrace history";

/// Measures what keeping a failure costs, the memory and disk space that takes, and reading an hour
/// of failures.
pub(super) fn measure(bench: &mut Benchmark) -> Result<()> {
    if native::is_host() {
        return bench
            .note("a history is not measured here: that takes setting the clock".to_owned());
    }
    let failures = if bench.short { FAILURES_SHORT } else { FAILURES };
    remove()?;
    let mut work = workload::named(workload::RESET)?.start()?;
    let running = tool::named(tool::KEEPING)?.start_showing_all(&[])?;
    let id = running.id().context("no daemon")?;
    machine::forget_most(id)?;
    let (before, of_daemon) = (machine::busy()?, machine::of_process(id)?);
    for done in (0..failures).step_by(usize::try_from(AT_A_TIME)?) {
        if done > 0 && done % NOTED == 0 {
            bench.note(format!("{done} of {failures} failures are kept"))?;
        }
        for _ in 0..AT_A_TIME {
            work()?;
        }
        machine::settle()?;
        advance_clock(DAY * AT_A_TIME * 1_000 / failures)?;
    }
    thread::sleep(FLUSHED);
    machine::settle()?;
    let busy = machine::busy()? - before;
    let of_daemon = machine::of_process(id)? - of_daemon;
    let (_, most) = machine::memory(id)?;
    let mut report = |what: &str, unit, value| bench.report(what, tool::KEEPING, unit, value);
    report("history/failures", Unit::Size, failures)?;
    report("history/a failure", Unit::Instructions, busy / failures)?;
    report("history/a failure, of it in the daemon", Unit::Instructions, of_daemon / failures)?;
    report("history/not kept", Unit::Count, failures.saturating_sub(kept()?))?;
    report("memory/most while keeping a history", Unit::Bytes, most)?;
    if !bench.short {
        // In a short run most bytes would be in the log, which does not grow.
        let bytes = bytes()? / failures;
        bench.report(
            "history/bytes of a failure, with index and log",
            tool::KEEPING,
            Unit::Count,
            bytes,
        )?;
        read(bench)?;
    }
    running.stop()?;
    remove()
}

/// Measures the cost of reading while the daemon has the file open.
fn read(bench: &mut Benchmark) -> Result<()> {
    let json = ["--output", "json"];
    for (name, span) in SPANS {
        let output = reader(span, &json).output().context("cannot read the history")?;
        ensure!(output.status.success(), "reading ended with {}", output.status);
        let lines = u64::try_from(output.stdout.lines().count())?;
        bench.report(&format!("history/failures of {name}"), READER, Unit::Size, lines)?;
        for (form, more) in [
            ("for people", &[][..]),
            ("in JSON", &json),
            ("by service and cause", &["--group-by", "service,cause"]),
        ] {
            machine::settle()?;
            let before = machine::busy()?;
            let status = reader(span, more).stdout(Stdio::null()).stderr(Stdio::null()).status()?;
            ensure!(status.success(), "reading ended with {status}");
            let what = format!("history/{name} {form}");
            bench.report(&what, READER, Unit::Instructions, machine::busy()? - before)?;
        }
    }
    Ok(())
}

fn reader(span: [&str; 4], more: &[&str]) -> Command {
    let mut command = Command::new(tool::DAEMON);
    command.args(["history", "--file", tool::HISTORY]).args(span).args(more);
    command
}

/// Number of lines that the daemon has written.
fn kept() -> Result<u64> {
    let page = get_metrics()?;
    let name = "socktrace_history_written_total ";
    let kept = page.lines().find_map(|line| line.strip_prefix(name));
    Ok(kept.context("no count of what was kept")?.parse()?)
}

/// Size of the file and its write-ahead log.
fn bytes() -> Result<u64> {
    let log = format!("{}-wal", tool::HISTORY);
    Ok(fs::metadata(tool::HISTORY)?.len() + fs::metadata(log)?.len())
}

/// Removes the history of other measurements.
fn remove() -> Result<()> {
    for suffix in ["", "-wal", "-shm"] {
        match fs::remove_file(format!("{}{suffix}", tool::HISTORY)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error.into()),
            _ => {}
        }
    }
    Ok(())
}

/// Advances the wall clock by `by` milliseconds.
fn advance_clock(by: u64) -> Result<()> {
    let now = clock_gettime(ClockId::CLOCK_REALTIME)?;
    let then = now + TimeSpec::milliseconds(i64::try_from(by)?);
    clock_settime(ClockId::CLOCK_REALTIME, then).context("cannot set the clock")
}
