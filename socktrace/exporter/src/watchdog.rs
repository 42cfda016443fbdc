//! Liveness check of another event loop, by request and answer.

use std::time::Duration;

use tokio::{
    sync::{mpsc, oneshot},
    time::timeout,
};

/// Longest time for the event loop to answer.
pub(super) const PATIENCE: Duration = Duration::from_secs(5);

/// Maximum number of pending requests; others wait.
const WAITING: usize = 16;

/// Checks the event loop from other threads. It is not woken unless someone checks.
#[derive(Clone)]
pub struct Liveness(mpsc::Sender<oneshot::Sender<()>>);

/// The event loop's side, which shows that it makes progress.
pub struct Watchdog(mpsc::Receiver<oneshot::Sender<()>>);

impl Liveness {
    /// Creates both ends.
    #[must_use]
    pub fn new() -> (Self, Watchdog) {
        let (sender, receiver) = mpsc::channel(WAITING);
        (Self(sender), Watchdog(receiver))
    }

    /// Whether the event loop answers within five seconds.
    pub async fn is_alive(&self) -> bool {
        let (ask, answer) = oneshot::channel();
        let asked = async { self.0.send(ask).await.is_ok() && answer.await.is_ok() };
        timeout(PATIENCE, asked).await.unwrap_or(false)
    }
}

impl Watchdog {
    /// Answers until all [`Liveness`] handles are dropped. Must run on the event loop to be
    /// checked.
    pub async fn run(mut self) {
        while let Some(asker) = self.0.recv().await {
            // A requester that timed out no longer receives the answer.
            let _heard = asker.send(());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_stuck_loop_is_recognized() {
        let (liveness, watchdog) = Liveness::new();
        assert!(!liveness.is_alive().await, "the loop does not run yet");
        let running = tokio::spawn(watchdog.run());
        assert!(liveness.is_alive().await);
        running.abort();
        assert!(running.await.is_err());
        assert!(!liveness.is_alive().await, "the loop has ended");
    }

    #[tokio::test(start_paused = true)]
    async fn it_answers_many_at_once() {
        let (liveness, watchdog) = Liveness::new();
        tokio::spawn(watchdog.run());
        for asking in (0..4 * WAITING)
            .map(|_| {
                tokio::spawn({
                    let liveness = liveness.clone();
                    async move { liveness.is_alive().await }
                })
            })
            .collect::<Vec<_>>()
        {
            assert!(asking.await.expect("no panic"));
        }
    }
}
