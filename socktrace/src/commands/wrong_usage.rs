//! A command line or configuration that is wrong.

use std::process::ExitCode;

use systemd_journal_logger::connected_to_journal;

use crate::{
    config,
    service::{
        exit,
        log::{NOTICE, init as init_log},
    },
};

/// Prints what is wrong with the configuration, or the help that was asked for.
pub(crate) fn wrong_usage(error: &config::Error) -> ExitCode {
    match error {
        config::Error::Usage(error) if error.use_stderr() && connected_to_journal() => {
            init_log(false, false);
            log::error!(target: NOTICE, socktrace_exit_code = exit::WRONG_USAGE; "{error}");
            ExitCode::from(exit::WRONG_USAGE)
        }
        config::Error::Usage(error) => {
            // The terminal is gone, so the message has no reader.
            drop(error.print());
            ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(exit::WRONG_USAGE))
        }
        config::Error::Settings(problems) => {
            // What was to be logged is in the configuration that there is not.
            init_log(false, false);
            for problem in problems {
                log::error!(
                    target: NOTICE, socktrace_exit_code = exit::WRONG_USAGE; "socktrace: {problem}"
                );
            }
            ExitCode::from(exit::WRONG_USAGE)
        }
    }
}
