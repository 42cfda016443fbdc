//! Cost of each line that `socktrace top` shows.

use std::{
    fs::{self, File},
    io::{self, Write as _},
    process::{Child, Command, Stdio},
    thread,
};

use anyhow::{Context as _, Result, ensure};
use nix::pty::{OpenptyResult, Winsize, openpty};
use xtask_common::figure::Unit;

use super::{Benchmark, machine, native, tool, workload};

/// Failures in a run, each on a connection of its own, and failures in a batch that fits into the
/// ring buffer.
const FAILURES: u64 = 100_000;
const FAILURES_SHORT: u64 = 10_000;
const AT_A_TIME: u64 = 1_000;

/// A terminal of common size.
const SIZE: Winsize = Winsize { ws_row: 30, ws_col: 100, ws_xpixel: 0, ws_ypixel: 0 };

/// Subject of the figures.
const SCREEN: &str = "socktrace top --replay";

/// Measures the cost of a line that is read, kept and shown, and the memory of the screen.
pub(super) fn measure(bench: &mut Benchmark) -> Result<()> {
    let lines = record(if bench.short { FAILURES_SHORT } else { FAILURES })?;
    let OpenptyResult { master, slave } = openpty(&SIZE, None).context("no terminal")?;
    let mut screen = start(slave.try_clone()?.into(), slave.into())?;
    machine::watch(Some(screen.id()));
    let mut keys = File::from(master);
    // Reads what is drawn, as a terminal does.
    let mut drawn = keys.try_clone()?;
    let terminal = thread::spawn(move || io::copy(&mut drawn, &mut io::sink()));
    machine::settle()?;
    let busy = machine::of_process(screen.id())?;
    let (_, most) = machine::memory(screen.id())?;
    machine::watch(None);
    keys.write_all(b"q")?;
    let status = screen.wait()?;
    ensure!(status.success(), "the screen ended with {status}");
    // Reading fails with EIO once the terminal has no other user.
    drop(terminal.join());
    bench.report("top/lines", SCREEN, Unit::Size, lines)?;
    bench.report("top/a line", SCREEN, Unit::Instructions, busy / lines)?;
    bench.report("memory/most of a screen", SCREEN, Unit::Bytes, most)
}

/// Records a line of the daemon's output for each failure. Returns the number of lines.
fn record(failures: u64) -> Result<u64> {
    let mut work = workload::named(workload::RESET)?.start()?;
    let running = tool::named(tool::STREAMING)?.start_showing_all(&[])?;
    for _ in (0..failures).step_by(usize::try_from(AT_A_TIME)?) {
        for _ in 0..AT_A_TIME {
            work()?;
        }
        machine::settle()?;
    }
    running.stop()?;
    let lines = fs::read_to_string(tool::OUTPUT)?.lines().count();
    let lines = u64::try_from(lines)?;
    ensure!(lines >= failures, "{lines} lines of {failures} failures");
    Ok(lines)
}

fn start(input: Stdio, output: Stdio) -> Result<Child> {
    let mut command = native::daemon().map_or_else(|| Command::new(tool::DAEMON), Command::new);
    command.args(["top", "--replay", tool::OUTPUT]).env("TERM", "xterm-256color");
    command.stdin(input).stdout(output).spawn().context("cannot start the screen")
}
