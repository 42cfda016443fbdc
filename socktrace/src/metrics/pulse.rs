//! Whether the daemon's event loop makes progress: it is asked, and answers.

use std::time::Duration;

use tokio::{
    sync::{mpsc, oneshot},
    time::timeout,
};

/// How long the event loop may take to answer.
pub(crate) const PATIENCE: Duration = Duration::from_secs(5);

/// How many may wait for an answer; others wait for a place.
const WAITING: usize = 16;

/// Can be felt from other threads. Nobody is woken while nobody asks.
#[derive(Clone)]
pub(crate) struct Pulse(mpsc::Sender<oneshot::Sender<()>>);

/// What the event loop runs to have a pulse.
pub(crate) struct Heart(mpsc::Receiver<oneshot::Sender<()>>);

impl Pulse {
    pub(crate) fn new() -> (Self, Heart) {
        let (sender, receiver) = mpsc::channel(WAITING);
        (Self(sender), Heart(receiver))
    }

    /// Whether the event loop answers within [`PATIENCE`].
    pub(crate) async fn is_felt(&self) -> bool {
        let (ask, answer) = oneshot::channel();
        let asked = async { self.0.send(ask).await.is_ok() && answer.await.is_ok() };
        timeout(PATIENCE, asked).await.unwrap_or(false)
    }
}

impl Heart {
    /// Answers until nobody is left who could ask. To be run by the event loop in question.
    pub(crate) async fn beat(mut self) {
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
    async fn a_stuck_loop_is_told_from_a_running_one() {
        let (pulse, heart) = Pulse::new();
        assert!(!pulse.is_felt().await, "the loop does not run yet");
        let running = tokio::spawn(heart.beat());
        assert!(pulse.is_felt().await);
        running.abort();
        assert!(running.await.is_err());
        assert!(!pulse.is_felt().await, "the loop has ended");
    }

    #[tokio::test(start_paused = true)]
    async fn it_is_felt_by_many_at_once() {
        let (pulse, heart) = Pulse::new();
        tokio::spawn(heart.beat());
        for asking in (0..4 * WAITING)
            .map(|_| {
                tokio::spawn({
                    let pulse = pulse.clone();
                    async move { pulse.is_felt().await }
                })
            })
            .collect::<Vec<_>>()
        {
            assert!(asking.await.expect("no panic"));
        }
    }
}
