//! The signals that end the daemon, or make it read its configuration again.

use std::{
    future,
    io::{self, IsTerminal as _},
};

use anyhow::Context as _;
use nix::sys::signal::{SigSet, SigmaskHow};
use tokio::signal::unix::{Signal, SignalKind, signal};

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
    pub(crate) async fn wait(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
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

/// Does `work` on this thread with all signals held back, which are delivered afterwards.
///
/// A signal that arrives while the kernel verifies a program makes it give up with EAGAIN
/// (`do_check` in `kernel/bpf/verifier.c`), and aya verify it again with a log of every step, which
/// can take minutes on a slow machine.
///
/// # Errors
/// When signals cannot be held back.
pub(crate) fn undisturbed<T>(work: impl FnOnce() -> T) -> anyhow::Result<T> {
    let before = SigSet::all()
        .thread_swap_mask(SigmaskHow::SIG_BLOCK)
        .context("cannot hold signals back")?;
    let result = work();
    before.thread_set_mask().context("cannot let signals through again")?;
    Ok(result)
}

#[cfg(test)]
mod tests {
    use nix::sys::signal::Signal;

    use super::*;

    #[test]
    fn signals_are_held_back_during_the_work_only() {
        let blocked = || SigSet::thread_get_mask().expect("a mask").contains(Signal::SIGINT);
        let inside = undisturbed(blocked);
        assert!(inside.expect("undisturbed"));
        assert!(!blocked());
    }
}
