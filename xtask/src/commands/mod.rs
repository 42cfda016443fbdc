//! One file for each command.

mod bench;
mod btf;
mod crates;
mod dashboard;
mod drift;
mod fleet;
mod fuzz;
mod lint;
pub(crate) mod package;
mod run;
mod test;
mod vm;

use std::process::ExitCode;

use anyhow::Result;
use socktrace_lab::{
    compile::{self, Profile},
    setup::{Need, Setup},
};

use crate::cli::{Cli, Command};

/// Runs the requested command.
///
/// # Errors
///
/// When it fails in a way that has no exit code of its own.
pub(crate) fn run(cli: Cli) -> Result<ExitCode> {
    match cli.command {
        Command::Setup(args) => {
            let setup = Setup { allowed: true, verbose: args.verbose };
            setup.ensure(&[
                Need::Build,
                Need::Lint,
                Need::Packages,
                Need::Fuzz,
                Need::Target(args.arch),
                Need::Machines(args.arch),
                Need::DebianSystem,
            ])?;
            eprintln!("Everything is installed");
            Ok(ExitCode::SUCCESS)
        }
        Command::Build(args) => {
            args.no_setup.setup().ensure(&[Need::Build, Need::Target(args.arch)])?;
            let options = compile::BuildOptions {
                arch: args.arch,
                profile: if args.release { Profile::Release } else { Profile::Dev },
                linked_statically: args.linked_statically,
            };
            println!("{}", compile::daemon(options)?.display());
            Ok(ExitCode::SUCCESS)
        }
        Command::Run(args) => run::run(&args),
        Command::Vm(args) => vm::run(args),
        Command::Test(args) => test::run(&args),
        Command::Fuzz(args) => fuzz::run(&args),
        Command::Bench(args) => bench::run(&args),
        Command::Lint(args) => lint::run(&args),
        Command::Package(args) => package::run(&args),
        Command::Crates(args) => crates::run(&args),
        Command::Dashboard(args) => dashboard::run(&args),
        Command::Drift(args) => drift::run(&args),
        Command::Fleet(args) => fleet::run(&args),
        Command::Btf(command) => btf::run(&command),
    }
}

/// Converts another program's exit code.
fn exit_code(code: i32) -> ExitCode {
    ExitCode::from(u8::try_from(code).unwrap_or(u8::MAX))
}
