//! The signals that end the daemon, or make it read its configuration again.

use std::{
    future,
    io::{self, IsTerminal as _},
};

use anyhow::Context as _;
use tokio::signal::unix::{Signal, SignalKind, signal};

/// Which signal asks for the end.
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
}

impl StopSignals {
    /// Starts catching them.
    pub(crate) fn new() -> anyhow::Result<Self> {
        let catch = |kind| signal(kind).context("cannot catch signals");
        Ok(Self {
            interrupt: catch(SignalKind::interrupt())?,
            terminate: catch(SignalKind::terminate())?,
        })
    }

    /// Waits for one of them. Cancel safe.
    pub(crate) async fn wait(&mut self) -> Stop {
        tokio::select! {
            _ = self.interrupt.recv() => Stop::Interrupt,
            _ = self.terminate.recv() => Stop::Terminate,
        }
    }
}

/// SIGHUP, caught from the moment of creation on.
pub(crate) struct ReloadSignal(Option<Signal>);

impl ReloadSignal {
    /// Starts catching it, unless a terminal is there, whose end it tells.
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
