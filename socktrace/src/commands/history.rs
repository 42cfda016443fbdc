//! Shows past failures, or deletes them.

use std::{
    ops::{ControlFlow, Range},
    process::ExitCode,
};

use socktrace_history::Reader;

use super::{say, shown::LineView};
use crate::{
    cli::{Moment, ReadHistory},
    config,
    history::Lines,
};

/// Shows the requested lines.
///
/// # Errors
/// When they cannot be read or shown.
pub(crate) fn run(args: &ReadHistory) -> anyhow::Result<ExitCode> {
    let span = span(args);
    let file = args.file.clone().unwrap_or_else(config::history_file);
    if args.purge {
        let count = Reader::purge(&file, span)?;
        say(&format!("{count} lines deleted from {}", file.display()));
        return Ok(ExitCode::SUCCESS);
    }
    let mut reader = Reader::open(&file)?;
    let mut view = LineView::new(&args.shown);
    let mut lines = Lines::default();
    let mut unreadable = 0_u64;
    reader.rows(span, |kept| {
        if let Some(line) = lines.read(kept) {
            return view.take(line, |text| _ = kept.text(text));
        }
        unreadable += 1;
        ControlFlow::Continue(())
    })?;
    if unreadable > 0 {
        log::warn!("{unreadable} lines cannot be read");
    }
    view.finish()?;
    Ok(ExitCode::SUCCESS)
}

/// The requested span, in nanoseconds since 1970.
fn span(args: &ReadHistory) -> Range<i64> {
    let number = |moment: Moment| {
        let number = moment.0.as_nanosecond();
        i64::try_from(number).unwrap_or(if number < 0 { i64::MIN } else { i64::MAX })
    };
    args.since.map_or(i64::MIN, number)..args.until.map_or(i64::MAX, number)
}
