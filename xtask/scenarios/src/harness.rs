//! Runner of the scenarios, which compares socktrace's reports with what happened.

use anyhow::{Result, bail, ensure};
use nix::sys::signal::Signal;
use serde_json::Value;
use xtask_common::report::{Report, Reporter};

use super::{
    event_schema,
    expected::Expected,
    modules::Unavailable,
    scenario::{Act, BootKind, KprobeLimitation, Scenario},
    span::Span,
    system,
    tracer::Tracer,
    verify::compare,
};

/// Runs the scenarios in order; returns whether all passed.
pub(super) fn run(scenarios: &[&Scenario], reporter: &mut Reporter) -> Result<bool> {
    let names = scenarios.iter().map(|scenario| scenario.name.to_owned()).collect();
    reporter.send(&Report::Plan { scenarios: names })?;
    let is_check = |scenario: &&&Scenario| matches!(scenario.act, Act::Check(_));
    let (checks, failing): (Vec<_>, Vec<_>) = scenarios.iter().partition(is_check);
    let failing_passed = failing.is_empty() || run_traced(&failing, reporter)?;
    Ok(run_checks(&checks, reporter)? && failing_passed)
}

/// Runs scenarios that start their own daemons.
fn run_checks(scenarios: &[&Scenario], reporter: &mut Reporter) -> Result<bool> {
    let mut all = true;
    for scenario in scenarios {
        let Act::Check(check) = scenario.act else { bail!("{} needs a tracer", scenario.name) };
        let name = scenario.name.to_owned();
        reporter.send(&Report::Started { scenario: name.clone() })?;
        let failure = match check() {
            Err(error) if error.is::<Unavailable>() => {
                reporter.send(&Report::Skipped { name, reason: format!("{error:#}") })?;
                continue;
            }
            result => result.err(),
        };
        let passed = failure.is_none();
        all &= passed;
        let evidence =
            || if scenario.boot == BootKind::System { system::evidence() } else { String::new() };
        let detail = failure.map(|error| format!("{error:#}{}", evidence())).unwrap_or_default();
        reporter.send(&Report::Scenario { name, passed, covers: vec![], detail })?;
    }
    Ok(all)
}

/// Runs scenarios that make failures, all under the same tracer.
fn run_traced(scenarios: &[&Scenario], reporter: &mut Reporter) -> Result<bool> {
    // Verbose, to get the verifier's log if a program is refused.
    let tracer = match Tracer::start(&[
        "--output",
        "json",
        "--all",
        "--udp-sends",
        "--unix-sends",
        "--verbose",
    ])? {
        Ok(tracer) => tracer,
        Err(refused) => {
            reporter.send(&Report::Refused { exit: refused.exit, stderr: refused.stderr })?;
            return Ok(false);
        }
    };
    if let Some(stderr) = tracer.not_attached_but(&super::absent_hooks()) {
        reporter.send(&Report::Refused { exit: 0, stderr })?;
        return Ok(false);
    }
    let mut all = true;
    for scenario in scenarios {
        let name = scenario.name.to_owned();
        reporter.send(&Report::Started { scenario: name.clone() })?;
        let mut made = Vec::new();
        if let (Some(hidden), true) = (&scenario.hidden, super::uses_kprobes()) {
            let text = format!("{name}: {} is hidden from kprobes: {}", hidden.cause, hidden.why);
            reporter.send(&Report::Note { text })?;
        }
        let detail = match act(scenario, &tracer, super::uses_kprobes(), &mut made) {
            Ok(differences) => differences,
            Err(error) if error.is::<Unavailable>() => {
                reporter.send(&Report::Skipped { name, reason: format!("{error:#}") })?;
                continue;
            }
            Err(error) => format!("{error:#}"),
        };
        let passed = detail.is_empty();
        all &= passed;
        let covers = made.iter().filter_map(Expected::covers).collect();
        reporter.send(&Report::Scenario { name, passed, covers, detail })?;
    }
    let (status, said) = tracer.stop(Signal::SIGINT)?;
    if !status.success() {
        bail!("socktrace ended with {status}:\n{said}");
    }
    Ok(all)
}

/// Runs a scenario that makes failures, and records them. Returns the differences; empty if there are none.
pub(super) fn act(
    scenario: &Scenario,
    tracer: &Tracer,
    by_kprobe: bool,
    failures: &mut Vec<Expected>,
) -> Result<String> {
    let Act::Fail(make, family) = scenario.act else {
        bail!("{} makes no failures", scenario.name)
    };
    let reported = || {
        let reported = make(family)?;
        match &scenario.hidden {
            Some(hidden) if by_kprobe => without(reported, hidden),
            _ => Ok(reported),
        }
    };
    // Waiting for quiet costs nothing where idle time is skipped.
    let is_skipped = matches!(scenario.boot, BootKind::Icount | BootKind::Scrape);
    let end = if scenario.late.is_some() || is_skipped { End::Quiet } else { End::Sentinel };
    let (expected, differences) = observe(tracer, end, reported)?;
    failures.extend(expected);
    Ok(differences)
}

/// Filters out the failures that kprobes do not report.
fn without(made: Vec<Expected>, hidden: &KprobeLimitation) -> Result<Vec<Expected>> {
    let count = made.len();
    let reported: Vec<_> =
        made.into_iter().filter(|expected| expected.cause != hidden.cause).collect();
    // Some kernels report nothing of a scenario anyway.
    ensure!(reported.len() < count || count == 0, "no {} was made, to be hidden", hidden.cause);
    Ok(reported)
}

/// How the harness detects the end of a scenario's part of the stream.
#[derive(Clone, Copy)]
pub(super) enum End {
    /// No event has arrived for a while.
    Quiet,
    /// A failure made by the harness itself has arrived. The ring buffer keeps events in order, so
    /// all earlier events have arrived before it.
    Sentinel,
}

/// Makes failures and compares them with the tracer's reports. Returns the expectations, and the
/// differences; these are empty if there are none.
pub(super) fn observe(
    tracer: &Tracer,
    end: End,
    make: impl FnOnce() -> Result<Vec<Expected>>,
) -> Result<(Vec<Expected>, String)> {
    let before = tracer.scrape()?;
    let span = Span::begin();
    // Events before an error belong to this scenario, not to the next.
    let expected = make().inspect_err(|_| drop(tracer.collect(0)))?;
    let due = expected.iter().filter(|expected| expected.optional.is_none()).count();
    let (lines, after) = match end {
        End::Quiet => (tracer.collect(due), tracer.scrape()?),
        End::Sentinel => {
            let mut lines = tracer.receive(due);
            // Scraped before the sentinel, which would be counted too.
            let after = tracer.scrape()?;
            lines.extend(tracer.until_sentinel()?);
            (lines, after)
        }
    };
    let stream =
        lines.iter().map(|line| event_schema::read(line)).collect::<Result<Vec<Value>>>()?;
    let differences = compare(&expected, &stream, &span, &before, &after);
    Ok((expected, differences))
}
