//! What makes the daemon a service: reports to the service manager, and reloads.

use std::sync::Arc;

use socktrace_ebpf::Counter;

use crate::{
    config::{self, Resolved},
    counts::Counts,
    service::{log::NOTICE, manager::Manager, signals::ReloadSignal},
};

/// What can change while it runs. Other settings are built into the loaded programs, or bound.
const RELOADABLE: [&str; 4] = ["all", "color", "on-full", "output"];

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
            Err(error) => log::warn!("no sign of life for the service manager: {error:#}"),
        }
    }

    /// Reads the configuration again and has what can change applied. What differs from the start is
    /// named each time, so that nobody forgets what waits for a restart.
    pub(super) fn reload(&self, resolved: &Resolved, apply: impl FnOnce(&Resolved)) {
        self.manager.reloading();
        match Resolved::of_process() {
            Ok(new) => {
                let (applied, waiting): (Vec<_>, Vec<_>) =
                    resolved.changes(&new).into_iter().partition(|name| RELOADABLE.contains(name));
                if !waiting.is_empty() {
                    log::warn!("changed, but only a restart makes it so: {}", waiting.join(", "));
                }
                log::info!(
                    target: NOTICE,
                    "the configuration was read again; changed since the start: {}",
                    list(&applied)
                );
                apply(&new);
            }
            Err(config::Error::Settings(problems)) => {
                for problem in problems {
                    log::error!("{problem}");
                }
                log::error!("the configuration stays as it was");
            }
            Err(config::Error::Usage(error)) => {
                log::error!("the configuration stays as it was: {error}");
            }
        }
        self.ready();
    }
}

fn list(names: &[&str]) -> String {
    if names.is_empty() { "nothing".to_owned() } else { names.join(", ") }
}
