//! A running socktrace: its stream, its metrics, its messages on stderr, its exit.

use std::{
    fs,
    io::{self, BufRead as _, BufReader, Read},
    iter, mem,
    net::SocketAddr,
    process::{Child, Command, ExitStatus, Stdio},
    ptr,
    sync::{
        Mutex, PoisonError,
        mpsc::{Receiver, RecvTimeoutError, channel},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Error, Result, anyhow, bail, ensure};
use nix::{
    libc,
    sys::{
        signal::{Signal, kill},
        wait::waitpid,
    },
    unistd::Pid,
};

use serde_json::Value;
use xtask_common::http;

use super::{
    network::{Family, NOBODY_LISTENS},
    socket,
    verify::Metrics,
};

/// The daemon's program in the guest.
pub(super) const PROGRAM: &str = "/bin/socktrace";

/// Longest time to wait for something that is due: generous, as the guest is an emulated machine.
const PATIENCE: Duration = Duration::from_mins(4);

/// Longest time to wait for a line that is due.
const LINE_PATIENCE: Duration = Duration::from_secs(15);

/// Limit of descriptors that is enough for everything the daemon does.
pub(super) const FILES: u64 = 1_024;

/// Time without lines after which the stream counts as quiet.
const QUIET: Duration = Duration::from_millis(150);

/// Options for counting floods. Without either, the harness adds the second.
pub(super) const REPEAT_AFTER: &str = "--repeat-after";
pub(super) const NO_COLLAPSE: &str = "--no-collapse";

/// Option for how to hook functions.
const ATTACH: &str = "--attach";

/// Parts of messages on stderr by which a daemon is known to be ready: it has attached, and listens.
pub(super) const ATTACHED: &str = "; hooks: ";
const SERVING: &str = "metrics: ";
const NOT_ATTACHED: &str = "not attached: ";
/// Prefix of the message about hooks that kprobes serve.
const BY_KPROBE: &str = "by kprobe: ";

/// A daemon that ended before it was ready.
#[derive(Debug)]
pub(super) struct FailedStart {
    pub(super) exit: i32,
    pub(super) stderr: String,
}

impl FailedStart {
    fn into_error(self) -> Error {
        anyhow!("socktrace ended with {}:\n{}", self.exit, self.stderr)
    }
}

/// A daemon that is starting.
struct Starting {
    tracer: Tracer,
    /// Message by which it reports that it is ready.
    ready: &'static str,
}

impl Starting {
    fn until_ready(self) -> Result<Result<Tracer, FailedStart>> {
        let Self { mut tracer, ready } = self;
        let Some(line) = tracer.wait_for(ready)? else {
            let exit = tracer.child.wait()?.code().unwrap_or(-1);
            return Ok(Err(FailedStart { exit, stderr: tracer.said.join("\n") }));
        };
        tracer.metrics = address(&line);
        Ok(Ok(tracer))
    }
}

/// A daemon that is ready. Killed when dropped.
pub(super) struct Tracer {
    child: Child,
    stdout: Receiver<String>,
    stderr: Receiver<String>,
    /// Messages on stderr up to now.
    said: Vec<String>,
    metrics: Option<SocketAddr>,
}

impl Tracer {
    /// Starts a daemon and waits until it is ready, or has ended.
    pub(super) fn start(args: &[&str]) -> Result<Result<Self, FailedStart>> {
        Self::spawn(&mut daemon(args), Stdio::piped())
    }

    /// Starts a daemon with this standard output, which must become ready.
    pub(super) fn start_into(stdout: impl Into<Stdio>, args: &[&str]) -> Result<Self> {
        Self::spawn(&mut daemon(args), stdout.into())?.map_err(FailedStart::into_error)
    }

    /// Starts a daemon by this command, with metrics, which must become ready.
    pub(super) fn run(mut command: Command) -> Result<Self> {
        Self::spawn(&mut command, Stdio::piped())?.map_err(FailedStart::into_error)
    }

    fn spawn(command: &mut Command, stdout: Stdio) -> Result<Result<Self, FailedStart>> {
        Self::launch(command, stdout)?.until_ready()
    }

    /// Starts daemons with these arguments in parallel: much of their start is waiting for the
    /// kernel. Each must become ready.
    pub(super) fn start_all(all: &[Vec<&str>]) -> Result<Vec<Self>> {
        let launched = all.iter().map(|args| Self::launch(&mut daemon(args), Stdio::piped()));
        let launched = launched.collect::<Result<Vec<_>>>()?;
        let ready = |starting: Starting| starting.until_ready()?.map_err(FailedStart::into_error);
        launched.into_iter().map(ready).collect()
    }

    fn launch(command: &mut Command, stdout: Stdio) -> Result<Starting> {
        let mut child = command
            .stdin(Stdio::null())
            .stdout(stdout)
            .stderr(Stdio::piped())
            .spawn()
            .with_context(|| format!("cannot start {PROGRAM}"))?;
        let stdout = child.stdout.take().map_or_else(|| channel().1, lines);
        let stderr = lines(child.stderr.take().context("no stderr")?);
        let tracer = Self { child, stdout, stderr, said: Vec::new(), metrics: None };
        let is_serving = !command.get_args().any(|arg| arg == "--no-metrics");
        Ok(Starting { tracer, ready: if is_serving { SERVING } else { ATTACHED } })
    }

    /// Starts a daemon that must become ready.
    pub(super) fn must_start(args: &[&str]) -> Result<Self> {
        Self::start(args)?.map_err(FailedStart::into_error)
    }

    /// Waits for a line on stderr that contains `text`; `None` if stderr ends before.
    pub(super) fn wait_for(&mut self, text: &str) -> Result<Option<String>> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            match self.stderr.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok(line) => {
                    self.said.push(line.clone());
                    if line.contains(text) {
                        return Ok(Some(line));
                    }
                }
                Err(RecvTimeoutError::Disconnected) => return Ok(None),
                Err(RecvTimeoutError::Timeout) => {
                    bail!("socktrace does not say {text:?}; it said:\n{}", self.said.join("\n"))
                }
            }
        }
    }

    /// Whether a line on stderr contains `text` in time.
    pub(super) fn said_within(&mut self, text: &str, within: Duration) -> bool {
        let deadline = Instant::now() + within;
        let left = || deadline.saturating_duration_since(Instant::now());
        while let Ok(line) = self.stderr.recv_timeout(left()) {
            let is_it = line.contains(text);
            self.said.push(line);
            if is_it {
                return true;
            }
        }
        false
    }

    /// Checks that exactly these hooks could not be attached, and that kprobes serve the others if
    /// and only if they should. Returns all messages otherwise, including the verifier's log if the
    /// daemon runs with `-v`.
    pub(super) fn not_attached_but(&self, absent: &[&str]) -> Option<String> {
        let not_attached = self.said.iter().filter_map(|line| line.strip_prefix(NOT_ATTACHED));
        let hooks = not_attached.map(|rest| rest.split(':').next().unwrap_or(rest));
        let fell_back = self.said.iter().any(|line| line.starts_with(BY_KPROBE));
        (!hooks.eq(absent.iter().copied()) || fell_back != super::uses_kprobes())
            .then(|| self.said.join("\n"))
    }

    /// Lines of the stream until `count` have arrived and no more arrive.
    pub(super) fn collect(&self, count: usize) -> Vec<String> {
        let (mut lines, failures) = self.until(count);
        // Otherwise, enough time has passed already.
        if failures == count {
            lines.extend(iter::from_fn(|| self.stdout.recv_timeout(QUIET).ok()));
        }
        lines
    }

    /// Next lines of the stream: `count` lines, not counting those about sent RSTs, or
    /// as many as arrive in time.
    pub(super) fn receive(&self, count: usize) -> Vec<String> {
        self.until(count).0
    }

    /// The same, with the number of lines that are not about sent RSTs.
    fn until(&self, count: usize) -> (Vec<String>, usize) {
        let deadline = Instant::now() + LINE_PATIENCE;
        let left = || deadline.saturating_duration_since(Instant::now());
        let (mut lines, mut failures) = (Vec::new(), 0);
        while failures < count
            && let Ok(line) = self.stdout.recv_timeout(left())
        {
            failures += usize::from(!line.contains(r#""event":"reset_sent""#));
            lines.push(line);
        }
        (lines, failures)
    }

    /// Next line of the stream, if it arrives in time.
    pub(super) fn next_line(&self, within: Duration) -> Option<String> {
        self.stdout.recv_timeout(within).ok()
    }

    /// Makes a failure, and returns the lines of the stream before its own.
    pub(super) fn until_sentinel(&self) -> Result<Vec<String>> {
        let port = sentinel()?;
        let is_sentinel = |line: &str| {
            let line: Value = serde_json::from_str(line)?;
            Ok::<_, Error>(line["local_port"] == port && line["remote_port"] == NOBODY_LISTENS)
        };
        let mut lines = Vec::new();
        let deadline = Instant::now() + LINE_PATIENCE;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let line = self.stdout.recv_timeout(left);
            let line = line.ok().with_context(|| format!("no sentinel after {lines:?}"))?;
            if is_sentinel(&line)? {
                return Ok(lines);
            }
            lines.push(line);
        }
    }

    /// Process ID of the daemon.
    pub(super) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Resident anonymous memory in kB. The program's own pages do not count: how many are resident
    /// depends on the build, and the kernel drops them when it needs room.
    pub(super) fn anonymous_memory(&self) -> Result<u64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid()))?;
        let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:"));
        let number = line.and_then(|text| text.trim().strip_suffix(" kB"));
        Ok(number.context("no RssAnon")?.parse()?)
    }

    /// Limits the daemon's descriptors, to at most [`FILES`].
    pub(super) fn limit_files(&self, limit: u64) -> Result<()> {
        let limit = libc::rlimit { rlim_cur: limit, rlim_max: FILES };
        let pid = libc::pid_t::try_from(self.pid())?;
        // SAFETY: the new limit lives until the call returns, and the old one is not requested.
        let result =
            unsafe { libc::prlimit(pid, libc::RLIMIT_NOFILE, &raw const limit, ptr::null_mut()) };
        ensure!(result == 0, "cannot limit descriptors: {}", io::Error::last_os_error());
        Ok(())
    }

    /// Address of the metrics; the first of several.
    pub(super) fn metrics_address(&self) -> Result<SocketAddr> {
        self.metrics.context("this daemon serves no metrics by TCP")
    }

    /// Scrapes the metrics.
    pub(super) fn scrape(&self) -> Result<Metrics> {
        scrape(self.metrics_address()?)
    }

    /// Sends a signal to the daemon.
    pub(super) fn signal(&self, signal: Signal) -> Result<()> {
        kill(Pid::from_raw(i32::try_from(self.child.id())?), signal)
            .with_context(|| format!("cannot send {signal}"))
    }

    /// Ends daemons with a signal, in parallel; returns their messages on stderr.
    pub(super) fn stop_all(tracers: Vec<Self>, signal: Signal) -> Result<Vec<String>> {
        tracers.iter().try_for_each(|tracer| tracer.signal(signal))?;
        let said = |tracer: Self| Ok(tracer.until_ended()?.1);
        tracers.into_iter().map(said).collect()
    }

    /// Ends the daemon with a signal; returns its exit status and its messages on stderr.
    pub(super) fn stop(self, signal: Signal) -> Result<(ExitStatus, String)> {
        self.signal(signal)?;
        self.until_ended()
    }

    /// Waits until the daemon has ended on its own; returns its exit status and its messages on stderr.
    pub(super) fn until_ended(mut self) -> Result<(ExitStatus, String)> {
        let status = self.child.wait()?;
        self.said.extend(self.stderr.iter());
        Ok((status, self.said.join("\n")))
    }
}

/// Killed daemons that may not have ended yet.
static ENDING: Mutex<Vec<JoinHandle<()>>> = Mutex::new(Vec::new());

/// Waits until every killed daemon has ended, and its programs are detached.
pub(super) fn join_ending() {
    let ending = mem::take(&mut *ENDING.lock().unwrap_or_else(PoisonError::into_inner));
    for thread in ending {
        // The thread returns nothing, and cannot have panicked.
        drop(thread.join());
    }
}

impl Drop for Tracer {
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(Some(_))) {
            return;
        }
        // Neither fails for a child that has not been waited for.
        drop(self.child.kill());
        let Ok(pid) = i32::try_from(self.child.id()) else { return };
        // The kernel takes seconds to detach so many programs, most of it waiting.
        let wait = thread::spawn(move || _ = waitpid(Pid::from_raw(pid), None));
        ENDING.lock().unwrap_or_else(PoisonError::into_inner).push(wait);
    }
}

/// Command of a daemon, which hooks functions as chosen unless the arguments say otherwise.
pub(super) fn daemon(args: &[&str]) -> Command {
    let mut command = Command::new(PROGRAM);
    command.args(args);
    if !args.contains(&ATTACH) {
        command.args(attach_args());
    }
    // Scenarios want every line, except those about floods.
    if !args.contains(&REPEAT_AFTER) && !args.contains(&NO_COLLAPSE) {
        command.arg(NO_COLLAPSE);
    }
    command
}

/// Arguments for the chosen way to hook functions, if one was chosen.
pub(super) fn attach_args() -> Vec<String> {
    super::chosen_attach().map_or_else(Vec::new, |how| vec![ATTACH.to_owned(), how])
}

/// Address in the message about where metrics are served.
pub(super) fn address(line: &str) -> Option<SocketAddr> {
    let (_, rest) = line.split_once("http://")?;
    rest.split_once('/')?.0.parse().ok()
}

/// Scrapes the metrics at this address.
pub(super) fn scrape(address: SocketAddr) -> Result<Metrics> {
    let body = http::get(address, "/metrics")?;
    let sample = |line: &str| {
        let (series, value) = line.rsplit_once(' ').context("no metric line")?;
        Ok((series.to_owned(), value.parse()?))
    };
    body.lines().filter(|line| !line.starts_with('#')).map(sample).collect()
}

/// Fails to connect, and returns the local port.
fn sentinel() -> Result<u16> {
    let address = Family::Ipv4.loopback();
    let client = socket::bound(address)?;
    let port = socket::local(&client)?.port();
    let refused = client.connect(&SocketAddr::new(address.ip(), NOBODY_LISTENS).into());
    let errno = socket::errno("connect", refused)?;
    socket::ensure_errno("connect", errno, libc::ECONNREFUSED)?;
    Ok(port)
}

/// Reads lines on a separate thread, so that the daemon never waits for the harness.
pub(super) fn lines(source: impl Read + Send + 'static) -> Receiver<String> {
    let (sender, receiver) = channel();
    thread::spawn(move || {
        for line in BufReader::new(source).lines().map_while(io::Result::ok) {
            if sender.send(line).is_err() {
                return;
            }
        }
    });
    receiver
}
