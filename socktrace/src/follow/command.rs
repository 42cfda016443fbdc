//! The command that socktrace starts and follows.

use std::{
    ffi::OsString,
    fs,
    io::{self, ErrorKind, PipeReader, PipeWriter, Read as _, Write as _},
    os::unix::process::CommandExt as _,
    process,
};

use anyhow::{Context as _, bail};
use nix::{
    errno::Errno,
    libc,
    sys::{
        signal::{Signal, kill},
        wait::{WaitPidFlag, WaitStatus, waitpid},
    },
    unistd::{ForkResult, Pid, fork},
};

use super::User;

/// Exit codes for commands that cannot be run, as in shells.
const NOT_FOUND: i32 = 127;
const NOT_EXECUTABLE: i32 = 126;

/// Offset that shells add to the number of a fatal signal.
const KILLED: i32 = 128;

/// A child process that waits at a gate, then runs the command. It exits if this is dropped.
pub(crate) struct WaitingCommand {
    pid: Pid,
    gate: PipeWriter,
}

impl WaitingCommand {
    /// Forks the child. It keeps the present state of this process, whatever changes here later.
    ///
    /// # Errors
    /// When the child cannot be created.
    pub(crate) fn new(words: &[OsString], user: Option<&User>) -> anyhow::Result<Self> {
        let threads = fs::read_dir("/proc/self/task").context("cannot count threads")?.count();
        if threads != 1 {
            bail!("a command cannot be started while {threads} threads run");
        }
        let (reader, gate) = io::pipe().context("cannot make a pipe")?;
        // SAFETY: no other thread runs that could hold a lock in the child.
        match unsafe { fork() }.context("cannot start a process")? {
            ForkResult::Parent { child } => Ok(Self { pid: child, gate }),
            ForkResult::Child => {
                drop(gate);
                let code = run(reader, words, user);
                // SAFETY: takes a plain number. Exit handlers belong to the parent.
                unsafe { libc::_exit(code) }
            }
        }
    }

    /// Process id of the child.
    pub(crate) fn pid(&self) -> Pid {
        self.pid
    }

    /// Opens the gate, so that the child runs the command.
    pub(crate) fn start(mut self) -> Command {
        if let Err(error) = self.gate.write_all(&[1]) {
            // A signal killed the child first, as its exit status will show.
            log::debug!("the command has gone: {error}");
        }
        Command { pid: self.pid, code: None }
    }
}

/// The child's side: waits at the gate, then runs the command. Returns only on failure.
fn run(mut gate: PipeReader, words: &[OsString], user: Option<&User>) -> i32 {
    // The gate closes without a byte if the parent could not start tracing; it reports that itself.
    if gate.read_exact(&mut [0]).is_err() {
        return NOT_EXECUTABLE;
    }
    let Some((program, arguments)) = words.split_first() else { return NOT_FOUND };
    let refused = |what: &str, error: &io::Error| {
        let errno = Errno::from_raw(error.raw_os_error().unwrap_or_default());
        let why =
            if errno == Errno::UnknownErrno { error.to_string() } else { errno.desc().into() };
        // With stderr closed, nobody reads the message.
        drop(writeln!(io::stderr(), "socktrace: cannot {what} {}: {why}", program.display()));
        if error.kind() == ErrorKind::NotFound { NOT_FOUND } else { NOT_EXECUTABLE }
    };
    let mut command = process::Command::new(program);
    command.args(arguments);
    if let Some(user) = user {
        if let Err(errno) = user.assume() {
            return refused("become the user of", &errno.into());
        }
        command.envs(user.environment().iter().map(|(name, value)| (name, value)));
    }
    // `exec` also resets SIGPIPE, which Rust's runtime ignores.
    refused("run", &command.exec())
}

/// A command that is running or has exited.
pub(crate) struct Command {
    pid: Pid,
    code: Option<u8>,
}

impl Command {
    /// The exit code, once the command has exited: 128 plus the signal's number if a signal killed
    /// it.
    pub(crate) fn code(&mut self) -> Option<u8> {
        if self.code.is_none() {
            let code = match waitpid(self.pid, Some(WaitPidFlag::WNOHANG)) {
                Ok(WaitStatus::Exited(_, code)) => code,
                Ok(WaitStatus::Signaled(_, signal, _)) => KILLED + signal as i32,
                Ok(_) | Err(Errno::EINTR) => return None,
                Err(errno) => {
                    log::error!("cannot wait for the command: {errno}");
                    NOT_EXECUTABLE
                }
            };
            self.code = Some(u8::try_from(code).unwrap_or(u8::MAX));
        }
        self.code
    }

    /// Sends a signal to the command, unless it has exited.
    pub(crate) fn signal(&mut self, signal: Signal) {
        if self.code().is_none()
            && let Err(errno) = kill(self.pid, signal)
        {
            log::warn!("{signal} does not reach the command: {errno}");
        }
    }
}
