//! Report of what this host offers for tracing.

use std::{
    io::{self, Write},
    process::ExitCode,
};

use anyhow::Context as _;

use super::print;
use crate::{
    cli::{Doctor, Output},
    doctor::{Report, write_table},
};

/// Width beyond which lines are hard to read.
const WIDEST: usize = 120;

/// Prints the report and returns its exit code.
///
/// # Errors
/// When the examination itself fails, or stdout cannot be written.
pub(crate) fn run(args: &Doctor) -> anyhow::Result<ExitCode> {
    let report = Report::examine(args.attach.into(), args.self_test)?;
    let mut text = Vec::new();
    match args.output {
        Output::Human => write_table(&mut text, &report, textwrap::termwidth().min(WIDEST)),
        Output::Json => serde_json::to_writer_pretty(&mut text, &report)
            .map_err(io::Error::from)
            .and_then(|()| writeln!(text)),
    }
    .context("cannot write the report")?;
    print(&text).context("cannot write to stdout")?;
    Ok(ExitCode::from(report.exit_code()))
}
