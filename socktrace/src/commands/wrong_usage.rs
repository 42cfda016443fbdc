//! Report of a wrong command line or configuration.

use std::process::ExitCode;

use systemd_journal_logger::connected_to_journal;

use crate::{
    config,
    service::{
        exit,
        log::{NOTICE, init as init_log},
    },
};

/// Prints what is wrong with the configuration, or the requested help.
pub(crate) fn wrong_usage(error: &config::Error) -> ExitCode {
    match error {
        config::Error::Usage(error) if error.use_stderr() && connected_to_journal() => {
            init_log(false, false);
            log::error!(target: NOTICE, socktrace_exit_code = exit::WRONG_USAGE; "{error}");
            ExitCode::from(exit::WRONG_USAGE)
        }
        config::Error::Usage(error) => {
            // If the terminal is gone, nobody can read the message.
            drop(error.print());
            ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(exit::WRONG_USAGE))
        }
        config::Error::Settings(problems) => {
            // Log settings are part of the configuration, which is unusable.
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
