//! Whether another event loop makes progress: it is asked, and answers.

use std::time::Duration;

use tokio::{
    sync::{mpsc, oneshot},
    time::timeout,
};

/// How long the event loop may take to answer.
pub(super) const PATIENCE: Duration = Duration::from_secs(5);

/// How many may wait for an answer; others wait for a place.
const WAITING: usize = 16;

/// Asks the event loop from other threads. Nobody is woken while nobody asks.
#[derive(Clone)]
pub struct Liveness(mpsc::Sender<oneshot::Sender<()>>);

/// Run by the event loop, to show that it makes progress.
pub struct Watchdog(mpsc::Receiver<oneshot::Sender<()>>);

impl Liveness {
    /// Both ends.
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
    /// Answers until nobody is left who could ask. To be run by the event loop in question.
    pub async fn run(mut self) {
        while let Some(asker) = self.0.recv().await {
            // Who has lost patience does not hear it.
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
