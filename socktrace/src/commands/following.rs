//! Traces a command from start to end, or existing processes, with everything that they start.

use std::{pin::pin, process::ExitCode, time::Duration};

use anyhow::{Context as _, bail};
use nix::sys::signal::Signal as Number;
use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    time::{Interval, MissedTickBehavior, interval},
};

use crate::{
    cli::Cli,
    follow::{Command, Process, User, WaitingCommand, follow_tree, has_own_numbers, is_there},
    kernel::{followed::Followed, object::Object},
    service::{
        exit::WrongUsage,
        log::NOTICE,
        signals::{Stop, StopSignals},
    },
};

/// Interval between two checks for remaining processes.
const LOOK: Duration = Duration::from_millis(250);

/// Processes to follow, before anything is loaded.
pub(super) enum Whom {
    /// A command that waits to be started.
    Command(WaitingCommand),
    /// Existing processes.
    Processes(Vec<Process>),
}

impl Whom {
    /// Prepares what the command line requests; `None` to trace everybody. Must be called before
    /// there are other threads, and before this process changes anything that a command would
    /// inherit.
    ///
    /// # Errors
    /// When a process does not exist, or a command cannot be started.
    pub(super) fn new(cli: &Cli) -> anyhow::Result<Option<Self>> {
        if !cli.follows() {
            return Ok(None);
        }
        if has_own_numbers() {
            bail!(
                "cannot follow processes from inside a pid namespace, as the kernel reports their numbers \
                on the host: run socktrace in the host's pid namespace (docker run --pid=host, hostPID: \
                true)"
            );
        }
        if cli.words.is_empty() {
            let find = |pid: &u32| {
                let text = || WrongUsage(format!("--follow: there is no process {pid}"));
                Process::find(*pid).with_context(text)
            };
            let processes = cli.follow.iter().map(find).collect::<Result<_, _>>()?;
            return Ok(Some(Self::Processes(processes)));
        }
        let user = User::chosen(cli.user.as_deref())?;
        WaitingCommand::new(&cli.words, user.as_ref()).map(Self::Command).map(Some)
    }

    /// The child that will become the command.
    pub(super) fn child(&self) -> Option<u32> {
        let Self::Command(command) = self else { return None };
        Some(command.pid().as_raw().unsigned_abs())
    }

    /// Makes the attached kernel programs follow these processes.
    ///
    /// # Errors
    /// When that fails, or signals cannot be caught.
    pub(super) fn follow(self, object: &mut Object) -> anyhow::Result<Following> {
        let mut followed = Followed::new(object)?;
        let mut signals = None;
        let roots = match &self {
            Self::Command(command) => {
                signals = Some(Signals::new()?);
                let pid = command.pid().as_raw().unsigned_abs();
                // If a signal ended it before its start, its exit code shows that.
                Process::find(pid).into_iter().collect()
            }
            Self::Processes(processes) => processes.clone(),
        };
        let count = follow_tree(&mut followed, &roots)?;
        let state = match self {
            Self::Command(command) => State::Waiting(command),
            Self::Processes(_) => {
                let s = if count == 1 { "" } else { "es" };
                log::info!(target: NOTICE, "socktrace: following {count} process{s}");
                State::NoCommand
            }
        };
        let mut looks = interval(LOOK);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Ok(Following { followed, signals, state, looks, has_said: false })
    }
}

/// Exit code of the command, which is awaited if the trace ends first.
pub(super) async fn code(following: Option<Following>, stop: &mut StopSignals) -> ExitCode {
    match following {
        Some(mut following) => following.code(stop).await,
        None => ExitCode::SUCCESS,
    }
}

/// Signals that concern a command.
struct Signals {
    child: Signal,
    quit: Signal,
    hangup: Signal,
}

impl Signals {
    fn new() -> anyhow::Result<Self> {
        let catch = |kind| signal(kind).context("cannot catch signals");
        Ok(Self {
            child: catch(SignalKind::child())?,
            quit: catch(SignalKind::quit())?,
            hangup: catch(SignalKind::hangup())?,
        })
    }
}

/// State of the command.
enum State {
    /// There is no command.
    NoCommand,
    /// Everything is attached before it starts.
    Waiting(WaitingCommand),
    /// It is running, or has ended.
    Started(Command),
}

/// Processes that are followed.
pub(super) struct Following {
    followed: Followed,
    /// `None` where there is no command.
    signals: Option<Signals>,
    state: State,
    looks: Interval,
    /// Whether the notice about what continues without the command was given.
    has_said: bool,
}

impl Following {
    /// Lets the command start.
    pub(super) fn start(&mut self) {
        if let State::Waiting(command) = std::mem::replace(&mut self.state, State::NoCommand) {
            self.state = State::Started(command.start());
        }
    }

    /// Waits until all followed processes have ended, and passes signals on meanwhile. Cancel safe.
    pub(super) async fn ended(&mut self) {
        while !self.have_ended() {
            self.wait().await;
        }
    }

    async fn code(&mut self, stop: &mut StopSignals) -> ExitCode {
        loop {
            let code = match &mut self.state {
                State::Started(command) => command.code(),
                State::NoCommand | State::Waiting(_) => return ExitCode::SUCCESS,
            };
            if let Some(code) = code {
                return ExitCode::from(code);
            }
            let by = {
                let waited = pin!(self.wait());
                tokio::select! {
                    by = stop.wait() => Some(by),
                    () = waited => None,
                }
            };
            if let Some(by) = by {
                self.is_stopped(by);
            }
        }
    }

    /// Whether a signal ends the trace. While a command runs, only its end does: a terminal has
    /// sent SIGINT to the command, too, and SIGTERM is passed on.
    pub(super) fn is_stopped(&mut self, by: Stop) -> bool {
        let State::Started(command) = &mut self.state else { return true };
        if command.code().is_some() {
            return true;
        }
        if by == Stop::Terminate {
            command.signal(Number::SIGTERM);
        }
        false
    }

    /// Waits until something may have changed. Cancel safe.
    async fn wait(&mut self) {
        let Some(signals) = &mut self.signals else {
            self.looks.tick().await;
            return;
        };
        tokio::select! {
            _ = signals.child.recv() => {}
            // A terminal has sent it to the command, too.
            _ = signals.quit.recv() => {}
            _ = signals.hangup.recv() => {
                if let State::Started(command) = &mut self.state {
                    command.signal(Number::SIGHUP);
                }
            }
            _ = self.looks.tick() => {}
        }
    }

    fn have_ended(&mut self) -> bool {
        match &mut self.state {
            State::NoCommand => {}
            State::Waiting(_) => return false,
            State::Started(command) => {
                if command.code().is_none() {
                    return false;
                }
            }
        }
        let mut ended = Vec::new();
        let mut left = self.followed.pids();
        // The kernel programs remove those that end, unless the kernel did not report it to them.
        let is_any_left = left.any(|pid| {
            let is_left = is_there(pid);
            if !is_left {
                ended.push(pid);
            }
            is_left
        });
        drop(left);
        for pid in ended {
            self.followed.remove(pid);
        }
        if is_any_left && self.signals.is_some() && !self.has_said {
            self.has_said = true;
            log::info!(
                target: NOTICE,
                "socktrace: the command has ended, but processes that it started are still running; \
                 Ctrl-C ends the trace"
            );
        }
        !is_any_left
    }
}
