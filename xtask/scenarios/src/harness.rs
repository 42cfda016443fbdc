//! Runs scenarios under socktrace and makes the verdicts.

use anyhow::{Context as _, Result, bail, ensure};
use nix::sys::signal::Signal;
use serde_json::Value;
use xtask_common::report::{Report, Reporter};

use super::{
    expected::Expected,
    modules::Unavailable,
    scenario::{Act, BootKind, KprobeLimitation, Scenario},
    system,
    tracer::Tracer,
    verify::compare,
};

/// Runs the scenarios in order; whether all passed.
pub(super) fn run(scenarios: &[&Scenario], reporter: &mut Reporter) -> Result<bool> {
    let names = scenarios.iter().map(|scenario| scenario.name.to_owned()).collect();
    reporter.send(&Report::Plan { scenarios: names })?;
    match scenarios {
        [] => Ok(true),
        [Scenario { boot: BootKind::System, .. }, ..] => run_on_system(scenarios, reporter),
        _ => run_traced(scenarios, reporter),
    }
}

/// Runs scenarios that make no failures for a common tracer.
fn run_on_system(scenarios: &[&Scenario], reporter: &mut Reporter) -> Result<bool> {
    let mut all = true;
    for scenario in scenarios {
        let Act::Check(check) = scenario.act else { bail!("{} needs a tracer", scenario.name) };
        let name = scenario.name.to_owned();
        reporter.send(&Report::Started { scenario: name.clone() })?;
        let failure = check().err();
        let passed = failure.is_none();
        all &= passed;
        let detail = failure.map(|error| format!("{error:#}{}", system::evidence()));
        let detail = detail.unwrap_or_default();
        reporter.send(&Report::Scenario { name, passed, covers: vec![], detail })?;
    }
    Ok(all)
}

fn run_traced(scenarios: &[&Scenario], reporter: &mut Reporter) -> Result<bool> {
    // Verbose, so that a refusal comes with the verifier's words.
    let tracer = match Tracer::start(&["--output", "json", "--all", "--verbose"])? {
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
        let mut covers = Vec::new();
        if let (Some(hidden), true) = (&scenario.hidden, super::uses_kprobes()) {
            let text = format!("{name}: {} is hidden from kprobes: {}", hidden.cause, hidden.why);
            reporter.send(&Report::Note { text })?;
        }
        let detail = match act(scenario, &tracer, super::uses_kprobes(), &mut covers) {
            Ok(differences) => differences,
            Err(error) if error.is::<Unavailable>() => {
                reporter.send(&Report::Skipped { name, reason: format!("{error:#}") })?;
                continue;
            }
            Err(error) => format!("{error:#}"),
        };
        let passed = detail.is_empty();
        all &= passed;
        reporter.send(&Report::Scenario { name, passed, covers, detail })?;
    }
    let (status, said) = tracer.stop(Signal::SIGINT)?;
    if !status.success() {
        bail!("socktrace ended with {status}:\n{said}");
    }
    Ok(all)
}

/// Runs one scenario; what was wrong, empty for nothing. Notes the failures it made.
pub(super) fn act(
    scenario: &Scenario,
    tracer: &Tracer,
    by_kprobe: bool,
    covers: &mut Vec<String>,
) -> Result<String> {
    match scenario.act {
        Act::Fail(make, family) => {
            let told = || match &scenario.hidden {
                Some(hidden) if by_kprobe => without(make(family)?, hidden),
                _ => make(family),
            };
            let (expected, differences) = observe(tracer, told)?;
            covers.extend(expected.iter().filter_map(Expected::covers));
            Ok(differences)
        }
        Act::Check(check) => {
            let result = check();
            // The common tracer has seen these failures too.
            drop(tracer.collect(0));
            result.map(|()| String::new())
        }
    }
}

/// The failures that kprobes tell of these.
fn without(made: Vec<Expected>, hidden: &KprobeLimitation) -> Result<Vec<Expected>> {
    let count = made.len();
    let told: Vec<_> = made.into_iter().filter(|expected| expected.cause != hidden.cause).collect();
    // A kernel may tell nothing of a scenario anyway.
    ensure!(told.len() < count || count == 0, "no {} was made, to be hidden", hidden.cause);
    Ok(told)
}

/// Makes failures and compares what the tracer says of them: what was expected, and what was
/// wrong, empty for nothing.
pub(super) fn observe(
    tracer: &Tracer,
    make: impl FnOnce() -> Result<Vec<Expected>>,
) -> Result<(Vec<Expected>, String)> {
    let before = tracer.scrape()?;
    // Whatever was done before it went wrong belongs to it.
    let expected = make().inspect_err(|_| drop(tracer.collect(0)))?;
    let stream = tracer
        .collect(expected.len())
        .iter()
        .map(|line| serde_json::from_str(line).with_context(|| format!("no JSON: {line}")))
        .collect::<Result<Vec<Value>>>()?;
    let differences = compare(&expected, &stream, &before, &tracer.scrape()?);
    Ok((expected, differences))
}
