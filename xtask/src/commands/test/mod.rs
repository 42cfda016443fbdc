//! Unit tests on the host, then scenarios on the kernels of the matrix.

mod coverage;
mod host;

use std::{
    cell::Cell,
    collections::BTreeMap,
    fs,
    process::{Command, ExitCode},
    sync::Mutex,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};
use clap::{CommandFactory as _, error::ErrorKind};
use xtask::{arch::Arch, report};

use coverage::Coverage;

use crate::{
    boot::{Boot, Limits, Outcome, Terminal},
    cli::{Cli, TestArgs},
    compile,
    initramfs::Programs,
    kernel::{self, Place, Series},
    lab::{self, Bench},
    process,
    qemu::{Accelerator, Mode},
    verdict::{self, Verdict},
    workspace,
};

/// Generous: a busy machine without hardware virtualization is slow.
const LIMITS: Limits = Limits { silence: Duration::from_mins(3), total: Duration::from_mins(30) };

/// The last line of the output.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Count {
    /// Tests that were run and are fine.
    pub(crate) passed: usize,
    /// Tests that are not, or that could not be run.
    pub(crate) failed: usize,
    /// Tests that have nothing to test here.
    pub(crate) skipped: usize,
}

impl Count {
    fn add(&mut self, other: Self) {
        self.passed += other.passed;
        self.failed += other.failed;
        self.skipped += other.skipped;
    }

    fn line(self) -> String {
        let skipped = match self.skipped {
            0 => String::new(),
            skipped => format!(", {skipped} skipped"),
        };
        format!("{} passed, {} failed{skipped}", self.passed, self.failed)
    }
}

/// Runs the tests and tells what came of them.
///
/// # Errors
///
/// When they cannot be run: something cannot be installed or does not compile.
pub(crate) fn run(args: &TestArgs) -> Result<ExitCode> {
    let setup = args.no_setup.setup();
    let programs = lab::programs(args.arch, &setup, true)?;
    check_names(args)?;
    let mut count = Count::default();
    if args.scenarios.is_empty() && args.arch.is_own() {
        count.add(host::unit_tests()?);
        if let Some(daemon) = &programs.daemon {
            count.add(host::refusal(daemon)?);
        }
    }
    let matrix: Vec<_> = kernel::matrix(args.arch).collect();
    let kernels = if args.kernels.is_empty() { &matrix } else { &args.kernels };
    let mut boots = Vec::new();
    for &series in kernels {
        match prepare(args, series, &programs) {
            Ok(kernel_boots) => boots.extend(kernel_boots),
            Err(error) => {
                show(series.name, "-", &failure(format!("{error:#}")));
                count.failed += 1;
            }
        }
    }
    let (boots_count, coverage) = run_all(args, boots, &programs);
    count.add(boots_count);
    let names: Vec<_> = kernels.iter().map(|series| series.name).collect();
    let table = coverage.table(&names);
    print!("{table}");
    let picked = !args.kernels.is_empty() || !args.scenarios.is_empty() || args.attach.is_some();
    if !picked && args.arch.is_own() {
        count.add(coverage::check_document(&table, args.write_docs)?);
    }
    println!("{}", count.line());
    Ok(if count.failed == 0 && count.passed > 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Answers names of scenarios that do not exist as clap answers wrong arguments.
fn check_names(args: &TestArgs) -> Result<()> {
    if args.scenarios.is_empty() {
        return Ok(());
    }
    let names = process::output(Command::new(compile::guest(Arch::OWN)?).arg("list"))?;
    let names: Vec<_> = names.lines().collect();
    for scenario in &args.scenarios {
        if !names.contains(&&**scenario) {
            let choices = names.join("\n  ");
            Cli::command()
                .error(
                    ErrorKind::InvalidValue,
                    format!("there is no scenario '{scenario}'. The scenarios are:\n  {choices}"),
                )
                .exit();
        }
    }
    Ok(())
}

/// One boot to be made.
struct Planned {
    bench: Bench,
    /// The name in reports and options.
    name: &'static str,
    mode: Mode,
    /// More words for the kernel's command line.
    append: &'static str,
    accelerator: Accelerator,
    /// Whether only the quick scenarios run in it.
    quick: bool,
}

/// Whether a kernel is tested with the quick scenarios only. A kernel or a scenario that was asked
/// for by name is tested in full.
fn is_quick(args: &TestArgs, series: &Series) -> bool {
    let picked = !args.kernels.is_empty() || !args.scenarios.is_empty();
    args.quick || (series.place == Place::Quick && !args.full && !picked)
}

fn prepare(args: &TestArgs, series: &'static Series, programs: &Programs) -> Result<[Planned; 3]> {
    let bench = lab::bench(series, args.arch, &args.no_setup.setup(), &args.mirrors)?;
    let accelerator = lab::accelerator(&bench, programs)?;
    let quick = is_quick(args, series);
    let planned = |name, mode, accelerator, append| Planned {
        bench: bench.clone(),
        name,
        mode,
        append,
        accelerator,
        quick,
    };
    Ok([
        planned("smp", Mode::Smp, accelerator, ""),
        planned("icount", Mode::Icount, Accelerator::Tcg, ""),
        planned("odd", Mode::Smp, accelerator, "ipv6.disable=1"),
    ])
}

fn run_all(args: &TestArgs, mut boots: Vec<Planned>, programs: &Programs) -> (Count, Coverage) {
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
                    let (count, coverage) = boot(args, &planned, programs);
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

fn boot(args: &TestArgs, planned: &Planned, programs: &Programs) -> (Count, Coverage) {
    let (kernel, mode) = (planned.bench.kernel.series, planned.name);
    let mut count = Count::default();
    let mut coverage = Coverage::default();
    let mut tell = |verdict: &Verdict| {
        show(kernel, mode, verdict);
        coverage.add(kernel, verdict);
        match (&verdict.failure, &verdict.skipped) {
            (None, None) => count.passed += 1,
            (None, Some(_)) => count.skipped += 1,
            (Some(_), _) => count.failed += 1,
        }
    };
    let start = Instant::now();
    let mut reports = verdict::Boot::default();
    let is_up = Cell::new(false);
    let mut hear = |report| {
        is_up.set(true);
        if let report::Report::Note { text } = &report {
            println!("note {kernel:<5} {mode:<6} {text}");
        }
        if let Some(verdict) = reports.hear(report, start.elapsed()) {
            tell(&verdict);
        }
    };
    let mut outcome = run_guest(args, planned, programs, &mut hear);
    // Emulated processors on a busy host can be too slow for a kernel that starts, which then
    // panics or waits forever before it has run any program.
    if !is_up.get() && matches!(outcome, Ok(Outcome::Panicked { .. } | Outcome::Hung { .. })) {
        println!("note {kernel:<5} {mode:<6} the kernel has not come up and is booted once more");
        outcome = run_guest(args, planned, programs, &mut hear);
    }
    match outcome {
        Ok(outcome) => reports.end(&outcome).iter().for_each(tell),
        Err(error) => tell(&failure(format!("{error:#}"))),
    }
    (count, coverage)
}

fn run_guest(
    args: &TestArgs,
    planned: &Planned,
    programs: &Programs,
    on_report: impl FnMut(report::Report),
) -> Result<Outcome> {
    let Planned { bench, name, mode, append, accelerator, quick } = planned;
    let logs = workspace::cache("vm-logs");
    fs::create_dir_all(&logs).with_context(|| format!("cannot create {}", logs.display()))?;
    let words = ["guest", "scenarios", "--boot", name, "--kernel", bench.kernel.series];
    let choice = if *quick { &["--choice", "quick"][..] } else { &[] };
    let attach = args.attach.iter().flat_map(|how| ["--attach", how]);
    let named = args.scenarios.iter().flat_map(|name| ["--scenario", name]);
    let words = words.into_iter().chain(choice.iter().copied()).chain(attach).chain(named);
    Boot {
        kernel: &bench.kernel,
        base: &bench.base,
        programs,
        accelerator: *accelerator,
        mode: *mode,
        append,
        command: words.map(str::to_owned).collect(),
        env: BTreeMap::new(),
        terminal: Terminal::Logged(
            logs.join(format!("{}-{}-{name}.log", bench.kernel.arch.name, bench.kernel.series)),
        ),
        limits: Some(LIMITS),
    }
    .run(on_report)
}

/// The verdict on a boot that could not be made.
fn failure(text: String) -> Verdict {
    let scenario = "(boot)".into();
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
    use clap::Parser as _;

    use super::*;
    use crate::cli::Command;

    #[test]
    fn few_kernels_are_tested_in_full_unless_told_otherwise() {
        let in_full = |arch: &str, words: &[&str]| {
            let words = ["xtask", "test", "--arch", arch].into_iter().chain(words.iter().copied());
            let Command::Test(args) = Cli::parse_from(words).command else { panic!("no test") };
            let matrix = kernel::matrix(args.arch).filter(|series| !is_quick(&args, series));
            matrix.map(|series| series.name).collect::<Vec<_>>()
        };
        let amd64 = |words| in_full("amd64", words);
        assert_eq!(amd64(&[]), ["5.10", "6.12"]);
        let all = amd64(&["--full"]);
        assert_eq!(all, ["5.10", "6.1", "6.12", "6.18", "7.3"]);
        assert_eq!(amd64(&["--kernel", "6.1"]), all);
        assert_eq!(amd64(&["--scenario", "storm"]), all);
        assert_eq!(amd64(&["--quick", "--kernel", "6.1"]), [""; 0]);
        assert_eq!(in_full("arm64", &[]), ["6.12"]);
        assert_eq!(in_full("arm64", &["--full"]), all[1..]);
    }

    #[test]
    fn last_line_counts() {
        let count = Count { passed: 3, failed: 0, skipped: 0 };
        assert_eq!(count.line(), "3 passed, 0 failed");
        assert_eq!(Count { skipped: 2, ..count }.line(), "3 passed, 0 failed, 2 skipped");
    }
}
