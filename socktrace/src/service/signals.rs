//! Signals that stop the daemon or make it reload its configuration.

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

/// Signal that requested the stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stop {
    /// SIGINT, which a terminal sends to its foreground processes.
    Interrupt,
    /// SIGTERM.
    Terminate,
}

/// SIGINT and SIGTERM, caught from creation on.
pub(crate) struct StopSignals {
    interrupt: Signal,
    terminate: Signal,
    /// Notified when the user quits with a key.
    by_key: Arc<Notify>,
}

impl StopSignals {
    /// Starts catching the signals.
    pub(crate) fn new() -> anyhow::Result<Self> {
        let catch = |kind| signal(kind).context("cannot catch signals");
        Ok(Self {
            interrupt: catch(SignalKind::interrupt())?,
            terminate: catch(SignalKind::terminate())?,
            by_key: Arc::default(),
        })
    }

    /// Treats this notification like a signal.
    pub(crate) fn end_with(&mut self, by_key: &Arc<Notify>) {
        self.by_key = Arc::clone(by_key);
    }

    /// Waits for a stop signal. Cancel safe.
    pub(crate) async fn wait(&mut self) -> Stop {
        tokio::select! {
            _ = self.interrupt.recv() => Stop::Interrupt,
            _ = self.terminate.recv() => Stop::Terminate,
            () = self.by_key.notified() => Stop::Interrupt,
        }
    }
}

/// SIGHUP, caught from creation on.
pub(crate) struct ReloadSignal(Option<Signal>);

impl ReloadSignal {
    /// Starts catching SIGHUP, unless on a terminal, where it means that the terminal is gone.
    pub(crate) fn new() -> anyhow::Result<Self> {
        if io::stderr().is_terminal() || io::stdout().is_terminal() {
            return Ok(Self(None));
        }
        let caught = signal(SignalKind::hangup()).context("cannot catch signals")?;
        Ok(Self(Some(caught)))
    }

    /// Leaves SIGHUP alone.
    pub(crate) const fn none() -> Self {
        Self(None)
    }

    /// Waits for SIGHUP. Cancel safe.
    pub(crate) async fn wait(&mut self) {
        match &mut self.0 {
            Some(signal) => {
                signal.recv().await;
            }
            None => future::pending().await,
        }
    }
}
