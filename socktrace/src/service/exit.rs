//! Exit of the process: final messages and exit codes.

use std::{fmt, process::ExitCode};

use socktrace_exporter::UnusableWebConfig;
use socktrace_otlp::Unusable;

use super::log::NOTICE;
use crate::kernel::refusal::Refusal;

/// Exit code for errors unrelated to the host's kernel, such as a port in use or a closed
/// descriptor.
pub(crate) const FAILED: u8 = 1;

/// Exit code for a wrong command line, the same as clap's.
pub(crate) const WRONG_USAGE: u8 = 2;

/// Exit code for a failed self-test.
pub(crate) const SELF_TEST: u8 = 20;

/// A command line whose error shows only during execution.
#[derive(Debug)]
pub(crate) struct WrongUsage(pub(crate) String);

impl fmt::Display for WrongUsage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Exit codes, for `--help`.
pub(crate) const HELP: &str = "\
Exit codes:
  0   ended normally: by a signal, --count, --duration, the output's reader, or what is followed
  1   failed; the message says why
  2   wrong command line, configuration, web configuration file, or file for --otlp
  10  not started as root
  11  a capability is missing
  12  the kernel has no BTF type information
  13  the kernel is too old
  14  a security policy denies tracing
  15  lockdown denies tracing
  16  the locked-memory limit is too small (kernels before 5.11)
  17  no hook could be attached
  18  the kernel's structures are unknown
  19  kprobes are needed or requested, and the kernel has none or refuses them
  20  doctor --self-test: a hook did not fire, or a count is wrong

With -- CMD these apply until the command has started; after that the exit code is the command's:
128+N if signal N killed it, 127 if it was not found, 126 if it could not be run";

/// Prints an error for the user and returns the exit code.
pub(crate) fn report(error: &anyhow::Error, verbose: bool) -> ExitCode {
    let code = code(error);
    let text = if verbose { format!("{error:?}") } else { format!("{error:#}") };
    ::log::error!(target: NOTICE, socktrace_exit_code = code; "socktrace: {text}");
    ExitCode::from(code)
}

fn code(error: &anyhow::Error) -> u8 {
    if error.is::<UnusableWebConfig>() || error.is::<Unusable>() || error.is::<WrongUsage>() {
        return WRONG_USAGE;
    }
    error.downcast_ref::<Refusal>().map_or(FAILED, Refusal::exit_code)
}
