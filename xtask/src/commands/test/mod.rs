//! Unit tests on the host, then scenarios on the kernels of the matrix.

mod boots;
mod catalogue;
mod coverage;
mod host;
mod monitoring;

use std::{
    cell::Cell,
    collections::BTreeMap,
    fs,
    process::ExitCode,
    sync::Mutex,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};
use socktrace_lab::{
    boot::{Boot, Limits, Outcome, Terminal},
    kernel, prepare,
    verdict::{self, Verdict},
    workspace,
};
use xtask_common::report;

use boots::PlannedBoot;
use catalogue::Catalogue;
use coverage::Coverage;

use crate::cli::TestArgs;

/// Generous: a busy machine without hardware virtualization is slow.
const LIMITS: Limits = Limits { silence: Duration::from_mins(6), total: Duration::from_mins(30) };

/// The last line of the output.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Count {
    /// Tests that were run and are fine.
    pub(crate) passed: usize,
    /// Tests that are not, or that could not be run.
    pub(crate) failed: usize,
    /// Tests that have nothing to test here.
    pub(crate) skipped: usize,
    /// Of those that passed, the scenarios that did so on the second try only.
    pub(crate) unsteady: usize,
}

impl Count {
    fn add(&mut self, other: Self) {
        self.passed += other.passed;
        self.failed += other.failed;
        self.skipped += other.skipped;
        self.unsteady += other.unsteady;
    }

    fn line(self) -> String {
        let some = |count, what| match count {
            0 => String::new(),
            count => format!(", {count} {what}"),
        };
        let skipped = some(self.skipped, "skipped");
        let unsteady = some(self.unsteady, "only on the second try");
        format!("{} passed, {} failed{skipped}{unsteady}", self.passed, self.failed)
    }
}

/// Runs the tests and tells what came of them.
///
/// # Errors
///
/// When they cannot be run: something cannot be installed or does not compile.
pub(crate) fn run(args: &TestArgs) -> Result<ExitCode> {
    let setup = args.no_setup.setup();
    let programs = prepare::programs(args.arch, &setup, true)?;
    let catalogue = Catalogue::read()?;
    catalogue.check(&args.scenarios);
    let mut count = Count::default();
    if args.scenarios.is_empty() && args.arch.is_own() && !args.system {
        count.add(host::unit_tests()?);
        count.add(monitoring::check(&prepare::promtool(&args.no_setup.setup(), &args.mirrors)?)?);
        if let Some(daemon) = &programs.daemon {
            count.add(host::refusal(daemon)?);
        }
    }
    let matrix: Vec<_> = kernel::matrix(args.arch).collect();
    let kernels = if args.kernels.is_empty() { &matrix } else { &args.kernels };
    let mut boots = Vec::new();
    for &series in kernels {
        match boots::prepare(args, series, &programs, &catalogue) {
            Ok(kernel_boots) => boots.extend(kernel_boots),
            Err(error) => {
                show(series.name, "-", &failure(format!("{error:#}")));
                count.failed += 1;
            }
        }
    }
    let (boots_count, coverage) = run_all(args, boots);
    count.add(boots_count);
    let names: Vec<_> = kernels.iter().map(|series| series.name).collect();
    let table = coverage.table(&names);
    print!("{table}");
    let picked = !args.kernels.is_empty() || !args.scenarios.is_empty() || args.attach.is_some();
    if !picked && !args.system && args.arch.is_own() {
        count.add(coverage::check_document(&table, args.write_docs)?);
    }
    println!("{}", count.line());
    Ok(if count.failed == 0 && count.passed > 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn run_all(args: &TestArgs, mut boots: Vec<PlannedBoot>) -> (Count, Coverage) {
    let processors = thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let jobs = args.jobs.map_or(processors, std::num::NonZero::get).min(boots.len());
    boots.reverse();
    let boots = Mutex::new(boots);
    let next = || boots.lock().unwrap_or_else(std::sync::PoisonError::into_inner).pop();
    let results = Mutex::new((Count::default(), Coverage::default()));
    thread::scope(|scope| {
        for _ in 0..jobs {
            scope.spawn(|| {
                while let Some(planned) = next() {
                    let (count, coverage) = boot(args, &planned);
                    let mut results =
                        results.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
                    results.0.add(count);
                    results.1.merge(coverage);
                }
            });
        }
    });
    results.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner)
}

fn boot(args: &TestArgs, planned: &PlannedBoot) -> (Count, Coverage) {
    let mut verdicts = verdicts(args, planned, &args.scenarios);
    let unsteady = try_again(&mut verdicts, |names| {
        let (kernel, mode) = (planned.files.kernel.series, planned.name);
        println!("note {kernel:<5} {mode:<6} made once more: {}", names.join(", "));
        self::verdicts(args, planned, names)
    });
    let mut count = Count { unsteady, ..Count::default() };
    let mut coverage = Coverage::default();
    for verdict in &verdicts {
        coverage.add(planned.files.kernel.series, verdict);
        match (&verdict.failure, &verdict.skipped) {
            (None, None) => count.passed += 1,
            (None, Some(_)) => count.skipped += 1,
            (Some(_), _) => count.failed += 1,
        }
    }
    (count, coverage)
}

/// Scenarios of one boot that get a second try. Where more fail, something is broken.
const SECOND_TRIES: usize = 2;

/// Makes the few scenarios that failed in a boot once more, in a boot of their own, and returns how
/// many of them then passed.
///
/// The sockets of a guest race with each other, and once in thousands of scenarios the kernel takes
/// a turn that the scenario does not know. The failure stays in the output and in the last line.
fn try_again(verdicts: &mut [Verdict], make: impl FnOnce(&[String]) -> Vec<Verdict>) -> usize {
    let is_failed = |verdict: &&mut Verdict| verdict.failure.is_some();
    let failed: Vec<_> = verdicts.iter_mut().filter(is_failed).collect();
    let has_boot_failed = failed.iter().any(|verdict| verdict.is_boot());
    if failed.is_empty() || failed.len() > SECOND_TRIES || has_boot_failed {
        return 0;
    }
    let names: Vec<_> = failed.iter().map(|verdict| verdict.scenario.clone()).collect();
    let mut second = make(&names);
    let mut unsteady = 0;
    for first in failed {
        let found = second.iter().position(|verdict| verdict.scenario == first.scenario);
        if let Some(verdict) = found.map(|index| second.swap_remove(index))
            && verdict.failure.is_none()
        {
            *first = verdict;
            unsteady += 1;
        }
    }
    unsteady
}

/// The verdicts on the scenarios of one boot, each told as soon as it is there.
fn verdicts(args: &TestArgs, planned: &PlannedBoot, scenarios: &[String]) -> Vec<Verdict> {
    let (kernel, mode) = (planned.files.kernel.series, planned.name);
    let mut verdicts = Vec::new();
    let mut tell = |verdict: Verdict| {
        show(kernel, mode, &verdict);
        verdicts.push(verdict);
    };
    let start = Instant::now();
    let mut reports = verdict::BootReports::default();
    let is_up = Cell::new(false);
    let mut hear = |report| {
        is_up.set(true);
        if let report::Report::Note { text } = &report {
            println!("note {kernel:<5} {mode:<6} {text}");
        }
        if let Some(verdict) = reports.hear(report, start.elapsed()) {
            tell(verdict);
        }
    };
    let mut outcome = run_guest(args, planned, scenarios, &mut hear);
    // Emulated processors on a busy host can be too slow for a kernel that starts, which then
    // panics or waits forever before it has run any program.
    if !is_up.get() && matches!(outcome, Ok(Outcome::Panicked { .. } | Outcome::Hung { .. })) {
        println!("note {kernel:<5} {mode:<6} the kernel has not come up and is booted once more");
        outcome = run_guest(args, planned, scenarios, &mut hear);
    }
    match outcome {
        Ok(outcome) => reports.end(&outcome).into_iter().for_each(tell),
        Err(error) => tell(failure(format!("{error:#}"))),
    }
    verdicts
}

fn run_guest(
    args: &TestArgs,
    planned: &PlannedBoot,
    scenarios: &[String],
    on_report: impl FnMut(report::Report),
) -> Result<Outcome> {
    let PlannedBoot { files, programs, name, mode, append, accelerator, prometheus, scope } =
        planned;
    let logs = workspace::cache("vm-logs");
    fs::create_dir_all(&logs).with_context(|| format!("cannot create {}", logs.display()))?;
    let words = ["guest", "scenarios", "--boot", name, "--kernel", files.kernel.series];
    let scope = ["--scope", scope.name()];
    let attach = args.attach.iter().flat_map(|how| ["--attach", how]);
    let named = scenarios.iter().flat_map(|name| ["--scenario", name]);
    let words = words.into_iter().chain(scope).chain(attach).chain(named);
    Boot {
        kernel: &files.kernel,
        base: &files.base,
        programs,
        peers: None,
        prometheus: prometheus.as_deref(),
        accelerator: *accelerator,
        mode: *mode,
        append,
        command: words.map(str::to_owned).collect(),
        env: BTreeMap::new(),
        terminal: Terminal::Logged(
            logs.join(format!("{}-{}-{name}.log", files.kernel.arch.name, files.kernel.series)),
        ),
        limits: Some(LIMITS),
    }
    .run(on_report)
}

/// The verdict on a boot that could not be made.
fn failure(text: String) -> Verdict {
    let scenario = verdict::BOOT.into();
    Verdict { scenario, covers: vec![], failure: Some(text), skipped: None, took: None }
}

/// Prints one line, and for a failure what was wrong.
fn show(kernel: &str, mode: &str, verdict: &Verdict) {
    let (word, after) = match (&verdict.failure, &verdict.skipped, verdict.took) {
        (Some(_), _, _) => ("FAIL", String::new()),
        (None, Some(reason), _) => ("skip", format!(": {reason}")),
        (None, None, Some(took)) => ("ok  ", format!("  {:.1}s", took.as_secs_f64())),
        (None, None, None) => ("ok  ", String::new()),
    };
    let mut lines = vec![format!("{word} {kernel:<5} {mode:<6} {}{after}", verdict.scenario)];
    let details = verdict.failure.iter().flat_map(|failure| failure.lines());
    lines.extend(details.map(|line| format!("       {line}")));
    // In one piece, because boots run side by side.
    println!("{}", lines.join("\n"));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn last_line_counts() {
        let count = Count { passed: 3, ..Count::default() };
        assert_eq!(count.line(), "3 passed, 0 failed");
        assert_eq!(Count { skipped: 2, ..count }.line(), "3 passed, 0 failed, 2 skipped");
        let unsteady = Count { unsteady: 1, ..count };
        assert_eq!(unsteady.line(), "3 passed, 0 failed, 1 only on the second try");
    }

    fn verdict(scenario: &str, failure: Option<&str>) -> Verdict {
        let failure = failure.map(str::to_owned);
        Verdict { failure, scenario: scenario.into(), ..super::failure(String::new()) }
    }

    #[test]
    fn few_failures_get_a_second_try() {
        let first = [verdict("a", None), verdict("b", Some("x")), verdict("c", Some("x"))];
        let mut verdicts = first.to_vec();
        let unsteady = try_again(&mut verdicts, |names| {
            assert_eq!(names, ["b", "c"]);
            vec![verdict("c", None), verdict("b", Some("y"))]
        });
        assert_eq!(unsteady, 1);
        assert_eq!(verdicts, [verdict("a", None), verdict("b", Some("x")), verdict("c", None)]);
    }

    #[test]
    fn many_failures_and_failed_boots_get_none() {
        let never = |_: &[String]| panic!("made again");
        let mut many = ["a", "b", "c"].map(|name| verdict(name, Some("x")));
        assert_eq!(try_again(&mut many, never), 0);
        assert_eq!(try_again(&mut [failure("it hangs".into())], never), 0);
        assert_eq!(try_again(&mut [verdict("a", None)], never), 0);
        let gone = |_: &[String]| vec![failure("it hangs".into())];
        assert_eq!(try_again(&mut [verdict("a", Some("x"))], gone), 0);
    }
}
