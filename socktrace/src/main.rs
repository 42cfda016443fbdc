//! socktrace: names the errno a failing TCP socket will deliver, and why.

use std::process::ExitCode;

use clap::Parser as _;

mod cli;
mod commands;
mod diagnosis;
mod doctor;
mod explain;
mod kernel;
mod metrics;
mod output;
mod owner;
mod service;

fn main() -> ExitCode {
    let cli = cli::Cli::parse();
    service::log::init(cli.verbose, cli.probe_log);
    let result = match &cli.command {
        Some(cli::Command::Explain(args)) => commands::explain::run(args),
        Some(cli::Command::Doctor(args)) => commands::doctor::run(args),
        None => commands::trace::run(&cli).map(|()| ExitCode::SUCCESS),
    };
    match result {
        Ok(code) => code,
        Err(error) => service::exit::report(&error, cli.verbose),
    }
}
