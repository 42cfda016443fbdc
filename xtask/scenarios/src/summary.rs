//! Counts instead of lines.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use nix::sys::signal::Signal;
use serde_json::Value;

use super::{
    daemon::{self, resets},
    network::Family,
    owner,
    tracer::{REPEAT_AFTER, Tracer},
    verify::sum,
};

/// Service that fails less often than this program.
const WEB: &str = "/system.slice/web.service";

const RESETS: u32 = 5;
const REFUSED: usize = 2;

/// Longest time to wait for a block.
const PATIENCE: Duration = Duration::from_secs(30);

/// Counts by cause and service, as in JSON blocks.
#[derive(Debug, Default)]
struct Counted {
    rows: BTreeMap<(String, String), u64>,
    events: u64,
    others: u64,
}

impl Counted {
    fn add(&mut self, line: &str) -> Result<()> {
        let block: Value = serde_json::from_str(line).with_context(|| line.to_owned())?;
        ensure!(block["event"] == "summary" && block["lost"] == 0, "{block}");
        let time = block["interval_ms"].as_u64().context("no interval")?;
        ensure!((1..60_000).contains(&time), "{block}");
        let number = |value: &Value| value.as_u64().with_context(|| format!("no number: {block}"));
        self.events += number(&block["events"])?;
        self.others += number(&block["others"]["count"])?;
        let mut last = u64::MAX;
        for row in block["rows"].as_array().context("no rows")? {
            let count = number(&row["count"])?;
            ensure!(count <= last, "the most frequent come later: {block}");
            last = count;
            let text = |field: &str| row[field].as_str().unwrap_or("-").to_owned();
            ensure!(row["event"] == "failure" && row["errno_number"].is_u64(), "{row}");
            *self.rows.entry((text("cause"), text("service"))).or_default() += count;
        }
        Ok(())
    }

    fn of(&self, cause: &str) -> u64 {
        self.rows.iter().filter(|((of, _), _)| of == cause).map(|(_, count)| count).sum()
    }
}

/// Adds up blocks until they have this many events.
fn until(tracer: &Tracer, events: u64) -> Result<Counted> {
    let mut counted = Counted::default();
    let deadline = Instant::now() + PATIENCE;
    while counted.events < events {
        let left = deadline.saturating_duration_since(Instant::now());
        let line = tracer.next_line(left);
        counted.add(&line.with_context(|| format!("{events} events are due: {counted:?}"))?)?;
    }
    Ok(counted)
}

/// Blocks have the events that would have been shown, by cause and service, in JSON and human-readable.
pub(super) fn of_services() -> Result<()> {
    let tracers = Tracer::start_all(&[
        vec!["--no-metrics", "--output", "json", "--summary", "1s"],
        vec!["--no-metrics", "--summary", "1h", "--time", "none"],
        vec!["--no-metrics", "--output", "json", "--summary", "1s", "--not-unit", "we*"],
    ])?;
    resets(Family::Ipv4, RESETS)?;
    for _ in 0..REFUSED {
        owner::connect_refused(Family::Ipv4, WEB)?;
    }
    let all = u64::from(RESETS) + REFUSED as u64;
    let counted = until(&tracers[0], all)?;
    let of_web = counted.rows.get(&("connect_refused".to_owned(), "web.service".to_owned()));
    ensure!(of_web == Some(&(REFUSED as u64)), "{counted:?}");
    ensure!(counted.of("reset_by_peer") == u64::from(RESETS), "{counted:?}");
    ensure!(counted.events == all && counted.others == 0, "{counted:?}");
    let others = until(&tracers[2], u64::from(RESETS))?;
    ensure!(others.of("connect_refused") == 0, "filters narrow no counts: {others:?}");

    // Events since the last block are shown at the end.
    for tracer in &tracers {
        tracer.signal(Signal::SIGINT)?;
    }
    let block = tracers[1].receive(4);
    let words: Vec<Vec<_>> = block.iter().map(|line| line.split_whitespace().collect()).collect();
    ensure!(
        words.len() == 4
            && words[0].starts_with(&["7", "events", "in"])
            && words[1] == ["COUNT", "ERRNO", "CAUSE", "SERVICE"]
            && words[2].starts_with(&["5", "ECONNRESET", "reset_by_peer"])
            && words[3] == ["2", "ECONNREFUSED", "connect_refused", "web.service"],
        "{block:?}"
    );
    for tracer in tracers {
        let (status, said) = tracer.until_ended()?;
        ensure!(status.success() && said.contains(" events shown, 0 lost"), "{status}: {said}");
    }
    Ok(())
}

/// Failures that the kernel side counts in floods are in the blocks, too.
pub(super) fn of_floods() -> Result<()> {
    const MANY: u32 = 2_000;
    let args = ["--no-metrics", "--output", "json", "--summary", "1s", REPEAT_AFTER, "10"];
    let tracer = Tracer::must_start(&args)?;
    resets(Family::Ipv4, MANY)?;
    let counted = until(&tracer, u64::from(MANY))?;
    ensure!(counted.of("reset_by_peer") == u64::from(MANY), "{counted:?}");
    let (status, said) = tracer.stop(Signal::SIGINT)?;
    ensure!(status.success() && said.contains(" in floods, 0 lost"), "{status}: {said}");
    Ok(())
}

/// A stalled reader loses no events: the next block has those that happened in the meantime.
pub(super) fn stalled_reader() -> Result<()> {
    // More than this ring buffer, in KiB, holds.
    const MANY: u32 = 3_000;
    let mut stalled = daemon::stalled_reader()?;
    let pipe = stalled.stdin.take().context("no pipe")?;
    let args = ["--output", "json", "--summary", "1s", "--ring-buffer", "64"];
    let result = Tracer::start_into(pipe, &[&args[..], &["--listen", "127.0.0.1:0"]].concat())
        .and_then(|tracer| {
            for _ in 0..MANY / 100 {
                resets(Family::Ipv4, 100)?;
            }
            let metrics = tracer.scrape()?;
            daemon::has_counted(&metrics, Family::Ipv4, MANY)?;
            let lost = sum(&metrics, "socktrace_events_lost_total{");
            ensure!(lost < 0.5, "{lost} events lost");
            Ok(())
        });
    stalled.kill()?;
    stalled.wait()?;
    result
}
