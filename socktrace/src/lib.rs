//! socktrace: names the errno a failing socket will deliver, and why.
//!
//! A library only so that `socktrace-manual` can make manual pages from its command line; the
//! program is [`main`].

#![cfg_attr(
    not(all(feature = "otlp", feature = "top")),
    expect(dead_code, unused_imports, reason = "is for what a feature adds")
)]

use std::process::ExitCode;

mod cli;
mod commands;
mod config;
mod counts;
mod doctor;
mod explain;
mod filter;
mod follow;
mod history;
mod kernel;
mod metrics;
#[cfg(feature = "otlp")]
mod otlp;
mod owner;
mod pipeline;
mod record;
#[cfg(test)]
mod rooms;
mod service;
mod sinks;
#[cfg_attr(not(feature = "top"), path = "top/no_top.rs")]
mod top;

pub use cli::command;
pub use config::template;

/// Runs the program.
#[must_use]
pub fn main() -> ExitCode {
    let resolved = match config::Resolved::of_process() {
        Ok(resolved) => resolved,
        Err(error) => return commands::wrong_usage(&error),
    };
    let cli = &resolved.cli;
    service::log::init(cli.verbose, cli.probe_log);
    for doubt in &resolved.doubts {
        log::warn!(target: service::log::NOTICE, "{doubt}");
    }
    let verbose = cli.verbose;
    let result = match &cli.command {
        Some(cli::Command::Explain(args)) => commands::explain::run(args),
        Some(cli::Command::Doctor(args)) => commands::doctor::run(args),
        Some(cli::Command::History(args)) => commands::history::run(args),
        Some(cli::Command::Replay(args)) => commands::replay::run(args),
        Some(cli::Command::Top(_)) => commands::top::run(resolved),
        None if cli.print_config => commands::print_config(&resolved),
        None => commands::trace::run(resolved),
    };
    match result {
        Ok(code) => code,
        Err(error) => service::exit::report(&error, verbose),
    }
}
