//! Scenarios of one boot, and second tries of those that failed.

use std::{
    cell::{Cell, OnceCell},
    collections::BTreeMap,
    fs,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};
use xtask_common::report::Report;

use super::{boots::PlannedBoot, summary::Summary};
use crate::cli::TestArgs;
use socktrace_lab::{
    boot::{Boot, Limits, Outcome, Terminal},
    progress::{self, Step},
    verdict::{self, Verdict},
    workspace,
};

/// Generous, because a busy machine without hardware virtualization is slow. A healthy guest
/// reports within seconds of power-on, and within a minute with systemd.
const LIMITS: Limits = Limits {
    start: Duration::from_mins(2),
    silence: Duration::from_mins(6),
    total: Duration::from_hours(1),
};

/// Runs the scenarios of a boot, gives the few that fail a second try, and returns a summary.
pub(super) fn run(args: &TestArgs, planned: &PlannedBoot) -> Summary {
    let (kernel, mode) = (planned.files.kernel.series, planned.label());
    let mut summary = Summary::default();
    let start = Instant::now();
    let mut verdicts = verdicts(args, planned, &args.scenarios);
    summary.boot(kernel, &mode, start.elapsed());
    let second_tries = try_again(&mut verdicts, |names| {
        progress::print(format!("note {kernel:<5} {mode:<6} run once more: {}", names.join(", ")));
        self::verdicts(args, planned, names)
    });
    for (scenario, first) in second_tries {
        summary.second_try(kernel, &mode, &scenario, &first);
    }
    for verdict in &verdicts {
        summary.verdict(kernel, verdict);
    }
    summary
}

/// Limit on the scenarios of one boot that get a second try, not counting those that never ran. If
/// more fail, something is broken.
const SECOND_TRIES: usize = 2;

/// Runs the few scenarios that failed in a boot again, in a boot of their own, with those that had
/// not run when the boot ended. Returns the scenarios that passed on the second try, with their
/// first failure.
///
/// The sockets of a guest race with each other, and once in thousands of scenarios the kernel
/// behaves in a way that the scenario does not expect. The ledger and the last line still show the
/// failure.
fn try_again(
    verdicts: &mut [Verdict],
    make: impl FnOnce(&[String]) -> Vec<Verdict>,
) -> Vec<(String, String)> {
    let is_failed = |verdict: &&mut Verdict| verdict.failure.is_some();
    let failed: Vec<_> = verdicts.iter_mut().filter(is_failed).collect();
    let has_boot_failed = failed.iter().any(|verdict| verdict.is_boot());
    let judged = failed.iter().filter(|verdict| !verdict.is_lost).count();
    if judged == 0 || judged > SECOND_TRIES || has_boot_failed {
        return Vec::new();
    }
    let names: Vec<_> = failed.iter().map(|verdict| verdict.scenario.clone()).collect();
    let mut second = make(&names);
    let mut passed = Vec::new();
    for first in failed {
        let found = second.iter().position(|verdict| verdict.scenario == first.scenario);
        if let Some(verdict) = found.map(|index| second.swap_remove(index))
            && verdict.failure.is_none()
        {
            let Verdict { scenario, failure, .. } = std::mem::replace(first, verdict);
            passed.push((scenario, failure.unwrap_or_default()));
        }
    }
    passed
}

/// Verdicts on the scenarios of one boot, each shown as soon as it is known.
fn verdicts(args: &TestArgs, planned: &PlannedBoot, scenarios: &[String]) -> Vec<Verdict> {
    let (kernel, mode) = (planned.files.kernel.series, planned.label());
    let mut verdicts = Vec::new();
    let bar: OnceCell<Step> = OnceCell::new();
    let mut add = |verdict: Verdict| {
        show(kernel, &mode, &verdict);
        if let Some(bar) = bar.get() {
            bar.advance();
        }
        verdicts.push(verdict);
    };
    let start = Instant::now();
    let mut reports = verdict::BootReports::default();
    let is_up = Cell::new(false);
    let mut hear = |report| {
        is_up.set(true);
        match &report {
            Report::Note { text } => {
                progress::print(format!("note {kernel:<5} {mode:<6} {text}"));
            }
            Report::Plan { scenarios } => {
                let count = scenarios.len() as u64;
                bar.get_or_init(|| progress::count(format!("{kernel} {mode}"), count));
            }
            Report::Started { scenario } => {
                if let Some(bar) = bar.get() {
                    bar.at(scenario);
                }
            }
            _ => {}
        }
        if let Some(verdict) = reports.hear(report, start.elapsed()) {
            add(verdict);
        }
    };
    let mut outcome = run_guest(args, planned, scenarios, &mut hear);
    // Emulated processors on a busy host can be too slow for a starting kernel, which then panics
    // or hangs before it has run any program.
    if !is_up.get() && matches!(outcome, Ok(Outcome::Panicked { .. } | Outcome::Hung { .. })) {
        progress::print(format!(
            "note {kernel:<5} {mode:<6} the kernel did not come up and is booted once more"
        ));
        outcome = run_guest(args, planned, scenarios, &mut hear);
    }
    match outcome {
        Ok(outcome) => reports.end(&outcome).into_iter().for_each(add),
        Err(error) => add(failure(format!("{error:#}"))),
    }
    verdicts
}

fn run_guest(
    args: &TestArgs,
    planned: &PlannedBoot,
    scenarios: &[String],
    on_report: impl FnMut(Report),
) -> Result<Outcome> {
    let PlannedBoot {
        files,
        programs,
        name,
        mode,
        append,
        accelerator,
        prometheus,
        scope,
        part,
        ..
    } = planned;
    let label = planned.label();
    let logs = workspace::cache("vm-logs");
    fs::create_dir_all(&logs).with_context(|| format!("cannot create {}", logs.display()))?;
    let words = ["guest", "scenarios", "--boot", name, "--kernel", files.kernel.series];
    let scope = ["--scope", scope.name()];
    // Second tries may belong to any part.
    let (part, of) = if scenarios.is_empty() { *part } else { (1, 1) };
    let part = format!("{part}/{of}");
    let attach = args.attach.iter().flat_map(|how| ["--attach", how]);
    let named = scenarios.iter().flat_map(|name| ["--scenario", name]);
    let words = words.into_iter().chain(scope).chain(["--part", &part]).chain(attach).chain(named);
    Boot {
        files,
        programs,
        peers: None,
        prometheus: prometheus.as_deref(),
        network: &[],
        accelerator: *accelerator,
        mode: *mode,
        append,
        command: words.map(str::to_owned).collect(),
        env: BTreeMap::new(),
        terminal: Terminal::Logged(
            logs.join(format!("{}-{}-{label}.log", files.kernel.arch.name, files.kernel.series)),
        ),
        limits: Some(LIMITS),
    }
    .run(on_report)
}

/// Verdict on a boot that could not be made.
pub(super) fn failure(text: String) -> Verdict {
    let scenario = verdict::BOOT.into();
    let (covers, skipped, took) = (vec![], None, None);
    Verdict { scenario, covers, failure: Some(text), skipped, took, is_lost: false }
}

/// Prints one line, and a description after a failure.
pub(super) fn show(kernel: &str, mode: &str, verdict: &Verdict) {
    let (word, after) = match (&verdict.failure, &verdict.skipped, verdict.took) {
        (Some(_), _, _) => ("FAIL", String::new()),
        (None, Some(reason), _) => ("skip", format!(": {reason}")),
        (None, None, Some(took)) => ("ok  ", format!("  {:.1}s", took.as_secs_f64())),
        (None, None, None) => ("ok  ", String::new()),
    };
    let mut lines = vec![format!("{word} {kernel:<5} {mode:<6} {}{after}", verdict.scenario)];
    let details = verdict.failure.iter().flat_map(|failure| failure.lines());
    lines.extend(details.map(|line| format!("       {line}")));
    // Printed at once, because boots run in parallel.
    progress::print(lines.join("\n"));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verdict(scenario: &str, failure: Option<&str>) -> Verdict {
        let failure = failure.map(str::to_owned);
        Verdict { failure, scenario: scenario.into(), ..super::failure(String::new()) }
    }

    #[test]
    fn few_failures_get_a_second_try() {
        let first = [verdict("a", None), verdict("b", Some("x")), verdict("c", Some("x"))];
        let mut verdicts = first.to_vec();
        let passed = try_again(&mut verdicts, |names| {
            assert_eq!(names, ["b", "c"]);
            vec![verdict("c", None), verdict("b", Some("y"))]
        });
        assert_eq!(passed, [("c".to_owned(), "x".to_owned())]);
        assert_eq!(verdicts, [verdict("a", None), verdict("b", Some("x")), verdict("c", None)]);
    }

    #[test]
    fn what_a_boot_ended_before_is_made_too() {
        let lost = |name| Verdict { is_lost: true, ..verdict(name, Some("no verdict")) };
        let mut verdicts = vec![verdict("a", Some("panic"))];
        verdicts.extend(["b", "c", "d"].map(lost));
        let again = |names: &[String]| names.iter().map(|name| verdict(name, None)).collect();
        assert_eq!(try_again(&mut verdicts, again).len(), 4);
        assert!(verdicts.iter().all(|verdict| verdict.failure.is_none()));
    }

    #[test]
    fn many_failures_and_failed_boots_get_none() {
        let never = |_: &[String]| panic!("made again");
        let mut many = ["a", "b", "c"].map(|name| verdict(name, Some("x")));
        assert_eq!(try_again(&mut many, never), []);
        assert_eq!(try_again(&mut [failure("it hangs".into())], never), []);
        assert_eq!(try_again(&mut [verdict("a", None)], never), []);
        let gone = |_: &[String]| vec![failure("it hangs".into())];
        assert_eq!(try_again(&mut [verdict("a", Some("x"))], gone), []);
    }
}
