//! Threads that sleep in a system call, and what happens to them there.

use std::{
    fs, io,
    sync::mpsc::{Receiver, channel},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, anyhow, bail};
use nix::{
    libc,
    sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, sigaction},
    unistd::{Pid, gettid},
};

/// The signal that interrupts.
const SIGNAL: Signal = Signal::SIGUSR1;

/// Longest time for a thread to get into its call.
const PATIENCE: Duration = Duration::from_secs(10);

/// Makes a call on a thread, does something while it sleeps in it, and returns the call's result.
pub(super) fn during<T: Send>(
    system_call: libc::c_long,
    call: impl FnOnce() -> T + Send,
    act: impl FnOnce(Pid) -> Result<()>,
) -> Result<T> {
    let (sender, receiver) = channel();
    thread::scope(|scope| {
        let caller = scope.spawn(move || {
            // Fails only when the other thread has given up.
            sender.send(gettid()).ok();
            call()
        });
        let acted = wait_for(system_call, &receiver).and_then(act);
        let result = caller.join().map_err(|_| anyhow!("a thread panicked"))?;
        acted.map(|()| result)
    })
}

/// Waits until the thread that says who it is sleeps in the system call.
fn wait_for(system_call: libc::c_long, thread: &Receiver<Pid>) -> Result<Pid> {
    let thread = thread.recv()?;
    let path = format!("/proc/self/task/{thread}/syscall");
    let number = system_call.to_string();
    let started = Instant::now();
    loop {
        let text = fs::read_to_string(&path).with_context(|| format!("cannot read {path}"))?;
        if text.split_whitespace().next() == Some(&number) {
            return Ok(thread);
        }
        if started.elapsed() > PATIENCE {
            bail!("the thread does not sleep in system call {number} but in {text}");
        }
        thread::sleep(Duration::from_millis(2));
    }
}

/// Makes a call on a thread, and interrupts it by a signal that is handled with these flags.
pub(super) fn interrupted<T: Send>(
    system_call: libc::c_long,
    flags: SaFlags,
    call: impl FnOnce() -> T + Send,
    after: impl FnOnce() -> Result<()>,
) -> Result<T> {
    let action = SigAction::new(SigHandler::Handler(ignore), flags, SigSet::empty());
    // SAFETY: the handler does nothing.
    unsafe { sigaction(SIGNAL, &action) }?;
    during(system_call, call, |thread| {
        let (process, thread) = (std::process::id(), thread.as_raw());
        // SAFETY: takes numbers and touches no memory.
        let sent = unsafe { libc::syscall(libc::SYS_tgkill, process, thread, SIGNAL as i32) };
        if sent != 0 {
            return Err(io::Error::last_os_error()).context("cannot send a signal");
        }
        after()
    })
}

extern "C" fn ignore(_: libc::c_int) {}
