//! Threads that block in a system call, and their interruption.

use std::{
    fs, io,
    sync::{
        atomic::{AtomicU32, Ordering},
        mpsc::{Receiver, channel},
    },
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, anyhow, bail};
use nix::{
    libc,
    sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, sigaction},
    unistd::{Pid, gettid},
};

/// Signal that interrupts the call.
const SIGNAL: Signal = Signal::SIGUSR1;

/// Longest time for a thread to enter its call.
const PATIENCE: Duration = Duration::from_mins(1);

/// Polling interval.
const MOMENT: Duration = Duration::from_millis(2);

/// Makes a call on a thread, runs `act` while the thread sleeps in it, and returns the call's result.
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
        let acted = sleeping(system_call, &receiver).and_then(act);
        let result = caller.join().map_err(|_| anyhow!("a thread panicked"))?;
        acted.map(|()| result)
    })
}

/// Waits until the thread that sends its id sleeps in the system call.
fn sleeping(system_call: libc::c_long, thread: &Receiver<Pid>) -> Result<Pid> {
    let thread = thread.recv()?;
    wait_for(system_call, &format!("/proc/self/task/{thread}/syscall"))?;
    Ok(thread)
}

/// Waits until the thread or process with this `syscall` file sleeps in the system call.
pub(super) fn wait_for(system_call: libc::c_long, path: &str) -> Result<()> {
    let number = system_call.to_string();
    let started = Instant::now();
    loop {
        let text = fs::read_to_string(path).with_context(|| format!("cannot read {path}"))?;
        if text.split_whitespace().next() == Some(&number) {
            return Ok(());
        }
        if started.elapsed() > PATIENCE {
            bail!("the thread does not sleep in system call {number} but in {text}");
        }
        thread::sleep(MOMENT);
    }
}

/// Makes a call on a thread, interrupts it by a signal that is handled with these
/// flags, and then runs `act`.
pub(super) fn interrupted<T: Send>(
    system_call: libc::c_long,
    flags: SaFlags,
    call: impl FnOnce() -> T + Send,
    after: impl FnOnce() -> Result<()>,
) -> Result<T> {
    let action = SigAction::new(SigHandler::Handler(handle), flags, SigSet::empty());
    // SAFETY: the handler only counts.
    unsafe { sigaction(SIGNAL, &action) }?;
    let before = HANDLED.load(Ordering::Relaxed);
    during(system_call, call, |thread| {
        let (process, thread) = (std::process::id(), thread.as_raw());
        // SAFETY: takes numbers and touches no memory.
        let sent = unsafe { libc::syscall(libc::SYS_tgkill, process, thread, SIGNAL as i32) };
        if sent != 0 {
            return Err(io::Error::last_os_error()).context("cannot send a signal");
        }
        // By now the call has been interrupted, and either returns or restarts.
        while HANDLED.load(Ordering::Relaxed) == before {
            thread::sleep(MOMENT);
        }
        after()
    })
}

/// Number of signals handled.
static HANDLED: AtomicU32 = AtomicU32::new(0);

extern "C" fn handle(_: libc::c_int) {
    HANDLED.fetch_add(1, Ordering::Relaxed);
}
