//! A shell or a command in a guest.

use std::{
    collections::BTreeMap,
    env,
    io::{self, IsTerminal as _},
    process::ExitCode,
};

use anyhow::{Result, bail};
use socktrace_lab::{
    boot::{Boot, Outcome, Terminal},
    debian_system, prepare,
    qemu::{Accelerator, Mode},
};
use xtask_common::report::Report;

use crate::{
    cli::VmArgs,
    commands::{exit_code, package},
};

/// Runs the guest and returns the exit code of its command.
///
/// # Errors
///
/// When the guest ends before the command does.
pub(crate) fn run(args: VmArgs) -> Result<ExitCode> {
    let setup = args.no_setup.setup();
    let (mut programs, mut files) =
        prepare::programs_and(args.arch, &setup, !args.no_daemon, || {
            prepare::boot_files(args.kernel, args.arch, &setup, &args.mirrors)
        })?;
    let peers = args.peers.then(|| prepare::peers(args.arch, &setup, &args.mirrors)).transpose()?;
    let prometheus = args
        .prometheus
        .then(|| prepare::prometheus(args.arch, &setup, &args.mirrors))
        .transpose()?;
    let (mode, accelerator) = if args.icount {
        (Mode::Icount, Accelerator::Tcg)
    } else {
        (Mode::Smp, prepare::accelerator(&files, &programs)?)
    };
    let mut append = args.append;
    if args.system {
        (files, programs) =
            prepare::system(args.kernel, &programs, package::versions, &setup, &args.mirrors)?;
        append = format!("{} {append}", debian_system::INIT);
    }
    if args.containers {
        (files, programs) = prepare::containers(args.kernel, &programs, &setup, &args.mirrors)?;
        append = format!("{} {append}", debian_system::INIT);
    }
    let command = if args.command.is_empty() { vec!["bash".into()] } else { args.command };
    let outcome = Boot {
        files: &files,
        programs: &programs,
        peers: peers.as_deref(),
        prometheus: prometheus.as_deref(),
        network: &[],
        accelerator,
        mode,
        append: &append,
        command,
        env: terminal_variables(),
        terminal: Terminal::Interactive,
        limits: None,
    }
    .run(show)?;
    finished(outcome)
}

/// Environment variables that tell programs in a guest about the user's terminal.
pub(crate) fn terminal_variables() -> BTreeMap<String, String> {
    let names = ["TERM", "COLORTERM", "NO_COLOR", "LANG"];
    let known = names.into_iter().filter_map(|name| Some((name.to_owned(), env::var(name).ok()?)));
    let mut variables: BTreeMap<_, _> = known.collect();
    // In the guest, stdout is always a terminal.
    if !io::stdout().is_terminal() {
        variables.insert("NO_COLOR".into(), "1".into());
    }
    variables
}

/// Shows a report that is meant for people.
pub(crate) fn show(report: Report) {
    match report {
        Report::Note { text } => eprintln!("{text}"),
        Report::Refused { exit, stderr } => eprintln!("socktrace exited with {exit}: {stderr}"),
        Report::Figure(figure) => eprintln!("{figure}"),
        Report::Up
        | Report::Plan { .. }
        | Report::Started { .. }
        | Report::Scenario { .. }
        | Report::Skipped { .. }
        | Report::History(_)
        | Report::Exit { .. } => {}
    }
}

/// Returns the exit code of a guest's command.
///
/// # Errors
///
/// When the guest ended before the command did.
pub(crate) fn finished(outcome: Outcome) -> Result<ExitCode> {
    match outcome {
        Outcome::Finished { code } => Ok(exit_code(code)),
        Outcome::Panicked { console } => bail!("the guest's kernel panicked\n{console}"),
        Outcome::Hung { console } => bail!("the guest hangs\n{console}"),
        Outcome::Died { console } => {
            bail!("the virtual machine ended before the command did\n{console}")
        }
    }
}
