//! The service manager: is told when the daemon is ready, alive, reloading and stopping.

use std::{future, time::Duration};

use sd_notify::{NotifyState, notify, watchdog_enabled};
use tokio::time::{Interval, MissedTickBehavior, interval};

/// Between two words to the manager, unless its watchdog wants them oftener.
const STATUS_INTERVAL: Duration = Duration::from_secs(10);

/// Whoever started this process and set `NOTIFY_SOCKET`; else nobody, and nothing is sent.
pub(crate) struct Manager {
    due: Option<Interval>,
}

impl Manager {
    /// Finds out whether somebody listens.
    pub(crate) fn new() -> Self {
        let due = std::env::var_os("NOTIFY_SOCKET").map(|_| {
            // Two words within the time that the watchdog allows.
            let watchdog = watchdog_enabled().map(|limit| limit / 2);
            let period = watchdog.unwrap_or(STATUS_INTERVAL).min(STATUS_INTERVAL);
            let mut due = interval(period.max(Duration::from_millis(1)));
            due.set_missed_tick_behavior(MissedTickBehavior::Delay);
            due
        });
        Self { due }
    }

    /// Whether somebody listens.
    pub(crate) fn listens(&self) -> bool {
        self.due.is_some()
    }

    /// Waits until a sign of life is due; forever where nobody listens. Cancel safe.
    ///
    /// To be awaited by the loop that does the work, so that no other part of the process can speak
    /// for it.
    pub(crate) async fn due(&mut self) {
        match &mut self.due {
            Some(due) => {
                due.tick().await;
            }
            None => future::pending().await,
        }
    }

    /// Everything is attached and served.
    pub(crate) fn ready(&self, status: &str) {
        self.send(&[NotifyState::Ready, NotifyState::Status(status)]);
    }

    /// The work goes on.
    pub(crate) fn alive(&self, status: &str) {
        self.send(&[NotifyState::Watchdog, NotifyState::Status(status)]);
    }

    /// The configuration is read again; [`Self::ready`] ends that.
    pub(crate) fn reloading(&self) {
        match NotifyState::monotonic_usec_now() {
            Ok(now) => self.send(&[NotifyState::Reloading, now]),
            Err(error) => log::warn!("the service manager does not learn of the reload: {error}"),
        }
    }

    /// The end has begun.
    pub(crate) fn stopping(&self) {
        self.send(&[NotifyState::Stopping]);
    }

    fn send(&self, words: &[NotifyState<'_>]) {
        if self.listens()
            && let Err(error) = notify(words)
        {
            log::warn!("the service manager cannot be told: {error}");
        }
    }
}
