//! Runs a command with the console as its terminal.
//!
//! It is a separate process between init and the command. When a session leader exits, the kernel
//! discards unsent terminal output, so the leader has to outlive the command.

use std::{
    fs::OpenOptions,
    io,
    os::{fd::AsFd as _, unix::process::ExitStatusExt as _},
    process::Command,
};

use anyhow::{Context as _, Result, bail};
use nix::{sys::termios, unistd};
use xtask_common::interrupt::Shield;

use super::ports;

/// Runs a program with arguments, and returns its exit code, or 128 plus the signal.
///
/// # Errors
///
/// When the terminal cannot be acquired or the program cannot be run.
pub(crate) fn main(args: &[String]) -> Result<i32> {
    let [program, args @ ..] = args else { bail!("the job has no command") };
    let console = ports::console();
    take_terminal(&console).with_context(|| format!("cannot make {console} the terminal"))?;
    let mut command = Command::new(program);
    let shield = Shield::around(&mut command).context("cannot block signals")?;
    let code = match command.args(args).status() {
        Ok(status) => status.code().unwrap_or(128 + status.signal().unwrap_or(0)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            eprintln!("{program}: not found");
            127
        }
        Err(error) => return Err(error).with_context(|| format!("cannot run {program}")),
    };
    shield.keep();
    termios::tcdrain(io::stdout()).with_context(|| format!("cannot drain {console}"))?;
    Ok(code)
}

fn take_terminal(console: &str) -> Result<()> {
    unistd::setsid()?;
    // A terminal opened by a session leader without one becomes the session's.
    let terminal = OpenOptions::new().read(true).write(true).open(console)?;
    unistd::dup2_stdin(terminal.as_fd())?;
    unistd::dup2_stdout(terminal.as_fd())?;
    unistd::dup2_stderr(terminal.as_fd())?;
    Ok(())
}
