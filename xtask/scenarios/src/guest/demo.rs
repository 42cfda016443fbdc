//! Demonstration of socktrace and its metrics on failing sockets.

use std::{
    fs,
    io::{self, Write as _},
    os::unix::net::UnixDatagram,
    process::{Child, Command},
    thread,
    time::Duration,
};

use anyhow::{Context as _, Result};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

use socktrace_scenarios::demo::SCENES;
use xtask_common::http::get_metrics;

/// Time to read a line before the next.
const PAUSE: Duration = Duration::from_millis(700);

/// Interval at which the starting daemon is checked.
const TICK: Duration = Duration::from_millis(200);

/// Socket on which the daemon reports that it is ready.
const NOTIFY: &str = "/run/demo-notify";

/// Metrics shown; `curl` shows the rest.
const SHOWN: &str = "socktrace_socket_errors_total{";
const SHOWN_LINES: usize = 3;

const NEXT: &str = "\
To go on:
  cargo xtask run -- explain EPIPE   what an errno or a cause means, and what to do
  cargo xtask vm                     a shell in this machine, with socktrace in it
  sudo socktrace                     on a host that allows tracing (socktrace doctor)
";

/// Runs `socktrace` with these arguments, makes sockets fail, and prints some of its metrics.
///
/// # Errors
///
/// When socktrace cannot be started. A demonstration that goes wrong reports it and continues.
pub(crate) fn main(args: &[String]) -> Result<i32> {
    for scene in &SCENES {
        if let Err(error) = scene.prepare() {
            eprintln!("{}: {error:#}", scene.title);
        }
    }
    let ready = UnixDatagram::bind(NOTIFY).with_context(|| format!("cannot listen at {NOTIFY}"))?;
    ready.set_read_timeout(Some(TICK))?;
    let mut daemon = Command::new("socktrace")
        .args(args)
        .env("NOTIFY_SOCKET", NOTIFY)
        .spawn()
        .context("cannot start socktrace")?;
    if let Some(code) = ended_before(&ready, &mut daemon)? {
        return Ok(code);
    }
    fs::remove_file(NOTIFY)?;
    for scene in &SCENES {
        println!("\n# {}", scene.title);
        if let Err(error) = scene.play() {
            eprintln!("{error:#}");
        }
        thread::sleep(PAUSE);
    }
    match get_metrics() {
        Ok(page) => show(&page)?,
        Err(error) => eprintln!("no metrics at the default address: {error:#}"),
    }
    kill(Pid::from_raw(i32::try_from(daemon.id())?), Signal::SIGINT)?;
    let code = daemon.wait()?.code().unwrap_or(1);
    print!("\n{NEXT}");
    Ok(code)
}

/// Waits until the daemon has attached its programs; returns its exit code if it ends before.
fn ended_before(ready: &UnixDatagram, daemon: &mut Child) -> Result<Option<i32>> {
    let mut message = [0; 4096];
    loop {
        if let Some(status) = daemon.try_wait()? {
            return Ok(Some(status.code().unwrap_or(1)));
        }
        match ready.recv(&mut message) {
            Ok(size) if message[..size].starts_with(b"READY=1") => return Ok(None),
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error).context("cannot wait for socktrace"),
        }
    }
}

/// Prints the beginning of the metrics.
fn show(page: &str) -> Result<()> {
    let mut out = io::stdout().lock();
    writeln!(out, "\n$ curl -s http://127.0.0.1:10054/metrics | grep {SHOWN}")?;
    let mut lines = page.lines().filter(|line| line.starts_with(SHOWN) && !line.ends_with(" 0"));
    for line in lines.by_ref().take(SHOWN_LINES) {
        writeln!(out, "{line}")?;
    }
    writeln!(out, "... and {} more lines", lines.count())?;
    Ok(())
}
