//! Leaves the keys that interrupt programs to a child. Ctrl-C and Ctrl-\ reach a whole process
//! group, but a process that waits for its child has to outlive it.

use std::{io, mem, os::unix::process::CommandExt as _, process::Command};

use nix::sys::signal::{SigSet, Signal};

/// Blocks interruption of the calling thread, and of threads it starts, until dropped. Signals that
/// arrive in the meantime are delivered then.
#[derive(Debug)]
pub struct Shield(SigSet);

impl Shield {
    /// Shields this thread, but not the program that `command` will run.
    ///
    /// # Errors
    ///
    /// When the thread's signal mask cannot be set.
    pub fn around(command: &mut Command) -> io::Result<Self> {
        let keys: SigSet = [Signal::SIGINT, Signal::SIGQUIT].into_iter().collect();
        keys.thread_block()?;
        // A child inherits the mask.
        let unblock = move || Ok(keys.thread_unblock()?);
        // SAFETY: only a system call is made between fork and exec.
        unsafe { command.pre_exec(unblock) };
        Ok(Self(keys))
    }

    /// Keeps this thread shielded until the process ends.
    pub fn keep(self) {
        mem::forget(self);
    }
}

impl Drop for Shield {
    fn drop(&mut self) {
        // Fails only for an invalid mask, and this one has been set before.
        let _: nix::Result<()> = self.0.thread_unblock();
    }
}
