//! What makes the daemon a service: reports to the service manager, and reloads.

use std::sync::Arc;

use socktrace_ebpf::Counter;

use crate::{
    cli::Filters,
    config::{self, Resolved},
    counts::Counts,
    filter::Filter,
    service::{log::NOTICE, manager::Manager, signals::ReloadSignal},
};

/// What can change while it runs, filters aside. Other settings are built into the loaded programs, or
/// bound.
const RELOADABLE: [&str; 6] = ["all", "color", "history-age", "history-size", "on-full", "output"];

/// Whether a setting can change. Filters can, unless they narrow what the kernel side counts.
fn is_reloadable(name: &str, at_start: &Resolved) -> bool {
    RELOADABLE.contains(&name) || (Filters::have(name) && !at_start.cli.filter_metrics)
}

/// The daemon as its service manager sees it.
pub(super) struct Lifecycle {
    pub(super) manager: Manager,
    pub(super) reload: ReloadSignal,
    pub(super) counts: Arc<Counts>,
    /// How many hooks are attached.
    pub(super) hooks: usize,
}

impl Lifecycle {
    /// The state in a line, read from the kernel: what cannot be read is no sign of life.
    fn status(&self) -> anyhow::Result<String> {
        let failures: u64 = self.counts.failures()?.values().sum();
        let lost = self.counts.counter(Counter::EventsLost)?;
        Ok(format!("{} hooks; {failures} failures counted, {lost} events lost", self.hooks))
    }

    /// Everything is attached and served.
    pub(super) fn ready(&self) {
        if !self.manager.listens() {
            return;
        }
        // It is, even if nobody can read the counts for a moment.
        self.manager.ready(&self.status().unwrap_or_else(|error| format!("{error:#}")));
    }

    /// The work goes on.
    pub(super) fn alive(&self) {
        match self.status() {
            Ok(status) => self.manager.alive(&status),
            // As without a free descriptor. The manager decides how long to bear it.
            Err(error) => log::warn!("cannot notify the service manager: {error:#}"),
        }
    }

    /// Reads the configuration again and has what can change applied. What differs from the start is
    /// named each time, so that nobody forgets what waits for a restart.
    pub(super) fn reload(&self, resolved: &Resolved, apply: impl FnOnce(&Resolved)) {
        self.manager.reloading();
        match Resolved::of_process() {
            Ok(new) => {
                let (applied, waiting): (Vec<_>, Vec<_>) = resolved
                    .changes(&new)
                    .into_iter()
                    .partition(|name| is_reloadable(name, resolved));
                // What is said to have changed has.
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

/// Logs the new filters, and which events the kernel side still drops.
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
