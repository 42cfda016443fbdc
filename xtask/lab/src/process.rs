//! Execution of other programs, with their failures turned into messages.

use std::{
    ffi::OsStr,
    process::{Command, ExitStatus, Output, Stdio},
};

use anyhow::{Context as _, Result, bail};
pub use xtask_common::search_path::find;

/// Runs a program with its output shown to the user.
///
/// # Errors
///
/// When it cannot be started or reports failure.
pub fn run(command: &mut Command) -> Result<()> {
    let status = command.status().with_context(|| format!("cannot run {}", shown(command)))?;
    check(status, command)
}

/// Runs a program, and returns its output.
///
/// # Errors
///
/// Same as [`run`]; the message includes the program's output to stderr.
pub fn output(command: &mut Command) -> Result<String> {
    let output = raw_output(command)?;
    String::from_utf8(output).with_context(|| format!("{} printed no text", shown(command)))
}

/// Like [`output`], for programs that print bytes.
///
/// # Errors
///
/// Same as [`output`].
pub fn raw_output(command: &mut Command) -> Result<Vec<u8>> {
    let Output { status, stdout, stderr } = command
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("cannot run {}", shown(command)))?;
    check(status, command)
        .with_context(|| String::from_utf8_lossy(&stderr).trim().to_owned())
        .map(|()| stdout)
}

fn check(status: ExitStatus, command: &Command) -> Result<()> {
    if !status.success() {
        bail!("{} failed ({status})", shown(command));
    }
    Ok(())
}

/// Formats a command as a person would type it.
fn shown(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words.map(OsStr::to_string_lossy).collect::<Vec<_>>().join(" ")
}
