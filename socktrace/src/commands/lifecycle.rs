//! The daemon as a service: reports to the service manager, and reloads.

use std::sync::Arc;

use socktrace_ebpf::Counter;

use crate::{
    cli::Filters,
    config::{self, Resolved},
    counts::Counts,
    filter::Filter,
    service::{log::NOTICE, manager::Manager, signals::ReloadSignal},
};

/// Settings that can change at run time, besides filters. Others are built into the loaded
/// programs, or are addresses that were bound.
const RELOADABLE: [&str; 6] = ["all", "color", "history-age", "history-size", "on-full", "output"];

/// Whether a setting can change at run time. Filters can, unless they narrow the kernel's counts.
fn is_reloadable(name: &str, at_start: &Resolved) -> bool {
    RELOADABLE.contains(&name) || (Filters::have(name) && !at_start.cli.filter_metrics)
}

/// The daemon as its service manager sees it.
pub(super) struct Lifecycle {
    pub(super) manager: Manager,
    pub(super) reload: ReloadSignal,
    pub(super) counts: Arc<Counts>,
    /// Number of attached hooks.
    pub(super) hooks: usize,
}

impl Lifecycle {
    /// State in one line, read from the kernel: if it cannot be read, that is no sign of life.
    fn status(&self) -> anyhow::Result<String> {
        let failures: u64 = self.counts.failures()?.values().sum();
        let lost = self.counts.counter(Counter::EventsLost)?;
        Ok(format!("{} hooks; {failures} failures counted, {lost} events lost", self.hooks))
    }

    /// Reports that everything is attached and served.
    pub(super) fn ready(&self) {
        if !self.manager.listens() {
            return;
        }
        // That is so even if the counts cannot be read for a moment.
        self.manager.ready(&self.status().unwrap_or_else(|error| format!("{error:#}")));
    }

    /// Reports that the work goes on.
    pub(super) fn alive(&self) {
        match self.status() {
            Ok(status) => self.manager.alive(&status),
            // Perhaps for lack of a free descriptor. The manager decides how long to tolerate that.
            Err(error) => log::warn!("cannot notify the service manager: {error:#}"),
        }
    }

    /// Reads the configuration again, and applies the settings that can change. Differences from
    /// the start are named each time, so that nobody forgets what waits for a restart.
    pub(super) fn reload(&self, resolved: &Resolved, apply: impl FnOnce(&Resolved)) {
        self.manager.reloading();
        match Resolved::of_process() {
            Ok(new) => {
                let (applied, waiting): (Vec<_>, Vec<_>) = resolved
                    .changes(&new)
                    .into_iter()
                    .partition(|name| is_reloadable(name, resolved));
                // Changes are applied before they are logged.
                apply(&new);
                if !waiting.is_empty() {
                    log::warn!(
                        "these changes take effect only after a restart: {}",
                        waiting.join(", ")
                    );
                }
                log::info!(
                    target: NOTICE,
                    "configuration reloaded; changed since the start: {}",
                    list(&applied)
                );
                if applied.iter().any(|name| Filters::have(name)) {
                    announce_filters(&resolved.cli.filters, &new.cli.filters);
                }
            }
            Err(config::Error::Settings(problems)) => {
                for problem in problems {
                    log::error!("{problem}");
                }
                log::error!("the configuration is not changed");
            }
            Err(config::Error::Usage(error)) => {
                log::error!("the configuration is not changed: {error}");
            }
        }
        self.ready();
    }
}

/// Logs the new filters, and which events the kernel still drops.
fn announce_filters(at_start: &Filters, now: &Filters) {
    let (at_start, filter) = (Filter::from(at_start), Filter::from(now));
    let shown = if now.are_given() { now.to_string() } else { "none".to_owned() };
    log::info!(target: NOTICE, "filters: {shown}");
    let dropped = filter.dropped_in_kernel(&at_start);
    if !dropped.is_empty() {
        log::warn!(
            "the kernel programs still drop some events that the new filters let through; restart to \
            see them: {}",
            dropped.join(", ")
        );
    }
    if filter.changed_subjects(&at_start).is_some() {
        log::info!(
            target: NOTICE,
            "until a restart, the new filters see only what all events of a flood have in common"
        );
    }
}

fn list(names: &[&str]) -> String {
    if names.is_empty() { "nothing".to_owned() } else { names.join(", ") }
}
