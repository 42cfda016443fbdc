//! Measurements of socktrace and other tools, and their comparison with recorded figures.

mod native;

use std::{fs, process::ExitCode, time::Duration};

use anyhow::{Context as _, Result, bail};
use socktrace_bench::{check, document, recorded::Recorded};
use socktrace_lab::{
    boot::{Boot, Limits, Outcome, Terminal},
    initramfs::GuestPrograms,
    kernel::{self, Series},
    prepare::{self, BootFiles},
    qemu::{Accelerator, Mode},
    workspace,
};
use xtask_common::{
    arch::Arch,
    figure::{Figure, MEASUREMENTS},
    report::Report,
};

use crate::cli::BenchArgs;

/// A guest that measures is silent for long.
const LIMITS: Limits = Limits {
    start: Duration::from_mins(2),
    silence: Duration::from_mins(15),
    total: Duration::from_hours(3),
};

/// Makes the requested measurements, and prints the figures.
///
/// # Errors
///
/// When a measurement fails.
pub(crate) fn run(args: &BenchArgs) -> Result<ExitCode> {
    if args.native {
        let figures = native::measure(args)?;
        print!("Times are in nanoseconds\n{}", document::plain(&figures));
        return Ok(ExitCode::SUCCESS);
    }
    let setup = args.no_setup.setup();
    let programs = prepare::released_programs(Arch::OWN, &setup)?;
    let peers = prepare::peers(Arch::OWN, &setup, &args.mirrors)?;
    let default = [kernel::series(kernel::DEFAULT).map_err(anyhow::Error::msg)?];
    let kernels: &[&'static Series] =
        if args.kernels.is_empty() { &default } else { &args.kernels };
    let mut recorded = Recorded::read()?;
    let mut worse = Vec::new();
    for series in kernels {
        let files = prepare::boot_files(series, Arch::OWN, &setup, &args.mirrors)?;
        let figures = measure(args, &files, &programs, &peers)?;
        print!("{}", document::plain(&figures));
        if args.check {
            let before = recorded.of(series.name);
            if before.is_empty() {
                bail!("no figures of {} are recorded; record them with --write-docs", series.name);
            }
            let found = check::worse(before, &figures);
            worse.extend(found.into_iter().map(|line| format!("{}: {line}", series.name)));
        }
        if args.measurements.is_empty() {
            recorded.set(series.name, &files.kernel.package, figures);
        } else {
            recorded.update(series.name, &files.kernel.package, figures);
        }
    }
    if args.write_docs {
        recorded.write()?;
        document::write(&workspace::root().join("docs/performance.md"), &recorded)?;
    }
    for line in &worse {
        println!("worse {line}");
    }
    Ok(if worse.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Boots a guest that measures, and returns its figures.
fn measure(
    args: &BenchArgs,
    files: &BootFiles,
    programs: &GuestPrograms,
    peers: &std::path::Path,
) -> Result<Vec<Figure>> {
    let series = files.kernel.series;
    let logs = workspace::cache("vm-logs");
    fs::create_dir_all(&logs).with_context(|| format!("cannot create {}", logs.display()))?;
    let mut command = vec!["guest".to_owned(), "bench".to_owned()];
    command.extend(words(args));
    let log = logs.join(format!("{}-{series}-bench.log", files.kernel.arch.name));
    let mut figures = Vec::new();
    let outcome = Boot {
        files,
        programs,
        peers: Some(peers),
        prometheus: None,
        network: &[],
        accelerator: Accelerator::Tcg,
        mode: Mode::Repeated,
        append: "",
        command,
        env: [].into(),
        terminal: Terminal::Logged(log.clone()),
        limits: Some(LIMITS),
    }
    .run(|report| hear(series, report, &mut figures))?;
    match outcome {
        Outcome::Finished { code: 0 } => Ok(figures),
        Outcome::Finished { code } => {
            let said = fs::read_to_string(&log).unwrap_or_default();
            bail!("measuring on {series} ended with {code}:\n{said}")
        }
        Outcome::Panicked { console } | Outcome::Hung { console } | Outcome::Died { console } => {
            bail!("the guest came to no end:\n{console}")
        }
    }
}

/// Arguments for the guest's program that select measurements.
fn words(args: &BenchArgs) -> Vec<String> {
    let mut words = Vec::from_iter(args.short.then(|| "--short".to_owned()));
    if args.measurements.is_empty() {
        words.extend(MEASUREMENTS.map(str::to_owned));
    } else {
        words.extend(args.measurements.iter().cloned());
    }
    words
}

/// Prints a report as it arrives, and collects figures.
fn hear(whence: &str, report: Report, figures: &mut Vec<Figure>) {
    match report {
        Report::Figure(figure) => {
            eprintln!("{whence}: {figure}");
            figures.push(figure);
        }
        Report::Note { text } => eprintln!("{whence}: {text}"),
        _ => {}
    }
}
