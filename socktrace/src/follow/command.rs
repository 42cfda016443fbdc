//! A command that is started to be followed.

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

/// Exit codes of commands that cannot be run, as shells have them.
const NOT_FOUND: i32 = 127;
const NOT_EXECUTABLE: i32 = 126;

/// Offset that shells add to the number of the signal that killed a command.
const KILLED: i32 = 128;

/// A process that becomes a command when it is let go; it ends when this is dropped.
pub(crate) struct WaitingCommand {
    pid: Pid,
    gate: PipeWriter,
}

impl WaitingCommand {
    /// Makes the process: as this one is now, whatever that changes of itself later.
    ///
    /// # Errors
    /// When there can be none.
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
                // SAFETY: takes a number. What is to be done at exit is the parent's.
                unsafe { libc::_exit(code) }
            }
        }
    }

    /// The number of its process.
    pub(crate) fn pid(&self) -> Pid {
        self.pid
    }

    /// Lets it go.
    pub(crate) fn start(mut self) -> Command {
        if let Err(error) = self.gate.write_all(&[1]) {
            // A signal has ended it before, which its end says.
            log::debug!("the command has gone: {error}");
        }
        Command { pid: self.pid, code: None }
    }
}

/// What the child does: waits, and becomes the command. Returns only when it cannot.
fn run(mut gate: PipeReader, words: &[OsString], user: Option<&User>) -> i32 {
    // Nothing comes where the parent could not begin to trace, which it says.
    if gate.read_exact(&mut [0]).is_err() {
        return NOT_EXECUTABLE;
    }
    let Some((program, arguments)) = words.split_first() else { return NOT_FOUND };
    let refused = |what: &str, error: &io::Error| {
        let errno = Errno::from_raw(error.raw_os_error().unwrap_or_default());
        let why =
            if errno == Errno::UnknownErrno { error.to_string() } else { errno.desc().into() };
        // Where stderr is closed there is nobody to read it.
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
    // It also undoes what the runtime of this program has done: that SIGPIPE is ignored.
    refused("run", &command.exec())
}

/// A command that runs, or has ended.
pub(crate) struct Command {
    pid: Pid,
    code: Option<u8>,
}

impl Command {
    /// Its exit code, once it has ended: 128 and the signal's number where that has killed it.
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

    /// Sends it a signal, unless it has ended.
    pub(crate) fn signal(&mut self, signal: Signal) {
        if self.code().is_none()
            && let Err(errno) = kill(self.pid, signal)
        {
            log::warn!("{signal} does not reach the command: {errno}");
        }
    }
}
