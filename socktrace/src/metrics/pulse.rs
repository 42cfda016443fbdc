//! Whether the daemon's event loop makes progress.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

/// How often it beats.
const PERIOD: Duration = Duration::from_secs(1);

/// The silence after which the event loop counts as stuck.
const PATIENCE: Duration = Duration::from_secs(15);

/// Beats as long as the event loop runs; to be asked from another thread.
#[derive(Clone)]
pub(crate) struct Pulse {
    start: Instant,
    /// Milliseconds from the start to the last beat.
    last: Arc<AtomicU64>,
}

impl Pulse {
    /// A pulse that has just beaten.
    pub(crate) fn new() -> Self {
        Self { start: Instant::now(), last: Arc::default() }
    }

    /// Beats for ever. To be run by the event loop in question.
    pub(crate) async fn beat(self) {
        loop {
            let now = u64::try_from(self.start.elapsed().as_millis()).unwrap_or(u64::MAX);
            self.last.store(now, Ordering::Relaxed);
            tokio::time::sleep(PERIOD).await;
        }
    }

    /// For how long the event loop has been stuck, if it is.
    pub(crate) fn stuck(&self) -> Option<Duration> {
        let last = Duration::from_millis(self.last.load(Ordering::Relaxed));
        let silence = self.start.elapsed().saturating_sub(last);
        (silence > PATIENCE).then_some(silence)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_stuck_loop_is_told_from_a_running_one() {
        let start = Instant::now().checked_sub(Duration::from_mins(1)).expect("a minute of uptime");
        let pulse = Pulse { start, last: Arc::default() };
        assert!(pulse.stuck().expect("never beaten") >= Duration::from_mins(1));
        tokio::spawn(pulse.clone().beat());
        tokio::task::yield_now().await;
        assert_eq!(pulse.stuck(), None);
        assert_eq!(Pulse::new().stuck(), None);
    }
}
