//! The kernels' BTF in the tree, and the table made from it.

use std::process::ExitCode;

use anyhow::Result;
use socktrace_lab::{
    compatibility,
    fixtures::{self, Captured},
    kernel,
    setup::Need,
};
use xtask_common::arch::Arch;

use crate::cli::{BtfCommand, CaptureArgs};

/// Runs the command.
///
/// # Errors
///
/// When the table cannot be made. If a kernel cannot be fetched or read, this is reported, and the
/// command fails at its end.
pub(crate) fn run(command: &BtfCommand) -> Result<ExitCode> {
    let complete = match command {
        BtfCommand::Capture(args) => capture(args)?,
        BtfCommand::Table => true,
    };
    eprintln!("Written: {}", compatibility::write()?.display());
    Ok(if complete { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Captures the BTF of kernels. Returns whether all of them were captured.
fn capture(args: &CaptureArgs) -> Result<bool> {
    let setup = args.no_setup.setup();
    setup.ensure(&[Need::Machines(Arch::AMD64)])?;
    let all: Vec<_> = kernel::ALL.iter().collect();
    let chosen = if args.kernels.is_empty() { &all } else { &args.kernels };
    let mut complete = true;
    for &series in chosen {
        let renewed = Captured::fetch(series, &setup, &args.mirrors)
            .and_then(|captured| Ok((fixtures::renew(&captured)?, captured.release)));
        match renewed {
            Ok((bytes, release)) => {
                eprintln!("Captured: {release} ({} KiB)", bytes.div_ceil(1024));
            }
            Err(error) => {
                eprintln!("Not captured: {}: {error:#}", series.name);
                complete = false;
            }
        }
    }
    Ok(complete)
}
