//! The log: on stderr, or in the journal with priorities and fields when stderr is connected to it.
//! Problems always, details with `-v`, the programs' messages on request.
//!
//! What a record has besides its text, such as `socktrace_hook`, is a field of that name in the journal,
//! in capitals.

use env_logger::{Builder, Logger};
use log::{LevelFilter, Log, Metadata, Record};
use systemd_journal_logger::{JournalLog, connected_to_journal};

use crate::kernel::{LOADER, probe_log};

/// Target of what everybody is told, whatever the level and without it: what is hooked, where metrics
/// are, how it ended.
pub(crate) const NOTICE: &str = "socktrace::notice";

/// Starts logging.
pub(crate) fn init(verbose: bool, probe_log: bool) {
    let logger = logger(verbose, probe_log);
    let level = logger.filter();
    let journal = if connected_to_journal() { JournalLog::new().ok() } else { None };
    let set = match journal {
        Some(journal) => log::set_boxed_logger(Box::new(Journal { journal, filter: logger })),
        None => log::set_boxed_logger(Box::new(logger)),
    };
    // Nobody else in this process sets one.
    if set.is_ok() {
        log::set_max_level(level);
    }
}

fn logger(verbose: bool, probe_log: bool) -> Logger {
    use std::io::Write as _;

    let level = |detailed| if detailed { LevelFilter::Debug } else { LevelFilter::Warn };
    Builder::new()
        .filter_level(LevelFilter::Warn)
        // What it warns of is explained in other words when it matters.
        .filter_module(LOADER, if verbose { LevelFilter::Warn } else { LevelFilter::Error })
        .filter_module("socktrace", level(verbose))
        .filter_module(NOTICE, LevelFilter::Info)
        .filter_module(probe_log::TARGET, level(probe_log))
        .format(|out, record| {
            if record.target() == NOTICE {
                writeln!(out, "{}", record.args())
            } else {
                writeln!(out, "[{:<5}] {}", record.level(), record.args())
            }
        })
        .build()
}

/// The journal, for what passes the filter.
struct Journal {
    journal: JournalLog,
    filter: Logger,
}

impl Log for Journal {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        self.filter.enabled(metadata)
    }

    fn log(&self, record: &Record<'_>) {
        if self.filter.matches(record) {
            self.journal.log(record);
        }
    }

    fn flush(&self) {}
}
