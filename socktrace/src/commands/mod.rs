//! The commands of socktrace, one file each; a trace is put together here.

pub(crate) mod doctor;
pub(crate) mod explain;
mod following;
mod groups;
pub(crate) mod history;
mod kept;
mod lifecycle;
mod looks;
mod needs;
#[cfg_attr(not(feature = "otlp"), path = "no_otlp.rs")]
mod otlp;
pub(crate) mod replay;
mod serve;
mod shown;
#[cfg_attr(not(feature = "top"), path = "no_top.rs")]
pub(crate) mod top;
mod totals;
pub(crate) mod trace;
mod watch;
mod wrong_usage;

use std::{
    io::{self, Write as _},
    process::ExitCode,
};

use anyhow::Context as _;

pub(crate) use wrong_usage::wrong_usage;

use crate::config;

/// Prints the configuration in force.
///
/// # Errors
/// When stdout cannot be written.
pub(crate) fn print_config(resolved: &config::Resolved) -> anyhow::Result<ExitCode> {
    let mut text = Vec::new();
    config::print(&mut text, resolved).context("cannot write the configuration")?;
    print(&text).context("cannot write to stdout")?;
    Ok(ExitCode::SUCCESS)
}

/// Prints a message to stderr; failing to do so is ignored, as nobody may be left to read it.
fn say(text: &str) {
    drop(writeln!(io::stderr(), "socktrace: {text}"));
}

/// Writes to stdout, styled only for a terminal. A reader that has gone is not an error.
fn print(text: &[u8]) -> io::Result<()> {
    let mut out = anstream::stdout().lock();
    match out.write_all(text).and_then(|()| out.flush()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        result => result,
    }
}
