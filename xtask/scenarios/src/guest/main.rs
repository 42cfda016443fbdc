//! Program of a guest: its init if it is process 1, otherwise the scenarios.

mod demo;
mod init;
mod ports;
mod session;

use std::{
    env,
    process::{self, ExitCode},
};

use anyhow::{Result, bail};
use socktrace_bench::guest as bench;
use socktrace_scenarios as scenarios;

/// Argument by which a scenario starts this program as a child.
const CHILD: &str = "child";

fn main() -> ExitCode {
    // A child can also be process 1, of a PID namespace.
    if process::id() == 1 && env::args().nth(1).as_deref() != Some(CHILD) {
        init::main();
    }
    match dispatch() {
        Ok(code) => ExitCode::from(u8::try_from(code).unwrap_or(u8::MAX)),
        Err(error) => {
            eprintln!("guest: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn dispatch() -> Result<i32> {
    let args: Vec<String> = env::args().skip(1).collect();
    match args.first().map(String::as_str) {
        Some("scenarios") => scenarios::main(&args[1..]),
        Some("list") => {
            scenarios::list();
            Ok(0)
        }
        Some("bench") => bench::main(&args[1..]),
        Some("job") => init::service(),
        Some("session") => session::main(&args[1..]),
        Some("as-service") => scenarios::run_as_service(&args[1..]),
        Some(CHILD) => scenarios::child(&args[1..]),
        Some("history") => scenarios::history(),
        Some("soak") => scenarios::soak(&args[1..]),
        Some("demo") => demo::main(&args[1..]),
        Some("fleet") => scenarios::fleet::agent(&args[1..]),
        Some(scenarios::fleet::END) => scenarios::fleet::end(&args[1..]),
        _ => bail!("say what to do: scenarios, list, bench, history, soak, fleet or demo"),
    }
}
