//! The log, on stderr; in the journal with priorities and fields if stderr is connected to it.
//! Problems are always logged, details with `-v`, messages of the kernel programs on request.
//!
//! A record's key-value pairs, such as `socktrace_hook`, become fields of that name in the journal,
//! in capitals.

use std::{
    collections::VecDeque,
    sync::{Mutex, MutexGuard, PoisonError},
};

use env_logger::{Builder, Logger};
use log::{LevelFilter, Log, Metadata, Record};
use systemd_journal_logger::{JournalLog, connected_to_journal};

use crate::kernel::{LOADER, probe_log};

/// Target of messages that are shown at any level and without a level prefix: hooks attached,
/// address of the metrics, final summary.
pub(crate) const NOTICE: &str = "socktrace::notice";

/// Starts logging.
pub(crate) fn init(verbose: bool, probe_log: bool) {
    let logger = logger(verbose, probe_log);
    let level = logger.filter();
    let journal = if connected_to_journal() { JournalLog::new().ok() } else { None };
    let set = match journal {
        Some(journal) => log::set_boxed_logger(Box::new(Journal { journal, filter: logger })),
        None => log::set_boxed_logger(Box::new(Stderr(logger))),
    };
    // This process sets no other logger.
    if set.is_ok() {
        log::set_max_level(level);
    }
}

fn logger(verbose: bool, probe_log: bool) -> Logger {
    use std::io::Write as _;

    let level = |detailed| if detailed { LevelFilter::Debug } else { LevelFilter::Warn };
    Builder::new()
        .filter_level(LevelFilter::Warn)
        // The loader's warnings are reported in other words if they matter.
        .filter_module(LOADER, if verbose { LevelFilter::Warn } else { LevelFilter::Error })
        .filter_module("socktrace", level(verbose))
        .filter_module(NOTICE, LevelFilter::Info)
        .filter_module(probe_log::TARGET, level(probe_log))
        .format(|out, record| writeln!(out, "{}", text(record)))
        .build()
}

fn text(record: &Record<'_>) -> String {
    if record.target() == NOTICE {
        record.args().to_string()
    } else {
        format!("[{:<5}] {}", record.level(), record.args())
    }
}

/// Maximum number of messages kept while stderr has to wait.
const MOST_HELD: usize = 200;

/// Messages kept back.
struct Held {
    lines: VecDeque<String>,
    /// Whether the last one has not been read by [`last_held`] yet.
    is_new: bool,
}

static HELD: Mutex<Option<Held>> = Mutex::new(None);

fn held() -> MutexGuard<'static, Option<Held>> {
    HELD.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Keeps back messages from now on, because a screen occupies the terminal.
pub(crate) fn hold() {
    *held() = Some(Held { lines: VecDeque::new(), is_new: false });
}

/// The last message kept back, unless returned before.
pub(crate) fn last_held() -> Option<String> {
    let mut held = held();
    let held = held.as_mut().filter(|held| held.is_new)?;
    held.is_new = false;
    held.lines.back().cloned()
}

/// Writes the messages kept back, and stops keeping them back.
pub(crate) fn release() {
    let kept = held().take();
    for line in kept.into_iter().flat_map(|held| held.lines) {
        eprintln!("{line}");
    }
}

/// Logger to stderr, with a filter.
struct Stderr(Logger);

impl Log for Stderr {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        self.0.enabled(metadata)
    }

    fn log(&self, record: &Record<'_>) {
        match &mut *held() {
            Some(held) if self.0.matches(record) => {
                if held.lines.len() == MOST_HELD {
                    held.lines.pop_front();
                }
                held.lines.push_back(text(record));
                held.is_new = true;
            }
            Some(_) => {}
            None => self.0.log(record),
        }
    }

    fn flush(&self) {}
}

/// Logger to the journal, with a filter.
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
