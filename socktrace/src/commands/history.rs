//! Shows what failed before, or deletes it.

use std::{ops::Range, process::ExitCode};

use socktrace_history::Reader;

use super::{say, shown::LineView};
use crate::{
    cli::{Moment, ReadHistory},
    record::Line,
};

/// Shows the lines that are asked for.
///
/// # Errors
/// When they cannot be read or shown.
pub(crate) fn run(args: &ReadHistory) -> anyhow::Result<ExitCode> {
    let span = span(args);
    if args.purge {
        let count = Reader::purge(&args.file, span)?;
        say(&format!("{count} lines deleted from {}", args.file.display()));
        return Ok(ExitCode::SUCCESS);
    }
    let mut reader = Reader::open(&args.file)?;
    let mut view = LineView::new(&args.shown);
    let mut unreadable = 0_u64;
    reader.read(span, |text| match Line::read(text) {
        Ok(line) => view.take(&line, text),
        Err(error) => {
            log::debug!("a line cannot be read: {error}");
            unreadable += 1;
            std::ops::ControlFlow::Continue(())
        }
    })?;
    if unreadable > 0 {
        log::warn!("{unreadable} lines cannot be read");
    }
    view.finish()?;
    Ok(ExitCode::SUCCESS)
}

/// In nanoseconds since 1970.
fn span(args: &ReadHistory) -> Range<i64> {
    let number = |moment: Moment| {
        let number = moment.0.as_nanosecond();
        i64::try_from(number).unwrap_or(if number < 0 { i64::MIN } else { i64::MAX })
    };
    args.since.map_or(i64::MIN, number)..args.until.map_or(i64::MAX, number)
}
