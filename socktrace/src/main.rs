//! socktrace: names the errno a failing TCP socket will deliver, and why.

use std::process::ExitCode;

use clap::Parser as _;

mod cli;
mod commands;
mod diagnosis;
mod kernel;
mod metrics;
mod output;
mod service;

fn main() -> ExitCode {
    let cli = cli::Cli::parse();
    service::log::init(cli.verbose, cli.probe_log);
    match commands::trace::run(&cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => service::exit::report(&error, cli.verbose),
    }
}
