//! The log on stderr: problems always, details with `-v`, the programs' messages on request.

use log::LevelFilter;

/// Crate of the kernel programs, the target of their messages.
const PROBES: &str = "socktrace_ebpf";

/// The library that loads programs: what it warns of is explained in other words when it matters.
const LOADER: &str = "aya";

/// Starts logging.
pub(crate) fn init(verbose: bool, probe_log: bool) {
    let level = |detailed| if detailed { LevelFilter::Debug } else { LevelFilter::Warn };
    env_logger::Builder::new()
        .filter_level(LevelFilter::Warn)
        .filter_module(LOADER, if verbose { LevelFilter::Warn } else { LevelFilter::Error })
        .filter_module("socktrace", level(verbose))
        .filter_module(PROBES, level(probe_log))
        .format_target(false)
        .init();
}
