//! Cost of sending each failure to an OpenTelemetry Collector.

use std::{
    io::{self, BufRead as _, BufReader, Read as _, Write as _},
    net::{TcpListener, TcpStream},
    sync::Once,
    thread,
};

use anyhow::{Context as _, Result};
use xtask_common::{figure::Unit, http::get_metrics};

use super::{Benchmark, machine, tool, workload};

/// Address at which the exporting tool expects a collector.
const ADDRESS: &str = "127.0.0.1:4318";

/// Failures in a run, and in a batch that fits into the ring buffer.
const FAILURES: u64 = 100_000;
const FAILURES_SHORT: u64 = 10_000;
const AT_A_TIME: u64 = 1_000;

/// Measures the cost and the memory of sending failures.
pub(super) fn measure(bench: &mut Benchmark) -> Result<()> {
    let failures = if bench.short { FAILURES_SHORT } else { FAILURES };
    let mut work = workload::named(workload::EPIPE)?.start()?;
    let running = tool::named(tool::EXPORTING)?.start_showing_all(&[])?;
    let id = running.id().context("no daemon")?;
    machine::forget_most(id)?;
    let (before, of_daemon) = (machine::busy()?, machine::of_process(id)?);
    for _ in 0..failures / AT_A_TIME {
        for _ in 0..AT_A_TIME {
            work()?;
        }
        machine::settle()?;
    }
    let busy = machine::busy()? - before;
    let of_daemon = machine::of_process(id)? - of_daemon;
    let (_, most) = machine::memory(id)?;
    let mut report = |what: &str, unit, value| bench.report(what, tool::EXPORTING, unit, value);
    report("export/failures", Unit::Size, failures)?;
    report("export/a failure", Unit::Instructions, busy / failures)?;
    report("export/a failure, of it in the daemon", Unit::Instructions, of_daemon / failures)?;
    report("export/not sent yet at the end", Unit::Size, failures.saturating_sub(sent()?))?;
    report("memory/most while sending", Unit::Bytes, most)?;
    running.stop()
}

/// Number of log records that the collector has accepted.
fn sent() -> Result<u64> {
    let page = get_metrics()?;
    let sent = page.lines().find_map(|line| line.strip_prefix("socktrace_otlp_sent_total "));
    Ok(sent.context("no count of what was sent")?.parse()?)
}

/// Starts the cheapest possible collector: it reads all requests and answers 200.
pub(super) fn collect() -> Result<()> {
    static STARTED: Once = Once::new();
    if STARTED.is_completed() {
        return Ok(());
    }
    let listener = TcpListener::bind(ADDRESS).context("cannot have a collector")?;
    STARTED.call_once(|| {
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                thread::spawn(move || drop(answer(&stream)));
            }
        });
    });
    Ok(())
}

fn answer(stream: &TcpStream) -> io::Result<()> {
    let mut reader = BufReader::new(stream);
    let mut writer = stream;
    loop {
        let (mut line, mut length) = (String::new(), 0);
        while line != "\r\n" {
            line.clear();
            if reader.read_line(&mut line)? == 0 {
                return Ok(());
            }
            let line = line.to_ascii_lowercase();
            if let Some(value) = line.strip_prefix("content-length:") {
                length = value.trim().parse().map_err(io::Error::other)?;
            }
        }
        io::copy(&mut reader.by_ref().take(length), &mut io::sink())?;
        writer.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")?;
    }
}
