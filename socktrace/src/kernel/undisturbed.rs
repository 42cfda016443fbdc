//! Work that no signal may disturb.

use anyhow::Context as _;
use nix::sys::signal::{SigSet, SigmaskHow};

/// Does `work` on this thread with all signals held back, which are delivered afterwards.
///
/// A signal that arrives while the kernel verifies a program makes it give up with EAGAIN
/// (`do_check` in `kernel/bpf/verifier.c`), and aya verify it again with a log of every step, which
/// can take minutes on a slow machine.
///
/// # Errors
/// When signals cannot be held back.
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
