//! Runs the daemon on this machine or, if its kernel refuses tracing, demonstrates it in a guest.

use std::{
    io::{BufRead as _, BufReader},
    path::Path,
    process::{ExitCode, Stdio},
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};
use socktrace_lab::{
    boot::{Boot, Terminal},
    host,
    initramfs::GuestPrograms,
    prepare::{self, BootFiles},
    qemu::Mode,
    refusal,
    setup::{Setup, as_root},
};
use xtask_common::{arch::Arch, interrupt::Shield};

use crate::{
    cli::RunArgs,
    commands::{exit_code, vm},
};

/// Time within which a refused daemon exits. Until then its messages are held back, because one
/// line about a refusal is enough.
const HOLD_BACK: Duration = Duration::from_secs(1);

/// Runs the daemon, here or in a guest.
///
/// # Errors
///
/// When something cannot be installed or compiled, or the guest does not finish.
pub(crate) fn run(args: &RunArgs) -> Result<ExitCode> {
    let setup = args.no_setup.setup();
    if args.vm {
        return in_guest(args, prepare_guest(args, &setup)?);
    }
    // If the daemon is going to be refused, fetches the guest's files while it is compiled.
    let prepared = if host::refuses_tracing() { Some(prepare_guest(args, &setup)?) } else { None };
    let daemon = match prepared.as_ref().and_then(|(programs, _)| programs.daemon.clone()) {
        Some(daemon) => daemon,
        None => prepare::daemon(&setup)?,
    };
    match native(&daemon, &args.args)? {
        Native::Ended(code) => return Ok(code),
        Native::Refused(reason) => eprintln!(
            "This host refuses tracing: {reason}. Using a virtual machine instead (Ctrl-C ends it)."
        ),
    }
    in_guest(args, prepared.map_or_else(|| prepare_guest(args, &setup), Ok)?)
}

/// Compiles the programs of a guest, and fetches its files.
fn prepare_guest(args: &RunArgs, setup: &Setup) -> Result<(GuestPrograms, BootFiles)> {
    prepare::programs_and(Arch::OWN, setup, true, || {
        prepare::boot_files(args.kernel, Arch::OWN, setup, &args.mirrors)
    })
}

enum Native {
    Ended(ExitCode),
    Refused(String),
}

fn native(daemon: &Path, args: &[String]) -> Result<Native> {
    let mut command = as_root(daemon);
    // After an interrupt the daemon exits in an orderly way, and xtask waits for it.
    let shield = Shield::around(&mut command).context("cannot block signals")?;
    let mut child = command
        .args(args)
        .stderr(Stdio::piped())
        .spawn()
        .with_context(|| format!("cannot run {}", daemon.display()))?;
    let (sender, lines) = mpsc::channel();
    let stderr = child.stderr.take().context("the daemon's stderr is not piped")?;
    thread::spawn(move || {
        for line in BufReader::new(stderr).lines().map_while(Result::ok) {
            if sender.send(line).is_err() {
                return;
            }
        }
    });

    let start = Instant::now();
    let mut held = Vec::new();
    while let Ok(line) = lines.recv_timeout(HOLD_BACK.saturating_sub(start.elapsed())) {
        held.push(line);
    }
    let ended = start.elapsed() < HOLD_BACK;
    if ended {
        let status = child.wait().context("cannot wait for the daemon")?;
        if refusal::is_refusal(status.code()) {
            return Ok(Native::Refused(refusal::reason(&held.join("\n")).to_owned()));
        }
    }
    shield.keep();
    for line in held.into_iter().chain(lines) {
        eprintln!("{line}");
    }
    let status = child.wait().context("cannot wait for the daemon")?;
    Ok(Native::Ended(exit_code(status.code().unwrap_or(1))))
}

fn in_guest(args: &RunArgs, (programs, files): (GuestPrograms, BootFiles)) -> Result<ExitCode> {
    let accelerator = prepare::accelerator(&files, &programs)?;
    let command = ["guest", "demo", "--"].into_iter().map(str::to_owned);
    let outcome = Boot {
        files: &files,
        programs: &programs,
        peers: None,
        prometheus: None,
        network: &[],
        accelerator,
        mode: Mode::Smp,
        append: "",
        command: command.chain(args.args.iter().cloned()).collect(),
        env: vm::terminal_variables(),
        terminal: Terminal::Shown,
        limits: None,
    }
    .run(vm::show)?;
    vm::finished(outcome)
}
