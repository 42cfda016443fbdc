//! The stream on a terminal.

use std::{
    fs::File,
    io,
    os::fd::{AsFd, AsRawFd as _},
    sync::mpsc::Receiver,
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use nix::{
    libc,
    pty::{OpenptyResult, Winsize, openpty},
};

use super::{
    daemon::reset_one,
    tracer::{self, Tracer},
};

/// Height of the terminal in lines.
const ROWS: u16 = 24;

/// Longest time to wait for a line.
const PATIENCE: Duration = Duration::from_secs(30);

/// Time after which no more lines are expected.
const QUIET: Duration = Duration::from_millis(500);

/// The columns that fit are shown, even after the terminal is widened, and the reason is below them.
pub(super) fn columns_that_fit() -> Result<()> {
    const NARROW: u16 = 80;
    const WIDE: u16 = 120;
    let OpenptyResult { master, slave } = openpty(&size(NARROW), None).context("no terminal")?;
    let _tracer = Tracer::start_into(slave, &["--no-metrics", "--color", "never"])?;
    let lines = tracer::lines(File::from(master.try_clone()?));

    expect_heading(&lines, &["TIME", "ERRNO", "PROCESS", "REMOTE"])?;
    reset_one()?;
    expect_failure(&lines, NARROW, "reset_by_peer: the peer sent RST")?;

    resize(&master, WIDE)?;
    reset_one()?;
    expect_heading(&lines, &["TIME", "ERRNO", "CAUSE", "PROCESS", "SERVICE", "REMOTE"])?;
    expect_failure(&lines, WIDE, "the peer sent RST")?;
    expect_headings(&lines)
}

/// The heading is repeated before it scrolls out of view.
fn expect_headings(lines: &Receiver<String>) -> Result<()> {
    for _ in 0..ROWS {
        reset_one()?;
    }
    let lines: Vec<_> = std::iter::from_fn(|| lines.recv_timeout(QUIET).ok()).collect();
    let is_heading = |line: &&String| line.starts_with("TIME ");
    let headings = lines.iter().filter(is_heading).count();
    let rows = usize::from(ROWS);
    ensure!(lines.len() >= 2 * rows, "{} lines", lines.len());
    ensure!(
        (lines.len() / rows..=lines.len() / rows + 1).contains(&headings),
        "{headings} headings in {} lines",
        lines.len()
    );
    Ok(())
}

fn expect_heading(lines: &Receiver<String>, titles: &[&str]) -> Result<()> {
    let line = lines.recv_timeout(PATIENCE).context("no heading")?;
    ensure!(line.split_whitespace().eq(titles.iter().copied()), "{titles:?}, not {line:?}");
    Ok(())
}

fn expect_failure(lines: &Receiver<String>, width: u16, reported: &str) -> Result<()> {
    let line = lines.recv_timeout(PATIENCE).context("no line")?;
    let line = line.trim_end_matches('\r');
    ensure!(line.contains("ECONNRESET"), "{line:?}");
    ensure!(line.chars().count() <= usize::from(width), "wider than {width}: {line:?}");
    let reason = lines.recv_timeout(PATIENCE).context("no reason")?;
    ensure!(reason.starts_with(&format!("    {reported}")), "{reason:?}");
    let rest = std::iter::from_fn(|| lines.recv_timeout(QUIET).ok());
    for line in [reason].into_iter().chain(rest) {
        let line = line.trim_end_matches('\r');
        ensure!(line.starts_with("    "), "{line:?}");
        ensure!(line.chars().count() <= usize::from(width), "wider than {width}: {line:?}");
    }
    Ok(())
}

fn size(columns: u16) -> Winsize {
    Winsize { ws_row: ROWS, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 }
}

fn resize(terminal: impl AsFd, columns: u16) -> Result<()> {
    let size = size(columns);
    let fd = terminal.as_fd().as_raw_fd();
    // SAFETY: the descriptor is open, and the size lives until the call returns.
    let result = unsafe { libc::ioctl(fd, libc::TIOCSWINSZ, &raw const size) };
    ensure!(result == 0, "cannot resize the terminal: {}", io::Error::last_os_error());
    Ok(())
}
