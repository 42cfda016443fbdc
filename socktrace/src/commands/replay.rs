//! Shows events that were written as JSON.

use std::{
    fs::File,
    io::{self, BufRead, BufReader},
    path::Path,
    process::ExitCode,
};

use anyhow::Context as _;

use super::shown::LineView;
use crate::{cli::Replay, record::Line, service::exit};

/// Maximum length of a line: far longer than those of socktrace.
const LONGEST: u64 = 1 << 20;

/// Shows the lines of a file.
///
/// # Errors
/// When the file cannot be read, or its lines cannot be shown.
pub(crate) fn run(args: &Replay) -> anyhow::Result<ExitCode> {
    let mut input: Box<dyn BufRead> = if args.file == Path::new("-") {
        Box::new(io::stdin().lock())
    } else {
        let file = File::open(&args.file);
        let file = file.with_context(|| format!("cannot open {}", args.file.display()))?;
        Box::new(BufReader::new(file))
    };
    let mut view = LineView::new(&args.shown);
    let (mut text, mut number, mut wrong) = (Vec::new(), 0_u64, 0_u64);
    loop {
        text.clear();
        let mut limited = io::Read::take(&mut *input, LONGEST);
        let length = limited.read_until(b'\n', &mut text);
        if length.with_context(|| format!("cannot read {}", args.file.display()))? == 0 {
            break;
        }
        number += 1;
        let line = text.trim_ascii();
        if line.is_empty() {
            continue;
        }
        match Line::read(line) {
            Ok(read) => {
                if view.take(&read, |text| text.extend_from_slice(line)).is_break() {
                    break;
                }
            }
            Err(error) => {
                if wrong == 0 {
                    log::error!(
                        "line {number} was not written by socktrace --output json: {error}"
                    );
                }
                wrong += 1;
            }
        }
    }
    view.finish()?;
    if wrong > 0 {
        log::error!("{wrong} of {number} lines could not be read");
        return Ok(ExitCode::from(exit::FAILED));
    }
    Ok(ExitCode::SUCCESS)
}
