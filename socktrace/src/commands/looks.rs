//! Periodic looks at listeners: one that never accepts would go unnoticed otherwise.

use std::{future::pending, sync::Arc, time::Duration};

use tokio::time::{Instant, Interval, MissedTickBehavior, interval_at};

use crate::kernel::listeners::ListenerTable;

/// Time between two looks.
const INTERVAL: Duration = Duration::from_secs(30);

/// When to look, and at which listeners.
pub(super) struct Looks {
    listeners: Arc<ListenerTable>,
    times: Interval,
}

impl Looks {
    pub(super) fn new(listeners: Arc<ListenerTable>) -> Self {
        let mut times = interval_at(Instant::now() + INTERVAL, INTERVAL);
        times.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Self { listeners, times }
    }

    /// Makes the kernel programs report their findings as events.
    pub(super) fn look(&self) {
        if let Err(error) = self.listeners.look() {
            // Perhaps for lack of a free descriptor. Nothing is lost by that.
            log::debug!("{error:#}");
        }
    }
}

/// Waits until it is time to look; forever if looking is off. Cancel safe.
pub(super) async fn due(looks: &mut Option<Looks>) {
    match looks {
        Some(looks) => drop(looks.times.tick().await),
        None => pending().await,
    }
}
