//! Shows socktrace at work on sockets that fail, and its metrics.

use std::{
    io::{self, Write as _},
    process::Command,
    thread,
    time::Duration,
};

use anyhow::{Context as _, Result};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

use socktrace_scenarios::demo_failures;
use xtask_common::http::get_metrics;

/// Time for a person to read a line before the next.
const PAUSE: Duration = Duration::from_millis(700);

/// Runs `socktrace` with these arguments, makes sockets fail, and prints what `/metrics` says.
///
/// # Errors
///
/// When socktrace cannot be started; a demonstration that goes wrong says so and goes on.
pub(crate) fn main(args: &[String]) -> Result<i32> {
    let mut daemon =
        Command::new("socktrace").args(args).spawn().context("cannot start socktrace")?;
    // It attaches within this time, or has ended with a message.
    thread::sleep(Duration::from_secs(2));
    if let Some(status) = daemon.try_wait()? {
        return Ok(status.code().unwrap_or(1));
    }
    for (name, fail) in demo_failures() {
        if let Err(error) = fail() {
            eprintln!("{name}: {error:#}");
        }
        thread::sleep(PAUSE);
    }
    match get_metrics() {
        Ok(page) => {
            let mut out = io::stdout().lock();
            writeln!(out, "\n$ curl http://127.0.0.1:10054/metrics")?;
            for line in page.lines().filter(|line| line.contains("socktrace_")) {
                writeln!(out, "{line}")?;
            }
            writeln!(out)?;
        }
        Err(error) => eprintln!("no metrics at the default address: {error:#}"),
    }
    kill(Pid::from_raw(i32::try_from(daemon.id())?), Signal::SIGINT)?;
    Ok(daemon.wait()?.code().unwrap_or(1))
}
