//! Unit tests on the host, and scenarios on the kernels of the matrix.

mod boots;
mod catalogue;
mod coverage;
mod guest;
mod host;
mod monitoring;
mod queue;
mod summary;

use std::{
    process::ExitCode,
    sync::{Mutex, PoisonError},
    thread,
};

use anyhow::Result;

use boots::PlannedBoot;
use catalogue::Catalogue;
use queue::Queue;
pub(crate) use summary::Count;
use summary::Summary;

use crate::cli::TestArgs;
use socktrace_lab::{
    initramfs::GuestPrograms,
    kernel::{self, Series},
    prepare,
};

/// Runs the tests, and reports their results.
///
/// # Errors
///
/// When the tests cannot run, because something cannot be installed or does not compile.
pub(crate) fn run(args: &TestArgs) -> Result<ExitCode> {
    let has_host = args.scenarios.is_empty() && args.arch.is_own() && !args.system;
    let mut kernels = args.kernels.clone();
    if kernels.is_empty() {
        kernels.extend(kernel::matrix(args.arch));
    }
    let setup = args.no_setup.setup();
    let mut summary = thread::scope(|scope| {
        let (programs, unit_tests) = prepare::programs_and(args.arch, &setup, true, || {
            let unit_tests = has_host.then(|| scope.spawn(host::unit_tests));
            boots::fetch(args, &kernels);
            Ok(unit_tests)
        })?;
        let catalogue = Catalogue::read()?;
        catalogue.check(&args.scenarios);
        let mut summary = run_scenarios(args, &kernels, &programs, &catalogue);
        if has_host {
            let promtool = prepare::promtool(&setup, &args.mirrors)?;
            summary.count.add(monitoring::check(&promtool)?);
            if let Some(daemon) = &programs.daemon {
                summary.count.add(host::refusal(daemon)?);
            }
        }
        if let Some(unit_tests) = unit_tests {
            match unit_tests.join() {
                Ok(count) => summary.count.add(count?),
                Err(panic) => std::panic::resume_unwind(panic),
            }
        }
        anyhow::Ok(summary)
    })?;
    let names: Vec<_> = kernels.iter().map(|series| series.name).collect();
    let tables = summary.coverage.tables(&names);
    print!("{tables}");
    let picked = !args.kernels.is_empty() || !args.scenarios.is_empty() || args.attach.is_some();
    if !picked && !args.system && args.arch.is_own() {
        summary.count.add(coverage::check_document(&tables, args.full, args.write_docs)?);
    }
    print!("{}", summary.text());
    let count = summary.count;
    println!("{}", count.line());
    Ok(if count.failed == 0 && count.passed > 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Boots the kernels, with one boot more than processors at once: guests wait for a third of their
/// time, mostly for the kernel to link and unlink programs. The next boots are prepared in the
/// meantime.
fn run_scenarios(
    args: &TestArgs,
    kernels: &[&'static Series],
    programs: &GuestPrograms,
    catalogue: &Catalogue,
) -> Summary {
    let processors = thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let jobs = args.jobs.map_or(processors + 1, std::num::NonZero::get);
    let (queue, summary) = (Queue::default(), Mutex::new(Summary::default()));
    let merge = |one: Summary| {
        summary.lock().unwrap_or_else(PoisonError::into_inner).merge(one);
    };
    thread::scope(|scope| {
        for _ in 0..jobs {
            scope.spawn(|| {
                while let Some(planned) = queue.next() {
                    merge(guest::run(args, &planned));
                }
            });
        }
        let prepare = |series: &Series, boots: Result<Vec<PlannedBoot>>| match boots {
            Ok(boots) => queue.add(boots),
            Err(error) => {
                let mut summary = Summary::default();
                let failure = guest::failure(format!("{error:#}"));
                guest::show(series.name, "-", &failure);
                summary.verdict(series.name, &failure);
                merge(summary);
            }
        };
        // The kernel with the most scenarios comes first, and boots that need a release build come
        // last.
        let (first, others): (Vec<_>, Vec<_>) =
            kernels.iter().partition(|series| series.name == kernel::DEFAULT);
        for series in first.into_iter().chain(others) {
            prepare(series, boots::sockets(args, series, programs, catalogue));
        }
        let mut packages = Vec::new();
        for series in kernels {
            prepare(series, boots::system(args, series, programs, catalogue, &mut packages));
        }
        queue.complete();
    });
    summary.into_inner().unwrap_or_else(PoisonError::into_inner)
}
