//! Ends of a stream without a signal: it has shown as much as requested, or its reader is gone.

use std::{
    fs,
    io::{self, BufRead as _, BufReader, Write as _},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use nix::sys::signal::Signal;
use serde_json::Value;

use super::{
    daemon::{reset_one, resets},
    kept,
    network::Family,
    tracer::{PROGRAM, Tracer},
};

/// `--count`: exactly this many lines, of however many failures; then the daemon ends as with Ctrl-C.
pub(super) fn count() -> Result<()> {
    let tracer = Tracer::must_start(&["--no-metrics", "--output", "json", "--count", "3"])?;
    resets(Family::Ipv4, 2)?;
    let shown = tracer.collect(2);
    ensure!(shown.len() == 2, "it ends too early: {shown:?}");
    resets(Family::Ipv4, 5)?;
    let rest = tracer.collect(1);
    ensure!(rest.len() == 1 && rest[0].contains("reset_by_peer"), "{rest:?}");
    let (status, said) = tracer.until_ended()?;
    ensure!(status.success(), "ended with {status}");
    ensure!(said.contains("; 3 events shown, 0 lost"), "no summary in:\n{said}");

    // In human-readable output, the heading does not count as an event.
    let tracer = Tracer::must_start(&["--no-metrics", "--count", "1"])?;
    reset_one()?;
    let shown = tracer.collect(2);
    ensure!(shown.len() == 2 && shown[1].contains("reset_by_peer"), "{shown:?}");
    let (status, said) = tracer.until_ended()?;
    ensure!(status.success() && said.contains("; 1 events shown, 0 lost"), "{status}: {said}");
    Ok(())
}

/// With `--summary`, blocks are counted, including empty ones.
pub(super) fn count_of_blocks() -> Result<()> {
    let args = ["--no-metrics", "--output", "json", "--summary", "1s", "--count", "2"];
    let tracer = Tracer::must_start(&args)?;
    reset_one()?;
    let lines = tracer.receive(2);
    let blocks: Vec<Value> =
        lines.iter().map(|line| serde_json::from_str(line)).collect::<Result<_, _>>()?;
    ensure!(blocks.len() == 2, "{blocks:?}");
    let counted: u64 = blocks.iter().filter_map(|block| block["failures"].as_u64()).sum();
    ensure!(counted == 1, "{blocks:?}");
    ensure!(tracer.collect(0).is_empty(), "a third block");
    let (status, said) = tracer.until_ended()?;
    ensure!(status.success() && said.contains("1 events shown, 0 lost"), "{status}: {said}");
    Ok(())
}

/// `--duration`: the daemon ends on its own, with a summary and the events that were still to be shown.
pub(super) fn duration() -> Result<()> {
    const SPAN: Duration = Duration::from_secs(3);
    let common = ["--no-metrics", "--output", "json", "--duration", "3s"];
    let began = Instant::now();
    let tracers = Tracer::start_all(&[
        common.to_vec(),
        vec!["--no-stream", "--listen", "127.0.0.1:0", "--duration", "3s"],
        [&common[..], &["--summary", "1h"]].concat(),
    ])?;
    let ready = Instant::now();
    reset_one()?;
    for (tracer, words) in
        tracers.into_iter().zip(["1 events shown", "1 failure (reset", "1 events shown"])
    {
        let is_silent = words.starts_with("1 failure");
        let lines = tracer.receive(usize::from(!is_silent));
        ensure!(lines.len() == usize::from(!is_silent), "{lines:?}");
        let (status, said) = tracer.until_ended()?;
        ensure!(status.success() && said.contains(words), "{words}: {status}: {said}");
        ensure!(began.elapsed() >= SPAN, "after {:?}", began.elapsed());
    }
    // Slow machines take a long time to detach.
    ensure!(ready.elapsed() < SPAN + Duration::from_mins(1), "after {:?}", ready.elapsed());
    Ok(())
}

/// As in `socktrace | head -1`: the reader closes the pipe after the heading, and the daemon exits
/// with 0 even if nothing fails after that. It does so too if it notices only by a write.
pub(super) fn reader_gone() -> Result<()> {
    for (fails, args) in [
        (false, &["--no-metrics"][..]),
        (true, &["--no-metrics", "--output", "json"]),
        (true, &["--no-metrics", "--output", "json", "--summary", "1s"]),
    ] {
        let (reader, writer) = io::pipe()?;
        let tracer = Tracer::start_into(writer, args)?;
        if fails {
            reset_one()?;
        }
        let mut first = String::new();
        BufReader::new(reader).read_line(&mut first)?;
        ensure!(first.ends_with('\n'), "{args:?}: nothing to read");
        // By now the pipe is closed.
        if fails {
            reset_one()?;
        }
        let (status, said) = tracer.until_ended()?;
        ensure!(status.success(), "{args:?}: ended with {status}: {said}");
        ensure!(said.contains(" failure"), "{args:?}: no summary in:\n{said}");
    }
    Ok(())
}

/// Every command exits with 0 and silently if its output has no reader, and with its own code if
/// its errors have no reader either.
pub(super) fn commands_reader_gone() -> Result<()> {
    let file = kept::place("reader-gone")?;
    let kept = ["--history", "--history-file", &file];
    let tracer = Tracer::must_start(&[&["--no-metrics", "--output", "json"], &kept[..]].concat())?;
    resets(Family::Ipv4, 3)?;
    let shown = tracer.collect(3);
    let (status, said) = tracer.stop(Signal::SIGINT)?;
    ensure!(status.success() && shown.len() == 3, "{status}: {said}");
    let json = "/run/reader-gone.json";
    let mut out = fs::File::create(json)?;
    shown.iter().try_for_each(|line| writeln!(out, "{line}"))?;

    for args in [
        &["history", "--file", &file][..],
        &["history", "--file", &file, "--output", "json"],
        &["history", "--file", &file, "--group-by", "cause"],
        &["replay", json],
        &["doctor"],
        &["doctor", "--output", "json"],
        &["explain"],
        &["explain", "EPIPE"],
        &["--print-config"],
        &["--help"],
        &["history", "--help"],
        &["--version"],
    ] {
        let output = command(args)?.stderr(Stdio::piped()).output()?;
        let said = String::from_utf8(output.stderr)?;
        ensure!(output.status.code() == Some(0), "{args:?}: {}: {said}", output.status);
        ensure!(said.is_empty(), "{args:?}: {said}");
    }
    for (args, code) in [
        (&["explain", "no-such-thing"][..], 2),
        (&["--no-such-flag"], 2),
        (&["--uid", "nobody-there"], 2),
        (&["history", "--file", "/nonexistent"], 1),
        (&["replay", "/nonexistent"], 1),
        (&["replay", json, "--pid", "1"], 0),
        (&["history", "--file", &file, "--purge"], 0),
    ] {
        let (reader, writer) = io::pipe()?;
        drop(reader);
        let status = command(args)?.stderr(writer).status()?;
        ensure!(status.code() == Some(code), "{args:?}: {status}, not {code}");
    }
    fs::remove_file(json).context("what was written is not there")
}

/// A command whose standard output has no reader.
fn command(args: &[&str]) -> Result<Command> {
    let (reader, writer) = io::pipe()?;
    drop(reader);
    let mut command = Command::new(PROGRAM);
    command.args(args).stdin(Stdio::null()).stdout(writer);
    Ok(command)
}
