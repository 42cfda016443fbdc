//! Work that signals must not disturb.

use anyhow::Context as _;
use nix::sys::signal::{SigSet, SigmaskHow};

/// Runs `work` on this thread with all signals blocked; they are delivered afterwards.
///
/// A signal that arrives while the kernel verifies a program makes the verifier give up with EAGAIN
/// (`do_check` in `kernel/bpf/verifier.c`). aya then loads the program again with a log of every
/// step, which can take minutes on a slow machine.
///
/// # Errors
/// When signals cannot be blocked.
pub(crate) fn undisturbed<T>(work: impl FnOnce() -> T) -> anyhow::Result<T> {
    let before =
        SigSet::all().thread_swap_mask(SigmaskHow::SIG_BLOCK).context("cannot block signals")?;
    let result = work();
    before.thread_set_mask().context("cannot unblock signals")?;
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
