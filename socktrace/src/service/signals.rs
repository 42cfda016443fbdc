//! The signals that end the daemon, or make it read its configuration again.

use std::{
    future,
    io::{self, IsTerminal as _},
    sync::Arc,
};

use anyhow::Context as _;
use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    sync::Notify,
};

/// The signal that asks for the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stop {
    /// SIGINT, which a terminal sends to everything in its foreground.
    Interrupt,
    /// SIGTERM.
    Terminate,
}

/// SIGINT and SIGTERM, caught from the moment of creation on.
pub(crate) struct StopSignals {
    interrupt: Signal,
    terminate: Signal,
    /// Notified when a person has ended it by a key.
    by_key: Arc<Notify>,
}

impl StopSignals {
    /// Starts catching them.
    pub(crate) fn new() -> anyhow::Result<Self> {
        let catch = |kind| signal(kind).context("cannot catch signals");
        Ok(Self {
            interrupt: catch(SignalKind::interrupt())?,
            terminate: catch(SignalKind::terminate())?,
            by_key: Arc::default(),
        })
    }

    /// Counts this as a signal, too.
    pub(crate) fn end_with(&mut self, by_key: &Arc<Notify>) {
        self.by_key = Arc::clone(by_key);
    }

    /// Waits for one of them. Cancel safe.
    pub(crate) async fn wait(&mut self) -> Stop {
        tokio::select! {
            _ = self.interrupt.recv() => Stop::Interrupt,
            _ = self.terminate.recv() => Stop::Terminate,
            () = self.by_key.notified() => Stop::Interrupt,
        }
    }
}

/// SIGHUP, caught from the moment of creation on.
pub(crate) struct ReloadSignal(Option<Signal>);

impl ReloadSignal {
    /// Starts catching it, unless there is a terminal, whose end it signals.
    pub(crate) fn new() -> anyhow::Result<Self> {
        if io::stderr().is_terminal() || io::stdout().is_terminal() {
            return Ok(Self(None));
        }
        let caught = signal(SignalKind::hangup()).context("cannot catch signals")?;
        Ok(Self(Some(caught)))
    }

    /// Leaves it to others.
    pub(crate) const fn none() -> Self {
        Self(None)
    }

    /// Waits for it. Cancel safe.
    pub(crate) async fn wait(&mut self) {
        match &mut self.0 {
            Some(signal) => {
                signal.recv().await;
            }
            None => future::pending().await,
        }
    }
}
