//! Test of `deploy/otel`: finds both ends of failures on several hosts with an official Collector,
//! the engine of `ClickHouse`, and socktrace in guests with address translation between them.

mod cases;
mod collector;
mod engine;
mod guests;
mod million;

use std::process::ExitCode;

use anyhow::{Context as _, Error, Result, ensure};
use socktrace_lab::{progress, workspace};
use xtask_common::otel;

use self::{collector::Collector, engine::Engine, guests::Fleet};
use crate::cli::FleetArgs;

/// Runs the guests, and prints the culprits that were found.
///
/// # Errors
///
/// When something cannot be installed, or a failure is attributed to the wrong culprit.
pub(crate) fn run(args: &FleetArgs) -> Result<ExitCode> {
    let setup = args.no_setup.setup();
    let program = collector::ensure(&setup)?;
    collector::validate(&program)?;
    let libraries = engine::ensure(&setup)?;
    let directory = tempfile::tempdir_in(workspace::cache(""))?;
    let engine = Engine::start(&libraries, directory.path())?;
    engine.make_schema()?;
    let collector = Collector::start(&program, &engine)?;
    if args.events > 0 {
        million::run(&engine, args.events)?;
        million::collect(&engine, &collector, args.events / 10)?;
        engine.forget()?;
    }
    if args.no_guests {
        return Ok(ExitCode::SUCCESS);
    }
    let mut fleet = Fleet::boot(args, collector.port)?;
    let expected = cases::make(&mut fleet)?;
    let said = fleet.end()?;
    collector.stop()?;
    let wrong = cases::compare(&engine, &expected)?;
    for (name, query) in otel::queries().map_err(Error::msg)? {
        let answer = engine.query(&query).with_context(|| format!("the dashboard's {name:?}"))?;
        ensure!(!answer.is_empty(), "the dashboard's {name:?} shows nothing: {query}");
    }
    progress::note("The dashboard's queries are answered");
    if wrong.is_empty() {
        return Ok(ExitCode::SUCCESS);
    }
    progress::note(format_args!("{said}"));
    for line in wrong {
        progress::note(format_args!("WRONG {line}"));
    }
    Ok(ExitCode::FAILURE)
}
